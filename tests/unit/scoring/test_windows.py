"""Windows: calendar edges against a walk through the zone's own clock, and declarations that have no meaning."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.errors import DeclarationError
from scoring.panes import DAY_MS, HOUR_MS, pane_start
from scoring.windows import Calendar, CalendarWindow, LiveWindow, calendar_window, live_window

HOUR = CalendarWindow("1h")
DAY = CalendarWindow("1d")
ZONES = (
    "UTC",
    "Europe/Warsaw",
    "Asia/Kolkata",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Havana",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Australia/Eucla",
)
SPAN = st.integers(0, 2_524_608_000_000)  # 1970 to 2050


def ms(text: str) -> int:
    """Milliseconds of an ISO time with its offset."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def local(zone: str, time_ms: int) -> datetime:
    """What the clocks of a zone show."""
    return datetime.fromtimestamp(time_ms // 1000, ZoneInfo(zone))


def day_hours(zone: str, noon: str) -> float:
    """Length of the local day that holds an instant."""
    start_ms, end_ms = Calendar(zone).bounds(DAY, ms(noon))
    return (end_ms - start_ms) / HOUR_MS


def test_the_day_of_a_clock_change_has_23_or_25_hours() -> None:
    """Warsaw in 2026: forward on 29 March, back on 25 October."""
    assert day_hours("Europe/Warsaw", "2026-03-28T12:00+01:00") == 24
    assert day_hours("Europe/Warsaw", "2026-03-29T12:00+02:00") == 23
    assert day_hours("Europe/Warsaw", "2026-03-30T12:00+02:00") == 24
    assert day_hours("Europe/Warsaw", "2026-10-25T12:00+01:00") == 25
    assert Calendar("Europe/Warsaw").bounds(DAY, ms("2026-10-25T12:00+01:00")) == (
        ms("2026-10-25T00:00+02:00"),
        ms("2026-10-26T00:00+01:00"),
    )


def test_a_repeated_hour_is_two_windows() -> None:
    """02:30 comes twice on 25 October 2026 in Warsaw; start_ms tells the two hours apart."""
    warsaw = Calendar("Europe/Warsaw")
    first = warsaw.bounds(HOUR, ms("2026-10-25T02:30+02:00"))
    second = warsaw.bounds(HOUR, ms("2026-10-25T02:30+01:00"))
    assert first == (ms("2026-10-25T02:00+02:00"), ms("2026-10-25T03:00+02:00"))
    assert second == (first[1], first[1] + HOUR_MS)
    assert local("Europe/Warsaw", first[0]).hour == local("Europe/Warsaw", second[0]).hour == 2


def test_a_skipped_hour_has_no_window() -> None:
    """From 01:59 the clocks of Warsaw go to 03:00 on 29 March 2026."""
    warsaw = Calendar("Europe/Warsaw")
    before = warsaw.bounds(HOUR, ms("2026-03-29T01:59:59+01:00"))
    after = warsaw.bounds(HOUR, before[1])
    assert [local("Europe/Warsaw", start_ms).hour for start_ms in (before[0], after[0])] == [1, 3]


@pytest.mark.parametrize(
    ("zone", "origin_ms"),
    [
        ("UTC", 0),
        ("Europe/Warsaw", 0),
        ("Asia/Kolkata", 1_800_000),
        ("America/St_Johns", 1_800_000),
        ("Australia/Eucla", 900_000),
        ("Pacific/Chatham", 900_000),
    ],
)
def test_hours_start_where_the_local_minute_is_0(zone: str, origin_ms: int) -> None:
    """Also where the offset is no whole number of hours; the origin puts panes on these edges."""
    calendar = Calendar(zone)
    assert calendar.origin_ms == origin_ms
    start_ms, end_ms = calendar.bounds(HOUR, ms("2026-06-01T12:10+00:00"))
    assert (local(zone, start_ms).minute, end_ms - start_ms) == (0, HOUR_MS)


def test_an_hour_of_kolkata_starts_at_half_past_in_utc() -> None:
    """12:10 UTC is 17:40 there."""
    start_ms, _ = Calendar("Asia/Kolkata").bounds(HOUR, ms("2026-06-01T12:10+00:00"))
    assert start_ms == ms("2026-06-01T17:00+05:30")


@pytest.mark.parametrize("zone", ZONES)
@given(time_ms=SPAN)
@settings(derandomize=True, deadline=None)
def test_calendar_windows_partition_time(zone: str, time_ms: int) -> None:
    """Every instant is in one window, windows meet without gap or overlap, and edges lie on the pane grid."""
    calendar = Calendar(zone)
    for window in (HOUR, DAY):
        start_ms, end_ms = calendar.bounds(window, time_ms)
        assert start_ms <= time_ms < end_ms
        assert calendar.bounds(window, start_ms) == calendar.bounds(window, end_ms - 1) == (start_ms, end_ms)
        assert calendar.bounds(window, end_ms)[0] == end_ms
        assert pane_start(start_ms, HOUR_MS, calendar.origin_ms) == start_ms


@pytest.mark.parametrize("zone", ZONES)
@given(time_ms=SPAN)
@settings(derandomize=True, deadline=None)
def test_a_day_starts_when_its_date_first_shows(zone: str, time_ms: int) -> None:
    """The second before has an earlier date, the start a later one, whatever the clocks do at midnight."""
    start_ms, end_ms = Calendar(zone).bounds(DAY, time_ms)
    assert local(zone, start_ms - 1000).date() < local(zone, start_ms).date()
    assert local(zone, end_ms - 1000).date() < local(zone, end_ms).date()


@pytest.mark.parametrize(
    ("zone", "noon", "start", "hours"),
    [
        ("America/Sao_Paulo", "2018-11-04T12:00-02:00", "2018-11-04T01:00-02:00", 23),  # midnight is skipped
        ("America/Sao_Paulo", "2018-02-17T12:00-02:00", "2018-02-17T00:00-02:00", 25),  # 23:00 comes again
        ("America/Havana", "2025-11-02T12:00-05:00", "2025-11-02T00:00-04:00", 25),  # midnight comes twice
        ("Pacific/Apia", "2011-12-29T12:00-10:00", "2011-12-29T00:00-10:00", 24),  # 30 December is skipped
        ("Pacific/Apia", "2011-12-31T12:00+14:00", "2011-12-31T00:00+14:00", 24),
        ("America/St_Johns", "2010-11-07T12:00-03:30", "2010-11-07T00:00-02:30", 25),  # 00:01 back to 23:01
        ("America/St_Johns", "1988-10-29T23:30-03:30", "1988-10-30T00:00-01:30", 26),  # two hours at 00:01
        (
            "America/St_Johns",
            "2010-11-06T23:30-03:30",
            "2010-11-07T00:00-02:30",
            25,
        ),  # the old date shows again
    ],
)
def test_midnights_that_are_skipped_or_repeated(zone: str, noon: str, start: str, hours: int) -> None:
    """A day starts at the first instant of its date and ends where the next one starts."""
    start_ms, end_ms = Calendar(zone).bounds(DAY, ms(noon))
    assert (start_ms, (end_ms - start_ms) / HOUR_MS) == (ms(start), hours)


@pytest.mark.parametrize("zone", ["Europe/Warsaw", "America/Havana", "Asia/Kolkata"])
def test_days_of_a_year_equal_a_walk_by_the_hour(zone: str) -> None:
    """The windows of 2026 against the dates that the clocks show, hour after hour."""
    calendar = Calendar(zone)
    first_ms = calendar.bounds(DAY, ms("2026-01-01T12:00+00:00"))[0]
    walked: dict[date, int] = {}
    for hour_ms in range(first_ms, first_ms + 365 * DAY_MS, HOUR_MS):
        walked[local(zone, hour_ms).date()] = walked.get(local(zone, hour_ms).date(), 0) + HOUR_MS
    found, start_ms = {}, first_ms
    for _ in range(365):
        start_ms, end_ms = calendar.bounds(DAY, start_ms)
        found[local(zone, start_ms).date()] = end_ms - start_ms
        start_ms = end_ms
    assert found == walked


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("year", [1, 1899, 1969, 1970, 2099, 2101, 9998, 9999])
def test_extreme_times_have_windows_on_the_grid(zone: str, year: int) -> None:
    """A row dated 9999-12-31 or 1899 stops nothing."""
    calendar = Calendar(zone)
    time_ms = int(
        (datetime(year, 12, 31, 23, 59, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC))
        / timedelta(milliseconds=1)
    )
    for window in (HOUR, DAY):
        start_ms, end_ms = calendar.bounds(window, time_ms)
        assert start_ms <= time_ms < end_ms
        assert pane_start(start_ms, HOUR_MS, calendar.origin_ms) == start_ms
        assert calendar.bounds(window, end_ms)[0] == end_ms


@pytest.mark.parametrize("zone", ["Asia/Singapore", "Asia/Kathmandu"])
def test_a_part_of_an_hour_before_2000_is_forgiven(zone: str) -> None:
    """Zones that have been regular since 2000 are taken; their days follow the offset that they have had since."""
    calendar = Calendar(zone)
    noon_ms = 1_772_366_400_000  # 2026-03-01T12:00:00Z
    start_ms, end_ms = calendar.bounds(CalendarWindow("1d"), noon_ms)
    local = datetime.fromtimestamp(start_ms // 1000, ZoneInfo(zone))
    assert (local.hour, local.minute, end_ms - start_ms) == (0, 0, 86_400_000)
    assert (start_ms - calendar.origin_ms) % 3_600_000 == 0


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "America/Caracas", "Asia/Pyongyang"])
def test_a_zone_that_shifts_by_part_of_an_hour_is_refused(zone: str) -> None:
    """Its hours would have no common grid; the message says when, and what to write."""
    with pytest.raises(
        DeclarationError, match=r"other than whole hours shortly before \d{4}-\d\d-\d\d"
    ) as caught:
        Calendar(zone)
    assert (caught.value.key, caught.value.value) == ("windows.timezone", zone)


