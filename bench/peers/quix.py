"""Quix Streams: one tumbling count with its RocksDB state and changelog; with group_by on request.

Runs in an environment of its own, which holds quixstreams and nothing of this project.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from typing import Any

from quixstreams import Application

HOUR_MS = 3_600_000


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--broker", "--topic", "--name"):
        parser.add_argument(name)
    parser.add_argument("--events", type=int)
    parser.add_argument("--partitions", type=int)
    parser.add_argument("--group-by", action="store_true")
    args = parser.parse_args()
    read = 0
    begun: tuple[float, float] | None = None

    with tempfile.TemporaryDirectory() as folder:
        app = Application(
            broker_address=args.broker,
            consumer_group=args.name,
            auto_offset_reset="earliest",
            state_dir=folder,
            loglevel="WARNING",
        )

        def event_time(value: Any, *_: Any) -> int:
            return int(value["event_time_ms"])

        def count(_: Any) -> None:
            nonlocal read, begun
            if begun is None:
                begun = time.perf_counter(), time.process_time()
            read += 1
            if read >= args.events:
                wall_s, cpu_s = begun
                figures = {
                    "seconds": time.perf_counter() - wall_s,
                    "cpu_s": time.process_time() - cpu_s,
                    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                    "events": read,
                }
                print(json.dumps(figures), flush=True)
                os._exit(0)  # its shutdown flushes RocksDB, which is not what is measured

        topic = app.topic(args.topic, value_deserializer="json", timestamp_extractor=event_time)
        frame = app.dataframe(topic)
        if args.group_by:
            frame = frame.group_by("touchpoint")
        frame.tumbling_window(HOUR_MS, grace_ms=HOUR_MS).count().current().update(count)
        app.run()


if __name__ == "__main__":
    main()
