"""When which rules of which series must be looked at: minutes of event time, in order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping

from agents.alert_cells import Span
from agents.alert_series import SeriesKey
from scoring.alerts.rules import MINUTE_MS

ALL_RULES = -1
"""Every rule of a series, as a set of bits."""


class Schedule:
    """A calendar of minutes; each names series, and for each the rules to be looked at, as a set of bits.

    Args:
        origin_ms: an edge of the grid of hours.
    """

    def __init__(self, origin_ms: int) -> None:
        self._origin_ms = origin_ms
        self._due: dict[int, dict[SeriesKey, int]] = {}
        self._heap: list[int] = []

    def add(self, key: SeriesKey, at_ms: int, rules: int = ALL_RULES) -> None:
        """Adds some rules of a series to the minute that begins at ``at_ms``, or next after it."""
        at_ms = -(-at_ms // MINUTE_MS) * MINUTE_MS
        due = self._due.get(at_ms)
        if due is None:
            due = self._due[at_ms] = {}
            heapq.heappush(self._heap, at_ms)
        due[key] = due.get(key, 0) | rules

    def add_minutes(
        self, key: SeriesKey, minutes: Iterable[int], spans: Mapping[Span, int], after_ms: int
    ) -> None:
        """Adds when these minutes pass for the first time, and when they enter and leave each sum.

        Args:
            key: the series.
            minutes: starts.
            spans: the sums, each with the rules that look at it.
            after_ms: what lies before it has passed.
        """
        for minute_ms in minutes:
            passed_ms = minute_ms + MINUTE_MS
            if passed_ms > after_ms:
                self.add(key, passed_ms)
            for span, rules in spans.items():
                for at_ms in span.wakes(minute_ms, self._origin_ms):
                    if at_ms > after_ms and at_ms != passed_ms:
                        self.add(key, at_ms, rules)

    @property
    def first_ms(self) -> int | None:
        """The first minute of all; None when there is nothing to look at."""
        return self._heap[0] if self._heap else None

    def is_due(self, until_ms: int) -> bool:
        """Whether there is anything up to an instant."""
        return bool(self._heap) and self._heap[0] <= until_ms

    def take(self) -> tuple[int, Iterator[tuple[SeriesKey, int]]]:
        """The first minute with its series and rules, in a fixed order; it is gone then."""
        at_ms = heapq.heappop(self._heap)
        return at_ms, iter(sorted(self._due.pop(at_ms).items()))
