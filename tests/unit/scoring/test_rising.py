"""The detector of rising effort against its defining sums, any cut of its stream, and seeded calm."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from math import exp, isfinite, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.alerts.baseline import Baseline
from scoring.alerts.rising import LEAVE_LEVEL, WAIT_MAX, Detector, expected_change, onset
from scoring.alerts.rules import MINUTE_MS, RisingRule, Severity
from tests.unit.scoring.test_baseline import EASE, NOW_MS, RULE, even_history, fitted, hour_of_week

LEVEL = 43_200.0
COUNTS = [35, 40, 50, 85, 175, 335, 280]  # 1..7, 7 best: mean x 1.55
CALM = fitted(even_history(COUNTS), EASE, RULE)
SHARES = np.array(COUNTS[::-1]) / 1000

Minutes = list[tuple[int, int]]
"""(answers, sum of x) of consecutive minutes."""

MINUTE = st.one_of(
    st.just((0, 0)), st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, 6 * n)))
)
CORRECTION = st.tuples(st.integers(-20, 3), st.integers(-60, 18))


def run(minutes: Minutes, detector: Detector | None = None, level: float = LEVEL, first: int = 0) -> Detector:
    """A detector over consecutive minutes, one step each."""
    detector = detector or Detector()
    for at, (n, effort) in enumerate(minutes, first):
        start = NOW_MS + at * MINUTE_MS
        detector.step(CALM, hour_of_week(start), start, n, effort, level)
    return detector


def simulated(rng: np.random.Generator, minutes: int, per_hour: float, mean: float = 1.55) -> Minutes:
    """Poisson answers with the usual shares, tilted roughly to a mean by moving shares to the worst ratings."""
    moved = (mean - 1.55) / (6 - 0.45)  # from x = 0 and 1 to x = 6
    shares = SHARES + moved * np.array([-0.55, -0.45, 0, 0, 0, 0, 1])
    n = rng.poisson(per_hour / 60, minutes)
    return [(int(k), int(rng.choice(7, k, p=shares).sum())) if k else (0, 0) for k in n]


def test_each_statistic_is_the_sum_over_all_beginnings() -> None:
    """R_i is the sum over s of the product of ratios from s on, in exact rationals but for the ratios themselves."""
    minutes: Minutes = [(2, 3), (0, 0), (1, 6), (0, 0), (0, 0), (3, 4), (-1, -2), (0, 2)]
    lambdas, kappas = CALM.ratio_at(hour_of_week(NOW_MS))
    for r, lam, kappa in zip(run(minutes).r, lambdas, kappas, strict=True):
        ratios = [Fraction(exp(lam * effort - kappa * n)) for n, effort in minutes]
        total = Fraction(0)
        for begun in range(len(minutes)):
            product = Fraction(1)
            for ratio in ratios[begun:]:
                product *= ratio
            total += product
        assert r == pytest.approx(float(total), rel=1e-12)


@settings(max_examples=150, deadline=None)
@given(
    minutes=st.lists(st.one_of(MINUTE, CORRECTION), max_size=80),
    cut=st.integers(0, 80),
    level=st.sampled_from([5.0, 50.0, 43_200.0]),
)
def test_from_any_checkpoint_the_floats_are_those_of_the_straight_run(
    minutes: Minutes, cut: int, level: float
) -> None:
    """Dumped as JSON in the middle and taken up again, alarmed or not."""
    straight = run(minutes, level=level)
    half = run(minutes[:cut], level=level)
    again = Detector.load(json.loads(json.dumps(half.dump())))
    assert again == half
    assert run(minutes[cut:], again, level, first=min(cut, len(minutes))) == straight


@settings(max_examples=100, deadline=None)
@given(before=st.lists(MINUTE, max_size=20), quiet=st.lists(st.integers(0, 3_000), max_size=4), after=MINUTE)
def test_quiet_minutes_at_once_are_the_same_floats_as_one_by_one(
    before: Minutes, quiet: list[int], after: tuple[int, int]
) -> None:
    """However a silence is cut."""
    at_once, stepped = run(before), run(before)
    for minutes in quiet:
        at_once.quiet(minutes)
    for _ in range(sum(quiet)):
        stepped.step(CALM, 0, 0, 0, 0, LEVEL)
    assert at_once == stepped
    assert run([after], at_once) == run([after], stepped)


@pytest.mark.parametrize(
    ("n", "effort"), [(100_000, 600_000), (100_000, 0), (-100_000, -600_000), (-100_000, 0), (0, 10**6)]
)
def test_no_minute_overflows(n: int, effort: int) -> None:
    """A million answers in a minute, or as many taken back, calm or alarmed."""
    for detector in (Detector(), Detector(r=[1e5] * 3, q=5.0, alarmed=True, since_ms=0)):
        run([(n, effort)] * 3, detector)
        assert all(isfinite(r) and r >= 0 for r in detector.r)
        assert isfinite(detector.q)


def test_a_silence_alone_neither_raises_nor_ends_an_alarm() -> None:
    """Two months without answers, then one ordinary answer: nothing to page anybody for."""
    detector = Detector()
    detector.quiet(90_000)
    assert detector.statistic == WAIT_MAX
    run([(1, 2)], detector)
    assert not detector.alarmed
    alarmed = run([(20, 110)] * 5)
    assert alarmed.alarmed
    alarmed.quiet(90_000)
    assert alarmed.alarmed


def test_a_rise_alarms_and_calm_ends_it() -> None:
    """The alarm names its minute; after the end the detector begins anew."""
    rng = np.random.default_rng(3)
    detector = run(simulated(rng, 2_000, 60))
    assert not detector.alarmed
    detector = run(simulated(rng, 600, 60, mean=2.3), detector, first=2_000)
    assert detector.alarmed
    assert detector.since_ms is not None
    assert NOW_MS + 2_000 * MINUTE_MS <= detector.since_ms < NOW_MS + 2_600 * MINUTE_MS
    assert detector.statistic >= LEVEL
    detector = run(simulated(rng, 900, 60), detector, first=2_600)
    assert not detector.alarmed
    assert detector.since_ms is None
    assert detector.q == 0


def test_an_alarm_ends_where_the_reverse_statistic_reaches_its_level() -> None:
    """Minute by minute against the recursion written out: not one calm minute sooner or later."""
    lambdas, kappas = CALM.ratio_at(0)
    detector = Detector(r=[1e5] * 3, alarmed=True, since_ms=0)
    q, minute = 0.0, 0
    while q < LEAVE_LEVEL:
        assert detector.alarmed
        q = (q + 1) / exp(lambdas[1] * 3 - kappas[1] * 3)
        detector.step(CALM, 0, minute * MINUTE_MS, 3, 3, LEVEL)
        minute += 1
    assert not detector.alarmed
    assert minute > 10


def test_falling_effort_never_alarms() -> None:
    """Only growth of effort is looked for."""
    rng = np.random.default_rng(4)
    better = [(n, int(effort * 0.7)) for n, effort in simulated(rng, 10_000, 60)]
    detector = Detector()
    for at in range(0, len(better), 1_000):
        run(better[at : at + 1_000], detector, level=500.0)
        assert not detector.alarmed


def test_calm_alarms_less_than_once_in_level_minutes() -> None:
    """Optional stopping, seeded: in 800,000 calm minutes at a level of 2,000 fewer than 400 alarms."""
    rng = np.random.default_rng(5)
    alarms, minutes, level = 0, 0, 2_000.0
    n = rng.poisson(0.5, (80, 10_000))
    draws = rng.choice(7, int(n.sum()), p=SHARES)
    ends = n.ravel().cumsum()
    sums = np.concatenate([[0], draws.cumsum()])
    effort = (sums[ends] - sums[ends - n.ravel()]).reshape(n.shape)
    for counts, totals in zip(n.tolist(), effort.tolist(), strict=True):
        detector = Detector()
        for count, total in zip(counts, totals, strict=True):
            detector.step(CALM, 0, 0, count, total, level)
            minutes += 1
            if detector.alarmed:
                alarms += 1
                detector = Detector()
    assert 20 < alarms < minutes / level


def test_the_onset_holds_the_truth_and_sharpens() -> None:
    """20 rises of 0.75 points: most intervals hold the true beginning, each is inside the minutes."""
    held, widths = 0, []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        stream = simulated(rng, 1_440, 60) + simulated(rng, 360, 60, mean=2.3)
        minutes = [(NOW_MS + at * MINUTE_MS, n, effort) for at, (n, effort) in enumerate(stream)]
        found = onset(minutes, CALM, hour_of_week)
        assert found is not None
        from_ms, to_ms = found
        assert minutes[0][0] <= from_ms < to_ms <= minutes[-1][0] + MINUTE_MS
        held += from_ms <= NOW_MS + 1_440 * MINUTE_MS < to_ms
        widths.append((to_ms - from_ms) / MINUTE_MS)
    assert held >= 14
    assert np.median(widths) < 360


def test_the_onset_is_the_one_of_bayes_on_a_stream_small_enough_to_enumerate() -> None:
    """Against each beginning's weight by itself, silences included."""
    minutes = [
        (NOW_MS, 2, 3),
        (NOW_MS + 4 * MINUTE_MS, 3, 16),
        (NOW_MS + 5 * MINUTE_MS, 2, 11),
        (NOW_MS + 9 * MINUTE_MS, 1, 6),
    ]
    lambdas, kappas = CALM.ratio_at(hour_of_week(NOW_MS))
    weights = []
    for begun in range(10):
        after = [(n, effort) for at, n, effort in minutes if at >= NOW_MS + begun * MINUTE_MS]
        weights.append(
            sum(
                exp(sum(lam * e - kap * n for n, e in after))
                for lam, kap in zip(lambdas, kappas, strict=True)
            )
        )
    cumulated = np.cumsum(weights) / sum(weights)
    first, last = int(np.argmax(cumulated >= 0.05)), int(np.argmax(cumulated >= 0.95))
    assert onset(minutes, CALM, hour_of_week) == (NOW_MS + first * MINUTE_MS, NOW_MS + (last + 1) * MINUTE_MS)


