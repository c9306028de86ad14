"""``effortstream bench``: how fast the worker is, beside the fastest program that keeps nothing."""

from __future__ import annotations

import json
import os
import pstats
import sys
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from app.bench import Advance, Bench, BenchError, apache_kafka, check_counts, machine, quix_python
from app.bench_table import Measure, Row, markdown_table, rich_table

WIDTH_PIPED = 200
PROFILE_LINES = 25
CEILING = "ceiling: getmany, decode, tally; nothing durable"
WORKER = "effortstream worker: live 1h, calendar 1h"
DEFAULT = "effortstream worker: default windows (4 live, 2 calendar)"
PEERS = {
    ("faust_table", False): "plain Faust, tumbling table",
    ("faust_table", True): "plain Faust, tumbling table, group_by",
    ("quix", False): "Quix Streams, tumbling window",
    ("quix", True): "Quix Streams, tumbling window, group_by",
}


class Format(StrEnum):
    """How the table is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"


def bench(
    broker: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Kafka (default: starts one of its own).")
    ] = None,
    events: Annotated[int, typer.Option(help="Responses in each run.", min=1_000)] = 1_000_000,
    runs: Annotated[int, typer.Option(help="Runs, each of the ceiling and the worker.", min=1)] = 3,
    peer_events: Annotated[
        int, typer.Option(help="Responses for Faust and Quix Streams.", min=1_000)
    ] = 100_000,
    skip_peers: Annotated[  # noqa: FBT002 - the form that typer reads options from
        bool, typer.Option("--skip-peers", help="Leave Faust and Quix Streams out.")
    ] = False,
    output: Annotated[Format, typer.Option("--format", help="How to print the table.")] = Format.TABLE,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every single measurement to this file.")
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Only run the worker under cProfile, and write that to this file.")
    ] = None,
) -> None:
    """Measures the worker on Apache Kafka against the ceiling: the same records with nothing kept."""
    address = broker or os.environ.get("EFFORTSTREAM_TEST_KAFKA") or None
    with _Shown() as shown, apache_kafka(address) as (found, kafka):
        measuring = Bench(found)
        if profile is not None:
            with measuring.input(events, shown.bar("producing", events)) as prefix:
                shown.say("worker under cProfile")
                measuring.worker(prefix, events, "one-hour", profile)
            pstats.Stats(str(profile)).sort_stats("tottime").print_stats(PROFILE_LINES)
            return
        rows = _measure(measuring, shown, events, runs)
        if not skip_peers:
            rows += _measure_peers(measuring, shown, peer_events, rows[0].runs)
    where = f"{machine()}; {kafka}"
    if json_file is not None:
        measured = {row.program: [asdict(run) for run in row.runs] for row in rows}
        json_file.write_text(
            json.dumps({"machine": where, "runs": measured}, indent=2) + "\n", encoding="utf-8"
        )
    if output is Format.MARKDOWN:
        typer.echo(f"{markdown_table(rows)}\n\n{where}")
    else:
        console = Console(width=None if sys.stdout.isatty() else WIDTH_PIPED)
        console.print(rich_table(rows, runs), where, sep="\n", highlight=False)


def _measure(measuring: Bench, shown: _Shown, events: int, runs: int) -> list[Row]:
    """The ceiling and the worker in turn, so that a slow minute of the machine meets both."""
    ceilings: list[Measure] = []
    workers: list[Measure] = []
    defaults: list[Measure] = []
    for run in range(1, runs + 1):
        with measuring.input(events, shown.bar(f"run {run}: producing", events)) as prefix:
            shown.say(f"run {run}: ceiling")
            ceilings.append(measuring.ceiling(prefix, events))
            shown.say(f"run {run}: worker")
            workers.append(measuring.worker(prefix, events, "one-hour"))
            check_counts(workers[-1], ceilings[-1])
        with measuring.input(events, shown.bar(f"run {run}: producing again", events)) as prefix:
            shown.say(f"run {run}: worker, default configuration")
            defaults.append(measuring.worker(prefix, events, "default"))
            check_counts(defaults[-1], ceilings[-1])
    return [
        Row(CEILING, ceilings, ceilings),
        Row(WORKER, workers, ceilings),
        Row(DEFAULT, defaults, ceilings),
    ]


def _measure_peers(measuring: Bench, shown: _Shown, events: int, ceilings: Sequence[Measure]) -> list[Row]:
    """One run each: they are an order of magnitude away, so noise does not matter."""
    rows = []
    with measuring.input(events, shown.bar("producing for the peers", events)) as prefix:
        for (program, group_by), title in PEERS.items():
            shown.say(title)
            try:
                python = quix_python() if program == "quix" else Path(sys.executable)
                measure = measuring.peer(prefix, events, program, python, group_by=group_by)
            except BenchError as error:
                shown.warn(f"left out: {title}: {error}")
                continue
            rows.append(Row(title, [measure], ceilings))
    return rows


class _Shown:
    """Progress on standard error: one line for each step."""

    def __init__(self) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._progress = Progress(*columns, console=Console(stderr=True), refresh_per_second=2)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        self.say("Apache Kafka")
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._progress.stop()

    def say(self, description: str) -> None:
        """Begins a step whose progress is not known."""
        self._end()
        self._task = self._progress.add_task(description, total=None)

    def bar(self, description: str, total: int) -> Advance:
        """Begins a step of so many records; the result is told of each batch."""
        self._end()
        task = self._task = self._progress.add_task(description, total=total)
        return lambda count: self._progress.advance(task, count)

    def warn(self, message: str) -> None:
        """Prints a line above the steps."""
        self._progress.console.print(message, markup=False, highlight=False)

    def _end(self) -> None:
        if self._task is None:
            return
        task = next(task for task in self._progress.tasks if task.id == self._task)
        total = task.total or 1
        self._progress.update(self._task, total=total, completed=total)
        self._progress.stop_task(self._task)
