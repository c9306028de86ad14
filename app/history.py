"""A figure of a watched series at instants of its history, as a threshold rule would see it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from agents.alert_cells import Span
from agents.alert_series import WatchedSeries
from scoring.alerts.conditions import bounds, threshold
from scoring.alerts.rules import ScoreName, ThresholdRule


class Look(NamedTuple):
    """A figure with its bounds, None where there are none, and the answers or interactions it stands on."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(slots=True)
class Looker:
    """Looks at the window of a threshold rule, at instants that never go back.

    Args:
        rule: its figure and its window; its levels play no part.
        series: with all of history in its cells; it is left as it is.
        confidence: level of the bounds, in (0, 1).
    """

    rule: ThresholdRule
    series: WatchedSeries
    confidence: float
    _span: Span = field(init=False)

    def __post_init__(self) -> None:
        """Sums of its own, over the same cells."""
        series = self.series
        beside = None if series.beside is None else replace(series.beside, _sums={})
        self.series = replace(series, _sums={}, beside=beside)
        self._span = Span(self.rule.window_ms)

    def at(self, now_ms: int) -> Look:
        """The figure of the window that ends at an instant on a minute."""
        series, score = self.series, self.rule.score
        interactions = None
        if series.beside is not None and score is ScoreName.RESPONSE_RATE:
            interactions = series.beside.sum(self._span, now_ms)
        vector = series.sum(self._span, now_ms)
        said = threshold(self.rule, series.question, vector, interactions, self.confidence)
        if said.value is None:
            return Look(None, None, None, said.n)
        return Look(
            said.value, *bounds(score, series.question, vector, interactions, self.confidence), said.n
        )

    def instants(self) -> list[int]:
        """When the figure can change, rising: a minute with answers enters the window, or leaves it."""
        series = self.series
        minutes = set(series.cells.minutes)
        if series.beside is not None and self.rule.score is ScoreName.RESPONSE_RATE:
            minutes |= series.beside.cells.minutes.keys()
        origin_ms = series.cells.origin_ms
        return sorted({at_ms for minute in minutes for at_ms in self._span.wakes(minute, origin_ms)})
