"""Errors as problem documents (RFC 9457), whatever raised them."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import orjson
from litestar import Request, Response
from litestar.exceptions import HTTPException

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
AnyRequest = Request[Any, Any, Any]


def problem(
    status: HTTPStatus, detail: str, headers: dict[str, str] | None = None, **members: Any
) -> Response[bytes]:
    """A problem document without a type of its own: the title is the status code's, ``detail`` is for people."""
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        **members,
    }
    return Response(
        orjson.dumps(body), status_code=status.value, media_type=PROBLEM_JSON, headers=headers or {}
    )


def refused(_: AnyRequest, error: HTTPException) -> Response[bytes]:
    """An error that the request caused; what is wrong with each parameter goes into ``errors``."""
    errors = {"errors": error.extra} if error.extra else {}
    return problem(HTTPStatus(error.status_code), error.detail, dict(error.headers or {}), **errors)


def crashed(request: AnyRequest, error: Exception) -> Response[bytes]:
    """An error that is our own: logged with its traceback, and said without any detail."""
    # The path alone: a query may hold what somebody typed by mistake
    log.error("the request %s %s failed", request.method, request.url.path, exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed to answer; its log says why. Please report it."
    )
