"""The tallies that rules look at: minutes and hours of one series, and sums that slide over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from scoring.alerts.rules import MINUTE_MS
from scoring.panes import HOUR_MS, pane_start
from scoring.tallies import add

FINE_MS = 48 * HOUR_MS
"""Sums that reach back no further slide by the minute, longer ones by the hour."""

Minutes = dict[int, list[int]]
"""Minute of the hour -> vector, as an hour is stored."""


@dataclass(slots=True)
class Cells:
    """What one series has tallied, by minute where that is recent and by hour for longer.

    An edit or a withdrawal of an answer whose fine pane was folded comes without its minute. It is taken from the first
    minute of its pane that holds such an answer, so no cell falls below 0, and every sum of the whole pane is exact.

    Attributes:
        length: elements of a vector.
        origin_ms: an edge of the grid of hours.
        minutes, hours: vectors by start; an hour is the sum of all that came in it.
        minutes_from: what lies before it is known by the hour only.
        dirty: hours that changed since they were drained.
    """

    length: int
    origin_ms: int
    minutes: dict[int, list[int]] = field(default_factory=dict)
    hours: dict[int, list[int]] = field(default_factory=dict)
    minutes_from: int = -(1 << 62)
    dirty: set[int] = field(default_factory=set)
    _minutes_of: dict[int, set[int]] = field(default_factory=dict)

    def add(self, minute_ms: int, delta: Sequence[int]) -> None:
        """Adds a tally to a minute and its hour."""
        hour_ms = pane_start(minute_ms, HOUR_MS, self.origin_ms)
        if minute_ms >= self.minutes_from:
            self._minutes_of.setdefault(hour_ms, set()).add(minute_ms)
            _add(self.minutes, minute_ms, delta)
        _add(self.hours, hour_ms, delta)
        self.dirty.add(hour_ms)

    def parts(self, start_ms: int, width_ms: int, delta: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """What a change of a pane changes by the minute: (minute, delta), of which the sum is the change.

        What is taken away comes off the first minutes of the pane that hold it, else off the nearest ones of its hour:
        a coarse pane of one source may have taken what a minute of another one held. What is added beside it goes to
        the minute of a fine pane, of a coarse one to the first that something was taken from. What no minute holds is
        left out: the hours tell of it.

        Args:
            start_ms: of the pane.
            width_ms: of the pane, at most an hour.
            delta: its change.
        """
        minute_ms = start_ms - start_ms % MINUTE_MS
        if min(delta) >= 0:
            yield minute_ms, list(delta)
            return
        parts: dict[int, list[int]] = {}
        for element, change in enumerate(delta):
            for at in self._holders(minute_ms, width_ms, element) if change < 0 else ():
                taken = max(change, -self.minutes[at][element])
                parts.setdefault(at, [0] * self.length)[element] = taken
                change -= taken  # noqa: PLW2901 - what is left to be taken
                if not change:
                    break
        home_ms = minute_ms if width_ms <= MINUTE_MS else min(parts, default=minute_ms)
        home = parts.setdefault(home_ms, [0] * self.length)
        for element, change in enumerate(delta):
            home[element] += max(0, change)
        yield from sorted(parts.items())

    def _holders(self, minute_ms: int, width_ms: int, element: int) -> list[int]:
        """Minutes of an hour that hold an element: those of the pane in their order, then the others by distance."""
        hour_ms = pane_start(minute_ms, HOUR_MS, self.origin_ms)
        holding = [at for at in self.minutes_of(hour_ms) if self.minutes[at][element] > 0]
        end_ms = max(minute_ms + MINUTE_MS, minute_ms + width_ms)
        return sorted(
            holding, key=lambda at: (0, at) if minute_ms <= at < end_ms else (abs(at - minute_ms), at)
        )

    def add_hours(self, start_ms: int, delta: Sequence[int]) -> None:
        """Adds to an hour what none of its minutes tells of."""
        hour_ms = pane_start(start_ms, HOUR_MS, self.origin_ms)
        _add(self.hours, hour_ms, delta)
        self.dirty.add(hour_ms)

    def minutes_of(self, hour_ms: int) -> list[int]:
        """The minutes of an hour that have cells, rising."""
        return [at for at in sorted(self._minutes_of.get(hour_ms, ())) if at in self.minutes]

    def total(self, start_ms: int, end_ms: int) -> list[int]:
        """Sum over [start_ms, end_ms), both on minutes; on hours where the minutes are gone.

        Of a long stretch the hour that it ends in counts by the minute: what came after its end is not in it.
        """
        out = [0] * self.length
        edge_ms = start_ms
        if start_ms < self.minutes_from or end_ms - start_ms > FINE_MS:
            start_ms = pane_start(start_ms, HOUR_MS, self.origin_ms)
            edge_ms = pane_start(end_ms, HOUR_MS, self.origin_ms)
            if edge_ms < self.minutes_from and edge_ms < end_ms:
                edge_ms += HOUR_MS
        for cells, begin, end, step in (
            (self.hours, start_ms, edge_ms, HOUR_MS),
            (self.minutes, edge_ms, end_ms, MINUTE_MS),
        ):
            for at in range(begin, end, step):
                cell = cells.get(at)
                if cell is not None:
                    add(out, cell)
        return out

    def forget(self, minutes_until: int, hours_until: int) -> Iterator[int]:
        """Lets go of minutes and of hours before these edges of hours; yields the hours that are gone."""
        self.minutes_from = max(self.minutes_from, minutes_until)
        for hour_ms in [hour_ms for hour_ms in self._minutes_of if hour_ms < minutes_until]:
            for at in self._minutes_of.pop(hour_ms):
                self.minutes.pop(at, None)
            self.dirty.add(hour_ms)
        for at in [at for at in self.hours if at < hours_until]:
            del self.hours[at]
            self.dirty.discard(at)
            yield at

    def stored(self, hour_ms: int) -> tuple[Minutes, list[int]]:
        """(minutes, what is known by the hour only) of an hour, as ``restore`` takes it."""
        minutes = {(at - hour_ms) // MINUTE_MS: self.minutes[at] for at in self.minutes_of(hour_ms)}
        rest = list(self.hours.get(hour_ms, ()))
        for cell in minutes.values():
            rest = [whole - part for whole, part in zip(rest or [0] * len(cell), cell, strict=True)]
        return minutes, rest if any(rest) else []

    def restore(self, hour_ms: int, minutes: Minutes, rest: Sequence[int]) -> None:
        """Takes a stored hour back."""
        whole = list(rest) or [0] * self.length
        for at, cell in minutes.items():
            self.minutes[hour_ms + at * MINUTE_MS] = cell
            self._minutes_of.setdefault(hour_ms, set()).add(hour_ms + at * MINUTE_MS)
            add(whole, cell)
        self.hours[hour_ms] = whole


def _add(cells: dict[int, list[int]], at: int, delta: Sequence[int]) -> None:
    held = cells.get(at)
    if held is None:
        cells[at] = list(delta)
        return
    add(held, delta)
    if not any(held):
        del cells[at]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time that slides with the instant it is looked at: it ends ``offset_ms`` before it.

    Short ones go by the minute. Long ones begin on an hour, and those of an earlier period end on one, too.
    """

    window_ms: int
    offset_ms: int = 0

    @property
    def is_fine(self) -> bool:
        """Whether both ends go by the minute."""
        return self.window_ms + self.offset_ms <= FINE_MS

    def bounds(self, now_ms: int, origin_ms: int) -> tuple[int, int]:
        """[start, end) as of ``now_ms``, which is on a minute."""
        if self.is_fine:
            end_ms = now_ms - self.offset_ms
            return end_ms - self.window_ms, end_ms
        if self.offset_ms:
            end_ms = pane_start(now_ms - self.offset_ms, HOUR_MS, origin_ms)
            return end_ms - self.window_ms, end_ms
        # The open hour is part of it, as it is of a live window
        opened_ms = pane_start(now_ms - MINUTE_MS, HOUR_MS, origin_ms)
        return opened_ms + HOUR_MS - self.window_ms, now_ms

    def wakes(self, minute_ms: int, origin_ms: int) -> tuple[int, int]:
        """When a minute enters, and when it leaves."""
        if self.is_fine:
            enters = minute_ms + MINUTE_MS + self.offset_ms
            return enters, enters + self.window_ms
        hour_ms = pane_start(minute_ms, HOUR_MS, origin_ms)
        if self.offset_ms:
            enters = hour_ms + HOUR_MS + self.offset_ms
            return enters, enters + self.window_ms
        return minute_ms + MINUTE_MS, hour_ms + self.window_ms + MINUTE_MS


