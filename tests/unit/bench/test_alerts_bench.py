"""The alert-quality benchmark: its detector is the product's, its comparators are what they are called, and it runs."""

from __future__ import annotations

import json
from math import exp
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.alerts.__main__ import app
from bench.alerts.machine import alarmed, changes
from bench.alerts.measure import calibrated, false_alarms, first_passage, rise_of
from bench.alerts.watchers import WATCHERS, Ratios, cusum, held, mixture, rolling
from bench.alerts.worlds import (
    DAILY,
    DAY,
    MEAN,
    STEADY,
    World,
    answers,
    history,
    hour_of_week,
    minute_ms,
    rule,
)
from scoring.alerts.rising import Detector

LEVEL = 500.0  # low, so that alarms come and go


@pytest.mark.parametrize("per_hour", [2, 20, 200])
def test_the_steps_over_arrays_are_those_of_the_product(per_hour: float) -> None:
    """On the same streams, calm, risen and calm again: the same minutes alarmed, and the same statistic before."""
    rng = np.random.default_rng(11)
    known = history(World("daily", traffic=0.8, course=0.3, wander=0.1), per_hour, 4, rng, rule())
    n, sums = answers(
        DAILY, per_hour, 4, 6 * DAY, rng, lambda when: 1.5 * ((when >= 3 * DAY) & (when < 4 * DAY))
    )
    ratios = Ratios.of(known)
    states, path = alarmed(n, sums, ratios, LEVEL), mixture(n, sums, ratios)
    for series, baseline in enumerate(known.baselines):
        detector, began = Detector(), False
        for minute, (count, effort) in enumerate(zip(n[series], sums[series], strict=True)):
            start = minute_ms(minute)
            detector.step(baseline, hour_of_week(start), start, int(count), int(effort), LEVEL)
            assert detector.alarmed == states[series, minute]
            began = began or detector.alarmed
            if count and not began:
                assert exp(path[series, minute]) == pytest.approx(detector.statistic, rel=1e-9)
        assert began
    assert changes(states)[1] >= 8


def test_answers_have_the_mean_and_rate_that_they_are_drawn_for() -> None:
    """The usual mean, one with a step, and the traffic of the afternoon."""
    rng = np.random.default_rng(12)
    n, sums = answers(STEADY, 60, 40, 2 * DAY, rng, lambda when: 0.5 * (when >= DAY))
    for day, mean in ((0, MEAN), (1, MEAN + 0.5)):
        span = slice(day * DAY, (day + 1) * DAY)
        assert sums[:, span].sum() / n[:, span].sum() == pytest.approx(mean, abs=0.02)
    n, _ = answers(DAILY, 60, 40, DAY, rng)
    assert n[:, 14 * 60 - 60 : 14 * 60 + 60].mean() == pytest.approx(1.8, rel=0.05)
    assert n.mean() == pytest.approx(1.0, rel=0.03)


def test_comparators_against_plain_loops() -> None:
    """Rolling sums, what held for so long, and Page's recursion."""
    rng = np.random.default_rng(13)
    values = rng.normal(0, 1, (3, 200))
    for series, row in enumerate(values):
        page = 0.0
        for at in range(len(row)):
            assert rolling(values, 60)[series, at] == pytest.approx(row[max(0, at - 59) : at + 1].sum())
            page = max(0.0, page + row[at])
            assert cusum(values)[series, at] == pytest.approx(page, abs=1e-12)
            wanted = row[at - 10 : at + 1].min() if at >= 10 else -np.inf
            assert held(values, 10)[series, at] == wanted


def test_a_calibrated_level_gives_one_first_alarm_a_month() -> None:
    """On paths whose first passage at any level is known."""
    rng = np.random.default_rng(14)
    steps = np.maximum.accumulate(rng.exponential(1, (400, 4_320)), axis=1)
    level = calibrated(steps, 43_200)
    times = first_passage(steps, level) * 10
    rate = np.isfinite(times).sum() / np.minimum(times, 43_200).sum() * 43_200
    assert rate == pytest.approx(1, rel=0.01)


def test_rises_begin_when_they_say() -> None:
    """A step at once, a ramp over 24 hours."""
    begins, when = np.array([10, 20]), np.arange(3_000)
    assert rise_of("0.3", begins, when)[1, 19:21].tolist() == [0, 0.3]
    ramp = rise_of("ramp", begins, when)[0]
    assert (ramp[10], ramp[10 + DAY // 2], ramp[-1]) == (0, 0.25, 0.5)


def test_the_same_seed_gives_the_same_figures() -> None:
    """And another seed others."""
    one, again, other = (false_alarms(STEADY, 20, 4, 28, seed) for seed in (1, 1, 2))
    assert one == again != other


def test_a_quick_run_prints_its_tables_and_writes_its_figures(tmp_path: Path) -> None:
    """The tables name every watcher, goals are judged, JSON holds each kind of figure."""
    written = tmp_path / "figures.json"
    options = ["--quick", "--months", "4", "--processes", "1", "--seed", "3", "--json", str(written)]
    ran = CliRunner().invoke(app, options)
    assert ran.exit_code == 0, ran.output
    for words in (*WATCHERS, "optimum", "Goals", "False alarms per calm"):
        assert words in ran.output
    figures = json.loads(written.read_text())
    assert set(figures) == {"Delay", "Transitions", "FalseAlarms"}
    assert all(row["median"] > 0 for row in figures["Delay"])
