"""The figures of replay and score: tallies in, the lines of ``--format json`` out; one code for both commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from scoring.catalog import Catalog
from scoring.questions import Question
from scoring.scores import Score
from scoring.scores import score as scored
from scoring.tallies import interaction_stats

WindowKey = tuple[str, str, str, str, int]
"""(touchpoint, question, segment as JSON, window, start_ms)"""

SeriesKey = tuple[str, str, str]
"""(touchpoint, question, segment as JSON)"""

Line = dict[str, Any]

EVERYBODY = "{}"


def segment_key(segment: dict[str, str]) -> str:
    """A segment as its compact JSON with sorted names."""
    return orjson.dumps(segment, option=orjson.OPT_SORT_KEYS).decode()


@dataclass(slots=True)
class WindowTally:
    """The newest state of one calendar window of one series.

    Attributes:
        vector: as in scoring.tallies.
        interactions: in the same touchpoint, segment and window.
    """

    end_ms: int
    vector: list[int]
    interactions: int = 0


@dataclass(slots=True)
class Summary:
    """What became of the responses of the files; ``interactions`` likewise, None where the mapping makes none.

    read = accepted + skipped + edits + duplicates + withdrawn + sum(dead_letters), and ``removed`` of the withdrawals
    took a counted answer away.
    """

    read: int = 0
    accepted: int = 0
    skipped: int = 0
    edits: int = 0
    duplicates: int = 0
    withdrawn: int = 0
    removed: int = 0
    dead_letters: dict[str, int] = field(default_factory=dict)
    interactions: InteractionSummary | None = None


@dataclass(slots=True)
class InteractionSummary:
    """What became of the interactions: read = accepted + duplicates + sum(dead_letters)."""

    read: int = 0
    accepted: int = 0
    duplicates: int = 0
    dead_letters: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Figures:
    """Everything that replay and score print, as exact tallies.

    Attributes:
        windows: calendar windows; those without an answer are not printed.
        totals: response vectors over all time; likewise.
        interactions: interaction vectors over all time, by (touchpoint, segment).
        capped: (touchpoint, segment) of the series that hold values beyond ``max_values``.
    """

    windows: dict[WindowKey, WindowTally] = field(default_factory=dict)
    totals: dict[SeriesKey, list[int]] = field(default_factory=dict)
    interactions: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    capped: set[tuple[str, str]] = field(default_factory=set)
    summary: Summary = field(default_factory=Summary)


def lines(figures: Figures, catalog: Catalog, source: str) -> Iterator[Line]:
    """The lines of ``--format json``, in their order: windows, totals, interactions, the summary.

    Args:
        figures: what was counted.
        catalog: what it was counted by.
        source: ``replay`` or ``score``; the only thing in which the two differ.
    """
    for (touchpoint, question_id, segment, window, start_ms), tally in sorted(
        figures.windows.items(), key=_key
    ):
        question = catalog.questions[question_id]
        if answers(tally.vector) == 0:
            continue
        made = scored(question, tally.vector, tally.interactions, catalog.confidence)
        yield {
            "type": "window",
            "source": source,
            "touchpoint": touchpoint,
            "journey_stage": catalog.journey_stage(touchpoint),
            "question": question_id,
            "metric": question.metric.value,
            "segment": orjson.loads(segment),
            "window": window,
            "kind": "calendar",
            "start_ms": start_ms,
            "end_ms": tally.end_ms,
            **_score_columns(made, question, tally.vector, catalog),
            "confidence": catalog.confidence,
            "band": _above_floor(made.band, made.n, catalog),
            "interactions": tally.interactions,
            "response_rate": _above_floor(made.response_rate, made.n, catalog),
            "formula": made.formula,
            "capped": (touchpoint, segment) in figures.capped,
        }
    for (touchpoint, question_id, segment), vector in sorted(figures.totals.items(), key=_key):
        question = catalog.questions[question_id]
        if answers(vector):
            yield {
                "type": "total",
                "source": source,
                "touchpoint": touchpoint,
                "question": question_id,
                "metric": question.metric.value,
                "segment": orjson.loads(segment),
                **_score_columns(
                    scored(question, vector, None, catalog.confidence), question, vector, catalog
                ),
            }
    for (touchpoint, segment), vector in sorted(figures.interactions.items(), key=_key):
        stats = interaction_stats(vector)
        yield {
            "type": "interactions",
            "source": source,
            "touchpoint": touchpoint,
            "segment": orjson.loads(segment),
            **{name: getattr(stats, name) for name in stats.__slots__},
        }
    yield {"type": "summary", "source": source, **summary_columns(figures.summary)}


def answers(vector: list[int]) -> int:
    """How many answers a response vector holds; its last element counts those that carry an interaction_id."""
    return sum(vector[:-1])


def _key(item: tuple[tuple[Any, ...], object]) -> tuple[Any, ...]:
    return item[0]


def _above_floor(value: Any, n: int, catalog: Catalog) -> Any:
    return None if n < catalog.privacy_floor else value


def _score_columns(made: Score, question: Question, vector: list[int], catalog: Catalog) -> Line:
    counts = {str(rating): count for rating, count in zip(question.scale.ratings, vector, strict=False)}
    columns = {
        "n": made.n,
        "value": made.value,
        "low": made.low,
        "high": made.high,
        "effort_index": made.effort_index,
        "low_effort_share": made.low_effort_share,
        "counts": counts,
    }
    return {name: _above_floor(value, made.n, catalog) for name, value in columns.items()}


def summary_columns(summary: Summary) -> Line:
    """What became of the rows, as the line ``summary`` says it."""
    columns: Line = {
        "read": summary.read,
        "accepted": summary.accepted,
        "skipped": summary.skipped,
        "edits": summary.edits,
        "duplicates": summary.duplicates,
        "withdrawn": summary.withdrawn,
        "removed": summary.removed,
        "dead_letters": dict(sorted(summary.dead_letters.items())),
    }
    if summary.interactions is not None:
        columns["interactions"] = {
            "read": summary.interactions.read,
            "accepted": summary.interactions.accepted,
            "duplicates": summary.interactions.duplicates,
            "dead_letters": dict(sorted(summary.interactions.dead_letters.items())),
        }
    return columns