class Sliding:
    """The sum of the cells in a span, kept by adding what enters and subtracting what leaves.

    Attributes:
        vector: the sum as of the last ``to``.
    """

    __slots__ = ("_cells", "_end_ms", "_span", "_start_ms", "vector")

    def __init__(self, cells: Cells, span: Span) -> None:
        self._cells, self._span = cells, span
        self.vector = [0] * cells.length
        self._start_ms = self._end_ms = 0

    def to(self, now_ms: int) -> list[int]:
        """Slides to an instant on a minute, never back; returns the sum."""
        start_ms, end_ms = self._span.bounds(now_ms, self._cells.origin_ms)
        if start_ms >= self._end_ms:
            self.vector = self._between(start_ms, end_ms)
        else:
            for cell in self._range(self._end_ms, end_ms, entering=True):
                add(self.vector, cell)
            for cell in self._range(self._start_ms, start_ms, entering=False):
                self.vector = [now - gone for now, gone in zip(self.vector, cell, strict=True)]
        self._start_ms, self._end_ms = start_ms, end_ms
        return self.vector

    def late(self, minute_ms: int, delta: Sequence[int]) -> None:
        """A tally came for a minute that may be inside already."""
        if self._start_ms <= minute_ms < self._end_ms:
            add(self.vector, delta)

    def _between(self, start_ms: int, end_ms: int) -> list[int]:
        out = [0] * self._cells.length
        edge_ms = start_ms if self._span.is_fine else pane_start(end_ms, HOUR_MS, self._cells.origin_ms)
        for cell in self._range(start_ms, edge_ms, entering=False):
            add(out, cell)
        for cell in self._range(edge_ms, end_ms, entering=True):
            add(out, cell)
        return out

    def _range(self, start_ms: int, end_ms: int, *, entering: bool) -> Iterator[list[int]]:
        by_minute = self._span.is_fine or (entering and not self._span.offset_ms)
        cells, step = (self._cells.minutes, MINUTE_MS) if by_minute else (self._cells.hours, HOUR_MS)
        if (end_ms - start_ms) // step > len(cells):  # a leap over a long silence
            yield from [cell for at, cell in cells.items() if start_ms <= at < end_ms]
            return
        for at in range(start_ms, end_ms, step):
            cell = cells.get(at)
            if cell is not None:
                yield cell
