"""The ``serve`` process: reads the score and alert topics and answers HTTP, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import uvicorn

from agents.clock import parse_clock
from agents.connections import survive_resets
from agents.topics import Topics
from app.broker import wait_for_broker
from app.feed import ScoreFeed
from app.muting import Muting
from app.readmodel import ReadModel
from app.score_metrics import score_registry
from app.settings import Settings, client_security
from app.web.api import create_app
from scoring.catalog import Catalog
from scoring.errors import EffortStreamError

log = logging.getLogger(__name__)

REQUESTS_STOP_S = 2
STOP_S = 4.0
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
    settings: Settings, catalog: Catalog, *, stop: asyncio.Event, on_listening: Callable[[str], None]
) -> None:
    """Serves until ``stop`` is set; then requests under way have 2 s to end.

    It answers at once, /readyz with 503 until the topics have been read.

    Args:
        settings: broker, security, prefix, host and port.
        catalog: the declared questions.
        stop: set it to end.
        on_listening: told the URL once requests are accepted.

    Raises:
        ListenError: the address is taken or not ours.
        BrokerUnavailable: no broker has answered within ``settings.broker_wait_s`` of the start.
    """
    survive_resets()
    security = client_security(settings)
    model = ReadModel(settings.max_series, settings.max_alerts)
    muting = Muting(model.operations, parse_clock(settings.clock).now_ms)
    feed = ScoreFeed(model, Topics(settings.prefix, settings.group), settings.broker, security)
    app = create_app(model, score_registry(model, catalog, feed, muting), feed.not_ready)
    server = _Server(
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
    with listen(settings.host, settings.port) as listener:
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