def test_minutes_of_a_silence_weigh_like_the_next_answers() -> None:
    """A rise that can as well have begun in ten quiet hours is said to have; beyond a day they count no more."""
    before = [(NOW_MS + at * MINUTE_MS, 1, 0) for at in range(60)]
    for hours, widest in ((10, 600), (100, WAIT_MAX)):
        risen = NOW_MS + (59 + hours * 60) * MINUTE_MS
        minutes = before + [(risen + at * MINUTE_MS, 2, 11) for at in range(20)]
        found = onset(minutes, CALM, hour_of_week)
        assert found is not None
        assert 0.8 * widest < (found[1] - found[0]) / MINUTE_MS <= widest


def test_no_answers_have_no_onset_and_no_change() -> None:
    """None, not a made-up instant."""
    assert onset([], CALM, hour_of_week) is None
    assert onset([(NOW_MS, 0, 0)], CALM, hour_of_week) is None
    assert expected_change([(NOW_MS, 5, 9)], CALM, hour_of_week, NOW_MS + 1) is None


@settings(max_examples=60, deadline=None)
@given(stream=st.lists(st.one_of(MINUTE, CORRECTION), min_size=1, max_size=60), gap=st.integers(1, 5_000))
def test_any_minutes_have_an_onset_inside_them(stream: Minutes, gap: int) -> None:
    """Bursts, corrections and long silences neither overflow nor leave the stream."""
    minutes = [(NOW_MS + at * gap * MINUTE_MS, 50 * n, 50 * effort) for at, (n, effort) in enumerate(stream)]
    found = onset(minutes, CALM, hour_of_week)
    if found is not None:
        assert minutes[0][0] <= found[0] < found[1] <= minutes[-1][0] + MINUTE_MS


def test_the_change_since_is_the_plain_mean_beside_the_usual_one_of_the_same_hours() -> None:
    """Exact, from the instant on."""
    daily = replace(CALM, means=(1.0, 2.0), ratios=CALM.ratios * 2, row_of=bytes([0] * 84 + [1] * 84))
    start = NOW_MS - hour_of_week(NOW_MS) * 3_600_000
    minutes = [(start, 9, 0), (start + 83 * 3_600_000, 3, 9), (start + 84 * 3_600_000, 1, 6)]
    change = expected_change(minutes, daily, hour_of_week, start + 1)
    assert change is not None
    assert (change.n, change.mean, change.expected) == (4, 15 / 4, 5 / 4)
    assert change.change == 2.5


def test_a_rule_with_other_drops_is_stepped_with_those() -> None:
    """One drop is one statistic; the mean of one is itself."""
    rule = RisingRule("r", Severity.WARNING, drops=(0.1,), margin=0.0)
    one: Baseline = fitted(even_history(COUNTS), EASE, rule)
    detector = Detector()
    detector.step(one, 0, NOW_MS, 1, 5, LEVEL)
    (lam,), (kappa,) = one.ratio_at(0)
    assert log(detector.statistic) == pytest.approx(5 * lam - kappa)
