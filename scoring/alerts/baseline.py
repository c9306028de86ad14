"""A series' own baseline, and the likelihood ratios of a rise above it.

All is in x = distance from the best rating, 0..points - 1: effort rises when the mean of x grows, whichever end of
the scale is best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any

import msgspec
import numpy as np

from scoring.alerts.rhythm import HOURS_OF_WEEK, Floats, Hours, find_rhythm
from scoring.alerts.rules import RisingRule
from scoring.errors import EffortStreamError
from scoring.panes import DAY_MS
from scoring.questions import Scale

ANSWERS_MIN = 100
"""Fewer answers make no baseline: the error of a mean of 100 is already a third of the middle drop."""

_VERSION = 1
_ERRORS_SHORT = 0.8  # standard errors that the null grants a history of no length; none from a full one on
_FULL_DAYS = 14
_TILT_MAX = 60.0
_TILT_STEPS = 200
_TILT_EXACT = 1e-12


class BaselineVersionError(EffortStreamError, ValueError):
    """A stored baseline has a layout that this version does not know."""

    def __init__(self, version: int | None) -> None:
        self.version = version
        super().__init__(
            f"baseline version = {version!r}: this program reads version {_VERSION}. "
            "Drop it; it is fitted anew from the tallies"
        )


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is usual for a series, and per hour of the week the likelihood ratios of a rise.

    The ratio of one drop for n answers with sum S of x is exp(lambda S - kappa n), with lambda = theta1 - theta0 and
    kappa = psi(theta1) - psi(theta0), where psi(theta) = ln(sum c_j exp(theta x_j) / sum c_j) of the baseline's tally,
    psi'(theta0) = usual mean + margin and psi'(theta1) = that + drop. Guarantee: for every tilt of the tally whose mean
    is at most the usual mean + margin the ratio's expectation is <= 1, since psi is convex.

    Attributes:
        n: answers that it stands on.
        mean: their mean x, 0..points - 1.
        margin: how far the mean may lie above the usual without being news, in points.
        wander: standard deviation of a day's mean beyond its sampling error, in points; 0.0 where not significant.
        days: local days with answers.
        shape: of the usual mean within the day: flat, harmonics, hours, week.
        means: usual mean per row.
        ratios: per row (lambdas, kappas), each with one figure per drop of the rule.
        row_of: row of each of the 168 hours of the week.
    """

    n: int
    mean: float
    margin: float
    wander: float
    days: int
    shape: str
    means: tuple[float, ...]
    ratios: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
    row_of: bytes

    @property
    def drops(self) -> int:
        """How many drops are looked for."""
        return len(self.ratios[0][0])

    def mean_at(self, hour: int) -> float:
        """Usual mean x in an hour of the week, 0..167."""
        return self.means[self.row_of[hour]]

    def ratio_at(self, hour: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(lambdas, kappas) in an hour of the week, 0..167."""
        return self.ratios[self.row_of[hour]]

    def dump(self) -> bytes:
        """A version byte, then msgpack; ``load`` gives back the very same floats."""
        fields = (self.n, self.mean, self.margin, self.wander, self.days, self.shape)
        return bytes([_VERSION]) + msgspec.msgpack.encode((*fields, self.means, self.ratios, self.row_of))

    @classmethod
    def load(cls, stored: bytes) -> Baseline:
        """What ``dump`` wrote.

        Raises:
            BaselineVersionError: another version wrote it.
        """
        if stored[:1] != bytes([_VERSION]):
            raise BaselineVersionError(stored[0] if stored else None)
        return cls(*_DECODER.decode(stored[1:]))


_Ratios = tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
_DECODER: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(
    tuple[int, float, float, float, int, str, tuple[float, ...], _Ratios, bytes]
)


def fit(
    hours: Mapping[int, Sequence[int]],
    scale: Scale,
    rule: RisingRule,
    now_ms: int,
    hour_of_week: Callable[[int], int],
) -> Baseline | None:
    """The baseline of a series at an instant, from its tallies per local hour.

    Args:
        hours: start of each local hour in ms -> answers per rating in rising order; only hours in
            [now_ms - rule.baseline_ms, now_ms) count.
        scale: of the question.
        rule: its baseline, history, drops and margin.
        now_ms: the instant.
        hour_of_week: start of an hour in ms -> weekday * 24 + hour of the local calendar, 0..167.

    Returns:
        None with less than rule.min_history_ms from the first hour with answers to now, or fewer than
        ``ANSWERS_MIN`` answers.
    """
    from_ms = now_ms - rule.baseline_ms
    found = {
        start: counts for start, counts in hours.items() if from_ms <= start < now_ms and sum(counts) > 0
    }
    if not found or now_ms - min(found) < rule.min_history_ms:
        return None
    known = Hours.of(found, scale, hour_of_week)
    if known is None or known.n.sum() < ANSWERS_MIN:
        return None
    # One imagined answer, spread over all ratings: a rating never given so far is rare, not impossible
    weights = (known.tally + 1 / scale.points) / (known.tally.sum() + 1)
    x = np.arange(scale.points, dtype=np.float64)
    mean = float(weights @ x)
    variance = float(weights @ (x - mean) ** 2)
    rhythm = find_rhythm(known, variance)
    width = scale.points - 1
    margin = _margin(known, variance, rhythm.wander, (now_ms - min(found)) / DAY_MS)
    if rule.margin is not None:
        margin = rule.margin * width
    means, row_of = np.unique(np.clip(rhythm.means, mean / 2, (mean + width) / 2), return_inverse=True)
    null = np.minimum(means + margin, (means + width) / 2)
    return Baseline(
        n=int(known.n.sum()),
        mean=float(known.tally @ x / known.n.sum()),
        margin=margin,
        wander=rhythm.wander,
        days=known.days,
        shape=rhythm.shape,
        means=tuple(means.tolist()),
        ratios=_ratios(weights, null, np.array(rule.drops) * width),
        row_of=bytes(row_of.reshape(HOURS_OF_WEEK).tolist()),
    )


def _margin(known: Hours, variance: float, wander: float, history_days: float) -> float:
    """How far above the usual mean the null reaches.

    A wandering day is harmless where it has too few answers to show; with many, nearly every day above the margin
    alarms. So the margin is 1 to 2 standard deviations of the wander, more as a day's answers tell more of it: the
    factors keep one alarm a month in simulation (bench.alerts: 2 to 200 answers an hour, wander 0.05 to 0.2 points).
    A short history has an error of its own, of which a part is granted as well.
    """
    n = float(known.n.sum())
    margin = 0.0
    if wander > 0:
        told = wander**2 * (n / known.days) / variance
        margin = wander * min(max(0.7 + 0.3 * log(told), 1.0), 2.0)
    error = sqrt(variance / n + wander**2 / known.days)
    return margin + _ERRORS_SHORT * max(0.0, 1 - history_days / _FULL_DAYS) * error


def _ratios(weights: Floats, null: Floats, drops: Floats) -> _Ratios:
    """(lambdas, kappas) per null mean; a drop beyond the scale is brought half way to its end."""
    width = len(weights) - 1
    wanted = np.minimum(null[:, None] + drops, (null[:, None] + width) / 2)
    theta_0, psi_0 = tilt(weights, null)
    theta_1, psi_1 = tilt(weights, wanted.ravel())
    lambdas = theta_1.reshape(wanted.shape) - theta_0[:, None]
    kappas = psi_1.reshape(wanted.shape) - psi_0[:, None]
    return tuple(
        (tuple(one), tuple(other)) for one, other in zip(lambdas.tolist(), kappas.tolist(), strict=True)
    )


def tilt(weights: Floats, means: Floats) -> tuple[Floats, Floats]:
    """Solve psi'(theta) = mean: the exponential tilt of a distribution on 0..k that has each wanted mean.

    Newton's method inside a bracket that shrinks with every step, so that it converges from anywhere.

    Args:
        weights: probabilities of 0..k, shape (k + 1,), each > 0.
        means: shape (m,), each inside (0, k).

    Returns:
        (theta, psi(theta)), each of shape (m,).
    """
    x = np.arange(len(weights), dtype=np.float64)
    logs = np.log(weights)
    low, high = np.full(len(means), -_TILT_MAX), np.full(len(means), _TILT_MAX)
    theta = np.zeros(len(means))
    for _ in range(_TILT_STEPS):
        tilted = theta[:, None] * x + logs
        top = tilted.max(axis=1, keepdims=True)
        shares = np.exp(tilted - top)
        total = shares.sum(axis=1)
        mean = shares @ x / total
        variance = shares @ x**2 / total - mean**2
        low, high = np.where(mean <= means, theta, low), np.where(mean >= means, theta, high)
        step = theta + (means - mean) / np.maximum(variance, _TILT_EXACT)
        inside = (step > low) & (step < high)
        new = np.where(inside, step, (low + high) / 2)
        if np.all(np.abs(mean - means) <= _TILT_EXACT * len(weights)):
            break
        theta = new
    return theta, top[:, 0] + np.log(total)
