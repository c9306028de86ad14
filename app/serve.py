"""The ``serve`` process: reads the score and alert topics and answers HTTP, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

import uvicorn
from litestar import Litestar

from agents.clock import parse_clock
from agents.connections import survive_resets
from agents.records import OperationRecord
from agents.topics import OPERATIONS, Topics
from app.broker import wait_for_broker
from app.feed import ScoreFeed
from app.muting import Maintained, Muting, never
from app.operation_log import OperationLog
from app.readmodel import ReadModel
from app.score_metrics import score_registry
from app.settings import Settings, client_security
from app.web.api import create_app
from app.web.operations import Desk
from scoring.catalog import Catalog
from scoring.errors import EffortStreamError

log = logging.getLogger(__name__)

REQUESTS_STOP_S = 2
STOP_S = 4.0
SEEN_WITHIN_S = 2.0
SEEN_POLL_S = 0.02
CONNECTIONS_MAX = 512
BACKLOG = 128


class ListenError(EffortStreamError, OSError):
    """The address to listen on cannot be used."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: whoever runs this process decides when it stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def run_serve(
    settings: Settings,
    catalog: Catalog,
    *,
    stop: asyncio.Event,
    on_listening: Callable[[str], None],
    maintained: Maintained = never,
) -> None:
    """Serves until ``stop`` is set; then requests under way have 2 s to end.

    It answers at once, /readyz with 503 until the topics have been read.

    Args:
        settings: broker, security, prefix, host and port.
        catalog: the declared questions.
        stop: set it to end.
        on_listening: told the URL once requests are accepted.
        maintained: the maintenance windows.

    Raises:
        ListenError: the address is taken or not ours.
        BrokerUnavailable: no broker has answered within ``settings.broker_wait_s`` of the start.
    """
    survive_resets()
    security = client_security(settings)
    topics = Topics(settings.prefix, settings.group)
    now_ms = parse_clock(settings.clock).now_ms
    model = ReadModel(settings.max_series, settings.max_alerts)
    muting = Muting(model.operations, now_ms, maintained)
    feed = ScoreFeed(model, topics, settings.broker, security)
    with listen(settings.host, settings.port) as listener:
        store = _storing(OperationLog(settings.broker, security, topics), model)
        desk = Desk(store, now_ms, _closed(listener))
        registry = score_registry(model, catalog, feed, muting)
        server = _server(create_app(model, registry, feed.not_ready, muting, desk))
        on_listening(url_of(listener))
        tasks = [
            asyncio.create_task(server.serve(sockets=[listener]), name="web"),
            asyncio.create_task(_read(feed, settings, security), name="feed"),
            asyncio.create_task(stop.wait(), name="stop"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _end(server, tasks)


def _server(app: Litestar) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_graceful_shutdown=REQUESTS_STOP_S,
        )
    )


def _closed(listener: socket.socket) -> str | None:
    """Why nobody may write over HTTP, if so: without tokens only this machine's own users may."""
    host = listener.getsockname()[0]
    if ip_address(host).is_loopback:
        return None
    return (
        f"Operations are not accepted over HTTP, since serve listens on {host}, where others can reach it. "
        "Let it listen on 127.0.0.1, or use the commands effortstream alerts and effortstream deployment"
    )


def _storing(log: OperationLog, model: ReadModel) -> Callable[[OperationRecord], Awaitable[None]]:
    """Stores an operation, and waits a moment for it to come back, so that whoever asks next sees it."""

    async def store(record: OperationRecord) -> None:
        partition, offset = await log.store(record)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEEN_WITHIN_S):
                while not model.has_reached(OPERATIONS, partition, offset):
                    await asyncio.sleep(SEEN_POLL_S)

    return store


async def _read(feed: ScoreFeed, settings: Settings, security: Mapping[str, Any]) -> None:
    await wait_for_broker(settings.broker, settings.broker_wait_s, security, log.warning)
    await feed.run()


async def _end(server: _Server, tasks: list[asyncio.Task[Any]]) -> None:
    web, *others = tasks
    server.should_exit = True
    for task in others:
        task.cancel()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_S):
            await asyncio.gather(web, *others, return_exceptions=True)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ListenError: with what is wrong and the remedy.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            cause, remedy = (
                "is taken by another program",
                "Choose another port with --port, or stop that program",
            )
        elif error.errno == errno.EACCES:
            cause, remedy = "may not be used by this user", "Choose a port from 1024 on with --port"
        else:
            cause, remedy = (
                f"cannot be used ({error.strerror})",
                "Give an address of this machine with --host",
            )
        raise ListenError(f"{host}:{port} {cause}. {remedy}") from error


def url_of(listener: socket.socket) -> str:
    """Where a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
