"""Alert rules in ``config check``: what each watches, its condition in words, and how often it may be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Table

from app.cli.tables import NONE, duration, table
from scoring.alerts.levels import axis
from scoring.alerts.maintenance import WEEKDAYS, Maintenance, Once
from scoring.alerts.rules import (
    MINUTE_MS,
    BudgetRule,
    ChangeRule,
    RisingRule,
    Rule,
    ScoreName,
    SilentRule,
    StaleRule,
    ThresholdRule,
    minutes_per_false_alarm,
    parts,
    silence_needed,
)
from scoring.catalog import Catalog

NO_PROMISE = "not bounded"
_COLUMNS = ("rule", "kind", "severity", "watches", "fires when", "false alarms")
_DAY_MINUTES = 1_440


def rules_table(catalog: Catalog) -> Table:
    """Every rule in force."""
    rows = [
        (
            rule.id,
            rule.kind.value,
            rule.severity.value,
            watched(rule, catalog),
            f"{condition(rule, catalog)}{_dwells(rule)}",
            promise(rule, catalog),
        )
        for rule in catalog.alerts
    ]
    return table("Alert rules", _COLUMNS, rows or [(NONE, NONE, NONE, NONE, "none declared", NONE)])


def watched(rule: Rule, catalog: Catalog) -> str:
    """How many declared touchpoints and questions a rule watches, and of whom.

    Example:
        >>> from scoring.alerts.rules import Selector, Severity
        >>> watched(StaleRule("r", Severity.WARNING, Selector(segment={"plan": "b*"})), Catalog({}, strict=True))
        '0 touchpoints x 0 questions, plan = b*'
    """
    selector = rule.selector
    touchpoints = sum(
        selector.touchpoint_matches(one.name, one.journey_stage) for one in catalog.touchpoints.values()
    )
    text = f"{_counted(touchpoints, 'touchpoint')}"
    if not catalog.strict and selector.journey_stage is None:
        text += " and undeclared ones" if selector.touchpoint is None else ""
    if rule.of_interactions:
        text += ", interactions"
    else:
        text += f" x {_counted(sum(map(rule.judges, catalog.questions.values())), 'question')}"
    return text + "".join(f", {name} = {pattern}" for name, pattern in selector.segment.items())


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def condition(rule: Rule, catalog: Catalog) -> str:
    """The condition of a rule in words."""
    if isinstance(rule, ThresholdRule):
        return _threshold(rule, catalog)
    if isinstance(rule, RisingRule):
        return f"effort is above the series' own baseline of {duration(rule.baseline_ms)}"
    if isinstance(rule, ChangeRule):
        return _change(rule)
    if isinstance(rule, SilentRule):
        what = "interactions" if rule.interactions else "responses"
        needed = silence_needed(rule, catalog)
        return (
            f"none came in {duration(rule.after_ms)} or more, where {needed:.1f} {what} were to be expected"
        )
    if isinstance(rule, StaleRule):
        return f"the newest answer is {duration(rule.after_ms)} old"
    assert isinstance(rule, BudgetRule)  # noqa: S101 - the last kind
    allowed = rule.burn * (1 - rule.objective)
    windows = f"the last {rule.long} (n >= {rule.min_n}) and {rule.short}"
    return f"more than {100 * allowed:.4g} % of the answers of {windows} are high effort"


def _threshold(rule: ThresholdRule, catalog: Catalog) -> str:
    judged = None if rule.of_interactions else next(filter(rule.judges, catalog.questions.values()), None)
    figure = "value" if rule.score is ScoreName.VALUE else rule.score.value
    side, back = ("above", "at most") if axis(rule.score, judged).rising else ("below", "at least")
    bound = "" if not rule.confident else f", its {'lower' if side == 'above' else 'upper'} bound too"
    return (
        f"{figure} of the last {rule.window} {side} {rule.enter:g}{bound} (n >= {rule.min_n}); "
        f"over when {back} {rule.exit:g}"
    )


def _change(rule: ChangeRule) -> str:
    sure = f"with {100 * rule.confidence:g} % confidence (n >= {rule.min_n} each)"
    if rule.against_ms is None:
        return f"worse since the newest deployment, up to {rule.window} ago, by {rule.by:g} points or more, {sure}"
    return f"the last {rule.window} worse than {duration(rule.against_ms)} before by {rule.by:g} points or more, {sure}"


def _dwells(rule: Rule) -> str:
    entering = f"; for {duration(rule.for_ms)}" if rule.for_ms else ""
    return entering + (f"; resolved after {duration(rule.exit_for_ms)}" if rule.exit_for_ms else "")


def promise(rule: Rule, catalog: Catalog) -> str:
    """How often a rule may be wrong, of one series and over all of them, where its kind can promise that.

    Example:
        >>> from scoring.alerts.rules import Severity
        >>> promise(RisingRule("r", Severity.WARNING, max_series=10), Catalog({}))
        '1 per 100,800 min each (70 d), 10 share 1 per 10,080 min'
    """
    if not isinstance(rule, RisingRule | SilentRule):
        return NO_PROMISE
    minutes = minutes_per_false_alarm(rule, catalog)
    each = f"1 per {minutes:,.0f} min each ({minutes / _DAY_MINUTES:.3g} d)"
    if not rule.false_alarms.over_all:
        return each
    allowed = rule.false_alarms
    over_all = allowed.period_ms / MINUTE_MS / allowed.count
    return f"{each}, {parts(rule, catalog)} share 1 per {over_all:,.0f} min"


def maintenance_table(windows: Sequence[Maintenance]) -> Table:
    """Every maintenance window."""
    rows = [(one.id, one.rule or "all", one.touchpoint or "all", _when(one)) for one in windows]
    return table("Maintenance: alerts are shown as muted", ("id", "rule", "touchpoint", "when"), rows)


def _when(one: Maintenance) -> str:
    when = one.when
    if isinstance(when, Once):
        return f"{_instant(when.start_ms)} to {_instant(when.end_ms)}"
    day = "daily" if when.weekday is None else WEEKDAYS[when.weekday]
    return f"{day} {_clock(when.from_minute)} to {_clock(when.to_minute)} {when.timezone}"


def _instant(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
