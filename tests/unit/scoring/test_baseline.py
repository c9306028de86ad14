"""The baseline against closed forms, exact enumeration and histories whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.alerts.baseline import ANSWERS_MIN, Baseline, BaselineVersionError, fit
from scoring.alerts.rules import DAY_MS, RisingRule, Severity
from scoring.panes import HOUR_MS
from scoring.questions import Scale

RULE = RisingRule("rising", Severity.WARNING)
EASE = Scale(1, 7, best=7)
USUAL = (0.28, 0.335, 0.175, 0.085, 0.05, 0.04, 0.035)
NOW_MS = 20_000 * DAY_MS
MONTH = 28 * 24


def hour_of_week(time_ms: int) -> int:
    """Of a calendar whose weeks begin with 1970."""
    return time_ms // HOUR_MS % 168


def even_history(counts: list[int], hours: int = MONTH) -> dict[int, list[int]]:
    """The same tally in each hour up to now."""
    return {NOW_MS - back * HOUR_MS: counts for back in range(1, hours + 1)}


def fitted(hours: dict[int, list[int]], scale: Scale = EASE, rule: RisingRule = RULE) -> Baseline:
    """The baseline of a history that has one."""
    baseline = fit(hours, scale, rule, NOW_MS, hour_of_week)
    assert baseline is not None
    return baseline


@cache
def tilted(weights: tuple[float, ...], mean: float) -> list[float]:
    """The exponential tilt with a wanted mean, by plain bisection: slow, and nothing of the product's."""
    low, high = -80.0, 80.0
    for _ in range(200):
        theta = (low + high) / 2
        shares = [weight * exp(theta * x) for x, weight in enumerate(weights)]
        total = sum(shares)
        if sum(x * share for x, share in enumerate(shares)) / total < mean:
            low = theta
        else:
            high = theta
    return [share / total for share in shares]


def simulated(
    answers_per_hour: float, seed: int, course: float = 0.0, wander: float = 0.0, weekend: float = 0.0
) -> dict[int, list[int]]:
    """28 days up to now of ratings 1..7 with a daily course of the mean and days that wander."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0, wander, 29)
    out = {}
    for back in range(MONTH, 0, -1):
        start = NOW_MS - back * HOUR_MS
        hour = hour_of_week(start)
        mean = 1.55 + course * np.cos(2 * np.pi * hour / 24) + level[start // DAY_MS - NOW_MS // DAY_MS]
        shares = tilted(USUAL, mean + weekend * (hour // 24 >= 5))
        out[start] = rng.multinomial(rng.poisson(answers_per_hour), shares)[::-1].tolist()
    return out


@pytest.mark.parametrize("best", [1, 2])
def test_on_two_ratings_the_ratio_is_that_of_two_shares(best: int) -> None:
    """With x in {0, 1} lambda is a difference of logits and kappa the log ratio of the shares of x = 0."""
    bad, good = 3, 7
    counts = [good, bad] if best == 1 else [bad, good]
    one = fitted(even_history(counts), Scale(1, 2, best), replace(RULE, drops=(0.1, 0.25), margin=0.05))
    null = bad / (bad + good) + 0.05
    lambdas, kappas = one.ratio_at(100)
    for lam, kappa, drop in zip(lambdas, kappas, (0.1, 0.25), strict=True):
        risen = null + drop
        assert lam == pytest.approx(log(risen / (1 - risen)) - log(null / (1 - null)), rel=1e-9)
        assert kappa == pytest.approx(log((1 - null) / (1 - risen)), rel=1e-9)
    assert one.mean == pytest.approx(0.3)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 40), min_size=7, max_size=7).filter(lambda counts: sum(counts) >= 5),
    margin=st.sampled_from([0.0, 0.02, 0.1]),
    below=st.floats(0.05, 1.0),
)
def test_the_ratio_expects_1_at_the_edge_of_the_null_and_no_more_below(
    counts: list[int], margin: float, below: float
) -> None:
    """By enumeration of the tilted tally: the property that the bound on false alarms stands on."""
    one = fitted(even_history(counts), rule=replace(RULE, margin=margin))
    total = sum(counts) * MONTH
    weights = tuple((count * MONTH + 1 / 7) / (total + 1) for count in reversed(counts))
    usual = one.mean_at(0)
    edge = min(usual + 6 * margin, (usual + 6) / 2)
    at_edge, under = tilted(weights, edge), tilted(weights, edge * below)
    for lam, kappa in zip(*one.ratio_at(0), strict=True):
        ratios = [exp(lam * x - kappa) for x in range(7)]
        assert sum(p * ratio for p, ratio in zip(at_edge, ratios, strict=True)) == pytest.approx(1, rel=1e-7)
        assert sum(p * ratio for p, ratio in zip(under, ratios, strict=True)) <= 1 + 1e-7


@pytest.mark.parametrize("counts", [[0, 0, 0, 0, 0, 0, 9], [9, 0, 0, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0, 5]])
def test_a_tally_with_empty_ratings_has_finite_ratios(counts: list[int]) -> None:
    """Nothing but the best, nothing but the worst, and only the two ends."""
    one = fitted(even_history(counts))
    for lam, kappa in zip(*one.ratio_at(0), strict=True):
        assert 0 < lam < 60
        assert 0 < kappa < 400


@pytest.mark.parametrize("wander", [0.0, 0.2])
def test_dump_and_load_give_the_very_same_floats(wander: float) -> None:
    """A baseline read back is equal to the last bit."""
    one = fitted(simulated(20, seed=1, course=0.3, wander=wander))
    assert Baseline.load(one.dump()) == one


@pytest.mark.parametrize("stored", [b"", b"\x00", b"\x02rest"])
def test_another_layout_is_refused(stored: bytes) -> None:
    """A version that is not known is named, not guessed at."""
    with pytest.raises(BaselineVersionError, match="baseline version"):
        Baseline.load(stored)


def test_the_same_hours_in_any_order_give_the_same_baseline() -> None:
    """A fit does not depend on how tallies came."""
    hours = simulated(5, seed=2, wander=0.1)
    assert fitted(dict(reversed(hours.items()))) == fitted(hours)


def test_too_short_a_history_is_no_baseline() -> None:
    """One minute less than the rule's history gives None; the history begins with the first answers."""
    week = even_history([0, 0, 1, 1, 2, 3, 2], hours=7 * 24)
    assert fit(week, EASE, RULE, NOW_MS, hour_of_week) is not None
    first = min(week)
    week[first] = [0] * 7
    assert fit(week, EASE, RULE, NOW_MS, hour_of_week) is None
    assert fit({}, EASE, RULE, NOW_MS, hour_of_week) is None


