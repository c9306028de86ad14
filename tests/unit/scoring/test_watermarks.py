"""Watermarks: nothing is called complete before everybody who may still speak has spoken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.watermarks import IDLE_HOLD_MS, Merged, SourceState, merged_watermark

NOW = 1_000_000


def state(watermark_ms: int | None, *, idle: bool = False, age_ms: int = 0) -> SourceState:
    """What an owner said so long ago; the highest event time is 10 above the watermark."""
    highest_ms = None if watermark_ms is None else watermark_ms + 10
    return SourceState(7, highest_ms, watermark_ms, idle, NOW - age_ms)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], Merged(None, all_idle=False, highest_ms=None)),
        ([state(5)], Merged(None, all_idle=False, highest_ms=15)),
        ([state(5, idle=True)], Merged(None, all_idle=False, highest_ms=15)),
        ([state(5), state(9)], Merged(5, all_idle=False, highest_ms=19)),
        ([state(5, idle=True), state(9)], Merged(9, all_idle=False, highest_ms=19)),
        ([state(9, idle=True), state(5)], Merged(5, all_idle=False, highest_ms=19)),
        ([state(5, idle=True), state(9, idle=True)], Merged(None, all_idle=True, highest_ms=19)),
        ([state(None), state(9)], Merged(None, all_idle=False, highest_ms=19)),
        ([state(None, idle=True), state(9)], Merged(9, all_idle=False, highest_ms=19)),
        ([state(None, idle=True), state(None, idle=True)], Merged(None, all_idle=True, highest_ms=None)),
        ([state(None), state(None)], Merged(None, all_idle=False, highest_ms=None)),
        ([state(None), state(9, idle=True)], Merged(None, all_idle=False, highest_ms=19)),
        ([state(-5), state(9)], Merged(-5, all_idle=False, highest_ms=19)),
    ],
)
def test_the_merged_watermark_of_two_partitions(states: list[SourceState], expected: Merged) -> None:
    """None before both have reported; then the minimum over those that are not idle."""
    assert merged_watermark(states, 2, NOW) == expected


def test_an_idle_statement_wears_off() -> None:
    """Its owner may be dead: after 30 s the partition holds the watermark again."""
    fresh, stale = state(5, idle=True, age_ms=IDLE_HOLD_MS), state(5, idle=True, age_ms=IDLE_HOLD_MS + 1)
    assert merged_watermark([fresh, state(9)], 2, NOW).watermark_ms == 9
    assert merged_watermark([stale, state(9)], 2, NOW).watermark_ms == 5
    assert merged_watermark([stale, fresh], 2, NOW) == Merged(5, all_idle=False, highest_ms=15)
    assert merged_watermark([stale, state(9)], 2, NOW, hold_ms=IDLE_HOLD_MS + 1).watermark_ms == 9


def test_a_live_partition_never_counts_as_idle() -> None:
    """However long ago it spoke: a dead worker is not an idle partition."""
    assert not state(5, age_ms=10**9).is_idle(NOW)


STATES = st.lists(
    st.builds(state, st.none() | st.integers(0, 1000), idle=st.booleans(), age_ms=st.integers(0, 60_000)),
    min_size=1,
    max_size=6,
)


@given(STATES)
@settings(derandomize=True)
def test_the_watermark_never_passes_a_partition_that_is_not_idle(states: list[SourceState]) -> None:
    """What may still come is never behind it; order does not matter."""
    merged = merged_watermark(states, len(states), NOW)
    assert merged == merged_watermark(states[::-1], len(states), NOW)
    awake = [one.watermark_ms for one in states if not one.is_idle(NOW)]
    assert merged.all_idle == (not awake)
    if merged.watermark_ms is not None:
        assert all(own is not None and merged.watermark_ms <= own for own in awake)


@given(STATES, st.integers(0, 1000))
@settings(derandomize=True)
def test_a_partition_that_advances_never_takes_the_watermark_back(
    states: list[SourceState], step_ms: int
) -> None:
    """Events only move it forward."""
    before = merged_watermark(states, len(states), NOW).watermark_ms
    first = states[0]
    advanced = replace(first, watermark_ms=(first.watermark_ms or 0) + step_ms)
    after = merged_watermark([advanced, *states[1:]], len(states), NOW).watermark_ms
    if before is not None:
        assert after is not None
        assert after >= before
