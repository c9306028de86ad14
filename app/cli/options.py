"""Arguments and options that the commands for files have in common."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

PIPE_WIDTH = 160
"""Columns of a table in a file or a pipe: there nothing is cut off at a width that nobody sees."""


class Format(StrEnum):
    """How figures are printed."""

    TABLE = "table"
    JSON = "json"


Files = Annotated[list[Path], typer.Argument(help="CSV files.", metavar="FILE...")]
MappingFile = Annotated[Path, typer.Option(help="Which columns make which response (TOML).")]
ConfigFile = Annotated[
    Path | None, typer.Option(help="The configuration file (default: effortstream.toml here).")
]
AsIs = Annotated[
    bool, typer.Option("--as-is", help="Keep the order of the rows instead of that of their times.")
]
FormatOption = Annotated[Format, typer.Option(help="table: for people. json: one line for each figure.")]
Rules = Annotated[
    Path | None, typer.Option(help="A file whose [[alerts]] take the place of those of the configuration.")
]
ProgressOption = Annotated[
    bool, typer.Option("--progress", help="Show progress on standard error where it is no terminal, too.")
]
