"""The ``worker`` process: checks its deployment, then runs the agents until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from agents.clock import parse_clock
from agents.connections import survive_resets
from agents.engine import Pace
from agents.segments import KeptValues
from agents.topics import Topics
from agents.worker import Worker, WorkerSettings
from app.broker import wait_for_broker
from app.serve import ListenError
from app.settings import Settings, client_security
from app.topics import deployment_topics
from app.worker_metrics import WorkerMetrics
from scoring.catalog import Catalog
from scoring.errors import EffortStreamError

log = structlog.get_logger(__name__)

_Result = TypeVar("_Result")

_PROBE_S = 10.0
_OBJECTS_PER_COLLECTION = 200_000


class DeploymentError(EffortStreamError, RuntimeError):
    """The brokers are not in the state that a worker needs."""


async def run_worker(
    settings: Settings,
    catalog: Catalog,
    *,
    stop: asyncio.Event,
    replay: bool = False,
    kept: KeptValues | None = None,
    on_ready: Callable[[Worker], None] = lambda _: None,
) -> None:
    """Works until ``stop`` is set, then makes a last checkpoint and leaves the group.

    Args:
        settings: of the deployment.
        catalog: what is declared.
        stop: set it to end.
        replay: see WorkerSettings.
        kept: see WorkerSettings.
        on_ready: told the worker before it starts.

    Raises:
        BrokerUnavailable: no broker answered within ``settings.broker_wait_s``.
        DeploymentError: topics are missing or belong to another group, or there are no transactions.
        EffortStreamError: the worker can not go on.
    """
    survive_resets()
    topics = Topics(settings.prefix, settings.group)
    security = client_security(settings)
    client = {"bootstrap_servers": settings.broker, **security}
    checked = await _unless_stopped(stop, _check_deployment(settings, security, client))
    if checked is None:
        return
    partitions, transactional = checked
    if not transactional and not replay:
        log.warning(
            "the broker has no transactions: a crash can count records twice or lose them from the outputs"
        )
    metrics = WorkerMetrics()
    worker = Worker(
        catalog,
        WorkerSettings(
            client=client,
            topics=topics,
            partitions=partitions,
            transactional=transactional,
            transaction_timeout_s=float(settings.transaction_timeout_s),
            session_timeout_s=float(settings.session_timeout_s),
            rebalance_timeout_s=float(settings.rebalance_timeout_s),
            stall_s=float(settings.stall_s),
            pace=Pace(
                settings.checkpoint_ms / 1000,
                settings.checkpoint_min_ms / 1000,
                settings.checkpoint_max_ms / 1000,
            ),
            id_key=settings.id_key.get_secret_value().encode() if settings.id_key else b"",
            replay=replay,
            redact=settings.dead_letter_redact,
            kept=kept,
        ),
        parse_clock(settings.clock),
        metrics.observe,
    )
    metrics.watch(worker.engine, topics)
    on_ready(worker)
    with _rare_collections():
        async with _Listener(settings, worker, metrics):
            await worker.run(stop)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Lets the cyclic garbage collector run seldom, and never over what was loaded before.

    A fetch makes tens of thousands of records, none of them in a cycle. With Python's own threshold of 700 objects the
    collector walks over them again and again, for half of all the time that it takes to read a backlog.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, _Result]) -> _Result | None:
    """The result of the work; None if ``stop`` was set before, which ends the work at once."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, stopping):
            each.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)


async def _check_deployment(
    settings: Settings, security: dict[str, Any], client: dict[str, Any]
) -> tuple[int, bool]:
    """The number of partitions, and whether there are transactions."""
    await wait_for_broker(settings.broker, settings.broker_wait_s, security, log.warning)
    return await _check_topics(settings, client), await _check_transactions(settings, client)


