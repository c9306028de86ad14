"""Pages of a sorted answer: filters as text, cursors that survive changes, entity tags."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, TypeVar

import msgspec
import orjson
import xxhash
from litestar import Response
from litestar.exceptions import ClientException

from app.web.problems import AnyRequest

DEFAULT_LIMIT = 1_000
MAX_LIMIT = 10_000
MAX_FILTER_CHARACTERS = 1_000

RowT = TypeVar("RowT")


def refuse_unknown(request: AnyRequest, known: Sequence[str]) -> None:
    """Refuses parameters that would be ignored: a misspelt filter must not look like one that matches all.

    Raises:
        ClientException: a parameter is unknown or given twice.
    """
    for name in request.query_params:
        if name not in known:
            raise ClientException(f"no such parameter: {name[:80]!r}. Use one of {', '.join(known)}")
        if len(request.query_params.getall(name)) > 1:
            raise ClientException(
                f"{name} is given more than once. Give it once, or leave it out to match all"
            )


def parse_segment(text: str | None) -> dict[str, str] | None:
    """The segment filter: a JSON object, or ``name:value`` for one dimension; None matches all.

    Raises:
        ClientException: it is neither.

    Example:
        >>> parse_segment("channel:web"), parse_segment('{"channel":"web","plan":"pro"}'), parse_segment("{}")
        ({'channel': 'web'}, {'channel': 'web', 'plan': 'pro'}, {})
    """
    if text is None:
        return None
    if not text.startswith("{"):
        name, colon, value = text.partition(":")
        if name and colon:
            return {name: value}
    else:
        try:
            return msgspec.json.decode(text, type=dict[str, str])
        except msgspec.DecodeError:
            pass
    raise ClientException(
        f"segment = {text[:80]!r} is no segment. "
        'Write name:value, such as channel:web, or a JSON object of texts, such as {"channel":"web"}; '
        "{} is everybody"
    )


def encode_cursor(key: Sequence[str]) -> str:
    """Where a page ended, as opaque text for a URL."""
    return urlsafe_b64encode(orjson.dumps(list(key))).decode().rstrip("=")


def decode_cursor(text: str, parts: int) -> tuple[str, ...]:
    """The key that ``encode_cursor`` was given.

    Raises:
        ClientException: the text is not one of ours.

    Example:
        >>> decode_cursor(encode_cursor(("checkout", "1h")), 2)
        ('checkout', '1h')
    """
    try:
        key = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=tuple[str, ...])
    except (ValueError, msgspec.DecodeError):
        key = ()
    if len(key) != parts:
        raise ClientException("cursor is not one that this query gave. Start again without it")
    return key


def page(
    rows: Sequence[tuple[Any, RowT]], limit: int, cursor: str | None, parts: int
) -> tuple[list[RowT], str | None]:
    """One page of rows sorted by key, and the cursor of the next one.

    A cursor names the last key shown, not a position, so a series that comes or goes between two requests
    neither repeats nor hides another.

    Args:
        rows: (key, record), sorted.
        limit: records per page, >= 1.
        cursor: of the page before; None for the first.
        parts: elements of a key.
    """
    begin = 0 if cursor is None else bisect_right(rows, decode_cursor(cursor, parts), key=itemgetter(0))
    shown = rows[begin : begin + limit]
    more = begin + limit < len(rows)
    return [record for _, record in shown], encode_cursor(shown[-1][0]) if more else None


def tagged(request: AnyRequest, body: bytes) -> Response[bytes]:
    """Answers with the body, or with 304 where the client has it already.

    The tag is a hash of the body, so all ``serve`` instances that hold the same records give the same one.
    """
    tag = f'"{xxhash.xxh3_128_hexdigest(body)}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if tag in known or known == ["*"]:
        return Response(b"", status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
