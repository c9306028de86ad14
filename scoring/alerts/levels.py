"""Where levels of a figure can lie: its range, and which way is worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scoring.alerts.conditions import rising_is_worse
from scoring.alerts.rules import ScoreName
from scoring.questions import Metric

if TYPE_CHECKING:
    from scoring.questions import Question


class Axis(NamedTuple):
    """The axis of a figure.

    Attributes:
        low, high: what it can be at least and at most.
        rising: whether a higher figure is worse.
    """

    low: float
    high: float
    rising: bool

    @property
    def worst(self) -> float:
        """The end beyond which nothing lies: a level here is never crossed."""
        return self.high if self.rising else self.low

    def worse(self, one: float, other: float) -> bool:
        """Whether one figure is strictly worse than another."""
        return one > other if self.rising else one < other


def axis(name: ScoreName, question: Question | None) -> Axis:
    """The axis of a figure of a question.

    Args:
        name: which figure.
        question: of whom; looked at for a value only.

    Example:
        >>> from scoring.questions import Scale, question
        >>> axis(ScoreName.VALUE, question("q", "ces", Scale(1, 7, best=1)))
        Axis(low=1, high=7, rising=True)
    """
    rising = rising_is_worse(name, question)
    if name is ScoreName.EFFORT_INDEX:
        return Axis(0, 100, rising)
    if name is not ScoreName.VALUE or question is None:
        return Axis(0, 1, rising)
    if question.is_ces_mean:
        return Axis(question.scale.low, question.scale.high, rising)
    return Axis(0 if question.metric is Metric.CSAT else -100, 100, rising)
