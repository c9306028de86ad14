"""The demo's child processes: started with their output in a file, watched, and always stopped by process id."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

import app
from app.processes import HOST, die_with_parent, last_lines
from scoring.errors import EffortStreamError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

FALLBACK_PORT = 8081
WATCH_S = 0.2
STOP_POLL_S = 0.05
STOP_DEADLINE_S = 8.0


class ChildDied(EffortStreamError, RuntimeError):  # noqa: N818 - an event, told to the user
    """A process that the demo needs has ended by itself, or could not be started."""


class PortTaken(EffortStreamError, OSError):  # noqa: N818 - a state of the machine, told to the user
    """The port that serve is to listen on cannot be used."""


def check_port(port: int) -> None:
    """Refuses a port of 127.0.0.1 that serve could not listen on.

    Raises:
        PortTaken: another program has it, or it is not allowed to this user.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTaken(
                f"Port {port} of {HOST} cannot be used: {error.strerror}. Stop the program that listens there, "
                f"or choose another port: effortstream demo --port {FALLBACK_PORT + (port == FALLBACK_PORT)}"
            ) from None


class Children:
    """Runs commands of effortstream, and programs beside it, as child processes for as long as a block lasts.

    Each is in a session of its own, so that Ctrl-C in a terminal reaches the demo alone, which then stops them in
    order; and each is killed when the demo is, even by kill -9 (on Linux).

    Args:
        folder: where the output of each goes, as NAME.log.
        environment: what is added to the demo's own environment.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        # -P keeps a folder ``app`` of the user's out of the way, so ours is named
        package = str(Path(app.__file__).resolve().parent.parent)
        path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH")) if part)
        self._environment = {**os.environ, **environment, "PYTHONPATH": path}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._titles: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._stop()
        finally:
            for process in self._running.values():
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Starts ``effortstream NAME ARGUMENTS``.

        Raises:
            ChildDied: the system refuses to start it.
        """
        self.run(name, [sys.executable, "-P", "-m", "app", name, *arguments], f"effortstream {name}")

    def run(self, name: str, command: Sequence[str], title: str) -> None:
        """Starts a program.

        Args:
            name: of its output file.
            command: the program and its arguments.
            title: what messages call it.

        Raises:
            ChildDied: the system refuses to start it.
        """
        self._titles[name] = title
        try:
            with self.log(name).open("wb") as output:
                self._running[name] = subprocess.Popen(  # noqa: S603 - our own programs, and those that we looked up
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    start_new_session=True,
                    preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, no lock is taken
                )
        except OSError as error:
            raise ChildDied(
                f"{title} could not be started: {error.strerror}. "
                f"Check that {self._folder} may be written to and that there is memory left"
            ) from error

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self._folder / f"{name}.log"

    async def watch(self) -> NoReturn:
        """Waits until a process ends by itself.

        Raises:
            ChildDied: one has, with the end of its output.
        """
        while True:
            for name, process in self._running.items():
                status = process.poll()
                if status is not None:
                    raise ChildDied(
                        f"{self._titles[name]} has stopped by itself (status {status}), so the demo cannot go on. "
                        f"The end of its output ({self.log(name)}):\n{last_lines(self.log(name))}"
                    )
            await asyncio.sleep(WATCH_S)

    async def _stop(self) -> None:
        # The newest first: who reads goes before who writes
        for process in reversed(self._running.values()):
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_DEADLINE_S
        while any(process.poll() is None for process in self._running.values()):
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(STOP_POLL_S)
