"""``effortstream score``: the figures straight from the files, with no broker."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from app.cells import FileMapping
from app.cli.options import PIPE_WIDTH, AsIs, ConfigFile, Files, Format, FormatOption, MappingFile
from app.config import load_config
from app.figures import Figures, lines
from app.figures_table import print_figures
from app.mapping import load_mapping, mapping_warnings
from app.rows import Reading, Refused, read_files
from app.score import score_files
from scoring.catalog import Catalog

REFUSALS_SHOWN = 5


def score(
    files: Files,
    mapping: MappingFile,
    config: ConfigFile = None,
    format: FormatOption = Format.TABLE,  # noqa: A002 - the name of the option
    as_is: AsIs = False,  # noqa: FBT002 - the form that typer calls
) -> None:
    """Compute the figures of replay straight from the files, with no broker."""
    catalog = load_config(config).catalog
    columns = load_mapping(mapping)
    reading = read_with_progress(files, columns, catalog, as_is=as_is)
    refused: list[Refused] = []
    with Console(stderr=True).status("Counting"):
        figures = score_files(reading, columns, catalog, refused.append)
    tell_refused(refused)
    print_result(figures, catalog, format, "score")


def read_with_progress(files: list[Path], mapping: FileMapping, catalog: Catalog, *, as_is: bool) -> Reading:
    """Reads the files, with warnings and, where it is a terminal, a progress bar on standard error."""
    console = Console(stderr=True)
    for warning in mapping_warnings(mapping, catalog):
        console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    bars = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*bars, console=console, transient=True, disable=not console.is_terminal) as progress:
        size = sum(file.stat().st_size for file in files if file.is_file())
        task = progress.add_task("Reading", total=size)
        return read_files(
            files, mapping, catalog, as_is=as_is, on_bytes=lambda count: progress.advance(task, count)
        )


def tell_refused(refused: list[Refused]) -> None:
    """Says on standard error which rows were refused and why; the first ones, without their cells."""
    console = Console(stderr=True)
    for row in refused[:REFUSALS_SHOWN]:
        console.print(f"refused: {row.reason}: {row.detail}", markup=False, highlight=False, soft_wrap=True)
    if len(refused) > REFUSALS_SHOWN:
        console.print(f"and {len(refused) - REFUSALS_SHOWN:,} more refused", markup=False, highlight=False)


def print_result(figures: Figures, catalog: Catalog, form: Format, source: str) -> None:
    """Prints figures to standard output; ``source`` is ``replay`` or ``score``."""
    if form is Format.TABLE:
        terminal = Console()
        print_figures(figures, catalog, terminal if terminal.is_terminal else Console(width=PIPE_WIDTH))
        return
    out = sys.stdout.buffer
    for line in lines(figures, catalog, source):
        out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    out.flush()
