"""What answers have in common, as a small number: question, touchpoint and segment values.

A batch repeats the same few combinations, so each is checked, cleaned and spelled out into its series once. The
numbers stand in the response ledger, hence they are stored, and never given out again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from agents.events import OTHER, Refusal, segment_fields
from agents.ledger import MAX_PROFILES
from agents.panes import series_code
from scoring.catalog import Catalog

PROFILES_MAX: Final = 200_000
_RAW_VALUES_MIN: Final = 1_000
_RAW_VALUES_FACTOR: Final = 20

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str, tuple[str | None, ...]]).decode

Identity = tuple[str, str, tuple[str | None, ...]]
"""(question id, or empty for interactions; touchpoint; values of the segment fields)"""


@dataclass(frozen=True, slots=True)
class Profile:
    """One combination.

    Attributes:
        question: id; empty for interactions.
        codes: the series that it feeds: everybody's, and one for each declared segment that it carries.
        low, high: the question's scale; 0 and 0 for interactions.
    """

    question: str
    touchpoint: str
    fields: tuple[str | None, ...]
    codes: tuple[str, ...]
    low: int
    high: int


class Profiles:
    """The profiles of one source partition, in the order in which they were first seen.

    Bounds, all of them in offset order so that a restart decides alike: at most ``max_undeclared`` undeclared
    touchpoints (then ``touchpoint_limit``); per touchpoint and open segment field at most 1,000 or 20 x max_values
    distinct values, and 200,000 profiles in all (then segment values count as ``other``).

    Args:
        catalog: what is declared.
        bounded: False in replay, where every file is finite.
    """

    def __init__(self, catalog: Catalog, *, bounded: bool = True) -> None:
        self._catalog = catalog
        self._bounded = bounded
        self._field_names = segment_fields(catalog)
        self._open_limits = [self._raw_limit(name) for name in self._field_names]
        self._numbers: dict[Identity, int] = {}
        self._undeclared: set[str] = set()
        self._values: dict[tuple[str, int], set[str]] = {}
        self.table: list[Profile] = []
        self.fresh: list[int] = []
        self._stored: list[bytes] = []

    def __len__(self) -> int:
        return len(self.table)

    def find(self, question: str, touchpoint: str, fields: tuple[str | None, ...]) -> int | None:
        """The number of a combination, or None if it has none yet."""
        if not fields:
            fields = (None,) * len(self._field_names)
        held = self._numbers.get((question, touchpoint, fields))
        if held is None:
            held = self._numbers.get((question, touchpoint, self._capped(touchpoint, fields)))
        return held

    def number(self, question: str, touchpoint: str, fields: tuple[str | None, ...]) -> int | Refusal:
        """The number of a combination, given out if it is new; a refusal where a bound says no."""
        if not fields:
            fields = (None,) * len(self._field_names)
        held = self.find(question, touchpoint, fields)
        if held is not None:
            return held
        undeclared = touchpoint not in self._catalog.touchpoints
        if undeclared and touchpoint not in self._undeclared:
            limit = self._catalog.max_undeclared
            if self._bounded and len(self._undeclared) >= limit:
                return Refusal(
                    "touchpoint_limit", f"more than {limit} undeclared touchpoints in this partition"
                )
        if len(self.table) >= MAX_PROFILES:
            return Refusal(
                "touchpoint_limit", f"more than {MAX_PROFILES} combinations of question and touchpoint"
            )
        number = self._enter((question, touchpoint, self._capped(touchpoint, fields)))
        self.fresh.append(number)
        return number

    def drain(self) -> list[tuple[int, bytes]]:
        """(number, stored form) of the profiles that are new since the last call."""
        fresh, self.fresh = self.fresh, []
        return [
            (number, b"\x01" + _encode((profile.question, profile.touchpoint, profile.fields)))
            for number in fresh
            for profile in (self.table[number],)
        ]

    def restore(self, number: int, raw: bytes) -> None:
        """Takes one stored profile back; they come in the order of their numbers, each perhaps more than once."""
        if number == len(self._stored):
            self._stored.append(raw)

    def resume(self) -> None:
        """After the last ``restore``, and after it is known that the segments are those of the stored profiles."""
        for raw in self._stored:
            self._enter(_decode(raw[1:]))
        self._stored.clear()

    def _enter(self, identity: Identity) -> int:
        question, touchpoint, fields = identity
        number = self._numbers[identity] = len(self.table)
        if touchpoint not in self._catalog.touchpoints:
            self._undeclared.add(touchpoint)
        for at, value in enumerate(fields):
            if value is not None and self._open_limits[at] is not None:
                self._values.setdefault((touchpoint, at), set()).add(value)
        declared = self._catalog.questions.get(question)
        low, high = (declared.scale.low, declared.scale.high) if declared is not None else (0, 0)
        self.table.append(Profile(question, touchpoint, fields, self._codes(question, fields), low, high))
        return number

    def _codes(self, question: str, fields: tuple[str | None, ...]) -> tuple[str, ...]:
        carried = dict(zip(self._field_names, fields, strict=True))
        codes = [series_code(question, "", ())]
        for segment in self._catalog.segments:
            values = [value for name in segment.fields if (value := carried[name]) is not None]
            if len(values) == len(segment.fields):
                codes.append(series_code(question, segment.name, tuple(values)))
        return tuple(codes)

    def _raw_limit(self, field: str) -> int | None:
        for segment in self._catalog.segments:
            if segment.fields == (field,):
                if segment.values is not None:
                    return None
                return max(_RAW_VALUES_MIN, _RAW_VALUES_FACTOR * segment.max_values)
        return _RAW_VALUES_MIN

    def _capped(self, touchpoint: str, fields: tuple[str | None, ...]) -> tuple[str | None, ...]:
        if not self._bounded or not fields:
            return fields
        full = len(self.table) >= PROFILES_MAX
        out: list[str | None] = []
        for at, value in enumerate(fields):
            limit = self._open_limits[at]
            seen = self._values.get((touchpoint, at), ())
            if value is not None and limit is not None and value not in seen and (full or len(seen) >= limit):
                value = OTHER  # noqa: PLW2901 - the capped value takes the place of the raw one
            out.append(value)
        return tuple(out)
