"""A serve in this process over a broker, with topics of its own, and what tests of it share."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agents.topics import Topics
from app.serve import run_serve
from app.settings import Settings, load_settings
from tests.score_records import CATALOG

DEADLINE_S = 30.0
PARTITIONS = 4
READY = {"status": "ready"}


def settings_at(address: str, **overrides: object) -> Settings:
    """Settings with topics of their own and a free port."""
    return load_settings(
        None, **({"broker": address, "prefix": f"s{uuid.uuid4().hex[:8]}.", "port": 0} | overrides)
    )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits for a condition, with a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def serving(settings: Settings, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A serve in this process and a client of it; stopped at the end, within the time it promises."""
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        run_serve(settings, CATALOG, stop=stop, on_listening=url.set_result, **options)
    )
    await asyncio.wait([task, url], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        async with httpx.AsyncClient(base_url=url.result(), timeout=10) as client:
            yield client
    finally:
        stop.set()
        async with asyncio.timeout(5):
            await task


async def create(settings: Settings, *specs) -> None:
    """Creates topics, and waits until they can be written to."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await admin.start()
    try:
        names = {topics_of(settings)(spec): spec.settings() for spec in specs}
        await admin.create_topics(
            [NewTopic(name, PARTITIONS, 1, topic_configs=found) for name, found in names.items()]
        )

        async def visible() -> bool:
            found = {each["topic"] for each in await admin.describe_topics() if not each["error_code"]}
            return found >= names.keys()

        await until(visible)
    finally:
        await admin.close()


async def delete(settings: Settings, *specs) -> None:
    """Deletes topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await admin.start()
    try:
        await admin.delete_topics([topics_of(settings)(spec) for spec in specs])
    finally:
        await admin.close()


def topics_of(settings: Settings) -> Topics:
    """The names of its topics."""
    return Topics(settings.prefix, settings.group)


async def is_ready(client: httpx.AsyncClient) -> bool:
    """Whether /readyz says so."""
    return (await client.get("/readyz")).json() == READY
