"""Windows: live ones that slide with the events, and calendar ones that follow a time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from scoring.errors import DeclarationError
from scoring.panes import DAY_MS, HOUR_MS, PANE_WIDTHS, pane_start, pane_width, parse_duration_ms

LIVE_MS_MAX = 400 * DAY_MS
CALENDAR_NAMES = ("1h", "1d")

_CHECKED_FROM_MS = 0
_WORKERS_FROM_MS = 946_684_800_000  # 2000-01-01T00:00:00Z: workers take no older event, only replay does
_CHECKED_TO_MS = 4_102_444_800_000  # 2100-01-01T00:00:00Z
_LAST_MS = 253_370_764_800_000  # 9999-01-01T00:00:00Z: a day beyond it may have no datetime for its end
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LiveWindow:
    """A window that ends with the pane of the newest event; made by ``live_window``.

    Attributes:
        name: as declared, such as ``5m``.
        size_ms: its length, a multiple of pane_ms.
        pane_ms: width of the panes that it is the sum of.
    """

    name: str
    size_ms: int
    pane_ms: int


@dataclass(frozen=True, slots=True)
class CalendarWindow:
    """A window between two edges of the local calendar: ``1h`` or ``1d``; made by ``calendar_window``."""

    name: str


def live_window(name: str) -> LiveWindow:
    """The live window of a declared length.

    Raises:
        DeclarationError: not a duration, not between 5 s and 400 d, or not a multiple of its pane.

    Example:
        >>> live_window("1h")
        LiveWindow(name='1h', size_ms=3600000, pane_ms=60000)
    """
    size_ms = parse_duration_ms(name, "windows.live")
    if not PANE_WIDTHS[0] <= size_ms <= LIVE_MS_MAX:
        raise DeclarationError("windows.live", name, "not between 5s and 400d", 'Write a length such as "1h"')
    pane_ms = pane_width(size_ms)
    if size_ms % pane_ms:
        raise DeclarationError(
            "windows.live",
            name,
            f"a window of this length is a sum of panes of {pane_ms // 1000} s, this is no multiple",
            f'Write "{(size_ms // pane_ms + 1) * pane_ms // 1000}s", for example',
        )
    return LiveWindow(name, size_ms, pane_ms)


def calendar_window(name: str) -> CalendarWindow:
    """The calendar window of a declared name.

    Raises:
        DeclarationError: neither ``1h`` nor ``1d``.
    """
    if name not in CALENDAR_NAMES:
        raise DeclarationError("windows.calendar", name, "no such calendar window", 'Write "1h" or "1d"')
    return CalendarWindow(name)


class Calendar:
    """Edges of local hours and days, as instants.

    An hour starts at each instant whose local minute is 0, so the repeated hour of a clock change is two
    windows; a day starts at the first instant of its date and is as long as the zone makes it. Every edge of
    either falls on the grid of hours with origin ``origin_ms``, so no pane straddles one. Before 1970 and after
    9998 the offset at the nearer end of these years is used throughout.

    Args:
        timezone: IANA name.

    Attributes:
        timezone: as given.
        origin_ms: where in a UTC hour the local hours start, 0 <= origin_ms < 3,600,000.

    Raises:
        DeclarationError: no such zone, or one that shifts by other than whole hours after 2000.

    Example:
        >>> warsaw = Calendar("Europe/Warsaw")
        >>> start_ms, end_ms = warsaw.bounds(CalendarWindow("1d"), 1_774_742_400_000)  # 2026-03-29
        >>> (end_ms - start_ms) / 3_600_000
        23.0
    """

    __slots__ = ("origin_ms", "timezone")

    def __init__(self, timezone: str) -> None:
        self.timezone = timezone
        self.origin_ms, _ = _grid(timezone)

    def bounds(self, window: CalendarWindow, time_ms: int) -> tuple[int, int]:
        """The window [start_ms, end_ms) of this kind that holds an instant."""
        hour_ms = pane_start(time_ms, HOUR_MS, self.origin_ms)
        if window.name == "1h":
            return hour_ms, hour_ms + HOUR_MS
        return _day_bounds(self.timezone, hour_ms)


@lru_cache(maxsize=64)
def _grid(timezone: str) -> tuple[int, int]:
    """(origin of a zone's hours, from when on its clocks shift by whole hours only); a zone without one is refused."""
    zone = _zone(timezone)
    odd_ms = _odd_shift_ms(zone, _CHECKED_FROM_MS)
    from_ms = _CHECKED_FROM_MS
    if odd_ms is not None:
        from_ms = _WORKERS_FROM_MS
        odd_ms = _odd_shift_ms(zone, from_ms)
    if odd_ms is not None:
        day = _EPOCH + timedelta(milliseconds=odd_ms)
        raise DeclarationError(
            "windows.timezone",
            timezone,
            f"the zone shifts by other than whole hours shortly before {day:%Y-%m-%d}, "
            "so its hours have no common grid",
            'Write a zone that does not, or a fixed one: "UTC", or "Etc/GMT-8" for UTC+8',
        )
    return -_offset_s(zone, from_ms) * 1000 % HOUR_MS, from_ms


def _odd_shift_ms(zone: ZoneInfo, from_ms: int) -> int | None:
    """A day after which the zone's offset is not whole hours away from the one at ``from_ms``, or None."""
    first_s = _offset_s(zone, from_ms)
    for time_ms in range(from_ms, _CHECKED_TO_MS, DAY_MS):
        if (_offset_s(zone, time_ms) - first_s) % 3600:
            return time_ms
    return None


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (LookupError, ValueError, OSError, TypeError, AttributeError):
        # zoneinfo answers a bad name with any of these, by what the name does to its search path.
        raise DeclarationError(
            "windows.timezone", timezone, "no such time zone", 'Write an IANA name, such as "Europe/Warsaw"'
        ) from None


def _offset_s(zone: ZoneInfo, time_ms: int) -> int:
    offset = datetime.fromtimestamp(time_ms // 1000, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


@lru_cache(maxsize=4096)
def _day_bounds(timezone: str, hour_ms: int) -> tuple[int, int]:
    """The local day that holds a local hour; cached by hour, since thousands of events share one."""
    zone = ZoneInfo(timezone)
    nearest_ms = min(max(hour_ms, _grid(timezone)[1]), _LAST_MS)
    if nearest_ms != hour_ms:
        start_ms = pane_start(hour_ms, DAY_MS, -_offset_s(zone, nearest_ms) * 1000)
        return start_ms, start_ms + DAY_MS
    day = datetime.fromtimestamp(hour_ms // 1000, zone).date()
    start_ms, end_ms = _day_start_ms(zone, day), _day_start_ms(zone, day + timedelta(days=1))
    if hour_ms >= end_ms:
        # Clocks that go back across midnight show the old date again; the new day has begun by then.
        start_ms, end_ms = end_ms, _day_start_ms(zone, day + timedelta(days=2))
    return start_ms, end_ms


def _day_start_ms(zone: ZoneInfo, day: date) -> int:
    """The first instant whose local date is this day or, where the calendar skips the day, a later one.

    Fold 0 is the first of two midnights. Of a skipped midnight it is the clock change itself, since no zone has
    skipped one since 1970 by a change that began before it.
    """
    return int(datetime.combine(day, time(), zone).timestamp()) * 1000
