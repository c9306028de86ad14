"""Panes: the smallest unit of time that is tallied; every window is a sum of them."""

from __future__ import annotations

import re

from scoring.errors import DeclarationError

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000

PANE_WIDTHS = (5 * SECOND_MS, MINUTE_MS, 5 * MINUTE_MS, HOUR_MS)

_UNITS_MS = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")


def pane_start(time_ms: int, width_ms: int, origin_ms: int = 0) -> int:
    """Start of the pane [start, start + width) that holds an instant; before 1970 too.

    Args:
        time_ms: the instant.
        width_ms: the pane's width.
        origin_ms: any edge of the grid; the calendar's ``origin_ms`` lets hour panes be local hours.

    Example:
        >>> pane_start(12_345, 5_000), pane_start(-1, 5_000), pane_start(5_400_000, 3_600_000, 1_800_000)
        (10000, -5000, 5400000)
    """
    return time_ms - (time_ms - origin_ms) % width_ms


def pane_width(window_ms: int) -> int:
    """Width of the panes of a live window: 5 s up to 5 m, 1 m up to 1 h, 5 m up to 24 h, 1 h beyond.

    Example:
        >>> [pane_width(size) for size in (300_000, 3_600_000, 86_400_000, 604_800_000)]
        [5000, 60000, 300000, 3600000]
    """
    fine, minute, five, hour = PANE_WIDTHS
    if window_ms <= 5 * MINUTE_MS:
        return fine
    if window_ms <= HOUR_MS:
        return minute
    return five if window_ms <= DAY_MS else hour


def parse_duration_ms(text: str, key: str = "duration") -> int:
    """Milliseconds of a duration written as a whole number and one of s, m, h, d.

    Args:
        text: such as ``30s``, ``5m``, ``24h`` or ``7d``.
        key: where it is declared, for the error.

    Raises:
        DeclarationError: anything else.

    Example:
        >>> parse_duration_ms("5m"), parse_duration_ms("7d")
        (300000, 604800000)
    """
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise DeclarationError(
            key, text, "not a duration", 'Write a whole number and s, m, h or d, such as "5m"'
        )
    return int(found[1]) * _UNITS_MS[found[2]]
