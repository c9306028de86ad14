"""``effortstream topics``: the topics of a deployment."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.table import Column, Table

from app.config import load_config
from app.logs import configure_logging
from app.settings import load_settings
from app.topics import TopicOutcome, create_topics

WIDTH_PIPED = 160
_LOG = structlog.stdlib.get_logger("app.cli.topics")

topics = typer.Typer(help="The topics of a deployment.", no_args_is_help=True, add_completion=False)


@topics.callback()
def _group() -> None:
    """The topics of a deployment."""


@topics.command()
def create(
    config: Annotated[
        Path | None, typer.Option(help="The configuration file (default: effortstream.toml here).")
    ] = None,
    broker: Annotated[str | None, typer.Option(help="HOST:PORT of a broker, or several with commas.")] = None,
    partitions: Annotated[int | None, typer.Option(help="Partitions of each topic.")] = None,
    replication: Annotated[int | None, typer.Option(help="Copies of each topic.")] = None,
) -> None:
    """Creates the topics that are missing, and checks those that exist."""
    settings = load_settings(
        load_config(config), broker=broker, partitions=partitions, replication=replication
    )
    configure_logging(settings)
    with Console(stderr=True).status(f"Creating topics at {settings.broker}"):
        outcomes = asyncio.run(create_topics(settings, _LOG.warning))
    # A file or a pipe has no width that names would have to be broken for
    Console(width=None if sys.stdout.isatty() else WIDTH_PIPED).print(_table(outcomes))


def _table(outcomes: Iterable[TopicOutcome]) -> Table:
    table = Table(Column("topic", overflow="fold"), "partitions", "settings", "done", title="Topics")
    for outcome in outcomes:
        settings = "\n".join(f"{key} = {value}" for key, value in outcome.settings.items())
        done = "created" if outcome.created else "exists"
        if outcome.differences:
            done = "\n".join(("exists, but", *outcome.differences))
        table.add_row(outcome.name, str(outcome.partitions), settings, done)
    return table
