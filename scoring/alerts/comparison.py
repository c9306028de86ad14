"""Two periods of one question compared: how much worse the later one is, with bounds."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from operator import mul
from typing import TYPE_CHECKING

from scoring.intervals import normal_quantile, student_t_quantile
from scoring.questions import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scoring.questions import Question


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much worse the later period is; positive is worse, whichever end of the scale is best.

    Attributes:
        difference: points of the effort index (ces mean), of net ease or NPS, or percent satisfied (csat).
        low, high: its confidence bounds; None where nothing is known of the spread.
        n, n_before: answers of the later and the earlier period.
    """

    difference: float
    low: float | None
    high: float | None
    n: int
    n_before: int


def compare(
    question: Question, later: Sequence[int], earlier: Sequence[int], confidence: float
) -> Comparison | None:
    """Compares the vectors of two periods; None where one of them is empty.

    Bounds: Welch's t interval for ces means; for csat Wald's after one answer of either kind is added to each period
    (Agresti and Caffo 2000); for NPS and net ease Wald's on the adjusted scores of both (Rocks 2016).

    Args:
        question: what the counts answer.
        later: ``tallies.length(question)`` integers, the last of which (linked answers) is not used.
        earlier: likewise.
        confidence: level of the bounds, in (0, 1).

    Example:
        >>> from scoring.questions import Scale, question
        >>> asked = question("q", "csat", Scale(1, 5, 5))
        >>> made = compare(asked, [30, 0, 0, 0, 70, 0], [10, 0, 0, 0, 90, 0], 0.95)
        >>> made.difference, round(made.low, 1), round(made.high, 1)
        (20.0, 8.8, 30.4)
    """
    n, n_before = sum(later[:-1]), sum(earlier[:-1])
    if not n or not n_before:
        return None
    sign = 1 if question.is_ces_mean else -1
    difference = sign * (_mean(question, later, n) - _mean(question, earlier, n_before))
    low, high = _bounds(question, later, earlier, difference, confidence)
    return Comparison(difference, low, high, n, n_before)


def _mean(question: Question, vector: Sequence[int], n: int) -> float:
    weighted: int = sum(map(mul, question.weights, vector))
    return weighted / (question.divisor * n)


def _bounds(
    question: Question, later: Sequence[int], earlier: Sequence[int], difference: float, confidence: float
) -> tuple[float | None, float | None]:
    if question.is_ces_mean:
        return _welch(question, later, earlier, difference, confidence)
    centre_later, square_later = _adjusted(question, later)
    centre_earlier, square_earlier = _adjusted(question, earlier)
    centre = centre_earlier - centre_later
    half = normal_quantile(confidence) * sqrt(square_later + square_earlier)
    return centre - half, centre + half


def _welch(
    question: Question, later: Sequence[int], earlier: Sequence[int], difference: float, confidence: float
) -> tuple[float | None, float | None]:
    squares, freedom = 0.0, 0.0
    for vector in (later, earlier):
        n = sum(vector[:-1])
        if n < 2:  # noqa: PLR2004 - one answer says nothing of the spread
            return None, None
        mean = _mean(question, vector, n)
        spread = sum(
            count * (weight / question.divisor - mean) ** 2
            for weight, count in zip(question.weights, vector, strict=False)
        )
        square = spread / (n - 1) / n
        squares += square
        freedom += square * square / (n - 1)
    if not squares:
        return None, None
    half = student_t_quantile(confidence, max(1, int(squares * squares / freedom))) * sqrt(squares)
    return difference - half, difference + half


def _adjusted(question: Question, vector: Sequence[int]) -> tuple[float, float]:
    """Adjusted score in percent or points, and the square of its standard error."""
    n = sum(vector[:-1])
    best = sum(count for weight, count in zip(question.weights, vector, strict=False) if weight > 0)
    worst = sum(count for weight, count in zip(question.weights, vector, strict=False) if weight < 0)
    if question.metric is Metric.CSAT:
        total, share = n + 2, (best + 1) / (n + 2)
        return 100 * share, 1e4 * share * (1 - share) / total
    total, up, down = n + 3, (best + 0.75) / (n + 3), (worst + 0.75) / (n + 3)
    return 100 * (up - down), 1e4 * (up + down - (up - down) ** 2) / total
