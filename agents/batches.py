"""Whole batches out of an aiokafka consumer: its batch parser's records as they are, no object made for each.

There is no public way to them, so this module reaches into the consumer's fetcher (see agents/transport.py).
"""

# ruff: noqa: SLF001

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Any

import aiokafka
import aiokafka.errors
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult

from agents.ports import Batch

_GAP_S = 5.0
_LOG = logging.getLogger("faust")  # the name under which all of the transport logs


class Gaps:
    """Missing offsets inside fetches of a broker without transactions, which are waited for.

    Apache Kafka shows a batch only when all before it can be read. The embedded broker stores two batches that come at
    the same moment in any order, so a fetch in between shows the later one alone: who read on would lose the earlier.

    Args:
        patience_s: how long a gap is waited for; then it is taken as final (compaction leaves such gaps).
    """

    def __init__(self, patience_s: float = _GAP_S) -> None:
        self._patience_s = patience_s
        self._seen: dict[aiokafka.TopicPartition, tuple[int, float]] = {}

    def hold_back(self, tp: aiokafka.TopicPartition, offset: int, now_s: float) -> bool:
        """Whether to wait for the record at ``offset`` of a partition, which a fetch at ``now_s`` left out."""
        missing, since_s = self._seen.get(tp, (-1, now_s))
        if missing != offset:
            since_s = now_s
        self._seen[tp] = offset, since_s
        if now_s - since_s <= self._patience_s:
            return True
        _LOG.warning(
            "%s[%d]: offset %d was not there for %.0f s, and is taken as removed",
            tp.topic,
            tp.partition,
            offset,
            self._patience_s,
        )
        return False


async def fetch_batches(
    consumer: aiokafka.AIOKafkaConsumer, wanted: Collection[aiokafka.TopicPartition], timeout_s: float
) -> dict[aiokafka.TopicPartition, Batch]:
    """As ``getmany`` of a consumer without a group, but with the batches whole.

    Args:
        consumer: started, with partitions assigned by hand.
        wanted: of these.
        timeout_s: how long to wait where nothing has been fetched yet.
    """
    fetcher = consumer._fetcher
    if fetcher._fetch_task.done():
        fetcher._fetch_task.result()  # raises what has ended it; nobody else would notice
    with fetcher._subscriptions.fetch_context():
        drained = drain_all(fetcher, wanted, None)
        if drained:
            return drained
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=timeout_s)
        if not done:
            waiter.cancel()
            return {}
        waiter.result()
        return drain_all(fetcher, wanted, None)


def drain_all(fetcher: Any, wanted: Any, gaps: Gaps | None) -> dict[Any, Batch]:
    """What has been fetched of the wanted partitions, a batch for each; raises what a fetch has failed with."""
    drained: dict[Any, Batch] = {}
    records = fetcher._records
    for tp in list(records):
        if tp not in wanted:
            if not fetcher._subscriptions.is_assigned(tp):
                del records[tp]
            continue
        fetched = records[tp]
        if type(fetched) is FetchResult:
            batch = drain(fetched, gaps)
            del records[tp]
            fetcher._notify(fetcher._wait_consume_future)
            if batch is not None:
                drained[tp] = batch
        elif drained:
            return drained  # the error comes up at the next call
        else:
            del records[tp]
            fetcher._notify(fetcher._wait_consume_future)
            fetched.check_raise()
    return drained


def drain(fetched: FetchResult, gaps: Gaps | None) -> Batch | None:
    """All records of a fetch: checksums checked, markers and aborted transactions left out, no object for each.

    With ``gaps``, only those before the first offset that is missing and to be waited for.
    """
    tp = fetched._topic_partition
    if not fetched.check_assignment(tp) or not fetched.has_more():
        return None
    part = fetched._partition_records
    start = position = part.next_fetch_offset
    out: list[Any] = []
    committed_only = part._isolation_level == READ_COMMITTED
    while part._records.has_next():
        batch = part._records.next_batch()
        if not batch.validate_crc():
            raise aiokafka.errors.CorruptRecordException(
                f"a batch of {tp} at or after offset {position} is damaged"
            )
        if (
            gaps is not None
            and batch.base_offset > position
            and gaps.hold_back(tp, position, time.monotonic())
        ):
            break  # fetched again from here
        if committed_only and batch.producer_id is not None and _is_aborted(part, batch):
            position = batch.next_offset
            continue
        if not batch.is_control_batch:
            if batch.base_offset >= position:
                out.extend(batch)
            else:
                out.extend([record for record in batch if record.offset >= position])
        position = batch.next_offset
    part.next_fetch_offset = position
    # Unused, and a cycle: it would keep the fetched bytes until the collector came by.
    part._records_iterator = None
    fetched._update_position()
    fetched._partition_records = None
    state = fetched._assignment.state_value(tp)
    return Batch(out, start, position, log_end(state) or position)


def log_end(state: Any) -> int | None:
    """Last stable offset of a partition's state, or its high watermark where the broker knows none."""
    end: int | None = state.lso if state.lso is not None and state.lso >= 0 else state.highwater
    return end


def _is_aborted(part: Any, batch: Any) -> bool:
    part._consume_aborted_up_to(batch.base_offset)
    if batch.is_control_batch and part._contains_abort_marker(batch):
        part._aborted_producers.discard(batch.producer_id)
    return batch.is_transactional and batch.producer_id in part._aborted_producers
