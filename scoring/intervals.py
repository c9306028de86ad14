"""Confidence intervals, each from exact integer counts."""

from __future__ import annotations

from functools import lru_cache
from math import atan, cos, exp, lgamma, log, pi, sin, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

from scoring.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_DF_EXPANDED = 1_000
_STEPS_MAX = 100


@lru_cache(maxsize=256)
def normal_quantile(confidence: float) -> float:
    """The z with P(|Z| <= z) = confidence, for a standard normal Z.

    Raises:
        DeclarationError: confidence is not inside (0, 1).

    Example:
        >>> round(normal_quantile(0.95), 6)
        1.959964
    """
    if not 0 < confidence < 1:
        raise DeclarationError("confidence", confidence, "not between 0 and 1", "Write a level such as 0.95")
    # From the lower tail: (1 + confidence) / 2 would round to 1 for levels next to 1.
    return -NormalDist().inv_cdf((1 - confidence) / 2)


@lru_cache(maxsize=16_384)
def student_t_quantile(confidence: float, df: int) -> float:
    """The t with P(|T| <= t) = confidence, for Student's T with df degrees of freedom.

    Guarantee: relative error < 1e-10 for confidence from 0.5 to 0.9999 and every df >= 1.
    Below 1,000 degrees of freedom it solves the finite series of Abramowitz & Stegun 26.7.3-4 by Newton's
    method, which climbs to the root without overshooting since the distribution is concave there and t > z;
    from 1,000 on it uses the expansion 26.7.5, whose first term left out is below 1e-10 there.

    Raises:
        DeclarationError: confidence is not inside (0, 1).

    Example:
        >>> round(student_t_quantile(0.95, 9), 4), round(student_t_quantile(0.95, 100_000), 4)
        (2.2622, 1.96)
    """
    z = normal_quantile(confidence)
    if df >= _DF_EXPANDED:
        return _expanded(z, df)
    density_0 = exp(lgamma((df + 1) / 2) - lgamma(df / 2)) / sqrt(df * pi)
    t = z
    for _ in range(_STEPS_MAX):
        density = density_0 * exp(-(df + 1) / 2 * log(1 + t * t / df))
        if density == 0:  # levels so near 1 that doubles cannot tell them from it
            break
        step = (confidence - _within(t, df)) / (2 * density)
        if t + step <= t:
            break
        t += step
    return t


def _expanded(z: float, df: int) -> float:
    """Abramowitz & Stegun 26.7.5."""
    s = z * z
    return z * (
        1
        + (s + 1) / (4 * df)
        + ((5 * s + 16) * s + 3) / (96 * df**2)
        + (((3 * s + 19) * s + 17) * s - 15) / (384 * df**3)
        + ((((79 * s + 776) * s + 1482) * s - 1920) * s - 945) / (92_160 * df**4)
    )


def _within(t: float, df: int) -> float:
    """P(|T| <= t): Abramowitz & Stegun 26.7.3 for odd df, 26.7.4 for even; every term is positive."""
    theta = atan(t / sqrt(df))
    square = cos(theta) ** 2
    odd = df % 2
    term = cos(theta) if odd else 1.0
    total = 0.0
    for k in range(df // 2):
        total += term
        term *= square * (2 * k + 1 + odd) / (2 * k + 2 + odd)
    inside = sin(theta) * total
    return 2 / pi * (theta + inside) if odd else inside


def wilson(k: int, n: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a share, k of n, as shares 0..1 (Wilson 1927).

    It stays inside 0..1 and has sensible width at 0 of n and n of n, where the textbook interval has none.

    Args:
        k: answers counted, 0 <= k <= n.
        n: answers in all, >= 1.
        confidence: level in (0, 1).

    Example:
        >>> [round(bound, 3) for bound in wilson(24, 30, 0.95)]
        [0.627, 0.905]
    """
    z = normal_quantile(confidence)
    square = z * z
    centre = k + square / 2
    half = z * sqrt(k * (n - k) / n + square / 4)
    total = n + square
    low = 0.0 if k == 0 else (centre - half) / total
    high = 1.0 if k == n else (centre + half) / total
    return low, high


def adjusted_wald(promoters: int, detractors: int, n: int, confidence: float) -> tuple[float, float]:
    """Adjusted Wald interval of a net score, -100..100 (Rocks 2016): 3/4 is added to either side, 3 to n.

    Its centre is the adjusted score, so for very few answers the plain score may lie outside.

    Args:
        promoters: answers at the best end (or "easy"), >= 0.
        detractors: answers at the worst end (or "hard"), >= 0.
        n: answers in all, >= promoters + detractors.
        confidence: level in (0, 1).

    Returns:
        Bounds, clipped to -100..100: 30 promoters of 30 would give 103.

    Example:
        >>> [round(bound, 1) for bound in adjusted_wald(15, 6, 30, 0.95)]
        [0.7, 53.9]
        >>> adjusted_wald(30, 0, 30, 0.95)[1]
        100.0
    """
    difference, variance = _adjusted(promoters, detractors, n)
    half = normal_quantile(confidence) * sqrt(variance)
    return max(-100.0, 100 * (difference - half)), min(100.0, 100 * (difference + half))


def _adjusted(promoters: int, detractors: int, n: int) -> tuple[float, float]:
    """Adjusted net share, and the square of its standard error; in quarters of answers, which are integers."""
    total = 4 * n + 12
    net = 4 * (promoters - detractors)
    both = 4 * (promoters + detractors) + 6
    return net / total, 4 * (both * total - net * net) / total**3


def nps_change_z(p1: int, d1: int, n1: int, p2: int, d2: int, n2: int) -> float:
    """Z of the change between two periods: first less second of the adjusted scores, over the standard error.

    Beyond 1.96 it is significant at 95 % when looked at once; a sliding window is looked at again and again.

    Args:
        p1: promoters of the first period.
        d1: its detractors.
        n1: its answers.
        p2: promoters of the second period.
        d2: its detractors.
        n2: its answers.

    Example:
        >>> round(nps_change_z(50, 20, 100, 40, 30, 100), 2)
        1.73
    """
    first, variance_1 = _adjusted(p1, d1, n1)
    second, variance_2 = _adjusted(p2, d2, n2)
    return (first - second) / sqrt(variance_1 + variance_2)


def mean_interval(counts: Sequence[int], scale_low: int, confidence: float) -> tuple[float, float] | None:
    """Student's t interval of the mean rating, clipped to the scale.

    Args:
        counts: answers per rating in rising order.
        scale_low: the rating of the first count.
        confidence: level in (0, 1).

    Returns:
        Bounds; None with fewer than two answers or when all are equal: nothing is known of the spread then.

    Example:
        >>> mean_interval([0, 0, 5], 1, 0.95) is None
        True
        >>> [round(bound, 2) for bound in mean_interval([1, 2, 3], 1, 0.95)]
        [1.48, 3.0]
    """
    n = total = squares = 0
    for position, count in enumerate(counts):
        n += count
        total += position * count
        squares += position * position * count
    spread = n * squares - total * total
    if spread == 0:  # true of n < 2 as well
        return None
    mean = (scale_low * n + total) / n
    half = student_t_quantile(confidence, n - 1) * sqrt(spread / (n * n * (n - 1)))
    return max(float(scale_low), mean - half), min(float(scale_low + len(counts) - 1), mean + half)
