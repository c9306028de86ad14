"""Live windows: sums of panes that slide with the newest event, by adding what is new and subtracting what leaves."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from scoring.panes import pane_start
from scoring.tallies import add, remove
from scoring.windows import LiveWindow

SeriesKey = TypeVar("SeriesKey", bound=Hashable)


class LiveSums(Generic[SeriesKey]):
    """The sums of one live window over many series.

    Invariant: the total of a series is the sum of its panes in [end_ms - size, end_ms). A step costs as much as the
    panes that it touches, whatever else is kept.

    Args:
        window: its size and the width of its panes.
        origin_ms: offset of pane edges.

    Attributes:
        end_ms: where the window ends now, or None before the first ``advance``.
        totals: by series; a series without any answer in the window has none.
        changed: series whose total changed since the caller last cleared it.

    Example:
        >>> from scoring.windows import live_window
        >>> sums = LiveSums(live_window("5m"))
        >>> sums.add("checkout", 0, [1, 0]); sums.add("checkout", 295_000, [0, 2]); sums.advance(299_999)
        >>> sums.totals
        {'checkout': [1, 2]}
        >>> sums.advance(300_000); sums.totals
        {'checkout': [0, 2]}
    """

    __slots__ = ("_origin_ms", "_panes", "changed", "end_ms", "totals", "window")

    def __init__(self, window: LiveWindow, origin_ms: int = 0) -> None:
        self.window = window
        self.end_ms: int | None = None
        self.totals: dict[SeriesKey, list[int]] = {}
        self.changed: set[SeriesKey] = set()
        self._origin_ms = origin_ms
        self._panes: dict[int, dict[SeriesKey, list[int]]] = {}

    @property
    def start_ms(self) -> int | None:
        """Where the window starts now."""
        return None if self.end_ms is None else self.end_ms - self.window.size_ms

    def add(self, series: SeriesKey, time_ms: int, delta: Sequence[int]) -> None:
        """Adds to the pane that holds ``time_ms``; panes before the window are gone, later ones wait for it."""
        start = pane_start(time_ms, self.window.pane_ms, self._origin_ms)
        if self.end_ms is not None and start < self.end_ms - self.window.size_ms:
            return
        pane = self._panes.setdefault(start, {})
        held = pane.get(series)
        if held is None:
            pane[series] = list(delta)
        else:
            add(held, delta)
        if self.end_ms is not None and start < self.end_ms:
            self._total(series, delta, add)

    def advance(self, newest_ms: int) -> None:
        """Slides so that the window ends with the pane of the newest event; never back."""
        end_ms = pane_start(newest_ms, self.window.pane_ms, self._origin_ms) + self.window.pane_ms
        before_ms = self.end_ms
        if before_ms is not None and end_ms <= before_ms:
            return
        self.end_ms = end_ms
        start_ms = end_ms - self.window.size_ms
        for start in self._entered(before_ms, end_ms):
            if start >= start_ms:
                for series, vector in self._panes[start].items():
                    self._total(series, vector, add)
        for start in self._left(before_ms, start_ms):
            pane = self._panes.pop(start)
            if before_ms is not None and start < before_ms:
                for series, vector in pane.items():
                    self._total(series, vector, remove)

    def _entered(self, before_ms: int | None, end_ms: int) -> list[int]:
        """Panes that wait between the old end and the new one."""
        if before_ms is None:
            return [start for start in self._panes if start < end_ms]
        return self._between(before_ms, end_ms)

    def _left(self, before_ms: int | None, start_ms: int) -> list[int]:
        """Panes before the new start."""
        if before_ms is None:
            return [start for start in self._panes if start < start_ms]
        return self._between(before_ms - self.window.size_ms, start_ms)

    def _between(self, from_ms: int, to_ms: int) -> list[int]:
        width = self.window.pane_ms
        if (to_ms - from_ms) // width > len(self._panes):  # a leap over a long silence
            return [start for start in self._panes if from_ms <= start < to_ms]
        return [start for start in range(from_ms, to_ms, width) if start in self._panes]

    def _total(
        self, series: SeriesKey, delta: Sequence[int], step: Callable[[list[int], Sequence[int]], None]
    ) -> None:
        total = self.totals.get(series)
        if total is None:
            total = self.totals[series] = [0] * len(delta)
        step(total, delta)
        if not any(total):
            del self.totals[series]
        self.changed.add(series)
