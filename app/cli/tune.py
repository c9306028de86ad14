"""``effortstream tune``: levels for a wanted rate of false alarms, from history."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.backtest import Steps, tally_files
from app.cli.backtest import load_ruled, stepping
from app.cli.options import PIPE_WIDTH, ConfigFile, Files, MappingFile, ProgressOption, Rules
from app.cli.score import read_with_progress, tell_refused
from app.config_alerts import read_false_alarms
from app.config_problems import ConfigurationError, Problem
from app.config_tables import Table
from app.mapping import load_mapping
from app.rows import Refused
from app.tune import Tuning
from app.tune import tune as propose
from app.tune_table import print_tuning
from app.tune_toml import toml_lines
from scoring.alerts.rules import FalseAlarms


class TuneFormat(StrEnum):
    """How proposals are printed."""

    TABLE = "table"
    TOML = "toml"


def tune(
    files: Files,
    mapping: MappingFile,
    config: ConfigFile = None,
    rules: Rules = None,
    false_alarms: Annotated[
        str,
        typer.Option(help='How often a rule may be wrong: "1 per 30d" for each series, or "... over all".'),
    ] = "1 per 30d",
    format: Annotated[  # noqa: A002 - the name of the option
        TuneFormat, typer.Option(help="table: for people. toml: [[alerts]] tables to paste.")
    ] = TuneFormat.TABLE,
    progress: ProgressOption = False,  # noqa: FBT002 - the form that typer calls
) -> None:
    """Propose levels of the alert rules for a wanted rate of false alarms, from the history in files."""
    wanted = _wanted(false_alarms)
    catalog = load_ruled(config, rules)
    columns = load_mapping(mapping)
    refused: list[Refused] = []
    reading = read_with_progress(files, columns, catalog, as_is=False)
    refused += reading.refused
    with stepping("Tallying", reading, forced=progress) as steps:
        history = tally_files(reading, catalog, Steps(steps.taken, refused.append))
    tell_refused(refused)
    console = Console(stderr=True, force_terminal=True if progress else None)
    bars = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bars, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Tuning", total=len(history.watches))
        made = propose(history, catalog, wanted, lambda done: bar.update(task, completed=done))
    _print(made, false_alarms, format)


def _wanted(text: str) -> FalseAlarms:
    """The rate that was asked for.

    Raises:
        ConfigurationError: it is not understood.
    """
    problems: list[Problem] = []
    wanted = read_false_alarms(Table("command line", {"false_alarms": text}, problems))
    if problems:
        raise ConfigurationError(problems)
    return wanted


def _print(made: Tuning, false_alarms: str, form: TuneFormat) -> None:
    if form is TuneFormat.TABLE:
        terminal = Console()
        print_tuning(made, false_alarms, terminal if terminal.is_terminal else Console(width=PIPE_WIDTH))
        return
    for line in toml_lines(made, false_alarms):
        typer.echo(line)
