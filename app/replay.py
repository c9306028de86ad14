"""Replay: files through the whole pipeline under a topic prefix of its own, and the figures read back from it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.partitioner import murmur2

from agents.engine import Engine
from agents.scores import ScoreStage
from agents.source import END_OF_INPUT, SourceStage
from agents.topics import DEAD_LETTERS, INTERACTIONS, RESPONSES, WINDOWS, Topics, TopicSpec
from agents.worker import Worker
from app.broker import EmbeddedBroker
from app.cells import FileMapping
from app.figures import Figures, InteractionSummary, Summary, WindowTally, segment_key
from app.kept import kept_segments
from app.rows import Event, Reading, Refused
from app.settings import Settings, client_security
from app.topics import create_topics, deployment_topics
from app.worker import run_worker
from scoring.catalog import Catalog
from scoring.errors import EffortStreamError
from scoring.tallies import add
from scoring.windows import calendar_window

PREFIX = "effort.replay."
EMBEDDED_SESSION_S = 6
EMBEDDED_REBALANCE_S = 4
_BATCH_BYTES = 1 << 20
_POLL_S = 0.05
_STALL_S = 120.0
_READ_S = 60.0
_SPECS = {"responses": RESPONSES, "interactions": INTERACTIONS}


class ReplayError(EffortStreamError, RuntimeError):
    """The replay could not be brought to its end."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Who is told of the progress: produced records, counted records, refused rows."""

    produced: Callable[[int], None] = lambda _: None
    counted: Callable[[int], None] = lambda _: None
    refused: Callable[[Refused], None] = lambda _: None


async def replay_files(
    reading: Reading,
    mapping: FileMapping,
    catalog: Catalog,
    settings: Settings,
    *,
    embedded: bool,
    keep: bool = False,
    steps: Steps | None = None,
) -> Figures:
    """Produces what was read, runs a worker on it until its end, and reads the figures back.

    Args:
        reading: events in the order in which they count.
        mapping: what they were made by.
        catalog: what they are counted by.
        settings: broker, security, partitions; its prefix and group are not used.
        embedded: start a broker for it, instead of using ``settings.broker``.
        keep: leave the topics at the end.
        steps: told of the progress.

    Raises:
        EffortStreamError: no broker, or the pipeline came to a stop.
    """
    steps = steps or Steps()
    name = secrets.token_hex(4)
    own = {"prefix": f"{PREFIX}{name}.", "group": f"effort-replay-{name}", "metrics_port": 0, "clock": None}
    async with AsyncExitStack() as stack:
        if embedded:
            broker = await stack.enter_async_context(EmbeddedBroker())
            own |= {"broker": broker.address, "allow_non_transactional": True, "replication": 1}
            own |= {"session_timeout_s": EMBEDDED_SESSION_S, "rebalance_timeout_s": EMBEDDED_REBALANCE_S}
            own |= {"security_protocol": "PLAINTEXT"}
        settings = settings.model_copy(update=own)
        replay = _Replay(reading, mapping, catalog, settings, steps)
        await create_topics(settings, lambda _: None)
        if not keep and not embedded:
            stack.push_async_callback(replay.delete_topics)
        return await replay.run()


