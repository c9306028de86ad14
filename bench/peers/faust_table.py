"""Plain Faust: one tumbling table in memory with its changelog, one message at a time; with group_by on request."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import faust

from bench.measuring import Watch

HOUR_S = 3600.0


class Response(faust.Record, serializer="json"):
    response_id: str
    customer_id: str
    touchpoint: str
    question: str
    rating: int
    event_time_ms: int


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--broker", "--topic", "--name"):
        parser.add_argument(name)
    parser.add_argument("--events", type=int)
    parser.add_argument("--partitions", type=int)
    parser.add_argument("--group-by", action="store_true")
    args = parser.parse_args()
    app = faust.App(
        args.name,
        broker=f"kafka://{args.broker}",
        store="memory://",
        web_enabled=False,
        topic_partitions=args.partitions,
        topic_replication_factor=1,
        consumer_auto_offset_reset="earliest",
    )
    topic = app.topic(args.topic, value_type=Response, partitions=args.partitions)
    table = app.Table("tallies", default=int, partitions=args.partitions).tumbling(HOUR_S, key_index=False)
    watch, done = Watch(), asyncio.Event()
    read = 0

    @app.agent(topic)
    async def tally(stream: Any) -> None:
        nonlocal read
        rows = stream.group_by(Response.touchpoint, partitions=args.partitions) if args.group_by else stream
        async for row in rows:
            watch.begin()
            key = f"{row.touchpoint}|{row.rating}"
            table[key] += 1
            read += 1
            if read >= args.events:
                watch.end()
                done.set()

    async def run() -> None:
        app.finalize()
        await app.start()
        await done.wait()
        watch.report(events=read)
        await asyncio.wait_for(app.stop(), 20)

    asyncio.run(run())


if __name__ == "__main__":
    main()
