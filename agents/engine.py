"""The engine: owns the stages of the assigned partitions, restores them, feeds them batches, checkpoints them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from agents.checkpoints import CheckpointError, Sink
from agents.clock import Clock
from agents.ports import Batch, Outgoing, Stage
from agents.restoring import Progress, StateLostError, restore
from agents.watchdog import StalledError, Watchdog
from scoring.errors import EffortStreamError

log = structlog.get_logger(__name__)

_POLL_S = 0.01
_TICK_S = 0.2
_REFETCH_MAX = 20
_RECORDS_LOADED = 2_000
_RECORDS_PER_CHECKPOINT = 50_000


class BrokersFailedError(EffortStreamError, ConnectionError):
    """The brokers do not answer any more, or refuse what a worker needs."""


def explained(error: BaseException) -> BaseException:
    """An error of the Kafka client as one with a remedy; any other as it is."""
    if isinstance(error, EffortStreamError) or not isinstance(error, KafkaError | OSError):
        return error
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    out = BrokersFailedError(
        f"the brokers do not do what the worker needs ({cause}). Nothing is lost: "
        "look at the brokers, then start it again"
    )
    out.__cause__ = error
    return out


class Reader(Protocol):
    """What the engine needs of the consumer."""

    async def seek_to(self, tp: TopicPartition, offset: int) -> None:
        """Sets the position of an assigned partition."""

    def log_end(self, tp: TopicPartition) -> int | None:
        """Where the readable log ended at the last fetch."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often checkpoints are made, in seconds of wall time."""

    normal_s: float = 0.1
    least_s: float = 0.02
    most_s: float = 0.5


@dataclass(slots=True)
class Owned:
    """One assigned partition: its stage, its sink and the state of its checkpoints."""

    stage: Stage
    sink: Sink
    last_s: float = 0.0
    took_s: float = 0.0
    committed: dict[str, int] = field(default_factory=dict)
    unsaved: int = 0
    refetches: int = 0
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Totals:
    """What this process has done, counted when a checkpoint has committed.

    Attributes:
        events: by (stage, outcome): what became of the input, without what was counted before a restart.
        records: output records by topic.
        lost_records: removed by retention before they were read.
        refetches: fetches that began behind the position and were made again.
    """

    checkpoints: int = 0
    changelog_records: int = 0
    bytes_written: int = 0
    events: dict[tuple[str, str], int] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    lost_records: int = 0
    refetches: int = 0
    rebalances: int = 0
    last_progress_ms: int = 0


