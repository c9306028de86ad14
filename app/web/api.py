"""The web app of ``serve``: scores and alerts as JSON and for Prometheus, health, and a page that names all this."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import orjson
from litestar import Litestar, MediaType, Response, Router, get
from litestar.datastructures import MutableScopeHeaders
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import Message, Scope
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from agents.clock import wall_ms
from agents.records import OperationRecord
from app.muting import Muting
from app.operation_log import OperationNotStored
from app.operations import InvalidOperation, NotFiring
from app.readmodel import ReadModel
from app.version import VERSION
from app.web.alerts import alert_routes
from app.web.operations import Desk, invalid, not_firing, not_stored, operation_routes
from app.web.problems import AnyRequest, crashed, problem, refused
from app.web.scores import score_routes

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

INDEX = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>effortstream</title>
</head>
<body>
<main>
<h1>effortstream</h1>
<p>Customer effort scores per touchpoint, in real time.</p>
<ul>
<li><a href="/api/v1/scores">/api/v1/scores</a>: current scores (by touchpoint, question, window, segment)</li>
<li><a href="/api/v1/interaction-stats">/api/v1/interaction-stats</a>: current interaction statistics</li>
<li><a href="/api/v1/alerts">/api/v1/alerts</a>: alerts (by state, rule, touchpoint, severity, muted)</li>
<li><a href="/api/v1/silences">/api/v1/silences</a> and <a href="/api/v1/deployments">/api/v1/deployments</a>:
what operators did about them</li>
<li><a href="/metrics">/metrics</a>: the same for Prometheus</li>
<li><a href="/livez">/livez</a> and <a href="/readyz">/readyz</a>: health</li>
<li><a href="/schema">/schema</a>: this interface as OpenAPI</li>
</ul>
</main>
</body>
</html>
"""


def create_app(
    model: ReadModel,
    registry: CollectorRegistry,
    not_ready: Callable[[], list[str]],
    muting: Muting | None = None,
    desk: Desk | None = None,
) -> Litestar:
    """The app.

    Args:
        model: what it serves.
        registry: what /metrics exports.
        not_ready: why the model is not complete yet; empty when it is.
        muting: which alerts are muted; None knows of operators' silences and acknowledgements alone.
        desk: where operations are handed in; None takes none.
    """
    muting = muting or Muting(model.operations, wall_ms)
    api = [*score_routes(model), *alert_routes(model, muting), *operation_routes(model, desk or _CLOSED)]
    return Litestar(
        route_handlers=[
            index,
            livez,
            _readyz(not_ready),
            _metrics(registry),
            Router("/api/v1", route_handlers=api),
        ],
        before_send=[_secure],
        exception_handlers={
            HTTPException: refused,
            InvalidOperation: invalid,
            NotFiring: not_firing,
            OperationNotStored: not_stored,
            Exception: crashed,
        },
        openapi_config=OpenAPIConfig(
            title="effortstream",
            version=VERSION,
            path="/schema",
            # Not the graphical ones: each of them loads its scripts from elsewhere
            render_plugins=[JsonRenderPlugin(path=["/openapi.json", "/"])],
        ),
        # Logging is the program's own business; the default would set up handlers of its own
        logging_config=None,
    )


async def _refuse(_: OperationRecord) -> None:
    raise AssertionError("nothing is handed in where the desk is closed")


_CLOSED = Desk(_refuse, wall_ms, "This program only reads. Use the command effortstream alerts")


async def _secure(message: Message, _: Scope) -> None:
    if message["type"] == "http.response.start":
        MutableScopeHeaders.from_message(message).update(SECURITY_HEADERS)


@get("/", media_type=MediaType.HTML, include_in_schema=False)
async def index() -> str:
    """What is where."""
    return INDEX


@get("/livez", media_type=MediaType.TEXT, include_in_schema=False)
async def livez() -> str:
    """Whether the process still answers; a broker that is away is no reason to restart it."""
    return "alive\n"


def _readyz(not_ready: Callable[[], list[str]]) -> HTTPRouteHandler:
    @get("/readyz", include_in_schema=False)
    async def readyz() -> Response[bytes]:
        reasons = not_ready()
        if reasons:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(reasons), reasons=reasons)
        return Response(orjson.dumps({"status": "ready"}), media_type=MediaType.JSON)

    return readyz


def _metrics(registry: CollectorRegistry) -> HTTPRouteHandler:
    # In a thread: rendering many series takes a while, in which others are answered
    @get("/metrics", include_in_schema=False, sync_to_thread=True)
    def metrics(request: AnyRequest) -> Response[bytes]:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=content_type)

    return metrics
