"""One worker under a steady load: does its memory stay flat, does its lag come back to zero?

    python -m bench.soak --minutes 30 --rate 20000 --horizon 2m     entries leave the ledger after 2 H: flat
    python -m bench.soak --minutes 30 --rate 20000 --horizon 48h    none leaves: it grows by the ledger alone

Events carry the time at which they are sent. Exit status 1: memory was not flat though it should have been, the lag
did not come back, or records were lost.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from agents.topics import RESPONSES, Topics
from app.bench import apache_kafka, machine
from app.config import load_config
from app.processes import HOST, die_with_parent, free_port
from app.settings import load_settings
from app.topics import create_topics

PARTITIONS: Final = 4
TOUCHPOINTS: Final = 50
FLAT: Final = 0.05
"""How far the last third's memory may lie above the middle third's."""

_CONFIG: Final = """
[questions.effort]
metric = "ces"
scale = {{ low = 1, high = 7, best = 7 }}
[windows]
live = ["5m"]
calendar = ["1h"]
horizon = "{horizon}"
"""
_VALUE: Final = (
    b'{"response_id":"r%d","customer_id":"c%d","touchpoint":"touchpoint-%02d",'
    b'"question":"effort","rating":%d,"event_time_ms":%d}'
)
_TICK_S: Final = 0.05
_SAMPLE_S: Final = 1.0
_START_S: Final = 60.0
_CATCH_UP_S: Final = 60.0
_INPUT_BYTES: Final = {"retention.bytes": str(256 << 20), "segment.bytes": str(64 << 20)}
"""Of each input partition: half an hour of load would fill five gigabytes."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The worker at one moment."""

    at_s: float
    resident_mib: float
    ledger_mib: float
    entries: float
    lag: float
    lost: float


@dataclass(slots=True)
class Soak:
    """What a run came to.

    Attributes:
        samples: one a second, while events came.
        caught_up_s: from the last event to a lag of zero; None if that did not come.
    """

    rate: int
    horizon_ms: int
    sent: int = 0
    seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    caught_up_s: float | None = None
    cpu_s: float = 0.0

    def third(self, number: int) -> float:
        """Mean resident memory of a third of the run, in MiB."""
        size = len(self.samples) // 3
        return statistics.fmean(s.resident_mib for s in self.samples[number * size : (number + 1) * size])

    @property
    def drift(self) -> float:
        """How much more memory the last third has held than the middle one, as a share."""
        return self.third(2) / self.third(1) - 1

    @property
    def leaves(self) -> bool:
        """Whether entries have left the ledger for two thirds of the run, so that memory must be flat."""
        return 2 * self.horizon_ms / 1000 <= self.seconds / 3

    def problems(self) -> list[str]:
        """What is not as it should be."""
        out = []
        if self.leaves and self.drift > FLAT:
            out.append(f"the last third holds {self.drift:.1%} more memory than the middle one")
        if self.caught_up_s is None:
            out.append(f"the lag did not come back to zero within {_CATCH_UP_S:.0f} s")
        if self.samples[-1].lost:
            out.append(f"{self.samples[-1].lost:.0f} records were removed before they were read")
        return out

    def table(self) -> str:
        """The final table."""
        first, last = self.samples[len(self.samples) // 3], self.samples[-1]
        grown, ledger = last.resident_mib - first.resident_mib, last.ledger_mib - first.ledger_mib
        entries = last.entries - first.entries
        each = f"{grown * (1 << 20) / entries:.0f} bytes an entry" if entries > 0 else "no more entries"
        rows = {
            "events": f"{self.sent:,} in {self.seconds:.0f} s ({self.sent / self.seconds:,.0f}/s)",
            "resident memory": " / ".join(f"{self.third(at):.0f}" for at in range(3)) + " MiB by thirds",
            "last to middle third": f"{self.drift:+.1%}"
            + ("" if self.leaves else " (entries had not left for long: not judged)"),
            "since the first third": f"{grown:+.0f} MiB, the ledger's tables {ledger:+.0f} MiB, "
            f"{entries:+,.0f} entries: {each}",
            "ledger at the end": f"{last.entries:,.0f} entries in {last.ledger_mib:.0f} MiB",
            "lag": f"{max(s.lag for s in self.samples):,.0f} records at most, "
            + (
                "never zero again"
                if self.caught_up_s is None
                else f"zero {self.caught_up_s:.1f} s after the last"
            ),
            "CPU": f"{self.cpu_s / self.seconds:.2f} of a core",
            "result": "; ".join(self.problems()) or "as it should be",
        }
        return "\n".join(f"{name:<24}{value}" for name, value in rows.items())


class Load:
    """Sends events at a rate, stamped with the time at which they are sent."""

    def __init__(self, broker: str, topic: str, rate: int) -> None:
        self._topic, self._rate = topic, rate
        self._producer = AIOKafkaProducer(
            bootstrap_servers=broker, acks=1, linger_ms=0, max_batch_size=1 << 20, max_request_size=4 << 20
        )
        self.sent = 0

    async def run(self, seconds: float) -> None:
        """Sends for so long."""
        await self._producer.start()
        try:
            begun_s = time.monotonic()
            while (passed_s := time.monotonic() - begun_s) < seconds:
                await self._send(int(passed_s * self._rate) - self.sent)
                await asyncio.sleep(_TICK_S)
        finally:
            await self._producer.stop()

    async def _send(self, count: int) -> None:
        now_ms = time.time_ns() // 1_000_000
        builders = [self._producer.create_batch() for _ in range(PARTITIONS)]
        for number in range(self.sent, self.sent + count):
            customer = number * 2_654_435_761 % 200_000  # a customer stays with one partition
            value = _VALUE % (number, customer, number % TOUCHPOINTS, number % 7 + 1, now_ms)
            builders[customer % PARTITIONS].append(key=b"c%d" % customer, value=value, timestamp=None)
        self.sent += count
        sent = []
        for partition, builder in enumerate(builders):
            builder.close()
            if builder.record_count():
                sent.append(await self._producer.send_batch(builder, self._topic, partition=partition))
        await asyncio.gather(*sent)


class Probe:
    """Reads a worker's metrics and its memory."""

    def __init__(self, pid: int, port: int) -> None:
        self._pid, self._url = pid, f"http://{HOST}:{port}/metrics"
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._begun_s = time.monotonic()

    def cpu_s(self) -> float:
        """CPU seconds so far."""
        stat = Path(f"/proc/{self._pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Memory that it holds now."""
        pages = Path(f"/proc/{self._pid}/statm").read_text(encoding="utf-8").split()[1]
        return int(pages) * self._page / (1 << 20)

    async def sample(self, client: httpx.AsyncClient) -> Sample:
        """The worker now."""
        lines = (await client.get(self._url)).text.splitlines()
        found: dict[str, float] = {}
        for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#")):
            found[name.partition("{")[0]] = found.get(name.partition("{")[0], 0.0) + float(value)
        return Sample(
            time.monotonic() - self._begun_s,
            self.resident_mib(),
            found["effortstream_ledger_bytes"] / (1 << 20),
            found["effortstream_ledger_entries"],
            found.get("effortstream_consumer_lag_records", 0.0),
            found["effortstream_lost_records_total"],
        )


def _start(broker: str, topics: Topics, config: Path, log: Path, port: int) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if "EFFORTSTREAM_" not in name}
    environment |= {"EFFORTSTREAM_PREFIX": topics.prefix, "EFFORTSTREAM_GROUP": topics.group}
    command = [sys.executable, "-m", "app", "worker", "--config", str(config)]
    command += ["--broker", broker, "--metrics-port", str(port)]
    with log.open("wb") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - it makes two system calls and no more
        )


