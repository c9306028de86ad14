"""Proposals of tune as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.backtest_table import span
from app.figures_table import NONE, plain_table, rounded
from app.tune import TOO_LAX, Tuning
from app.tune_levels import Candidate, Levels
from app.tune_rising import DAYS_MAX, RUNS, Rising
from app.tune_toml import named
from scoring.panes import DAY_MS

REASONS_SHOWN = 3


def print_tuning(tuning: Tuning, wanted: str, console: Console) -> None:
    """Prints what is proposed, how often each level fires, and what the figures rest on."""
    if tuning.levels:
        if any(one.proposed is not None for one in tuning.levels):
            console.print(_levels_table(tuning.levels, wanted))
            console.print()
        for line in _without(tuning.levels):
            console.print(Text(line), soft_wrap=True)
        console.print(Text(TOO_LAX), soft_wrap=True)
        console.print()
    if tuning.rising:
        console.print(_rising_table(tuning.rising, wanted))
        console.print()
        told = (
            f"Delay: median and 90th percentile of {RUNS} simulated rises by so many points of the scale, at the "
            f"history's rate of answers and from a fresh detector, its slowest case; - is more than {DAYS_MAX} days."
        )
        console.print(Text(told), soft_wrap=True)
        console.print()
    for rule in tuning.unseen:
        console.print(Text(f"{rule.id}: none of its series is in the files"), soft_wrap=True)
    for rule in tuning.untuned:
        told = f"{rule.id}: rules of kind {rule.kind.value} have no level to find; see what they do with backtest"
        console.print(Text(told), soft_wrap=True)


def _levels_table(levels: Sequence[Levels], wanted: str) -> Table:
    table = plain_table(f"Levels of threshold rules for {wanted}")
    for name in ("rule", "series"):
        table.add_column(name, overflow="fold")
    for name in ("days", "allowed", "enter now", "firings now", "enter", "exit", "firings", "firing for"):
        table.add_column(name, justify="right")
    table.add_column("enter: firings, strict to mild", overflow="fold")
    for one in levels:
        made = one.proposed
        if made is None:
            continue
        table.add_row(
            Text(one.watch.rule.id),
            Text(named(one.watch)),
            f"{one.span_ms / DAY_MS:.1f}",
            f"{one.allowed:,}",
            f"{one.present.enter:g}",
            f"{one.present.firings:,}",
            Text(f"{made.enter:g}", style="bold"),
            f"{made.exit:g}",
            f"{made.firings:,}",
            span(made.firing_ms),
            _tried(one.tried),
        )
    return table


def _without(levels: Sequence[Levels]) -> Iterator[str]:
    """Of which series nothing is proposed, and why: the first ones of each rule."""
    for rule_id, group in groupby(
        (one for one in levels if one.proposed is None), key=lambda one: one.watch.rule.id
    ):
        left = list(group)
        for one in left[:REASONS_SHOWN]:
            yield f"{rule_id} at {named(one.watch)}: nothing proposed, {one.reason}"
        if len(left) > REASONS_SHOWN:
            yield f"{rule_id}: nothing proposed for {len(left) - REASONS_SHOWN:,} more series; --format toml has all"


def _tried(tried: Sequence[Candidate]) -> str:
    return "  ".join(f"{one.enter:g}: {one.firings:,}" for one in tried)


def _rising_table(rising: Sequence[Rising], wanted: str) -> Table:
    table = plain_table(f"Rising rules for {wanted}")
    for name in ("rule", "series"):
        table.add_column(name, overflow="fold")
    for name in ("n", "days", "an hour", "wander", "margin"):
        table.add_column(name, justify="right")
    table.add_column("shape")
    table.add_column("drop: delay, median / 90 %", overflow="fold")
    for one in rising:
        cells = [Text(one.watch.rule.id), Text(named(one.watch))]
        if one.baseline is None:
            cells += [Text(NONE)] * 6
            table.add_row(*cells, Text(one.reason or "", style="yellow"))
            continue
        base = one.baseline
        delays = "  ".join(
            f"{delay.points:.2f}: {_short(delay.median_ms)} / {_short(delay.p90_ms)}" for delay in one.delays
        )
        table.add_row(
            *cells,
            f"{base.n:,}",
            f"{base.days:,}",
            rounded(one.per_hour, 1),
            f"{base.wander:.3f}",
            f"{base.margin:.3f}",
            base.shape,
            delays,
        )
    return table


def _short(time_ms: int | None) -> str:
    return NONE if time_ms is None else span(time_ms)
