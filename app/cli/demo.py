"""``effortstream demo``: everything at once, with simulated customers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from types import FrameType


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(
            help="End by itself, this long after the first live scores (default: until Ctrl-C).", min=5
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port of 127.0.0.1 that scores are served on.", min=1, max=65535)
    ] = 8080,
    config: Annotated[
        Path | None, typer.Option(help="The configuration file (default: effortstream.toml here).")
    ] = None,
    speed: Annotated[float, typer.Option(help="How fast event time runs.", min=1, max=600)] = 60.0,
    seed: Annotated[int, typer.Option(help="A number that the customers are drawn from.", min=0)] = 1,
    observability: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Run Prometheus and Alertmanager beside it, with the configuration in this folder, such as deploy.",
        ),
    ] = None,
) -> None:
    """Watch an online shop: embedded broker, worker, serve, and simulated customers."""
    asked: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        # Once: a second Ctrl-C must not tear up the orderly end that the first one began
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        asked.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        # Imported now, so that a Ctrl-C during the second that it takes is an orderly end too
        from app.demo import DemoOptions, run_demo  # noqa: PLC0415

        # An interrupt that Python had to swallow, as in the middle of a callback, counts as well
        if not asked:
            run_demo(DemoOptions(seconds, port, config, speed, seed, observability))
    except KeyboardInterrupt:
        pass
