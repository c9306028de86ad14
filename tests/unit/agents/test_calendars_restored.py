"""Calendar windows after a restart: what was closed is not looked at again until it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.calendars import CalendarWindows, Revision
from agents.panes import series_code
from scoring.catalog import Catalog
from scoring.windows import calendar_window
from tests.unit.agents.streams import HOUR_MS, NOW_MS, SECOND_MS, catalog

CODE = series_code("effort", "", ())
START_MS = NOW_MS // HOUR_MS * HOUR_MS
END_MS = START_MS + HOUR_MS
ONE = [1, 0, 0, 0, 0, 0, 0, 0]
DECLARED = catalog(calendar=(calendar_window("1h"),), segments=())


def restored(declared: Catalog, published: list[Revision]) -> CalendarWindows:
    """The windows of a new process: from what was stored, and from the panes."""
    made = CalendarWindows(declared)
    for revision in published:
        out = CalendarWindows.stored(revision)
        made.restore(out.key or b"", out.value)
    made.add("cart", CODE, START_MS, ONE)
    made.resume()
    return made


@pytest.fixture
def closed() -> list[Revision]:
    """One window with one answer, as it was closed."""
    windows = CalendarWindows(DECLARED)
    windows.add("cart", CODE, START_MS, ONE)
    return list(windows.close(END_MS + DECLARED.timing.grace_ms))


def test_a_window_that_was_closed_before_the_restart_is_revised_when_it_changes(
    closed: list[Revision],
) -> None:
    """Revision 0 is not said again; a late answer gives revision 1."""
    windows = restored(DECLARED, closed)
    assert windows._open == []
    assert list(windows.close(END_MS + HOUR_MS)) == []
    windows.add("cart", CODE, START_MS, ONE)
    (revision,) = windows.close(END_MS + HOUR_MS)
    assert (revision.revision, revision.vector[0]) == (1, 2)


def test_a_change_waits_for_a_grace_that_was_made_longer_and_is_not_forgotten(closed: list[Revision]) -> None:
    """The window was closed under the old one; under the new one it is open for some time more."""
    longer = replace(DECLARED, timing=replace(DECLARED.timing, grace_ms=HOUR_MS))
    windows = restored(longer, closed)
    windows.add("cart", CODE, START_MS, ONE)
    assert list(windows.close(END_MS + HOUR_MS - SECOND_MS)) == []
    (revision,) = windows.close(END_MS + HOUR_MS)
    assert (revision.revision, revision.vector[0]) == (1, 2)
