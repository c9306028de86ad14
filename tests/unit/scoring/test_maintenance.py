"""Maintenance windows: which instants and which alerts they cover."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.alerts.maintenance import WEEKDAYS, Maintenance, Once, Weekly

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def instant(*parts: int, timezone: str = "UTC") -> int:
    """Epoch milliseconds of a local time."""
    return int(datetime(*parts, tzinfo=ZoneInfo(timezone)).timestamp()) * 1000


def test_a_stretch_holds_its_first_instant_and_not_its_last():
    """[start, end), to the millisecond."""
    once = Once(1000, 2000)
    assert [once.holds(at) for at in (999, 1000, 1999, 2000)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("weekly", "inside", "outside"),
    [
        (
            Weekly(6, 120, 240, "Europe/Warsaw"),
            [(2026, 3, 22, 2, 0), (2026, 3, 22, 3, 59)],
            [(2026, 3, 22, 1, 59), (2026, 3, 22, 4, 0), (2026, 3, 23, 3, 0)],
        ),
        (
            Weekly(6, 1380, 120, "Europe/Warsaw"),
            [(2026, 3, 22, 23, 0), (2026, 3, 23, 1, 59)],
            [(2026, 3, 22, 1, 0), (2026, 3, 23, 2, 0), (2026, 3, 23, 23, 0)],
        ),
        (
            Weekly(None, 0, 1440, "UTC"),
            [(2026, 3, 22, 0, 0), (2026, 3, 25, 23, 59)],
            [],
        ),
        (
            Weekly(0, 1200, 1440, "Asia/Kolkata"),
            [(2026, 3, 23, 20, 0), (2026, 3, 23, 23, 59)],
            [(2026, 3, 24, 0, 0), (2026, 3, 23, 19, 59)],
        ),
    ],
    ids=["within a day", "over midnight", "all of every day", "to the end of the day"],
)
def test_a_week_s_stretch_follows_the_local_clock(weekly, inside, outside):
    """The weekday is the one on which it begins, and its end does not belong to it."""
    for parts in inside:
        assert weekly.holds(instant(*parts, timezone=weekly.timezone)), parts
    for parts in outside:
        assert not weekly.holds(instant(*parts, timezone=weekly.timezone)), parts


def test_a_clock_change_leaves_out_what_the_clock_leaves_out_and_takes_a_repeated_hour_twice():
    """In Warsaw 02:00 to 03:00 does not exist on 2026-03-29 and comes twice on 2026-10-25."""
    weekly = Weekly(6, 120, 180, "Europe/Warsaw")

    def minutes(day: datetime) -> int:
        start_ms = int(day.timestamp()) * 1000
        return sum(weekly.holds(start_ms + minute * MINUTE_MS) for minute in range(12 * 60))

    assert minutes(datetime(2026, 3, 28, 22, tzinfo=UTC)) == 0
    assert minutes(datetime(2026, 10, 24, 22, tzinfo=UTC)) == 120
    assert minutes(datetime(2026, 3, 21, 22, tzinfo=UTC)) == 60


@given(
    weekday=st.none() | st.integers(0, 6),
    begins=st.integers(0, 1439),
    lasts=st.integers(1, 1439),
    minute=st.integers(0, 14 * 1440),
)
def test_a_week_s_stretch_holds_what_lies_behind_one_of_its_beginnings(weekday, begins, lasts, minute):
    """In a zone without clock changes: an instant is held if a beginning lies less than its length before it."""
    weekly = Weekly(weekday, begins, (begins + lasts) % 1440 or 1440, "UTC")
    now = datetime(2026, 3, 16, tzinfo=UTC) + timedelta(minutes=minute)  # a Monday
    starts = [
        datetime(2026, 3, 9, tzinfo=UTC) + timedelta(days=day, minutes=begins)
        for day in range(22)
        if weekday is None or day % 7 == weekday
    ]
    expected = any(start <= now < start + timedelta(minutes=lasts) for start in starts)
    assert weekly.holds(int(now.timestamp()) * 1000) == expected


def test_only_alerts_whose_rule_and_touchpoint_match_are_covered():
    """Patterns match the whole name with case; what is left out matches all."""
    when = Once(0, 10)
    both = Maintenance("m", when, "effort-*", "check*")
    assert both.covers("effort-high", "checkout", 5)
    assert not both.covers("effort-high", "checkout", 10)
    assert not both.covers("silent", "checkout", 5)
    assert not both.covers("effort-high", "Checkout", 5)
    assert not both.covers("effort-high", "the checkout", 5)
    assert Maintenance("m", when).covers("silent", "chat", 5)


def test_weekdays_are_in_the_order_of_the_calendar():
    """The first one is Monday, as Python counts."""
    assert [datetime(2026, 3, 16 + day, tzinfo=UTC).strftime("%a").lower() for day in range(7)] == list(
        WEEKDAYS
    )
