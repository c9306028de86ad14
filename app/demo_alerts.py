"""The demo's alerts: what stands, what has happened, and what came of it.

Pure: the alerts of serve's API in, lines and tables out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.records import AlertRecord
from app.alert_table import moment_ms, place_text, state_text
from app.alertmodel import LEVELS
from app.muting import JudgedAlert
from scoring.alerts.states import State

ROWS_MAX = 5
TRANSITIONS_MAX = 2_000


def clock_text(time_ms: int) -> str:
    """A time of the day, UTC.

    Example:
        >>> clock_text(1_763_719_200_000)
        '10:00:00'
    """
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%H:%M:%S}"


def transition_line(alert: AlertRecord) -> Text:
    """One transition on one line."""
    return Text.assemble(
        f"{clock_text(moment_ms(alert))} UTC  ",
        state_text(alert.state),
        f"  {alert.rule} ({alert.severity}) at {place_text(alert)}: {alert.summary}",
    )


@dataclass(slots=True)
class AlertBoard:
    """The alerts of a demo.

    Attributes:
        standing: pending and firing alerts, the loudest first, then by how long they have held.
        transitions: what happened while the demo was live, oldest first; at most TRANSITIONS_MAX of it.
    """

    standing: list[JudgedAlert] = field(default_factory=list)
    transitions: list[AlertRecord] = field(default_factory=list)

    def take(
        self, alerts: Iterable[JudgedAlert], new: Sequence[AlertRecord], *, live: bool
    ) -> Sequence[AlertRecord]:
        """Takes in all alerts, and what is new since the last time.

        Args:
            alerts: all of them.
            new: transitions in the order in which they came.
            live: whether the scores are live; what happened before belongs to the history.

        Returns:
            The transitions to tell.
        """
        loud = [each for each in alerts if LEVELS[State(each.state)]]
        self.standing = sorted(
            loud, key=lambda each: (-LEVELS[State(each.state)], each.since_ms, each.fingerprint)
        )
        if not live:
            return ()
        self.transitions = [*self.transitions, *new][-TRANSITIONS_MAX:]
        return new

    def lines(self, rows: int = ROWS_MAX) -> int:
        """How many lines the table takes with at most so many rows."""
        return 1 + min(len(self.standing), rows) + (len(self.standing) > rows)

    def table(self, rows: int = ROWS_MAX) -> RenderableType:
        """What stands, in as many lines as ``lines`` says."""
        count = len(self.standing)
        if not count:
            return Text("No alert is pending or firing.", style="dim")
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
        for _ in range(4):
            table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for alert in self.standing[:rows]:
            muted = " (muted)" if alert.muted else ""
            table.add_row(
                state_text(alert.state),
                Text(f"{alert.rule}{muted}"),
                Text(place_text(alert)),
                Text(f"since {clock_text(alert.since_ms)}", style="dim"),
                Text(alert.summary),
            )
        if count > rows:
            table.add_row(Text(f"and {count - rows} more", style="dim"))
        title = Text(f"{count} alert{'s' * (count > 1)} pending or firing", style="bold")
        return Group(title, table)

    def told(self, touchpoint: str | None = None, struck_ms: int | None = None) -> list[str]:
        """The summary: each alert that fired while the demo was live, in order, and how it ended.

        Args:
            touchpoint: where the incident struck, or None.
            struck_ms: when, event time, or None.
        """
        fired = [each for each in self.transitions if each.state == State.FIRING]
        lines = []
        for alert in sorted(fired, key=moment_ms):
            at_ms = moment_ms(alert)
            line = f"  {alert.rule} ({alert.severity}) at {place_text(alert)} fired at {clock_text(at_ms)}"
            if struck_ms is not None and alert.touchpoint == touchpoint and at_ms >= struck_ms:
                line += f", {(at_ms - struck_ms) / 60_000:.1f} min after the incident began"
            resolved = self._end(alert)
            line += (
                ", still firing at the end" if resolved is None else f", resolved at {clock_text(resolved)}"
            )
            lines.append(f"{line}.")
        if not lines:
            return ["No alert fired."]
        return ["Alerts that fired (event time, UTC):", *lines]

    def _end(self, fired: AlertRecord) -> int | None:
        later = [
            each
            for each in self.transitions
            if each.fingerprint == fired.fingerprint
            and each.sequence > fired.sequence
            and each.state == State.RESOLVED
        ]
        return moment_ms(min(later, key=attrgetter("sequence"))) if later else None
