"""Levels of threshold rules: that they can be crossed, and lie on the right sides, for every question watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scoring.alerts.levels import Axis, axis

if TYPE_CHECKING:
    from app.config_tables import Table
    from scoring.alerts.rules import ThresholdRule
    from scoring.catalog import Catalog

NAMES_MAX = 3


def check_levels(
    table: Table, rule: ThresholdRule, enter: float | None, leave: float | None, catalog: Catalog
) -> None:
    """Notes levels off the score's range or on the wrong side, and questions that one level cannot suit.

    Args:
        table: the rule's table.
        rule: the rule.
        enter: its level for the beginning; None where it is missing or no number.
        leave: likewise for the end.
        catalog: what is declared.
    """
    found = _axis(table, rule, catalog)
    if found is None:
        return
    named = f"{rule.score.value} from {found.low:g} to {found.high:g}"
    for key, level in (("enter", enter), ("exit", leave)):
        if level is not None and not found.low <= level <= found.high:
            table.note(key, f"is off the range of the score: {named}", "Write a level within it", level)
            return
    if enter is None or leave is None:
        return
    side, beyond = ("above", "rises") if found.rising else ("below", "falls")
    if enter == found.worst:
        problem = f"can never be crossed: no score lies {side} it, {named}"
        table.note("enter", problem, f"Write a level that the score {beyond} {side}", enter)
    elif found.worse(leave, enter):
        table.note(
            "exit",
            f"is on the worse side of enter = {enter:g}: a score {side} enter is bad here",
            f"Write {enter:g}, or a level on its other side",
            leave,
        )


def _axis(table: Table, rule: ThresholdRule, catalog: Catalog) -> Axis | None:
    """The one axis of all that a rule watches; None, noted, where there is none or more than one."""
    if rule.of_interactions:
        return axis(rule.score, None)
    watched = [one for one in catalog.questions.values() if rule.selector.question_matches(one)]
    if not watched:
        return None
    judged = [one for one in watched if rule.judges(one)]
    if not judged:
        table.note(
            "score",
            f"none of its questions has it: only means of metric ces have, not {_listed([one.id for one in watched])}",
            'Watch others with question or metric, or write score = "value"',
            rule.score.value,
        )
        return None
    by_axis: dict[Axis, list[str]] = {}
    for one in judged:
        by_axis.setdefault(axis(rule.score, one), []).append(one.id)
    if len(by_axis) == 1:
        return next(iter(by_axis))
    both_ways = len({found.rising for found in by_axis}) > 1
    told = "; ".join(
        f"{found.low:g} to {found.high:g}, {'higher' if found.rising else 'lower'} is worse: {_listed(names)}"
        for found, names in by_axis.items()
    )
    table.note(
        "score",
        f"one level cannot suit questions of {'two directions' if both_ways else 'different scales'} ({told})",
        'Write one rule for each, narrowed by question or metric, or watch score = "effort_index" of metric ces',
        rule.score.value,
    )
    return None


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:NAMES_MAX])
    return shown if len(names) <= NAMES_MAX else f"{shown} and {len(names) - NAMES_MAX} more"
