"""How long a worker restores: state of a stated size on a real Apache Kafka, and the worker that takes it up.

    python -m bench.recovery --panes 1000000 --responses 5000000

The state is made by the stages themselves and written as they write it, checkpoint by checkpoint. Then
``effortstream worker`` is started on it, and its own line "partitions ready" says how long it took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agents.checkpoints import Place, TransactionalSink
from agents.contacts import InteractionStage
from agents.ports import Batch, Outgoing
from agents.responses import ResponseStage
from agents.scores import ScoreStage
from agents.source import Intake
from agents.topics import PARTIALS, RESPONSES, Topics
from app.bench import apache_kafka, machine
from app.config import load_config
from app.processes import die_with_parent
from app.settings import load_settings
from app.topics import create_topics

CONFIG: Final = Path(__file__).with_name("recovery.toml")
PARTITIONS: Final = 4
HOUR_MS: Final = 3_600_000
FIRST_MS: Final = 1_763_719_200_000
HOURS: Final = 160  # within the retention of the default windows
_BATCH: Final = 20_000
_WAIT_S: Final = 600.0


@dataclass(slots=True)
class Rec:
    """A record as a stage reads it."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: tuple[()] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """What one restore came to."""

    what: str
    items: int
    records: int
    mib: float
    seconds: float
    ready_s: float
    cpu_s: float
    peak_mib: float
    target_s: float

    def line(self) -> str:
        """One line of the table."""
        kept = "" if self.seconds < self.target_s else "  MISSED"
        columns = (
            f"{self.what:<40}",
            f"{self.items:>10,}",
            f"{self.records:>12,}",
            f"{self.mib:>7.0f}",
            f"{self.seconds:>12.1f}",
            f"{self.target_s:>9.0f}",
            f"{self.ready_s:>9.1f}",
            f"{self.cpu_s:>7.1f}",
            f"{self.peak_mib:>10.0f}",
        )
        return "".join(columns) + kept


HEAD: Final = (
    f"{'state':<40}{'of them':>10}{'records':>12}{'MiB':>7}"
    f"{'restored s':>12}{'at most':>9}{'start s':>9}{'CPU s':>7}{'peak MiB':>10}"
)


class Store:
    """Changelogs of one deployment, written by the stages' own checkpoints through their own sinks.

    What the checkpoints send elsewhere is handed to ``forward`` instead of a topic.
    """

    def __init__(self, broker: str) -> None:
        name = uuid.uuid4().hex[:8]
        self.topics = Topics(f"r{name}.", f"recovery-{name}")
        self._client = {"bootstrap_servers": broker}
        self.settings = load_settings(
            None,
            broker=broker,
            prefix=self.topics.prefix,
            group=self.topics.group,
            partitions=PARTITIONS,
            replication=1,
        )
        self.intake = Intake(load_config(CONFIG).catalog, PARTITIONS)
        self.records = 0
        self.bytes = 0

    async def create(self) -> None:
        """Makes the topics."""
        await create_topics(self.settings, lambda _: None)

    async def write(self, stage: Any, source: str, steps: Iterator[Outgoing | None]) -> None:
        """Writes the changelog part of each checkpoint."""
        sink = TransactionalSink(Place(self.topics, stage.name, source, stage.partition), self._client, 60.0)
        await sink.open()
        try:
            for outgoing in steps:
                if outgoing is not None:
                    mine = Outgoing(outgoing.position, outgoing.changelog)
                    self.records += len(mine.changelog)
                    self.bytes += mine.size_bytes
                    await sink.write(mine)
        finally:
            await sink.close()


def _feed(
    stage: Any, values: Iterator[tuple[int, bytes]], forward: Callable[[Outgoing], None] | None = None
) -> Iterator[Outgoing | None]:
    """Checkpoints of a stage that is fed; its position stays before the (empty) input topic's start."""
    lot: list[Rec] = []

    def step() -> Outgoing | None:
        stage.apply(Batch(lot, 0, 0, 0))
        lot.clear()
        outgoing: Outgoing | None = stage.checkpoint(FIRST_MS)
        if outgoing is not None and forward is not None:
            forward(outgoing)
        return outgoing

    for time_ms, value in values:
        lot.append(Rec(0, time_ms, b"k", value))
        if len(lot) == _BATCH:
            yield step()
    yield step()


