"""The mapping file: which columns of a CSV make which response and which interaction."""

from __future__ import annotations

import re
import tomllib
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

from app.cells import COUNTS, SECONDS, TEXTS, Cell, FileMapping, InteractionTable, ResponseTable, TimeCell
from app.config_problems import ABSENT, ConfigurationError, Problem, dotted, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from scoring.catalog import Catalog

_Read = TypeVar("_Read")
_SAMPLE = datetime(2001, 1, 1)  # noqa: DTZ001 - only formatted and parsed again, to try a format


def load_mapping(path: Path) -> FileMapping:
    """Reads and checks a mapping file.

    Args:
        path: a TOML file.

    Returns:
        Its tables, in the order of the file.

    Raises:
        ConfigurationError: it cannot be read, or says something that has no meaning.
    """
    reader = _Reader(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise reader.wrong("", ABSENT, problem, "Name a TOML file that exists.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise reader.wrong("", ABSENT, f"is not TOML in UTF-8 ({error})", "Mend the file.") from error
    reader.known(raw, "", ("responses", "interactions"))
    tables = reader.tables(raw, "responses"), reader.tables(raw, "interactions")
    if not any(tables):
        raise reader.wrong(
            "responses", raw.get("responses", []), "no table at all", "Add a [[responses]] table."
        )
    return FileMapping(
        path,
        tuple(reader.response(table, position) for position, table in enumerate(tables[0], 1)),
        tuple(reader.interaction(table, position) for position, table in enumerate(tables[1], 1)),
    )


def mapping_warnings(mapping: FileMapping, catalog: Catalog) -> list[str]:
    """What in a mapping has a meaning, but hardly the one that was meant."""
    out = []
    declared = {name for segment in catalog.segments for name in segment.fields}
    named = {name for table in mapping.responses for name in table.segments}
    named |= {name for table in mapping.interactions for name in table.segments}
    out += [
        f"{mapping.path}: the configuration does not declare the segment {name!r}, so nothing is counted by it"
        for name in sorted(named - declared)
    ]
    unknown = dict.fromkeys(table.question for table in mapping.responses)
    out += [
        f"{mapping.path}: the configuration does not declare the question {question!r}, so its answers are refused"
        for question in unknown
        if question not in catalog.questions
    ]
    for table in mapping.responses:
        for later in mapping.responses[table.position :]:
            if later.response_id is not None and (later.question, later.response_id) == (
                table.question,
                table.response_id,
            ):
                out.append(
                    f"{mapping.path}: responses[{table.position}] and responses[{later.position}] give one id to two "
                    "answers of a row, so the later one replaces the other; give each response_id its own prefix"
                )
    return out


class _Reader:
    """Turns TOML values into cells; every complaint names the file and the dotted key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wrong(self, key: str, value: object, problem: str, remedy: str) -> ConfigurationError:
        return ConfigurationError([Problem(str(self.path), key, value, problem, remedy)])

    def known(self, raw: Mapping[str, Any], where: str, keys: tuple[str, ...]) -> None:
        for key in raw:
            if key not in keys:
                place = f"{where}." if where else ""
                raise self.wrong(place + dotted([key]), raw[key], "no such key", nearest(key, keys))

    def tables(self, raw: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
        value = raw.get(key, [])
        if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
            raise self.wrong(key, value, "must be a list of tables", f"Write [[{key}]] above each table.")
        return value

    def text(self, value: object, key: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(
                key, value, "must be a text that is not empty", 'Write it in quotes, such as "Topic".'
            )
        return value.strip()

    def texts(self, value: object, key: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise self.wrong(key, value, "must be a list of texts", 'Write it as ["Date", "Time"].')
        return tuple(self.text(item, key) for item in value)

    def rating(self, raw: object, key: str) -> Cell:
        return self.cell(raw, key, ("skip", "map"))

    def cell(self, raw: object, key: str, extra: tuple[str, ...] = ("prefix", "map")) -> Cell:
        """``{ column = }``, ``{ columns = }`` or ``{ value = }``, with the keys that make sense here only."""
        table = self._inline(raw, key, ("column", "columns", "value", *extra))
        sources = [name for name in ("column", "columns", "value") if name in table]
        if len(sources) != 1:
            problem = "must name exactly one of column, columns and value"
            raise self.wrong(key, raw, problem, 'Write { column = "NAME" }, for example.')
        if sources == ["value"]:
            self.known(table, key, ("value",))
            return Cell(constant=self.text(table["value"], f"{key}.value"))
        prefix = table.get("prefix", "")
        if not isinstance(prefix, str):
            raise self.wrong(
                f"{key}.prefix", prefix, "must be a text", 'Write it in quotes, such as "seat-".'
            )
        return Cell(
            columns=self._columns(table, key),
            prefix=prefix,
            skip=self._skip(table.get("skip", []), f"{key}.skip"),
            map=self._map(table.get("map", {}), f"{key}.map"),
        )

    def time(self, raw: object, key: str) -> TimeCell:
        table = self._inline(raw, key, ("column", "columns", "format", "timezone"))
        if ("column" in table) == ("columns" in table):
            problem = "must name exactly one of column and columns"
            raise self.wrong(key, raw, problem, 'Write { columns = ["Date", "Time"], ... }, for example.')
        form = table.get("format")
        if form is not None:
            self._try_format(self.text(form, f"{key}.format"), f"{key}.format")
        zone = table.get("timezone", "UTC")
        try:
            found = ZoneInfo(zone)
        except (KeyError, ValueError, TypeError, OSError):
            remedy = 'Write an IANA name such as "UTC" or "Europe/Warsaw".'
            raise self.wrong(f"{key}.timezone", zone, "no such time zone", remedy) from None
        return TimeCell(self._columns(table, key), None if form is None else form.strip(), found)

    def response(self, raw: Mapping[str, Any], position: int) -> ResponseTable:
        where = f"responses[{position}]"
        cells = ("response_id", "customer_id", "interaction_id", "touchpoint", "comment")
        self.known(raw, where, ("question", "rating", *cells, "event_time", "updated_at", "segments"))
        for required in ("question", "rating"):
            if required not in raw:
                raise self.wrong(
                    f"{where}.{required}", ABSENT, "is required", f"Add {required} to the table."
                )
        return ResponseTable(
            position=position,
            question=self.text(raw["question"], f"{where}.question"),
            rating=self.rating(raw["rating"], f"{where}.rating"),
            event_time=self._optional(raw, "event_time", where, self.time),
            updated_at=self._optional(raw, "updated_at", where, self.time),
            segments=self._segments(raw.get("segments", {}), f"{where}.segments"),
            **{name: self._optional(raw, name, where, self.cell) for name in cells},
        )

    def interaction(self, raw: Mapping[str, Any], position: int) -> InteractionTable:
        where = f"interactions[{position}]"
        values = (*TEXTS, *SECONDS, *COUNTS)
        known = ("touchpoint", "interaction_id", "customer_id", "event_time", "segments", *values)
        self.known(raw, where, known)
        if "touchpoint" not in raw:
            raise self.wrong(f"{where}.touchpoint", ABSENT, "is required", "Add touchpoint to the table.")
        return InteractionTable(
            position=position,
            touchpoint=self.cell(raw["touchpoint"], f"{where}.touchpoint"),
            interaction_id=self._optional(raw, "interaction_id", where, self.cell),
            customer_id=self._optional(raw, "customer_id", where, self.cell),
            event_time=self._optional(raw, "event_time", where, self.time),
            segments=self._segments(raw.get("segments", {}), f"{where}.segments"),
            values={name: self.cell(raw[name], f"{where}.{name}") for name in values if name in raw},
        )

    def _optional(
        self, raw: Mapping[str, Any], name: str, where: str, read: Callable[[object, str], _Read]
    ) -> _Read | None:
        return read(raw[name], f"{where}.{name}") if name in raw else None

    def _inline(self, raw: object, key: str, keys: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise self.wrong(key, raw, "must be an inline table", 'Write { column = "NAME" }, for example.')
        self.known(raw, key, keys)
        return raw

    def _columns(self, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
        if "column" in table:
            return (self.text(table["column"], f"{key}.column"),)
        return self.texts(table["columns"], f"{key}.columns")

    def _skip(self, value: object, key: str) -> frozenset[str]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, value, "must be a list of texts", 'Write it as ["", "0"].')
        return frozenset(item.strip() for item in value)

    def _map(self, value: object, key: str) -> dict[str, str]:
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise self.wrong(key, value, "must be a table of texts", 'Write it as { Y = "resolved" }.')
        return {before.strip(): after for before, after in value.items()}

    def _segments(self, raw: object, key: str) -> dict[str, Cell]:
        if not isinstance(raw, dict):
            raise self.wrong(key, raw, "must be a table", 'Write it as { agent = { column = "Agent" } }.')
        return {name: self.cell(cell, f"{key}.{dotted([name])}") for name, cell in raw.items()}

    def _try_format(self, form: str, key: str) -> None:
        try:
            parsed = datetime.strptime(_SAMPLE.strftime(form), form)  # noqa: DTZ007 - see _SAMPLE
        except (ValueError, re.error) as error:
            remedy = 'Write it as for strptime, such as "%Y-%m-%d %H:%M:%S".'
            raise self.wrong(key, form, f"is not a time format ({error})", remedy) from None
        if parsed.year != _SAMPLE.year:
            remedy = "Name the columns of date and time, both, and a format that has the year."
            raise self.wrong(key, form, "has no year", remedy)
