"""``effortstream replay``: files through the whole pipeline."""

from __future__ import annotations

import asyncio
from typing import Annotated

import structlog
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cells import FileMapping
from app.cli.options import AsIs, ConfigFile, Files, Format, FormatOption, MappingFile
from app.cli.score import print_result, read_with_progress, tell_refused
from app.config import load_config
from app.figures import Figures
from app.logs import configure_logging
from app.mapping import load_mapping
from app.replay import Steps, replay_files
from app.rows import Reading, Refused
from app.settings import Settings, load_settings
from scoring.catalog import Catalog

log = structlog.get_logger("app.cli.replay")


def replay(
    files: Files,
    mapping: MappingFile,
    config: ConfigFile = None,
    broker: Annotated[
        str | None, typer.Option(help="HOST:PORT of a broker (default: an embedded one, started for this).")
    ] = None,
    format: FormatOption = Format.TABLE,  # noqa: A002 - the name of the option
    as_is: AsIs = False,  # noqa: FBT002 - the form that typer calls
    keep: Annotated[  # noqa: FBT002 - as above
        bool, typer.Option("--keep", help="Leave the replay's topics on the broker.")
    ] = False,
) -> None:
    """Replay files through the whole pipeline, and print the figures that come out."""
    declared = load_config(config)
    settings = load_settings(declared, broker=broker, log_level="WARNING")
    configure_logging(settings)
    columns = load_mapping(mapping)
    reading = read_with_progress(files, columns, declared.catalog, as_is=as_is)
    refused: list[Refused] = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(
            _replay(reading, columns, declared.catalog, settings, refused, embedded=broker is None, keep=keep)
        )
    tell_refused(refused)
    print_result(figures, declared.catalog, format, "replay")


async def _replay(
    reading: Reading,
    mapping: FileMapping,
    catalog: Catalog,
    settings: Settings,
    refused: list[Refused],
    *,
    embedded: bool,
    keep: bool,
) -> Figures:
    console = Console(stderr=True)
    bars = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bars, console=console, transient=True, disable=not console.is_terminal) as progress:
        produced = progress.add_task("Producing", total=len(reading.events))
        counted = progress.add_task("Counting", total=len(reading.events))
        steps = Steps(
            produced=lambda count: progress.advance(produced, count),
            counted=lambda done: progress.update(counted, completed=done),
            refused=refused.append,
        )
        return await replay_files(
            reading, mapping, catalog, settings, embedded=embedded, keep=keep, steps=steps
        )
