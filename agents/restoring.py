"""Restoring state: reading changelog partitions under read_committed, from their start to their last stable offset."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.batches import fetch_batches
from agents.ports import Stage
from scoring.errors import EffortStreamError

_POLL_S = 0.2
_STALL_S = 60.0
_SAY_EVERY_S = 5.0

log = structlog.get_logger(__name__)


class StateLostError(EffortStreamError, RuntimeError):
    """Stored state and input do not belong together any more, or the state can not be read."""


@dataclass(slots=True)
class Progress:
    """How far a restore is, for logs and metrics."""

    partitions: int = 0
    records: int = 0
    total: int = 0
    started_s: float = field(default_factory=time.monotonic)
    said_s: float = field(default_factory=time.monotonic)

    def say(self, now_s: float) -> None:
        """Tells how far it is, every few seconds: a long restore must not look like a hang."""
        if now_s - self.said_s < _SAY_EVERY_S:
            return
        self.said_s = now_s
        seconds = round(now_s - self.started_s)
        # markers, and what compaction has removed, count in the total and never come
        log.info("restoring state", records=self.records, of_at_most=self.total, seconds=seconds)


async def restore(
    stages: Mapping[TopicPartition, Stage],
    changelog_of: Callable[[str], str],
    client: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Fills the stages from their changelogs, and checks their positions against their sources.

    The sinks must be open: then the last owner is fenced, no transaction is open, and the end that is looked up here
    is the end for good. Ends whatever gaps markers, aborted transactions, compaction or retention left in the offsets,
    since it looks at positions, not at records.

    Args:
        stages: by source partition.
        changelog_of: stage name to changelog topic.
        client: connection settings of aiokafka.
        progress: kept up to date.

    Raises:
        StateLostError: a position lies beyond the end of its source, or no record came for a minute.
    """
    consumer = AIOKafkaConsumer(
        **client,
        group_id=None,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 << 20,
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    try:
        by_changelog = {
            TopicPartition(changelog_of(stage.name), source.partition): stage
            for source, stage in stages.items()
        }
        with _no_collections():
            await _read(consumer, by_changelog, progress)
            for stage in stages.values():
                stage.resume()
                await asyncio.sleep(0)
        await _check_positions(consumer, stages)
    finally:
        await consumer.stop()


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keeps the cyclic garbage collector out: state grows by millions of objects, and none of them is garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


async def _read(
    consumer: AIOKafkaConsumer, stages: Mapping[TopicPartition, Stage], progress: Progress
) -> None:
    consumer.assign(list(stages))
    ends = await consumer.end_offsets(list(stages))
    starts = await consumer.beginning_offsets(list(stages))
    await consumer.seek_to_beginning(*stages)
    waiting = {tp for tp in stages if ends[tp] > starts[tp]}
    progress.partitions = len(stages)
    progress.total = sum(ends[tp] - starts[tp] for tp in stages)
    last = time.monotonic()
    while waiting:
        fetched = await fetch_batches(consumer, waiting, _POLL_S)
        for tp, batch in fetched.items():
            restore_one = stages[tp].restore
            for key, value in _compacted(batch.records):
                restore_one(key, value)
            progress.records += len(batch.records)
        progress.say(time.monotonic())
        done = {tp for tp in waiting if await consumer.position(tp) >= ends[tp]}
        if fetched or done:
            last = time.monotonic()
        elif time.monotonic() - last > _STALL_S:
            raise StateLostError(
                f"no record of {min(tp.topic for tp in waiting)} came for {_STALL_S:.0f} s while restoring. "
                "Look at the brokers: are all partitions of the changelogs online?"
            )
        waiting -= done
        await asyncio.sleep(0)


def _compacted(records: Sequence[Any]) -> Iterator[tuple[bytes, bytes | None]]:
    """The last record of each key, in the order of the log: what the broker's compaction leaves, before it has run.

    An open pane is stored with every checkpoint, so most of what compaction has not come to yet needs no decoding.
    """
    last: dict[bytes, bytes | None] = {}
    for record in reversed(records):
        last.setdefault(record.key, record.value)
    return reversed(last.items())


async def _check_positions(consumer: AIOKafkaConsumer, stages: Mapping[TopicPartition, Stage]) -> None:
    ends = await consumer.end_offsets(list(stages))
    starts = await consumer.beginning_offsets(list(stages))
    for source, stage in stages.items():
        if stage.applied + 1 > ends[source]:
            raise StateLostError(
                f"{source.topic}[{source.partition}] ends at offset {ends[source]}, but the stored state has applied "
                f"{stage.applied}: the topic was deleted and made again. Start with a new topic prefix and group, "
                "or delete the group's changelog topics to count from the start of the new topic"
            )
        if stage.applied < 0:  # new state begins where the log begins: what left it before is nobody's loss
            stage.applied = starts[source] - 1
