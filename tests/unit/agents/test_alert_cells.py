"""Cells of rules: sums over stretches of minutes, against the tallies that came."""

from __future__ import annotations

import random

import pytest

from agents.alert_cells import FINE_MS, Cells
from tests.unit.agents.streams import DAY_MS, HOUR_MS, MINUTE_MS


@pytest.mark.parametrize("stretch_ms", [90 * MINUTE_MS, FINE_MS, FINE_MS + MINUTE_MS, 7 * DAY_MS])
@pytest.mark.parametrize("seed", range(3))
def test_a_sum_holds_nothing_that_came_after_its_end(stretch_ms, seed):
    """Short ones are exact; long ones begin with a whole hour, and end to the minute."""
    chance = random.Random(seed)
    origin_ms = 30 * MINUTE_MS
    cells, came = Cells(1, origin_ms), []
    for _ in range(4000):
        minute_ms = chance.randrange(10 * DAY_MS // MINUTE_MS) * MINUTE_MS
        cells.add(minute_ms, [1])
        came.append(minute_ms)
    end_ms = 9 * DAY_MS + chance.randrange(1440) * MINUTE_MS
    start_ms = end_ms - stretch_ms
    if stretch_ms > FINE_MS:
        start_ms -= (start_ms - origin_ms) % HOUR_MS
    expected = sum(start_ms <= minute_ms < end_ms for minute_ms in came)
    assert cells.total(end_ms - stretch_ms, end_ms) == [expected]


def test_a_sum_that_ends_where_the_minutes_are_gone_ends_with_its_hour():
    """There is nothing finer to know."""
    cells = Cells(1, 0)
    for minute in range(0, 600, 10):
        cells.add(minute * MINUTE_MS, [1])
    list(cells.forget(5 * HOUR_MS, 0))
    assert cells.total(HOUR_MS, 3 * HOUR_MS + 20 * MINUTE_MS) == [18]
    assert cells.total(HOUR_MS, 3 * HOUR_MS) == [12]
    assert cells.total(HOUR_MS, 6 * HOUR_MS + 20 * MINUTE_MS) == [32]
