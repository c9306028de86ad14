"""Planned maintenance: the times in which alerts are shown as muted. A rule's state is never changed by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 1_440


@dataclass(frozen=True, slots=True)
class Once:
    """The time [start_ms, end_ms)."""

    start_ms: int
    end_ms: int

    def holds(self, time_ms: int) -> bool:
        """Whether an instant, epoch milliseconds, lies in it."""
        return self.start_ms <= time_ms < self.end_ms


@dataclass(frozen=True, slots=True)
class Weekly:
    """A stretch of local time that comes back each week: [from, to), over midnight where ``to`` is not later.

    It goes by the clock on the wall: where that jumps over part of the stretch, the part is left out; where an hour
    comes twice, both are in it.

    Attributes:
        weekday: on which it begins, 0 is Monday; None is every day.
        from_minute: minutes after local midnight, 0 <= from_minute < 1,440.
        to_minute: likewise, up to 1,440 for the end of the day.
        timezone: IANA name.

    Example:
        >>> night = Weekly(6, 23 * 60, 2 * 60, "UTC")  # Sunday 23:00 to Monday 02:00
        >>> [night.holds(hour * 3_600_000) for hour in (94, 95, 97, 98)]  # 1970-01-04 was a Sunday
        [False, True, True, False]
    """

    weekday: int | None
    from_minute: int
    to_minute: int
    timezone: str

    def holds(self, time_ms: int) -> bool:
        """Whether an instant, epoch milliseconds, lies in it."""
        local = datetime.fromtimestamp(time_ms // 1000, ZoneInfo(self.timezone))
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.from_minute < self.to_minute:
            return self._begins(today) and self.from_minute <= minute < self.to_minute
        if minute >= self.from_minute:
            return self._begins(today)
        return minute < self.to_minute and self._begins((today - 1) % len(WEEKDAYS))

    def _begins(self, weekday: int) -> bool:
        return self.weekday is None or self.weekday == weekday


@dataclass(frozen=True, slots=True)
class Maintenance:
    """One maintenance window.

    Attributes:
        id: unique.
        when: once, or each week.
        rule, touchpoint: shell patterns, matched with case; None is all.
    """

    id: str
    when: Once | Weekly
    rule: str | None = None
    touchpoint: str | None = None

    def covers(self, rule_id: str, touchpoint: str, time_ms: int) -> bool:
        """Whether an alert is to be shown as muted at an instant.

        Args:
            rule_id: of the alert.
            touchpoint: of the alert.
            time_ms: epoch milliseconds.
        """
        if self.rule is not None and not fnmatchcase(rule_id, self.rule):
            return False
        if self.touchpoint is not None and not fnmatchcase(touchpoint, self.touchpoint):
            return False
        return self.when.holds(time_ms)
