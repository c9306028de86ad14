"""Which judge a rule needs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from agents.alert_judges import (
    BudgetJudge,
    ChangeJudge,
    Judge,
    SilentJudge,
    StaleJudge,
    ThresholdJudge,
)
from agents.alert_rising import RisingJudge
from agents.alert_series import WatchedSeries
from agents.partials import Mark
from scoring.alerts.rules import (
    BudgetRule,
    ChangeRule,
    RisingRule,
    Rule,
    SilentRule,
    StaleRule,
    ThresholdRule,
    minutes_per_false_alarm,
)
from scoring.catalog import Catalog


@lru_cache(maxsize=8192)
def hour_of_week(timezone: str, time_ms: int) -> int:
    """Hour of the local week of an instant, 0 (Monday, midnight) to 167."""
    local = datetime.fromtimestamp(time_ms / 1000, ZoneInfo(timezone))
    return local.weekday() * 24 + local.hour


def judge_of(rule: Rule, series: WatchedSeries, catalog: Catalog, marks: Mapping[str, Mark]) -> Judge:
    """The judge of a rule on a series.

    Args:
        rule: what to look for.
        series: where.
        catalog: what is declared.
        marks: deployments by id, to which the owner adds newer ones.

    Raises:
        TypeError: a kind of rule that no judge is known for: our own bug.
    """
    confidence = catalog.confidence
    if isinstance(rule, ThresholdRule):
        return ThresholdJudge(rule, series, confidence)
    if isinstance(rule, BudgetRule):
        return BudgetJudge(rule, series, confidence)
    if isinstance(rule, ChangeRule):
        return ChangeJudge(rule, series, marks)
    if isinstance(rule, SilentRule):
        return SilentJudge.of(rule, series, catalog)
    if isinstance(rule, StaleRule):
        return StaleJudge(rule, series)
    return _rising(rule, series, catalog)


def _rising(rule: Rule, series: WatchedSeries, catalog: Catalog) -> RisingJudge:
    if not isinstance(rule, RisingRule):
        raise TypeError(f"no judge for rules of kind {type(rule).__name__}")
    level = minutes_per_false_alarm(rule, catalog)
    timezone = catalog.timezone
    return RisingJudge(
        rule, series, level, catalog.timing.horizon_ms, lambda time_ms: hour_of_week(timezone, time_ms)
    )
