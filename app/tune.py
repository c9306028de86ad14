"""Tune: levels for a wanted rate of false alarms, proposed from history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from agents.alerting import Watch
from app.backtest import History
from app.tune_levels import Levels, propose_levels
from app.tune_rising import Rising, measure_rising
from scoring.alerts.rules import MINUTE_MS, FalseAlarms, RisingRule, Rule, ThresholdRule
from scoring.catalog import Catalog

TOO_LAX = (
    "Every firing in the history counts as a false alarm here. Where the history holds true incidents, they are "
    "counted too, and the levels proposed are too lax: leave such days out of the files."
)


@dataclass(frozen=True, slots=True)
class Tuning:
    """All that is proposed.

    Attributes:
        levels: of each threshold rule on each of its series, in order of the rules, then of the series.
        rising: likewise of rising rules.
        untuned: rules of other kinds, which have no level to find here.
        unseen: threshold and rising rules none of whose series is in the files.
    """

    levels: tuple[Levels, ...]
    rising: tuple[Rising, ...]
    untuned: tuple[Rule, ...]
    unseen: tuple[Rule, ...]


def tune(
    history: History,
    catalog: Catalog,
    wanted: FalseAlarms,
    on_series: Callable[[int], None] = lambda _: None,
) -> Tuning:
    """Proposes levels for each rule and series.

    Args:
        history: tallied for the rules of the catalog.
        catalog: what is declared, and the rules.
        wanted: how often a rule may be wrong, on each series or on all together.
        on_series: told how many of the watches have been looked at.
    """
    by_rule: dict[str, list[Watch]] = {}
    for watch in history.watches:
        by_rule.setdefault(watch.rule.id, []).append(watch)
    levels: list[Levels] = []
    rising: list[Rising] = []
    for done, (watch, rule, series) in enumerate(_tunable(by_rule, catalog), 1):
        if isinstance(rule, ThresholdRule):
            levels.append(propose_levels(watch, rule, history.last_ms, wanted, series, catalog.confidence))
        else:
            minutes = wanted.period_ms / MINUTE_MS / wanted.count * (series if wanted.over_all else 1)
            rising.append(measure_rising(watch, rule, history.last_ms, minutes, catalog.timezone))
        on_series(done)
    tunable = [rule for rule in catalog.alerts if isinstance(rule, ThresholdRule | RisingRule)]
    return Tuning(
        tuple(levels),
        tuple(rising),
        tuple(rule for rule in catalog.alerts if rule not in tunable),
        tuple(rule for rule in tunable if rule.id not in by_rule),
    )


def _tunable(
    by_rule: dict[str, list[Watch]], catalog: Catalog
) -> Iterator[tuple[Watch, ThresholdRule | RisingRule, int]]:
    """(watch, its rule, how many series the rule has in the files)."""
    for rule in catalog.alerts:
        own = by_rule.get(rule.id, [])
        if isinstance(rule, ThresholdRule | RisingRule):
            for watch in own:
                yield watch, rule, len(own)


def tuned_rule(found: Levels) -> ThresholdRule | None:
    """The rule with the levels proposed for one series; None where there are none."""
    rule = found.watch.rule
    if found.proposed is None or not isinstance(rule, ThresholdRule):
        return None
    return replace(rule, enter=found.proposed.enter, exit=found.proposed.exit)
