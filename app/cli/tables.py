"""Tables on a terminal, and how durations are written in them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

NONE = "-"
_DURATIONS_MS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))


def duration(milliseconds: int) -> str:
    """A duration in the largest unit that divides it.

    Example:
        >>> duration(172_800_000), duration(90_000), duration(0)
        ('2d', '90s', '0s')
    """
    for unit, size_ms in _DURATIONS_MS:
        if milliseconds and milliseconds % size_ms == 0:
            return f"{milliseconds // size_ms}{unit}"
    return f"{milliseconds // 1000}s"


def table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    """A table of plain texts; long ones are folded, never cut.

    Args:
        title: above it.
        columns: their names.
        rows: their cells, as many as there are columns.
    """
    made = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        # Text, since a name in brackets would be taken for markup
        made.add_row(*(Text(cell) for cell in row))
    return made
