"""The workers of a chaos run and their supervisor, which starts again what has ended, as Kubernetes would."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from agents.topics import Topics
from app.config import load_config
from app.settings import load_settings
from app.topics import create_topics
from tests.chaos.account import CONFIGURATION
from tests.pipeline import PARTITIONS, WorkerProcess

SESSION_S = 6
"""The shortest session timeout that a broker allows by default."""

_RESTART_S = 1.0
_POLL_S = 0.1
_TERM_S = 10.0


@dataclass(frozen=True, slots=True)
class End:
    """How a worker ended."""

    log: str
    status: int
    reason: str


class Crew:
    """Worker processes in numbered slots.

    Args:
        broker: what they connect to.
        topics: of the run; ``create`` makes them.
        folder: for the configuration and the logs.
        say: told what happens.

    Attributes:
        catalog: what the workers' configuration declares.
        ends: every end of a worker, in order.
        slow_ends: what a SIGTERM did not end within ten seconds.
    """

    def __init__(self, broker: str, topics: Topics, folder: Path, say: Callable[[str], None]) -> None:
        self._broker, self._topics, self._folder, self._say = broker, topics, folder, say
        self._config = folder / "effortstream.toml"
        self._config.write_text(CONFIGURATION, encoding="utf-8")
        self.catalog = load_config(self._config).catalog
        self._slots: dict[int, WorkerProcess] = {}
        self._due_s: dict[int, float] = {}
        self._started: list[WorkerProcess] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._wanted = 0
        self.ends: list[End] = []
        self.slow_ends: list[str] = []
        self._supervisor: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._supervisor = asyncio.create_task(self._supervise())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._supervisor is not None
        self._supervisor.cancel()
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(self._supervisor, *self._leaving, return_exceptions=True)
        for worker in self._started:
            worker.end()

    async def create(self, direct: str, copies: int) -> None:
        """Creates the topics."""
        topics = self._topics
        settings = load_settings(
            None,
            broker=direct,
            prefix=topics.prefix,
            group=topics.group,
            replication=copies,
            partitions=PARTITIONS,
        )
        await create_topics(settings, self._say)

    # -- how many ------------------------------------------------------------------------------------------------

    @property
    def restarts(self) -> int:
        """How often a worker was started again."""
        return len(self._started) - len({worker.log.name.split("-")[1] for worker in self._started})

    @property
    def slots(self) -> list[int]:
        """The slots whose worker runs."""
        return [slot for slot, worker in sorted(self._slots.items()) if worker.status is None]

    def scale(self, wanted: int) -> None:
        """From now on so many slots have a worker; those that are too many get a SIGTERM."""
        self._wanted = wanted
        for slot in range(wanted):
            if slot not in self._slots:
                self._start(slot)
        for slot in [slot for slot in self._slots if slot >= wanted]:
            self.terminate(slot)

    def terminate(self, slot: int) -> None:
        """SIGTERM; noted if the worker has not ended ten seconds later, or not with status 0."""
        worker = self._slots[slot]
        self.send(slot, signal.SIGTERM)
        if slot >= self._wanted:
            del self._slots[slot]
        task = asyncio.create_task(self._see_off(worker))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _see_off(self, worker: WorkerProcess) -> None:
        deadline = time.monotonic() + _TERM_S
        while worker.status is None and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S)
        if worker.status is None:
            self._say(f"{worker.log.stem} has not ended {_TERM_S:.0f} s after SIGTERM")
            self.slow_ends.append(worker.log.stem)
            worker.end()
        if worker not in self._slots.values():
            self._note(worker)

    def send(self, slot: int, number: signal.Signals) -> None:
        """Sends a signal to a slot's worker, if it still runs."""
        with suppress(ProcessLookupError):
            self._slots[slot].send(number)

    # -- the supervisor ------------------------------------------------------------------------------------------

    def _start(self, slot: int) -> None:
        environment = {name: value for name, value in os.environ.items() if "EFFORTSTREAM_" not in name}
        environment |= {
            "EFFORTSTREAM_PREFIX": self._topics.prefix,
            "EFFORTSTREAM_GROUP": self._topics.group,
            "EFFORTSTREAM_LOG_FORMAT": "json",
            "EFFORTSTREAM_SESSION_TIMEOUT_S": str(SESSION_S),
            "EFFORTSTREAM_ID_KEY": "chaos",
        }
        command = [sys.executable, "-m", "app", "worker", "--config", str(self._config)]
        command += ["--broker", self._broker, "--metrics-port", "0"]
        log = self._folder / f"worker-{slot}-{len(self._started)}.log"
        self._slots[slot] = worker = WorkerProcess(command, environment, log)
        self._started.append(worker)

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(_POLL_S)
            now_s = time.monotonic()
            for slot, worker in list(self._slots.items()):
                if worker.status is None:
                    continue
                if slot not in self._due_s:
                    self._note(worker)
                    self._due_s[slot] = now_s + _RESTART_S
                elif now_s >= self._due_s[slot]:
                    del self._due_s[slot]
                    self._start(slot)

    def _note(self, worker: WorkerProcess) -> None:
        reasons = [line for line in worker.text().splitlines() if line.startswith("Error: ")]
        status = worker.status or 0
        end = End(worker.log.stem, status, reasons[-1] if reasons else "")
        self.ends.append(end)
        self._say(f"{end.log} ended with status {status} {end.reason}")
        if "Traceback" in worker.text():
            self._say(f"{end.log} wrote a traceback")

    def texts(self) -> list[tuple[str, str]]:
        """What every worker has written."""
        return [(worker.log.stem, worker.text()) for worker in self._started]
