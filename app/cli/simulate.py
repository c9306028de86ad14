"""``effortstream simulate``: simulated customers on the real input topics."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agents.clock import wall_ms
from agents.topics import INTERACTIONS, RESPONSES, Topics
from app.broker import wait_for_broker
from app.config import load_config
from app.logs import configure_logging
from app.settings import client_security, load_settings
from app.simulator import HISTORY_CELL_MS, Simulator
from app.simulator_producer import EventProducer

if TYPE_CHECKING:
    from scoring.catalog import Catalog

_LOG = structlog.stdlib.get_logger("app.cli.simulate")
TICK_S = 0.1


def simulate(
    config: Annotated[
        Path | None, typer.Option(help="The configuration file (default: effortstream.toml here).")
    ] = None,
    broker: Annotated[str | None, typer.Option(help="HOST:PORT of a broker, or several with commas.")] = None,
    rate: Annotated[float, typer.Option(help="Events a second.", min=0.01, max=100_000)] = 50.0,
    seconds: Annotated[float, typer.Option(help="How long to simulate.", min=0, max=31_536_000)] = 60.0,
    seed: Annotated[int | None, typer.Option(help="A number that makes the run repeatable.", min=0)] = None,
    history: Annotated[
        float, typer.Option(help="Days of calm history to produce first.", min=0, max=400)
    ] = 0.0,
) -> None:
    """Simulate customers of an online shop on the input topics."""
    declared = load_config(config)
    settings = load_settings(declared, broker=broker)
    configure_logging(settings)
    topics = Topics(settings.prefix, settings.group)

    async def run() -> tuple[EventProducer, bool]:
        await wait_for_broker(
            settings.broker, settings.broker_wait_s, client_security(settings), _LOG.warning
        )
        async with EventProducer(settings.broker, client_security(settings), topics) as producer:
            rng = np.random.default_rng(seed)
            return producer, await _simulate(declared.catalog, producer, rng, rate, seconds, history)

    begun = time.monotonic()
    producer, whole = asyncio.run(run())
    took_s = time.monotonic() - begun
    visits, answers = producer.sent[INTERACTIONS], producer.sent[RESPONSES]
    typer.echo(
        f"{'Produced' if whole else 'Stopped early: produced'} {visits + answers:,} events in {took_s:.1f} s: "
        f"{visits:,} to {topics(INTERACTIONS)}, {answers:,} to {topics(RESPONSES)}"
    )


async def _simulate(
    catalog: Catalog,
    producer: EventProducer,
    rng: np.random.Generator,
    rate: float,
    seconds: float,
    history_days: float,
) -> bool:
    """Produces the history, then live events until the time is up or a signal comes; whether it ran to its end."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    start_ms = wall_ms()
    hours = round(history_days * 24)
    first_ms = start_ms - hours * HISTORY_CELL_MS
    simulator = Simulator(catalog, rng, first_ms)
    with Progress(*columns, console=Console(stderr=True)) as progress:
        if hours:
            simulator.rate = simulator.history_rate
            bar = progress.add_task("hours of history", total=hours)
            for batch in simulator.until(start_ms, cell_ms=HISTORY_CELL_MS):
                await producer.send(batch)
                progress.update(bar, completed=(batch[-1].timestamp_ms - first_ms) // HISTORY_CELL_MS)
                if stopped.is_set():
                    return False
            progress.update(bar, completed=hours)
        simulator.rate, simulator.rhythm = rate, False
        bar = progress.add_task("seconds", total=round(seconds))
        begun_ms = wall_ms()
        end_ms = begun_ms + round(seconds * 1000)
        while not stopped.is_set():
            now_ms = min(wall_ms(), end_ms)
            for batch in simulator.until(now_ms):
                await producer.send(batch)
            progress.update(bar, completed=(now_ms - begun_ms) // 1000)
            if now_ms >= end_ms:
                return True
            await asyncio.sleep(TICK_S)
    return False