@asynccontextmanager
async def worker(broker: str, topics: Topics, config: Path, folder: Path) -> AsyncIterator[Probe]:
    """``effortstream worker`` as a process of its own, ready to read."""
    port, log = free_port(), folder / "worker.log"
    process = _start(broker, topics, config, log, port)
    try:
        deadline_s = time.monotonic() + _START_S
        while "partitions ready" not in (said := log.read_text(encoding="utf-8", errors="replace")):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"the worker is not ready:\n{said[-2000:]}")
            await asyncio.sleep(0.1)
        yield Probe(process.pid, port)
        if process.poll() is not None:
            raise RuntimeError(f"the worker has ended:\n{log.read_text(encoding='utf-8')[-2000:]}")
    finally:
        process.terminate()
        process.wait(20)


async def soak(broker: str, minutes: float, rate: int, horizon: str, folder: Path) -> Soak:
    """One run."""
    config = folder / "effortstream.toml"
    config.write_text(_CONFIG.format(horizon=horizon), encoding="utf-8")
    out = Soak(rate, load_config(config).catalog.timing.horizon_ms)
    name = uuid.uuid4().hex[:8]
    topics = Topics(f"s{name}.", f"soak-{name}")
    settings = load_settings(
        None, broker=broker, prefix=topics.prefix, group=topics.group, partitions=PARTITIONS, replication=1
    )
    await create_topics(settings, lambda _: None)
    await _bound_input(broker, topics(RESPONSES))
    load = Load(broker, topics(RESPONSES), rate)
    async with worker(broker, topics, config, folder) as probe, httpx.AsyncClient(timeout=30) as client:
        begun_s, cpu_s = time.monotonic(), probe.cpu_s()
        sending = asyncio.create_task(load.run(minutes * 60))
        try:
            for number in itertools.count(1):
                await asyncio.sleep(_SAMPLE_S)
                if sending.done():
                    break
                out.samples.append(await probe.sample(client))
                if number % 60 == 0:
                    _say(out.samples[-1])
            await sending
        finally:
            sending.cancel()
        out.sent, out.seconds, out.cpu_s = load.sent, time.monotonic() - begun_s, probe.cpu_s() - cpu_s
        out.caught_up_s = await _caught_up(probe, client)
    return out


async def _caught_up(probe: Probe, client: httpx.AsyncClient) -> float | None:
    begun_s = time.monotonic()
    while time.monotonic() - begun_s < _CATCH_UP_S:
        if (await probe.sample(client)).lag == 0:
            return time.monotonic() - begun_s
        await asyncio.sleep(_TICK_S)
    return None


def _say(sample: Sample) -> None:
    sys.stderr.write(
        f"{sample.at_s:6.0f} s  {sample.resident_mib:5.0f} MiB resident, ledger {sample.entries:,.0f} entries in "
        f"{sample.ledger_mib:.0f} MiB, lag {sample.lag:,.0f}\n"
    )


async def _bound_input(broker: str, topic: str) -> None:
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, _INPUT_BYTES)])
    finally:
        await admin.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=20_000, help="events a second")
    parser.add_argument("--horizon", default="2m")
    parser.add_argument("--broker")
    given = parser.parse_args()
    with (
        apache_kafka(given.broker) as (broker, kafka),
        tempfile.TemporaryDirectory(prefix="effortstream-soak-") as folder,
    ):
        print(f"{kafka}; {machine()}; horizon {given.horizon}", flush=True)
        out = asyncio.run(soak(broker, given.minutes, given.rate, given.horizon, Path(folder)))
        print(out.table())
    return 1 if out.problems() else 0


if __name__ == "__main__":
    sys.exit(main())
