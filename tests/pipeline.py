"""The pipeline as tests drive it: customers who answer, worker processes, and readers of what comes out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.partitioner import murmur2

from agents.merging import MergedPanes
from agents.panes import Layout, parse_series_code
from agents.partials import RESPONSES_KIND, decode_partial
from agents.topics import DEAD_LETTERS, PARTIALS, RESPONSES, WINDOWS, Topics, TopicSpec
from app.config import load_config
from app.processes import die_with_parent
from app.settings import load_settings
from app.topics import create_topics

PARTITIONS = 4
DEADLINE_S = 60.0
POLL_S = 0.05
HOUR_MS = 3_600_000
BASE_MS = 1_763_715_600_000
"""2025-11-21T09:00Z, the start of an hour: event times of the tests lie in the past, so idle windows close at once."""

SCALES = {"effort": range(1, 8), "recommend": range(11)}
CONFIGURATION = """
[questions.effort]
metric = "ces"
scale = { low = 1, high = 7, best = 7 }
[questions.recommend]
metric = "nps"
[windows]
live = ["1h"]
calendar = ["1h"]
idle_timeout = "2s"
grace = "1s"
"""

Tally = Counter[tuple[str, str, int]]
"""How many answers there are, by (touchpoint, question, rating)."""

POISON: tuple[tuple[bytes | None, str], ...] = (
    (b"{nope", "not_json"),
    (b'"\xff\xfe"', "not_utf8"),
    (b"", "empty"),
    (b"[1]", "wrong_type"),
    (b'{"response_id":"p","question":"effort","rating":8,"touchpoint":"t"}', "off_scale"),
    (b'{"response_id":"p","question":"nobody-asked","rating":5,"touchpoint":"t"}', "unknown_question"),
    (b'{"question":"effort","rating":5,"touchpoint":"t"}', "missing_field"),
)


async def until(condition: Callable[[], Awaitable[bool]], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Waits for a condition, with a deadline."""
    deadline = time.monotonic() + deadline_s
    while not await condition():
        assert time.monotonic() < deadline, f"not within {deadline_s:.0f} s: {what}"
        await asyncio.sleep(POLL_S)


def partition_of(key: bytes) -> int:
    """The partition that Kafka's own partitioner gives a key."""
    return (murmur2(key) & 0x7FFFFFFF) % PARTITIONS


# -- in ------------------------------------------------------------------------------------------------------------


@dataclass
class Customers:
    """Customers who answer, send answers twice, change and withdraw them; and what must be counted in the end.

    Attributes:
        expected: what is left of their answers.
        dead: (partition, offset) to reason of each record that must be refused.
        lengths: records so far, by partition.
        clean: nothing but new answers.
    """

    seed: int = 1
    span_ms: int = 3 * HOUR_MS
    total: int = 200_000
    clean: bool = False
    expected: Tally = field(default_factory=Counter)
    dead: dict[tuple[int, int], str] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    done: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._answers: list[tuple[bytes, dict[str, Any]]] = []

    def records(self, count: int) -> Iterator[tuple[bytes, bytes | None]]:
        """The next records, as (key, value)."""
        for _ in range(count):
            self.done += 1
            kind = 1.0 if self.clean else self._random.random()
            if kind < 0.005:
                key, value, reason = self._poison()
                self.dead[partition_of(key), self.lengths[partition_of(key)]] = reason
            elif kind < 0.05 and self._answers:
                key, value = self._again(kind)
            else:
                key, value = self._answer()
            self.lengths[partition_of(key)] += 1
            yield key, value

    def _poison(self) -> tuple[bytes, bytes | None, str]:
        value, reason = self._random.choice(POISON)
        return b"c%d" % self._random.randrange(20_000), value, reason

    def _answer(self) -> tuple[bytes, bytes]:
        draw = self._random.random
        question = "effort" if draw() < 0.7 else "recommend"
        scale = SCALES[question]
        customer = f"c{int(draw() * 20_000)}"
        touchpoint = f"touchpoint-{int(draw() * 30):02d}"
        rating = scale[int(draw() * len(scale))]
        time_ms = BASE_MS + self.done * self.span_ms // self.total - int(draw() * 5_000)
        self.expected[touchpoint, question, rating] += 1
        key = customer.encode()
        if not self.clean:
            answer = {
                "response_id": f"r{self.done}",
                "customer_id": customer,
                "touchpoint": touchpoint,
                "question": question,
                "rating": rating,
                "event_time_ms": time_ms,
            }
            self._answers.append((key, answer))
        return key, (
            f'{{"response_id":"r{self.done}","customer_id":"{customer}","touchpoint":"{touchpoint}",'
            f'"question":"{question}","rating":{rating},"event_time_ms":{time_ms}}}'
        ).encode()

    def _again(self, kind: float) -> tuple[bytes, bytes]:
        """A copy, an edit or a withdrawal of an earlier answer."""
        at = self._random.randrange(len(self._answers))
        key, answer = self._answers[at]
        if kind < 0.02:
            return key, json.dumps(answer).encode()
        self._count(answer, -1)
        if kind < 0.04:
            scale = SCALES[answer["question"]]
            edited = answer | {"rating": self._random.choice([r for r in scale if r != answer["rating"]])}
            if kind < 0.03:
                edited["touchpoint"] = f"touchpoint-{self._random.randrange(30):02d}"
            self._answers[at] = key, edited
            self._count(edited, 1)
            return key, json.dumps(edited).encode()
        self._answers[at] = self._answers[-1]
        self._answers.pop()
        return key, json.dumps(answer | {"rating": None}).encode()

    def _count(self, answer: dict[str, Any], by: int) -> None:
        place = answer["touchpoint"], answer["question"], answer["rating"]
        self.expected[place] += by


