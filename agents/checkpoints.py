"""Writing one checkpoint: a Kafka transaction, or plain writes where the broker has none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from agents.ports import Out, Outgoing
from agents.topics import Topics
from scoring.errors import EffortStreamError

_BATCH_BYTES = 1 << 20
_REQUEST_BYTES = 4 << 20


class CheckpointError(EffortStreamError, RuntimeError):
    """A checkpoint could not be written; the worker must end, and nothing of the checkpoint is visible."""


class Sink(Protocol):
    """Where the checkpoints of one owned partition go."""

    async def open(self) -> None:
        """Makes ready; from then on an earlier owner can not write any more, where the broker can fence."""

    async def write(self, outgoing: Outgoing) -> None:
        """Writes one checkpoint; raises CheckpointError unless all of it is stored."""

    async def close(self) -> None:
        """Lets go; nothing is written."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which partition a sink belongs to: the stage's source topic, and the names of everything that it writes."""

    topics: Topics
    stage: str
    source: str
    partition: int

    @property
    def transactional_id(self) -> str:
        """One for each source partition of a group: the next owner's producer fences the last one's."""
        return f"{self.topics.group}-{self.source}-{self.partition}"

    def lots(self, outgoing: Outgoing) -> Iterable[tuple[str, int, list[Out]]]:
        """What to write where."""
        if outgoing.changelog:
            yield self.topics(self.topics.changelog(self.stage)), self.partition, outgoing.changelog
        for (topic, partition), records in outgoing.sends.items():
            yield self.topics(topic), partition, records


class _ProducerSink:
    """The producer of a sink: started once, stopped once, each within the time limit."""

    def __init__(self, place: Place, timeout_s: float, **options: Any) -> None:
        self._place = place
        self._timeout_s = timeout_s
        self._producer = AIOKafkaProducer(**options)
        self._opened = False

    async def open(self) -> None:
        """Starts the producer; a transactional one fences the last owner and ends what it has left open."""
        try:
            await asyncio.wait_for(self._producer.start(), self._timeout_s)
        except (Exception, asyncio.CancelledError):
            await self._producer.stop()
            raise
        self._opened = True

    async def close(self) -> None:
        """Stops the producer."""
        if self._opened:
            self._opened = False
            await asyncio.wait_for(self._producer.stop(), self._timeout_s)


class TransactionalSink(_ProducerSink):
    """One transaction for each checkpoint: state, outputs and position become visible together or not at all.

    aiokafka commits a transaction although a batch of it failed, so every send is awaited before; and its commit has
    no timeout, so it gets one here. After an error the producer's state is unknown: the process must end.
    """

    def __init__(self, place: Place, client: Mapping[str, Any], timeout_s: float) -> None:
        super().__init__(
            place,
            timeout_s,
            transactional_id=place.transactional_id,
            transaction_timeout_ms=round(timeout_s * 1000),
            **_producer_options(client),
        )

    async def write(self, outgoing: Outgoing) -> None:
        """Begins, sends, waits for every send, adds the position, commits."""
        step = "begin"
        place, producer = self._place, self._producer
        try:
            async with asyncio.timeout(self._timeout_s):
                await producer.begin_transaction()
                step = "send"
                await _send(producer, place.lots(outgoing))
                step = "send the position of"
                offsets = {
                    TopicPartition(place.source, place.partition): OffsetAndMetadata(outgoing.position, "")
                }
                await producer.send_offsets_to_transaction(offsets, place.topics.group)
                step = "commit"
                await producer.commit_transaction()
        except Exception as error:
            raise _failed(step, place, error) from error


class PlainSink(_ProducerSink):
    """The same for a broker without transactions: no fence, and a crash inside a checkpoint can tear it.

    The state is written last, so what a crash tears is written again after a restart.

    Args:
        turn: one for all sinks of a process. They write one after another, since the embedded broker may show the later
            of two batches that come at the same moment before the earlier one.
    """

    def __init__(self, place: Place, client: Mapping[str, Any], timeout_s: float, turn: asyncio.Lock) -> None:
        super().__init__(place, timeout_s, **_producer_options(client))
        self._turn = turn

    async def write(self, outgoing: Outgoing) -> None:
        """Sends outputs, then state, and waits for both."""
        try:
            async with self._turn, asyncio.timeout(self._timeout_s):
                changelog, *outputs = self._place.lots(outgoing)
                await _send(self._producer, outputs)
                await _send(self._producer, [changelog])
        except Exception as error:
            raise _failed("send", self._place, error) from error


def _producer_options(client: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **client,
        "acks": "all",
        "linger_ms": 0,
        "max_batch_size": _BATCH_BYTES,
        "max_request_size": _REQUEST_BYTES,
        "retry_backoff_ms": 20,
    }


def _failed(step: str, place: Place, error: Exception) -> CheckpointError:
    if isinstance(error, ProducerFenced):
        return CheckpointError(
            f"another worker has taken over {place.source}[{place.partition}], or a transaction was open for too long: "
            "this one gave no sign of life within the session timeout. Nothing of its last checkpoint is visible; "
            "start it again to share the work"
        )
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return CheckpointError(
        f"could not {step} a checkpoint of {place.source}[{place.partition}]: {cause}. "
        "Nothing of it is visible; the worker ends, and its successor goes on from the last checkpoint"
    )


async def _send(producer: AIOKafkaProducer, lots: Iterable[tuple[str, int, list[Out]]]) -> None:
    """Packs records into as few batches as possible, sends them and waits until every one is stored."""
    sent = []
    for topic, partition, records in lots:
        builder = producer.create_batch()
        for record in records:
            if not _append(builder, record):
                builder.close()
                sent.append(await producer.send_batch(builder, topic, partition=partition))
                builder = producer.create_batch()
                if not _append(builder, record):
                    size = len(record.key or b"") + len(record.value or b"")
                    raise CheckpointError(
                        f"a record of {size} bytes for {topic} is larger than a batch may be"
                    )
        builder.close()
        sent.append(await producer.send_batch(builder, topic, partition=partition))
    await asyncio.gather(*sent)


def _append(builder: Any, record: Out) -> bool:
    added = builder.append(timestamp=None, key=record.key, value=record.value, headers=record.headers or [])
    return added is not None
