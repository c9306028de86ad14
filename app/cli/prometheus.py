"""``effortstream prometheus``: rules for a Prometheus that scrapes worker and serve, and a dashboard on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from app.config import load_config
from app.prometheus_dashboard import dashboard as dashboard_of
from app.prometheus_names import RUNBOOKS, Monitored
from app.prometheus_rules import deployment_name, rules_text
from app.settings import load_settings
from scoring.errors import EffortStreamError

prometheus = typer.Typer(
    help="Rules for Prometheus, and a dashboard for Grafana.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_DEFAULTS = Monitored()


class NotWritten(EffortStreamError, OSError):  # noqa: N818 - what came of it, told to the user
    """The rules could not be written where they were wanted."""


@prometheus.callback()
def _group() -> None:
    """Make what Prometheus needs."""


_Config = Annotated[
    Path | None, typer.Option("--config", help="The configuration file (default: effortstream.toml here).")
]
_Out = Annotated[Path | None, typer.Option("--out", help="Where to write it (default: standard output).")]
_WorkerJob = Annotated[str, typer.Option("--worker-job", help="Job that scrapes the workers.")]
_ServeJob = Annotated[str, typer.Option("--serve-job", help="Job that scrapes serve.")]


@prometheus.command()
def rules(
    config: _Config = None,
    out: _Out = None,
    runbooks: Annotated[
        str, typer.Option(help="Where the runbooks of deploy/runbooks are to be found, such as a URL.")
    ] = RUNBOOKS,
    worker_job: _WorkerJob = _DEFAULTS.worker_job,
    serve_job: _ServeJob = _DEFAULTS.serve_job,
) -> None:
    """Write recording and alerting rules: those of the configuration, and checks of the pipeline."""
    loaded = load_config(config)
    settings = load_settings(loaded)
    monitored = Monitored(
        deployment_name(settings.prefix), worker_job, serve_job, runbooks.rstrip("/") or RUNBOOKS
    )
    _write(rules_text(loaded.catalog, settings, monitored), out)


@prometheus.command()
def dashboard(
    config: _Config = None,
    out: _Out = None,
    worker_job: _WorkerJob = _DEFAULTS.worker_job,
    serve_job: _ServeJob = _DEFAULTS.serve_job,
) -> None:
    """Write a dashboard for Grafana, as JSON; it reads what the rules record."""
    made = dashboard_of(load_config(config).catalog, Monitored(worker_job=worker_job, serve_job=serve_job))
    _write(json.dumps(made, indent=2) + "\n", out)


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotWritten(
            f"{out} cannot be written: {error.strerror}. Give another place with --out"
        ) from error
    typer.echo(f"{out}: written", err=True)
