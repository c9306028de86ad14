"""Brings the current scores and alerts from serve to the demo, over the same JSON API that everybody else uses."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import aiohttp
import msgspec

from agents.records import AlertRecord
from app.muting import JudgedAlert

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 1.0
ANSWER_TIMEOUT_S = 5.0
SERVICE_UNAVAILABLE = 503
PAGE_LIMIT = 10_000


class _Alerts(msgspec.Struct):
    items: list[JudgedAlert]


class _Transitions(msgspec.Struct):
    transitions: list[AlertRecord]


_decode_alerts = msgspec.json.Decoder(_Alerts).decode
_decode_transitions = msgspec.json.Decoder(_Transitions).decode


async def poll_scores(
    address: str, take: Callable[[list[dict[str, Any]]], None], wait_for: Callable[[str], None]
) -> NoReturn:
    """Asks for the scores of all live windows, again and again, until cancelled.

    A serve that does not answer is no error here: it still starts, or ends, and whether it lives is the business of
    who watches the processes.

    Args:
        address: where serve listens, with its scheme.
        take: gets the score records of each answer; only those of everybody, no segments.
        wait_for: told what there is no answer for the want of.
    """
    query = {"segment": "{}", "limit": str(PAGE_LIMIT)}
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                async with session.get(f"{address}/api/v1/scores", params=query) as answer:
                    if answer.status == SERVICE_UNAVAILABLE:
                        wait_for("serve to read the score topics")
                    else:
                        answer.raise_for_status()
                        take((await answer.json())["items"])
            except (aiohttp.ClientError, TimeoutError):
                wait_for("serve to answer")
            await asyncio.sleep(POLL_S)


async def poll_alerts(address: str, take: Callable[[list[JudgedAlert], list[AlertRecord]], None]) -> NoReturn:
    """Asks for all alerts, again and again, until cancelled; no transition between two questions is missed.

    Args:
        address: where serve listens, with its scheme.
        take: gets all alerts of each answer, and the transitions since the answer before in the order of their
            publication.
    """
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
    seen: dict[str, int] = {}
    async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
        while True:
            # A serve that does not answer is no error, as above
            with suppress(aiohttp.ClientError, TimeoutError):
                query = {"limit": str(PAGE_LIMIT)}
                async with session.get(f"{address}/api/v1/alerts", params=query) as answer:
                    alerts = _decode_alerts(await answer.read()).items
                new: list[AlertRecord] = []
                for alert in alerts:
                    new += await _since(session, address, alert, seen.get(alert.fingerprint, 0))
                seen = {alert.fingerprint: alert.sequence for alert in alerts}
                take(alerts, sorted(new, key=lambda each: (each.published_at_ms, each.sequence)))
            await asyncio.sleep(POLL_S)


async def _since(
    session: aiohttp.ClientSession, address: str, alert: AlertRecord, sequence: int
) -> list[AlertRecord]:
    """The transitions of an alert after a sequence; the alert itself is the last of them."""
    if alert.sequence <= sequence:
        return []
    if alert.sequence == sequence + 1:
        return [alert]
    async with session.get(f"{address}/api/v1/alerts/{alert.fingerprint}") as answer:
        known = _decode_transitions(await answer.read()).transitions
    return [each for each in known if sequence < each.sequence <= alert.sequence]
