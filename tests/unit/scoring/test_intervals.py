"""Intervals against their defining equations, published figures and independent integration."""

from __future__ import annotations

import statistics
from fractions import Fraction
from math import atan, cos, exp, fsum, inf, lgamma, pi, sqrt
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.errors import DeclarationError
from scoring.intervals import (
    adjusted_wald,
    mean_interval,
    normal_quantile,
    nps_change_z,
    student_t_quantile,
    wilson,
)
from tests.unit.scoring.declared import NPS, tallies

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999)


@pytest.mark.parametrize("confidence", LEVELS)
def test_the_normal_quantile_holds_its_share(confidence: float) -> None:
    """P(|Z| <= z) is the level."""
    z = normal_quantile(confidence)
    assert NormalDist().cdf(z) - NormalDist().cdf(-z) == pytest.approx(confidence, rel=1e-12)


@pytest.mark.parametrize("confidence", [0, 1, -0.1, 95, float("nan")])
def test_a_level_outside_0_to_1_is_refused(confidence: float) -> None:
    """A percentage is the usual slip."""
    with pytest.raises(DeclarationError, match="confidence = "):
        normal_quantile(confidence)
    with pytest.raises(DeclarationError, match="confidence = "):
        student_t_quantile(confidence, 5)


def t_probability(t: float, df: int) -> float:
    """P(|T| <= t) by Simpson's rule after t = sqrt(df) tan(angle): no series, no expansion."""
    end, steps = atan(t / sqrt(df)), 4000
    heights = [cos(end * i / steps) ** (df - 1) for i in range(steps + 1)]
    area = (
        end
        / steps
        / 3
        * fsum([heights[0], heights[-1], *(4 * h for h in heights[1::2]), *(2 * h for h in heights[2:-1:2])])
    )
    return 2 * exp(lgamma((df + 1) / 2) - lgamma(df / 2)) / sqrt(pi) * area


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 9, 29, 30, 99, 500, 999, 1000, 1001, 2500])
@pytest.mark.parametrize("confidence", LEVELS)
def test_the_t_quantile_holds_its_share(confidence: float, df: int) -> None:
    """Against numerical integration of the density, on both sides of the change of method."""
    outside = 1 - t_probability(student_t_quantile(confidence, df), df)
    assert outside == pytest.approx(1 - confidence, rel=1e-7)


@pytest.mark.parametrize(
    ("confidence", "df", "expected"),
    [  # scipy 1.17.1, stats.t.isf((1 - confidence) / 2, df)
        (0.95, 1, 12.706204736174694),
        (0.95, 2, 4.302652729749462),
        (0.95, 9, 2.262157162798205),
        (0.95, 29, 2.045229642132703),
        (0.99, 4, 4.604094871349992),
        (0.9, 120, 1.6576508993552352),
        (0.5, 3, 0.7648923284043444),
        (0.95, 1000, 1.9623390808264083),
        (0.99, 100_000, 2.575878469908375),
        (0.9999, 1000, 3.9063437367014084),
    ],
)
def test_the_t_quantile_matches_published_values(confidence: float, df: int, expected: float) -> None:
    """One digit beyond the ten that are guaranteed."""
    assert student_t_quantile(confidence, df) == pytest.approx(expected, rel=1e-11)


def test_the_t_quantile_falls_to_the_normal_one() -> None:
    """Fewer answers never give narrower bounds, across the change of method too."""
    quantiles = [student_t_quantile(0.95, df) for df in (*range(1, 60), *range(980, 1020), 10**6, 10**9)]
    assert quantiles == sorted(quantiles, reverse=True)
    assert quantiles[-1] == pytest.approx(normal_quantile(0.95), rel=1e-8)


@pytest.mark.parametrize("df", [1, 2, 7, 300, 998, 999, 1000])
def test_a_level_next_to_1_still_gives_a_number(df: int) -> None:
    """The search ends whatever the configuration says."""
    assert student_t_quantile(0.9999, df) < student_t_quantile(1 - 2**-53, df) < inf


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(8, 10, 49, 94), (24, 30, 62.7, 90.5), (960, 1200, 77.6, 82.2)],
)
def test_wilson_gives_the_published_bounds(k: int, n: int, low: float, high: float) -> None:
    """The same share of 80 %, known better and better."""
    digits = 0 if n == 10 else 1
    assert [round(100 * bound, digits) for bound in wilson(k, n, 0.95)] == [low, high]


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_bounds_solve_the_equation_that_defines_them(confidence: float) -> None:
    """(share - p)^2 = z^2 p (1 - p) / n at both bounds, which enclose the share and lie in 0..1."""
    z = normal_quantile(confidence)
    for n in range(1, 41):
        for k in range(n + 1):
            low, high = wilson(k, n, confidence)
            assert 0 <= low <= k / n <= high <= 1
            for bound in (low, high):
                assert (k / n - bound) ** 2 == pytest.approx(z**2 * bound * (1 - bound) / n, abs=1e-12)


