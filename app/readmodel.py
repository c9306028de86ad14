"""The read model: the newest record of each live series and alert, as the compacted topics tell it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec
import orjson

from agents.records import InteractionStatsRecord, ScoreRecord
from agents.topics import ALERTS, INTERACTION_STATS, OPERATIONS, SCORES, TopicSpec
from app.alertmodel import DEFAULT_MAX_ALERTS, AlertTable, OperationTable

log = logging.getLogger(__name__)

DEFAULT_MAX_SERIES = 200_000
READ_TOPICS = (SCORES, INTERACTION_STATS, ALERTS, OPERATIONS)


class ScoreKey(NamedTuple):
    """Identity of a score: its series and window. Answers are in the order of these."""

    touchpoint: str
    question: str
    segment: str
    window: str


class StatsKey(NamedTuple):
    """Identity of interaction statistics. Answers are in the order of these."""

    touchpoint: str
    segment: str
    window: str


RecordT = TypeVar("RecordT", ScoreRecord, InteractionStatsRecord)
KeyT = TypeVar("KeyT", ScoreKey, StatsKey)


def segment_text(segment: Mapping[str, str]) -> str:
    """A segment as compact JSON with sorted names, so that equal segments have equal texts.

    Example:
        >>> segment_text({"plan": "pro", "channel": "web"})
        '{"channel":"web","plan":"pro"}'
    """
    return orjson.dumps(segment, option=orjson.OPT_SORT_KEYS).decode() if segment else "{}"


_score_key = msgspec.json.Decoder(tuple[str, str, dict[str, str], str])
_stats_key = msgspec.json.Decoder(tuple[str, dict[str, str], str])


def _decode_score_key(raw: bytes) -> ScoreKey:
    touchpoint, question, segment, window = _score_key.decode(raw)
    return ScoreKey(touchpoint, question, segment_text(segment), window)


def _decode_stats_key(raw: bytes) -> StatsKey:
    touchpoint, segment, window = _stats_key.decode(raw)
    return StatsKey(touchpoint, segment_text(segment), window)


def _key_of_score(record: ScoreRecord) -> ScoreKey:
    return ScoreKey(record.touchpoint, record.question, segment_text(record.segment), record.window)


def _key_of_stats(record: InteractionStatsRecord) -> StatsKey:
    return StatsKey(record.touchpoint, segment_text(record.segment), record.window)


class _Held(Protocol):
    """The records of one topic, each with the partition that it came from."""

    def __len__(self) -> int: ...

    def apply(self, partition: int, key: bytes | None, value: bytes | None) -> bool:
        """Takes in one record, and tells whether it did."""

    def forget(self, partition: int) -> None:
        """Drops all that came from a partition."""


@dataclass(slots=True)
class _Series(Generic[KeyT, RecordT]):
    """The records of one topic of series, by identity.

    Attributes:
        has_room: whether one more series may be held; what it refuses it counts.
    """

    decode_key: Callable[[bytes], KeyT]
    decode: Callable[[bytes], RecordT]
    key_of: Callable[[RecordT], KeyT]
    has_room: Callable[[], bool]
    records: dict[KeyT, RecordT] = field(default_factory=dict)
    partitions: dict[KeyT, int] = field(default_factory=dict)
    order: list[KeyT] | None = None

    def __len__(self) -> int:
        return len(self.records)

    def apply(self, partition: int, key: bytes | None, value: bytes | None) -> bool:
        """Takes in one record; a missing value removes its series.

        Raises:
            msgspec.DecodeError: it is not what the topic holds. Samples of one scrape must differ in their
                labels, so a record may not name another series than its key either.
        """
        series = self.decode_key(key or b"")
        if not value:
            self._drop(series)
            return True
        record = self.decode(value)
        if self.key_of(record) != series:
            raise msgspec.ValidationError("the record names another series than its key")
        if series not in self.records:
            if not self.has_room():
                return False
            self.order = None
        self.records[series] = record
        self.partitions[series] = partition
        return True

    def forget(self, partition: int) -> None:
        """Drops all that came from a partition."""
        for series in [series for series, source in self.partitions.items() if source == partition]:
            self._drop(series)

    def select(self, **wanted: str | None) -> list[tuple[KeyT, RecordT]]:
        """The records that match, sorted by key."""
        # Values change all the time, keys seldom: sorted anew only when a series came or went
        if self.order is None:
            self.order = sorted(self.records)
        keys: list[KeyT] = self.order
        for name, value in wanted.items():
            if value is not None:
                keys = [key for key in keys if getattr(key, name) == value]
        return [(key, self.records[key]) for key in keys]

    def _drop(self, series: KeyT) -> None:
        if self.records.pop(series, None) is not None:
            del self.partitions[series]
            self.order = None


class ReadModel:
    """Holds the newest record of each series and alert, bounded, and nothing that the topics do not say.

    Of one partition, offsets decide: what lies at or before the last offset applied is ignored, so reading
    a stretch twice, or from the start again, never brings back an older record or a removed series.

    Args:
        max_series: scores and interaction statistics held; further series are refused, counted and said once.
        max_alerts: alerts held; what happens beyond is said in AlertTable.

    Attributes:
        ready: whether the topics have been read up to where they ended when reading began; the feed says so.
        alerts, operations: what is known of each.
        applied: records taken in, tombstones too, by topic.
        undecodable: records that are not what their topic holds, by topic.
    """

    def __init__(self, max_series: int = DEFAULT_MAX_SERIES, max_alerts: int = DEFAULT_MAX_ALERTS) -> None:
        self.max_series = max_series
        self.ready = False
        self.applied = dict.fromkeys(READ_TOPICS, 0)
        self.undecodable = dict.fromkeys(READ_TOPICS, 0)
        self.alerts = AlertTable(max_alerts)
        self.operations = OperationTable()
        self._refused = dict.fromkeys((SCORES, INTERACTION_STATS), 0)
        self._scores = _Series(
            _decode_score_key,
            msgspec.json.Decoder(ScoreRecord).decode,
            _key_of_score,
            lambda: self._has_room(SCORES),
        )
        self._stats = _Series(
            _decode_stats_key,
            msgspec.json.Decoder(InteractionStatsRecord).decode,
            _key_of_stats,
            lambda: self._has_room(INTERACTION_STATS),
        )
        self._tables: dict[TopicSpec, _Held] = {
            SCORES: self._scores,
            INTERACTION_STATS: self._stats,
            ALERTS: self.alerts,
            OPERATIONS: self.operations,
        }
        self._offsets: dict[tuple[TopicSpec, int], int] = {}

    def apply(
        self, topic: TopicSpec, partition: int, offset: int, key: bytes | None, value: bytes | None
    ) -> None:
        """Takes in one record.

        Args:
            topic: one of READ_TOPICS.
            partition: its partition.
            offset: its offset there; at or before the last one applied the record is ignored.
            key: as published.
            value: JSON of the record; None removes the series.
        """
        if self.has_reached(topic, partition, offset):
            return
        self._offsets[topic, partition] = offset
        try:
            taken = self._tables[topic].apply(partition, key, value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._count_undecodable(topic, partition, offset, error)
            return
        self.applied[topic] += taken

    def has_reached(self, topic: TopicSpec, partition: int, offset: int) -> bool:
        """Whether a record is part of what is known."""
        return offset <= self._offsets.get((topic, partition), -1)

    def forget(self, topic: TopicSpec, partition: int) -> None:
        """Drops all that came from a partition, because its log has begun anew."""
        self._offsets.pop((topic, partition), None)
        self._tables[topic].forget(partition)

    def held(self, topic: TopicSpec) -> int:
        """How many records of a topic are held."""
        return len(self._tables[topic])

    def beyond_limit(self, topic: TopicSpec) -> int:
        """How many records of a topic found no place, or took that of another."""
        beyond = {**self._refused, ALERTS: self.alerts.dropped, OPERATIONS: self.operations.dropped}
        return beyond[topic]

    def scores(
        self,
        touchpoint: str | None = None,
        question: str | None = None,
        window: str | None = None,
        segment: Mapping[str, str] | None = None,
    ) -> list[tuple[ScoreKey, ScoreRecord]]:
        """Scores sorted by touchpoint, question, segment and window; a filter left out matches all."""
        text = None if segment is None else segment_text(segment)
        return self._scores.select(touchpoint=touchpoint, question=question, window=window, segment=text)

    def interaction_stats(
        self,
        touchpoint: str | None = None,
        window: str | None = None,
        segment: Mapping[str, str] | None = None,
    ) -> list[tuple[StatsKey, InteractionStatsRecord]]:
        """Interaction statistics sorted by touchpoint, segment and window; a filter left out matches all."""
        text = None if segment is None else segment_text(segment)
        return self._stats.select(touchpoint=touchpoint, window=window, segment=text)

    def everybody(self) -> tuple[list[ScoreRecord], list[InteractionStatsRecord]]:
        """The records of segment {}, unsorted; safe to call from another thread than the one that applies."""
        # tuple() of a dict's values is one step under the interpreter's lock, so it never sees a dict change
        scores, stats = tuple(self._scores.records.values()), tuple(self._stats.records.values())
        return [each for each in scores if not each.segment], [each for each in stats if not each.segment]

    def _has_room(self, topic: TopicSpec) -> bool:
        if len(self._scores) + len(self._stats) < self.max_series:
            return True
        if not any(self._refused.values()):
            log.warning(
                "the read model holds %d series, its limit: further ones are not served. "
                "Declare fewer segments or windows, or raise the setting max_series",
                self.max_series,
            )
        self._refused[topic] += 1
        return False

    def _count_undecodable(self, topic: TopicSpec, partition: int, offset: int, error: Exception) -> None:
        if not any(self.undecodable.values()):
            # Only the first is said, and without its content; the counter tells how many follow
            log.warning(
                "skipped a record that this version cannot read: %s[%d]@%d: %s",
                topic.name,
                partition,
                offset,
                error,
            )
        self.undecodable[topic] += 1
