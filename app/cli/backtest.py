"""``effortstream backtest``: the alert rules stepped through history."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.backtest import Backtest, Steps, backtest_files, tally_files
from app.backtest_figures import lines
from app.backtest_picture import write_pictures
from app.backtest_table import print_backtest
from app.cli.options import (
    PIPE_WIDTH,
    ConfigFile,
    Files,
    Format,
    FormatOption,
    MappingFile,
    ProgressOption,
    Rules,
)
from app.cli.score import read_with_progress, tell_refused
from app.config import load_config, load_rules
from app.config_problems import ABSENT, ConfigurationError, Problem
from app.mapping import load_mapping
from app.rows import Reading, Refused
from scoring.alerts.rules import ChangeRule
from scoring.catalog import Catalog


def backtest(
    files: Files,
    mapping: MappingFile,
    config: ConfigFile = None,
    rules: Rules = None,
    format: FormatOption = Format.TABLE,  # noqa: A002 - the name of the option
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for one SVG picture of each watched series; made if need be.")
    ] = None,
    progress: ProgressOption = False,  # noqa: FBT002 - the form that typer calls
) -> None:
    """Step the alert rules through files, and print each alert that would have been published."""
    catalog = load_ruled(config, rules)
    columns = load_mapping(mapping)
    if pictures is not None:
        make_folder(pictures)
    reading = read_with_progress(files, columns, catalog, as_is=False)
    refused: list[Refused] = []
    with stepping("Stepping", reading, forced=progress) as steps:
        made = backtest_files(reading, columns, catalog, Steps(steps.taken, refused.append))
    tell_refused(refused)
    _print(made, catalog, format)
    if pictures is not None:
        with stepping("Drawing", reading, forced=progress) as steps:
            written = write_pictures(pictures, tally_files(reading, catalog, steps).watches, made, catalog)
        Console(stderr=True).print(f"{len(written)} pictures in {pictures}", markup=False, highlight=False)


def load_ruled(config: Path | None, rules: Path | None) -> Catalog:
    """The catalog with the rules to step; those of the configuration, or of another file.

    Raises:
        ConfigurationError: something is wrong with the files, or there is no rule.
    """
    declared = load_config(config)
    catalog = declared.catalog if rules is None else load_rules(rules, declared.catalog)
    if not catalog.alerts:
        source = str(declared.path if rules is None else rules)
        remedy = "Add [[alerts]] tables, or name a file that has some with --rules FILE"
        raise ConfigurationError([Problem(source, "alerts", ABSENT, "there is no rule to step", remedy)])
    for rule in catalog.alerts:
        if isinstance(rule, ChangeRule) and rule.against_ms is None:
            Console(stderr=True).print(
                f"warning: {rule.id}: files hold no deployment marks, so it never fires here",
                style="yellow",
                markup=False,
                soft_wrap=True,
            )
    return catalog


def make_folder(folder: Path) -> None:
    """Makes a folder.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be made ({error.strerror})"
        raise ConfigurationError(
            [Problem("--pictures", str(folder), ABSENT, problem, "Name another folder.")]
        ) from error


@contextmanager
def stepping(what: str, reading: Reading, *, forced: bool) -> Iterator[Steps]:
    """A progress bar on standard error over the events; where that is no terminal, only if it is asked for."""
    console = Console(stderr=True, force_terminal=True if forced else None)
    bars = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bars, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=len(reading.events))
        yield Steps(taken=lambda done: progress.update(task, completed=done))


def _print(made: Backtest, catalog: Catalog, form: Format) -> None:
    if form is Format.TABLE:
        terminal = Console()
        print_backtest(made, catalog, terminal if terminal.is_terminal else Console(width=PIPE_WIDTH))
        return
    out = sys.stdout.buffer
    for line in lines(made, catalog):
        out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    out.flush()
