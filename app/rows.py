"""Rows of CSV files as the events that they stand for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import orjson

from agents.events import YEAR_2000_MS
from app.cell_values import UnusableCell, number_or_text, seconds_or_text, text_reader, time_reader
from app.cells import SECONDS, TEXTS, Cell, FileMapping, InteractionTable, ResponseTable
from app.config_problems import ABSENT, ConfigurationError, Problem, nearest
from app.csvlines import CsvFile, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from scoring.catalog import Catalog

Topic = Literal["responses", "interactions"]


@dataclass(slots=True)
class Event:
    """A record as a producer would send it, with the line that it comes from."""

    topic: Topic
    key: bytes
    value: bytes
    timestamp_ms: int
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A row, or what one table makes of it, that yields a dead letter; ``raw`` is the row's bytes."""

    topic: Topic
    reason: str
    detail: str
    raw: bytes
    file: str
    line: int


@dataclass(slots=True)
class Reading:
    """What the files hold.

    Attributes:
        events: in order of event time (stable), or of the files where they are read as they are.
        refused: in order of the files.
        skipped: responses that a skip value kept from being made.
        rows: of all files, broken ones included, blank lines not.
    """

    events: list[Event] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    skipped: int = 0
    rows: int = 0


def read_files(
    paths: Sequence[Path],
    mapping: FileMapping,
    catalog: Catalog,
    *,
    as_is: bool = False,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Reading:
    """Reads CSV files into events.

    Args:
        paths: read one after the other; a name that two of them share is told apart by its folder.
        mapping: what each row yields.
        catalog: tells which questions have a default touchpoint.
        as_is: keep the order of the files instead of sorting by event time.
        on_bytes: told how many bytes have been read, for a progress bar.

    Raises:
        ConfigurationError: a file cannot be read, lacks a column, or has a row in which two answers to one question
            get the same id by accident.
    """
    reading = Reading()
    for path in paths:
        alone = all(other.resolve() == path.resolve() for other in paths if other.name == path.name)
        name = path.name if alone else str(path)
        with CsvFile(path, mapping.columns, on_bytes) as file:
            _FileReader(file, name, mapping, catalog, reading).read()
    if not as_is:
        reading.events.sort(key=lambda event: event.timestamp_ms)
    return reading


class _FileReader:
    """One file: where its columns are, and what its rows yield."""

    def __init__(
        self, file: CsvFile, name: str, mapping: FileMapping, catalog: Catalog, reading: Reading
    ) -> None:
        _check_columns(file, mapping)
        self._file = file
        self._reading = reading
        columns = {column: index for index, column in enumerate(file.header)}
        self._responses = [_ResponseRow(table, columns, name, catalog) for table in mapping.responses]
        self._interactions = [_InteractionRow(table, columns, name) for table in mapping.interactions]
        self._suspects = [
            (one, two)
            for one in self._responses
            for two in self._responses
            if one.table.question == two.table.question
            and one.table.response_id is None
            and two.table.response_id is not None
        ]
        self._path = mapping.path

    def read(self) -> None:
        for number, row in enumerate(self._file, 1):
            default_ms = YEAR_2000_MS + 1000 * self._reading.rows
            self._reading.rows += 1
            if self._suspects and row.reason is None:
                self._check_ids(row, number)
            for response in self._responses:
                self._take("responses", response, row, number, default_ms)
            for interaction in self._interactions:
                self._take("interactions", interaction, row, number, default_ms)

    def _take(
        self, topic: Topic, yields: _ResponseRow | _InteractionRow, row: Row, number: int, default_ms: int
    ) -> None:
        file = str(self._file.path)
        reason, detail, made = row.reason, row.detail, None
        if reason is None:
            try:
                made = yields.make(row.cells, number, default_ms)
            except UnusableCell as unusable:
                reason, detail = unusable.reason, unusable.detail
        if reason is not None:
            where = f"{file}, line {row.line}, {topic}[{yields.table.position}]: {detail}"
            self._reading.refused.append(Refused(topic, reason, where, row.raw, file, row.line))
        elif made is None:
            self._reading.skipped += 1
        else:
            key, record, time_ms = made
            # orjson's bytes sit in a buffer of 1 KiB for as long as they live; a copy takes a tenth, and far less time
            value = bytes(memoryview(orjson.dumps(record)))
            self._reading.events.append(Event(topic, key.encode(), value, time_ms, file, row.line))

    def _check_ids(self, row: Row, number: int) -> None:
        for default, given in self._suspects:
            if given.identity(row.cells, number) == default.identity(row.cells, number):
                raise ConfigurationError(
                    [
                        Problem(
                            str(self._path),
                            f"responses[{default.table.position}].response_id",
                            ABSENT,
                            f"the default id equals that of responses[{given.table.position}] at "
                            f"{self._file.path}, line {row.line}, so that one answer would replace the other",
                            "Set response_id in both tables.",
                        )
                    ]
                )


def _check_columns(file: CsvFile, mapping: FileMapping) -> None:
    problems: list[Problem] = []
    listed = ""
    for column, key in mapping.columns.items():
        found = file.header.count(column)
        if found == 0:
            problem, remedy = f"{file.path} has no such column", nearest(column, filter(None, file.header))
            if remedy == listed:
                remedy = "See above for its columns"
            elif remedy.startswith("Known"):
                listed = remedy  # a header of 50 names is read once
        elif found > 1:
            problem, remedy = f"{file.path} has {found} columns of this name", "Rename all but one of them"
        else:
            continue
        problems.append(Problem(str(mapping.path), key, column, problem, remedy))
    if problems:
        raise ConfigurationError(problems)


class _RecordRow:
    """What both kinds of table have in common: id, customer, touchpoint, time and segments."""

    def __init__(
        self,
        table: ResponseTable | InteractionTable,
        identity: Cell | None,
        columns: dict[str, int],
        name: str,
    ) -> None:
        self._name = name
        self._place = f"{table.position}"
        self._identity = None if identity is None else text_reader(identity, columns, "|")
        self._customer = None if table.customer_id is None else text_reader(table.customer_id, columns)
        self._touchpoint = None if table.touchpoint is None else text_reader(table.touchpoint, columns)
        self._time = (
            None if table.event_time is None else time_reader(table.event_time, columns, required=True)
        )
        self._segments = {name: text_reader(cell, columns) for name, cell in table.segments.items()}

    def identity(self, cells: list[str], number: int) -> str | None:
        """The id of the record, or None where its cell is empty."""
        if self._identity is None:
            return f"{self._name}:{number}:{self._place}"
        return self._identity(cells)

    def common(self, cells: list[str], default_ms: int) -> dict[str, Any]:
        """The fields that both kinds have; the time last, since it is checked after the required cells."""
        record: dict[str, Any] = {}
        if self._customer is not None and (customer := self._customer(cells)):
            record["customer_id"] = customer
        if self._touchpoint is not None and (touchpoint := self._touchpoint(cells)):
            record["touchpoint"] = touchpoint
        segments = {name: value for name, text in self._segments.items() if (value := text(cells))}
        if segments:
            record["segments"] = segments
        record["event_time_ms"] = default_ms if self._time is None else self._time(cells)
        return record


class _ResponseRow(_RecordRow):
    """One [[responses]] table on the columns of one file."""

    def __init__(self, table: ResponseTable, columns: dict[str, int], name: str, catalog: Catalog) -> None:
        super().__init__(table, table.response_id, columns, name)
        self.table = table
        self._rating = text_reader(replace(table.rating, map={}), columns)
        self._texts = {
            key: text_reader(cell, columns)
            for key, cell in (("interaction_id", table.interaction_id), ("comment", table.comment))
            if cell is not None
        }
        self._updated = (
            None if table.updated_at is None else time_reader(table.updated_at, columns, required=False)
        )
        question = catalog.questions.get(table.question)
        self._touchpoint_required = question is not None and question.touchpoint is None

    def make(self, cells: list[str], number: int, default_ms: int) -> tuple[str, dict[str, Any], int] | None:
        """Key, record and event time; None for a skipped rating."""
        rating = self._rating(cells)
        if (rating or "") in self.table.rating.skip:
            return None
        response_id = self.identity(cells, number)
        missing = [name for name, text in (("rating", rating), ("response_id", response_id)) if text is None]
        if rating is None or response_id is None:
            raise UnusableCell("missing_field", f"{', '.join(missing)}: the cell is empty")
        if self._touchpoint_required and (self._touchpoint is None or self._touchpoint(cells) is None):
            raise UnusableCell("missing_field", "touchpoint: none here, and the question declares no default")
        common = self.common(cells, default_ms)
        rating = self.table.rating.map.get(rating, rating)
        record: dict[str, Any] = {
            "response_id": response_id,
            "question": self.table.question,
            "rating": number_or_text(rating),
        }
        record |= common
        if self._updated is not None and (updated_ms := self._updated(cells)) is not None:
            record["updated_at_ms"] = updated_ms
        record |= {key: value for key, text in self._texts.items() if (value := text(cells))}
        return common.get("customer_id", response_id), record, common["event_time_ms"]


class _InteractionRow(_RecordRow):
    """One [[interactions]] table on the columns of one file."""

    def __init__(self, table: InteractionTable, columns: dict[str, int], name: str) -> None:
        super().__init__(table, table.interaction_id, columns, name)
        self.table = table
        self._values = {
            key: (_value_reader(key), text_reader(cell, columns)) for key, cell in table.values.items()
        }

    def make(self, cells: list[str], number: int, default_ms: int) -> tuple[str, dict[str, Any], int]:
        """Key, record and event time."""
        interaction_id = self.identity(cells, number)
        if interaction_id is None:
            raise UnusableCell("missing_field", "interaction_id: the cell is empty")
        if self._touchpoint is None or self._touchpoint(cells) is None:
            raise UnusableCell("missing_field", "touchpoint: the cell is empty")
        common = self.common(cells, default_ms)
        record: dict[str, Any] = {"interaction_id": interaction_id, **common}
        for key, (value, text) in self._values.items():
            if (found := text(cells)) is not None:
                record[key] = value(found)
        return common.get("customer_id", interaction_id), record, common["event_time_ms"]


def _value_reader(name: str) -> Callable[[str], Any]:
    if name in TEXTS:
        return str
    return seconds_or_text if name in SECONDS else number_or_text
