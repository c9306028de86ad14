"""A worker's engine that is led by hand: the test says when it reads, when it makes a checkpoint, where it is cut.

Everything else is real: the broker, the sinks, the restore, the stages, the positions of the group.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from agents.checkpoints import Place, TransactionalSink
from agents.clock import SystemClock
from agents.engine import Engine, Pace
from agents.merging import MergedPanes
from agents.panes import Layout, parse_series_code
from agents.partials import decode_partial
from agents.ports import Batch, Stage
from agents.responses import ResponseStage
from agents.source import Intake
from agents.topics import DEAD_LETTERS, PARTIALS, RESPONSES
from agents.watchdog import Watchdog
from app.config import load_config
from tests.pipeline import PARTITIONS, SCALES, Customers, Deployment, difference

WAIT_S = 20.0


class CutError(Exception):
    """Here the power went."""


class Hand:
    """One worker that owns all partitions of the responses topic; ``async with`` takes them, and lets go in the end.

    Args:
        deployment: its topics.

    Attributes:
        engine: to be looked into.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        topics = deployment.topics
        self.sources = [TopicPartition(topics(RESPONSES), number) for number in range(PARTITIONS)]
        self._client = {"bootstrap_servers": deployment.broker}
        self._intake = Intake(load_config(deployment.config).catalog, PARTITIONS)
        self.engine = Engine(
            self._client,
            SystemClock(),
            self._stage,
            self._sink,
            lambda stage: topics(topics.changelog(stage)),
            Pace(),
            Watchdog(60),
        )
        self.engine.reader = self
        self._consumer = AIOKafkaConsumer(
            **self._client,
            group_id=topics.group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )

    def _stage(self, source: TopicPartition) -> Stage:
        return ResponseStage(source.topic, source.partition, self._intake)

    def _sink(self, source: TopicPartition, stage: Stage) -> TransactionalSink:
        place = Place(self._deployment.topics, stage.name, source.topic, source.partition)
        return TransactionalSink(place, self._client, WAIT_S)

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        self._consumer.assign(self.sources)
        try:
            self.engine.assign(set(self.sources))
            await self._until(lambda: bool(self.engine.ready))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.engine.failed.done():
            self.engine.fail(CutError())  # no last checkpoint: what is to be stored the scenario stores
        await self.engine.stop()
        await self._consumer.stop()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._check()
                await asyncio.sleep(0.01)

    def _check(self) -> None:
        if self.engine.failed.done():
            raise self.engine.failed.result()

    # -- the reader ----------------------------------------------------------------------------------------------

    async def seek_to(self, tp: TopicPartition, offset: int) -> None:
        """What the engine asks of its consumer."""
        self._consumer.seek(tp, offset)

    def log_end(self, tp: TopicPartition) -> int | None:
        """Not known: no time passes here."""

    async def move(self, by: int) -> None:
        """Lets the consumer go on from elsewhere, as after a fetch that was dropped or came twice."""
        for tp in self.sources:
            self._consumer.seek(tp, await self._consumer.position(tp) + by)

    # -- steps ---------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Reads to the end of every log, from wherever the consumer stands."""
        ends = await self._consumer.end_offsets(self.sources)
        async with asyncio.timeout(WAIT_S):
            for tp in self.sources:
                while (start := await self._consumer.position(tp)) < ends[tp]:
                    records = (await self._consumer.getmany(tp, timeout_ms=100)).get(tp, [])
                    end = await self._consumer.position(tp)
                    await self.engine.take(tp, Batch(records, start, end, ends[tp]))
        self._check()

    async def checkpoint(self) -> None:
        """Makes a checkpoint of every partition.

        Raises:
            CheckpointError: one could not be written.
        """
        await self.engine._guarded(self.engine._checkpoint_all(self.engine.ready))
        self._check()

    def cut_after(self, batches: int) -> None:
        """Lets the power go in the next checkpoints, when so many batches of each are stored and no more are sent."""
        for owned in self.engine.ready.values():
            _cut(owned.sink, batches)

    def hold_commits(self, may_commit: Callable[[], Awaitable[object]]) -> None:
        """Lets the next checkpoints wait when everything is sent and nothing is committed."""
        for owned in self.engine.ready.values():
            _hold(owned.sink, may_commit)


