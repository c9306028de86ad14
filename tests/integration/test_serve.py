"""The serve process over real brokers: from records on a topic to the API and /metrics."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from agents.topics import INTERACTION_STATS, SCORES
from app.broker import BrokerUnavailable, EmbeddedBroker
from app.processes import free_port
from app.readmodel import READ_TOPICS
from app.serve import ListenError, run_serve
from app.settings import Settings
from tests.score_records import CATALOG, EFFORT, SATISFACTION, key_of, score_record, stats_record
from tests.serving import (
    DEADLINE_S,
    PARTITIONS,
    create,
    delete,
    is_ready,
    serving,
    settings_at,
    topics_of,
    until,
)


@pytest.fixture(
    params=[
        pytest.param("embedded", marks=pytest.mark.embedded),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
def broker(request: pytest.FixtureRequest) -> str:
    """The address of each broker in turn."""
    address: str = request.getfixturevalue(request.param)
    return address


async def publish(settings: Settings, *records, removed: bool = False) -> None:
    """Writes records the way a worker without transactions does; with ``removed``, their tombstones."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker, enable_idempotence=False)
    await producer.start()
    try:
        for record in records:
            value = None if removed else msgspec.json.encode(record)
            await producer.send(
                topic_of(settings, record), value, key_of(record), partition=partition_of(record)
            )
        await producer.flush()
    finally:
        await producer.stop()


def topic_of(settings: Settings, record) -> str:
    """Where a record is published."""
    return topics_of(settings)(SCORES if hasattr(record, "question") else INTERACTION_STATS)


def partition_of(record) -> int:
    """All records of a touchpoint are in one partition; which one matters to nobody here."""
    return sum(record.touchpoint.encode()) % PARTITIONS


async def ids(client: httpx.AsyncClient) -> list[tuple[str, str, int]]:
    """Touchpoint, window and n of every score."""
    answer = await client.get("/api/v1/scores")
    assert answer.status_code == 200, answer.text
    return [(each["touchpoint"], each["window"], each["n"]) for each in answer.json()["items"]]


@pytest.mark.asyncio
async def test_published_scores_are_served_and_a_tombstone_removes_them(broker):
    """What is on the topic at the start is there once ready; what comes later follows; what is removed is gone."""
    settings = settings_at(broker)
    await create(settings, *READ_TOPICS)
    older, first = score_record(EFFORT, [1] * 7), score_record(EFFORT, [2] * 7, interactions=30)
    await publish(settings, older, first, stats_record())
    async with serving(settings) as client:
        assert (await client.get("/livez")).status_code == 200
        await until(lambda: is_ready(client))
        assert await ids(client) == [("checkout", "1h", 14)]
        stats = (await client.get("/api/v1/interaction-stats")).json()
        assert [each["n"] for each in stats["items"]] == [40]
        second = score_record(SATISFACTION, [1, 1, 1, 1, 1], "support-chat", "5m")
        await publish(settings, second)

        async def both() -> bool:
            return await ids(client) == [("checkout", "1h", 14), ("support-chat", "5m", 5)]

        await until(both)
        metrics = (await client.get("/metrics")).text
        assert (
            'effortstream_csat_satisfied_ratio{journey_stage="support",question="chat-satisfaction",'
            'touchpoint="support-chat",window="5m"} 0.4\n'
        ) in metrics
        assert "effortstream_feed_last_contact_timestamp_seconds " in metrics
        await publish(settings, first, removed=True)

        async def one() -> bool:
            return await ids(client) == [("support-chat", "5m", 5)]

        await until(one)
        assert 'touchpoint="checkout",window="1h"} ' not in "\n".join(
            line for line in (await client.get("/metrics")).text.splitlines() if "ces_mean" in line
        )


@pytest.mark.asyncio
async def test_empty_topics_are_ready_at_once(broker):
    """Nothing published yet is a complete answer."""
    settings = settings_at(broker)
    await create(settings, *READ_TOPICS)
    async with serving(settings) as client:
        await until(lambda: is_ready(client))
        assert await ids(client) == []