def test_too_few_answers_are_no_baseline() -> None:
    """At one answer in some hours: 100 are enough, 99 are not."""
    hours = {NOW_MS - back * 6 * HOUR_MS: [0, 0, 0, 1, 0, 0, 0] for back in range(1, ANSWERS_MIN + 1)}
    assert fitted(hours).n == ANSWERS_MIN
    hours.popitem()
    assert fit(hours, EASE, RULE, NOW_MS, hour_of_week) is None


def test_only_hours_of_the_baseline_count() -> None:
    """Hours before it and from now on change nothing."""
    hours = even_history([1, 1, 1, 2, 4, 6, 5])
    more = hours | {NOW_MS: [99] * 7, NOW_MS - (MONTH + 1) * HOUR_MS: [99] * 7}
    assert fitted(more) == fitted(hours)


def test_the_mean_is_the_distance_from_the_best_rating() -> None:
    """Either end may be best."""
    counts = [1, 2, 3, 4, 5, 6, 9]
    assert fitted(even_history(counts)).mean == pytest.approx(
        sum(k * c for k, c in zip(range(6, -1, -1), counts, strict=True)) / 30
    )
    assert fitted(even_history(counts), Scale(1, 7, best=1)).mean == pytest.approx(
        sum(k * c for k, c in enumerate(counts)) / 30
    )


def test_calm_days_need_no_margin() -> None:
    """Of 20 calm histories most get none: the level of the test is 10 %."""
    margins = [fitted(simulated(20, seed)).margin for seed in range(20)]
    assert sum(margin > 0 for margin in margins) <= 5


@pytest.mark.parametrize("wander", [0.1, 0.2])
def test_wandering_days_are_found_and_granted(wander: float) -> None:
    """The estimate is near the truth, with the course of the day in it, and the margin grows with it."""
    found = [fitted(simulated(50, seed, course=0.2, wander=wander)) for seed in range(6)]
    assert np.mean([one.wander for one in found]) == pytest.approx(wander, rel=0.25)
    assert all(one.margin >= one.wander > 0 for one in found)


