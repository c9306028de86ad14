"""Ways to watch a mean, each as a path per series that alarms where it first reaches a level.

Shapes are (series, minutes). A path that must not alarm is -inf. Nothing resets: a first passage needs no reset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.alerts.worlds import HOUR, MEAN, USUAL, Floats, Known
from scoring.alerts.baseline import tilt

OURS = "mixture Shiryaev-Roberts"
TUNED = "CUSUM tuned for 0.5"
SLACK = "CUSUM, slack 0.5 sd"
STATIC = "static threshold, 1 h mean"
FOR = "the same, for 10 min"
Z_SLIDING = "z-test, sliding 1 h"
Z_TUMBLING = "z-test, tumbling 1 h"
WATCHERS = (STATIC, FOR, Z_TUMBLING, Z_SLIDING, SLACK, TUNED, OURS)
STEPS = (0.3, 0.5, 1.0)

MIN_N = 3  # answers that a window needs before its mean is looked at
_FOR_MINUTES = 10


def matched(step: float) -> str:
    """Name of the path that knows everything: the true distribution and the very step."""
    return f"matched CUSUM {step}"


@dataclass(frozen=True)
class Ratios:
    """Ratios per series, hour of the week and drop, shape (series, 168, drops): lambdas and kappas."""

    lambdas: Floats
    kappas: Floats

    @classmethod
    def of(cls, known: Known) -> Ratios:
        """Those of the baselines."""
        rows = [[one.ratio_at(hour) for hour in range(168)] for one in known.baselines]
        both = np.array(rows)
        return cls(both[:, :, 0], both[:, :, 1])


def rolling(values: Floats, width: int) -> Floats:
    """Sums over the last ``width`` minutes, fewer at the beginning."""
    sums = values.cumsum(axis=1)
    sums[:, width:] -= sums[:, :-width].copy()
    return sums


def held(path: Floats, minutes: int) -> Floats:
    """Least value over the last ``minutes`` + 1 evaluations: what has held for so long."""
    least = path.copy()
    for back in range(1, minutes + 1):
        least[:, back:] = np.minimum(least[:, back:], path[:, :-back])
    least[:, :minutes] = -np.inf
    return least


def cusum(gains: Floats) -> Floats:
    """Page's sum: C <- max(0, C + gain), as the distance from the lowest point so far."""
    walk = gains.cumsum(axis=1)
    return walk - np.minimum(np.minimum.accumulate(walk, axis=1), 0.0)


def mixture(n: Floats, sums: Floats, ratios: Ratios) -> Floats:
    """ln M of the product's detector: ln R_t = Y_t + ln sum of exp(-Y_(s-1)) over s <= t, Y the summed log ratios."""
    hours = np.arange(n.shape[1]) // HOUR % 168
    drops = ratios.lambdas.shape[2]
    total = np.full(n.shape, -np.inf)
    for drop in range(drops):
        walk = ratios.lambdas[:, hours, drop] * sums
        walk -= ratios.kappas[:, hours, drop] * n
        np.cumsum(walk, axis=1, out=walk)
        begun = np.zeros_like(walk)
        begun[:, 1:] = -walk[:, :-1]
        walk += np.logaddexp.accumulate(begun, axis=1)
        np.logaddexp(total, walk, out=total)
    # Only minutes with answers may alarm
    return np.where(n > 0, total - np.log(drops), -np.inf)


def windows(n: Floats, sums: Floats, known: Known) -> Iterator[tuple[str, Floats]]:
    """Paths of the mean of the last hour."""
    count, total = rolling(n, HOUR), rolling(sums, HOUR)
    seen = count >= MIN_N
    mean = np.where(seen, total / np.maximum(count, 1), -np.inf)
    yield STATIC, mean
    yield FOR, held(mean, _FOR_MINUTES)
    z = (total - count * known.mean[:, None]) / (known.sd[:, None] * np.sqrt(np.maximum(count, 1)))
    z = np.where(seen, z, -np.inf)
    yield Z_SLIDING, z
    # At the end of each clock hour, and kept until the next
    last = np.arange(n.shape[1]) // HOUR * HOUR - 1
    yield Z_TUMBLING, np.where(last >= 0, z[:, np.maximum(last, 0)], -np.inf)


def sums_of_page(n: Floats, sums: Floats, known: Known) -> Iterator[tuple[str, Floats]]:
    """CUSUM paths from the history's mean."""
    yield SLACK, cusum((sums - n * known.mean[:, None]) / known.sd[:, None] - 0.5 * n)
    tilts = [
        tilt(weights, np.array([mean + 0.5])) for weights, mean in zip(known.weights, known.mean, strict=True)
    ]
    theta = np.array([one[0] for one in tilts])
    psi = np.array([one[1] for one in tilts])
    yield TUNED, cusum(theta * sums - psi * n)


def matched_gains(n: Floats, sums: Floats, step: float) -> Floats:
    """Log-likelihood ratios of the true step."""
    theta, psi = tilt(USUAL, np.array([MEAN + step]))
    return theta * sums - psi * n


def paths(n: Floats, sums: Floats, known: Known, ratios: Ratios) -> Iterator[tuple[str, Floats]]:
    """Every watcher's path, one at a time."""
    yield from windows(n, sums, known)
    yield from sums_of_page(n, sums, known)
    yield OURS, mixture(n, sums, ratios)