def test_wilson_is_exact_at_the_ends_and_mirrors() -> None:
    """0 of n reaches down to 0 itself, and the dissatisfied share has the mirrored bounds."""
    for n in range(1, 300):
        for confidence in LEVELS:
            assert wilson(0, n, confidence)[0] == 0.0
            assert wilson(n, n, confidence)[1] == 1.0
    low, high = wilson(3, 10, 0.95)
    assert wilson(7, 10, 0.95) == pytest.approx((1 - high, 1 - low))


def test_adjusted_wald_gives_the_published_bounds() -> None:
    """15 promoters, 9 passives and 6 detractors of 30."""
    assert [round(bound, 1) for bound in adjusted_wald(15, 6, 30, 0.95)] == [0.7, 53.9]


@pytest.mark.parametrize(("n", "margin"), [(56, 20), (232, 10), (935, 5)])
def test_adjusted_wald_has_the_published_margins(n: int, margin: float) -> None:
    """At a split of 50/30/20."""
    low, high = adjusted_wald(round(n * 0.5), round(n * 0.2), n, 0.95)
    assert (high - low) / 2 == pytest.approx(margin, rel=0.01)


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000), st.sampled_from(LEVELS))
@settings(derandomize=True)
def test_adjusted_wald_is_its_formula_clipped(
    promoters: int, detractors: int, passives: int, confidence: float
) -> None:
    """Rocks 2016 in Fractions: 3/4 to either side, 3 to n."""
    n = promoters + detractors + passives
    p = (promoters + Fraction(3, 4)) / (n + 3)
    d = (detractors + Fraction(3, 4)) / (n + 3)
    half = normal_quantile(confidence) * sqrt((p + d - (p - d) ** 2) / (n + 3))
    expected = (max(-100, 100 * (float(p - d) - half)), min(100, 100 * (float(p - d) + half)))
    assert adjusted_wald(promoters, detractors, n, confidence) == pytest.approx(expected, abs=1e-9)


def test_adjusted_wald_never_leaves_the_range_of_a_net_score() -> None:
    """30 promoters of 30 would give 103."""
    low, high = adjusted_wald(30, 0, 30, 0.95)
    assert high == 100.0
    assert low < 100
    assert adjusted_wald(0, 30, 30, 0.95) == (-high, -low)


def test_the_change_of_nps_gives_the_published_z() -> None:
    """NPS 30 down to 10 with 100 answers each is not significant."""
    assert round(nps_change_z(50, 20, 100, 40, 30, 100), 2) == 1.73
    assert nps_change_z(40, 30, 100, 50, 20, 100) == -nps_change_z(50, 20, 100, 40, 30, 100)
    assert nps_change_z(50, 20, 100, 50, 20, 100) == 0


@given(st.lists(st.integers(-2, 4), min_size=2, max_size=60), st.sampled_from(LEVELS))
@settings(derandomize=True)
def test_the_mean_interval_is_students_clipped_to_the_scale(ratings: list[int], confidence: float) -> None:
    """Against the statistics module on the answers themselves."""
    counts = [ratings.count(rating) for rating in range(-2, 5)]
    found = mean_interval(counts, -2, confidence)
    variance = statistics.variance(map(Fraction, ratings))
    if variance == 0:
        assert found is None
        return
    half = student_t_quantile(confidence, len(ratings) - 1) * sqrt(variance / len(ratings))
    centre = statistics.fmean(ratings)
    assert found == pytest.approx((max(-2, centre - half), min(4, centre + half)), abs=1e-12)


@pytest.mark.parametrize("counts", [[0, 0, 0], [0, 1, 0], [0, 5, 0], [0, 0, 10**12]])
def test_nothing_is_said_of_a_mean_without_spread(counts: list[int]) -> None:
    """No answers, one, or all alike: None, not a bound of width 0."""
    assert mean_interval(counts, 1, 0.95) is None


def test_the_mean_interval_loses_nothing_to_large_counts() -> None:
    """10^15 answers but one alike: sums of squares in doubles would cancel to 0."""
    low, high = mean_interval([0, 0, 0, 0, 0, 1, 10**15], 1, 0.95) or (0, 0)
    assert low <= 7 - 1e-15 <= high
    low, high = mean_interval([1, 0, 0, 0, 10**12], 1, 0.95) or (0, 0)
    assert 0 < high - low < 1e-10


@given(tallies(NPS), st.sampled_from([(0.8, 0.9), (0.9, 0.95), (0.95, 0.99)]))
@settings(derandomize=True)
def test_a_higher_level_never_gives_narrower_bounds(counts: list[int], levels: tuple[float, float]) -> None:
    """For each of the three intervals."""
    n, promoters, detractors = sum(counts), sum(counts[9:]), sum(counts[:7])
    for make in (
        lambda level: wilson(promoters, n, level),
        lambda level: adjusted_wald(promoters, detractors, n, level),
        lambda level: mean_interval(counts, 0, level),
    ):
        narrow, wide = map(make, levels)
        if narrow is not None and wide is not None:
            assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]
