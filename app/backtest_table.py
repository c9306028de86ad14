"""A backtest as tables for people."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.backtest import Backtest
from app.backtest_figures import Incident, incidents, rule_counts
from app.figures_table import NONE, plain_table, rounded, summary_text
from scoring.catalog import Catalog
from scoring.panes import DAY_MS, HOUR_MS, MINUTE_MS

INCIDENTS_MAX = 200
_STYLES = {"critical": "red", "warning": "yellow"}


def print_backtest(made: Backtest, catalog: Catalog, console: Console) -> None:
    """Prints the incidents, the counts per rule, and what became of the rows."""
    fired = [one for one in incidents(made.records) if one.fired_ms is not None]
    if fired:
        console.print(_incidents_table(fired, made, catalog))
        console.print()
    console.print(_rules_table(made, catalog))
    console.print()
    if made.first_ms is not None and made.last_ms is not None:
        zone = ZoneInfo(catalog.timezone)
        begin, end = _instant(made.first_ms, zone), _instant(made.last_ms, zone)
        console.print(f"{begin} to {end} ({catalog.timezone})", highlight=False)
    console.print(summary_text(made.summary), soft_wrap=True)


def _incidents_table(fired: list[Incident], made: Backtest, catalog: Catalog) -> Table:
    zone = ZoneInfo(catalog.timezone)
    table = plain_table(f"Incidents: {len(fired):,}")
    with_segments = any(one.opened["segment"] for one in fired)
    for name in ("rule", "touchpoint", "question", *(["segment"] if with_segments else [])):
        table.add_column(name, overflow="fold")
    for name in ("pending since", "fired", "resolved", "firing for"):
        table.add_column(name, no_wrap=True)
    table.add_column("summary", overflow="fold")
    for one in fired[:INCIDENTS_MAX]:
        record = one.opened
        firing_ms = (one.ended_ms or made.last_ms or 0) - (one.fired_ms or 0)
        cells = [
            Text(record["rule"], style=_STYLES[record["severity"]]),
            Text(record["touchpoint"]),
            Text(record["question"] or NONE),
        ]
        if with_segments:
            cells.append(Text(", ".join(f"{name}={value}" for name, value in record["segment"].items())))
        cells += [
            Text(_instant(one.pending_ms, zone)),
            Text(_instant(one.fired_ms, zone)),
            Text("still firing" if one.ended_ms is None else _instant(one.ended_ms, zone)),
            Text(span(firing_ms)),
            Text(one.summary),
        ]
        table.add_row(*cells)
    if len(fired) > INCIDENTS_MAX:
        table.caption = f"and {len(fired) - INCIDENTS_MAX:,} more: --format json prints them all"
    return table


def _rules_table(made: Backtest, catalog: Catalog) -> Table:
    table = plain_table("Rules")
    for name in ("rule", "kind", "severity"):
        table.add_column(name, overflow="fold")
    for name in ("transitions", "firings", "firing for, all alerts", "of the time, any alert"):
        table.add_column(name, justify="right")
    for counts in rule_counts(made, catalog):
        share = counts.firing_share
        table.add_row(
            Text(counts.rule),
            counts.kind,
            counts.severity,
            f"{counts.transitions:,}",
            f"{counts.firings:,}",
            span(counts.firing_ms),
            rounded(None if share is None else 100 * share, 1, " %"),
        )
    return table


def _instant(time_ms: int | None, zone: ZoneInfo) -> str:
    if time_ms is None:
        return NONE
    return datetime.fromtimestamp(time_ms / 1000, zone).strftime("%Y-%m-%d %H:%M")


def span(milliseconds: int) -> str:
    """A length of time in its two largest units.

    Example:
        >>> span(0), span(90 * MINUTE_MS), span(DAY_MS + 90 * MINUTE_MS), span(2 * DAY_MS)
        ('0m', '1h 30m', '1d 1h', '2d')
    """
    parts = (
        (milliseconds // DAY_MS, "d"),
        (milliseconds % DAY_MS // HOUR_MS, "h"),
        (milliseconds % HOUR_MS // MINUTE_MS, "m"),
    )
    first = next((at for at, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = [f"{count}{unit}" for count, unit in parts[first : first + 2] if count]
    return " ".join(shown) or "0m"
