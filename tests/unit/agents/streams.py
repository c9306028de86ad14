"""Records, declarations and one partition's stage without a broker."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.contacts import InteractionStage
from agents.ports import Batch, Outgoing
from agents.responses import ResponseStage
from agents.scores import ScoreStage
from agents.source import Intake
from scoring.catalog import Catalog, Segment, Touchpoint
from scoring.questions import Scale, question
from scoring.windows import calendar_window, live_window

NOW_MS = 1_763_719_203_120
SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000

EFFORT = question("effort", "ces", Scale(1, 7, best=7), touchpoint="checkout")
LOYALTY = question("loyalty", "nps", Scale(0, 10, best=10))
REMARKS = question("remarks", "csat", Scale(1, 5, best=5), touchpoint="checkout", comments=True)
CATALOG = Catalog(
    questions={each.id: each for each in (EFFORT, LOYALTY)},
    touchpoints={"checkout": Touchpoint("checkout", "purchase")},
    segments=(
        Segment("channel", ("channel",), frozenset({"web", "phone"})),
        Segment("agent", ("agent",), max_values=2),
        Segment("channel+agent", ("channel", "agent"), max_values=3),
    ),
    live=tuple(map(live_window, ("5m", "1h", "24h", "7d"))),
    calendar=tuple(map(calendar_window, ("1h", "1d"))),
)

SourceStage = ResponseStage | InteractionStage


@dataclass(slots=True)
class Rec:
    """A fetched record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


def catalog(**changes: Any) -> Catalog:
    """The declarations, some of them changed."""
    return replace(CATALOG, **changes)


def response(**fields: Any) -> dict[str, Any]:
    """A response that passes every check, but for what is given."""
    return {"response_id": "r-1", "question": "effort", "rating": 5, "event_time_ms": NOW_MS} | fields


def interaction(**fields: Any) -> dict[str, Any]:
    """An interaction that passes every check, but for what is given."""
    return {"interaction_id": "i-1", "touchpoint": "checkout", "event_time_ms": NOW_MS} | fields


def raw(record: Any) -> bytes | None:
    """A record's value: what is bytes or None already stays so."""
    return record if record is None or isinstance(record, bytes) else json.dumps(record).encode()


def records(values: Iterable[Any], timestamp_ms: int = NOW_MS, first: int = 0) -> list[Rec]:
    """Records in offset order, all of them of one timestamp."""
    return [Rec(first + at, timestamp_ms, b"k", raw(value)) for at, value in enumerate(values)]


def feed(stage: SourceStage | ScoreStage, lot: Sequence[Rec], size: int | None = None) -> None:
    """Applies records in batches of a size, or all at once."""
    size = size or max(1, len(lot))
    for begin in range(0, len(lot), size):
        part = lot[begin : begin + size]
        stage.apply(Batch(part, part[0].offset, part[-1].offset + 1, lot[-1].offset + 1))


def responses(intake: Intake | None = None, partition: int = 0) -> ResponseStage:
    """The stage of a partition of the responses topic."""
    return ResponseStage("effort.responses.v1", partition, intake or Intake(CATALOG, 1))


def interactions(intake: Intake | None = None, partition: int = 0) -> InteractionStage:
    """The stage of a partition of the interactions topic."""
    return InteractionStage("effort.interactions.v1", partition, intake or Intake(CATALOG, 1))


def tallies(stage: SourceStage) -> dict[str, dict[str, list[int]]]:
    """Everything that a source partition has tallied, by touchpoint and series code, without zeros."""
    out: dict[str, dict[str, list[int]]] = {}
    for (touchpoint, _, _), group in stage._panes.groups.items():
        for code, vector in group.items():
            held = out.setdefault(touchpoint, {}).setdefault(code, [0] * len(vector))
            held[:] = [a + b for a, b in zip(held, vector, strict=True)]
    return {
        touchpoint: {code: vector for code, vector in codes.items() if any(vector)}
        for touchpoint, codes in out.items()
        if any(map(any, codes.values()))
    }


def changelog_of(out: Outgoing | None) -> list[tuple[bytes, bytes | None]]:
    """Keys and values that a checkpoint writes to the changelog."""
    assert out is not None
    return [(record.key or b"", record.value) for record in out.changelog]


def reborn(stage: SourceStage, changelog: Iterable[tuple[bytes, bytes | None]]) -> SourceStage:
    """The same partition's stage in a new process: made from its changelog alone."""
    made = type(stage)(stage.topic_name, stage.partition, stage._intake)
    for key, value in changelog:
        made.restore(key, value)
    made.resume()
    return made
