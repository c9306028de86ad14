"""Answers at a checkout as a CSV file, its mapping, and a catalog for rules on it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from app.backtest import Backtest, backtest_files
from app.cells import FileMapping
from app.mapping import load_mapping
from app.rows import read_files
from scoring.alerts.rules import Rule
from scoring.catalog import Catalog
from tests.datasets import write_rows
from tests.unit.agents.streams import catalog as declared

BEGIN_MS = 1_763_596_800_000
"""2025-11-20T00:00:00Z, a Thursday."""

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000

Answers = list[tuple[int, int]]
"""(event time, rating of 1..7)."""

COLUMNS = ("id", "at", "place", "channel", "rating")
MAPPING = """
[[responses]]
question = "effort"
rating = { column = "rating", skip = [""] }
response_id = { column = "id" }
touchpoint = { column = "place" }
event_time = { columns = ["at"], format = "%Y-%m-%d %H:%M:%S.%f", timezone = "UTC" }
segments = { channel = { column = "channel" } }
"""


def catalog(*rules: Rule, **changes: object) -> Catalog:
    """The declarations of the pipeline's tests, with these rules."""
    return declared(alerts=rules, **changes)


def mapping(folder: Path) -> FileMapping:
    """The mapping of the files below."""
    path = folder / "mapping.toml"
    path.write_text(MAPPING)
    return load_mapping(path)


def stamp(time_ms: int) -> str:
    """An instant as the files write it."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def row(at: int, time_ms: int, rating: int, place: str = "checkout", channel: str = "web") -> dict[str, str]:
    """One answer as a row."""
    return {"id": f"r{at}", "at": stamp(time_ms), "place": place, "channel": channel, "rating": str(rating)}


def rows(answers: Answers) -> list[dict[str, str]]:
    """One row for each answer."""
    return [row(at, *answer) for at, answer in enumerate(answers)]


def stepped(folder: Path, content: Iterable[dict[str, str]], declared: Catalog) -> Backtest:
    """The backtest of a file with these rows."""
    path = write_rows(folder / "answers.csv", COLUMNS, content)
    columns = mapping(folder)
    return backtest_files(read_files([path], columns, declared), columns, declared)


def calm_with_a_hard_hour(days: float, seed: int, per_hour: int = 30) -> Answers:
    """Calm answers at random times; one hour in the middle is hard."""
    chance = random.Random(seed)
    span_ms = int(days * DAY_MS)
    middle_ms = BEGIN_MS + span_ms // 2
    out = []
    for _ in range(int(days * 24 * per_hour)):
        time_ms = BEGIN_MS + chance.randrange(span_ms)
        hard = middle_ms <= time_ms < middle_ms + HOUR_MS
        out.append((time_ms, chance.choice((1, 1, 2, 3) if hard else (3, 5, 6, 6, 7, 7))))
    return sorted(out)


def with_rule(declared: Catalog, rule: Rule) -> Catalog:
    """The same declarations with one rule."""
    return replace(declared, alerts=(rule,))
