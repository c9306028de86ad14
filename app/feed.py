"""The feed: reads the output topics from their beginning into the read model, and goes on for as long as it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.clock import wall_ms
from agents.topics import Topics, TopicSpec
from app.readmodel import READ_TOPICS, ReadModel

log = logging.getLogger(__name__)

POLL_MS = 500
BATCH_RECORDS = 500
POSITION_TIMEOUT_S = 10.0
STALLED_AFTER_MS = 30_000
BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 10.0
METADATA_AGE_MS = 30_000
MISSING_POLL_S = 1.0
QUIET_FETCHES = 2
BEYOND_END_FETCHES = 4


async def partition_counts(client: Mapping[str, Any]) -> dict[str, int]:
    """How many partitions each topic of a broker has.

    Args:
        client: the arguments of a Kafka client: where the broker is, and its security.
    """
    # Of all topics: asking for one that does not exist may create it
    admin = AIOKafkaAdminClient(**client)
    try:
        await admin.start()
        described = await admin.describe_topics()
    finally:
        await admin.close()
    return {
        each["topic"]: len(each["partitions"])
        for each in described
        if not each["error_code"] and each["partitions"]
    }


class _Renewal(Exception):  # noqa: N818 - no error: what is read has changed, so reading starts over
    """The partitions to read are no longer those that the session was opened with."""


class _Progress:
    """How far one partition has been read in this session.

    The end of a log is judged by fetches alone: ``end_offsets`` counts transaction markers on one broker and is too
    low on another. Caught up is who has reached the high watermark that the first fetch told, or whose fetches came
    back empty twice in a row at one position: behind an open transaction, or where compaction took the last records.
    """

    def __init__(self) -> None:
        self.position = -1
        self.target: int | None = None
        self.fetched_ms = 0
        self.quiet = 0
        self.beyond_end = 0

    def observe(self, position: int, highwater: int, fetched_ms: int) -> bool:
        """Takes in what is known after a poll, and tells whether the partition is caught up."""
        if self.target is None:
            self.target = highwater
        if position != self.position:
            self.quiet = self.beyond_end = 0
        elif fetched_ms > self.fetched_ms:
            self.quiet += 1
            # A new leader may state a lower end for a moment; one that goes on doing so has another log
            self.beyond_end = self.beyond_end + 1 if highwater < position else 0
        self.position, self.fetched_ms = position, fetched_ms
        return position >= self.target or self.quiet >= QUIET_FETCHES


class ScoreFeed:
    """Keeps a read model up to date, through outages of any length.

    Reads all partitions of each topic without a group, as committed. After an outage it goes on where it was; a log
    that begins anew (its topic was deleted and made again) takes the series that came from it along.

    Args:
        model: what is filled.
        topics: how the topics are called.
        broker: ``host:port``, or several with commas.
        security: security arguments of every client.
        now_ms: wall clock, to tell how long ago the broker was last heard.
        read: the topics that are read.

    Attributes:
        last_contact_ms: wall time of the last answer of the broker; None before the first.
        missing: topics that do not exist yet.
    """

    def __init__(
        self,
        model: ReadModel,
        topics: Topics,
        broker: str,
        security: Mapping[str, Any],
        now_ms: Callable[[], int] = wall_ms,
        read: Iterable[TopicSpec] = READ_TOPICS,
    ) -> None:
        self.last_contact_ms: int | None = None
        self.missing: tuple[str, ...] = ()
        self._model = model
        self._specs = {topics(spec): spec for spec in read}
        self._client = {"bootstrap_servers": broker, "client_id": "effortstream-serve", **security}
        self._now_ms = now_ms
        self._trouble: str | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._caught_up: set[TopicPartition] = set()

    def not_ready(self) -> list[str]:
        """Why the read model is not complete yet, as sentences; empty when it is."""
        if self._model.ready:
            return []
        if self.missing:
            names = ", ".join(self.missing)
            return [
                f"topics that do not exist yet: {names}. Start a worker, or run: effortstream topics create"
            ]
        if self._trouble is not None:
            return [f"reading from Kafka was interrupted ({self._trouble}); trying again"]
        if self.last_contact_ms is None:
            return ["no broker has answered yet"]
        behind = len(self._assigned - self._caught_up)
        return [
            f"still reading {behind} of {len(self._assigned)} partitions to where they ended at the start"
        ]

    async def run(self) -> NoReturn:
        """Reads until cancelled; only our own bugs end it otherwise."""
        backoff_s = BACKOFF_MIN_S
        while True:
            before = self.last_contact_ms
            try:
                await self._session()
            except _Renewal as change:
                log.info("reading anew: %s", change)
            except (KafkaError, OSError) as error:
                if self.last_contact_ms != before:
                    backoff_s = BACKOFF_MIN_S
                self._trouble = str(error) or type(error).__name__
                log.warning(
                    "reading from Kafka was interrupted (%s); trying again in %.1f s, serving what is known",
                    self._trouble,
                    backoff_s,
                )
                await asyncio.sleep(backoff_s)
                backoff_s = min(BACKOFF_MAX_S, backoff_s * 2)

    async def _session(self) -> NoReturn:
        partitions = await self._find_partitions()
        consumer = AIOKafkaConsumer(
            **self._client,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            metadata_max_age_ms=METADATA_AGE_MS,
        )
        try:
            await consumer.start()
            consumer.assign(list(partitions))
            for partition in partitions:
                if partition in self._positions:
                    consumer.seek(partition, self._positions[partition])
            await self._read(consumer, partitions)
        finally:
            await consumer.stop()

    async def _find_partitions(self) -> dict[TopicPartition, TopicSpec]:
        """Waits until all topics exist, and takes over which partitions they have."""
        while True:
            counts = await partition_counts(self._client)
            self.last_contact_ms = self._now_ms()
            missing = tuple(name for name in self._specs if name not in counts)
            if missing != self.missing:
                self.missing = missing
                for name in missing:
                    log.warning("topic %s does not exist yet; waiting for it", name)
                    self._forget(each for each in list(self._positions) if each.topic == name)
            if not missing:
                break
            await asyncio.sleep(MISSING_POLL_S)
        found = {
            TopicPartition(name, number): spec
            for name, spec in self._specs.items()
            for number in range(counts[name])
        }
        self._forget(set(self._positions) - found.keys())
        self._assigned = frozenset(found)
        self._caught_up &= found.keys()
        self._trouble = None
        return found

    async def _read(
        self, consumer: AIOKafkaConsumer, partitions: Mapping[TopicPartition, TopicSpec]
    ) -> NoReturn:
        progress = {each: _Progress() for each in partitions}
        opened_ms = self._now_ms()
        while True:
            batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
            for partition, records in batches.items():
                self._apply(partition, partitions[partition], records)
            for partition, state in progress.items():
                await self._observe(consumer, partition, state)
            self._check_partitions(consumer, partitions)
            # The quietest partition counts: a deleted topic or a lost leader shows in nothing but its silence
            oldest_ms = min(state.fetched_ms for state in progress.values())
            silent_ms = self._now_ms() - max(oldest_ms, opened_ms)
            if silent_ms > STALLED_AFTER_MS:
                raise TimeoutError(f"no answer for {silent_ms // 1000} s")

    def _apply(self, partition: TopicPartition, spec: TopicSpec, records: list[Any]) -> None:
        if records[0].offset < self._positions.get(partition, 0):
            self._begun_anew(partition)
        for record in records:
            self._model.apply(spec, partition.partition, record.offset, record.key, record.value)

    async def _observe(self, consumer: AIOKafkaConsumer, partition: TopicPartition, state: _Progress) -> None:
        highwater = consumer.highwater(partition)
        if highwater is None:
            return
        async with asyncio.timeout(POSITION_TIMEOUT_S):
            position = await consumer.position(partition)
        if position < self._positions.get(partition, 0):
            self._begun_anew(partition)
        self._positions[partition] = position
        fetched_ms = consumer.last_poll_timestamp(partition)
        self.last_contact_ms = max(self.last_contact_ms or 0, fetched_ms)
        caught_up = state.observe(position, highwater, fetched_ms)
        if state.beyond_end >= BEYOND_END_FETCHES:
            self._begun_anew(partition)
        if caught_up:
            self._caught_up.add(partition)
            if not self._model.ready and self._caught_up >= self._assigned:
                self._model.ready = True
                held = ", ".join(f"{self._model.held(spec)} {spec.name}" for spec in self._specs.values())
                log.info("caught up: %s", held)

    def _check_partitions(
        self, consumer: AIOKafkaConsumer, partitions: Mapping[TopicPartition, TopicSpec]
    ) -> None:
        for name in self._specs:
            known = consumer.partitions_for_topic(name)
            if known is not None and len(known) != sum(each.topic == name for each in partitions):
                raise _Renewal(f"{name} now has {len(known)} partitions")

    def _begun_anew(self, partition: TopicPartition) -> NoReturn:
        self._forget([partition])
        raise _Renewal(f"the log of {partition.topic}[{partition.partition}] has begun anew")

    def _forget(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            del self._positions[partition]
            self._caught_up.discard(partition)
            self._model.forget(self._specs[partition.topic], partition.partition)
            self._model.ready = False
