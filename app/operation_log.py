"""Writes what operators do to the operations topic, and deployment marks to where the rules look for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from agents.partials import Mark, encode_mark
from agents.records import OperationRecord
from agents.topics import OPERATIONS, PARTIALS, Topics
from app.feed import partition_counts
from app.muting import DEPLOYMENT
from scoring.errors import EffortStreamError

STORE_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_MS = 5_000


class OperationNotStored(EffortStreamError, RuntimeError):  # noqa: N818 - what came of it, told to the operator
    """The broker has not confirmed that it stored an operation."""


class OperationLog:
    """The operations topic, for writing; one record at a time, since people write them.

    Args:
        broker: ``host:port``, or several with commas.
        security: security arguments of every client.
        topics: names of the topics.
    """

    def __init__(self, broker: str, security: Mapping[str, Any], topics: Topics) -> None:
        self._broker, self._topics = broker, topics
        self._client = {
            "bootstrap_servers": broker,
            "client_id": "effortstream-operations",
            **security,
        }
        self._one_at_a_time = asyncio.Lock()

    async def store(self, record: OperationRecord) -> tuple[int, int]:
        """Writes an operation and waits until every replica in sync has it.

        The mark of a deployment goes to every partition of the partials topic first. If that succeeds alone, the
        rules know of a deployment that is not listed; writing it again, which has the same id, mends that.

        Returns:
            Partition and offset in the operations topic.

        Raises:
            OperationNotStored: the broker did not confirm it in time; it may be stored or not.
        """
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S), self._one_at_a_time:
                return await self._store(record)
        except (KafkaError, OSError) as error:
            raise OperationNotStored(
                f"Kafka at {self._broker} did not confirm the operation: {error or type(error).__name__}. "
                "Try again, which does no harm; if it goes on, check that the broker runs and that its topics may be "
                "written to"
            ) from error

    async def _store(self, record: OperationRecord) -> tuple[int, int]:
        partitions = await self._partitions(record)
        # A producer for each record: they are rare, and an idle connection would only be one more thing to break
        producer = AIOKafkaProducer(acks="all", request_timeout_ms=REQUEST_TIMEOUT_MS, **self._client)
        try:
            await producer.start()
            if record.action == DEPLOYMENT:
                mark = encode_mark(Mark(record.id, record.at_ms, record.touchpoint or "*", record.withdrawn))
                topic = self._topics(PARTIALS)
                sent = [
                    await producer.send(topic, mark, b"", partition=number)
                    for number in range(partitions[topic])
                ]
                await asyncio.gather(*sent)
            stored = await producer.send_and_wait(
                self._topics(OPERATIONS), msgspec.json.encode(record), record.id.encode()
            )
            return stored.partition, stored.offset
        finally:
            await producer.stop()

    async def _partitions(self, record: OperationRecord) -> dict[str, int]:
        """How many partitions each topic has that is written to; all of them exist, since none shall be made here."""
        counts = await partition_counts(self._client)
        needed = [self._topics(OPERATIONS)]
        if record.action == DEPLOYMENT:
            needed.append(self._topics(PARTIALS))
        missing = [name for name in needed if name not in counts]
        if missing:
            raise OperationNotStored(
                f"Kafka at {self._broker} has no topic {' and no topic '.join(missing)}. "
                "Start a worker, or run: effortstream topics create"
            )
        return {name: counts[name] for name in needed}
