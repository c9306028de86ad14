"""Whether the condition of a rule holds, judged from tallies."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from operator import mul
from typing import TYPE_CHECKING

from scoring.alerts.comparison import Comparison, compare
from scoring.alerts.rules import BudgetRule, ChangeRule, ScoreName, ThresholdRule
from scoring.intervals import wilson
from scoring.scores import effort_bounds, score
from scoring.tallies import INTERACTION_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scoring.questions import Question

_UNRESOLVED = INTERACTION_FIELDS.index("unresolved")
_SHARES = (ScoreName.LOW_EFFORT_SHARE, ScoreName.RESPONSE_RATE, ScoreName.UNRESOLVED_SHARE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says at one instant.

    Attributes:
        entered: its condition holds.
        left: the condition for the end holds; None where nothing can be said.
        value, low, high: the figure that was judged, with its confidence bounds; None where there is none.
        n: answers (or interactions) that it stands on.
    """

    entered: bool
    left: bool | None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0


def rising_is_worse(name: ScoreName, question: Question | None) -> bool:
    """Whether a higher figure is worse: of ces values by the best end of the scale.

    Args:
        name: which figure.
        question: whose value; not looked at for the other figures.
    """
    if name is ScoreName.VALUE and question is not None:
        return question.is_ces_mean and question.scale.best == question.scale.low
    return name in {ScoreName.EFFORT_INDEX, ScoreName.UNRESOLVED_SHARE}


def threshold(
    rule: ThresholdRule,
    question: Question | None,
    vector: Sequence[int],
    interactions: Sequence[int] | None,
    confidence: float,
) -> Verdict:
    """A threshold rule on the tally of its window.

    Beyond ``enter`` means strictly on its worse side; the end is reached when the score is not beyond ``exit``. Too few
    answers never fire; what fires ends also with few, or when none are left.

    Args:
        rule: the rule.
        question: what was asked; None where interactions are watched.
        vector: answers, ``tallies.length(question)`` integers; or interactions, as INTERACTION_FIELDS.
        interactions: those beside the answers, for a response rate.
        confidence: level of the bounds, in (0, 1).

    Returns:
        The verdict; with bounds only where the rule needs them, see ``figure`` for all of them.
    """
    value, n = _value(rule.score, question, vector, interactions)
    if value is None:
        return Verdict(entered=False, left=True if n == 0 else None, n=n)
    sign = 1 if rising_is_worse(rule.score, question) else -1
    left = not sign * (value - rule.exit) > 0
    if n < rule.min_n or not sign * (value - rule.enter) > 0:
        return Verdict(entered=False, left=left, value=value, n=n)
    if not rule.confident:
        return Verdict(entered=True, left=left, value=value, n=n)
    low, high = bounds(rule.score, question, vector, interactions, confidence)
    bound = low if sign > 0 else high
    entered = bound is not None and sign * (bound - rule.enter) > 0
    return Verdict(entered, left, value, low, high, n)


def _value(
    name: ScoreName, question: Question | None, vector: Sequence[int], interactions: Sequence[int] | None
) -> tuple[float | None, int]:
    """(figure, or None where there is none; answers or interactions that it stands on)."""
    part, whole, n = _ratio(name, question, vector, interactions)
    if not whole or (question is not None and n < question.min_n and name is not ScoreName.RESPONSE_RATE):
        return None, n
    return part / whole, n


def _ratio(
    name: ScoreName, question: Question | None, vector: Sequence[int], interactions: Sequence[int] | None
) -> tuple[int, int, int]:
    """(numerator, denominator, n) of a figure, all whole numbers, so that it is one exact division."""
    if name is ScoreName.UNRESOLVED_SHARE or question is None:
        return vector[_UNRESOLVED], vector[0], vector[0]
    if name is ScoreName.RESPONSE_RATE:
        beside = interactions[0] if interactions else 0
        return vector[-1], beside, beside
    n = sum(vector) - vector[-1]
    if name is ScoreName.LOW_EFFORT_SHARE:
        return sum(map(mul, question.low_effort_weights, vector)), n, n
    if name is ScoreName.VALUE and question.is_ces_mean:
        return sum(map(mul, question.scale.ratings, vector)), n, n
    return sum(map(mul, question.weights, vector)), question.divisor * n, n


def bounds(
    name: ScoreName,
    question: Question | None,
    vector: Sequence[int],
    interactions: Sequence[int] | None,
    confidence: float,
) -> tuple[float | None, float | None]:
    """Confidence bounds of a figure, lower first; None where there are none. Arguments as ``threshold``."""
    part, whole, _ = _ratio(name, question, vector, interactions)
    if not whole:
        return None, None
    if question is None or name in _SHARES:
        # A rate above 1 (more answers than interactions) has none
        return wilson(part, whole, confidence) if part <= whole else (None, None)
    made = score(question, vector, confidence=confidence)
    if name is ScoreName.EFFORT_INDEX and made.low is not None and made.high is not None:
        return effort_bounds(question, made.low, made.high)
    return made.low, made.high


def change(
    rule: ChangeRule, question: Question, later: Sequence[int], earlier: Sequence[int]
) -> tuple[Verdict, Comparison | None]:
    """A change rule: worse by at least ``by``, and by more than chance; ends at less than half of ``by``."""
    made = compare(question, later, earlier, rule.confidence)
    if made is None:
        return Verdict(entered=False, left=True, n=sum(later[:-1])), None
    enough = min(made.n, made.n_before) >= rule.min_n
    significant = made.low is not None and made.low > 0
    entered = enough and significant and made.difference >= rule.by
    left = made.difference < rule.by / 2
    return Verdict(entered, left, made.difference, made.low, made.high, made.n), made


def high_effort(question: Question, vector: Sequence[int]) -> tuple[int, int]:
    """(answers on the worse side of the middle of the scale, answers).

    Example:
        >>> from scoring.questions import Scale, question
        >>> high_effort(question("q", "ces", Scale(1, 7, best=7)), [1, 2, 3, 4, 5, 6, 7, 0])
        (6, 28)
    """
    scale = question.scale
    hard = sum(count for rating, count in zip(scale.ratings, vector, strict=False) if scale.is_hard(rating))
    return hard, sum(vector[:-1])


def budget(
    rule: BudgetRule, question: Question, long: Sequence[int], short: Sequence[int], confidence: float
) -> Verdict:
    """A budget rule: both windows hold more high-effort answers than ``burn`` times the budget."""
    part, whole = _allowed(rule.burn, rule.objective)
    hard, n = high_effort(question, long)
    hard_now, n_now = high_effort(question, short)
    burning = whole * hard > part * n and whole * hard_now > part * n_now
    if not burning:
        return Verdict(entered=False, left=True, value=hard / n if n else None, n=n)
    low, high = wilson(hard, n, confidence)
    return Verdict(n >= rule.min_n, left=False, value=hard / n, low=low, high=high, n=n)


@lru_cache(maxsize=256)
def _allowed(burn: float, objective: float) -> tuple[int, int]:
    """The share of high-effort answers that burns the budget, as a fraction of what the configuration says."""
    exact = Fraction(str(burn)) * (1 - Fraction(str(objective)))  # str: 0.8 means 4/5
    return exact.numerator, exact.denominator
