"""Calendar windows: closed at end + grace, revised without gaps, and the same after a restart."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from agents.calendars import CalendarWindows, Revision
from agents.panes import series_code
from agents.ports import Out
from scoring.catalog import Catalog
from scoring.windows import calendar_window
from tests.unit.agents.streams import CATALOG, DAY_MS, HOUR_MS, catalog

HOURS = catalog(calendar=(calendar_window("1h"),))
DAYS = catalog(calendar=(calendar_window("1d"),))
EASE, LINKED = series_code("effort", "", ()), [0, 0, 0, 0, 1, 0, 0, 1]
ONE = [0, 0, 0, 0, 1, 0, 0, 0]
TWO = [1, 0, 0, 0, 0, 0, 0, 0]
GONE = [0, 0, 0, 0, -1, 0, 0, 0]
CONTACTS = series_code("", "", ())
CONTACT = [1] + [0] * 12
GRACE_MS = CATALOG.timing.grace_ms
CLOSED_MS = HOUR_MS + GRACE_MS


def said(windows: CalendarWindows, watermark_ms: int | None) -> list[tuple[int, int, int]]:
    """(start, revision, answers) of what is published now."""
    return [(each.start_ms, each.revision, sum(each.vector[:-1])) for each in windows.close(watermark_ms)]


def reborn(
    windows: CalendarWindows, stored: Iterable[Out], tallies: Iterable[tuple[int, list[int]]]
) -> CalendarWindows:
    """The same windows in a new process: made from the stored revisions and the panes."""
    made = CalendarWindows(windows.catalog)
    for out in stored:
        made.restore(out.key or b"", out.value)
    made.frozen_ms = windows.frozen_ms
    for time_ms, vector in tallies:
        made.add("cart", EASE, time_ms, vector)
    made.resume()
    return made


def test_a_window_closes_once_at_its_end_plus_grace() -> None:
    """Not a moment earlier, as revision 0, and never without a watermark."""
    windows = CalendarWindows(HOURS)
    windows.add("cart", EASE, 0, ONE)
    windows.add("cart", EASE, HOUR_MS - 1, ONE)
    assert said(windows, None) == []
    assert said(windows, CLOSED_MS - 1) == []
    assert said(windows, CLOSED_MS) == [(0, 0, 2)]
    assert said(windows, CLOSED_MS) == []


def test_what_comes_late_is_the_next_revision() -> None:
    """Each change is one, without gaps."""
    windows = CalendarWindows(HOURS)
    windows.add("cart", EASE, 0, ONE)
    assert said(windows, CLOSED_MS) == [(0, 0, 1)]
    for revision in range(1, 5):
        windows.add("cart", EASE, 5_000 * revision, TWO)
        assert said(windows, CLOSED_MS) == [(0, revision, revision + 1)]


def test_an_equal_tally_is_not_published_again() -> None:
    """An answer that comes and goes between two checkpoints, or a change that undoes itself."""
    windows = CalendarWindows(HOURS)
    windows.add("cart", EASE, 0, ONE)
    said(windows, CLOSED_MS)
    windows.add("cart", EASE, 0, ONE)
    windows.add("cart", EASE, 0, GONE)
    assert said(windows, CLOSED_MS + DAY_MS) == []


def test_a_window_that_was_empty_when_it_closed_is_published_with_its_first_answer() -> None:
    """As revision 0, however late; one that only ever held a withdrawn answer is not published at all."""
    windows = CalendarWindows(HOURS)
    windows.add("cart", EASE, 0, ONE)
    windows.add("cart", EASE, 0, GONE)
    assert said(windows, CLOSED_MS) == []
    windows.add("cart", EASE, 0, ONE)
    windows.add("cart", EASE, HOUR_MS * 5, ONE)
    assert said(windows, DAY_MS) == [(0, 0, 1), (HOUR_MS * 5, 0, 1)]


def test_a_withdrawal_brings_a_closed_window_down_to_nothing() -> None:
    """A revision with n = 0, not silence."""
    windows = CalendarWindows(HOURS)
    windows.add("cart", EASE, 0, ONE)
    said(windows, CLOSED_MS)
    windows.add("cart", EASE, 0, GONE)
    assert said(windows, CLOSED_MS) == [(0, 1, 0)]
    windows.add("cart", EASE, 0, ONE)
    assert said(windows, CLOSED_MS) == [(0, 2, 1)]


def test_late_interactions_revise_the_questions_beside_them() -> None:
    """The response rate has changed; interactions alone are no window."""
    windows = CalendarWindows(HOURS)
    windows.add("cart", CONTACTS, 0, CONTACT)
    windows.add("search", CONTACTS, 0, CONTACT)
    windows.add("cart", EASE, 0, LINKED)
    first = list(windows.close(CLOSED_MS))
    assert [(each.touchpoint, each.interactions, each.vector) for each in first] == [
        ("cart", 1, tuple(LINKED))
    ]
    windows.add("cart", CONTACTS, 5_000, CONTACT)
    again = list(windows.close(CLOSED_MS))
    assert [(each.revision, each.interactions, each.code) for each in again] == [(1, 2, EASE)]


def test_a_link_without_interactions_says_nothing() -> None:
    """There is no response rate that it could change."""
    windows = CalendarWindows(HOURS)
    windows.add("cart", EASE, 0, ONE)
    assert len(list(windows.close(CLOSED_MS))) == 1
    windows.add("cart", EASE, 0, [0] * 7 + [1])
    assert list(windows.close(CLOSED_MS)) == []


def stored_of(revisions: Iterable[Revision]) -> list[Out]:
    """Their changelog records."""
    return [CalendarWindows.stored(each) for each in revisions]


def test_a_restart_keeps_the_revisions_and_publishes_nothing_again() -> None:
    """What was said stands; the next change goes on counting."""
    windows = CalendarWindows(HOURS)
    windows.add("cart", EASE, 0, ONE)
    stored = stored_of(windows.close(CLOSED_MS))
    windows.add("cart", EASE, 5_000, ONE)
    stored += stored_of(windows.close(CLOSED_MS))
    windows.add("cart", EASE, HOUR_MS, ONE)
    made = reborn(windows, stored, [(0, ONE), (5_000, ONE), (HOUR_MS, ONE)])
    assert said(made, CLOSED_MS) == []
    made.add("cart", EASE, 10_000, TWO)
    assert said(made, CLOSED_MS) == [(0, 2, 3)]
    assert said(made, CLOSED_MS + HOUR_MS) == [(HOUR_MS, 0, 1)]


def test_windows_that_no_source_can_change_are_let_go() -> None:
    """With a tombstone for those that were published; what comes for them is counted, and changes nothing."""
    windows = CalendarWindows(HOURS)
    windows.add("cart", EASE, 0, ONE)
    windows.add("cart", EASE, DAY_MS, ONE)
    stored = stored_of(windows.close(DAY_MS))
    assert windows.drain_gone() == []
    windows.freeze(DAY_MS)
    gone = windows.drain_gone()
    assert [(out.key, out.value) for out in gone] == [(stored[0].key, None)]
    assert windows.drain_gone() == []
    windows.add("cart", EASE, 5_000, ONE)
    assert windows.beyond_retention == 1
    assert [key[3] for key in windows.sums] == [DAY_MS]
    windows.freeze(HOUR_MS)
    assert windows.frozen_ms == DAY_MS


def test_a_window_that_was_let_go_does_not_come_back_with_a_restart() -> None:
    """Though panes of it are still stored: its revision 0 would be a second one with another content."""
    windows = CalendarWindows(DAYS)
    windows.add("cart", EASE, 0, ONE)
    stored = stored_of(windows.close(2 * DAY_MS))
    windows.freeze(DAY_MS)
    made = reborn(windows, [*stored, *windows.drain_gone()], [(23 * HOUR_MS, TWO)])
    assert said(made, 5 * DAY_MS) == []
    assert made.beyond_retention == 0


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-29", 23), ("2026-10-25", 25), ("2026-03-28", 24)],
    ids=["spring", "autumn", "plain"],
)
def test_a_day_is_as_long_as_the_zone_makes_it(day: str, hours: int) -> None:
    """23, 24 or 25 hours, each of them a window of its own."""
    declared: Catalog = catalog(timezone="Europe/Warsaw")
    start_ms = int(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Warsaw")).timestamp()) * 1000
    windows = CalendarWindows(declared)
    for hour in range(hours + 1):
        windows.add("cart", EASE, start_ms + hour * HOUR_MS, ONE)
    found = [
        each for each in windows.close(start_ms + 2 * DAY_MS) if each.start_ms < start_ms + hours * HOUR_MS
    ]
    days = [each for each in found if each.window == "1d"]
    assert [(each.start_ms, each.end_ms, sum(each.vector)) for each in days] == [
        (start_ms, start_ms + hours * HOUR_MS, hours)
    ]
    assert len([each for each in found if each.window == "1h"]) == hours
