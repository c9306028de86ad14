"""Cells of one row as the values of a record: texts, numbers, durations and times."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from agents.events import YEAR_2100_MS
from app.cells import Cell, TimeCell

Text = Callable[[list[str]], str | None]
Time = Callable[[list[str]], int | None]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_NUMBER: Final = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?([eE][+-]?\d+)?", re.ASCII)
_CLOCK: Final = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d\d)", re.ASCII)


class UnusableCell(Exception):  # noqa: N818 - control flow of reading one row; it becomes a dead letter
    """A cell from which no record can be made; carries the reason of the dead letter and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason)


def text_reader(cell: Cell, columns: Mapping[str, int], joint: str = " ") -> Text:
    """Reads a cell: the text without surrounding white space, or None where one of its columns is empty.

    Args:
        cell: where the text comes from.
        columns: index of each column of the file.
        joint: put between several columns.
    """
    if cell.constant is not None:
        constant = cell.constant
        return lambda _: constant
    at = [columns[column] for column in cell.columns]
    first, prefix, renamed = at[0], cell.prefix, cell.map
    if len(at) == 1 and not prefix and not renamed:
        return lambda cells: cells[first].strip() or None

    def read(cells: list[str]) -> str | None:
        parts = [cells[index].strip() for index in at]
        if not all(parts):
            return None
        joined = joint.join(parts)
        return prefix + renamed.get(joined, joined)

    return read


def time_reader(cell: TimeCell, columns: Mapping[str, int], *, required: bool) -> Time:
    """Reads a time as milliseconds since 1970, UTC.

    A local time that a clock change repeats is its first instant; one that it skips is taken with the offset
    that was in force before.

    Args:
        cell: where the time comes from.
        columns: index of each column of the file.
        required: an empty cell is a missing_field; otherwise it is None.
    """
    read_text = text_reader(Cell(cell.columns), columns)
    known: tuple[str | None, int | None] = (None, None)  # the tables of one row mostly share its time

    def read(cells: list[str]) -> int | None:
        nonlocal known
        text = read_text(cells)
        if text is None:
            if required:
                raise UnusableCell(
                    "missing_field", f"{' and '.join(cell.columns)}: a cell of the time is empty"
                )
            return None
        if text != known[0]:
            known = (text, _instant_ms(text, cell))
        return known[1]

    return read


def _instant_ms(text: str, cell: TimeCell) -> int:
    try:
        form = cell.format
        # The zone is set below, where the time has none
        moment = datetime.fromisoformat(text) if form is None else datetime.strptime(text, form)  # noqa: DTZ007
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=cell.zone)
        time_ms = (moment - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        raise UnusableCell(
            "bad_time", f"{' and '.join(cell.columns)}: not a time of the declared format"
        ) from None
    if not 0 <= time_ms < YEAR_2100_MS:
        raise UnusableCell("bad_time", f"{' and '.join(cell.columns)}: not between the years 1970 and 2100")
    return time_ms


def number_or_text(text: str) -> orjson.Fragment | str:
    """A decimal number as JSON writes it, digit by digit; any other text as it is.

    No float is made of it, so that what is off a scale, or too large for a number, is judged where all records
    are.

    Example:
        >>> [orjson.dumps(number_or_text(text)).decode() for text in ("5", "+05", "5.0", ".5", "1e400", "five")]
        ['5', '5', '5.0', '0.5', '1e400', '"five"']
    """
    found = _NUMBER.fullmatch(text)
    if found is None or not (found[2] or found[3]):
        return text
    sign, whole, part, power = found.groups()
    digits = ("-" if sign == "-" else "") + (whole.lstrip("0") or "0")
    return orjson.Fragment(digits + (f".{part}" if part else "") + (power or ""))


def seconds_or_text(text: str) -> orjson.Fragment | str | int:
    """A number of seconds, or ``H:MM:SS`` or ``M:SS`` as seconds; any other text as it is.

    Example:
        >>> seconds_or_text("0:02:23"), seconds_or_text("soon")
        (143, 'soon')
    """
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        return number_or_text(text)
    return int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + int(clock[3])
