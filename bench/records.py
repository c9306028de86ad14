"""The benchmark's input: responses of a fixed shape, the same ones for the same number, keyed by customer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

TOUCHPOINTS: Final = 50
CUSTOMERS: Final = 200_000
QUESTION: Final = "effort"
LOW, HIGH = 1, 7
FIRST_MS: Final = 1_763_719_200_000  # a whole hour, so that all events lie in one calendar window
SPAN_MS: Final = 3_600_000
BATCH_BYTES: Final = 1 << 20
_CHUNK: Final = 20_000
_VALUE: Final = (
    b'{"response_id":"r%09d","customer_id":"c%07d","touchpoint":"touchpoint-%02d",'
    b'"question":"effort","rating":%d,"event_time_ms":%d}'
)


def records(events: int, partitions: int) -> Iterator[tuple[int, bytes, bytes]]:
    """(partition, key, value) of each event, in event-time order."""
    keys = [b"c%07d" % number for number in range(CUSTOMERS)]
    # One hash for each customer, not for each event: murmur2 is pure Python.
    homes = [(murmur2(key) & 0x7FFFFFFF) % partitions for key in keys]
    rng = np.random.default_rng(1)
    for begin in range(0, events, _CHUNK):
        size = min(_CHUNK, events - begin)
        customers = rng.integers(CUSTOMERS, size=size).tolist()
        touchpoints = rng.integers(TOUCHPOINTS, size=size).tolist()
        ratings = rng.integers(LOW, HIGH + 1, size=size).tolist()
        for at, (customer, touchpoint, rating) in enumerate(
            zip(customers, touchpoints, ratings, strict=True), begin
        ):
            time_ms = FIRST_MS + at * SPAN_MS // events
            yield homes[customer], keys[customer], _VALUE % (at, customer, touchpoint, rating, time_ms)


async def produce(
    client: dict[str, Any], topic: str, events: int, partitions: int, advance: Callable[[int], None]
) -> None:
    """Writes the input to a topic that exists; ``advance`` is told how many records each batch holds."""
    producer = AIOKafkaProducer(
        **client, acks="all", linger_ms=0, max_batch_size=BATCH_BYTES, max_request_size=4 * BATCH_BYTES
    )
    await producer.start()
    try:
        building = [producer.create_batch() for _ in range(partitions)]
        sent: list[asyncio.Future[Any]] = []

        async def flush(partition: int) -> None:
            batch, building[partition] = building[partition], producer.create_batch()
            batch.close()
            if batch.record_count():
                sent.append(await producer.send_batch(batch, topic, partition=partition))
                advance(batch.record_count())

        for partition, key, value in records(events, partitions):
            if building[partition].append(key=key, value=value, timestamp=None) is None:
                await flush(partition)
                building[partition].append(key=key, value=value, timestamp=None)
        for partition in range(partitions):
            await flush(partition)
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
