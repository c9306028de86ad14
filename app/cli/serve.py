"""``effortstream serve``: scores over HTTP, for Prometheus and other programs."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from app.config import load_config
from app.logs import configure_logging
from app.serve import run_serve
from app.settings import Settings, load_settings
from scoring.catalog import Catalog


def serve(
    config: Annotated[
        Path | None, typer.Option(help="The configuration file (default: effortstream.toml here).")
    ] = None,
    broker: Annotated[str | None, typer.Option(help="HOST:PORT of a broker, or several with commas.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on (default: 8080; 0 takes a free one).")
    ] = None,
) -> None:
    """Serves current scores: /metrics, /api/v1/scores, /livez and /readyz, until Ctrl-C or SIGTERM."""
    loaded = load_config(config)
    settings = load_settings(loaded, broker=broker, host=host, port=port)
    configure_logging(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_signalled(settings, loaded.catalog))


async def _until_signalled(settings: Settings, catalog: Catalog) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run_serve(settings, catalog, stop=stop, on_listening=_say)


def _say(url: str) -> None:
    typer.echo(f"effortstream serves at {url}", err=True)
