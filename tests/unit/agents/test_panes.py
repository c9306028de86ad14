"""Panes of a source partition: folding and ageing keep every tally, and the finest width that a window needs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.panes import (
    Layout,
    PaneKey,
    PaneStore,
    code_question,
    decode_group,
    encode_group,
    pane_key_bytes,
    parse_series_code,
    series_code,
    split_pane_key,
)
from scoring.catalog import Timing
from scoring.panes import pane_start
from scoring.windows import live_window
from tests.unit.agents.streams import CATALOG, DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS, catalog

LAYOUT = Layout.of(CATALOG)
KEEPING = Layout.of(CATALOG, keep_all=True)
STEP = st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 30 * DAY_MS), st.booleans())


def total(store: PaneStore) -> dict[tuple[str, str], int]:
    """Answers by touchpoint and series."""
    out: dict[tuple[str, str], int] = {}
    for (touchpoint, _, _), group in store.groups.items():
        for code, vector in group.items():
            out[touchpoint, code] = out.get((touchpoint, code), 0) + vector[0]
    return out


def test_the_layout_keeps_each_width_as_long_as_a_window_needs_it() -> None:
    """5 s for 5 m, 1 m for 1 h, 5 m for 24 h, hours for the rest."""
    assert LAYOUT.widths == (5_000, MINUTE_MS, 5 * MINUTE_MS, HOUR_MS)
    assert LAYOUT.keep == (5 * MINUTE_MS, HOUR_MS, DAY_MS)
    assert LAYOUT.retention_ms == 7 * DAY_MS + HOUR_MS
    assert Layout.of(catalog(live=())).widths == (HOUR_MS,)
    assert KEEPING.retention_ms is None


def test_the_retention_is_never_shorter_than_an_edit_reaches() -> None:
    """An answer of 2 H ago may still be edited, in a day of 25 hours."""
    short = Layout.of(catalog(live=(live_window("5m"),), timing=Timing(horizon_ms=72 * HOUR_MS)))
    assert short.retention_ms is not None
    assert short.retention_ms >= 2 * 72 * HOUR_MS + 25 * HOUR_MS


@given(st.lists(STEP, max_size=60))
@settings(derandomize=True, deadline=None)
def test_folding_keeps_every_total(steps: list[tuple[str, str, int, bool]]) -> None:
    """Whatever order answers come in and whenever it folds, nothing is lost or counted twice."""
    store, counted, newest_ms = PaneStore(KEEPING), {}, 0
    for touchpoint, code, time_ms, fold in steps:
        newest_ms = max(newest_ms, time_ms)
        store.add((touchpoint, *store.pane_of(time_ms)), code, [1])
        counted[touchpoint, code] = counted.get((touchpoint, code), 0) + 1
        if fold:
            store.fold(newest_ms)
        assert total(store) == counted


@given(st.lists(STEP, min_size=1, max_size=60), st.integers(0, 59))
@settings(derandomize=True, deadline=None)
def test_every_live_window_is_a_sum_of_panes_that_are_still_there(
    steps: list[tuple[str, str, int, bool]], cut: int
) -> None:
    """After folding, no pane that a window needs is coarser than the window's own."""
    store = PaneStore(LAYOUT)
    newest_ms = 0
    for touchpoint, code, time_ms, _ in steps[: cut + 1]:
        newest_ms = max(newest_ms, time_ms)
        store.add((touchpoint, *store.pane_of(time_ms)), code, [1])
        store.fold(newest_ms)
    for window in CATALOG.live:
        end_ms = pane_start(newest_ms, window.pane_ms) + window.pane_ms
        for _, width, start in store.groups:
            if start + width > end_ms - window.size_ms:
                assert width <= window.pane_ms


@given(st.lists(STEP, max_size=40), st.lists(st.integers(0, 39), max_size=6))
@settings(derandomize=True, deadline=None)
def test_the_changelog_brings_back_what_was_there(
    steps: list[tuple[str, str, int, bool]], drains: list[int]
) -> None:
    """After any drain a store made of the drained panes holds the same, and goes on the same."""
    store, stored, newest_ms = PaneStore(LAYOUT), {}, 0
    for at, (touchpoint, code, time_ms, _) in enumerate(steps):
        newest_ms = max(newest_ms, time_ms)
        store.add((touchpoint, *store.pane_of(time_ms)), code, [1, 0])
        if at in drains:
            store.fold(newest_ms)
            for key in store.drain():
                group = store.groups.get(key)
                stored[pane_key_bytes(key)] = None if group is None else encode_group(group)
            made = PaneStore(LAYOUT)
            for raw, value in stored.items():
                made.restore(split_pane_key(raw), None if value is None else decode_group(value))
            made.resume(newest_ms)
            store.fold(newest_ms)  # what has been told and is older than the retention goes now
            assert made.groups == store.groups
            assert [made.pane_of(t) for t in (0, time_ms, newest_ms)] == [
                store.pane_of(t) for t in (0, time_ms, newest_ms)
            ]
            store = made


def test_what_has_left_the_retention_is_dropped_once_it_was_drained() -> None:
    """One batch may span more than the retention; what it counted must be told first."""
    store = PaneStore(LAYOUT)
    old, new = ("a", *store.pane_of(NOW_MS - 30 * DAY_MS)), ("a", *store.pane_of(NOW_MS))
    store.add(old, "x", [1])
    store.add(new, "x", [1])
    store.fold(NOW_MS)
    told: set[PaneKey] = store.drain()
    assert sum(store.groups[key]["x"][0] for key in told if key in store.groups) == 2
    store.fold(NOW_MS)
    assert set(store.groups) == {new}
    assert len(store.drain()) == 1
    store.fold(NOW_MS)
    assert store.drain() == set()


@given(st.lists(st.integers(0, 30 * DAY_MS), min_size=1, max_size=30), st.integers(0, 31 * DAY_MS))
@settings(derandomize=True)
def test_a_whole_batch_finds_the_panes_that_each_answer_finds(times: list[int], newest_ms: int) -> None:
    """``by_width`` is ``pane_of`` for many times at once."""
    store = PaneStore(LAYOUT)
    store.fold(newest_ms)
    found = np.zeros(len(times), np.int64)
    for width, here in store.by_width(np.array(times, np.int64)):
        found[here] += width
    assert found.tolist() == [store.pane_of(time_ms)[0] for time_ms in times]


@pytest.mark.parametrize("name", ["", "a|b|c", "päne", "p1|2|3"])
def test_a_pane_key_is_read_back_as_it_was(name: str) -> None:
    """Whatever the touchpoint's name holds, and before 1970 too."""
    key = (name, 5_000, -10_000)
    assert split_pane_key(pane_key_bytes(key)) == key


@pytest.mark.parametrize(
    "parts", [("q", "", ()), ("", "channel", ("web",)), ("q", "channel+agent", ("web", "ann|1"))]
)
def test_a_series_code_is_read_back_as_it_was(parts: tuple[str, str, tuple[str, ...]]) -> None:
    """Question, segment name and its values."""
    assert parse_series_code(series_code(*parts)) == parts
    assert code_question(series_code(*parts)) == parts[0]