class Engine:
    """Runs the stages of one worker.

    Args:
        client: connection settings for every aiokafka client.
        clock: event time of the present.
        new_stage: makes the empty stage of a partition.
        new_sink: makes its sink.
        changelog_of: stage name to changelog topic.
        pace: of the checkpoints.
        watchdog: ends the worker when nothing moves.
        observe: told the seconds that each checkpoint took.

    Attributes:
        ready: partitions whose state is restored; only these are read.
        failed: set once to the error that ends the worker.
    """

    def __init__(
        self,
        client: Mapping[str, Any],
        clock: Clock,
        new_stage: Callable[[TopicPartition], Stage],
        new_sink: Callable[[TopicPartition, Stage], Sink],
        changelog_of: Callable[[str], str],
        pace: Pace,
        watchdog: Watchdog,
        observe: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.client = client
        self.clock = clock
        self.ready: dict[TopicPartition, Owned] = {}
        self.restoring: Progress | None = None
        self.totals = Totals()
        self.reader: Reader | None = None
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._new_stage = new_stage
        self._new_sink = new_sink
        self._changelog_of = changelog_of
        self._pace = pace
        self._watchdog = watchdog
        self._unassigned = True
        self._observe = observe
        self._restore: asyncio.Task[None] | None = None
        self._abandoned: list[Owned] = []
        self._stopping = False
        self._last_tick_s = 0.0

    # -- assignment --------------------------------------------------------------------------------------------

    def assign(self, assigned: set[TopicPartition]) -> None:
        """Begins to restore what was assigned; called inside the rebalance, so it must not wait."""
        self.totals.rebalances += 1
        self._unassigned = False
        if assigned and not self._stopping:
            self._restore = asyncio.create_task(self._guarded(self._restore_all(assigned)), name="restore")

    async def _restore_all(self, assigned: set[TopicPartition]) -> None:
        progress = self.restoring = Progress()
        owned: dict[TopicPartition, Owned] = {}
        try:
            for source in sorted(assigned):
                stage = self._new_stage(source)
                owned[source] = Owned(stage, self._new_sink(source, stage))
            # The sinks first: they fence the last owner, so the end of its changelog is final.
            await _open_all(owned.values())
            stages = {source: one.stage for source, one in owned.items()}
            await restore(stages, self._changelog_of, self.client, progress)
            for source, one in owned.items():
                one.committed = one.stage.progress()
                await self._reader().seek_to(source, one.stage.applied + 1)
        except BaseException:
            self.restoring = None
            await asyncio.gather(*(one.sink.close() for one in owned.values()), return_exceptions=True)
            raise
        self.restoring = None
        self.ready = owned
        log.info(
            "partitions ready",
            partitions=len(owned),
            restored_records=progress.records,
            seconds=round(time.monotonic() - progress.started_s, 2),
        )

    async def revoke(self) -> None:
        """Last checkpoint of everything, then lets go of it. Never raises: a failure ends the worker."""
        task, self._restore = self._restore, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        owned = self.ready
        self.ready = {}
        self._unassigned = True
        if owned and not self.failed.done():
            await self._guarded(self._checkpoint_all(owned))
        left, self._abandoned = [*owned.values(), *self._abandoned], []
        await asyncio.gather(*(one.sink.close() for one in left), return_exceptions=True)

    async def stop(self) -> None:
        """As ``revoke``, and nothing is taken on any more."""
        self._stopping = True
        await self.revoke()

    # -- batches -----------------------------------------------------------------------------------------------

    async def take(self, source: TopicPartition, batch: Batch) -> None:
        """Applies a batch to its stage, if it is the next one; what was applied before is left out."""
        owned = self.ready.get(source)
        if owned is None:
            return
        stage = owned.stage
        position = stage.applied + 1
        if batch.end <= position:
            return
        if batch.start > position and not await self._may_skip(source, owned, batch):
            return
        if batch.start < position:
            records = [record for record in batch.records if record.offset >= position]
            batch = Batch(records, position, batch.end, batch.log_end)
        owned.refetches = 0
        stage.apply(batch)
        owned.unsaved += len(batch.records)
        await asyncio.sleep(0)

    async def _may_skip(self, source: TopicPartition, owned: Owned, batch: Batch) -> bool:
        """A fetch began behind the position: fetch again, unless the log's start has moved past it."""
        position = owned.stage.applied + 1
        start = await self._log_start(source)
        if self.ready.get(source) is not owned or owned.stage.applied + 1 != position:
            return False
        if start >= batch.start:
            lost = batch.start - position
            self.totals.lost_records += lost
            place = {"topic": source.topic, "partition": source.partition, "from_offset": position}
            log.error("retention removed records before they were read", lost=lost, **place)
            return True
        owned.refetches += 1
        self.totals.refetches += 1
        if owned.refetches > _REFETCH_MAX:
            raise StateLostError(
                f"{source.topic}[{source.partition}]: fetches keep starting at {batch.start} instead of {position}. "
                "Restart the worker; if it happens again, report it with this message"
            )
        await self._reader().seek_to(source, position)
        return False

    async def _log_start(self, source: TopicPartition) -> int:
        from aiokafka import AIOKafkaConsumer  # noqa: PLC0415 - rare: only when a gap was seen

        consumer = AIOKafkaConsumer(**self.client, group_id=None)
        await consumer.start()
        try:
            return int((await consumer.beginning_offsets([source]))[source])
        finally:
            await consumer.stop()

    # -- checkpoints -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Lets time pass and makes checkpoints until ``stop`` or a failure.

        Not to be cancelled before ``stop``: what a checkpoint has drained from its stage is in no later one.
        """
        await asyncio.gather(self._guarded(self._run()), self._guarded(self._watch()))

    async def _run(self) -> None:
        while not self._stopping:
            await asyncio.sleep(_POLL_S)
            now_s = time.monotonic()
            if now_s - self._last_tick_s >= _TICK_S:
                self._last_tick_s = now_s
                self._tick()
            due = {source: one for source, one in self.ready.items() if self._is_due(one, now_s)}
            if due:
                await self._checkpoint_all(due)

    def _is_due(self, owned: Owned, now_s: float) -> bool:
        """Idle: at once. Loaded: coalesced, until enough records wait; never so often that writing is all it does."""
        pace = self._pace
        waited_s = now_s - owned.last_s
        if owned.unsaved >= _RECORDS_PER_CHECKPOINT:
            return waited_s >= pace.least_s
        if owned.unsaved >= _RECORDS_LOADED:
            return waited_s >= pace.most_s
        return waited_s >= min(pace.most_s, max(pace.normal_s, 4 * owned.took_s))

    def _tick(self) -> None:
        now_ms = self.clock.now_ms()
        for source, owned in self.ready.items():
            end = self._reader().log_end(source)
            owned.stage.tick(now_ms, at_end=end is not None and owned.stage.applied + 1 >= end)

    async def _watch(self) -> None:
        """Beside the checkpoints, since it is one of these that may hang."""
        stalled = None
        while not self._stopping and stalled is None:
            await asyncio.sleep(_TICK_S)
            stalled = self._watchdog.look(time.monotonic(), self._waiting())
        if stalled is not None:
            raise StalledError(
                f"{stalled}: no progress for {self._watchdog.stall_s:.0f} s although there is work. This worker ends; "
                "nothing is lost: look at the brokers, then start it again (a supervisor does)"
            )

    def _waiting(self) -> Iterator[tuple[str, object]]:
        """Everything that should move, with what shows whether it does; a fetch without an answer counts as work."""
        if self._unassigned:
            yield "waiting for partitions", self.totals.rebalances
        if self.restoring is not None:
            yield "restoring state", (self.totals.rebalances, self.restoring.records)
        for source, position, end, _ in self.positions():
            if end is None or position < end:
                yield f"reading {source.topic}[{source.partition}]", position

    async def _checkpoint_all(self, owned: Mapping[TopicPartition, Owned]) -> None:
        await asyncio.gather(*(self._checkpoint(one) for one in owned.values()))

    async def _checkpoint(self, owned: Owned) -> None:
        async with owned.writing:
            unsaved = owned.unsaved
            outgoing = owned.stage.checkpoint(self.clock.now_ms())
            if outgoing is None:
                return
            begun_s = time.monotonic()
            await owned.sink.write(outgoing)
            owned.last_s = time.monotonic()
            owned.took_s = owned.last_s - begun_s
            owned.unsaved -= unsaved
        self._account(owned, outgoing)

    def _account(self, owned: Owned, outgoing: Outgoing) -> None:
        totals = self.totals
        totals.checkpoints += 1
        totals.changelog_records += len(outgoing.changelog)
        totals.bytes_written += outgoing.size_bytes
        for (topic, _), records in outgoing.sends.items():
            totals.records[topic.name] = totals.records.get(topic.name, 0) + len(records)
        for outcome, count in outgoing.progress.items():
            key = owned.stage.name, outcome
            totals.events[key] = totals.events.get(key, 0) + count - owned.committed.get(outcome, 0)
        owned.committed = outgoing.progress
        totals.last_progress_ms = self.clock.now_ms()
        self._observe(owned.took_s)

    def positions(self) -> Iterator[tuple[TopicPartition, int, int | None, int | None]]:
        """Of each partition that is ready: next offset, end of its log if known, watermark in ms if there is one."""
        for source, owned in sorted(self.ready.items()):
            stage = owned.stage
            end = None if self.reader is None else self.reader.log_end(source)
            yield source, stage.applied + 1, end, stage.watermark_ms

    # -- failure -----------------------------------------------------------------------------------------------

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Any error of the engine ends the worker: its successor goes on from the last checkpoint."""
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - reported to whoever waits for `failed`, which ends the process
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Ends the worker with this error; what it owned is closed by ``stop``."""
        self._abandoned += self.ready.values()
        self.ready = {}
        if not self.failed.done():
            self.failed.set_result(explained(error))

    def _reader(self) -> Reader:
        if self.reader is None:
            raise CheckpointError("the consumer is not there yet")
        return self.reader


async def _open_all(owned: Iterable[Owned]) -> None:
    """Opens every sink; when one can not be opened, none is left half open."""
    opening = [asyncio.create_task(one.sink.open()) for one in owned]
    try:
        await asyncio.gather(*opening)
    except BaseException:
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        raise
