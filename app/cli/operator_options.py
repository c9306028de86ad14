"""What the commands for operators share: their options, and who and when."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from agents.clock import parse_clock
from agents.records import OperationRecord
from app.cli.options import Format
from app.config import Config, load_config
from app.logs import configure_logging
from app.settings import Settings, load_settings

WIDTH_PIPED = 200

Broker = Annotated[
    str | None, typer.Option("--broker", help="HOST:PORT of a broker, or several with commas.")
]
Author = Annotated[str | None, typer.Option("--author", help="Who does it (default: your login name).")]
Reason = Annotated[str, typer.Option("--reason", help="Why; others will read it.")]


OutputFormat = Annotated[
    Format, typer.Option("--format", help="A table for people, or one JSON object a line.")
]


def prepare(config: Path | None, broker: str | None) -> tuple[Config, Settings]:
    """The configuration and the settings in force; of the log only warnings are shown by a short command.

    Raises:
        ConfigurationError: either is wrong.
    """
    loaded = load_config(config)
    settings = load_settings(loaded, broker=broker)
    configure_logging(settings.model_copy(update={"log_level": "WARNING"}))
    return loaded, settings


def present_ms(settings: Settings) -> int:
    """The present, by the clock of the deployment."""
    return parse_clock(settings.clock).now_ms()


def author_or_login(author: str | None) -> str | None:
    """Who does it, or who is logged in; None where nobody is."""
    if author is not None:
        return author
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may know no name for its user
        return None


def output() -> Console:
    """Standard output; a file or a pipe has no width that texts would have to be cut for."""
    return Console(width=None if sys.stdout.isatty() else WIDTH_PIPED, highlight=False)


def print_json(kind: str, record: msgspec.Struct) -> None:
    """One record as one line of JSON that begins with its type."""
    typer.echo(msgspec.json.encode({"type": kind, **msgspec.to_builtins(record)}))


def print_operation(said: str, record: OperationRecord, form: Format) -> None:
    """What was done: a sentence, or the record."""
    if form is Format.JSON:
        print_json(record.action, record)
    else:
        output().print(said, markup=False, soft_wrap=True)
