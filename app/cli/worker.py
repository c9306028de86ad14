"""``effortstream worker``: the agents of one process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvloop
from aiokafka.errors import KafkaError

from app.config import load_config
from app.config_problems import ConfigurationError
from app.logs import configure_logging
from app.settings import Settings, load_settings
from app.worker import run_worker
from scoring.catalog import Catalog
from scoring.errors import EffortStreamError

FAILED = 1
log = structlog.get_logger("app.cli.worker")


def worker(
    config: Annotated[
        Path | None, typer.Option(help="The configuration file (default: effortstream.toml here).")
    ] = None,
    broker: Annotated[str | None, typer.Option(help="HOST:PORT of a broker, or several with commas.")] = None,
    group: Annotated[str | None, typer.Option(help="Consumer group, which owns the state.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of /metrics, /livez and /readyz (default: 9464; 0 is off).")
    ] = None,
    allow_non_transactional: Annotated[  # noqa: FBT002 - the form that typer calls
        bool, typer.Option("--allow-non-transactional", help="Accept a broker without transactions.")
    ] = False,
) -> None:
    """Tallies events and publishes scores, until Ctrl-C or SIGTERM; more workers share the partitions."""
    loaded = load_config(config)
    allowed = True if allow_non_transactional else None
    settings = load_settings(
        loaded, broker=broker, group=group, metrics_port=metrics_port, allow_non_transactional=allowed
    )
    configure_logging(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        error = runner.run(_until_signalled(settings, loaded.catalog))
        if error is not None:
            typer.echo(f"Error: {error}", err=True)
            sys.stdout.flush()
            # After a failed transaction a client thread may hang for ever; everything that counts is on the broker.
            os._exit(FAILED)


async def _until_signalled(settings: Settings, catalog: Catalog) -> str | None:
    """Runs the worker; what ended it before its time, if anything did."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        if stop.is_set():
            os._exit(FAILED)  # the second signal: at once
        stop.set()

    def note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A client that has failed leaves the same error in futures that nobody waits for; it was reported once
        if not isinstance(context.get("exception"), KafkaError):
            loop.default_exception_handler(context)

    loop.set_exception_handler(note)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    try:
        await run_worker(settings, catalog, stop=stop)
    except ConfigurationError:
        raise
    except EffortStreamError as error:
        return str(error)
    except Exception:
        log.exception("unexpected error")
        return "a bug has ended the worker: please report it with the log above. Started again, it goes on"
    log.info("worker ended")
    return None
