"""Simulated series of answers: what is usual in them, their history, and minutes with a rise somewhere.

Ratings 1..7, 7 best, as x = 7 - rating; a mean other than the usual one is an exponential tilt of USUAL. Minute 0 is a
Monday's midnight in local time; the history ends there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scoring.alerts.baseline import Baseline, fit, tilt
from scoring.alerts.rules import DAY_MS, MINUTE_MS, RisingRule, Severity
from scoring.panes import HOUR_MS
from scoring.questions import Scale

SCALE = Scale(1, 7, best=7)
USUAL = np.array([0.27, 0.34, 0.18, 0.09, 0.05, 0.04, 0.03])  # 5.45 on the scale, sd 1.53, skewed
X = np.arange(7.0)
MEAN = float(USUAL @ X)
SD = float(np.sqrt(USUAL @ (X - MEAN) ** 2))
HOUR, DAY, MONTH = 60, 1440, 43_200  # minutes
HISTORY_DAYS = 28

_LEVELS = (
    16_384  # a rating is drawn by a table of so many equal chances, per hundredth of a point of the mean
)
_LOWEST, _GRID = 0.3, 0.01
_MONDAY_MS = 4 * DAY_MS  # 1970-01-05

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """How answers come.

    Attributes:
        name: what tables call it.
        traffic: amplitude of the daily course of the rate of answers, as a share of the mean rate.
        course: amplitude of the daily course of the mean, in points.
        wander: standard deviation of a day's own level, in points.
    """

    name: str
    traffic: float = 0.0
    course: float = 0.0
    wander: float = 0.0

    def rates(self, per_hour: float, minutes: Ints) -> Floats:
        """Expected answers in each minute; most in the early afternoon."""
        return per_hour / HOUR * (1 + self.traffic * np.cos(2 * np.pi * (minutes / DAY - 14 / 24)))

    def means(self, minutes: Ints) -> Floats:
        """Usual mean x in each minute; evenings are the hardest."""
        return MEAN + self.course * np.cos(2 * np.pi * (minutes / DAY - 20 / 24))


STEADY = World("steady")
DAILY = World("daily", traffic=0.8, course=0.2, wander=0.05)


@cache
def _grid() -> tuple[Floats, NDArray[np.uint8]]:
    """(pmf, drawing table) per hundredth of a point of the mean."""
    means = np.arange(_LOWEST, 5.5, _GRID)
    theta, psi = tilt(USUAL, means)
    pmf = USUAL * np.exp(theta[:, None] * X - psi[:, None])
    pmf /= pmf.sum(axis=1, keepdims=True)
    chances = (np.arange(_LEVELS) + 0.5) / _LEVELS
    table = np.stack([np.searchsorted(cumulated, chances) for cumulated in pmf.cumsum(axis=1)])
    return pmf, np.minimum(table, 6).astype(np.uint8)


def _cell(means: Floats) -> Ints:
    last = len(_grid()[0]) - 1
    return np.clip(np.rint((means - _LOWEST) / _GRID), 0, last).astype(np.int64)


def hour_of_week(time_ms: int) -> int:
    """Hour of the week of an instant, UTC."""
    return (time_ms - _MONDAY_MS) // HOUR_MS % 168


def minute_ms(minute: int) -> int:
    """Instant of a simulated minute."""
    return _MONDAY_MS + 100 * 7 * DAY_MS + minute * MINUTE_MS


@dataclass(frozen=True)
class Known:
    """What is known of each of k series before minute 0.

    Attributes:
        baselines: as the product fits them.
        mean, sd: of the history, shape (k,).
        weights: shares of x in the history, never 0, shape (k, 7).
    """

    baselines: list[Baseline]
    mean: Floats
    sd: Floats
    weights: Floats

    def pick(self, which: Ints) -> Known:
        """Some of the series, in that order."""
        return Known(
            [self.baselines[one] for one in which], self.mean[which], self.sd[which], self.weights[which]
        )


def rule(margin: float | None = None) -> RisingRule:
    """The rule under test, whose history may be shorter than the default."""
    return RisingRule("rising", Severity.WARNING, margin=margin, min_history_ms=DAY_MS)


def history(
    world: World, per_hour: float, series: int, rng: Generator, tried: RisingRule, days: int = HISTORY_DAYS
) -> Known:
    """Series' histories, and the baselines that the product makes of them."""
    hours = np.arange(-days * 24, 0)
    level = np.repeat(rng.normal(0, world.wander, (series, days)), 24, axis=1)
    means = world.means(hours * HOUR + HOUR // 2) + level
    counts = rng.multinomial(
        rng.poisson(HOUR * world.rates(per_hour, hours * HOUR + HOUR // 2), (series, days * 24)),
        _grid()[0][_cell(means)],
    )
    baselines = []
    for one in counts:
        tallies = {
            minute_ms(int(hour) * HOUR): row[::-1].tolist() for hour, row in zip(hours, one, strict=True)
        }
        baseline = fit(tallies, SCALE, tried, minute_ms(0), hour_of_week)
        if baseline is None:
            raise ValueError(f"no baseline from {days} days at {per_hour} an hour: simulate more")
        baselines.append(baseline)
    tally = counts.sum(axis=1) + 1 / 7
    weights = tally / tally.sum(axis=1, keepdims=True)
    mean = weights @ X
    return Known(baselines, mean, np.sqrt(weights @ X**2 - mean**2), weights)


def answers(
    world: World,
    per_hour: float,
    series: int,
    minutes: int,
    rng: Generator,
    rise: Callable[[Ints], Floats] | None = None,
) -> tuple[Floats, Floats]:
    """Answers of each series and minute.

    Args:
        world: how they come.
        per_hour: mean rate.
        series: how many.
        minutes: how many.
        rng: source of chance.
        rise: minutes (minutes,) -> points to add to the mean, shape (series, minutes) or one that broadcasts.

    Returns:
        (n, sums of x), each of shape (series, minutes).
    """
    when = np.arange(minutes)
    n = rng.poisson(world.rates(per_hour, when), (series, minutes))
    level = rng.normal(0, world.wander, (series, -(-minutes // DAY)))
    means = world.means(when) + np.repeat(level, DAY, axis=1)[:, :minutes]
    if rise is not None:
        means = means + rise(when)
    counts = n.ravel()
    cells = np.repeat(_cell(means).ravel(), counts)
    drawn = _grid()[1][cells, rng.integers(_LEVELS, size=len(cells))]
    ends = counts.cumsum()
    summed = np.concatenate([[0], drawn.cumsum(dtype=np.int64)])
    sums = summed[ends] - summed[ends - counts]
    return n.astype(np.float64), sums.reshape(n.shape).astype(np.float64)
