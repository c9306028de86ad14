"""Panes of one source partition: absolute tallies by touchpoint and slice of time, fine when new, coarse when old.

A live window of size s is made of panes of one width; no live window reaches back further than its size from the
newest event. So a pane of that width is worth keeping for that long and no longer: then it is folded into the
next coarser one. Nothing is lost by it: an older answer, edit or withdrawal is added to the coarse pane.

Folding follows the partition's OWN newest event time, so it is a pure function of its log, and since the merged
newest event time is never behind it, no window ever needs a finer pane than the store has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from scoring.catalog import HOUR_MS, Catalog
from scoring.panes import MINUTE_MS, pane_start
from scoring.tallies import add
from scoring.windows import Calendar

Group = dict[str, list[int]]
"""The tallies of one touchpoint in one pane, by series code."""

PaneKey = tuple[str, int, int]
"""(touchpoint, width_ms, start_ms)"""

_encode = msgspec.msgpack.Encoder().encode
_decode_group = msgspec.msgpack.Decoder(dict[str, list[int]]).decode

_EVERYBODY = ""
_FIELD = "\x1f"
_PART = "\x1e"


def series_code(question: str, segment: str, values: tuple[str, ...]) -> str:
    """One word for a series of a touchpoint: question id (empty for interactions), segment name, its values.

    Ids and values hold no control characters, so the separators are unambiguous.
    """
    return f"{question}{_PART}{segment}{_PART}{_FIELD.join(values)}"


def code_question(code: str) -> str:
    """The question id of a ``series_code``, empty for interactions."""
    return code[: code.index(_PART)]


def parse_series_code(code: str) -> tuple[str, str, tuple[str, ...]]:
    """(question, segment name, values) of a ``series_code``."""
    question, segment, values = code.split(_PART)
    return question, segment, tuple(values.split(_FIELD)) if segment else ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Which pane widths exist and how long each is kept, worked out from the declared windows.

    Attributes:
        widths: ascending, in milliseconds; the last one is an hour or more, and divides every calendar window.
        keep: for each width but the last, how far behind the newest event time panes of it are needed.
        origin_ms: offset of pane edges, so that hours begin where the local minute is 0.
        retention_ms: how far behind the newest event time any pane is kept; None keeps all (replay).
        tells_minutes: every pane is told to the scores agent before it is folded, since there are rules.
    """

    widths: tuple[int, ...]
    keep: tuple[int, ...]
    origin_ms: int
    retention_ms: int | None
    tells_minutes: bool = False

    @staticmethod
    def of(catalog: Catalog, *, keep_all: bool = False) -> Layout:
        """The layout that a catalog needs."""
        reach: dict[int, int] = {}
        for window in catalog.live:
            reach[window.pane_ms] = max(reach.get(window.pane_ms, 0), window.size_ms)
        if catalog.alerts:  # rules are stepped each minute: an answer of the last hour is told to its minute
            reach[MINUTE_MS] = max(reach.get(MINUTE_MS, 0), HOUR_MS)
        reach.setdefault(HOUR_MS, 0)
        widths = tuple(sorted(reach))
        keep, longest = [], 0
        for width in widths:
            longest = max(longest, reach[width])
            keep.append(longest)
        retention_ms = max(longest, 2 * catalog.timing.horizon_ms + 49 * HOUR_MS) + widths[-1]
        origin_ms = Calendar(catalog.timezone).origin_ms
        kept_ms = None if keep_all else retention_ms
        return Layout(widths, tuple(keep[:-1]), origin_ms, kept_ms, bool(catalog.alerts))


