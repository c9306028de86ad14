"""The rules of each kind: their own keys, defaults and checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.config_alert_levels import check_levels
from scoring.alerts.rules import (
    BudgetRule,
    ChangeRule,
    Kind,
    RisingRule,
    Rule,
    ScoreName,
    SilentRule,
    StaleRule,
    ThresholdRule,
)
from scoring.errors import DeclarationError
from scoring.panes import DAY_MS, HOUR_MS, MINUTE_MS, parse_duration_ms
from scoring.windows import LIVE_MS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.config_tables import Table
    from scoring.alerts.rules import FalseAlarms, Selector, Severity
    from scoring.catalog import Catalog

# Sums that reach back no further slide by the minute, longer ones by the hour
FINE_MS = 48 * HOUR_MS
AGAINST_MS = {"1d": DAY_MS, "7d": 7 * DAY_MS, "deployment": None}
DROPS_MAX = 8
EXPECTED_MIN = 3.0
_DWELL_MS = 10 * MINUTE_MS

# Dwell before firing and before resolving, where the file does not say
DWELL_MS: Mapping[Kind, tuple[int, int]] = {
    Kind.THRESHOLD: (_DWELL_MS, _DWELL_MS),
    # The detector weighs the evidence of all minutes together; a further wait would only delay it
    Kind.RISING: (0, 0),
    Kind.CHANGE: (_DWELL_MS, 3 * _DWELL_MS),
    # Its own patience is the silence that it needs, and one answer ends it
    Kind.SILENT: (0, 0),
    Kind.STALE: (0, 0),
    # The short window is the dwell before firing
    Kind.BUDGET: (0, _DWELL_MS),
}
_DWELLS = frozenset({"for", "exit_for"})
_PROMISE = frozenset({"false_alarms", "max_series"})
OWN_KEYS: Mapping[Kind, frozenset[str]] = {
    Kind.THRESHOLD: _DWELLS | {"score", "window", "enter", "exit", "min_n", "confident"},
    Kind.RISING: _DWELLS | _PROMISE | {"baseline", "min_history", "drops", "margin"},
    Kind.CHANGE: _DWELLS | {"window", "against", "by", "confidence", "min_n"},
    Kind.SILENT: _DWELLS | _PROMISE | {"interactions", "baseline", "expected", "after"},
    Kind.STALE: _DWELLS | {"after"},
    Kind.BUDGET: _DWELLS | {"objective", "burn", "long", "short", "min_n"},
}
EVERY_KEY = frozenset().union(*OWN_KEYS.values())
PROMISING = frozenset(kind for kind, keys in OWN_KEYS.items() if keys >= _PROMISE)


@dataclass(frozen=True, slots=True)
class Common:
    """What has been read of a rule before its kind is looked at."""

    id: str
    severity: Severity
    selector: Selector
    runbook: str | None
    owner: str | None
    false_alarms: FalseAlarms
    max_series: int | None

    def fields(self, table: Table, kind: Kind) -> dict[str, Any]:
        """The fields that every rule has, its dwells read with the defaults of its kind."""
        enters_ms, leaves_ms = DWELL_MS[kind]
        return {
            "id": self.id,
            "severity": self.severity,
            "selector": self.selector,
            "runbook": self.runbook,
            "owner": self.owner,
            "for_ms": _minutes(table, "for", enters_ms, zero=True),
            "exit_for_ms": _minutes(table, "exit_for", leaves_ms, zero=True),
            "false_alarms": self.false_alarms,
            "max_series": self.max_series,
        }


def _threshold(table: Table, common: Common, catalog: Catalog | None) -> ThresholdRule:
    fields = common.fields(table, Kind.THRESHOLD)
    window, window_ms = _window(table, "window", "1h")
    table.missing("enter", "enter = LEVEL, beyond which the score is bad")
    table.missing("exit", "exit = LEVEL, on the better side of enter, where it is good again")
    enter, leave = table.number("enter", None), table.number("exit", None)
    before = len(table.problems)
    score = ScoreName(table.choice("score", list(ScoreName), ScoreName.VALUE))
    known = len(table.problems) == before
    rule = ThresholdRule(
        **fields,
        score=score,
        window=window,
        window_ms=window_ms,
        enter=0.0 if enter is None else enter,
        exit=0.0 if leave is None else leave,
        min_n=_min_n(table, 20, catalog),
        confident=table.flag("confident", default=False),
    )
    if catalog is not None and known:
        check_levels(table, rule, enter, leave, catalog)
    return rule


def _rising(table: Table, common: Common, _: Catalog | None) -> RisingRule:
    usual = RisingRule(common.id, common.severity)
    baseline_ms = _days(table, "baseline", usual.baseline_ms)
    history_ms = _days(table, "min_history", min(usual.min_history_ms, baseline_ms))
    if history_ms > baseline_ms:
        remedy = "Lower it, or lengthen baseline"
        table.note("min_history", "is longer than the baseline", remedy, table.content.get("min_history"))
    drops = _drops(table, usual.drops)
    margin = table.number("margin", None, 0)
    if margin is not None and margin + max(drops) >= 1:
        table.note(
            "margin",
            f"leaves no room on the scale for the largest drop that is looked for, {max(drops):.4g}",
            "Lower it: both are shares of the width of the scale",
            margin,
        )
    return RisingRule(
        **common.fields(table, Kind.RISING),
        baseline_ms=baseline_ms,
        min_history_ms=history_ms,
        drops=drops,
        margin=margin,
    )


def _drops(table: Table, usual: tuple[float, ...]) -> tuple[float, ...]:
    example = "[0.05, 0.1], shares of the width of the scale"
    found = table.numbers("drops", (int, float), example)
    if found is None:
        return usual
    fitting = all(0 < drop < 1 for drop in found) and len(set(found)) == len(found)
    if not found or len(found) > DROPS_MAX or not fitting:
        problem = f"must be 1 to {DROPS_MAX} different numbers between 0 and 1"
        table.note("drops", problem, f"Write drops = {example}", found)
        return usual
    return tuple(sorted(float(drop) for drop in found))


def _change(table: Table, common: Common, catalog: Catalog | None) -> ChangeRule:
    window, window_ms = _window(table, "window", "24h")
    against = table.choice("against", AGAINST_MS, "1d")
    against_ms = AGAINST_MS[against]
    if against_ms is not None and window_ms > against_ms:
        problem = f"is longer than against ({against}): the two periods would overlap"
        table.note("window", problem, "Shorten it, or compare with an earlier period", window)
    elif against_ms is not None and window_ms + against_ms > FINE_MS and window_ms % HOUR_MS:
        table.note(
            "window",
            "is no multiple of an hour, and what is more than 48 h back is kept by the hour",
            f'Write whole hours, such as "{window_ms // HOUR_MS + 1}h"',
            window,
        )
    elif against_ms is None and 2 * window_ms > FINE_MS:
        problem = (
            "is longer than 24h: a mark falls within an hour, and what is further back is kept by the hour"
        )
        table.note("window", problem, 'Write "24h" or less', window)
    by = table.number("by", 5.0, 0, 200)
    if not by:
        table.note("by", "must be more than 0", "Write the least difference that matters, such as 5", by)
    return ChangeRule(
        **common.fields(table, Kind.CHANGE),
        window=window,
        window_ms=window_ms,
        against_ms=against_ms,
        by=by,
        confidence=table.level("confidence", 0.99),
        min_n=_min_n(table, 30, catalog),
    )


def _silent(table: Table, common: Common, _: Catalog | None) -> SilentRule:
    return SilentRule(
        **common.fields(table, Kind.SILENT),
        interactions=table.flag("interactions", default=False),
        baseline_ms=_days(table, "baseline", 7 * DAY_MS),
        expected=table.number("expected", 12.0, EXPECTED_MIN),
        after_ms=_minutes(table, "after", 30 * MINUTE_MS, zero=False),
    )


def _stale(table: Table, common: Common, _: Catalog | None) -> StaleRule:
    after_ms = _minutes(table, "after", DAY_MS, zero=False)
    return StaleRule(**common.fields(table, Kind.STALE), after_ms=after_ms)


def _budget(table: Table, common: Common, catalog: Catalog | None) -> BudgetRule:
    long, long_ms = _window(table, "long", "6h")
    short, short_ms = _window(table, "short", "30m")
    if short_ms >= long_ms:
        remedy = 'Write about a twelfth of it, such as "30m" beside "6h"'
        table.note("short", f"is not shorter than long ({long})", remedy, short)
    objective = table.level("objective", 0.8)
    burn = table.number("burn", 3.0, 0)
    # Rounded, since 5 x (1 - 0.8) is a hair below 1 in binary
    if round(burn * (1 - objective), 12) >= 1:
        largest = 1 / (1 - objective)
        table.note(
            "burn",
            f"can never be reached: with objective = {objective:g} even nothing but high-effort answers burns "
            f"{largest:.4g} times the budget",
            f"Write a burn below {largest:.4g}, or a higher objective",
            burn,
        )
    elif burn <= 0:
        table.note("burn", "must be more than 0", "Write 3, or 1 for all of the budget", burn)
    return BudgetRule(
        **common.fields(table, Kind.BUDGET),
        objective=objective,
        burn=burn,
        long=long,
        long_ms=long_ms,
        short=short,
        short_ms=short_ms,
        min_n=_min_n(table, 30, catalog),
    )


BUILDERS: Mapping[Kind, Callable[[Table, Common, Catalog | None], Rule]] = {
    Kind.THRESHOLD: _threshold,
    Kind.RISING: _rising,
    Kind.CHANGE: _change,
    Kind.SILENT: _silent,
    Kind.STALE: _stale,
    Kind.BUDGET: _budget,
}


def _min_n(table: Table, usual: int, catalog: Catalog | None) -> int:
    """At least the privacy floor: an alert shows the score that it is about."""
    floor = 0 if catalog is None else catalog.privacy_floor
    found = table.whole("min_n", max(usual, floor), minimum=1)
    if found < floor:
        problem = f"is below privacy_floor = {floor}: an alert would show a score that is hidden elsewhere"
        table.note("min_n", problem, f"Write {floor} or more", found)
    return found


def _minutes(table: Table, key: str, usual_ms: int, *, zero: bool) -> int:
    """A duration in whole minutes: rules are stepped once a minute of event time."""
    found = table.duration_ms(key, usual_ms, zero=zero)
    if found % MINUTE_MS:
        remedy = f'Write "{found // MINUTE_MS + 1}m", for example'
        table.note(key, "is no multiple of a minute, the step of all rules", remedy, table.content[key])
    return found


def _days(table: Table, key: str, usual_ms: int) -> int:
    found = table.duration_ms(key, usual_ms, zero=False)
    if found % DAY_MS or found > LIVE_MS_MAX:
        table.note(key, "is not 1 to 400 whole days", 'Write whole days, such as "28d"', table.content[key])
        return usual_ms
    return found


def _window(table: Table, key: str, usual: str) -> tuple[str, int]:
    """(name, length) of a sliding window."""
    name = table.text(key, usual)
    try:
        size_ms = parse_duration_ms(name)
    except DeclarationError as error:
        table.note(key, error.problem, error.remedy, name)
        return usual, parse_duration_ms(usual)
    step_ms, step = (MINUTE_MS, "minute") if size_ms <= FINE_MS else (HOUR_MS, "hour")
    if not 0 < size_ms <= LIVE_MS_MAX:
        table.note(key, "is not between 1m and 400d", f'Write a length such as "{usual}"', name)
    elif size_ms % step_ms:
        reach = "up to 48 h" if step == "minute" else "beyond 48 h"
        remedy = f'Write "{size_ms // step_ms + 1}{step[0]}", for example'
        table.note(key, f"is no multiple of the {step} that windows {reach} slide by", remedy, name)
    return name, size_ms
