"""What a rising rule makes of the history of one series: its baseline, and how soon it would find a rise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from zlib import crc32
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from agents.alerting import Watch
from scoring.alerts.baseline import ANSWERS_MIN, Baseline, fit, tilt
from scoring.alerts.rising import Detector
from scoring.alerts.rules import RisingRule
from scoring.panes import DAY_MS, HOUR_MS, MINUTE_MS
from scoring.questions import Question

RUNS = 100
"""Simulated rises for each drop; the median is then good to about a tenth."""

DAYS_MAX = 28
"""A rise that is not found for so long is called not found."""

_HOUR_MINUTES = 60
_DAY_MINUTES = 1_440
_P90 = 90


@dataclass(frozen=True, slots=True)
class Delay:
    """How long a rise of the mean goes unseen.

    Attributes:
        drop: size, as a share of the width of the scale.
        points: the same on the scale.
        median_ms, p90_ms: None where more than that part of the runs found nothing in ``DAYS_MAX`` days.
    """

    drop: float
    points: float
    median_ms: int | None
    p90_ms: int | None


@dataclass(frozen=True, slots=True)
class Rising:
    """A rising rule on one series, fitted at the end of the files.

    Attributes:
        baseline: None with a reason.
        per_hour: answers an hour over the baseline.
        minutes: per false alarm, the level of the detector.
        delays: for each drop of the rule; empty without a baseline.
    """

    watch: Watch
    baseline: Baseline | None
    per_hour: float
    minutes: float
    delays: tuple[Delay, ...]
    reason: str | None = None


def measure_rising(watch: Watch, rule: RisingRule, until_ms: int, minutes: float, timezone: str) -> Rising:
    """Fits the baseline of one series, and simulates rises on it, seeded by the series' name.

    Args:
        watch: with all of history in the cells of its series.
        rule: of the watch.
        until_ms: end of the files.
        minutes: per false alarm of this series.
        timezone: of the hours of the week.
    """
    series = watch.series
    question = series.question
    assert question is not None  # noqa: S101 - such a rule never watches interactions
    hours = {at: cell[:-1] for at, cell in series.cells.hours.items()}

    def hour_of_week(hour_ms: int) -> int:
        local = datetime.fromtimestamp(hour_ms / 1000, ZoneInfo(timezone))
        return local.weekday() * 24 + local.hour

    baseline = fit(hours, question.scale, rule, until_ms, hour_of_week)
    found = {at: cell for at, cell in hours.items() if until_ms - rule.baseline_ms <= at < until_ms}
    n = sum(map(sum, found.values()))
    if baseline is None:
        return Rising(watch, None, 0.0, minutes, (), _too_little(found, n, rule, until_ms))
    per_hour = n * HOUR_MS / (until_ms - min(found))
    tally = np.array(list(found.values()), np.float64).sum(axis=0)
    seed = crc32(f"{rule.id}|{series.touchpoint}|{series.code}".encode())
    runs = _Runs(question, baseline, tally, per_hour / _HOUR_MINUTES, minutes, hour_of_week(until_ms))
    delays = tuple(runs.delay(drop, np.random.default_rng(seed)) for drop in rule.drops)
    return Rising(watch, baseline, per_hour, minutes, delays)


def _too_little(found: dict[int, list[int]], n: int, rule: RisingRule, until_ms: int) -> str:
    days = (until_ms - min(found)) // DAY_MS if found else 0
    if n < ANSWERS_MIN:
        return f"{n} answers in the baseline, {ANSWERS_MIN} are needed"
    return f"{days} days of history, min_history is {rule.min_history_ms // DAY_MS}"


@dataclass(frozen=True, slots=True)
class _Runs:
    """Simulated answers that follow the baseline's course of the week, at one rate, and then are worse.

    The detector is new when the rise begins, which is its slowest case.
    """

    question: Question
    baseline: Baseline
    tally: NDArray[np.float64]
    per_minute: float
    level: float
    first_hour: int

    def delay(self, drop: float, chance: np.random.Generator) -> Delay:
        """How long a rise by a share of the scale's width goes unseen."""
        points = drop * (self.question.scale.points - 1)
        shares = self._shares(points)
        found = sorted(self._run(shares, chance) for _ in range(RUNS))
        return Delay(drop, points, _quantile(found, 50), _quantile(found, _P90))

    def _shares(self, points: float) -> NDArray[np.float64]:
        """Shares of the distances from the best rating during the rise, one row per usual mean."""
        scale = self.question.scale
        tally = self.tally[::-1] if scale.best == scale.high else self.tally
        weights = (tally + 1 / scale.points) / (tally.sum() + 1)
        width = scale.points - 1
        means = np.array(self.baseline.means)
        # A rise beyond the scale is brought half way to its end, as the detector does with what it looks for
        theta, _ = tilt(weights, np.minimum(means + points, (means + width) / 2))
        raised = weights * np.exp(theta[:, None] * np.arange(scale.points))
        shares: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
        return shares

    def _run(self, shares: NDArray[np.float64], chance: np.random.Generator) -> float:
        """Milliseconds until the detector alarms, infinite where it does not in time."""
        detector, away = Detector(), np.arange(shares.shape[1])
        before = -1
        for minute, n in self._minutes(chance):
            bucket = (self.first_hour + minute // _HOUR_MINUTES) % 168
            counts = chance.multinomial(n, shares[self.baseline.row_of[bucket]])
            detector.quiet(minute - before - 1)
            before = minute
            detector.step(self.baseline, bucket, minute * MINUTE_MS, n, int(counts @ away), self.level)
            if detector.alarmed:
                return (minute + 1) * float(MINUTE_MS)
        return float("inf")

    def _minutes(self, chance: np.random.Generator) -> Iterator[tuple[int, int]]:
        """(minute, answers) of each minute with answers; Poisson."""
        for day in range(DAYS_MAX):
            counts = chance.poisson(self.per_minute, _DAY_MINUTES)
            for at in np.flatnonzero(counts).tolist():
                yield day * _DAY_MINUTES + at, int(counts[at])


def _quantile(found: list[float], percent: int) -> int | None:
    """The smallest of the sorted values that so many percent do not exceed; None if it is infinite."""
    value = found[ceil(len(found) * percent / 100) - 1]
    return None if value == float("inf") else int(value)
