"""Servers that tests start on free ports, in temporary folders: Apache Kafka, Prometheus with Alertmanager."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from app.broker import cluster_id
from app.processes import HOST, die_with_parent, free_port, last_lines
from app.prometheus_native import Station, programs

KAFKA_VERSION = "4.1.1"
JAVA_VERSION_MIN = 17
POM = Path(__file__).parent / "kafka" / "pom.xml"
FETCH_DEADLINE_S = 600
START_DEADLINE_S = 90
POLL_S = 0.1


class KafkaMissingError(Exception):
    """This machine cannot run Apache Kafka; the message says what is missing and how to get it."""


def without(reason: str) -> None:
    """Skips a test for want of a server; where CI=true that is a failure, since nobody would notice there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def kafka_libs() -> Path:
    """The folder with Kafka's jars, fetched by Maven the first time."""
    default = Path.home() / ".cache" / "effortstream" / f"kafka-{KAFKA_VERSION}"
    folder = Path(os.environ.get("EFFORTSTREAM_KAFKA_LIBS") or default)
    if (folder / f"kafka_2.13-{KAFKA_VERSION}.jar").is_file():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaMissingError(
            f"no jars of Apache Kafka in {folder} and no mvn to fetch them: install Maven"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Elsewhere first: an interrupted or a second fetch must not leave half a set of jars under the final name
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_DEADLINE_S, check=False, cwd=fresh
        )
        if done.returncode:
            raise KafkaMissingError(
                f"Maven could not fetch Apache Kafka:\n{(done.stdout + done.stderr)[-2000:]}"
            )
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except subprocess.TimeoutExpired:
        raise KafkaMissingError(f"Maven did not fetch Apache Kafka within {FETCH_DEADLINE_S} s") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def java() -> str:
    """A Java that is new enough for Kafka."""
    home = os.environ.get("JAVA_HOME")
    program = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if program is None:
        raise KafkaMissingError(f"no Java: install Java {JAVA_VERSION_MIN}")
    shown = subprocess.run([program, "-version"], capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r'version "(?:1\.)?(\d+)', shown.stderr)
    if found is None or int(found[1]) < JAVA_VERSION_MIN:
        raise KafkaMissingError(
            f"{program} is not Java {JAVA_VERSION_MIN} or newer: {shown.stderr.splitlines()[:1]}"
        )
    return program


async def make_topic(
    admin: AIOKafkaAdminClient, name: str, partitions: int = 1, settings: dict[str, str] | None = None
) -> None:
    """Creates a topic and waits until it is in the metadata, which follows a little later."""
    await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
    async with asyncio.timeout(START_DEADLINE_S):
        while name not in await admin.list_topics():
            await asyncio.sleep(POLL_S)


