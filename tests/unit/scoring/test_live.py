"""Sliding sums against sums made from scratch at every step."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.live import LiveSums
from scoring.panes import DAY_MS, HOUR_MS, MINUTE_MS, pane_start
from scoring.windows import live_window

FIVE_MINUTES = live_window("5m")
STEP = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("ab"), st.integers(0, 30 * MINUTE_MS), st.integers(1, 3)),
    st.tuples(st.just("remove"), st.integers(0, 100), st.just(0), st.just(0)),
    st.tuples(st.just("advance"), st.just(""), st.integers(0, 30 * MINUTE_MS), st.just(0)),
    st.tuples(st.just("leap"), st.just(""), st.integers(0, 3 * DAY_MS), st.just(0)),
)


def from_scratch(
    answers: list[tuple[str, int, int]], end_ms: int | None, origin_ms: int
) -> dict[str, list[int]]:
    """The sums of the answers in the window that ends here."""
    out: dict[str, list[int]] = {}
    for series, time_ms, weight in answers if end_ms is not None else ():
        assert end_ms is not None
        start = pane_start(time_ms, FIVE_MINUTES.pane_ms, origin_ms)
        if end_ms - FIVE_MINUTES.size_ms <= start < end_ms:
            vector = out.setdefault(series, [0, 0])
            vector[0] += weight
            vector[1] += 1
    return out


@given(st.lists(STEP, max_size=60), st.sampled_from([0, 2_000]))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_the_totals_are_the_sums_of_the_window_at_every_step(steps: list, origin_ms: int) -> None:
    """Late answers, answers ahead of the window, leaps over silence, and what is taken back."""
    sums: LiveSums[str] = LiveSums(FIVE_MINUTES, origin_ms)
    answers: list[tuple[str, int, int]] = []
    newest_ms = -1
    for kind, what, time_ms, weight in steps:
        before = {series: vector.copy() for series, vector in sums.totals.items()}
        if kind == "add":
            answers.append((what, time_ms, weight))
            sums.add(what, time_ms, [weight, 1])
        elif kind == "remove" and answers:
            series, taken_ms, taken = answers.pop(what % len(answers))
            sums.add(series, taken_ms, [-taken, -1])
        elif kind in {"advance", "leap"}:
            newest_ms = max(newest_ms, time_ms)
            sums.advance(time_ms)
            assert (
                sums.end_ms == pane_start(newest_ms, FIVE_MINUTES.pane_ms, origin_ms) + FIVE_MINUTES.pane_ms
            )
        assert sums.totals == from_scratch(answers, sums.end_ms, origin_ms)
        changed = {s for s in "ab" if before.get(s) != sums.totals.get(s)}
        assert changed <= sums.changed
        sums.changed.clear()


def test_the_window_holds_its_open_pane_and_its_first_one_whole() -> None:
    """It ends behind the newest event's pane, and begins its size before that."""
    sums: LiveSums[str] = LiveSums(FIVE_MINUTES)
    assert sums.start_ms is None
    for time_ms in (0, 4_999, 5_000, 299_999, 304_999):
        sums.add("a", time_ms, [1])
    sums.advance(300_000)
    assert (sums.start_ms, sums.end_ms) == (5_000, 305_000)
    assert sums.totals == {"a": [3]}


def test_it_never_slides_back() -> None:
    """An older newest event is none."""
    sums: LiveSums[str] = LiveSums(FIVE_MINUTES)
    sums.add("a", 1_000_000, [1])
    sums.advance(1_000_000)
    sums.advance(0)
    assert sums.totals == {"a": [1]}
    assert sums.end_ms == 1_005_000


def test_a_series_without_answers_is_gone_from_the_totals_and_among_the_changed() -> None:
    """So that its n = 0 can be published."""
    sums: LiveSums[str] = LiveSums(FIVE_MINUTES)
    sums.add("a", 0, [1])
    sums.advance(0)
    sums.changed.clear()
    sums.advance(HOUR_MS)
    assert sums.totals == {}
    assert sums.changed == {"a"}


@pytest.mark.parametrize("name", ["5m", "1h", "24h", "7d"])
def test_nothing_is_kept_of_what_has_left(name: str) -> None:
    """Memory is bounded by the window, whatever has passed through it."""
    window = live_window(name)
    sums: LiveSums[str] = LiveSums(window)
    kept = defaultdict(int)
    for at in range(1_000):
        sums.add("a", at * window.pane_ms, [1])
        sums.advance(at * window.pane_ms)
        kept[len(sums._panes)] += 1
    assert max(kept) <= window.size_ms // window.pane_ms
    sums.advance(10**13)
    assert not sums._panes