def _cut(sink: Any, batches: int) -> None:
    producer, left = sink._producer, batches
    send = producer.send_batch

    async def send_batch(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise CutError
        sent = await send(*args, **kwargs)
        await asyncio.shield(sent)  # stored before the next one is sent, so the cut is where it is said to be
        return sent

    producer.send_batch = send_batch


def _hold(sink: Any, may_commit: Callable[[], Awaitable[object]]) -> None:
    producer = sink._producer
    commit = producer.commit_transaction

    async def commit_transaction() -> None:
        await producer.flush()
        await may_commit()
        await commit()

    producer.commit_transaction = commit_transaction


# -- what came out -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def outsider(
    deployment: Deployment, group: str | None = None, isolation: str = "read_committed"
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that sees what is committed."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=deployment.broker,
        group_id=group,
        isolation_level=isolation,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def committed(deployment: Deployment, topic: str) -> list[Any]:
    """Everything that a topic shows under read_committed, once no transaction on it is open any more.

    A broker writes the marker of a commit a little after it has said that the commit is done.
    """
    tps = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    out = []
    async with (
        outsider(deployment) as consumer,
        outsider(deployment, isolation="read_uncommitted") as everything,
        asyncio.timeout(WAIT_S),
    ):
        consumer.assign(tps)
        while (ends := await consumer.end_offsets(tps)) != await everything.end_offsets(tps):
            await asyncio.sleep(0.02)
        await consumer.seek_to_beginning(*tps)
        for tp in tps:
            while await consumer.position(tp) < ends[tp]:
                out += (await consumer.getmany(tp, timeout_ms=100)).get(tp, [])
    return out


async def say_positions(deployment: Deployment, beyond: int) -> None:
    """Sets the group's committed offsets, as somebody does who means well."""
    tps = [TopicPartition(deployment.topics(RESPONSES), number) for number in range(PARTITIONS)]
    async with outsider(deployment, deployment.topics.group) as consumer:
        consumer.assign(tps)
        for tp in tps:
            held = await consumer.committed(tp) or 0
            await consumer.commit({tp: OffsetAndMetadata(held + beyond, "")})


async def differences(deployment: Deployment, customers: Customers) -> list[str]:
    """How partials and dead letters differ from what the customers did; empty where they are exact."""
    return [
        f"{name}: {difference(found, wanted)}"
        for name, found, wanted in (
            ("answers", await _answers(deployment), +customers.expected),
            ("dead letters", await _dead_letters(deployment), dict.fromkeys(customers.dead, 1)),
        )
        if found != wanted
    ]


async def _answers(deployment: Deployment) -> Counter[Any]:
    layout = Layout.of(load_config(deployment.config).catalog)
    panes = [MergedPanes(layout.widths, layout.origin_ms) for _ in range(PARTITIONS)]
    counted: Counter[Any] = Counter()
    for record in await committed(deployment, deployment.topics(PARTIALS)):
        if record.key:
            touchpoint = record.key.decode()
            for code, _, _, delta in panes[record.partition].apply(touchpoint, decode_partial(record.value)):
                question = parse_series_code(code)[0]
                for rating, count in zip(SCALES[question], delta, strict=False):  # the last counts the linked
                    counted[touchpoint, question, rating] += count
    return +counted


async def _dead_letters(deployment: Deployment) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for record in await committed(deployment, deployment.topics(DEAD_LETTERS)):
        headers = dict(record.headers)
        found[int(headers["effort_partition"]), int(headers["effort_offset"])] += 1
    return found
