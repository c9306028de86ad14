"""The pipeline on Apache Kafka with real worker processes: what comes out is what went in, whatever happens to them."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from agents.topics import RESPONSES
from app.processes import free_port
from tests.pipeline import (
    BASE_MS,
    DEADLINE_S,
    Customers,
    Deployment,
    WorkerProcess,
    equal,
    partition_of,
    until,
)

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
        await readers.windows_agree(customers)
        assert await readers.dead_letters() == {}


async def test_a_killed_worker_changes_no_count(deployment):
    """A kill -9 of one of two workers in the middle of 300,000 records: the other goes on as if nothing had been."""
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
    first = deployment.worker(session_timeout_s=20)
    await first.owns(SOURCES)
    second = deployment.worker(session_timeout_s=20)
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


GOOD = {"question": "effort", "touchpoint": "checkout", "rating": 5, "customer_id": "c1"}


def bad_records() -> list[tuple[bytes | None, str]]:
    """Every kind of record that must be refused, with its reason."""

    def answer(**fields: object) -> bytes:
        return json.dumps(GOOD | {"response_id": "bad"} | fields).encode()

    def raw(rating: str) -> bytes:
        return answer(rating="RATING").replace(b'"RATING"', rating.encode())

    ahead_ms = int(time.time() * 1000) + 3_600_000
    return [
        (b"{nope", "not_json"),
        (b"\xff\xfe{}", "not_utf8"),
        (b"", "empty"),
        (None, "empty"),
        (b'"text"', "wrong_type"),
        (answer(rating="5"), "wrong_type"),
        (answer(rating=True), "wrong_type"),
        (answer(segments=["web"]), "wrong_type"),
        (answer(question="nobody-asked"), "unknown_question"),
        (answer(rating=5.5), "off_scale"),
        (answer(rating=0), "off_scale"),
        (answer(rating=8), "off_scale"),
        (raw("1e400"), "off_scale"),
        (raw("NaN"), "not_json"),
        (answer(response_id=None), "missing_field"),
        (json.dumps(GOOD).encode(), "missing_field"),
        (answer(question=None), "missing_field"),
        (answer(touchpoint=None), "missing_field"),
        (answer(response_id="x" * 257), "id_too_long"),
        (answer(customer_id="x" * 257), "id_too_long"),
        (answer(event_time_ms="yesterday"), "wrong_type"),
        (answer(event_time_ms=-1), "bad_time"),
        (answer(event_time_ms=946_684_799_999), "too_old"),
        (answer(event_time_ms=ahead_ms), "too_far_ahead"),  # of the time at which the broker appended it
        (answer(event_time_ms=BASE_MS - 49 * 3_600_000), "too_late"),
        (answer(comment="x" * (1 << 20)), "too_large"),
        (answer(extra="DEEP").replace(b'"DEEP"', b"[" * 5_000 + b"]" * 5_000), "too_deep"),
    ]


async def test_each_bad_record_gives_one_dead_letter_and_touches_no_other(deployment):
    """Reason, source position and raw bytes in the dead letter, one count in the metrics, the good ones unharmed."""
    bad = bad_records()
    records: list[bytes | None] = []
    for number, (value, _) in enumerate(bad):
        good = GOOD | {"response_id": f"g{number}", "event_time_ms": BASE_MS + number}
        records += [json.dumps(good).encode(), value]
    port = free_port()
    worker = deployment.worker("--metrics-port", str(port))
    partition = partition_of(b"c1")
    async with deployment.readers() as readers:
        await deployment.produce(iter([(b"c1", value) for value in records]), "gzip")
        wanted = {(partition, 2 * at + 1): reason for at, (_, reason) in enumerate(bad)}
        await equal("dead letters", readers.dead_letters, wanted, DEADLINE_S)
        await equal(
            "windows", readers.window_counts, Counter({("checkout", "effort", 5): len(bad)}), DEADLINE_S
        )
        for (_, offset), copies in readers.dead.items():
            value = records[offset]
            headers = {name: text.decode() for name, text in copies[0].headers}
            assert len(copies) == 1
            assert copies[0].key == b"c1"
            assert copies[0].value == (None if value is None else value[: 64 << 10])
            assert headers["effort_topic"] == deployment.topics(RESPONSES)
            assert headers["effort_size"] == str(len(value or b""))
            assert headers["effort_truncated"] == ("true" if len(value or b"") > 64 << 10 else "false")
            assert headers["effort_detail"]
    async with httpx.AsyncClient() as client:
        metrics = (await client.get(f"http://127.0.0.1:{port}/metrics")).text.splitlines()
    topic = deployment.topics(RESPONSES)
    reasons = Counter(reason for _, reason in bad)
    for reason, count in reasons.items():
        assert f'effortstream_dead_letters_total{{reason="{reason}",topic="{topic}"}} {count}.0' in metrics
    assert f'effortstream_events_total{{outcome="dead_letter",topic="{topic}"}} {len(bad)}.0' in metrics
    assert f'effortstream_events_total{{outcome="accepted",topic="{topic}"}} {len(bad)}.0' in metrics
    assert worker.status is None


async def test_a_second_group_on_the_same_prefix_is_refused(deployment):
    """Two groups would write over each other's outputs: exit 1, and what to do instead."""
    second = deployment.worker("--group", "another")
    assert await second.ended() == 1
    assert deployment.topics.group in last_line(second)
    assert "prefix of your own" in last_line(second)
    assert "Traceback" not in second.text()


