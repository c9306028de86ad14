"""Clocks: the only way in which wall time enters the pipeline, injected so that a demo or a test can run faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Tells the present as event time."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""


def wall_ms() -> int:
    """The system's time in milliseconds since the Unix epoch, UTC."""
    return time.time_ns() // 1_000_000


class SystemClock:
    """The wall clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""
        return wall_ms()


@dataclass(frozen=True, slots=True)
class FastClock:
    """A clock that starts in the past, runs ``rate`` times as fast, and is the wall clock once it has caught up.

    Args:
        started_ms: wall time at which it began.
        from_ms: what it showed then.
        rate: event milliseconds per wall millisecond, >= 1.
        wall: where the wall time comes from.

    Example:
        >>> clock = FastClock(started_ms=1_000, from_ms=0, rate=2.0, wall=lambda: 1_400)
        >>> clock.now_ms()
        800
        >>> FastClock(started_ms=1_000, from_ms=0, rate=2.0, wall=lambda: 9_000).now_ms()
        9000
    """

    started_ms: int
    from_ms: int
    rate: float
    wall: Callable[[], int] = wall_ms

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC, never ahead of the wall clock."""
        wall = self.wall()
        return min(wall, self.from_ms + round((wall - self.started_ms) * self.rate))

    def encode(self) -> str:
        """As EFFORTSTREAM_CLOCK carries it to another process: ``started_ms,from_ms,rate``."""
        return f"{self.started_ms},{self.from_ms},{self.rate}"


def parse_clock(text: str | None) -> Clock:
    """The clock that ``FastClock.encode`` described; the wall clock for None or an empty text.

    Raises:
        ValueError: the text is not three numbers, or the rate is below 1.
    """
    if not text:
        return SystemClock()
    started, begin, rate = text.split(",")
    if float(rate) < 1:
        raise ValueError(f"clock rate = {rate}: must be 1 or more")
    return FastClock(int(started), int(begin), float(rate))
