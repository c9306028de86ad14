"""The worker: a Faust app whose agents hand whole batches to the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import faust
from aiokafka import TopicPartition
from faust.types import StreamT

from agents.checkpoints import CheckpointError, Place, PlainSink, Sink, TransactionalSink
from agents.clock import Clock, SystemClock
from agents.contacts import InteractionStage
from agents.engine import Engine, Pace, explained
from agents.ports import Stage
from agents.responses import ResponseStage
from agents.scores import ScoreStage
from agents.segments import KeptValues
from agents.source import Intake
from agents.topics import INTERACTIONS, PARTIALS, RESPONSES, Topics
from agents.transport import LIBRARY_LOG, BatchTransport, Raw
from agents.watchdog import Watchdog
from scoring.catalog import Catalog

_STOP_S = 8.0
_CANCEL_S = 1.0


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker needs to know of its deployment.

    Attributes:
        client: connection settings of aiokafka, ``bootstrap_servers`` among them.
        partitions: of every topic of the prefix.
        stall_s: how long nothing may move although there is work, before the worker ends.
        transactional: False writes checkpoints plainly, for a broker without transactions.
        kept: segment values to publish, where they were found out from files (replay).
    """

    client: Mapping[str, Any]
    topics: Topics
    partitions: int
    transactional: bool = True
    transaction_timeout_s: float = 60.0
    session_timeout_s: float = 10.0
    rebalance_timeout_s: float = 30.0
    stall_s: float = 120.0
    pace: Pace = field(default_factory=Pace)
    id_key: bytes = b""
    replay: bool = False
    redact: bool = False
    kept: KeptValues | None = None


class _App(faust.App):  # type: ignore[misc]  # Faust is untyped
    engine: Engine
    transactional: bool
    logger = LIBRARY_LOG

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """None: Faust would leave a folder for its tables in the working folder, and need one that can be written."""


class Worker:
    """One worker process's part of a group.

    Args:
        catalog: what is declared.
        settings: of the deployment.
        clock: event time of the present.
        observe: told the seconds that each checkpoint took.
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: WorkerSettings,
        clock: Clock | None = None,
        observe: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self._turn = asyncio.Lock()
        self._intake = Intake(catalog, settings.partitions, settings.id_key, settings.replay, settings.redact)
        topics = settings.topics
        self.engine = Engine(
            settings.client,
            clock or SystemClock(),
            self._new_stage,
            self._new_sink,
            lambda stage: topics(topics.changelog(stage)),
            settings.pace,
            Watchdog(settings.stall_s),
            observe,
        )
        self._app = self._new_app()

    def _new_stage(self, source: TopicPartition) -> Stage:
        topics, settings = self._settings.topics, self._settings
        if source.topic == topics(RESPONSES):
            return ResponseStage(source.topic, source.partition, self._intake)
        if source.topic == topics(INTERACTIONS):
            return InteractionStage(source.topic, source.partition, self._intake)
        return ScoreStage(
            source.partition, self._catalog, settings.partitions, kept=settings.kept, keep_all=settings.replay
        )

    def _new_sink(self, source: TopicPartition, stage: Stage) -> Sink:
        settings = self._settings
        place = Place(settings.topics, stage.name, source.topic, source.partition)
        if settings.transactional:
            return TransactionalSink(place, settings.client, settings.transaction_timeout_s)
        return PlainSink(place, settings.client, settings.transaction_timeout_s, self._turn)

    def _new_app(self) -> _App:
        settings, topics = self._settings, self._settings.topics
        app = _App(
            topics.group,
            broker=[f"kafka://{address}" for address in _addresses(settings.client)],
            store="memory://",
            autodiscover=False,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            topic_partitions=settings.partitions,
            value_serializer="raw",
            stream_buffer_maxsize=4,
            stream_wait_empty=False,
            broker_session_timeout=settings.session_timeout_s,
            broker_rebalance_timeout=settings.rebalance_timeout_s,
            broker_heartbeat_interval=settings.session_timeout_s / 5,
            broker_request_timeout=max(40.0, settings.session_timeout_s + 5),
            broker_commit_interval=30.0,
        )
        app.engine = self.engine
        app.transactional = settings.transactional
        for spec in (RESPONSES, INTERACTIONS, PARTIALS):
            channel = app.topic(
                topics(spec), key_serializer=Raw(), value_serializer=Raw(), partitions=settings.partitions
            )
            app.agent(channel, name=f"{spec.name}")(self._feed)
        return app

    async def _feed(self, stream: StreamT[Any]) -> None:
        """An agent: each event is the batch of one fetch."""
        async for event in stream.noack().events():
            message = event.message
            try:
                await self.engine.take(TopicPartition(message.topic, message.partition), event.value)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - Faust would restart the agent and skip the batch
                self.engine.fail(error)
                return

    async def run(self, stop: asyncio.Event) -> None:
        """Works until ``stop`` is set: then a last checkpoint, and leaves the group.

        Raises:
            EffortStreamError: the worker can not go on; its successor starts from the last checkpoint.
        """
        self._app.finalize()
        engine = asyncio.create_task(self.engine.run(), name="engine")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        faust_app = asyncio.create_task(self._run_app(), name="faust")
        try:
            waited: list[asyncio.Future[Any]] = [self.engine.failed, stopping, faust_app]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left = await self._shut_down()
            tasks = engine, stopping, faust_app
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_CANCEL_S)
        if self.engine.failed.done():
            raise self.engine.failed.result()
        crash = self._app.crash_reason
        if crash is None and faust_app.done() and not faust_app.cancelled():
            crash = faust_app.exception()
        if crash is not None:
            raise explained(crash)
        if not left:
            raise CheckpointError(
                f"the brokers did not answer within {_STOP_S:.0f} s while the worker stopped. Nothing is lost: "
                "its successor goes on from the last checkpoint, once the session timeout is over"
            )

    async def _run_app(self) -> None:
        """Returns when Faust has crashed or was stopped; raises when it can not start."""
        await self._app.start()
        await self._app.wait_until_stopped()

    async def _shut_down(self) -> bool:
        """Last checkpoint, and leaves the group; False if that took too long.

        Not by cancelling: when their brokers are gone, clients swallow it, or wait for answers while they clean up.
        """
        leaving = asyncio.create_task(self._leave(), name="leave")
        await asyncio.wait([leaving], timeout=_STOP_S)
        if not leaving.done():
            leaving.cancel()
            return False
        error = leaving.exception()
        if error is not None:
            self.engine.fail(error)
        return True

    async def _leave(self) -> None:
        await self.engine.stop()
        await self._app.stop()


def _addresses(client: Mapping[str, Any]) -> list[str]:
    servers = client["bootstrap_servers"]
    return servers.split(",") if isinstance(servers, str) else list(servers)