class _Replay:
    def __init__(
        self, reading: Reading, mapping: FileMapping, catalog: Catalog, settings: Settings, steps: Steps
    ) -> None:
        self._reading = reading
        self._mapping = mapping
        self._catalog = catalog
        self._settings = settings
        self._steps = steps
        self._topics = Topics(settings.prefix, settings.group)
        self._client = {"bootstrap_servers": settings.broker, **client_security(settings)}
        # What the floor hides could not be summed up again: the pipeline publishes all, the lines hide.
        calendar = catalog.calendar or (calendar_window("1d"),)
        self._pipeline = replace(catalog, privacy_floor=0, calendar=calendar)
        self._sent: dict[tuple[str, int], list[Event]] = {}

    async def run(self) -> Figures:
        """Produce, work, read."""
        await self._produce()
        stop = asyncio.Event()
        started: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        working = asyncio.create_task(
            run_worker(
                self._settings,
                self._pipeline,
                stop=stop,
                replay=True,
                kept=kept_segments(self._reading.events, self._catalog),
                on_ready=started.set_result,
            )
        )
        try:
            waited: list[asyncio.Future[Any]] = [working, started]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not started.done():
                await working
            engine = (await started).engine
            await self._until_ended(engine, working)
            figures = await self._read_back(engine)
        finally:
            stop.set()
            await asyncio.gather(working, return_exceptions=True)
        return figures

    # -- in ----------------------------------------------------------------------------------------------------

    async def _produce(self) -> None:
        """Every event to the partition of its identity, so that copies and edits meet; then the end of input."""
        producer = AIOKafkaProducer(
            **self._client,
            acks="all",
            linger_ms=20,
            max_batch_size=_BATCH_BYTES,
            max_request_size=2 * _BATCH_BYTES,
        )
        await producer.start()
        try:
            lots: dict[tuple[str, int], Any] = {}
            pending: list[Any] = []
            for event in self._reading.events:
                place: tuple[str, int] = event.topic, self._partition(event)
                self._sent.setdefault(place, []).append(event)
                await self._append(producer, lots, pending, place, event.key, event.value)
            for topic in _SPECS:
                for partition in range(self._settings.partitions):
                    await self._append(producer, lots, pending, (topic, partition), b"end", END_OF_INPUT)
            for place in list(lots):
                await self._flush(producer, lots, pending, place)
            await asyncio.gather(*pending)
            await self._dead_letters(producer)
        finally:
            await producer.stop()

    def _partition(self, event: Event) -> int:
        record = orjson.loads(event.value)
        identity = record.get("response_id") or record.get("interaction_id") or event.key.decode()
        return int((murmur2(str(identity).encode()) & 0x7FFFFFFF) % self._settings.partitions)

    async def _append(
        self,
        producer: Any,
        lots: dict[Any, Any],
        pending: list[Any],
        place: tuple[str, int],
        key: bytes,
        value: bytes,
    ) -> None:
        lot = lots.get(place)
        if lot is None:
            lot = lots[place] = producer.create_batch()
        if lot.append(timestamp=None, key=key, value=value) is None:
            await self._flush(producer, lots, pending, place)
            lot = lots[place] = producer.create_batch()
            if lot.append(timestamp=None, key=key, value=value) is None:
                raise ReplayError(
                    f"a record of {len(value)} bytes is too large to be produced; shorten the row"
                )

    async def _flush(
        self, producer: Any, lots: dict[Any, Any], pending: list[Any], place: tuple[str, int]
    ) -> None:
        lot = lots.pop(place)
        count = lot.record_count()
        lot.close()
        pending.append(await producer.send_batch(lot, self._topics(_SPECS[place[0]]), partition=place[1]))
        self._steps.produced(count)

    async def _dead_letters(self, producer: AIOKafkaProducer) -> None:
        """The rows that yield no record at all are dead letters too."""
        for row in self._reading.refused:
            headers = {"effort_reason": row.reason, "effort_topic": self._topics(_SPECS[row.topic])}
            headers |= {
                "effort_detail": row.detail,
                "effort_size": str(len(row.raw)),
                "effort_truncated": "false",
            }
            await producer.send(
                self._topics(DEAD_LETTERS),
                value=row.raw[: 64 << 10],
                partition=0,
                headers=[(name, text.encode()) for name, text in headers.items()],
            )
            self._steps.refused(row)

    # -- through -----------------------------------------------------------------------------------------------

    async def _until_ended(self, engine: Engine, working: asyncio.Task[None]) -> None:
        """Waits until every window is closed and stored."""
        deadline, before = time.monotonic() + _STALL_S, -1
        while not self._ended(engine):
            if working.done():
                await working
                raise ReplayError("the worker ended before the input did; look at its messages above")
            done = sum(max(0, owned.stage.applied + 1) for owned in engine.ready.values())
            self._steps.counted(
                sum(n for (_, outcome), n in engine.totals.events.items() if ":" not in outcome)
            )
            if done != before:
                deadline, before = time.monotonic() + _STALL_S, done
            if time.monotonic() > deadline:
                raise ReplayError(
                    f"nothing has moved for {_STALL_S:.0f} s; look at the broker, and run it again"
                )
            await asyncio.sleep(_POLL_S)

    def _ended(self, engine: Engine) -> bool:
        ended = [
            owned.stage.ended and not owned.writing.locked()
            for owned in engine.ready.values()
            if isinstance(owned.stage, ScoreStage)
        ]
        return len(ended) == self._settings.partitions and all(ended)

    # -- out ---------------------------------------------------------------------------------------------------

    async def _read_back(self, engine: Engine) -> Figures:
        stages = [owned.stage for owned in engine.ready.values()]
        figures = Figures()
        published = sum(stage.windows_published for stage in stages if isinstance(stage, ScoreStage))
        newest: dict[bytes, dict[str, Any]] = {}
        for record in await self._read(WINDOWS, published):
            window = orjson.loads(record.value)
            held = newest.get(record.key)
            if held is None or window["revision"] > held["revision"]:
                newest[record.key] = window
        for window in newest.values():
            self._take_window(figures, window)
        for stage in stages:
            if isinstance(stage, ScoreStage):
                for (touchpoint, _), (segment, vector) in stage.interaction_totals().items():
                    figures.interactions[touchpoint, segment_key(segment)] = vector
        figures.summary = self._summary([stage for stage in stages if isinstance(stage, SourceStage)])
        await self._tell_refused(figures)
        return figures

    def _take_window(self, figures: Figures, window: dict[str, Any]) -> None:
        segment = segment_key(window["segment"])
        series = window["touchpoint"], window["question"], segment
        interactions, rate = window["interactions"], window["response_rate"]
        # The rate is linked answers / interactions, both whole numbers, so the product is exact after rounding.
        linked = round(rate * interactions) if rate is not None else 0
        vector = [*window["counts"].values(), linked]
        if window.get("capped"):
            figures.capped.add((window["touchpoint"], segment))
        if window["window"] == self._pipeline.calendar[0].name:
            total = figures.totals.setdefault(series, [0] * len(vector))
            add(total, vector)
        if window["window"] in {declared.name for declared in self._catalog.calendar}:
            tally = WindowTally(window["end_ms"], vector, interactions)
            figures.windows[*series, window["window"], window["start_ms"]] = tally

    def _summary(self, stages: list[SourceStage]) -> Summary:
        counted: dict[str, dict[str, int]] = {"responses": {}, "interactions": {}}
        for stage in stages:
            into = counted[stage.name]
            for outcome, count in stage.counts.items():
                into[outcome] = into.get(outcome, 0) + count
        for row in self._reading.refused:
            outcome = f"dead_letter:{row.reason}"
            counted[row.topic][outcome] = counted[row.topic].get(outcome, 0) + 1
        answers, contacts = counted["responses"], counted["interactions"]
        summary = Summary(
            read=self._reading.rows * len(self._mapping.responses),
            accepted=answers.get("accepted", 0),
            skipped=self._reading.skipped,
            edits=answers.get("edit", 0),
            duplicates=answers.get("duplicate", 0),
            withdrawn=answers.get("withdrawn", 0),
            removed=answers.get("removed", 0),
            dead_letters=_reasons(answers),
        )
        if self._mapping.interactions:
            summary.interactions = InteractionSummary(
                self._reading.rows * len(self._mapping.interactions),
                contacts.get("accepted", 0),
                contacts.get("duplicate", 0),
                _reasons(contacts),
            )
        return summary

    async def _tell_refused(self, figures: Figures) -> None:
        """Says of each record that the pipeline refused which line it comes from."""
        refused = sum(figures.summary.dead_letters.values())
        if figures.summary.interactions is not None:
            refused += sum(figures.summary.interactions.dead_letters.values())
        for record in await self._read(DEAD_LETTERS, refused):
            headers = {name: value.decode() for name, value in record.headers}
            if "effort_offset" not in headers:
                continue  # a row, told of when it was produced
            topic = "responses" if headers["effort_topic"] == self._topics(RESPONSES) else "interactions"
            event = self._sent[topic, int(headers["effort_partition"])][int(headers["effort_offset"])]
            detail = f"{event.file}, line {event.line}: {headers['effort_detail']}"
            self._steps.refused(
                Refused(event.topic, headers["effort_reason"], detail, event.value, event.file, event.line)
            )

    async def _read(self, topic: TopicSpec, expected: int) -> list[Any]:
        """The first ``expected`` records of a topic, which are known to be stored."""
        if not expected:
            return []
        consumer = AIOKafkaConsumer(
            **self._client, group_id=None, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            name = self._topics(topic)
            consumer.assign(
                [TopicPartition(name, partition) for partition in range(self._settings.partitions)]
            )
            records: list[Any] = []
            deadline = time.monotonic() + _READ_S
            while len(records) < expected:
                for fetched in (await consumer.getmany(timeout_ms=500)).values():
                    records += fetched
                    deadline = time.monotonic() + _READ_S
                if time.monotonic() > deadline:
                    raise ReplayError(f"{name} gave {len(records)} of {expected} records; look at the broker")
            return records
        finally:
            await consumer.stop()

    async def delete_topics(self) -> None:
        """Removes every topic of this replay."""
        admin = AIOKafkaAdminClient(**self._client)
        await admin.start()
        try:
            await admin.delete_topics(list(deployment_topics(self._settings.prefix, self._settings.group)))
        finally:
            await admin.close()


def _reasons(counts: dict[str, int]) -> dict[str, int]:
    return {
        outcome.partition(":")[2]: count
        for outcome, count in counts.items()
        if outcome.startswith("dead_letter:")
    }
