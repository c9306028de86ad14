"""The hardest answers of late, by touchpoint and question: which interactions an alert points at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nlargest

import msgspec

MOST = 10
"""Answers kept for each touchpoint and question."""

KEPT_MS = 86_400_000
"""How far behind the newest one an answer is kept."""

EXCERPT_LETTERS = 200
"""Of a comment."""


class HardAnswer(msgspec.Struct, array_like=True, gc=False, frozen=True, order=True):
    """One answer on the worse side of the middle of its scale; ordered by effort, then by time.

    Attributes:
        effort: distance from the best rating in thousandths of the scale's width, 501..1000.
        time_ms: event time.
        interaction_id: what it was given for; None where the answer names none.
        comment: its beginning, only where the question has ``comments = true``.
    """

    effort: int
    time_ms: int
    rating: int
    interaction_id: str | None
    comment: str | None = None


Place = tuple[str, str]
"""(touchpoint, question)"""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[HardAnswer]).decode
_decode_place = msgspec.msgpack.Decoder(tuple[str, str]).decode


@dataclass(slots=True)
class HardAnswers:
    """The hardest answers of the last day of each question of each touchpoint; a bounded sample, not a tally.

    An edit or a withdrawal does not take an answer out: it leaves with its time.

    Attributes:
        dirty: places that changed since the last ``drain``.
    """

    held: dict[Place, list[HardAnswer]] = field(default_factory=dict)
    dirty: set[Place] = field(default_factory=set)

    def add(self, touchpoint: str, question: str, answers: Iterable[HardAnswer]) -> None:
        """Takes some answers; the hardest and newest stay."""
        place = touchpoint, question
        before = self.held.get(place, [])
        merged = {*before, *answers}
        newest_ms = max((one.time_ms for one in merged), default=0)
        kept = nlargest(MOST, (one for one in merged if one.time_ms > newest_ms - KEPT_MS))
        if kept != before:
            self.held[place] = kept
            self.dirty.add(place)

    def since(self, touchpoint: str, question: str, begin_ms: int, end_ms: int) -> list[HardAnswer]:
        """Those of [begin, end), the hardest first."""
        held = self.held.get((touchpoint, question), ())
        return [one for one in held if begin_ms <= one.time_ms < end_ms]

    def drain(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of each place that changed; ``restore`` takes them back."""
        for place in sorted(self.dirty):
            yield _encode(place), _encode(self.held[place])
        self.dirty.clear()

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Takes one place back."""
        if value is None:
            self.held.pop(_decode_place(key), None)
        else:
            self.held[_decode_place(key)] = _decode(value)


def effort_of(rating: int, low: int, high: int, best: int) -> int:
    """Distance of a rating from the best one, in thousandths of the scale's width.

    Example:
        >>> effort_of(2, 1, 7, 7), effort_of(2, 1, 5, 1)
        (833, 250)
    """
    return abs(rating - best) * 1000 // (high - low)