@pytest.mark.asyncio
async def test_a_long_log_is_read_to_its_end_before_it_is_ready(broker):
    """However the broker counts its log's end, the first answer after ready is the newest record of each series."""
    settings = settings_at(broker)
    await create(settings, *READ_TOPICS)
    places = [f"touchpoint-{number}" for number in range(40)]
    for count in range(1, 101):
        if count % 25 == 1:
            batch = []
        batch += [score_record(EFFORT, [0, 0, 0, 0, 0, 0, count], place) for place in places]
        if count % 25 == 0:
            await publish(settings, *batch)
    async with serving(settings) as client:
        answers = []

        async def answered() -> bool:
            answer = await client.get("/api/v1/scores")
            answers.append(answer)
            return answer.status_code == 200

        await until(answered)
        assert {each.status_code for each in answers[:-1]} <= {503}
        assert {each["n"] for each in answers[-1].json()["items"]} == {100}
        assert answers[-1].json()["total"] == len(places)


@pytest.mark.asyncio
async def test_missing_topics_are_named_and_waited_for(broker):
    """Started before the worker, serve says what it waits for, makes no topic itself, and goes on when they come."""
    settings = settings_at(broker)
    async with serving(settings) as client:

        async def named() -> bool:
            return f"{settings.prefix}scores.v1" in (await client.get("/readyz")).text

        await until(named)
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200
        await create(settings, SCORES)

        async def one_left() -> bool:
            text = (await client.get("/readyz")).text
            return f"{settings.prefix}interaction-stats.v1" in text and "scores.v1" not in text

        await until(one_left)
        await create(settings, *READ_TOPICS[1:])
        await until(lambda: is_ready(client))


@pytest.mark.kafka
@pytest.mark.asyncio
async def test_only_committed_records_are_served_and_markers_do_not_hold_readiness_up(kafka):
    """Logs that end in transaction markers, in an aborted transaction and in an open one all become ready."""
    settings = settings_at(kafka)
    await create(settings, *READ_TOPICS)
    kept = score_record(EFFORT, [1] * 7)
    wrong = score_record(EFFORT, [9] * 7)
    producers = [
        AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{settings.prefix}{number}")
        for number in range(2)
    ]
    for producer in producers:
        await producer.start()
    try:
        async with producers[0].transaction():
            await send(producers[0], settings, kept)
        await producers[0].begin_transaction()
        await send(producers[0], settings, wrong)
        await producers[0].abort_transaction()
        await producers[1].begin_transaction()
        await send(producers[1], settings, score_record(EFFORT, [3] * 7))
        async with serving(settings) as client:
            await until(lambda: is_ready(client))
            assert await ids(client) == [("checkout", "1h", 7)]
            await producers[1].commit_transaction()

            async def committed() -> bool:
                return await ids(client) == [("checkout", "1h", 21)]

            await until(committed)
    finally:
        for producer in producers:
            await producer.stop()


async def send(producer: AIOKafkaProducer, settings: Settings, record) -> None:
    """Writes one record inside the producer's transaction, and waits until it is stored."""
    await producer.send_and_wait(
        topic_of(settings, record),
        msgspec.json.encode(record),
        key_of(record),
        partition=partition_of(record),
    )


@pytest.mark.kafka
@pytest.mark.asyncio
async def test_topics_that_are_deleted_and_made_again_take_the_old_scores_along(kafka, monkeypatch):
    """A series that is on no topic any more is not served for ever."""
    monkeypatch.setattr("app.feed.STALLED_AFTER_MS", 1_500)
    settings = settings_at(kafka)
    await create(settings, *READ_TOPICS)
    await publish(settings, score_record(EFFORT, [1] * 7), score_record(EFFORT, [1] * 7, "search"))
    async with serving(settings) as client:
        await until(lambda: is_ready(client))
        await delete(settings, SCORES)

        async def gone() -> bool:
            return "scores.v1" in (await client.get("/readyz")).text

        await until(gone)
        await create(settings, SCORES)
        await publish(settings, score_record(EFFORT, [2] * 7))
        await until(lambda: is_ready(client))

        async def anew() -> bool:
            return await ids(client) == [("checkout", "1h", 14)]

        await until(anew)


