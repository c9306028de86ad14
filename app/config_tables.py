"""Typed reading of TOML tables: every mismatch is noted with its key and the reading goes on."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, TypeVar

from app.config_problems import ABSENT, Problem, dotted, nearest
from scoring.errors import DeclarationError
from scoring.panes import parse_duration_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

LABEL_BYTES_MAX = 128
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
TOP_LEVEL_FLAGS = ("strict", "max_undeclared", "privacy_floor", "confidence")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Default = TypeVar("_Default")
_Checked = TypeVar("_Checked")


def label_problem(text: str, bytes_max: int = LABEL_BYTES_MAX) -> str | None:
    """Why a name could never equal one that arrives in an event (those are trimmed and bounded), or None.

    Example:
        >>> label_problem("call centre") is None
        True
        >>> label_problem(" web")
        'has white space at an end, which is cut off the names in events'
    """
    if not text.strip():
        return "is empty"
    if text != text.strip():
        return "has white space at an end, which is cut off the names in events"
    if _CONTROL.search(text):
        return "has a control character"
    if len(text.encode()) > bytes_max:
        return f"is longer than {bytes_max} bytes"
    return None


class Table:
    """One TOML table being read.

    Each method reads one key: it returns the value, or the default where the key is missing or its value has
    been noted as a problem. ``finish`` notes the keys that nothing has read.

    Args:
        source: the file's name, for messages.
        content: the table.
        problems: where problems are noted, in order; shared by all tables of a file.
        path: the keys that lead to the table.
    """

    def __init__(
        self, source: str, content: Mapping[str, Any], problems: list[Problem], path: tuple[str, ...] = ()
    ) -> None:
        self.source, self.content, self.problems, self.path = source, content, problems, path
        self._known: list[str] = []

    def note(self, key: str | tuple[str, ...], problem: str, remedy: str, value: object = ABSENT) -> None:
        """Notes a problem of a key, or of a path of keys; the empty path means the table itself."""
        keys = (key,) if isinstance(key, str) else key
        self.problems.append(Problem(self.source, dotted((*self.path, *keys)), value, problem, remedy))

    def __contains__(self, key: str) -> bool:
        """Whether the file has the key, right or wrong."""
        return key in self.content

    def declared(
        self, build: Callable[[], _Checked], key: str | None = None, prefix: str = ""
    ) -> _Checked | None:
        """What ``build`` makes; None where the domain refuses it, which is noted.

        Args:
            build: makes the value.
            key: noted as the culprit; without it the domain's own key is, less the prefix.
            prefix: what leads to this table in the domain's keys.
        """
        try:
            return build()
        except DeclarationError as error:
            own = tuple(error.key.removeprefix(prefix).split("."))
            self.note(own if key is None else key, error.problem, error.remedy, error.value)
            return None

    def missing(self, key: str, example: str) -> None:
        """Notes the key as missing, unless the file has it."""
        if key not in self.content:
            self.note(key, "is missing", f"Write {example}")

    def known(self, key: str) -> None:
        """Lets a key pass unread."""
        self._known.append(key)

    def refuse(self, key: str, problem: str, remedy: str) -> None:
        """Notes the key if the file has it: it is known, and not to be used."""
        self._known.append(key)
        if key in self.content:
            self.note(key, problem, remedy, self.content[key])

    def _typed(
        self, key: str, default: _Default, kinds: type | tuple[type, ...], wanted: str
    ) -> Any | _Default:
        self._known.append(key)
        if key not in self.content:
            return default
        value = self.content[key]
        # bool is an int to Python, but true is no number to whoever wrote the file
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            self.note(key, f"must be {wanted}", f"Write {key} = {wanted}", value)
            return default
        return value

    def text(self, key: str, default: _Default, bytes_max: int = LABEL_BYTES_MAX) -> str | _Default:
        """A text that can be a name: trimmed, of at most so many bytes, without control characters."""
        value = self._typed(key, default, str, 'a text in quotes, such as "..."')
        if isinstance(value, str) and value is not default and (problem := label_problem(value, bytes_max)):
            self.note(key, problem, "Correct the text", value)
            return default
        return value

    def choice(self, key: str, choices: Iterable[str], default: _Default) -> str | _Default:
        """One of the choices."""
        wanted = " or ".join(f'"{choice}"' for choice in choices)
        value = self._typed(key, default, str, wanted)
        if isinstance(value, str) and value is not default and value not in choices:
            self.note(key, f"is not {wanted}", nearest(value, choices), value)
            return default
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """A boolean."""
        return bool(self._typed(key, default, bool, "true or false"))

    def whole(self, key: str, default: int, minimum: int) -> int:
        """A whole number of at least the minimum."""
        value = self._typed(key, default, int, f"a whole number of {minimum} or more")
        if value < minimum:
            self.note(key, f"must be {minimum} or more", "Raise it or leave it out", value)
            return default
        return int(value)

    def whole_or_none(self, key: str, example: str) -> int | None:
        """A whole number that has no default; its absence is noted."""
        self.missing(key, example)
        value: int | None = self._typed(key, None, int, "a whole number")
        return value

    def level(self, key: str, default: float) -> float:
        """A confidence level, strictly between 0 and 1."""
        value = self._typed(key, default, (int, float), "a number between 0 and 1, such as 0.95")
        if not 0 < value < 1:
            self.note(key, "must lie between 0 and 1", "Write 0.95 for 95 %", value)
            return default
        return float(value)

    def number(self, key: str, default: _Default, low: float = -inf, high: float = inf) -> float | _Default:
        """A number from ``low`` to ``high``, both included."""
        value: Any = self._typed(key, None, (int, float), "a number")
        if value is None:
            return default
        if not isfinite(value) or not low <= value <= high:
            finite = "a finite number" if low == -inf else f"{low:g} or more"
            wanted = finite if high == inf else f"a number from {low:g} to {high:g}"
            self.note(key, f"must be {wanted}", "Correct the number", value)
            return default
        return float(value)

    def instant_ms(self, key: str, example: str) -> int | None:
        """A point in time, in epoch milliseconds; it has no default, and its absence is noted."""
        self.missing(key, f"{key} = {example}")
        value: datetime | None = self._typed(
            key, None, datetime, f"a date and time with its offset, such as {example}"
        )
        if value is None:
            return None
        if value.tzinfo is None:
            # Read as the time of the machine, the file would mean something else elsewhere
            self.note(key, "has no offset from UTC", f"Write {example}", value.isoformat())
            return None
        return (value - _EPOCH) // timedelta(milliseconds=1)

    def duration_ms(self, key: str, default_ms: int, *, zero: bool) -> int:
        """A duration such as ``"60s"`` in milliseconds; ``"0s"`` only where zero has a meaning."""
        text = self._typed(key, None, str, 'a duration in quotes, such as "60s", "5m", "48h" or "7d"')
        value = None if text is None else self.declared(lambda: parse_duration_ms(text), key)
        if value == 0 and not zero:
            self.note(key, "must be longer than 0", "Raise it or leave it out", text)
            return default_ms
        return default_ms if value is None else value

    def texts(self, key: str, default: Iterable[str], example: str) -> list[str]:
        """A list of different names."""
        out: list[str] = []
        for value in self._typed(key, list(default), list, f"a list of texts, such as {example}"):
            problem = label_problem(value) if isinstance(value, str) else "is not a text"
            if problem is None and value in out:
                problem = "is listed twice"
            if problem is None:
                out.append(value)
            else:
                self.note(key, f"an entry {problem}", f"Write {key} = {example}", value)
        return out

    def numbers(self, key: str, kinds: type | tuple[type, ...], example: str) -> list[Any] | None:
        """A list of numbers, or None where it is left out."""
        values = self._typed(key, None, list, f"a list of numbers, such as {example}")
        if values is None:
            return None
        if any(isinstance(value, bool) or not isinstance(value, kinds) for value in values):
            self.note(key, "holds an entry of another kind", f"Write {key} = {example}", values)
            return None
        return list(values)

    def table(self, key: str) -> Table:
        """The table under the key; an empty one where it is missing or no table."""
        content: dict[str, Any] = self._typed(key, {}, dict, "a table")
        return Table(self.source, content, self.problems, (*self.path, key))

    def array(self, key: str, example: str) -> Iterator[Table]:
        """Every table of an array of tables, each under its id in messages, else under its number from 1."""
        entries: list[Any] = self._typed(key, [], list, f"tables, each under {example}")
        for number, content in enumerate(entries, 1):
            if not isinstance(content, dict):
                self.note(key, f"its entry {number} is not a table", f"Write {example}", content)
                continue
            name = content.get("id")
            place = name if isinstance(name, str) and name else str(number)
            yield Table(self.source, content, self.problems, (*self.path, key, place))

    def tables(self, what: str) -> Iterator[tuple[str, Table]]:
        """Every entry as (name, table); entries are named by the user, so none is unknown.

        Args:
            what: what an entry declares, for messages.
        """
        for name, content in self.content.items():
            if problem := label_problem(name):
                self.note(name, f"the name of this {what} {problem}", "Correct the name")
            elif not isinstance(content, dict):
                self._note_stray(name, content, f"is not a {what}, which is a table")
            else:
                yield name, Table(self.source, content, self.problems, (*self.path, name))

    def finish(self) -> None:
        """Notes every key that nothing has read, with the nearest known one."""
        for key in self.content:
            if key not in self._known:
                self._note_stray(key, self.content[key], "no such key")

    def _note_stray(self, key: str, value: object, problem: str) -> None:
        # TOML gives a key below a [header] to that table: the commonest slip with top-level keys
        if self.path and key in TOP_LEVEL_FLAGS:
            remedy = f"{key} is a top-level key: move it above the first [table] of the file"
        else:
            remedy = nearest(key, self._known) if self._known else "Write a table"
        # a table's content may hold a secret that is misplaced, and says nothing about a wrong name
        self.note(key, problem, remedy, ABSENT if isinstance(value, dict | list) else value)
