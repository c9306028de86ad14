"""The read model: the newest record of each live series, as the compacted output topics tell it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import orjson

from agents.records import InteractionStatsRecord, ScoreRecord
from agents.topics import INTERACTION_STATS, SCORES, TopicSpec

log = logging.getLogger(__name__)

DEFAULT_MAX_SERIES = 200_000
READ_TOPICS = (SCORES, INTERACTION_STATS)


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


@dataclass(slots=True)
class _Table(Generic[KeyT, RecordT]):
    """The records of one topic by identity, each with the partition it came from."""

    decode_key: Callable[[bytes], KeyT]
    decode: Callable[[bytes], RecordT]
    key_of: Callable[[RecordT], KeyT]
    records: dict[KeyT, RecordT] = field(default_factory=dict)
    partitions: dict[KeyT, int] = field(default_factory=dict)
    order: list[KeyT] | None = None

    def read(self, raw_key: bytes | None, value: bytes | None) -> tuple[KeyT, RecordT | None]:
        """Decodes a record.

        Raises:
            msgspec.DecodeError: it is not what the topic holds. Samples of one scrape must differ in their
                labels, so a record may not name another series than its key either.
        """
        key = self.decode_key(raw_key or b"")
        if not value:
            return key, None
        record = self.decode(value)
        if self.key_of(record) != key:
            raise msgspec.ValidationError("the record names another series than its key")
        return key, record

    def put(self, key: KeyT, partition: int, record: RecordT) -> None:
        if key not in self.records:
            self.order = None
        self.records[key] = record
        self.partitions[key] = partition

    def drop(self, key: KeyT) -> None:
        if self.records.pop(key, None) is not None:
            del self.partitions[key]
            self.order = None

    def select(self, **wanted: str | None) -> list[tuple[KeyT, RecordT]]:
        # Values change all the time, keys seldom: sorted anew only when a series came or went
        if self.order is None:
            self.order = sorted(self.records)
        keys: list[KeyT] = self.order
        for name, value in wanted.items():
            if value is not None:
                keys = [key for key in keys if getattr(key, name) == value]
        return [(key, self.records[key]) for key in keys]


class ReadModel:
    """Holds the newest record of each series, bounded, and nothing that the topics do not say.

    Of one partition, offsets decide: what lies at or before the last offset applied is ignored, so reading
    a stretch twice, or from the start again, never brings back an older record or a removed series.

    Args:
        max_series: records held over all topics; further series are refused, counted and said once.

    Attributes:
        ready: whether the topics have been read up to where they ended when reading began; the feed says so.
        applied: records taken in, tombstones too, by topic.
        undecodable: records that are not what their topic holds, by topic.
        refused: records of series beyond ``max_series``, by topic.
    """

    def __init__(self, max_series: int = DEFAULT_MAX_SERIES) -> None:
        self.max_series = max_series
        self.ready = False
        self.applied = dict.fromkeys(READ_TOPICS, 0)
        self.undecodable = dict.fromkeys(READ_TOPICS, 0)
        self.refused = dict.fromkeys(READ_TOPICS, 0)
        self._scores = _Table(_decode_score_key, msgspec.json.Decoder(ScoreRecord).decode, _key_of_score)
        self._stats = _Table(
            _decode_stats_key, msgspec.json.Decoder(InteractionStatsRecord).decode, _key_of_stats
        )
        self._tables: dict[TopicSpec, _Table[Any, Any]] = {
            SCORES: self._scores,
            INTERACTION_STATS: self._stats,
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
            key: compact JSON array, as published.
            value: JSON of the record; None removes the series.
        """
        if offset <= self._offsets.get((topic, partition), -1):
            return
        self._offsets[topic, partition] = offset
        table = self._tables[topic]
        try:
            series, record = table.read(key, value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._count_undecodable(topic, partition, offset, error)
            return
        if record is None:
            table.drop(series)
        elif series in table.records or self._has_room(topic):
            table.put(series, partition, record)
        else:
            return
        self.applied[topic] += 1

    def forget(self, topic: TopicSpec, partition: int) -> None:
        """Drops all that came from a partition, because its log has begun anew."""
        self._offsets.pop((topic, partition), None)
        table = self._tables[topic]
        for key in [key for key, source in table.partitions.items() if source == partition]:
            table.drop(key)

    def series(self, topic: TopicSpec) -> int:
        """How many records of a topic are held."""
        return len(self._tables[topic].records)

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
        if sum(len(table.records) for table in self._tables.values()) < self.max_series:
            return True
        if not any(self.refused.values()):
            log.warning(
                "the read model holds %d series, its limit: further ones are not served. "
                "Declare fewer segments or windows",
                self.max_series,
            )
        self.refused[topic] += 1
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
