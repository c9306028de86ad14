"""What a backtest comes to: incidents, counts per rule, and the lines of ``backtest --format json``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.backtest import AlertRecord, Backtest
from app.figures import summary_columns
from scoring.alerts.states import State
from scoring.catalog import Catalog

Line = dict[str, Any]


@dataclass(slots=True)
class Incident:
    """One alert from its condition to its end.

    Attributes:
        opened: its first record, pending or firing at once.
        pending_ms: since when the condition held.
        fired_ms: None where it was gone before it had held long enough.
        ended_ms: resolved, or gone; None at the end of the files.
        summary: of the firing, or of the first record.
    """

    opened: AlertRecord
    pending_ms: int
    summary: str
    fired_ms: int | None = None
    ended_ms: int | None = None


def incidents(records: Iterable[AlertRecord]) -> list[Incident]:
    """The incidents of these transitions, in order of their beginning.

    Args:
        records: of any alerts, each alert's in order of its sequence.
    """
    out: list[Incident] = []
    current: dict[str, Incident] = {}
    for record in records:
        name, state = record["fingerprint"], State(record["state"])
        if name not in current:
            current[name] = Incident(record, record["since_ms"], record["summary"])
            out.append(current[name])
        incident = current[name]
        if state is State.FIRING:
            incident.fired_ms, incident.summary = record["fired_at_ms"], record["summary"]
        elif state is not State.PENDING:
            incident.ended_ms = record["published_at_ms"]
            del current[name]
    return out


@dataclass(frozen=True, slots=True)
class RuleCounts:
    """How often one rule spoke.

    Attributes:
        transitions: records published.
        firings: incidents that fired.
        firing_ms: summed over its alerts.
        firing_share: of the time of the files in which at least one of its alerts was firing, 0..1; None without time.
    """

    rule: str
    kind: str
    severity: str
    transitions: int
    firings: int
    firing_ms: int
    firing_share: float | None


def rule_counts(made: Backtest, catalog: Catalog) -> list[RuleCounts]:
    """The counts of every rule, in declared order; silent ones too."""
    fired = [one for one in incidents(made.records) if one.fired_ms is not None]
    span_ms = 0 if made.first_ms is None or made.last_ms is None else made.last_ms - made.first_ms
    out = []
    for rule in catalog.alerts:
        spans = [
            (one.fired_ms or 0, made.last_ms or 0 if one.ended_ms is None else one.ended_ms)
            for one in fired
            if one.opened["rule"] == rule.id
        ]
        out.append(
            RuleCounts(
                rule.id,
                rule.kind.value,
                rule.severity.value,
                sum(record["rule"] == rule.id for record in made.records),
                len(spans),
                sum(end - start for start, end in spans),
                _union(spans) / span_ms if span_ms else None,
            )
        )
    return out


def _union(spans: Sequence[tuple[int, int]]) -> int:
    """Length of the union of intervals."""
    total, reached = 0, 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def lines(made: Backtest, catalog: Catalog) -> Iterator[Line]:
    """The lines of ``--format json``: each transition, then the summary."""
    for record in made.records:
        yield {"type": "alert", **record}
    yield {
        "type": "summary",
        "source": "backtest",
        **summary_columns(made.summary),
        "first_ms": made.first_ms,
        "last_ms": made.last_ms,
        "rules": [
            {name: getattr(counts, name) for name in RuleCounts.__slots__}
            for counts in rule_counts(made, catalog)
        ],
    }
