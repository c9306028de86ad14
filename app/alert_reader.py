"""Reads the alerts and the operations once, straight from their topics: what the command line works on."""

from __future__ import annotations

import asyncio
import logging

from agents.topics import ALERTS, OPERATIONS, Topics
from app.broker import wait_for_broker
from app.feed import ScoreFeed
from app.operation_log import OperationLog
from app.readmodel import ReadModel
from app.settings import Settings, client_security
from scoring.errors import EffortStreamError

log = logging.getLogger(__name__)

READ_TIMEOUT_S = 60.0
POLL_S = 0.05


class TopicsNotRead(EffortStreamError, RuntimeError):  # noqa: N818 - what came of it, told to the operator
    """The topics of alerts and operations could not be read to their end."""


async def known_alerts(settings: Settings) -> ReadModel:
    """All alerts and operations, as their topics told them when reading began.

    Raises:
        BrokerUnavailable: no broker answered within ``settings.broker_wait_s``.
        TopicsNotRead: a topic is missing, or reading it took longer than a minute.
    """
    security = client_security(settings)
    await wait_for_broker(settings.broker, settings.broker_wait_s, security, log.warning)
    model = ReadModel(max_alerts=settings.max_alerts)
    topics = Topics(settings.prefix, settings.group)
    feed = ScoreFeed(model, topics, settings.broker, security, read=(ALERTS, OPERATIONS))
    reading = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            while not (model.ready or feed.missing or reading.done()):
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        pass
    finally:
        reading.cancel()
        await asyncio.wait([reading])
    if not reading.cancelled():
        reading.result()
    if not model.ready:
        raise TopicsNotRead(f"Kafka at {settings.broker}: {'; '.join(feed.not_ready())}")
    return model


def operation_log(settings: Settings) -> OperationLog:
    """Where operations of these settings are written to."""
    return OperationLog(settings.broker, client_security(settings), Topics(settings.prefix, settings.group))
