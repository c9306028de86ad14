"""The calm weeks before a demo begins, produced as fast as the broker takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from app.demo_plan import HISTORY_DAYS
from app.simulator import DAY_MS, HISTORY_CELL_MS

if TYPE_CHECKING:
    from rich.console import Console

    from app.simulator import Simulator
    from app.simulator_producer import EventProducer


async def produce_history(
    simulator: Simulator, producer: EventProducer, end_ms: int, console: Console
) -> int:
    """Produces HISTORY_DAYS up to ``end_ms``, with a progress bar.

    Returns:
        How many events there are.
    """
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    simulator.rate = simulator.history_rate
    begin_ms = end_ms - HISTORY_DAYS * DAY_MS
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(f"Producing {HISTORY_DAYS} days of calm history", total=HISTORY_DAYS * DAY_MS)
        for batch in simulator.until(end_ms, cell_ms=HISTORY_CELL_MS):
            await producer.send(batch)
            progress.update(bar, completed=batch[-1].timestamp_ms - begin_ms)
    produced = sum(producer.sent.values())
    console.print(f"{produced:,} events of {HISTORY_DAYS} calm days are in the topics.")
    return produced
