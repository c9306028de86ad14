"""Whether the condition of a rule holds, judged from tallies."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
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


@dataclass(frozen=True, slots=True)
class _Figure:
    value: float | None
    low: float | None
    high: float | None
    n: int


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
    """
    figure = _figure(rule.score, question, vector, interactions, confidence)
    if figure.value is None:
        return Verdict(entered=False, left=True if figure.n == 0 else None, n=figure.n)
    sign = 1 if rising_is_worse(rule.score, question) else -1
    crossed = sign * (figure.value - rule.enter) > 0
    if rule.confident:
        bound = figure.low if sign > 0 else figure.high
        crossed = crossed and bound is not None and sign * (bound - rule.enter) > 0
    entered = crossed and figure.n >= rule.min_n
    left = not sign * (figure.value - rule.exit) > 0
    return Verdict(entered, left, figure.value, figure.low, figure.high, figure.n)


def _figure(
    name: ScoreName,
    question: Question | None,
    vector: Sequence[int],
    interactions: Sequence[int] | None,
    confidence: float,
) -> _Figure:
    if name is ScoreName.UNRESOLVED_SHARE or question is None:
        return _share(vector[_UNRESOLVED], vector[0], confidence)
    beside = interactions[0] if interactions else 0
    if name is ScoreName.RESPONSE_RATE:
        return _share(vector[-1], beside, confidence)
    made = score(question, vector, beside, confidence)
    if name is ScoreName.LOW_EFFORT_SHARE:
        if made.low_effort_share is None:
            return _Figure(None, None, None, made.n)
        counted = sum(count for count, low in zip(vector, question.low_effort_weights, strict=False) if low)
        return _share(counted, made.n, confidence)
    if name is ScoreName.EFFORT_INDEX:
        low, high = made.low, made.high
        if low is not None and high is not None:
            low, high = effort_bounds(question, low, high)
        return _Figure(made.effort_index, low, high, made.n)
    return _Figure(made.value, made.low, made.high, made.n)


def _share(part: int, whole: int, confidence: float) -> _Figure:
    """A share with Wilson's bounds; a rate above 1 (more answers than interactions) has none."""
    if not whole:
        return _Figure(None, None, None, 0)
    low, high = wilson(part, whole, confidence) if part <= whole else (None, None)
    return _Figure(part / whole, low, high, whole)


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
    hard = sum(
        count
        for rating, count in zip(scale.ratings, vector, strict=False)
        if 2 * abs(rating - scale.best) > scale.points - 1
    )
    return hard, sum(vector[:-1])


def budget(
    rule: BudgetRule, question: Question, long: Sequence[int], short: Sequence[int], confidence: float
) -> Verdict:
    """A budget rule: both windows hold more high-effort answers than ``burn`` times the budget."""
    allowed = Fraction(str(rule.burn)) * (1 - Fraction(str(rule.objective)))  # str: as written, so 0.8 is 4/5
    hard, n = high_effort(question, long)
    hard_now, n_now = high_effort(question, short)
    burning = bool(n and n_now) and hard > allowed * n and hard_now > allowed * n_now
    figure = _share(hard, n, confidence)
    return Verdict(burning and n >= rule.min_n, not burning, figure.value, figure.low, figure.high, n)
