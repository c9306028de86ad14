"""Running a benchmark: an Apache Kafka, the same input for every program, and one child process for each."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.topics import RESPONSES, Topics
from app.bench_table import Measure
from app.processes import die_with_parent, last_lines
from app.settings import Settings, client_security, load_settings
from app.topics import create_topics
from scoring.errors import EffortStreamError

ROOT: Final = Path(__file__).parents[1]
PROGRAMS: Final = ROOT / "bench"
PARTITIONS: Final = 4
QUIX: Final = "quixstreams==3.28.1"
BROKER_HEAP: Final = "1g"
_PROGRAM_TIMEOUT_S: Final = 300.0
_INSTALL_TIMEOUT_S: Final = 600.0
_MIB: Final = 1 << 20

Advance = Callable[[int], None]


class BenchError(EffortStreamError, RuntimeError):
    """The benchmark cannot be run here, or a program of it failed."""


@contextmanager
def apache_kafka(address: str | None) -> Iterator[tuple[str, str]]:
    """An Apache Kafka to measure on: (address, what it is). Without an address one is started, and ended afterwards.

    Raises:
        BenchError: one cannot be started here.
    """
    if not PROGRAMS.is_dir():
        raise BenchError(
            f"The benchmark's programs are not in {PROGRAMS}: run it in a checkout of the repository, with make bench"
        )
    if address is not None:
        yield address, f"Kafka at {address}"
        return
    try:
        servers = import_module("tests.servers")
    except ModuleNotFoundError as error:
        raise BenchError(
            f"Apache Kafka cannot be started here ({error}). Name a running one with --broker HOST:PORT"
        ) from None
    try:
        kafka = servers.ApacheKafka(heap=BROKER_HEAP)
    except servers.KafkaMissingError as error:
        raise BenchError(f"{error}. Or name a running Kafka with --broker HOST:PORT") from None
    with kafka:
        version = _call([servers.java(), "-version"]).stderr.splitlines()[0].replace('"', "")
        yield kafka.address, f"Apache Kafka {servers.KAFKA_VERSION} on {version}"


def machine() -> str:
    """What the figures were measured on, in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{cores} core{'s' if cores > 1 else ''}, {memory_gib:.0f} GiB of memory, "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )


@dataclass(slots=True)
class Bench:
    """Measures programs on one broker; every input has topics of its own, which are deleted after it."""

    broker: str
    _token: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    _inputs: int = 0

    @contextmanager
    def input(self, events: int, advance: Advance) -> Iterator[str]:
        """Produces the input under a fresh prefix, and yields that."""
        self._inputs += 1
        prefix = f"bench-{self._token}-{self._inputs}."
        settings = load_settings(
            None,
            broker=self.broker,
            prefix=prefix,
            group=f"{prefix}group",
            partitions=PARTITIONS,
            replication=1,
        )
        try:
            asyncio.run(_produce(settings, events, advance))
            yield prefix
        finally:
            asyncio.run(_delete(settings))

    def ceiling(self, prefix: str, events: int) -> Measure:
        """Reads the input with the fastest program that keeps nothing."""
        command = [sys.executable, "-m", "bench.ceiling", self.broker, _responses(prefix)]
        report = self._run([*command, str(PARTITIONS), str(events)])
        return Measure.of(report, transactions=False)

    def worker(self, prefix: str, events: int, config: str, profile: Path | None = None) -> Measure:
        """Reads the input with the worker; ``profile`` names a file for what cProfile saw."""
        command = [sys.executable, "-m", "bench.durable", str(PROGRAMS / f"{config}.toml")]
        command += ["--broker", self.broker, "--prefix", prefix, "--events", str(events)]
        if profile is not None:
            command += ["--profile", str(profile.absolute())]
        return Measure.of(self._run(command), transactions=True)

    def peer(self, prefix: str, events: int, program: str, python: Path, *, group_by: bool) -> Measure:
        """Reads the input with a program that is built on something else."""
        name = f"{prefix}{program}{'-by' if group_by else ''}"
        command = [str(python), str(PROGRAMS / "peers" / f"{program}.py")]
        command += ["--broker", self.broker, "--topic", _responses(prefix), "--name", name]
        command += ["--events", str(events), "--partitions", str(PARTITIONS)]
        return Measure.of(self._run([*command, *["--group-by"] * group_by]), transactions=False)

    @staticmethod
    def _run(command: list[str]) -> Mapping[str, Any]:
        """Runs a program to its end; its last line on stdout is what it reports."""
        with tempfile.TemporaryDirectory(prefix="effortstream-bench-") as folder:
            log = Path(folder) / "log"
            with log.open("wb") as errors:
                process = subprocess.Popen(  # noqa: S603 - our own programs
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=ROOT,
                    env=os.environ | {"PYTHONPATH": str(ROOT)},
                    preexec_fn=die_with_parent(),  # noqa: PLW1509 - it makes two system calls and no more
                )
            try:
                output, _ = process.communicate(timeout=_PROGRAM_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise BenchError(
                    f"{' '.join(command)}\ndid not end within {_PROGRAM_TIMEOUT_S:.0f} s:\n{last_lines(log)}"
                ) from None
            finally:
                process.kill()
                process.wait()
            lines = output.splitlines()
            if process.returncode or not lines:
                raise BenchError(
                    f"{' '.join(command)}\nended with status {process.returncode}:\n{last_lines(log)}"
                )
            report: dict[str, Any] = json.loads(lines[-1])
            return report


def check_counts(worker: Measure, ceiling: Measure) -> None:
    """Makes sure that two programs came to the same counts: a rate says nothing about a wrong result.

    Raises:
        BenchError: they did not.
    """
    if (worker.events, worker.digest) != (ceiling.events, ceiling.digest):
        raise BenchError(
            f"The worker's counts differ from the ceiling's ({worker.events:,} and {ceiling.events:,} events, "
            f"digests {worker.digest} and {ceiling.digest}): this is a bug, please report it"
        )


def quix_python() -> Path:
    """The Python of an environment with Quix Streams, made the first time.

    Raises:
        BenchError: it cannot be made here.
    """
    folder = Path.home() / ".cache" / "effortstream" / QUIX.replace("==", "-")
    python = folder / "bin" / "python"
    done = folder / ".done"
    if done.is_file():
        return python
    try:
        _call([sys.executable, "-m", "venv", "--clear", str(folder)])
        _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", QUIX])
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or str(error)
        raise BenchError(f"{QUIX} could not be installed: {output.strip().splitlines()[-1]}") from None
    done.touch()
    return python


def _call(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - no part of the command comes from outside
        command, capture_output=True, text=True, check=True, timeout=_INSTALL_TIMEOUT_S
    )


def _responses(prefix: str) -> str:
    return Topics(prefix)(RESPONSES)


async def _produce(settings: Settings, events: int, advance: Advance) -> None:
    await create_topics(settings, lambda _: None)
    client = {"bootstrap_servers": settings.broker, **client_security(settings)}
    await import_module("bench.records").produce(
        client, _responses(settings.prefix), events, PARTITIONS, advance
    )


async def _delete(settings: Settings) -> None:
    """Deletes the topics of an input; where the broker does not answer any more they are left to it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker, **client_security(settings))
    with suppress(KafkaError, OSError):
        try:
            await admin.start()
            names = [name for name in await admin.list_topics() if settings.prefix in name]
            await admin.delete_topics(names)
        finally:
            await admin.close()
