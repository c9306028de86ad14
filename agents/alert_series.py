"""One watched series: its cells, the sums that its rules share, and when it must be looked at next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agents.alert_cells import Cells, Sliding, Span
from scoring.alerts.rules import MINUTE_MS
from scoring.panes import DAY_MS, HOUR_MS, pane_start
from scoring.questions import Question

WEEK = 7
"""Days."""

SeriesKey = tuple[str, str]
"""(touchpoint, published series code)"""


@dataclass(slots=True)
class WatchedSeries:
    """What the rules of one series look at.

    Attributes:
        question: whose answers these are; None for interactions.
        segment: names and values, sorted by name.
        newest_ms: end of the newest minute, up to the last step, that has answers; None without.
        busiest: no hour that is kept has more answers.
        beside: the interactions of the same touchpoint and segment, where a rule looks at both.
    """

    touchpoint: str
    code: str
    question: Question | None
    segment: dict[str, str]
    cells: Cells
    newest_ms: int | None = None
    busiest: int = 0
    beside: WatchedSeries | None = None
    _sums: dict[Span, Sliding] = field(default_factory=dict)

    def n(self, vector: Sequence[int]) -> int:
        """Answers (without the count of linked ones) or interactions in a vector."""
        return vector[0] if self.question is None else sum(vector[:-1])

    def add(self, minute_ms: int, delta: Sequence[int], stepped_ms: int | None) -> None:
        """Takes a tally; into sums that have passed its minute too."""
        self.cells.add(minute_ms, delta)
        hour = self.cells.hours.get(pane_start(minute_ms, HOUR_MS, self.cells.origin_ms))
        if hour is not None:
            self.busiest = max(self.busiest, self.n(hour))
        if stepped_ms is not None and minute_ms < stepped_ms:
            for sliding in self._sums.values():
                sliding.late(minute_ms, delta)
            if self.newest_ms is None or minute_ms + MINUTE_MS >= self.newest_ms:
                self.find_newest(stepped_ms)

    def sum(self, span: Span, now_ms: int) -> list[int]:
        """The sum of a span as of an instant on a minute."""
        sliding = self._sums.get(span)
        if sliding is None:
            sliding = self._sums[span] = Sliding(self.cells, span)
        return sliding.to(now_ms)

    def enter(self, now_ms: int) -> None:
        """Time has come to the end of a minute."""
        cell = self.cells.minutes.get(now_ms - MINUTE_MS)
        if cell is not None and self.n(cell) > 0:
            self.newest_ms = now_ms

    def find_newest(self, now_ms: int) -> None:
        """Looks the newest minute up, after a restart or a withdrawal."""
        self.busiest = max(map(self.n, self.cells.hours.values()), default=0)
        minutes = (
            at + MINUTE_MS
            for at, cell in self.cells.minutes.items()
            if at + MINUTE_MS <= now_ms and self.n(cell) > 0
        )
        hours = (
            at + HOUR_MS
            for at, cell in self.cells.hours.items()
            if at + HOUR_MS <= now_ms and self.n(cell) > 0
        )
        self.newest_ms = max(minutes, default=None) or max(hours, default=None)

    def expected(self, since_ms: int, now_ms: int, baseline_ms: int) -> float | None:
        """How many answers were to come in [since, now), by what came before; None with less than a day of history.

        By the hour: the mean of that hour of the day over the baseline, or the same hour a week before where that had
        fewer, so that a quiet week-end is expected to be quiet.
        """
        days = self._history_days(since_ms, baseline_ms)
        if not days:
            return None
        total = 0.0
        for hour_ms in self._hours(since_ms, now_ms):
            nearest = max(1, (hour_ms - since_ms) // DAY_MS + 1)  # days back to before the silence
            rate = sum(self._n_of(hour_ms - day * DAY_MS) for day in range(nearest, nearest + days)) / days
            if days >= WEEK:
                rate = min(rate, self._n_of(hour_ms - -(-nearest // WEEK) * WEEK * DAY_MS))
            part_ms = min(now_ms, hour_ms + HOUR_MS) - max(since_ms, hour_ms)
            total += rate * part_ms / HOUR_MS
        return total

    def _hours(self, since_ms: int, now_ms: int) -> Iterable[int]:
        return range(pane_start(since_ms, HOUR_MS, self.cells.origin_ms), now_ms, HOUR_MS)

    def _n_of(self, hour_ms: int) -> int:
        cell = self.cells.hours.get(hour_ms)
        return 0 if cell is None else self.n(cell)

    def _history_days(self, since_ms: int, baseline_ms: int) -> int:
        """Whole days before an instant, of the baseline, over which there is history."""
        first_ms = min(self.cells.hours, default=since_ms)
        return min(baseline_ms, since_ms - first_ms) // DAY_MS
