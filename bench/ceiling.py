"""The ceiling: aiokafka's getmany, one decode for each record, and a tally in a dict. Nothing is durable.

No Python program on aiokafka reads this topic much faster, so the worker's rate is given as a share of this one's.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.settings import client_security, load_settings
from bench.measuring import Watch, digest

# As the worker's: whatever is a mere setting helps both
_FETCH_BYTES = 4 << 20
_OBJECTS_PER_COLLECTION = 200_000


class Response(msgspec.Struct, gc=False):
    response_id: str
    customer_id: str
    touchpoint: str
    question: str
    rating: int
    event_time_ms: int


async def main(broker: str, topic: str, partitions: int, events: int) -> None:
    settings = load_settings(None, broker=broker)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.broker,
        **client_security(settings),
        max_partition_fetch_bytes=_FETCH_BYTES,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
        decode = msgspec.json.Decoder(Response).decode
        tally: dict[tuple[str, int, int], int] = {}
        get = tally.get
        read = 0
        gc.collect()
        gc.freeze()
        gc.set_threshold(_OBJECTS_PER_COLLECTION)
        watch = Watch()
        while read < events:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                watch.begin()
                rows = [decode(record.value) for record in records]
                for row in rows:
                    key = row.touchpoint, row.event_time_ms // 60_000, row.rating
                    tally[key] = get(key, 0) + 1
                read += len(rows)
        watch.end()
    finally:
        await consumer.stop()
    counts: Counter[tuple[str, int]] = Counter()
    for (touchpoint, _, rating), count in tally.items():
        counts[touchpoint, rating] += count
    watch.report(events=read, digest=digest(counts))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
