"""From the tables [[maintenance]] to maintenance windows."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from app.config_alerts import read_id
from app.config_problems import nearest
from scoring.alerts.maintenance import DAY_MINUTES, WEEKDAYS, Maintenance, Once, Weekly

if TYPE_CHECKING:
    from collections.abc import Collection

    from app.config_tables import Table

DAILY = "daily"
START_EXAMPLE, END_EXAMPLE = "2026-11-27T22:00:00+01:00", "2026-11-28T02:00:00+01:00"
_ONCE, _WEEKLY = ("start", "end"), ("weekday", "from", "to")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")


def read_maintenance(
    root: Table, timezone: str, rules: Collection[str] | None, touchpoints: Collection[str] | None
) -> tuple[Maintenance, ...]:
    """Every maintenance window of a file; what is wrong is noted, and such a window is left out.

    Args:
        root: the file.
        timezone: IANA name that weekly windows follow.
        rules: ids that a pattern must match; None where they are wrong themselves.
        touchpoints: names that a pattern must match; None where others are accepted.
    """
    out: list[Maintenance] = []
    seen: set[str] = set()
    for table in root.array("maintenance", "[[maintenance]]"):
        before = len(table.problems)
        name = read_id(table, seen, "sunday-release")
        rule = _pattern(table, "rule", rules)
        touchpoint = _pattern(table, "touchpoint", touchpoints)
        when = _when(table, timezone)
        table.finish()
        if when is not None and len(table.problems) == before:
            out.append(Maintenance(name, when, rule, touchpoint))
    return tuple(out)


def _pattern(table: Table, key: str, known: Collection[str] | None) -> str | None:
    found = table.text(key, None)
    if found is not None and known is not None and not any(fnmatchcase(name, found) for name in known):
        remedy = nearest(found, known) if known else "Remove it, or declare one"
        table.note(key, f"matches no declared {key}", remedy, found)
    return found


def _when(table: Table, timezone: str) -> Once | Weekly | None:
    if not any(key in table for key in _WEEKLY):
        for key in _WEEKLY:
            table.known(key)
        return _once(table)
    for key in _ONCE:
        table.refuse(key, "does not go with weekday, from and to", "Keep one of the two ways to give a time")
    return _weekly(table, timezone)


def _once(table: Table) -> Once | None:
    start_ms = table.instant_ms("start", START_EXAMPLE)
    end_ms = table.instant_ms("end", END_EXAMPLE)
    if start_ms is None or end_ms is None:
        return None
    if end_ms <= start_ms:
        table.note("end", "is not after start", "Write a later time", str(table.content["end"]))
    return Once(start_ms, end_ms)


def _weekly(table: Table, timezone: str) -> Weekly | None:
    table.missing("weekday", 'weekday = "sun", or "daily"')
    table.missing("from", 'from = "02:00"')
    table.missing("to", 'to = "04:00"')
    weekday = table.choice("weekday", (*WEEKDAYS, DAILY), None)
    begins, ends = _minute(table, "from"), _minute(table, "to")
    if begins == DAY_MINUTES:
        table.note("from", "a day begins at 00:00", 'Write from = "00:00"', "24:00")
    if weekday is None or begins is None or ends is None:
        return None
    if begins == ends:
        remedy = 'Write a later time, or "24:00" for the end of the day'
        table.note("to", "is the same as from", remedy, table.content["to"])
    return Weekly(None if weekday == DAILY else WEEKDAYS.index(weekday), begins, ends, timezone)


def _minute(table: Table, key: str) -> int | None:
    text = table.text(key, None)
    if text is None:
        return None
    found = _CLOCK.fullmatch(text)
    if found is None:
        table.note(key, "is not a time of day", 'Write hours and minutes, such as "02:00"', text)
        return None
    return DAY_MINUTES if found[1] is None else 60 * int(found[1]) + int(found[2])
