"""Produces simulated events to the input topics, in record batches, each record where its key belongs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from agents.topics import INTERACTIONS, RESPONSES, Topics, TopicSpec
from scoring.errors import EffortStreamError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from app.simulator import Event

BATCH_BYTES = 131_072
# Keys repeat, and murmur2 in Python costs more than everything else about a record.
KEYS_REMEMBERED = 100_000
START_TIMEOUT_S = 30.0


class ProducingError(EffortStreamError, RuntimeError):
    """The broker does not take the simulated events."""


class EventProducer:
    """Sends events to the real input topics; an asynchronous context manager.

    Records of one partition keep their order. Record batches are built here, since one future per batch is what
    makes a history of some hundred thousand events a matter of seconds.

    Args:
        broker: ``host:port``, or several with commas.
        security: security arguments of every client.
        topics: names of the topics.

    Attributes:
        sent: events that the broker has acknowledged, by topic.
        newest_ms: the highest timestamp among them, or None.
    """

    def __init__(self, broker: str, security: Mapping[str, Any], topics: Topics) -> None:
        self.sent: dict[TopicSpec, int] = {INTERACTIONS: 0, RESPONSES: 0}
        self.newest_ms: int | None = None
        self._broker = broker
        self._security = security
        self._topics = topics
        self._producer: AIOKafkaProducer | None = None
        self._partitions: dict[TopicSpec, list[int]] = {}
        self._of_key: dict[tuple[TopicSpec, bytes], int] = {}
        self._partitioner = DefaultPartitioner()

    async def __aenter__(self) -> Self:
        # Made here: a producer takes the running loop
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._broker,
            client_id="effortstream-simulate",
            acks="all",
            max_batch_size=BATCH_BYTES,
            **self._security,
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._producer.start()
                for spec in self.sent:
                    name = self._topics(spec)
                    self._partitions[spec] = sorted(await self._producer.partitions_for(name))
        except (KafkaError, OSError) as error:
            await self._producer.stop()
            raise self._error(error) from error
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def send(self, events: Iterable[Event]) -> None:
        """Sends events and waits until the broker has acknowledged them all.

        Raises:
            ProducingError: it did not.
        """
        producer = self._producer
        assert producer is not None, "used outside its context"  # noqa: S101 - our own bug
        sorted_out: dict[tuple[TopicSpec, int], list[Event]] = {}
        for event in events:
            place = event.topic, self._partition(event.topic, event.key)
            sorted_out.setdefault(place, []).append(event)
        try:
            pending = [
                future
                for (spec, partition), part in sorted_out.items()
                for future in await self._send_part(producer, self._topics(spec), partition, part)
            ]
            await asyncio.gather(*pending)
        except (KafkaError, OSError) as error:
            raise self._error(error) from error
        for (spec, _), part in sorted_out.items():
            self.sent[spec] += len(part)
            self.newest_ms = max(self.newest_ms or 0, part[-1].timestamp_ms)

    def _partition(self, spec: TopicSpec, key: bytes) -> int:
        found = self._of_key.get((spec, key))
        if found is None:
            if len(self._of_key) >= KEYS_REMEMBERED:
                self._of_key.clear()
            partitions = self._partitions[spec]
            found = self._of_key[spec, key] = self._partitioner(key, partitions, partitions)
        return found

    @staticmethod
    async def _send_part(
        producer: AIOKafkaProducer, topic: str, partition: int, events: list[Event]
    ) -> list[asyncio.Future[Any]]:
        futures = []
        batch = producer.create_batch()
        for event in events:
            record = {"key": event.key, "value": event.value, "timestamp": event.timestamp_ms}
            if batch.append(**record) is None:
                futures.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(**record)
        futures.append(await producer.send_batch(batch, topic, partition=partition))
        return futures

    def _error(self, error: BaseException) -> ProducingError:
        return ProducingError(
            f"Kafka at {self._broker} does not take the simulated events: {error or type(error).__name__}. "
            "Check that it runs, that the topics exist (effortstream topics create) and may be written to"
        )
