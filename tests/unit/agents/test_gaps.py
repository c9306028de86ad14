"""Fetches that leave out an offset which a broker without transactions shows only later."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from agents import batches
from agents.batches import Gaps, drain

TP = TopicPartition("partials", 3)


def stored(base: int, *values: bytes) -> bytes:
    """A record batch as a broker keeps it."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for at, value in enumerate(values):
        builder.append(at, 1_700_000_000_000, b"", value, [])
    batch = bytes(builder.build())
    return base.to_bytes(8, "big") + batch[8:]  # the checksum begins behind it


def fetch(position: int, *batches: bytes) -> FetchResult:
    """What a fetch from ``position`` answered."""
    state = SimpleNamespace(lso=-1, highwater=24, position=position, has_valid_position=True, paused=False)
    state.consumed_to = lambda at: setattr(state, "position", at)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    records = PartitionRecords(
        TP, MemoryRecords(b"".join(batches)), [], position, None, None, True, READ_COMMITTED
    )
    return FetchResult(TP, assignment=assignment, partition_records=records, backoff=0)


def values(batch) -> list[bytes]:
    """The values of a drained batch."""
    return [record.value for record in batch.records]


def test_a_later_batch_that_shows_before_an_earlier_one_is_not_taken_until_that_is_there():
    """The earlier one would be lost otherwise: its offset lies behind the position by then."""
    gaps = Gaps()
    early, late, first = stored(8, b"early", b"early too"), stored(10, b"late"), stored(7, b"first")
    held = drain(fetch(7, first, late), gaps)
    assert (values(held), held.end) == ([b"first"], 8)
    nothing = drain(fetch(8, late), gaps)
    assert (nothing.start, nothing.end) == (8, 8)
    whole = drain(fetch(8, early, late), gaps)
    assert (values(whole), whole.end) == ([b"early", b"early too", b"late"], 11)


def test_a_gap_is_taken_as_final_where_the_broker_has_transactions():
    """Apache Kafka shows a batch only when all before it are there; markers and compaction leave gaps for good."""
    assert values(drain(fetch(8, stored(10, b"late")), None)) == [b"late"]


def test_a_gap_that_stays_is_passed_after_the_time_that_it_is_waited_for(monkeypatch, caplog):
    """A compacted input must not stop the worker; the log says which offset is missing."""
    gaps, now_s = Gaps(patience_s=5.0), [100.0]
    monkeypatch.setattr(batches.time, "monotonic", lambda: now_s[0])
    assert not drain(fetch(8, stored(10, b"late")), gaps).records
    now_s[0] += 4.9
    assert not drain(fetch(8, stored(10, b"late")), gaps).records
    now_s[0] += 0.2
    assert values(drain(fetch(8, stored(10, b"late")), gaps)) == [b"late"]
    assert "offset 8 was not there" in caplog.text


def test_each_gap_is_waited_for_in_full():
    """The time of one that was filled does not count for the next."""
    gaps = Gaps(patience_s=5.0)
    assert gaps.hold_back(TP, 8, 100.0)
    assert gaps.hold_back(TP, 9, 104.0)
    assert gaps.hold_back(TP, 9, 108.0)
    assert not gaps.hold_back(TP, 9, 110.0)


def test_the_bytes_of_a_fetch_are_let_go_with_it():
    """The collector comes seldom by on purpose: a cycle in each fetch kept megabytes a second."""
    fetched = fetch(7, stored(7, b"first"))
    part = weakref.ref(fetched._partition_records)
    gc.disable()
    try:
        assert values(drain(fetched, None)) == [b"first"]
        assert part() is None
    finally:
        gc.enable()