def _spread(partition: int, panes: int) -> Iterator[tuple[int, bytes]]:
    """One answer for each hour of each touchpoint: as many panes."""
    touchpoints = -(-panes // (PARTITIONS * HOURS))
    for hour in range(HOURS):
        for number in range(touchpoints):
            time_ms = FIRST_MS + hour * HOUR_MS + number * HOUR_MS // touchpoints
            yield (
                time_ms,
                b'{"response_id":"%d-%d-%d","question":"effort","rating":%d,"touchpoint":"t%d-%d","event_time_ms":%d}'
                % (partition, hour, number, number % 7 + 1, partition, number, time_ms),
            )


def _dense(partition: int, responses: int) -> Iterator[tuple[int, bytes]]:
    """Answers of a few touchpoints within the horizon: few panes, and all of them in the ledger."""
    count = responses // PARTITIONS
    for number in range(count):
        time_ms = FIRST_MS + number * 48 * HOUR_MS // count
        yield (
            time_ms,
            b'{"response_id":"%d-%d","question":"effort","rating":%d,"touchpoint":"t%d","event_time_ms":%d}'
            % (partition, number, number % 7 + 1, number % 50, time_ms),
        )


async def _store_intakes(
    store: Store, values: Callable[[int], Iterator[tuple[int, bytes]]], sort: str
) -> int:
    total = 0
    for partition in range(PARTITIONS):
        stage = ResponseStage("responses", partition, store.intake)
        await store.write(stage, store.topics(RESPONSES), _feed(stage, values(partition)))
        total += stage.sizes[sort]
    return total


async def _store_scores(store: Store, panes: int) -> int:
    """The scores' state of the same answers: each touchpoint lies in one partials partition."""
    scores = [ScoreStage(at, store.intake.catalog, PARTITIONS) for at in range(PARTITIONS)]
    fed: list[list[Rec]] = [[] for _ in scores]

    def forward(outgoing: Outgoing) -> None:
        for (topic, at), sent in outgoing.sends.items():
            if topic is PARTIALS:
                fed[at] += [Rec(0, FIRST_MS, out.key or b"", out.value or b"") for out in sent]

    for partition in range(PARTITIONS):
        contacts = InteractionStage("interactions", partition, store.intake)
        for moment_ms in (FIRST_MS, FIRST_MS + store.intake.catalog.timing.idle_timeout_ms):
            contacts.tick(moment_ms, at_end=True)
        forward(contacts.checkpoint(moment_ms) or Outgoing(0))
    lots = [
        _feed(ResponseStage("responses", at, store.intake), _spread(at, panes), forward)
        for at in range(PARTITIONS)
    ]
    for _ in zip(*lots, strict=True):
        pass  # all sources go on side by side, as their watermarks must
    total = 0
    for at, stage in enumerate(scores):
        await store.write(stage, store.topics(PARTIALS), _merge(stage, fed[at]))
        total += stage.sizes["panes"]
    return total


def _merge(stage: ScoreStage, records: list[Rec]) -> Iterator[Outgoing | None]:
    for begin in range(0, len(records), 200):
        stage.apply(Batch(records[begin : begin + 200], 0, 0, 0))
        yield stage.checkpoint(FIRST_MS)


def restore(store: Store, what: str, items: int, target_s: float) -> Figures:
    """Starts a worker on what is stored, and waits until it has taken all of it up."""
    environment = {name: value for name, value in os.environ.items() if "EFFORTSTREAM_" not in name}
    environment |= {
        "EFFORTSTREAM_PREFIX": store.topics.prefix,
        "EFFORTSTREAM_GROUP": store.topics.group,
        "EFFORTSTREAM_LOG_FORMAT": "json",
    }
    command = [sys.executable, "-m", "app", "worker", "--config", str(CONFIG)]
    command += ["--broker", store.settings.broker, "--metrics-port", "0"]
    begun_s = time.monotonic()
    with tempfile.TemporaryFile() as log:
        worker = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - it makes two system calls and no more
        )
        try:
            said = _ready(worker, log, begun_s + _WAIT_S)
            ready_s = time.monotonic() - begun_s
            cpu_s, peak_mib = _used(worker.pid)
        finally:
            worker.kill()  # its time is taken; what it would store on its way out is no matter here
            worker.wait()
    return Figures(
        what,
        items,
        said["restored_records"],
        store.bytes / (1 << 20),
        said["seconds"],
        ready_s,
        cpu_s,
        peak_mib,
        target_s,
    )


def _ready(worker: subprocess.Popen[bytes], log: Any, deadline_s: float) -> dict[str, Any]:
    while time.monotonic() < deadline_s:
        log.seek(0)
        text = log.read().decode()
        for line in text.splitlines():
            if '"partitions ready"' in line:
                found: dict[str, Any] = json.loads(line)
                return found
        if worker.poll() is not None:
            raise RuntimeError(f"the worker ended with status {worker.returncode}:\n{text[-2000:]}")
        time.sleep(0.1)
    raise RuntimeError(f"the worker was not ready in time:\n{text[-2000:]}")


def _used(pid: int) -> tuple[float, float]:
    """CPU seconds of a process, and the most memory that it has held, in MiB, where the system tells them."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return float("nan"), float("nan")
    ticks = int(stat[11]) + int(stat[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(status.split("VmHWM:")[1].split()[0]) / 1024


async def _stored(store: Store, case: str, panes: int, responses: int) -> tuple[str, int, float]:
    await store.create()
    if case == "intake":
        items = await _store_intakes(store, lambda at: _spread(at, panes), "panes")
        return "panes of the intake, and their ledger", items, 20.0
    if case == "scores":
        return "panes of the scores, and their windows", await _store_scores(store, panes), 20.0
    items = await _store_intakes(store, lambda at: _dense(at, responses), "ledger_entries")
    return "responses in the ledger", items, 30.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--panes", type=int, default=1_000_000)
    parser.add_argument("--responses", type=int, default=5_000_000)
    parser.add_argument("--broker")
    parser.add_argument("--only", choices=("intake", "scores", "ledger"))
    given = parser.parse_args()
    with apache_kafka(given.broker) as (broker, kafka):
        print(f"{kafka}; {machine()}\n{HEAD}")
        for case in (given.only,) if given.only else ("intake", "scores", "ledger"):
            store = Store(broker)
            what, items, target_s = asyncio.run(_stored(store, case, given.panes, given.responses))
            print(restore(store, what, items, target_s).line(), flush=True)


if __name__ == "__main__":
    main()
