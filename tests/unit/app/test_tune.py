"""Tune: what it proposes is what a backtest of the proposal then does."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from math import inf

import pytest

from app.backtest import History, tally_files
from app.backtest_figures import rule_counts
from app.config import load_rules
from app.rows import read_files
from app.tune import tune
from app.tune_levels import FIRING_SHARE_MAX
from app.tune_toml import toml_lines
from scoring.alerts.rules import (
    FalseAlarms,
    RisingRule,
    ScoreName,
    Selector,
    Severity,
    StaleRule,
    ThresholdRule,
)
from scoring.catalog import Catalog
from tests.datasets import write_rows
from tests.unit.app.history import (
    COLUMNS,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    calm_with_a_hard_hour,
    catalog,
    mapping,
    row,
    rows,
    stepped,
    with_rule,
)

DAILY = FalseAlarms(1, DAY_MS, over_all=False)
INDEX = ThresholdRule(
    "high",
    Severity.CRITICAL,
    for_ms=3 * MINUTE_MS,
    exit_for_ms=5 * MINUTE_MS,
    score=ScoreName.EFFORT_INDEX,
    window="1h",
    window_ms=HOUR_MS,
    enter=45.0,
    exit=40.0,
    min_n=10,
)
VALUE = replace(INDEX, score=ScoreName.VALUE, enter=4.0, exit=4.5, for_ms=0, exit_for_ms=0)


def tallied(folder, content, declared: Catalog) -> History:
    """History of these rows."""
    path = write_rows(folder / "answers.csv", COLUMNS, content)
    return tally_files(read_files([path], mapping(folder), declared), declared)


@pytest.mark.parametrize(
    "rule",
    [
        INDEX,
        VALUE,
        replace(INDEX, confident=True),
        replace(INDEX, score=ScoreName.LOW_EFFORT_SHARE, enter=0.4, exit=0.5, for_ms=0),
        replace(INDEX, exit=45.0, exit_for_ms=0, min_n=1),
    ],
    ids=["index", "value", "confident", "share", "no gap"],
)
def test_every_count_is_that_of_a_backtest(tmp_path, rule):
    """Firings and time firing of each level that is shown, now and proposed."""
    content = rows(calm_with_a_hard_hour(3.0, 7, per_hour=15))
    declared = catalog(rule)
    (found,) = tune(tallied(tmp_path, content, declared), declared, DAILY).levels
    assert found.proposed is not None
    for one in {found.present, found.proposed, *found.tried}:
        levelled = with_rule(declared, replace(rule, enter=one.enter, exit=one.exit))
        (counts,) = rule_counts(stepped(tmp_path, content, levelled), levelled)
        assert (counts.firings, counts.firing_ms) == (one.firings, one.firing_ms)


@pytest.mark.parametrize("rule", [INDEX, VALUE], ids=["higher is worse", "lower is worse"])
def test_the_level_is_the_mildest_that_keeps_the_rate(tmp_path, rule):
    """It fires no more often than allowed; the next milder one does, or fires for too long."""
    content = rows(calm_with_a_hard_hour(4.0, 9, per_hour=15))
    declared = catalog(rule)
    (found,) = tune(tallied(tmp_path, content, declared), declared, DAILY).levels
    made = found.proposed
    assert made is not None
    assert found.allowed == 3  # of 4 days less the minutes before the first answer
    assert made.firings <= found.allowed
    sign, step = (-1, 0.5) if rule is INDEX else (1, 0.05)
    milder = with_rule(
        declared, replace(rule, enter=made.enter + sign * step, exit=round(made.exit + sign * step, 10))
    )
    (counts,) = rule_counts(stepped(tmp_path, content, milder), milder)
    assert counts.firings > found.allowed or counts.firing_ms > FIRING_SHARE_MAX * found.span_ms
    gap = abs(rule.enter - rule.exit)
    assert abs(made.enter - made.exit) == pytest.approx(gap)


def test_a_rate_over_all_is_shared_by_the_series(tmp_path):
    """Two touchpoints have half of it each."""
    answers = calm_with_a_hard_hour(4.0, 3, per_hour=15)
    content = [*rows(answers), *(row(10**6 + at, *one, place="cart") for at, one in enumerate(answers))]
    declared = catalog(INDEX)
    history = tallied(tmp_path, content, declared)
    assert [one.allowed for one in tune(history, declared, DAILY).levels] == [3, 3]
    over_all = replace(DAILY, over_all=True)
    assert [one.allowed for one in tune(history, declared, over_all).levels] == [1, 1]


def test_a_series_with_too_few_answers_gets_no_level(tmp_path):
    """And a reason instead."""
    declared = catalog(replace(INDEX, min_n=500))
    (found,) = tune(tallied(tmp_path, rows(calm_with_a_hard_hour(1.0, 1)), declared), declared, DAILY).levels
    assert found.proposed is None
    assert "min_n = 500" in str(found.reason)


def test_the_tables_to_paste_are_rules_of_one_series_each(tmp_path):
    """Names with quotes and brackets too; stepped again, each fires as often as was said."""
    answers = calm_with_a_hard_hour(3.0, 5, per_hour=15)
    names = ('say "hi" [now]', "say hi now", "checkout")
    content = [
        row(10**6 * number + at, *one, place=name, channel="phone" if at % 2 else "web")
        for number, name in enumerate(names)
        for at, one in enumerate(answers)
    ]
    declared = catalog(
        replace(INDEX, runbook="https://runbooks/effort", owner='the "team"'),
        replace(INDEX, id="by", selector=Selector("check*", segment={"channel": "*"}), min_n=5),
        RisingRule("rising", Severity.WARNING, Selector(metric="ces"), min_history_ms=DAY_MS),
        StaleRule("stale", Severity.WARNING),
    )
    tuning = tune(tallied(tmp_path, content, declared), declared, DAILY)
    path = tmp_path / "tuned.toml"
    path.write_text("\n".join(toml_lines(tuning, "1 per 1d")))
    text = tomllib.loads(path.read_text())
    assert len({table["id"] for table in text["alerts"]}) == len(text["alerts"]) == 3 + 2 + 1
    tuned = load_rules(path, declared)
    assert {rule.owner for rule in tuned.alerts} == {'the "team"', None}
    made = stepped(tmp_path, content, tuned)
    said = [one.proposed.firings for one in tuning.levels if one.proposed is not None]
    assert [one.firings for one in rule_counts(made, tuned)][: len(said)] == said
    for record in made.records:
        rule = next(rule for rule in tuned.alerts if rule.id == record["rule"])
        if isinstance(rule, ThresholdRule):
            own = {one["touchpoint"] for one in made.records if one["rule"] == rule.id}
            assert own == {record["touchpoint"]}
    (rising,) = [rule for rule in tuned.alerts if isinstance(rule, RisingRule)]
    assert rising.false_alarms == DAILY
    assert "stale: nothing proposed" in path.read_text()


def test_a_rising_rule_is_measured_by_its_own_baseline(tmp_path):
    """Larger rises are found sooner; the same files give the same delays; n is that of the files."""
    rule = RisingRule("rising", Severity.WARNING, min_history_ms=7 * DAY_MS)
    answers = calm_with_a_hard_hour(10.0, 2, per_hour=20)
    declared = catalog(rule)
    history = tallied(tmp_path, rows(answers), declared)
    (found,), (again,) = (tune(history, declared, DAILY).rising for _ in range(2))
    assert found.baseline is not None
    assert found.baseline.n == len(answers)
    assert found.per_hour == pytest.approx(20, rel=0.01)
    assert found.minutes == 1440
    assert found.delays == again.delays
    medians = [inf if one.median_ms is None else one.median_ms for one in found.delays]
    assert medians == sorted(medians, reverse=True)
    assert medians[0] > 2 * medians[-1] > 0
    assert [one.points for one in found.delays] == pytest.approx([0.3, 0.5, 1.0])
    assert all(one.p90_ms is None or one.p90_ms >= (one.median_ms or 0) for one in found.delays)


def test_a_history_too_short_for_a_baseline_is_said(tmp_path):
    """With how much there is and how much is needed."""
    declared = catalog(RisingRule("rising", Severity.WARNING))
    history = tallied(tmp_path, rows(calm_with_a_hard_hour(2.5, 2)), declared)
    (found,) = tune(history, declared, DAILY).rising
    assert (found.baseline, found.delays) == (None, ())
    assert found.reason == "2 days of history, min_history is 7"


def test_rules_that_are_not_tuned_are_named(tmp_path):
    """Other kinds, and rules whose touchpoint is not in the files."""
    elsewhere = replace(INDEX, id="elsewhere", selector=Selector(touchpoint="else*"))
    declared = catalog(elsewhere, StaleRule("stale", Severity.WARNING))
    tuning = tune(tallied(tmp_path, rows(calm_with_a_hard_hour(0.2, 2)), declared), declared, DAILY)
    assert [rule.id for rule in tuning.unseen] == ["elsewhere"]
    assert [rule.id for rule in tuning.untuned] == ["stale"]
