"""The demo: an embedded broker, a worker, serve, and simulated customers of an online shop, shown in a terminal.

It runs the real pipeline. Only the broker (everything in memory, no transactions) and the clock are the demo's own:
event time begins in the past and runs fast, and the worker takes its wall time from the same clock.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from agents.clock import FastClock, wall_ms
from agents.topics import Topics
from app.broker import EmbeddedBroker
from app.config import load_config
from app.demo_alerts import AlertBoard, transition_line
from app.demo_history import produce_history
from app.demo_plan import (
    HISTORY_DAYS,
    INCIDENT_DROP,
    Plan,
    incident_touchpoint,
    plan,
    summary_window,
)
from app.demo_processes import Children, check_port
from app.demo_scores import poll_alerts, poll_scores
from app.demo_table import ScoreBoard
from app.demo_view import IncidentStory, Pipeline, demo_console, picture, show
from app.processes import HOST, free_port
from app.prometheus_names import Monitored
from app.prometheus_native import beside, check_monitoring, jobs, programs
from app.prometheus_rules import deployment_name, rules_text
from app.settings import load_settings
from app.simulator import DAY_MS, Incident, Simulator
from app.simulator_places import places
from app.simulator_producer import EventProducer
from app.topics import create_topics
from scoring.errors import EffortStreamError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from rich.console import RenderableType

    from agents.records import AlertRecord
    from app.config import Config
    from app.muting import JudgedAlert
    from scoring.windows import LiveWindow

TICK_S = 0.1
NEAR_DEADLINE_S = 180.0
# Scores are live once they are this near to the clock: a checkpoint, a poll and some slack, times the speed.
NEAR_WALL_S, NEAR_EVENT_S = 5.0, 60.0


class DemoError(EffortStreamError, RuntimeError):
    """The demo cannot run here, or got no scores."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line says.

    Attributes:
        seconds: how long it runs once the scores are live, wall time; None is until stopped.
        port: where serve listens, on 127.0.0.1.
        config: the configuration file; None is effortstream.toml in the working folder.
        speed: event seconds per wall second.
        seed: of the simulated customers.
        deploy: the folder with the configuration of a Prometheus and an Alertmanager that run beside it; None: neither.
    """

    seconds: float | None
    port: int
    config: Path | None
    speed: float
    seed: int
    deploy: Path | None = None


class Demo:
    """One run of the demo.

    Args:
        options: what the command line says.
        config: what is declared.
        console: where the picture goes.

    Attributes:
        pipeline, story, summary, alerts: what it has come to; used for the summary.
    """

    def __init__(self, options: DemoOptions, config: Config, console: Console) -> None:
        self._options = options
        self._config = config
        self._catalog = config.catalog
        self._console = console
        self._plan: Plan = plan(options.seconds, options.speed)
        asked = [(place.name, one.id) for place in places(config.catalog) for one in place.questions]
        shown, long = self._plan.shown(config.catalog), summary_window(config.catalog)
        if shown is None or long is None or not asked:
            raise DemoError(
                f"{config.path} declares no live window or no question, so there is nothing to show. "
                'Declare both, such as live = ["5m", "1h"] in its table [windows]'
            )
        self._window: LiveWindow = shown
        self._summary_window: LiveWindow = long
        self._board = ScoreBoard(config.catalog, asked)
        self.summary = ScoreBoard(config.catalog, asked)
        where = incident_touchpoint(config.catalog, asked)
        self.story = None if where is None else IncidentStory(where)
        self.pipeline = Pipeline(f"http://{HOST}:{options.port}", options.speed, seconds=self._plan.seconds)
        self.alerts = AlertBoard() if config.catalog.alerts else None
        self._near = False

    async def run(self, folder: Path) -> None:
        """Runs until its time is up, or cancelled; nothing that it started is left in either case.

        Args:
            folder: for the output of the processes.
        """
        async with AsyncExitStack() as stack:
            errors = Console(stderr=True)
            with errors.status("Starting the embedded broker"):
                broker = await stack.enter_async_context(EmbeddedBroker(log=folder / "broker.log"))
                settings = load_settings(
                    self._config, broker=broker.address, security_protocol="PLAINTEXT", replication=1
                )
                await create_topics(settings, lambda _: None)
            topics = Topics(settings.prefix, settings.group)
            producer = await stack.enter_async_context(EventProducer(broker.address, {}, topics))
            begin_ms = self._plan.begin_ms(wall_ms())
            rng = np.random.default_rng(self._options.seed)
            simulator = Simulator(self._catalog, rng, begin_ms - HISTORY_DAYS * DAY_MS)
            self.pipeline.history = await produce_history(simulator, producer, begin_ms, errors)
            # The history ends where the clock starts, however long it took to produce
            clock = FastClock(wall_ms(), begin_ms, self._plan.speed)
            environment = {
                "EFFORTSTREAM_CLOCK": clock.encode(),
                "EFFORTSTREAM_SECURITY_PROTOCOL": "PLAINTEXT",
                "EFFORTSTREAM_REPLICATION": "1",
            }
            children = await stack.enter_async_context(Children(folder, environment))
            common = ["--config", str(self._config.path.resolve()), "--broker", broker.address]
            worker_port = 0 if self._options.deploy is None else free_port()
            children.start(
                "worker", [*common, "--allow-non-transactional", "--metrics-port", str(worker_port)]
            )
            children.start("serve", [*common, "--host", HOST, "--port", str(self._options.port)])
            if self._options.deploy is not None:
                targets = jobs(Monitored(), worker_port, self._options.port)
                rules = rules_text(self._catalog, settings, Monitored(deployment_name(settings.prefix)))
                station = beside(self._options.deploy, folder, rules, targets)
                for name, command in station.commands(programs()).items():
                    children.run(name, command, name)
                self._console.print(station.told(), markup=False, soft_wrap=True)
            await self._live(simulator, producer, clock, children)

    async def _live(
        self, simulator: Simulator, producer: EventProducer, clock: FastClock, children: Children
    ) -> None:
        """The live part: ends when its time is up; whatever goes wrong in one of its tasks ends them all."""
        simulator.rhythm = self._plan.rhythm

        def draw() -> RenderableType:
            return picture(
                self._board, self._window.name, self.story, self.pipeline, self._console, self.alerts
            )

        parts: list[Coroutine[Any, Any, None]] = [
            self._keep_time(simulator, clock, children),
            self._simulate(simulator, producer, clock),
            poll_scores(self.pipeline.address, lambda records: self._take(records, clock), self._wait_for),
            children.watch(),
            show(self._console, draw),
        ]
        if self.alerts is not None:
            parts.append(poll_alerts(self.pipeline.address, self._take_alerts))
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _keep_time(self, simulator: Simulator, clock: FastClock, children: Children) -> None:
        """Lets the incident begin and end, and returns when the time is up.

        Time counts from when the scores have come near the clock: on a slow machine the history alone may take the
        worker longer than a short run, and what happens before nobody sees.
        """
        await self._until_near(clock, children)
        loop = asyncio.get_running_loop()
        began, story, times = loop.time(), self.story, self._plan
        incident_until = times.incident_begin_s + times.incident_lasts_s
        while True:
            elapsed_s = self.pipeline.elapsed_s = loop.time() - began
            self.pipeline.clock_ms = clock.now_ms()
            if story is not None:
                if story.phase == "calm" and elapsed_s >= times.incident_begin_s:
                    self._strike(simulator, clock, story)
                elif story.phase == "running" and elapsed_s >= incident_until:
                    story.phase = "over"
            if times.seconds is not None and elapsed_s >= times.seconds:
                return
            await asyncio.sleep(TICK_S)

    async def _until_near(self, clock: FastClock, children: Children) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + NEAR_DEADLINE_S
        while not self._near:
            self.pipeline.clock_ms = clock.now_ms()
            if loop.time() > deadline:
                if self._board.scored:
                    # Better a demo that lags, and says so, than none
                    return
                raise DemoError(
                    f"No scores after {NEAR_DEADLINE_S:.0f} s: the demo still waits for "
                    f"{self.pipeline.waiting_for}. Look into {children.log('worker')} and {children.log('serve')}"
                )
            await asyncio.sleep(TICK_S)

    def _strike(self, simulator: Simulator, clock: FastClock, story: IncidentStory) -> None:
        now_ms = clock.now_ms()
        pace = 1.0 if now_ms >= wall_ms() else self._plan.speed
        until_ms = now_ms + round(self._plan.incident_lasts_s * pace * 1000)
        simulator.begin(Incident(story.touchpoint, now_ms, until_ms, INCIDENT_DROP))
        story.phase, story.struck_ms = "running", now_ms

    async def _simulate(self, simulator: Simulator, producer: EventProducer, clock: FastClock) -> None:
        while True:
            now_ms = clock.now_ms()
            simulator.rate = self._plan.rate(present=now_ms >= wall_ms())
            for batch in simulator.until(now_ms):
                await producer.send(batch)
            self.pipeline.live = sum(producer.sent.values()) - self.pipeline.history
            await asyncio.sleep(TICK_S)

    def _wait_for(self, what: str) -> None:
        self.pipeline.waiting_for = what

    def _take(self, records: list[dict[str, Any]], clock: FastClock) -> None:
        self._board.take(record for record in records if record["window"] == self._window.name)
        self.summary.take(record for record in records if record["window"] == self._summary_window.name)
        if not self._board.scored:
            self._wait_for("the first scores")
            return
        self.pipeline.waiting_for = None
        watermark_ms = self._board.watermark_ms
        slack_ms = (NEAR_WALL_S * self._plan.speed + NEAR_EVENT_S) * 1000
        self._near = watermark_ms is not None and clock.now_ms() - watermark_ms < slack_ms
        if self.story is not None and self._near:
            self.story.observe(self._board.effort_at(self.story.touchpoint))

    def _take_alerts(self, alerts: list[JudgedAlert], new: list[AlertRecord]) -> None:
        assert self.alerts is not None  # noqa: S101 - only then they are asked for
        for each in self.alerts.take(alerts, new, live=self.pipeline.elapsed_s is not None):
            if not self._console.is_terminal:
                self._console.print(transition_line(each), soft_wrap=True)

    def conclude(self) -> None:
        """Prints what the demo has come to, on standard output."""
        out = demo_console()
        pipeline = self.pipeline
        if self.summary.scored:
            out.print(f"Scores of every touchpoint at the end (window {self._summary_window.name}):")
            out.print(self.summary.table(self._summary_window.name, out.width))
        told = self.story.told() if self.story else None
        if told:
            out.print(f"{told} (window {self._window.name})")
        if self.alerts is not None and pipeline.elapsed_s is not None:
            where = (self.story.touchpoint, self.story.struck_ms) if self.story else (None, None)
            out.print("\n".join(self.alerts.told(*where)), markup=False, soft_wrap=True)
        if pipeline.elapsed_s is None:
            out.print("Stopped during start-up.")
            return
        out.print(
            f"{pipeline.live:,} events live, {pipeline.elapsed_s:.0f} s of scores, "
            f"after {pipeline.history:,} of {HISTORY_DAYS} days of history."
        )


async def _until_stopped(demo: Demo, folder: Path) -> None:
    """Runs the demo until it ends, or until SIGINT or SIGTERM; both are orderly ends."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    work = asyncio.create_task(demo.run(folder))
    stop = asyncio.create_task(stopped.wait())
    await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not work.done():
        # Once: what stops the processes must not be cancelled in its turn by a second Ctrl-C
        work.cancel()
    with suppress(asyncio.CancelledError):
        await work


def run_demo(options: DemoOptions) -> None:
    """Runs the demo and prints its summary.

    Raises:
        EffortStreamError: it cannot run, or one of its processes ended; their output is kept then.
    """
    config = load_config(options.config)
    check_port(options.port)
    if options.deploy is not None:
        check_monitoring(options.deploy)
    demo = Demo(options, config, demo_console())
    folder = Path(tempfile.mkdtemp(prefix="effortstream-demo-"))
    asyncio.run(_until_stopped(demo, folder))
    for number in (signal.SIGINT, signal.SIGTERM):
        # Everything has stopped; who asks for it now need not lose the summary
        signal.signal(number, signal.SIG_IGN)
    shutil.rmtree(folder, ignore_errors=True)
    demo.conclude()
