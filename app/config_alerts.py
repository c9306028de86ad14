"""From the tables [[alerts]] to rules: what every kind has; docs/alerts.md says what each key means."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING

from app.config_alert_kinds import BUILDERS, EVERY_KEY, OWN_KEYS, PROMISING, Common
from app.config_problems import nearest
from scoring.alerts.rules import FalseAlarms, Kind, Rule, Selector, Severity
from scoring.errors import DeclarationError
from scoring.panes import DAY_MS, HOUR_MS, parse_duration_ms
from scoring.questions import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from app.config_tables import Table
    from scoring.catalog import Catalog, Segment

URL_BYTES_MAX = 512
# Between two false alarms of all series together; more is a rule that is always firing
FALSE_ALARM_MS_MIN = HOUR_MS
OTHER = "other"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FALSE_ALARMS = re.compile(r"([1-9][0-9]{0,5}) per ([0-9]+[smhd])( over all)?")
_FALSE_ALARMS_EXAMPLE = '"1 per 30d" for each series, or "1 per 7d over all"'
_WEEKLY_OVER_ALL = FalseAlarms(1, 7 * DAY_MS, over_all=True)


def read_alerts(root: Table, catalog: Catalog | None) -> tuple[Rule, ...]:
    """Every rule of a file; what is wrong is noted, and such a rule is left out.

    Args:
        root: the file.
        catalog: what it declares; None where that is wrong itself, and rules cannot be compared with it.
    """
    out: dict[str, Rule] = {}
    seen: set[str] = set()
    for table in root.array("alerts", "[[alerts]]"):
        before = len(table.problems)
        rule = _rule(table, catalog, seen)
        table.finish()
        if rule is not None and len(table.problems) == before:
            out[rule.id] = rule
    return tuple(out.values())


def read_id(table: Table, seen: set[str], example: str) -> str:
    """The unique id of a table; it becomes a label and a part of patterns, so it is kept plain."""
    table.missing("id", f'id = "{example}"')
    name = table.text("id", "")
    if name and not _ID.fullmatch(name):
        table.note("id", "may hold letters, digits, . _ and - only", f'Write one such as "{example}"', name)
    elif name in seen:
        table.note("id", "is the id of two", "Give each an id of its own", name)
    seen.add(name)
    return name


def _rule(table: Table, catalog: Catalog | None, seen: set[str]) -> Rule | None:
    name = read_id(table, seen, "checkout-effort-high")
    table.missing("kind", 'kind = "threshold", or one of: ' + ", ".join(Kind))
    chosen = table.choice("kind", list(Kind), None)
    severity = Severity(table.choice("severity", list(Severity), Severity.WARNING))
    selector = _selector(table, catalog)
    runbook = table.text("runbook", None, URL_BYTES_MAX)
    owner = table.text("owner", None)
    if chosen is None:
        _accept(table, EVERY_KEY)
        return None
    kind = Kind(chosen)
    _refuse_others(table, kind)
    false_alarms, max_series = _WEEKLY_OVER_ALL, None
    if kind in PROMISING:
        false_alarms, max_series = _promise(table)
    common = Common(name, severity, selector, runbook, owner, false_alarms, max_series)
    rule = BUILDERS[kind](table, common, catalog)
    if catalog is not None:
        _check_matches(table, rule, catalog)
        if kind in PROMISING:
            _check_shares(table, rule, catalog)
    return rule


def _accept(table: Table, keys: Iterable[str]) -> None:
    """Lets keys pass: without a kind nobody can say which of them are wrong."""
    for key in keys:
        table.known(key)


def _refuse_others(table: Table, kind: Kind) -> None:
    for key in sorted(EVERY_KEY - OWN_KEYS[kind]):
        kinds = " or ".join(other for other, keys in OWN_KEYS.items() if key in keys)
        remedy = (
            f"Remove it; it belongs to kind {kinds}. Of kind {kind} are: {', '.join(sorted(OWN_KEYS[kind]))}"
        )
        table.refuse(key, f"is no key of a rule of kind {kind}", remedy)


def _selector(table: Table, catalog: Catalog | None) -> Selector:
    return Selector(
        touchpoint=table.text("touchpoint", None),
        question=table.text("question", None),
        metric=table.choice("metric", list(Metric), None),
        journey_stage=table.text("journey_stage", None),
        segment=_segment(table, catalog),
    )


def _segment(table: Table, catalog: Catalog | None) -> dict[str, str]:
    entry = table.table("segment")
    found = {name: entry.text(name, "") for name in sorted(entry.content)}
    if catalog is None or not found:
        return found
    declared = next((one for one in catalog.segments if set(one.fields) == found.keys()), None)
    if declared is None:
        known = ", ".join(one.name for one in catalog.segments) or "none"
        joined = "+".join(found)
        entry.note(
            (),
            f"{joined!r} is not declared",
            f'Correct it, or declare it in [segments] as "{joined}" = {{}}. Declared: {known}',
            found,
        )
        return found
    for name, pattern in found.items():
        values = _values(catalog, name)
        if pattern and values is not None and not any(fnmatchcase(value, pattern) for value in values):
            entry.note(name, "matches no declared value", nearest(pattern, values), pattern)
    return found


def _values(catalog: Catalog, name: str) -> list[str] | None:
    """The values that a segment can have, None where the first to come are kept."""
    plain = next((one for one in catalog.segments if one.fields == (name,)), None)
    return None if plain is None or plain.values is None else [*sorted(plain.values), OTHER]


def _promise(table: Table) -> tuple[FalseAlarms, int | None]:
    false_alarms = read_false_alarms(table)
    if "max_series" not in table:
        return false_alarms, None
    max_series = table.whole("max_series", 1, minimum=1)
    if not false_alarms.over_all:
        table.note(
            "max_series",
            "has no meaning where false alarms are allowed to each series",
            'Remove it, or write "over all" behind false_alarms',
            max_series,
        )
    return false_alarms, max_series


def read_false_alarms(table: Table) -> FalseAlarms:
    """The key ``false_alarms`` of a table, such as ``1 per 30d``; what is wrong is noted."""
    text = table.text("false_alarms", None)
    if text is None:
        return _WEEKLY_OVER_ALL
    found = _FALSE_ALARMS.fullmatch(text)
    if found is None:
        table.note("false_alarms", "is not understood", f"Write {_FALSE_ALARMS_EXAMPLE}", text)
        return _WEEKLY_OVER_ALL
    count = int(found[1])
    try:
        period_ms = parse_duration_ms(found[2])
    except DeclarationError as error:
        table.note("false_alarms", error.problem, f"Write {_FALSE_ALARMS_EXAMPLE}", text)
        return _WEEKLY_OVER_ALL
    if period_ms < count * FALSE_ALARM_MS_MIN:
        problem = "allows more than one false alarm an hour, which is no alert"
        table.note("false_alarms", problem, f"Write {_FALSE_ALARMS_EXAMPLE}", text)
    return FalseAlarms(count, period_ms, over_all=found[3] is not None)


def _check_matches(table: Table, rule: Rule, catalog: Catalog) -> None:
    """Notes patterns that nothing declared matches: such a rule would be silent for ever."""
    selector = rule.selector
    if rule.of_interactions:
        for key in ("question", "metric"):
            if key in table:
                problem = "has no meaning for a rule that watches interactions"
                table.note(key, problem, "Remove it", table.content[key])
    else:
        _check_questions(table, selector, catalog)
    stages = {one.journey_stage for one in catalog.touchpoints.values()} - {None}
    stage = selector.journey_stage
    if stage is not None and not any(fnmatchcase(one or "", stage) for one in stages):
        remedy = (
            nearest(stage, (one for one in stages if one)) if stages else "Give touchpoints a journey_stage"
        )
        table.note("journey_stage", "matches that of no declared touchpoint", remedy, stage)
        return
    # A touchpoint that is not declared may come yet, but it has no stage
    closed = catalog.strict or stage is not None
    touchpoints = catalog.touchpoints.values()
    if closed and not any(selector.touchpoint_matches(one.name, one.journey_stage) for one in touchpoints):
        table.note(
            "touchpoint" if selector.touchpoint is not None else (),
            "matches no declared touchpoint" + ("" if stage is None else f" of stage {stage}"),
            nearest(selector.touchpoint or "", catalog.touchpoints)
            if touchpoints
            else "Declare [touchpoints.NAME]",
            selector.touchpoint or "*",
        )


def _check_questions(table: Table, selector: Selector, catalog: Catalog) -> None:
    questions = catalog.questions
    if any(map(selector.question_matches, questions.values())):
        return
    pattern = selector.question
    if pattern is not None and not any(fnmatchcase(name, pattern) for name in questions):
        table.note("question", "matches no declared question", nearest(pattern, questions), pattern)
    elif pattern is not None:
        problem = f"no question {pattern} has this metric"
        table.note("metric", problem, "Remove metric, or correct one of the two", selector.metric)
    else:
        metrics = sorted({one.metric.value for one in questions.values()})
        table.note(
            "metric", "no declared question has it", f"Declared: {', '.join(metrics)}", selector.metric
        )


def _check_shares(table: Table, rule: Rule, catalog: Catalog) -> None:
    """A budget over all series needs their number; with patterns of segments the file does not tell it."""
    watched = rule.selector.segment
    if (
        not rule.false_alarms.over_all
        or rule.max_series is not None
        or not any(map(_is_pattern, watched.values()))
    ):
        return
    series = _most_series(rule, watched, catalog)
    table.note(
        "max_series",
        "is missing: how many series of segments share the false alarms of a rule over all is not declared",
        f'Write max_series = {series}, or false_alarms = "1 per 30d" for each series',
    )


def _most_series(rule: Rule, watched: Mapping[str, str], catalog: Catalog) -> int:
    """Declared touchpoints x questions x values of segments that match."""
    touchpoints = sum(
        rule.selector.touchpoint_matches(one.name, one.journey_stage) for one in catalog.touchpoints.values()
    )
    questions = 1 if rule.of_interactions else sum(map(rule.judges, catalog.questions.values()))
    plain = {one.name: one for one in catalog.segments}
    values = [_matching_values(plain[name], pattern) for name, pattern in watched.items() if name in plain]
    combined = len(list(product(*map(range, values))))
    return max(1, touchpoints * questions * combined)


def _matching_values(segment: Segment, pattern: str) -> int:
    if segment.values is None:
        return segment.max_values + 1 if _is_pattern(pattern) else 1
    return sum(fnmatchcase(value, pattern) for value in (*segment.values, OTHER))


def _is_pattern(text: str) -> bool:
    return any(letter in text for letter in "*?[")
