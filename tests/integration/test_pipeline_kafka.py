"""The pipeline on Apache Kafka with real worker processes: what comes out is what went in, whatever happens to them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline import Customers, Deployment, until

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]

SOURCES = 12  # partitions of responses, interactions and partials
SESSION_S = 6


@pytest.fixture
def deployment(kafka: str, tmp_path: Path) -> Iterator[Deployment]:
    """Topics of their own on Apache Kafka, and no worker yet."""
    with Deployment(kafka, tmp_path) as made:
        yield made


async def test_two_workers_count_every_answer_once(deployment):
    """200,000 records with copies, edits, withdrawals and poison: windows, partials and dead letters are exact."""
    customers = Customers(total=200_000)
    workers = [deployment.worker(), deployment.worker()]
    async with deployment.readers() as readers:
        for worker in workers:
            await worker.owns(SOURCES // 2)
        await deployment.produce(customers.records(customers.total))
        await readers.agree(customers)
        assert await deployment.positions() == dict(enumerate(customers.lengths))
        assert len({record["start_ms"] for record in readers.windows.values()}) == 4
        for copies in readers.dead.values():
            headers = dict(copies[0].headers)
            assert headers["effort_topic"].decode().endswith("responses.v1")
    for worker in workers:
        worker.send(signal.SIGTERM)
        assert await worker.ended() == 0
        assert "Traceback" not in worker.text()
        assert "[^" not in worker.text()


async def test_a_backlog_of_a_million_is_read_in_one_go_and_nothing_is_late(deployment):
    """Partitions that are read at different speeds: a worker that comes late refuses nothing as too late."""
    customers = Customers(total=1_000_000, clean=True, span_ms=80 * 3_600_000)
    await deployment.produce(customers.records(customers.total))
    deployment.worker()
    async with deployment.readers() as readers:
        await readers.agree(customers)
        assert customers.dead == {}


async def test_a_killed_worker_changes_no_count(deployment):
    """kill -9 of one of two workers in the middle of 300,000 records: the other goes on as if nothing had been."""
    customers = Customers(total=300_000, seed=3)
    workers = [deployment.worker(session_timeout_s=SESSION_S) for _ in range(2)]
    async with deployment.readers() as readers:
        for worker in workers:
            await worker.owns(SOURCES // 2)
        await deployment.produce(customers.records(customers.total // 3))
        more = asyncio.create_task(deployment.produce(customers.records(customers.total // 3)))
        await moving(deployment, sum(customers.lengths[:]) // 2)
        workers[0].send(signal.SIGKILL)
        await more
        await deployment.produce(customers.records(customers.total // 3))
        await workers[1].owns(SOURCES)
        await readers.agree(customers)
        assert await workers[0].ended() == -signal.SIGKILL


async def test_a_worker_that_slept_too_long_ends_and_nothing_of_it_is_visible(deployment):
    """SIGSTOP past the session timeout: its partitions go to the other; awake again it is fenced, and says so."""
    customers = Customers(total=150_000, seed=4)
    sleeper = deployment.worker(session_timeout_s=SESSION_S)
    await sleeper.owns(SOURCES)
    heir = deployment.worker(session_timeout_s=SESSION_S)
    async with deployment.readers() as readers:
        await heir.owns(SOURCES // 2)
        await sleeper.owns(SOURCES // 2)
        await deployment.produce(customers.records(50_000))
        more = asyncio.create_task(deployment.produce(customers.records(50_000)))
        await moving(deployment, sum(customers.lengths) // 2)
        sleeper.send(signal.SIGSTOP)
        await more
        await heir.owns(SOURCES)
        await readers.agree(customers)
        sleeper.send(signal.SIGCONT)
        assert await sleeper.ended() == 1
        said = [line for line in sleeper.text().splitlines() if line.startswith("Error: ")]
        assert len(said) == 1
        assert "another worker" in said[0]
        assert "Traceback" not in sleeper.text()
        await deployment.produce(customers.records(50_000))
        await readers.agree(customers)


async def test_a_stopped_worker_leaves_the_group_and_its_successor_goes_on(deployment):
    """SIGTERM: status 0 in under ten seconds, the other takes over at once, and a restart counts nothing twice."""
    customers = Customers(total=60_000, seed=5)
    first = deployment.worker(session_timeout_s=30)
    await first.owns(SOURCES)
    second = deployment.worker(session_timeout_s=30)
    async with deployment.readers() as readers:
        await second.owns(SOURCES // 2)
        await deployment.produce(customers.records(20_000))
        more = asyncio.create_task(deployment.produce(customers.records(20_000)))
        await moving(deployment, sum(customers.lengths) // 2)
        begun = time.monotonic()
        first.send(signal.SIGTERM)
        assert await first.ended(10) == 0
        await second.owns(SOURCES, deadline_s=10)
        assert time.monotonic() - begun < 10  # not the session timeout
        await more
        second.send(signal.SIGINT)
        assert await second.ended(10) == 0
        third = deployment.worker()
        await third.owns(SOURCES)
        await deployment.produce(customers.records(20_000))
        await readers.agree(customers)


async def moving(deployment: Deployment, beyond: int) -> None:
    """Waits until more than so many records are behind the group's committed positions."""
    async def passed() -> bool:
        return sum((await deployment.positions()).values()) > beyond

    await until(passed, f"{beyond} records are committed")
