"""What is usual at which hour of the week, and how far whole days wander from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from scoring.panes import DAY_MS, HOUR_MS
from scoring.questions import Scale

HOURS_OF_DAY = 24
HOURS_OF_WEEK = 168

# One-sided levels as normal scores. A rhythm is tested against three richer shapes, so it must be plain; a wander
# that is missed costs false alarms, so it is believed sooner.
_RHYTHM_SCORE = 3.09  # 0.1 %
_WEEKDAY_SCORE = 2.33  # 1 %
_WANDER_SCORE = 1.282  # 10 %
_DAYS_FOR_WANDER = 6
_DAYS_FOR_WEEK = 14
_ROUNDS = 10
_OUTLYING = 2.5
_MAD_TO_SD = 1.4826

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Hours:
    """Local hours that have answers; arrays of one length.

    Attributes:
        n: answers.
        mean: mean distance from the best rating.
        hour: hour of the week, 0..167.
        day: number of the local day, 0 is the first.
        tally: answers per distance 0..points - 1, of all hours.
    """

    n: Floats
    mean: Floats
    hour: Ints
    day: Ints
    tally: Floats

    @property
    def days(self) -> int:
        """Local days with answers."""
        return len(np.unique(self.day))

    @classmethod
    def of(
        cls, hours: Mapping[int, Sequence[int]], scale: Scale, hour_of_week: Callable[[int], int]
    ) -> Hours | None:
        """The hours that have answers, or None where there is none; see ``baseline.fit`` for the arguments."""
        starts = sorted(start for start, counts in hours.items() if sum(counts) > 0)
        if not starts:
            return None
        counts = np.array([hours[start] for start in starts], dtype=np.float64)
        if scale.best == scale.high:
            counts = counts[:, ::-1]
        n = counts.sum(axis=1)
        hour = np.array([hour_of_week(start) for start in starts], dtype=np.int64)
        midnight = np.array(starts, dtype=np.int64) - hour % HOURS_OF_DAY * HOUR_MS
        # Rounded: on a day of a clock change the hours do not count back to midnight
        day = np.rint((midnight - midnight[0]) / DAY_MS).astype(np.int64)
        mean = counts @ np.arange(scale.points, dtype=np.float64) / n
        return cls(n, mean, hour, day - day.min(), counts.sum(axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class Rhythm:
    """The usual course of the mean.

    Attributes:
        means: expected distance from the best rating per hour of the week, shape (168,).
        wander: standard deviation of a day's true mean about it; 0.0 where it is not significant.
        shape: which shape within the day was significant: flat, harmonics, hours or week.
    """

    means: Floats
    wander: float
    shape: str


def find_rhythm(hours: Hours, variance: float) -> Rhythm:
    """Fit the course within the day, then days of the week, then the wander that is left between days.

    The course within the day is fitted beside one free level per day, so that a wandering day is not taken for a
    rhythm. From flat over two harmonics of the day and the 24 hours of the day to the 168 hours of the week, a richer
    shape is taken where its fall of the deviance is significant. Days of the week are judged with days as the unit
    (weighted analysis of variance), wander with Cochran's Q and the moments estimate of DerSimonian & Laird (1986).

    Args:
        hours: what there is.
        variance: of one answer's distance, > 0.
    """
    span = int(hours.day.max()) + 1
    name, course, levels, deviance, used = "flat", np.zeros(HOURS_OF_WEEK), *_levels(hours, variance), 0
    for richer, groups, parameters in (("harmonics", 24, 4), ("hours", 24, 23), ("week", 168, 161)):
        if richer == "week" and span < _DAYS_FOR_WEEK:
            break
        tried = _fit_course(hours, groups, smooth=richer == "harmonics")
        tried_levels, tried_deviance = _levels(hours, variance, tried)
        extra = parameters - used
        if _normal_score((deviance - tried_deviance) / extra, extra) >= _RHYTHM_SCORE:
            name, course, levels, deviance, used = richer, tried, tried_levels, tried_deviance, parameters
    weekdays, wander = _days(hours, levels, variance, span)
    offsets = course + np.repeat(weekdays, HOURS_OF_DAY)
    total = hours.n.sum()
    centre = (hours.n @ (hours.mean - offsets[hours.hour])) / total
    return Rhythm(centre + offsets, wander, name)


def _levels(hours: Hours, variance: float, course: Floats | None = None) -> tuple[Floats, float]:
    """(level of each day beside a course, deviance of what is left)."""
    left = hours.mean if course is None else hours.mean - course[hours.hour]
    levels = _group_means(left, hours.n, hours.day, int(hours.day.max()) + 1)
    return levels, float(hours.n @ (left - levels[hours.day]) ** 2) / variance


def _fit_course(hours: Hours, groups: int, *, smooth: bool) -> Floats:
    """Offsets per hour of the week, by backfitting with one level per day; 0 where no hour was seen."""
    group = hours.hour % groups
    weight = _totals(hours.n, group, groups)
    left = hours.mean
    offsets = np.zeros(groups)
    for _ in range(_ROUNDS):
        levels, _ = _levels(hours, 1.0, _week(offsets))
        offsets = _group_means(left - levels[hours.day], hours.n, group, groups)
        if smooth:
            offsets = _two_harmonics(offsets, weight)
        offsets = _centred(offsets, weight)
    return _week(offsets)


def _week(offsets: Floats) -> Floats:
    return np.tile(offsets, HOURS_OF_WEEK // len(offsets))


def _centred(offsets: Floats, weight: Floats) -> Floats:
    """Offsets without the level of their day, which is not theirs; those of hours never seen become 0."""
    by_day, seen = offsets.reshape(-1, HOURS_OF_DAY), weight.reshape(-1, HOURS_OF_DAY)
    level = (by_day * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    centred: Floats = np.where(seen > 0, by_day - level[:, None], 0.0).ravel()
    return centred


def _two_harmonics(offsets: Floats, weight: Floats) -> Floats:
    """Weighted least squares of a constant and two harmonics on 24 offsets."""
    angle = 2 * np.pi * np.arange(HOURS_OF_DAY) / HOURS_OF_DAY
    columns = np.stack(
        [np.ones(HOURS_OF_DAY), *(wave(k * angle) for k in (1, 2) for wave in (np.cos, np.sin))], axis=1
    )
    root = np.sqrt(weight)
    solution = np.linalg.lstsq(root[:, None] * columns, root * offsets, rcond=None)[0]
    smoothed: Floats = columns @ solution
    return smoothed


def _group_means(values: Floats, weight: Floats, group: Ints, groups: int) -> Floats:
    """Weighted mean per group; 0 where a group is empty."""
    total = _totals(weight, group, groups)
    return _totals(weight * values, group, groups) / np.where(total > 0, total, 1.0)


def _totals(values: Floats, group: Ints, groups: int) -> Floats:
    return np.bincount(group, values, groups).astype(np.float64, copy=False)


def _days(hours: Hours, levels: Floats, variance: float, span: int) -> tuple[Floats, float]:
    """(offset per day of the week, wander) of the daily levels."""
    answers = _totals(hours.n, hours.day, span)
    weekday_of = np.zeros(span, dtype=np.int64)
    weekday_of[hours.day] = hours.hour // HOURS_OF_DAY
    seen = answers > 0
    answers, levels, weekday_of = answers[seen], levels[seen], weekday_of[seen]
    levels = levels - answers @ levels / answers.sum()
    days, weekdays = len(levels), len(set(weekday_of.tolist()))
    offsets, left, df = np.zeros(7), levels, days - 1
    if span >= _DAYS_FOR_WEEK and 1 < weekdays < days:
        means = _group_means(levels, answers, weekday_of, 7)
        within = levels - means[weekday_of]
        above, below = weekdays - 1, days - weekdays
        spread, rest = float(answers @ levels**2), float(answers @ within**2)
        ratio = (spread - rest) / above / (rest / below) if rest > 0 else inf
        if _normal_score(ratio, above, below) >= _WEEKDAY_SCORE:
            offsets, left, df = means, within, below
    return offsets, _wander(left * np.sqrt(answers / variance), answers / variance, df)


def _wander(scores: Floats, precision: Floats, df: int) -> float:
    """Standard deviation of the days' true levels, from their levels over their sampling errors.

    Days of an incident stand out from the others and are pulled in, so that one bad day does not blunt the detector
    for the next four weeks. Of normal scores that takes 2 % of the variance.
    """
    if df < _DAYS_FOR_WANDER - 1:
        return 0.0
    usual = max(1.0, _MAD_TO_SD * float(np.median(np.abs(scores))))
    pulled = np.clip(scores, -_OUTLYING * usual, _OUTLYING * usual)
    spread = float(pulled @ pulled)
    if _normal_score(spread / df, df) < _WANDER_SCORE:
        return 0.0
    scale = float(precision.sum() - (precision @ precision) / precision.sum())
    return sqrt(max(0.0, (spread - df) / scale))


def _normal_score(ratio: float, df: int, df_below: float = inf) -> float:
    """Normal score of an F ratio (Paulson 1942); without ``df_below`` of chi-square over df."""
    if ratio == inf:
        return inf
    above, below = 2 / (9 * df), 2 / (9 * df_below)
    root = max(ratio, 0.0) ** (1 / 3)
    return float(((1 - below) * root - (1 - above)) / sqrt(below * root * root + above))
