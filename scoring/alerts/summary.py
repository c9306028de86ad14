"""One sentence about an alert, for whoever is paged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scoring.alerts.rules import BudgetRule, ChangeRule, Rule, ScoreName, SilentRule, StaleRule, ThresholdRule
from scoring.alerts.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scoring.questions import Question

_NAMES = {
    ScoreName.EFFORT_INDEX: "effort index",
    ScoreName.LOW_EFFORT_SHARE: "share of low-effort answers",
    ScoreName.RESPONSE_RATE: "response rate",
    ScoreName.UNRESOLVED_SHARE: "share of unresolved interactions",
}
_SHARES = (ScoreName.LOW_EFFORT_SHARE, ScoreName.RESPONSE_RATE, ScoreName.UNRESOLVED_SHARE)
_VALUES = {"ces": "effort score", "csat": "satisfaction", "nps": "NPS"}


def summary(
    rule: Rule, state: State, touchpoint: str, question: Question | None, evidence: Mapping[str, Any]
) -> str:
    """What is the matter, where, how sure, in one sentence.

    Args:
        rule: the rule.
        state: of the alert after its transition.
        touchpoint: where.
        question: what was asked; None where interactions are watched.
        evidence: as published with the alert.

    Example:
        >>> from scoring.alerts.rules import Severity
        >>> rule = ThresholdRule("r", Severity.WARNING, score=ScoreName.EFFORT_INDEX, enter=50, exit=45)
        >>> summary(rule, State.FIRING, "checkout", None, {"value": 61.234, "low": 57.0, "high": 65.5, "n": 412})
        'checkout: effort index 61.2 (57.0 to 65.5, n = 412) is beyond 50'
    """
    what = f"{touchpoint}: {_finding(rule, question, evidence)}"
    if state is State.RESOLVED:
        return f"{touchpoint}: over. {_figure(rule, question, evidence)}".strip()
    return what


def _finding(rule: Rule, question: Question | None, evidence: Mapping[str, Any]) -> str:
    if isinstance(rule, ThresholdRule):
        return f"{_figure(rule, question, evidence)} is beyond {rule.enter:g}"
    if isinstance(rule, ChangeRule):
        points = _number(evidence.get("value"))
        return f"worse by {points} points{_bounds(evidence)} than in the period before"
    if isinstance(rule, BudgetRule):
        share = _number(evidence.get("value"), share=True)
        return (
            f"{share} of the answers are high effort{_bounds(evidence, share=True)}: the error budget burns"
        )
    if isinstance(rule, SilentRule):
        what = "interactions" if rule.interactions else "responses"
        return f"no {what} although {_number(evidence.get('expected'))} were to be expected"
    if isinstance(rule, StaleRule):
        return "no answer for so long that its score says nothing of today"
    usual = _number(evidence.get("baseline_mean"), digits=2)
    mean, n = _number(evidence.get("value"), digits=2), evidence.get("n", 0)
    return f"effort is rising: mean {mean} (n = {n}), usual {usual}"


def _figure(rule: Rule, question: Question | None, evidence: Mapping[str, Any]) -> str:
    if not isinstance(rule, ThresholdRule):
        return ""
    share = rule.score in _SHARES
    metric = "" if question is None else question.metric.value
    name = _NAMES.get(rule.score) or _VALUES.get(metric, "score")
    return f"{name} {_number(evidence.get('value'), share=share)}{_bounds(evidence, share=share)}"


def _bounds(evidence: Mapping[str, Any], *, share: bool = False) -> str:
    low, high = evidence.get("low"), evidence.get("high")
    n = f"n = {evidence.get('n', 0)}"
    if low is None or high is None:
        return f" ({n})"
    return f" ({_number(low, share=share)} to {_number(high, share=share)}, {n})"


def _number(value: float | None, *, share: bool = False, digits: int = 1) -> str:
    if value is None:
        return "unknown"
    return f"{100 * value:.{digits}f} %" if share else f"{value:.{digits}f}"