@pytest.mark.embedded
@pytest.mark.asyncio
async def test_an_outage_is_survived_and_what_was_known_is_served_meanwhile(monkeypatch):
    """The broker goes away and comes back empty on the same port: old scores, then none, then the new ones."""
    monkeypatch.setattr("app.feed.STALLED_AFTER_MS", 1_500)
    monkeypatch.setattr("app.feed.BACKOFF_MAX_S", 0.5)
    port = free_port()
    settings = settings_at(f"127.0.0.1:{port}")
    async with contextlib.AsyncExitStack() as stack:
        async with EmbeddedBroker(port):
            await create(settings, *READ_TOPICS)
            await publish(
                settings, *[score_record(EFFORT, [1] * 7)] * 3, score_record(EFFORT, [1] * 7, "search")
            )
            client = await stack.enter_async_context(serving(settings))
            await until(lambda: is_ready(client))
        assert await ids(client) == [("checkout", "1h", 7), ("search", "1h", 7)]
        async with EmbeddedBroker(port):
            await create(settings, *READ_TOPICS)
            await publish(settings, score_record(EFFORT, [2] * 7))

            async def anew() -> bool:
                answer = await client.get("/api/v1/scores")
                return [each["n"] for each in answer.json().get("items", [])] == [14]

            await until(anew)


@pytest.mark.asyncio
async def test_without_a_broker_it_is_alive_not_ready_and_gives_up_in_time():
    """No contact within broker_wait_s of the start is an error with a remedy; until then it answers."""
    settings = settings_at(f"127.0.0.1:{free_port()}", broker_wait_s=1.5)
    url = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        run_serve(settings, CATALOG, stop=asyncio.Event(), on_listening=url.set_result)
    )
    try:
        async with httpx.AsyncClient(base_url=await url) as client:
            assert (await client.get("/livez")).status_code == 200
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["reasons"]) == (503, ["no broker has answered yet"])
        with pytest.raises(BrokerUnavailable, match="--broker"):
            async with asyncio.timeout(DEADLINE_S):
                await task
    finally:
        task.cancel()


@pytest.mark.asyncio
async def test_a_taken_port_is_an_error_with_a_remedy():
    """Neither a traceback nor a second server on the same port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_at("127.0.0.1:9", port=taken.getsockname()[1])
        with pytest.raises(
            ListenError, match=r"is taken by another program\. Choose another port with --port"
        ):
            await run_serve(settings, CATALOG, stop=asyncio.Event(), on_listening=print)


CONFIGURATION = '[questions.checkout-effort]\nmetric = "ces"\nscale = { low = 1, high = 7, best = 7 }\n'


@contextlib.contextmanager
def command(folder: Path, *options: str):
    """``effortstream serve`` as a process of its own, killed at the end if it still runs."""
    file = folder / "c.toml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EFFORTSTREAM_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--config", str(file), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"EFFORTSTREAM_BROKER_WAIT_S": "2"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.embedded
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_serves_and_stops_on_a_signal(embedded, tmp_path, number):
    """Exit status 0, no traceback, and the promised five seconds, with a connection open."""
    with command(tmp_path, "--broker", embedded, "--port", "0") as process:
        said = process.stderr.readline()
        assert said.startswith("effortstream serves at http://127.0.0.1:")
        with httpx.Client(base_url=said.split()[-1]) as client:
            assert client.get("/livez").status_code == 200
            process.send_signal(number)
            out, err = process.communicate(timeout=5)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err


def test_the_command_ends_with_status_1_and_the_remedy(tmp_path):
    """A taken port and an absent broker are the user's to mend, so they get a message."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with command(tmp_path, "--broker", f"127.0.0.1:{free_port()}", "--port", port) as process:
            out, err = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, out) == (1, "")
        assert "--port" in err
        assert "Traceback" not in err
    with command(tmp_path, "--broker", f"127.0.0.1:{free_port()}", "--port", "0") as process:
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (1, "")
    assert "No Kafka broker answers" in err.splitlines()[-1]
    assert "Traceback" not in err