async def _check_topics(settings: Settings, client: dict[str, Any]) -> int:
    """The number of partitions, after a look at what exists."""
    admin = AIOKafkaAdminClient(**client)
    try:
        await admin.start()
        described = await admin.describe_topics()
    except (KafkaError, OSError) as error:
        raise DeploymentError(
            f"The topics at {settings.broker} could not be listed: {error!r}. Look at the brokers"
        ) from error
    finally:
        await admin.close()
    found = {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}
    wanted = deployment_topics(settings.prefix, settings.group)
    ending = "-responses-changelog"
    owners = {name.removeprefix(settings.prefix).removesuffix(ending) for name in found
              if name.startswith(settings.prefix) and name.endswith(ending)}  # fmt: skip
    others = {
        name
        for name in owners - {settings.group}
        if f"{settings.prefix}{settings.group}{ending}" not in found
    }
    if others:
        raise DeploymentError(
            f"group = {settings.group}: the topics of prefix {settings.prefix} belong to group {min(others)}, and "
            "two groups on one prefix would write over each other. Use that group, or a prefix of your own"
        )
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DeploymentError(
            f"{len(missing)} topics are missing at {settings.broker}, the first is {missing[0]}. "
            "Create them with: effortstream topics create"
        )
    counts = {found[name] for name in wanted}
    if len(counts) != 1:
        raise DeploymentError(
            f"The topics of prefix {settings.prefix} have different numbers of partitions: {sorted(counts)}. "
            "All must have the same: delete and create them again, or use another prefix"
        )
    return counts.pop()


async def _check_transactions(settings: Settings, client: dict[str, Any]) -> bool:
    """Whether the brokers have transactions; without them only ``allow_non_transactional`` goes on."""
    producer = AIOKafkaProducer(**client, transactional_id=f"{settings.group}-{settings.prefix}probe")
    cause = ""
    client_log = logging.getLogger("aiokafka")
    level = client_log.level
    client_log.setLevel(logging.CRITICAL)  # what it would say of a missing feature is said here
    try:
        await asyncio.wait_for(producer.start(), _PROBE_S)
    except (KafkaConnectionError, OSError, TimeoutError) as error:
        # Says nothing about transactions, so it must not lead to a life without them.
        raise DeploymentError(
            f"The broker at {settings.broker} did not say within {_PROBE_S:.0f} s whether it has transactions "
            f"({str(error) or type(error).__name__}). Look at the brokers, then start the worker again"
        ) from error
    except KafkaError as error:
        cause = str(error) or type(error).__name__
    finally:
        await producer.stop()
        client_log.setLevel(level)
    if not cause:
        return True
    if settings.allow_non_transactional:
        return False
    raise DeploymentError(
        f"The broker at {settings.broker} has no transactions ({cause}), so a crash could count records twice "
        "or tear a checkpoint. Use Apache Kafka, or accept that with --allow-non-transactional"
    )


class _Listener:
    """/metrics, /livez and /readyz of a worker."""

    def __init__(self, settings: Settings, worker: Worker, metrics: WorkerMetrics) -> None:
        self._settings = settings
        self._engine = worker.engine
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> None:
        host, port = self._settings.metrics_host, self._settings.metrics_port
        if not port:
            return
        app = web.Application()
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/livez", self._get_livez)
        app.router.add_get("/readyz", self._get_readyz)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            taken = error.errno == errno.EADDRINUSE
            raise ListenError(
                f"{host}:{port}: {'another program listens there' if taken else error.strerror}. "
                "Choose another port with --metrics-port (0 is off)"
            ) from None

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _get_metrics(self, _: web.Request) -> web.Response:
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _get_livez(self, _: web.Request) -> web.Response:
        failed = self._engine.failed.done()
        return web.Response(text="failed\n" if failed else "ok\n", status=503 if failed else 200)

    async def _get_readyz(self, _: web.Request) -> web.Response:
        if self._engine.ready:
            return web.Response(text="ok\n")
        restoring = self._engine.restoring
        reason = "no partitions are assigned to this worker"
        if restoring is not None:
            reason = f"restoring: {restoring.records} of about {restoring.total} records"
        return web.Response(text=f"{reason}\n", status=503)