class ApacheKafka:
    """Apache Kafka in KRaft mode: one broker, or a cluster whose topics have as many copies as it has brokers (3 at most).

    Every broker is a controller as well. Topics are not created by asking for them. Nothing is deleted by age, so that
    records of long ago stay. Each process is known by its id, and dies with the process that started it.

    Args:
        brokers: how many.
        heap: the memory of each Java process, as -Xmx takes it.
        fronts: ports of proxies, one per broker; a client that comes in at ``behind`` is told to use these, so all that
            it does goes through the proxies, while clients of ``address`` go round them.

    Raises:
        KafkaMissingError: no Java, or no jars and no Maven.
    """

    def __init__(self, brokers: int = 1, heap: str = "512m", fronts: Sequence[int] = ()) -> None:
        self._java, self._libs, self._heap = java(), kafka_libs(), heap
        self._ports = [free_port() for _ in range(brokers)]
        self._controllers = [free_port() for _ in range(brokers)]
        self._fronts = list(fronts)
        self.behind = [free_port() for _ in self._fronts]
        self._folder = Path(tempfile.mkdtemp(prefix="effortstream-kafka-"))
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        """``host:port`` of every broker, with commas."""
        return ",".join(f"{HOST}:{port}" for port in self._ports)

    def pid(self, broker: int = 0) -> int:
        """The process id of a broker, counted from 0."""
        return self._processes[broker].pid

    def __enter__(self) -> Self:
        try:
            self._format()
            for broker in range(len(self._ports)):
                self._launch(broker)
            self.wait(len(self._ports))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends every process and removes the folder; their data has no further use, so they need not wind down."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def pause(self, broker: int = 0) -> None:
        """Freezes a broker: its connections stay open and nothing is answered."""
        os.kill(self.pid(broker), signal.SIGSTOP)

    def resume(self, broker: int = 0) -> None:
        """Lets a frozen broker go on."""
        os.kill(self.pid(broker), signal.SIGCONT)

    def kill(self, broker: int = 0) -> None:
        """Ends a broker like a power cut."""
        self._processes[broker].kill()
        self._processes[broker].wait()

    def restart(self, broker: int = 0) -> None:
        """Starts a killed broker on its own data and waits until every live one is in the cluster."""
        self.launch(broker)
        self.wait(sum(process.poll() is None for process in self._processes.values()))

    def launch(self, broker: int = 0) -> None:
        """Starts a killed broker on its own data, and does not wait for it."""
        self._launch(broker)

    def wait(self, brokers: int) -> None:
        """Waits until that many brokers are in the cluster's metadata.

        In a thread of its own, so that asynchronous tests may call it as well.
        """
        failure: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._answer(brokers))
            except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
                failure.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]

    async def _answer(self, brokers: int) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        cause = "no answer"
        while time.monotonic() < deadline:
            for broker, process in self._processes.items():
                if process.poll() is not None and len(self._processes) == brokers:
                    raise RuntimeError(
                        f"Kafka broker {broker} ended with status {process.returncode}:\n{last_lines(self._log(broker))}"
                    )
            try:
                if await self._members() >= brokers:
                    return
                cause = "not all brokers have joined"
            except (OSError, KafkaError) as error:
                cause = repr(error)
            await asyncio.sleep(POLL_S)
        logs = "\n".join(f"broker {broker}:\n{last_lines(self._log(broker))}" for broker in self._processes)
        raise TimeoutError(
            f"Kafka at {self.address} is not ready after {START_DEADLINE_S} s ({cause})\n{logs}"
        )

    async def _members(self) -> int:
        live = next(b for b, process in self._processes.items() if process.poll() is None)
        address = f"{HOST}:{self._ports[live]}"
        await cluster_id(address, {}, timeout_s=2)
        admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=5000)
        try:
            await admin.start()
            return len((await admin.describe_cluster())["brokers"])
        finally:
            await admin.close()

    def _log(self, broker: int) -> Path:
        return self._folder / f"broker-{broker}.log"

    def _format(self) -> None:
        # A leading - would be read as an option
        cluster = "E" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        running = []
        for broker in range(len(self._ports)):
            properties = self._folder / f"broker-{broker}.properties"
            properties.write_text(self._properties(broker), encoding="utf-8")
            command = [
                *self._command(),
                "kafka.tools.StorageTool",
                "format",
                "-t",
                cluster,
                "-c",
                str(properties),
            ]
            with self._log(broker).open("wb") as log:
                running.append(
                    subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent())
                )
        for broker, process in enumerate(running):
            if process.wait(START_DEADLINE_S):
                raise RuntimeError(f"Kafka's storage cannot be formatted:\n{last_lines(self._log(broker))}")

    def _launch(self, broker: int) -> None:
        command = [*self._command(), "kafka.Kafka", str(self._folder / f"broker-{broker}.properties")]
        with self._log(broker).open("ab") as log:
            self._processes[broker] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )

    def _command(self) -> list[str]:
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return [self._java, f"-Xmx{self._heap}", quiet, "-cp", f"{self._libs}/*"]

    def _properties(self, broker: int) -> str:
        copies = min(len(self._ports), 3)
        nodes = enumerate(self._controllers, start=1)
        settings = {
            "process.roles": "broker,controller",
            "node.id": broker + 1,
            "controller.quorum.voters": ",".join(f"{node}@{HOST}:{port}" for node, port in nodes),
            "listeners": f"PLAINTEXT://{HOST}:{self._ports[broker]},CONTROLLER://{HOST}:{self._controllers[broker]}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self._ports[broker]}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": self._folder / f"data-{broker}",
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": max(1, copies - 1),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": max(1, copies - 1),
            "transaction.state.log.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "leader.imbalance.check.interval.seconds": 5,
            "log.retention.ms": -1,
        }
        if self._fronts:
            settings["listeners"] += f",FRONT://{HOST}:{self.behind[broker]}"
            settings["advertised.listeners"] += f",FRONT://{HOST}:{self._fronts[broker]}"
            settings["listener.security.protocol.map"] += ",FRONT:PLAINTEXT"
            settings["inter.broker.listener.name"] = "PLAINTEXT"
        return "".join(f"{key}={value}\n" for key, value in settings.items())


class Monitoring:
    """Prometheus and Alertmanager of this machine, on free ports, with their data in a folder that goes with them.

    Args:
        rules: the rule file.
        targets: HOST:PORT of what is scraped, by job.
        alertmanager: the configuration of Alertmanager.

    Raises:
        ProgramMissing: one of them is not installed.
    """

    def __init__(
        self, rules: str, targets: Mapping[str, Sequence[str]], alertmanager: Mapping[str, Any]
    ) -> None:
        self._programs = programs()
        self._folder = Path(tempfile.mkdtemp(prefix="effortstream-monitoring-"))
        self.station = Station(self._folder, free_port(), free_port())
        self.station.write(rules, targets, alertmanager)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            for name, command in self.station.commands(self._programs).items():
                with self._log(name).open("wb") as log:
                    self._processes[name] = subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                        preexec_fn=die_with_parent(),
                    )
            for name, address in (
                ("alertmanager", self.station.alertmanager),
                ("prometheus", self.station.prometheus),
            ):
                self._wait(name, f"{address}/-/ready")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends both and removes their folder."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self, name: str, url: str) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            if self._processes[name].poll() is not None:
                raise RuntimeError(f"{name} ended by itself:\n{last_lines(self._log(name))}")
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(url, timeout=2).is_success:
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} is not ready:\n{last_lines(self._log(name))}")
            time.sleep(POLL_S)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"