@pytest.mark.parametrize(
    "zone",
    [
        "",
        "Warsaw",
        "Europe/Nowhere",
        "Europe",
        "../etc/passwd",
        "/etc/passwd",
        "a\x00b",
        "\ud800",
        "x" * 5000,
        None,
        1,
    ],
)
def test_an_unknown_zone_is_refused(zone: Any) -> None:
    """By one error, however odd the name."""
    with pytest.raises(DeclarationError, match="no such time zone"):
        Calendar(zone)


@pytest.mark.parametrize(
    ("name", "size_s", "pane_s"),
    [
        ("5s", 5, 5),
        ("5m", 300, 5),
        ("1h", 3600, 60),
        ("24h", 86_400, 300),
        ("7d", 604_800, 3600),
        ("400d", 34_560_000, 3600),
    ],
)
def test_a_live_window_is_a_sum_of_its_panes(name: str, size_s: int, pane_s: int) -> None:
    """Size and pane follow from the name."""
    assert live_window(name) == LiveWindow(name, size_s * 1000, pane_s * 1000)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("7s", '"10s"'),
        ("301s", '"360s"'),
        ("61m", '"3900s"'),
        ("1441m", '"90000s"'),
        ("4s", '"1h"'),
        ("0s", '"1h"'),
        ("401d", '"1h"'),
        ("hour", '"5m"'),
    ],
)
def test_a_live_window_without_a_meaning_is_refused(name: str, remedy: str) -> None:
    """Not a duration, too short, too long, or no multiple of its pane; the length proposed is accepted."""
    with pytest.raises(DeclarationError) as caught:
        live_window(name)
    assert caught.value.key == "windows.live"
    assert remedy in caught.value.remedy
    live_window(remedy.strip('"'))


def test_calendar_windows_are_hours_and_days() -> None:
    """And nothing else."""
    assert (calendar_window("1h"), calendar_window("1d")) == (HOUR, DAY)
    for name in ("24h", "1w", "", None):
        with pytest.raises(DeclarationError, match=r"windows\.calendar"):
            calendar_window(name)  # type: ignore[arg-type]
