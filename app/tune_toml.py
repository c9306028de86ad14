"""Tuned rules as [[alerts]] tables to paste."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from glob import escape
from textwrap import wrap

from agents.alerting import Watch
from app.cli.tables import duration
from app.tune import TOO_LAX, Tuning, tuned_rule
from app.tune_levels import Levels
from app.tune_rising import Rising
from scoring.alerts.rules import RisingRule, Rule
from scoring.panes import DAY_MS

ID_MAX = 100
_UNSAFE = re.compile(r"[^A-Za-z0-9._]+")


def toml_lines(tuning: Tuning, wanted: str) -> Iterator[str]:
    """The lines of a file that ``backtest --rules`` takes.

    Args:
        tuning: what was proposed.
        wanted: the rate, as ``false_alarms`` has it.
    """
    yield f"# Levels for {wanted} false alarms, from history."
    yield from (f"# {line}" for line in wrap(TOO_LAX, 110))
    series = Counter(found.watch.rule.id for found in tuning.levels)
    used: set[str] = set()
    for found in tuning.levels:
        yield ""
        yield from _threshold(found, _id(found.watch, alone=series[found.watch.rule.id] == 1, used=used))
    by_rule: dict[str, list[Rising]] = {}
    for one in tuning.rising:
        by_rule.setdefault(one.watch.rule.id, []).append(one)
    for fitted in by_rule.values():
        yield ""
        yield from _rising(fitted, wanted)
    for rule in (*tuning.unseen, *tuning.untuned):
        yield ""
        why = (
            "none of its series is in the files" if rule in tuning.unseen else "its kind has no level to find"
        )
        yield f"# {rule.id}: nothing proposed, {why}"


def named(watch: Watch) -> str:
    """A series in words."""
    series = watch.series
    asked = "interactions" if series.question is None else series.question.id
    return f"{series.touchpoint}: {asked}" + "".join(f", {name} = {v}" for name, v in series.segment.items())


def _threshold(found: Levels, rule_id: str) -> Iterator[str]:
    rule = tuned_rule(found)
    if rule is None or found.proposed is None:
        yield f"# {found.watch.rule.id} at {named(found.watch)}: nothing proposed, {found.reason}"
        return
    days = found.span_ms / DAY_MS
    yield f"# firings in {days:.1f} days: {found.proposed.firings}; with the levels of now: {found.present.firings}"
    yield from _head(rule, rule_id)
    yield from _series(found.watch)
    yield f'score = "{rule.score.value}"'
    yield f'window = "{rule.window}"'
    yield f"enter = {rule.enter:.10g}"
    yield f"exit = {rule.exit:.10g}"
    yield f"min_n = {rule.min_n}"
    if rule.confident:
        yield "confident = true"
    yield from _dwells(rule)


def _rising(fitted: list[Rising], wanted: str) -> Iterator[str]:
    rule = fitted[0].watch.rule
    assert isinstance(rule, RisingRule)  # noqa: S101 - the only kind that is fitted
    for one in fitted:
        if one.baseline is None:
            yield f"# {named(one.watch)}: no baseline, {one.reason}"
        else:
            yield f"# {named(one.watch)}: n = {one.baseline.n}, margin {one.baseline.margin:.3f} points"
    yield from _head(rule, rule.id)
    selector = rule.selector
    for key in ("touchpoint", "question", "metric", "journey_stage"):
        if (value := getattr(selector, key)) is not None:
            yield f"{key} = {_text(value)}"
    if selector.segment:
        yield f"segment = {_inline(dict(selector.segment))}"
    yield f"false_alarms = {_text(wanted)}"
    if wanted.endswith("over all"):
        yield f"max_series = {len(fitted)}"
    yield f'baseline = "{rule.baseline_ms // DAY_MS}d"'
    yield f'min_history = "{rule.min_history_ms // DAY_MS}d"'
    yield f"drops = [{', '.join(repr(drop) for drop in rule.drops)}]"
    if rule.margin is not None:
        yield f"margin = {rule.margin!r}"
    yield from _dwells(rule)


def _head(rule: Rule, rule_id: str) -> Iterator[str]:
    yield "[[alerts]]"
    yield f"id = {_text(rule_id)}"
    yield f'kind = "{rule.kind.value}"'
    yield f'severity = "{rule.severity.value}"'
    for key in ("runbook", "owner"):
        if (value := getattr(rule, key)) is not None:
            yield f"{key} = {_text(value)}"


def _series(watch: Watch) -> Iterator[str]:
    """Just this series; in a pattern a bracket stands for itself."""
    series = watch.series
    yield f"touchpoint = {_text(escape(series.touchpoint))}"
    if series.question is not None:
        yield f"question = {_text(escape(series.question.id))}"
    if series.segment:
        yield f"segment = {_inline({name: escape(value) for name, value in series.segment.items()})}"


def _dwells(rule: Rule) -> Iterator[str]:
    yield f'for = "{duration(rule.for_ms)}"'
    yield f'exit_for = "{duration(rule.exit_for_ms)}"'


def _inline(segment: dict[str, str]) -> str:
    return "{ " + ", ".join(f"{_text(name)} = {_text(value)}" for name, value in segment.items()) + " }"


def _text(value: str) -> str:
    """A TOML text; what JSON escapes, TOML escapes in the same way."""
    return json.dumps(value, ensure_ascii=False)


def _id(watch: Watch, *, alone: bool, used: set[str]) -> str:
    """The id of the rule, with the series behind it where there are several; unique."""
    series, name = watch.series, watch.rule.id
    if not alone:
        asked = "" if series.question is None else series.question.id
        parts = [series.touchpoint, asked, *series.segment.values()]
        slug = "-".join(filter(None, (_UNSAFE.sub("-", part).strip("-") for part in parts)))
        name = f"{name}-{slug}"[:ID_MAX]
    made, number = name, 2
    while made in used:
        made, number = f"{name}-{number}", number + 1
    used.add(made)
    return made
