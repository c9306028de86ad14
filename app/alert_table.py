"""Alerts and silences as tables for people."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.table import Column, Table
from rich.text import Text

from agents.records import AlertRecord, OperationRecord
from app.muting import JudgedAlert
from app.readmodel import segment_text
from scoring.alerts.states import State

STYLES = {
    State.FIRING: "bold red",
    State.PENDING: "yellow",
    State.RESOLVED: "green",
    State.INACTIVE: "dim",
}


def time_text(time_ms: int | None) -> str:
    """A time for people, to the second, UTC.

    Example:
        >>> time_text(1_763_719_200_000), time_text(None)
        ('2025-11-21 10:00:00', '-')
    """
    return "-" if time_ms is None else f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def moment_ms(alert: AlertRecord) -> int:
    """When an alert came into its state, as far as its record tells."""
    if alert.state == State.FIRING and alert.fired_at_ms is not None:
        return alert.fired_at_ms
    if alert.state == State.RESOLVED and alert.resolved_at_ms is not None:
        return alert.resolved_at_ms
    return alert.since_ms


def state_text(state: str) -> Text:
    """A state in its word and colour."""
    return Text(state, style=STYLES[State(state)])


def place_text(alert: AlertRecord) -> str:
    """The touchpoint of an alert, and its segment if it has one."""
    segment = "" if not alert.segment else f" {segment_text(alert.segment)}"
    return f"{alert.touchpoint}{segment}"


def _muted(alert: JudgedAlert) -> str:
    return ", ".join(
        each.by if each.author is None else f"{each.by} ({each.author})" for each in alert.muted_by
    )


def alert_table(shown: Iterable[JudgedAlert]) -> Table:
    """Alerts, one a line."""
    table = Table(
        "state",
        "severity",
        Column("rule", overflow="fold"),
        Column("touchpoint", overflow="fold"),
        "since (UTC)",
        Column("muted by", overflow="fold"),
        Column("fingerprint", no_wrap=True),
        Column("summary", overflow="fold"),
        box=None,
        pad_edge=False,
    )
    for alert in shown:
        table.add_row(
            state_text(alert.state),
            alert.severity,
            Text(alert.rule),
            Text(place_text(alert)),
            time_text(alert.since_ms),
            Text(_muted(alert) or "-"),
            alert.fingerprint,
            Text(alert.summary),
        )
    return table


def alert_detail(alert: JudgedAlert) -> Table:
    """Everything about one alert."""
    table = Table(Column(style="dim"), Column(overflow="fold"), show_header=False, box=None, pad_edge=False)
    rows: list[tuple[str, str | Text]] = [
        ("state", state_text(alert.state)),
        ("summary", alert.summary),
        ("rule", f"{alert.rule} ({alert.kind}, {alert.severity})"),
        ("touchpoint", place_text(alert)),
        ("journey stage", alert.journey_stage or "-"),
        ("question", alert.question or "-"),
        ("window", alert.window or "-"),
        ("since (UTC)", time_text(alert.since_ms)),
        ("fired (UTC)", time_text(alert.fired_at_ms)),
        ("resolved (UTC)", time_text(alert.resolved_at_ms)),
        ("muted by", _muted(alert) or "-"),
        ("owner", alert.owner or "-"),
        ("runbook", alert.runbook or "-"),
        ("fingerprint", alert.fingerprint),
        *((f"evidence: {name}", str(value)) for name, value in alert.evidence.items() if value is not None),
    ]
    for name, value in rows:
        table.add_row(name, value if isinstance(value, Text) else Text(value))
    return table


def silence_table(standing: Iterable[OperationRecord]) -> Table:
    """Silences, one a line."""
    table = Table(
        "id", "rule", "touchpoint", "severity", "begins (UTC)", "ends (UTC)", "author", "reason",
        box=None, pad_edge=False,
    )  # fmt: skip
    for each in standing:
        patterns = (Text(each.rule or "*"), Text(each.touchpoint or "*"), Text(each.severity or "*"))
        table.add_row(
            each.id,
            *patterns,
            time_text(each.at_ms),
            time_text(each.ends_at_ms),
            Text(each.author),
            Text(each.reason),
        )
    return table
