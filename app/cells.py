"""What a mapping file says: which columns make which field of which record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from zoneinfo import ZoneInfo

TEXTS = ("outcome", "channel")
SECONDS = ("duration_s", "wait_s")
COUNTS = ("contacts", "transfers", "retries", "errors", "rage_clicks")


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a text comes from: one column, several joined, or a constant.

    Attributes:
        columns: joined where there are several; if one of their cells is empty, the text is missing.
        constant: the text itself, for every row.
        prefix: put before the text of the columns.
        skip: texts for which the row yields nothing (ratings only).
        map: texts to write instead; a text that it lacks stays as it is.
    """

    columns: tuple[str, ...] = ()
    constant: str | None = None
    prefix: str = ""
    skip: frozenset[str] = frozenset()
    map: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimeCell:
    """Where a time comes from: columns joined by a space, in ``zone`` unless the time carries its own offset.

    Attributes:
        format: as for strptime; None is ISO 8601.
    """

    columns: tuple[str, ...]
    format: str | None
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class ResponseTable:
    """One [[responses]] table: a response that every row may yield.

    Attributes:
        position: its place among the [[responses]] tables, from 1; part of the default response_id.
        response_id: None for the default: file name, row number and position.
        event_time: None for the default: one row a second from the year 2000.
    """

    position: int
    question: str
    rating: Cell
    response_id: Cell | None = None
    customer_id: Cell | None = None
    interaction_id: Cell | None = None
    touchpoint: Cell | None = None
    event_time: TimeCell | None = None
    updated_at: TimeCell | None = None
    segments: Mapping[str, Cell] = field(default_factory=dict)
    comment: Cell | None = None


@dataclass(frozen=True, slots=True)
class InteractionTable:
    """One [[interactions]] table; ``values`` has the other fields of the record by name."""

    position: int
    touchpoint: Cell
    interaction_id: Cell | None = None
    customer_id: Cell | None = None
    event_time: TimeCell | None = None
    segments: Mapping[str, Cell] = field(default_factory=dict)
    values: Mapping[str, Cell] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileMapping:
    """What a mapping file says."""

    path: Path
    responses: tuple[ResponseTable, ...]
    interactions: tuple[InteractionTable, ...]

    @property
    def columns(self) -> dict[str, str]:
        """Every column that is asked for, with the key that asks for it first."""
        found: dict[str, str] = {}
        tables: list[tuple[str, ResponseTable | InteractionTable]] = [
            *((f"responses[{table.position}]", table) for table in self.responses),
            *((f"interactions[{table.position}]", table) for table in self.interactions),
        ]
        for where, table in tables:
            for key, cell in _cells(table):
                for column in cell.columns:
                    found.setdefault(column, f"{where}.{key}")
        return found


def _cells(table: ResponseTable | InteractionTable) -> list[tuple[str, Cell | TimeCell]]:
    groups: dict[str, Mapping[str, Cell]] = {"segments.": table.segments}
    names = [
        "response_id",
        "rating",
        "interaction_id",
        "customer_id",
        "touchpoint",
        "event_time",
        "updated_at",
    ]
    if isinstance(table, InteractionTable):
        groups[""] = table.values
    cells = [(name, getattr(table, name, None)) for name in [*names, "comment"]]
    cells += [(prefix + name, cell) for prefix, group in groups.items() for name, cell in group.items()]
    return [(name, cell) for name, cell in cells if cell is not None]
