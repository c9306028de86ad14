"""The worker of ``effortstream worker``, with a watch from its first batch to the commit of its last checkpoint."""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop

from agents.engine import Engine
from agents.panes import parse_series_code
from agents.responses import ResponseStage
from agents.topics import PARTIALS, RESPONSES, Topics
from agents.worker import Worker
from app.config import load_config
from app.logs import configure_logging
from app.settings import Settings, load_settings
from app.worker import run_worker
from bench.measuring import Watch, digest
from scoring.catalog import Catalog

_OUTCOME = ResponseStage.name, "accepted"


class Measured:
    """Watches a worker until it has committed ``events`` responses, then stops it."""

    def __init__(self, events: int, source: str, stop: asyncio.Event) -> None:
        self._events = events
        self._source = source
        self._stop = stop
        self.engine: Engine | None = None
        self.watch = Watch()
        self.report: dict[str, Any] = {}

    def attach(self, worker: Worker) -> None:
        """Puts the watch round the engine's own calls: nothing is polled while it runs."""
        engine = worker.engine
        take, observe = engine.take, engine._observe

        async def timed_take(source: Any, batch: Any) -> None:
            if source.topic == self._source and batch.records:
                self.watch.begin()
            await take(source, batch)

        def timed_observe(seconds: float) -> None:
            observe(seconds)
            if not self.report and engine.totals.events.get(_OUTCOME, 0) >= self._events:
                self.watch.end()
                self.engine = engine
                self.report = counted(engine)
                self._stop.set()

        engine.take, engine._observe = timed_take, timed_observe  # type: ignore[method-assign]


def counted(engine: Engine) -> dict[str, Any]:
    """What the state of the worker's responses says."""
    counts: Counter[tuple[str, int]] = Counter()
    entries = 0
    for owned in engine.ready.values():
        stage = owned.stage
        if not isinstance(stage, ResponseStage):
            continue
        entries += stage.sizes["ledger_entries"]
        low = {question.id: question.scale.low for question in stage._intake.catalog.questions.values()}
        for (touchpoint, _, _), group in stage._panes.groups.items():
            for code, vector in group.items():
                question, segment, _ = parse_series_code(code)
                if not segment:
                    for at, count in enumerate(vector[:-1]):
                        counts[touchpoint, low[question] + at] += count
    return {"events": engine.totals.events[_OUTCOME], "digest": digest(+counts), "ledger_entries": entries}


def written(engine: Engine) -> dict[str, Any]:
    """What the worker has written, once it has ended: its very last checkpoint counts too."""
    totals = engine.totals
    return {
        "checkpoints": totals.checkpoints,
        "state_records": totals.changelog_records + totals.records.get(PARTIALS.name, 0),
        "bytes_written": totals.bytes_written,
    }


async def run(settings: Settings, catalog: Catalog, events: int) -> Measured:
    stop = asyncio.Event()
    measured = Measured(events, Topics(settings.prefix, settings.group)(RESPONSES), stop)
    await run_worker(settings, catalog, stop=stop, on_ready=measured.attach)
    if measured.engine is not None:
        measured.report |= written(measured.engine)
    return measured


class Profiles:
    """cProfile in every thread that begins while it is entered: the worker has a second one that fetches."""

    def __init__(self) -> None:
        self._all: list[cProfile.Profile] = []

    def __enter__(self) -> None:
        threading.setprofile(self._begin)
        self._begin()

    def __exit__(self, *_: object) -> None:
        threading.setprofile(None)
        for profile in self._all:
            profile.disable()

    def _begin(self, *_: object) -> None:
        profile = cProfile.Profile(time.thread_time)  # CPU only: waiting for the other thread is no work
        self._all.append(profile)
        profile.enable()

    def save(self, file: Path) -> None:
        """Writes the sum of all threads, for pstats."""
        stats = pstats.Stats(self._all[0])
        for profile in self._all[1:]:
            stats.add(profile)
        stats.dump_stats(file)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("--broker")
    parser.add_argument("--prefix")
    parser.add_argument("--events", type=int)
    parser.add_argument("--profile", type=Path)
    args = parser.parse_args()
    loaded = load_config(args.config)
    settings = load_settings(
        loaded, broker=args.broker, prefix=args.prefix, group=f"{args.prefix}group", metrics_port=0
    )
    configure_logging(settings)
    profiles = Profiles()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if args.profile is None:
            measured = runner.run(run(settings, loaded.catalog, args.events))
        else:
            with profiles:
                measured = runner.run(run(settings, loaded.catalog, args.events))
            profiles.save(args.profile)
    measured.watch.report(**measured.report)


if __name__ == "__main__":
    sys.exit(main())
