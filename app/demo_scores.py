"""Brings the current scores from serve to the demo, over the same JSON API that everybody else uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 1.0
ANSWER_TIMEOUT_S = 5.0
SERVICE_UNAVAILABLE = 503
PAGE_LIMIT = 10_000


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
