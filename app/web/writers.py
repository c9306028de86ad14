"""Who may write over HTTP: users of this machine, until there are tokens."""

from __future__ import annotations

from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, PermissionDeniedException


def check_writer(connection: ASGIConnection[Any, Any, Any, Any], closed: str | None) -> None:
    """Lets only users of this machine write, and no page that their browser has open.

    A page of another site can neither send JSON nor DELETE without asking first, which nothing here allows; and where
    its name was made to point to this machine, the Host header tells.

    Raises:
        HTTPException: 403, 415 or 400, with the remedy.
    """
    if closed is not None:
        raise PermissionDeniedException(closed)
    host = connection.headers.get("host", "")
    if not is_loopback(host):
        raise PermissionDeniedException(
            f"Operations are accepted only at a loopback address, not at {host[:80]!r}. "
            "Use 127.0.0.1 or localhost on the machine that serves, or the command effortstream alerts"
        )
    if connection.scope.get("method") != "POST":
        return
    if connection.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise HTTPException(
            status_code=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            detail="The body must be JSON. Send it with Content-Type: application/json",
        )
    if connection.headers.get("content-length") == "0":
        raise HTTPException(
            status_code=HTTPStatus.BAD_REQUEST,
            detail="The body is empty. Send a JSON object with author and reason at least",
        )


def is_loopback(host: str) -> bool:
    """Whether a Host header, with or without a port, names this machine to itself.

    Example:
        >>> [is_loopback(host) for host in ("127.0.0.1:8080", "localhost", "[::1]:80", "example.org", "")]
        [True, True, True, False, False]
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