def test_one_bad_day_in_the_history_does_not_blunt_the_detector() -> None:
    """A day one point worse would be a wander of 0.19 points if days were all alike; it is far from that."""
    hours = simulated(50, seed=7)
    for at in hours:
        if at // DAY_MS == NOW_MS // DAY_MS - 9:
            hours[at] = np.random.default_rng(at % 97).multinomial(50, tilted(USUAL, 2.55))[::-1].tolist()
    assert fitted(hours).margin < 0.07


def test_a_margin_of_the_rule_is_taken_as_it_is() -> None:
    """In shares of the scale's width, whatever the history says."""
    wandering = simulated(20, seed=3, wander=0.3)
    assert fitted(wandering, rule=replace(RULE, margin=0.05)).margin == pytest.approx(0.3)
    assert fitted(wandering, rule=replace(RULE, margin=0.0)).margin == 0


def test_a_short_history_grants_its_own_error() -> None:
    """A week is granted part of its standard error, four weeks nothing."""
    short = fitted(even_history([1, 1, 1, 2, 4, 6, 5], hours=7 * 24))
    assert 0 < short.margin < 1.6 / (20 * 168) ** 0.5
    assert fitted(even_history([1, 1, 1, 2, 4, 6, 5])).margin == pytest.approx(0, abs=1e-12)


def test_the_course_of_the_day_is_found_and_a_flat_one_stays_flat() -> None:
    """The hourly mean follows a daily course of 0.3 points to a tenth."""
    daily = fitted(simulated(50, seed=4, course=0.3))
    assert daily.shape == "harmonics"
    for hour in range(168):
        truth = 1.55 + 0.3 * np.cos(2 * np.pi * hour / 24)
        assert daily.mean_at(hour) == pytest.approx(truth, abs=0.1)
    assert fitted(simulated(50, seed=4)).shape == "flat"


def test_hours_that_no_harmonic_follows_are_taken_one_by_one() -> None:
    """A nightly batch that makes one hour hard."""
    hours = even_history([1, 1, 1, 2, 4, 6, 5]) | {
        start: [6, 5, 4, 2, 1, 1, 1] for start in even_history([], MONTH) if hour_of_week(start) % 24 == 3
    }
    one = fitted(hours)
    assert one.shape == "hours"
    assert one.mean_at(24 + 3) - one.mean_at(24 + 4) > 2
    assert one.margin == pytest.approx(0, abs=1e-12)


def test_hard_weekends_are_no_wander() -> None:
    """Days of the week that repeat are usual, not a reason for a margin."""
    one = fitted(simulated(50, seed=5, weekend=0.4))
    assert one.mean_at(6 * 24) - one.mean_at(2 * 24) == pytest.approx(0.4, abs=0.1)
    assert one.wander < 0.05


def test_hours_never_seen_have_the_usual_mean() -> None:
    """A touchpoint open from 8 to 20 has a baseline at night that is not extrapolated."""
    open_hours = {
        at: c for at, c in simulated(50, seed=6, course=0.5).items() if 8 <= hour_of_week(at) % 24 < 20
    }
    one = fitted(open_hours)
    assert one.mean_at(3) == pytest.approx(one.mean, abs=0.05)


@settings(max_examples=40, deadline=None)
@given(
    places=st.lists(
        st.tuples(st.integers(1, MONTH), st.lists(st.integers(0, 60), min_size=7, max_size=7)),
        min_size=1,
        max_size=40,
    )
)
def test_any_scattered_history_is_fitted_or_refused(places: list[tuple[int, list[int]]]) -> None:
    """Days with few answers, gaps of weeks and single bursts give finite ratios, or None."""
    one = fit({NOW_MS - back * HOUR_MS: c for back, c in places}, EASE, RULE, NOW_MS, hour_of_week)
    if one is None:
        return
    assert one.n >= ANSWERS_MIN
    assert 0 <= one.margin < 6
    for hour in range(168):
        assert 0 < one.mean_at(hour) < 6
        assert all(0 < lam < 120 and 0 < kappa < 720 for lam, kappa in zip(*one.ratio_at(hour), strict=True))
