"""Which segment values are published: the first ones of each touchpoint, the rest as ``other``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from agents.events import OTHER
from agents.panes import parse_series_code, series_code
from agents.ports import Out
from scoring.catalog import Catalog

KeptValues = Mapping[tuple[str, str], tuple[str, ...]]
"""By (touchpoint, segment name): the values to publish; those of a combination joined by ``\\x1f``."""

_CACHE: Final = 262_144
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str, list[str]]).decode


class SegmentCaps:
    """Decides, for the touchpoints of one partials partition, what falls under ``other``, and remembers it.

    Args:
        catalog: the declared segments.
        kept: the values to publish, where they were found out from the files beforehand (replay).
    """

    def __init__(self, catalog: Catalog, kept: KeptValues | None = None) -> None:
        self._limits = {s.name: s.max_values for s in catalog.segments if s.values is None}
        self._given = kept
        self._kept: dict[tuple[str, str], list[str]] = {}
        self._capped: set[tuple[str, str]] = set()
        self._dirty: set[tuple[str, str]] = set()
        self._cache: dict[tuple[str, str], str] = {}

    def published(self, touchpoint: str, code: str) -> str:
        """The series that a raw series is published as: itself, or the one of ``other``."""
        held = self._cache.get((touchpoint, code))
        if held is None:
            if len(self._cache) >= _CACHE:
                self._cache.clear()
            held = self._cache[touchpoint, code] = self._decide(touchpoint, code)
        return held

    def is_capped(self, touchpoint: str, segment: str) -> bool:
        """Whether values of this segment had to be published as ``other`` because it was full."""
        return (touchpoint, segment) in self._capped

    def _decide(self, touchpoint: str, code: str) -> str:
        question, segment, values = parse_series_code(code)
        limit = self._limits.get(segment)
        if limit is None or all(value == OTHER for value in values):
            return code
        place, value = (touchpoint, segment), "\x1f".join(values)
        if self._given is not None:
            if value in self._given.get(place, ()):
                return code
        else:
            kept = self._kept.setdefault(place, [])
            if value in kept:
                return code
            if len(kept) < limit:
                kept.append(value)
                self._dirty.add(place)
                return code
        if place not in self._capped:
            self._capped.add(place)
            self._dirty.add(place)
        return series_code(question, segment, (OTHER,) * len(values))

    def drain(self) -> list[Out]:
        """Changelog records of what was decided since the last call."""
        dirty, self._dirty = self._dirty, set()
        out = []
        for touchpoint, segment in sorted(dirty):
            values = self._kept.get((touchpoint, segment), [])
            flag = "capped" if (touchpoint, segment) in self._capped else ""
            raw = b"\x01" + _encode((touchpoint, segment, [flag, *values]))
            out.append(Out(b"s" + _encode((touchpoint, segment)), raw))
        return out

    def restore(self, raw: bytes) -> None:
        """Takes one stored record back."""
        touchpoint, segment, (flag, *values) = _decode(raw[1:])
        self._kept[touchpoint, segment] = values
        if flag:
            self._capped.add((touchpoint, segment))
