"""What the demo shows: a live picture in a terminal, snapshots elsewhere, and the summary at the end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from app.demo_alerts import ROWS_MAX
from app.demo_table import half_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from app.demo_alerts import AlertBoard
    from app.demo_table import ScoreBoard

REFRESHES_PER_S = 4
SNAPSHOT_EVERY_S = 10.0
# In a file or a pipe nothing is cut off at the width of a terminal
PLAIN_WIDTH = 160
LINES_AROUND = 8


@dataclass(slots=True)
class IncidentStory:
    """How the effort at the incident's touchpoint went: before, at the worst, and now.

    Attributes:
        touchpoint: where the incident strikes.
        phase: ``calm`` before it, ``running``, then ``over``.
        struck_ms: when it began, event time; None before.
    """

    touchpoint: str
    phase: str = "calm"
    struck_ms: int | None = None
    before: float | None = None
    worst: float | None = None
    now: float | None = None

    def observe(self, effort_index: float | None) -> None:
        """Takes in a current effort index; None says nothing."""
        if effort_index is None:
            return
        self.now = effort_index
        if self.phase == "calm":
            self.before = effort_index
        else:
            self.worst = max(effort_index, self.worst or effort_index)

    def banner(self) -> Text:
        """One line for the table."""
        if self.phase == "running":
            return Text(f" INCIDENT: {self.touchpoint} is harder than usual ", style="bold white on red")
        if self.phase == "over":
            return Text(f"The incident at {self.touchpoint} is over: its effort falls again.", style="green")
        return Text(f"All calm; an incident will make {self.touchpoint} harder.", style="dim")

    def told(self) -> str | None:
        """One line for the summary; None where there was no incident, or no effort to tell of."""
        if self.phase == "calm" or self.before is None or self.worst is None or self.now is None:
            return None
        before, worst, now = (half_up(value, 1) for value in (self.before, self.worst, self.now))
        state = "after it" if self.phase == "over" else "still in it"
        return f"Incident at {self.touchpoint}: effort index {before} before, {worst} at the worst, {now} {state}"


@dataclass(slots=True)
class Pipeline:
    """The state of the demo beside the scores.

    Attributes:
        address: where serve listens.
        speed: how fast event time runs.
        clock_ms: event time now.
        elapsed_s: wall seconds since the scores are live; None before.
        seconds: how long it goes on from there, or None.
        history: events produced before it.
        live: events produced in it.
        waiting_for: why there are no scores yet, or None.
    """

    address: str
    speed: float
    clock_ms: int = 0
    elapsed_s: float | None = None
    seconds: float | None = None
    history: int = 0
    live: int = 0
    waiting_for: str | None = field(default="the worker and serve to start")

    def heading(self) -> Text:
        """Where to look, what time it is, and how long it goes on."""
        time = datetime.fromtimestamp(self.clock_ms / 1000, UTC)
        pace = "real time" if self.speed == 1 else f"{self.speed:g} times real time"
        if self.elapsed_s is None:
            left = "starting"
        elif self.seconds is None:
            left = "Ctrl-C ends it"
        else:
            left = f"{self.elapsed_s:.0f} of {self.seconds:.0f} s"
        return Text.assemble(
            ("effortstream demo", "bold"),
            f"  {self.address}  {time:%Y-%m-%d %H:%M:%S} UTC, {pace}  {left}",
        )

    def line(self, watermark_ms: int | None) -> Text:
        """Events produced, and how far the scores are behind them."""
        parts = [f"{self.live:,} events live, {self.history:,} of history"]
        if self.waiting_for is not None:
            parts.append(f"waiting for {self.waiting_for}")
        elif watermark_ms is None:
            parts.append("no watermark yet")
        else:
            behind_s = max(0, self.clock_ms - watermark_ms) / 1000
            parts.append(f"watermark {_span(behind_s)} of event time behind")
        return Text(", ".join(parts), style="dim")


def picture(
    board: ScoreBoard,
    window: str,
    story: IncidentStory | None,
    pipeline: Pipeline,
    console: Console,
    alerts: AlertBoard | None,
) -> RenderableType:
    """Everything that the demo shows at a moment, cut to a terminal's size; ``alerts`` is None without rules."""
    rows = ROWS_MAX
    if console.is_terminal:
        # The scores come first: of alerts as many as they leave room for, and one in any case
        rows = max(1, min(ROWS_MAX, console.height - LINES_AROUND - board.touchpoints - 2))
    around = LINES_AROUND + (0 if alerts is None else 1 + alerts.lines(rows))
    height = console.height - around if console.is_terminal else None
    lines: list[RenderableType] = [pipeline.heading(), ""]
    lines.append(board.table(window, console.width, height))
    lines.append("")
    if alerts is not None:
        lines += [alerts.table(rows), ""]
    if story is not None:
        lines.append(story.banner())
    lines.append(pipeline.line(board.watermark_ms))
    return Group(*lines)


def demo_console() -> Console:
    """Standard output, wide where it is no terminal; or standard error if only that is a terminal."""
    console = Console(highlight=False)
    if console.is_terminal:
        return console
    errors = Console(stderr=True, highlight=False)
    return errors if errors.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


async def show(console: Console, draw: Callable[[], RenderableType]) -> None:
    """Shows the picture until cancelled: live in a terminal, as a snapshot every ten seconds elsewhere."""
    if not console.is_terminal:
        while True:
            await asyncio.sleep(SNAPSHOT_EVERY_S)
            console.print(draw())
            console.print()
    with Live(console=console, get_renderable=draw, auto_refresh=False, transient=True) as live:
        while True:
            # Refreshed here and not by rich's thread, so that all state belongs to one thread
            live.refresh()
            await asyncio.sleep(1 / REFRESHES_PER_S)


def _span(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