class PaneStore:
    """The panes of one source partition.

    Attributes:
        groups: tallies by (touchpoint, width_ms, start_ms).
        dirty: keys whose content changed since the last ``drain``; a key that is gone is a removal.
    """

    __slots__ = ("_folded", "_index", "_unstored", "dirty", "groups", "layout")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.groups: dict[PaneKey, Group] = {}
        self.dirty: set[PaneKey] = set()
        self._unstored: set[PaneKey] = set()
        self._index: list[dict[int, set[PaneKey]]] = [{} for _ in layout.widths]
        self._folded = [-1] * (len(layout.widths) - 1)

    def by_width(self, time_ms: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.bool_] | slice]]:
        """Which of these times, of shape (n,), belong to panes of which width now."""
        widths, folded = self.layout.widths, self._folded
        if not folded or int(time_ms.min()) >= folded[0]:
            yield widths[0], slice(None)
            return
        left = np.ones(len(time_ms), bool)
        for width, until in zip(widths, (*folded, -1), strict=True):
            here = left & (time_ms >= until)
            if here.any():
                yield width, here
            left &= ~here

    def pane_of(self, time_ms: int) -> tuple[int, int]:
        """(width_ms, start_ms) of the pane that an answer of this time belongs to now."""
        layout = self.layout
        for width, folded in zip(layout.widths, self._folded, strict=False):
            if time_ms >= folded:
                return width, pane_start(time_ms, width, layout.origin_ms)
        width = layout.widths[-1]
        return width, pane_start(time_ms, width, layout.origin_ms)

    def group(self, key: PaneKey) -> Group:
        """The tallies of a pane, made if need be, and marked as changed."""
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = {}
            self._remember(key)
            self._unstored.add(key)
        self.dirty.add(key)
        return group

    def add(self, key: PaneKey, code: str, vector: list[int]) -> None:
        """Adds a tally to one series of a pane."""
        group = self.group(key)
        held = group.get(code)
        if held is None:
            group[code] = vector.copy()
        else:
            add(held, vector)

    def fold_early(self, newest_ms: int) -> None:
        """Folds before the next answers are tallied, so that a backlog of old ones goes straight into coarse panes.

        Not where rules must be told of each minute; then panes are folded once they were drained.
        """
        if not self.layout.tells_minutes:
            self.fold(newest_ms)

    def fold_late(self, newest_ms: int) -> None:
        """Folds what was drained, where ``fold_early`` does not."""
        if self.layout.tells_minutes:
            self.fold(newest_ms)

    def fold(self, newest_ms: int) -> None:
        """Folds and drops what the newest event time has left behind, each pane straight into the one it ends in."""
        layout = self.layout
        moved = []
        for level, keep_ms in enumerate(layout.keep):
            until = pane_start(newest_ms - keep_ms, layout.widths[level + 1], layout.origin_ms)
            if until > self._folded[level]:
                self._folded[level] = until
                moved.append(level)
        for level in moved:
            index = self._index[level]
            for start in [start for start in index if start < self._folded[level]]:
                for key in index.pop(start):
                    self._absorb((key[0], *self.pane_of(start)), self.groups.pop(key))
                    self._forget(key)
        if layout.retention_ms is not None:
            index, until = self._index[-1], newest_ms - layout.retention_ms - layout.widths[-1]
            for start in [start for start in index if start <= until]:
                # One batch may span more than the retention: what has not been drained stays until it was.
                for key in index[start] - self.dirty:
                    index[start].discard(key)
                    del self.groups[key]
                    self.dirty.add(key)
                if not index[start]:
                    del index[start]

    def _absorb(self, key: PaneKey, group: Group) -> None:
        if key not in self.groups:
            self.groups[key] = group
            self._remember(key)
            self._unstored.add(key)
            self.dirty.add(key)
            return
        for code, vector in group.items():
            self.add(key, code, vector)

    def _forget(self, key: PaneKey) -> None:
        """Marks a pane that is gone; one that was never stored leaves no trace."""
        if key in self._unstored:
            self._unstored.discard(key)
            self.dirty.discard(key)
        else:
            self.dirty.add(key)

    def drain(self) -> set[PaneKey]:
        """The keys that changed since the last call."""
        dirty, self.dirty = self.dirty, set()
        self._unstored.clear()
        return dirty

    def restore(self, key: PaneKey, group: Group | None) -> None:
        """Takes a stored pane back; None removes it."""
        if group is None:
            self.groups.pop(key, None)
        else:
            self.groups[key] = group

    def resume(self, newest_ms: int | None) -> None:
        """After the last ``restore``: folds as far as the newest event time had folded before.

        Only now is it known that the stored panes have the widths of this layout.
        """
        for key in self.groups:
            self._remember(key)
        if newest_ms is not None:
            self.fold(newest_ms)

    def _remember(self, key: PaneKey) -> None:
        level = self.layout.widths.index(key[1])
        self._index[level].setdefault(self._coarse_start(key), set()).add(key)

    def _coarse_start(self, key: PaneKey) -> int:
        layout = self.layout
        level = layout.widths.index(key[1])
        return pane_start(key[2], layout.widths[min(level + 1, len(layout.widths) - 1)], layout.origin_ms)


def pane_key_bytes(key: PaneKey) -> bytes:
    """A pane's key in a changelog; ``split_pane_key`` reads it."""
    return b"p%d|%d|%b" % (key[1], key[2], key[0].encode())


def split_pane_key(raw: bytes) -> PaneKey:
    """The inverse of ``pane_key_bytes``."""
    width, start, touchpoint = raw[1:].split(b"|", 2)
    return touchpoint.decode(), int(width), int(start)


def encode_group(group: Group) -> bytes:
    """A group as bytes: format version, then msgpack."""
    return b"\x01" + _encode(group)


def decode_group(raw: bytes) -> Group:
    """The inverse of ``encode_group``."""
    return _decode_group(raw[1:])


def groups_by_touchpoint(keys: set[PaneKey]) -> Iterator[tuple[str, list[PaneKey]]]:
    """Pane keys gathered by their touchpoint, both in a fixed order."""
    gathered: dict[str, list[PaneKey]] = {}
    for key in sorted(keys):
        gathered.setdefault(key[0], []).append(key)
    yield from gathered.items()
