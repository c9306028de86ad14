"""What every measured program reports of itself, as one line of JSON on stdout."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux


class Watch:
    """Wall time and CPU time of this process, from the first batch to the last."""

    def __init__(self) -> None:
        self._begun: tuple[float, float] | None = None
        self._took: tuple[float, float] | None = None

    def begin(self) -> None:
        """Starts, the first time that it is called."""
        if self._begun is None:
            self._begun = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """Stops, the first time that it is called."""
        if self._took is None and self._begun is not None:
            wall_s, cpu_s = self._begun
            self._took = time.perf_counter() - wall_s, time.process_time() - cpu_s

    def report(self, **more: Any) -> None:
        """Prints the figures."""
        if self._took is None:
            raise RuntimeError("nothing was measured")
        seconds, cpu_s = self._took
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / (1 << 20)
        figures = {"seconds": seconds, "cpu_s": cpu_s, "peak_mib": peak_mib}
        print(json.dumps(figures | more), flush=True)


def digest(counts: Mapping[tuple[str, int], int]) -> str:
    """A short name for (touchpoint, rating) counts: two programs that agree in it have counted the same."""
    return hashlib.sha256(json.dumps(sorted(counts.items())).encode()).hexdigest()[:16]
