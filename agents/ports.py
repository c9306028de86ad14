"""What the stages, the engine and the transport know of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.topics import TopicSpec

Headers = list[tuple[str, bytes]]


class Record(Protocol):
    """A fetched record, as the client's batch parser makes it."""

    @property
    def offset(self) -> int:
        """Position in its partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970; the broker's where the topic has LogAppendTime."""

    @property
    def key(self) -> bytes | None:
        """The key."""

    @property
    def value(self) -> bytes | None:
        """The value; None is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """The headers, in their order."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one fetch brought of one partition.

    Attributes:
        records: in offset order; offsets may be missing (markers, aborted and compacted records).
        start: the position that was fetched.
        end: the position after it, markers included: end - 1 is what is applied after this batch.
        log_end: where the readable log ended when it was fetched.
    """

    records: Sequence[Any]
    start: int
    end: int
    log_end: int


@dataclass(frozen=True, slots=True)
class Out:
    """One record to be written; a value of None is a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: Headers | None = None


@dataclass(slots=True)
class Outgoing:
    """All that one checkpoint writes: one transaction.

    Attributes:
        position: the next offset to read, committed with it.
        changelog: records of the stage's own changelog partition.
        sends: records by (topic, partition).
        progress: counts that become true when it has committed, for the metrics.
    """

    position: int
    changelog: list[Out] = field(default_factory=list)
    sends: dict[tuple[TopicSpec, int], list[Out]] = field(default_factory=dict)
    progress: dict[str, int] = field(default_factory=dict)

    def send(self, topic: TopicSpec, partition: int, record: Out) -> None:
        """Adds a record for a topic."""
        self.sends.setdefault((topic, partition), []).append(record)

    @property
    def size_bytes(self) -> int:
        """Bytes of the keys and values that it writes."""
        lots = [self.changelog, *self.sends.values()]
        return sum(len(record.key or b"") + len(record.value or b"") for lot in lots for record in lot)


class Stage(Protocol):
    """The state of one owned partition: a pure step on batches in, one checkpoint at a time out."""

    name: str
    partition: int
    applied: int

    @property
    def watermark_ms(self) -> int | None:
        """Up to here event time is complete; None before the first event."""

    @property
    def sizes(self) -> dict[str, int]:
        """How much it holds, by kind."""

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Takes one record of the changelog back."""

    def resume(self) -> None:
        """Called once after the last ``restore``."""

    def apply(self, batch: Batch) -> None:
        """Applies the next batch; never waits, never fails on bad data."""

    def tick(self, now_ms: int, *, at_end: bool) -> None:
        """Lets time pass: the only thing that a stage does without news."""

    def progress(self) -> dict[str, int]:
        """What has been counted so far, since the beginning of the state."""

    def checkpoint(self, now_ms: int) -> Outgoing | None:
        """Drains what changed since the last call; None without news."""