async def test_a_topic_that_was_made_again_stops_the_worker(deployment):
    """The stored position lies beyond the new log: counting on would be wrong, so exit 1 with the remedy."""
    customers = Customers(total=5_000, seed=6)
    first = deployment.worker()
    async with deployment.readers() as readers:
        await deployment.produce(customers.records(customers.total))
        await readers.agree(customers)
    first.send(signal.SIGTERM)
    assert await first.ended() == 0
    await deployment.delete(RESPONSES)
    await deployment.create()
    second = deployment.worker()
    assert await second.ended() == 1
    assert "was deleted and made again" in last_line(second)
    assert "Traceback" not in second.text()


async def test_an_unexpected_error_ends_the_worker_with_a_traceback_in_the_log(deployment):
    """A bug crashes loudly, at once, and does not hang."""
    bug = "import agents.engine as e; e.Engine._tick = lambda self: 1 / 0; from app.__main__ import main; main()"
    worker = deployment.worker(program=["-c", bug])
    assert await worker.ended() == 1
    assert "ZeroDivisionError" in worker.text()
    assert "please report it" in last_line(worker)


def last_line(worker: WorkerProcess) -> str:
    """The last thing a worker said."""
    return worker.text().splitlines()[-1]


async def test_how_far_ahead_an_event_is_depends_on_the_brokers_clock(deployment):
    """LogAppendTime: a producer that stamps its records with the wrong time can not get an event of the future in."""
    ahead_ms = int(time.time() * 1000) + 3_600_000
    near_ms = int(time.time() * 1000) + 60_000
    deployment.worker()
    producer = AIOKafkaProducer(bootstrap_servers=deployment.broker)
    try:
        await producer.start()
        for name, time_ms in (("near", near_ms), ("ahead", ahead_ms)):
            answer = GOOD | {"response_id": name, "event_time_ms": time_ms}
            topic = deployment.topics(RESPONSES)
            value = json.dumps(answer).encode()
            await producer.send_and_wait(topic, value, b"c1", partition_of(b"c1"), timestamp_ms=time_ms)
    finally:
        await producer.stop()
    async with deployment.readers() as readers:
        await equal(
            "dead letters", readers.dead_letters, {(partition_of(b"c1"), 1): "too_far_ahead"}, DEADLINE_S
        )
        await equal("partials", readers.partial_counts, Counter({("checkout", "effort", 5): 1}), DEADLINE_S)