async def produce(
    broker: str,
    topic: str,
    records: Iterator[tuple[bytes | None, bytes | None]],
    compression: str | None = None,
    *,
    idempotent: bool = True,
) -> None:
    """Writes records in few large batches, each to the partition of its key, in order and exactly once."""
    producer = AIOKafkaProducer(
        bootstrap_servers=broker,
        enable_idempotence=idempotent,
        linger_ms=5,
        compression_type=compression,
        max_batch_size=1 << 19 if compression is None else 2 << 20,
        max_request_size=4 << 20,
    )
    try:
        await producer.start()
        builders = [producer.create_batch() for _ in range(PARTITIONS)]
        sent = []

        async def flush(partition: int) -> None:
            builder = builders[partition]
            builder.close()
            if builder.record_count():
                sent.append(await producer.send_batch(builder, topic, partition=partition))
            builders[partition] = producer.create_batch()

        for key, value in records:
            partition = partition_of(key or b"")
            if builders[partition].append(timestamp=None, key=key, value=value) is None:
                await flush(partition)
                assert builders[partition].append(timestamp=None, key=key, value=value) is not None
        for partition in range(PARTITIONS):
            await flush(partition)
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


# -- the workers ---------------------------------------------------------------------------------------------------


class WorkerProcess:
    """``effortstream worker`` as a process of its own; its standard error goes to ``log``."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                env=environment,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        os.kill(self._process.pid, number)

    def end(self) -> None:
        """Kills it if it still runs, stopped or not."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    async def ended(self, deadline_s: float = 20.0) -> int:
        """Waits until it has ended by itself; its exit status."""

        async def over() -> bool:
            return self.status is not None

        await until(over, f"the end of the worker that logs to {self.log.name}", deadline_s)
        return self._process.wait()

    def text(self) -> str:
        """What it has said so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def events(self, event: str) -> list[dict[str, Any]]:
        """Its log records of one kind."""
        lines = [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    async def owns(self, partitions: int, deadline_s: float = 30.0) -> None:
        """Waits until it has restored that many partitions of its three source topics."""

        async def ready() -> bool:
            assert self.status is None, f"it ended with status {self.status}: {self.text()[-2000:]}"
            found = self.events("partitions ready")
            return bool(found) and found[-1]["partitions"] == partitions

        await until(ready, f"{self.log.name} owns {partitions} partitions", deadline_s)


class Deployment:
    """Topics of their own, and the worker processes on them; all of these are ended with the block.

    Args:
        broker: where.
        folder: for the configuration and the logs.
        configuration: the text of the configuration file.
        topics: whether to create the topics.
        transactional: whether the broker has idempotent producers and transactions.
    """

    def __init__(
        self,
        broker: str,
        folder: Path,
        configuration: str = CONFIGURATION,
        *,
        topics: bool = True,
        transactional: bool = True,
    ) -> None:
        name = uuid.uuid4().hex[:8]
        self.broker, self.folder = broker, folder
        self.topics = Topics(f"p{name}.", f"g{name}")
        self.config = folder / "effortstream.toml"
        self.config.write_text(configuration, encoding="utf-8")
        self._create, self._transactional = topics, transactional
        self._workers: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        if self._create:
            asyncio.run(self.create())
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()
        for worker in self._workers:  # pytest shows it where the test has failed
            sys.stdout.write(f"--- {worker.log.name}: status {worker.status}\n{worker.text()[-6000:]}\n")

    async def create(self) -> None:
        """Creates the topics."""
        topics = self.topics
        await create_topics(
            load_settings(None, broker=self.broker, prefix=topics.prefix, group=topics.group), print
        )

    async def delete(self, spec: TopicSpec) -> None:
        """Deletes a topic, and waits until nobody lists it."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker)
        await admin.start()
        try:
            name = self.topics(spec)
            await admin.delete_topics([name])

            async def gone() -> bool:
                return name not in {each["topic"] for each in await admin.describe_topics()}

            await until(gone, f"{name} is deleted")
        finally:
            await admin.close()

    def worker(
        self, *options: str, program: Sequence[str] = ("-m", "app"), **settings: object
    ) -> WorkerProcess:
        """Starts a worker; settings become environment variables."""
        given = {"prefix": self.topics.prefix, "log_format": "json", "group": self.topics.group} | settings
        environment = {name: value for name, value in os.environ.items() if "EFFORTSTREAM_" not in name}
        environment |= {f"EFFORTSTREAM_{name.upper()}": str(value) for name, value in given.items()}
        command = [sys.executable, *program, "worker", "--config", str(self.config)]
        command += ["--broker", self.broker]
        if "--metrics-port" not in options:
            command += ["--metrics-port", "0"]
        log = self.folder / f"worker-{len(self._workers)}.log"
        started = WorkerProcess([*command, *options], environment, log)
        self._workers.append(started)
        return started

    async def produce(
        self, records: Iterator[tuple[bytes | None, bytes | None]], compression: str | None = None
    ) -> None:
        """Writes to the responses topic; compressed, a record may be larger than a topic takes otherwise."""
        topic = self.topics(RESPONSES)
        await produce(self.broker, topic, records, compression, idempotent=self._transactional)

    @contextlib.asynccontextmanager
    async def readers(self) -> AsyncIterator[Readers]:
        """Readers of what comes out."""
        layout = Layout.of(load_config(self.config).catalog)
        readers = Readers(*(Log(self.broker, self.topics(spec)) for spec in Readers.SPECS), layout)
        async with contextlib.AsyncExitStack() as stack:
            for log in readers.logs:
                await stack.enter_async_context(log)
            yield readers

    async def positions(self) -> dict[int, int]:
        """The committed positions of the group on the responses topic."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(self.topics.group)
            topic = self.topics(RESPONSES)
            return {tp.partition: at.offset for tp, at in found.items() if tp.topic == topic}
        finally:
            await admin.close()


# -- out -----------------------------------------------------------------------------------------------------------


class Log:
    """A topic read from its beginning, under read_committed."""

    def __init__(self, broker: str, topic: str) -> None:
        self._broker, self._tps = broker, [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self._consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._broker,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=50,
        )
        await self._consumer.start()
        self._consumer.assign(self._tps)
        await self._consumer.seek_to_beginning()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._consumer is not None
        await self._consumer.stop()

    async def more(self) -> list[Any]:
        """What has come since the last call."""
        assert self._consumer is not None
        out = []
        while fetched := await self._consumer.getmany(timeout_ms=100):
            for records in fetched.values():
                out += records
        return out


class Readers:
    """What came out, put together the way an outsider would: newest revision, newest partial, all dead letters.

    Attributes:
        windows: newest record of each calendar window.
        gaps: what was wrong about the order of revisions.
        dead: dead letters by their source position, every copy of them.
    """

    SPECS = (WINDOWS, PARTIALS, DEAD_LETTERS)

    def __init__(self, windows: Log, partials: Log, dead_letters: Log, layout: Layout) -> None:
        self.logs = windows, partials, dead_letters
        self.windows: dict[bytes, dict[str, Any]] = {}
        self.gaps: list[str] = []
        self.dead: dict[tuple[int, int], list[Any]] = {}
        self._panes = [MergedPanes(layout.widths, layout.origin_ms) for _ in range(PARTITIONS)]
        self._answers: Tally = Counter()
        self._partials: Tally = Counter()

    async def window_counts(self) -> Tally:
        """Answers over the newest revisions of all calendar windows."""
        for record in await self.logs[0].more():
            new = json.loads(record.value)
            held = self.windows.get(record.key)
            due = 0 if held is None else held["revision"] + 1
            if new["revision"] != due:
                self.gaps.append(f"{record.key!r}: revision {new['revision']} where {due} was due")
            self.windows[record.key] = new
            assert sum(new["counts"].values()) == new["n"]
            for window, sign in ((held, -1), (new, 1)):
                for rating, count in ({} if window is None else window["counts"]).items():
                    self._answers[new["touchpoint"], new["question"], int(rating)] += sign * count
        return +self._answers

    async def partial_counts(self) -> Tally:
        """Answers over the newest partials of all panes."""
        for record in await self.logs[1].more():
            if not record.key:
                continue
            partial = decode_partial(record.value)
            assert partial.kind == RESPONSES_KIND
            for code, _, _, delta in self._panes[record.partition].apply(record.key.decode(), partial):
                question, segment, _ = parse_series_code(code)
                assert not segment
                for rating, count in zip(
                    SCALES[question], delta, strict=False
                ):  # the last one counts the linked
                    self._partials[record.key.decode(), question, rating] += count
        return +self._partials

    async def dead_letters(self) -> dict[tuple[int, int], str]:
        """Reasons of all dead letters by source position."""
        for record in await self.logs[2].more():
            headers = dict(record.headers)
            place = int(headers["effort_partition"]), int(headers["effort_offset"])
            self.dead.setdefault(place, []).append(record)
        return {
            place: dict(copies[0].headers)["effort_reason"].decode() for place, copies in self.dead.items()
        }

    async def agree(self, customers: Customers, deadline_s: float = DEADLINE_S) -> None:
        """Waits until windows, partials and dead letters are what the customers did, to the last count."""
        await self.windows_agree(customers, deadline_s)
        await equal("partials", self.partial_counts, +customers.expected, deadline_s)
        await equal("dead letters", self.dead_letters, customers.dead, deadline_s)
        assert [len(copies) for copies in self.dead.values()] == [1] * len(customers.dead)

    async def windows_agree(self, customers: Customers, deadline_s: float = DEADLINE_S) -> None:
        """Waits until the newest revisions of the calendar windows are what the customers did."""
        await equal("windows", self.window_counts, +customers.expected, deadline_s)
        assert self.gaps == []


async def equal(name: str, read: Callable[[], Awaitable[Any]], wanted: Any, deadline_s: float) -> None:
    """Waits until what is read equals what is wanted; at the deadline, says how they differ."""
    deadline = time.monotonic() + deadline_s
    while (found := await read()) != wanted:
        assert time.monotonic() < deadline, f"{name}: {difference(found, wanted)}"
        await asyncio.sleep(POLL_S)


def difference(found: dict[Any, Any], wanted: dict[Any, Any]) -> str:
    """How two tables differ, in few lines."""
    places = [place for place in {**wanted, **found} if found.get(place) != wanted.get(place)]
    lines = [f"{place}: {found.get(place)} instead of {wanted.get(place)}" for place in places[:5]]
    total = f"{len(places)} of {len(wanted)} differ"
    if isinstance(found, Counter):
        total += f", {found.total()} answers instead of {sum(wanted.values())}"
    return "\n".join([total, *lines])
