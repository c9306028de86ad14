"""Scores: what a tally says, with bounds, a band and the formula's name."""

from __future__ import annotations

from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING

from scoring.intervals import adjusted_wald, mean_interval, wilson
from scoring.questions import Metric
from scoring.tallies import TallyError, length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scoring.questions import Question

CES_MEAN = "ces-mean/1"
CES_NET_EASE = "ces-net-ease/1"
CSAT = "csat/1"
NPS = "nps/1"


@dataclass(slots=True)
class Score:
    """A score; every figure but n is None where there are too few answers to state it.

    Attributes:
        n: answers.
        value: ces: mean on its scale, or net ease -100..100; csat: percent satisfied; nps: -100..100.
        low: lower bound of value.
        high: upper bound of value.
        band: in words, no finer than the bounds allow.
        effort_index: 0 effortless to 100 hardest; ces means only.
        low_effort_share: 0..1; ces means only.
        response_rate: answers that carry an interaction_id per interaction; may exceed 1.
        formula: name and version of what made value.
    """

    n: int
    value: float | None
    low: float | None
    high: float | None
    band: str | None
    effort_index: float | None
    low_effort_share: float | None
    response_rate: float | None
    formula: str


def formula(question: Question) -> str:
    """Name and version of the formula that scores a question."""
    if question.metric is Metric.CSAT:
        return CSAT
    if question.metric is Metric.NPS:
        return NPS
    return CES_MEAN if question.is_ces_mean else CES_NET_EASE


def score(
    question: Question, vector: Sequence[int], interactions: int | None = None, confidence: float = 0.95
) -> Score:
    """The score of a response vector.

    Value, effort index and shares are one division of exact integers each, so equal tallies give equal doubles
    wherever they are scored, and the double is the one nearest to the exact figure.

    Args:
        question: what the counts answer.
        vector: ``tallies.length(question)`` integers.
        interactions: in the same touchpoint, segment and window; None or 0 gives no response rate.
        confidence: level of the bounds, in (0, 1).

    Raises:
        TallyError: the vector is of another length.

    Example:
        >>> from scoring.questions import Scale, question
        >>> effort = question("checkout-effort", "ces", Scale(1, 7, best=7))
        >>> made = score(effort, [0, 0, 0, 80, 0, 0, 0, 40], interactions=160)
        >>> made.n, made.value, made.effort_index, made.response_rate, made.formula
        (80, 4.0, 50.0, 0.25, 'ces-mean/1')
        >>> emoji = question("emoji", "ces", Scale(1, 3, best=3), ces_formula="net-ease")
        >>> score(emoji, [10, 30, 60, 0]).value
        50.0
    """
    if len(vector) != length(question):
        raise TallyError(
            f"question {question.id!r} has vectors of {length(question)} elements, this one {len(vector)}. "
            "Tally each question by itself"
        )
    linked = vector[-1]
    n = sum(vector) - linked
    rate = linked / interactions if interactions else None
    name = formula(question)
    if n == 0 or n < question.min_n:
        return Score(n, None, None, None, None, None, None, rate, name)
    if name == CES_MEAN:
        return _mean_score(question, vector, n, rate, confidence)
    weighted = sum(map(mul, question.weights, vector))
    if name == CSAT:
        low, high = (100 * bound for bound in wilson(weighted // 100, n, confidence))
    else:
        low, high = adjusted_wald(*_ends(question, vector), n, confidence)
    band = None if question.bands is None else question.bands.name(weighted, n, low, high)
    return Score(n, weighted / n, low, high, band, None, None, rate, name)


def _mean_score(
    question: Question, vector: Sequence[int], n: int, rate: float | None, confidence: float
) -> Score:
    scale = question.scale
    weighted, whole = sum(map(mul, question.weights, vector)), question.divisor * n
    value = sum(map(mul, scale.ratings, vector)) / n
    low = high = band = None
    interval = mean_interval(vector[:-1], scale.low, confidence)
    if interval is not None:
        low, high = interval
        if question.bands is not None:
            band = question.bands.name(weighted, whole, scale.effort(low), scale.effort(high))
    share = sum(map(mul, question.low_effort_weights, vector)) / n
    return Score(n, value, low, high, band, weighted / whole, share, rate, CES_MEAN)


def _ends(question: Question, vector: Sequence[int]) -> tuple[int, int]:
    """Promoters and detractors, or easy and hard."""
    best = worst = 0
    for weight, count in zip(question.weights, vector, strict=False):
        if weight > 0:
            best += count
        elif weight < 0:
            worst += count
    return best, worst


def effort_bounds(question: Question, low: float, high: float) -> tuple[float, float]:
    """Bounds of the effort index from the bounds of a ces mean, the lower one first whichever end is best.

    Example:
        >>> from scoring.questions import Scale, question
        >>> effort_bounds(question("q", "ces", Scale(1, 7, best=7)), 4.0, 5.5)
        (25.0, 50.0)
    """
    first, second = question.scale.effort(low), question.scale.effort(high)
    return min(first, second), max(first, second)
