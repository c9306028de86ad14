"""``python -m bench.alerts``: measure, print tables, and write JSON where asked."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.alerts.measure import Delay, FalseAlarms, Transitions, false_alarms, rises
from bench.alerts.tables import delay_tables, false_alarm_table, goals, transition_table
from bench.alerts.worlds import DAILY, HISTORY_DAYS, STEADY, World

_RATES = (5.0, 20.0, 100.0)
_CALM_RATES = (2.0, 5.0, 20.0, 100.0, 200.0)
_WORLDS = (STEADY, DAILY)
_CALM_WORLDS = (
    STEADY,
    World("daily", traffic=0.8, course=0.2),
    *(World("daily", traffic=0.8, course=0.2, wander=wander) for wander in (0.05, 0.1, 0.2)),
)
_SHORT_DAYS = (2, 7)

Job = Callable[..., Any]


def plan(months: int, *, quick: bool) -> list[Job]:
    """What to measure; each still wants its seed."""
    rates = (20.0,) if quick else _RATES
    calm = [(world, rate, HISTORY_DAYS) for world in _CALM_WORLDS for rate in _CALM_RATES]
    calm += [(STEADY, rate, days) for days in _SHORT_DAYS for rate in rates]
    if quick:
        calm = [(DAILY, 20.0, HISTORY_DAYS)]
    return [
        *(partial(rises, world, rate, months) for rate in reversed(rates) for world in _WORLDS),
        *(partial(false_alarms, world, rate, months, days) for world, rate, days in calm),
    ]


app = typer.Typer(add_completion=False)


@app.command()
def main(
    seed: Annotated[int, typer.Option(help="Of all chance; the same seed gives the same figures")] = 1,
    months: Annotated[int, typer.Option(min=4, help="Calm series-months of each setting")] = 400,
    processes: Annotated[int, typer.Option(min=1, help="At once")] = os.cpu_count() or 1,
    output: Annotated[Path | None, typer.Option("--json", help="Write every figure there too")] = None,
    *,
    quick: Annotated[bool, typer.Option(help="20 answers an hour only: to see that it runs")] = False,
) -> None:
    """False alarms, delays and transitions of ways to watch a mean, on simulated answers."""
    console = Console(width=None if os.isatty(1) else 170)
    began = time.monotonic()
    jobs = plan(months, quick=quick)
    rows: list[Delay | FalseAlarms | Transitions] = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(job, seed=1000 * seed + at) for at, job in enumerate(jobs)]
        for at, one in enumerate(running, 1):
            rows += one.result()
            console.print(f"{at} of {len(jobs)} settings, {time.monotonic() - began:.0f} s", style="dim")
    found = [[row for row in rows if isinstance(row, kind)] for kind in (Delay, FalseAlarms, Transitions)]
    for table in (
        *delay_tables(found[0]),
        transition_table(found[2]),
        false_alarm_table(found[1]),
        goals(*found),
    ):
        console.print(table)
    console.print(
        f"seed {seed}: {len(jobs) * months:,} calm series-months; "
        f"{2 * months} rises of each kind; {time.monotonic() - began:.0f} s"
    )
    if output is not None:
        output.write_text(json.dumps(_by_kind(rows), indent=1) + "\n")


def _by_kind(rows: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows per kind of measurement."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        kinds.setdefault(type(row).__name__, []).append(asdict(row))
    return kinds


if __name__ == "__main__":
    app()
