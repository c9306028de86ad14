"""``effortstream serve``: scores over HTTP, for Prometheus and other programs."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from app.config import Config, load_config
from app.logs import configure_logging
from app.muting import maintenance
from app.serve import run_serve
from app.settings import Settings, load_settings


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
    """Serves current scores and alerts: /metrics, /api/v1, /livez and /readyz, until Ctrl-C or SIGTERM."""
    loaded = load_config(config)
    settings = load_settings(loaded, broker=broker, host=host, port=port)
    configure_logging(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_signalled(settings, loaded))


async def _until_signalled(settings: Settings, config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run_serve(
        settings,
        config.catalog,
        stop=stop,
        on_listening=_say,
        maintained=maintenance(config.maintenance),
    )


def _say(url: str) -> None:
    typer.echo(f"effortstream serves at {url}", err=True)
