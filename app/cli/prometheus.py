"""``effortstream prometheus``: rules for a Prometheus that scrapes worker and serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.config import load_config
from app.prometheus_names import RUNBOOKS, Monitored
from app.prometheus_rules import deployment_name, rules_text
from app.settings import load_settings
from scoring.errors import EffortStreamError

prometheus = typer.Typer(
    help="Rules for Prometheus.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
_DEFAULTS = Monitored()


class NotWritten(EffortStreamError, OSError):  # noqa: N818 - what came of it, told to the user
    """The rules could not be written where they were wanted."""


@prometheus.callback()
def _group() -> None:
    """Make what Prometheus needs."""


@prometheus.command()
def rules(
    config: Annotated[
        Path | None, typer.Option(help="The configuration file (default: effortstream.toml here).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write them (default: standard output).")] = None,
    runbooks: Annotated[
        str, typer.Option(help="Where the runbooks of deploy/runbooks are to be found, such as a URL.")
    ] = RUNBOOKS,
    worker_job: Annotated[str, typer.Option(help="Job that scrapes the workers.")] = _DEFAULTS.worker_job,
    serve_job: Annotated[str, typer.Option(help="Job that scrapes serve.")] = _DEFAULTS.serve_job,
) -> None:
    """Write recording and alerting rules: those of the configuration, and checks of the pipeline."""
    loaded = load_config(config)
    settings = load_settings(loaded)
    monitored = Monitored(
        deployment_name(settings.prefix), worker_job, serve_job, runbooks.rstrip("/") or RUNBOOKS
    )
    text = rules_text(loaded.catalog, settings, monitored)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotWritten(
            f"{out} cannot be written: {error.strerror}. Give another place with --out"
        ) from error
    typer.echo(f"{out}: written; check it with: promtool check rules {out}", err=True)
