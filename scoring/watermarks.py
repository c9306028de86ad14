"""Watermarks: how far event time is complete, over source partitions that may be idle or ownerless."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

IDLE_HOLD_MS = 30_000


@dataclass(frozen=True, slots=True)
class SourceState:
    """What the owner of a source partition last said of it.

    Attributes:
        offset: last offset applied when it was said.
        highest_ms: highest event time accepted, or None when there was none yet.
        watermark_ms: no event before this is expected, or None when there was no event yet.
        idle: read to its end and silent since.
        stated_ms: when it was said, in broker time.
    """

    offset: int
    highest_ms: int | None
    watermark_ms: int | None
    idle: bool
    stated_ms: int

    def is_idle(self, now_ms: int, hold_ms: int = IDLE_HOLD_MS) -> bool:
        """Whether the partition counts as idle: its word holds for ``hold_ms``, then its owner may be dead.

        Example:
            >>> state = SourceState(offset=7, highest_ms=None, watermark_ms=None, idle=True, stated_ms=1_000)
            >>> state.is_idle(31_000), state.is_idle(31_001)
            (True, False)
        """
        return self.idle and now_ms - self.stated_ms <= hold_ms


@dataclass(frozen=True, slots=True)
class Merged:
    """Event time over all source partitions.

    Attributes:
        watermark_ms: up to here all has been seen; None while that cannot be said, and when all are idle.
        all_idle: all have reported and are idle: the wall clock moves event time, by the caller's rule.
        highest_ms: highest event time accepted anywhere, where live windows end; None before the first event.
    """

    watermark_ms: int | None
    all_idle: bool
    highest_ms: int | None


def merged_watermark(
    sources: Iterable[SourceState], expected: int, now_ms: int, hold_ms: int = IDLE_HOLD_MS
) -> Merged:
    """The minimum over the partitions that are not idle.

    One that has said nothing yet holds the watermark, and so does one that has no event yet and is not idle:
    its first event may be older than all others. The result may lie below an earlier one when an idle partition
    wakes; whoever closes windows keeps the highest that it has seen.

    Args:
        sources: one state per partition that has reported.
        expected: partitions of the topic, >= 1.
        now_ms: the present, in broker time.
        hold_ms: how long an idle statement holds.

    Example:
        >>> early = SourceState(offset=1, highest_ms=15, watermark_ms=5, idle=False, stated_ms=0)
        >>> late = SourceState(offset=1, highest_ms=19, watermark_ms=9, idle=False, stated_ms=0)
        >>> merged_watermark([early, late], expected=2, now_ms=0)
        Merged(watermark_ms=5, all_idle=False, highest_ms=19)
        >>> merged_watermark([early], expected=2, now_ms=0)
        Merged(watermark_ms=None, all_idle=False, highest_ms=15)
    """
    states = list(sources)
    highest_ms = max((state.highest_ms for state in states if state.highest_ms is not None), default=None)
    if not states or len(states) < expected:
        return Merged(None, all_idle=False, highest_ms=highest_ms)
    held = [state.watermark_ms for state in states if not state.is_idle(now_ms, hold_ms)]
    known = [watermark_ms for watermark_ms in held if watermark_ms is not None]
    watermark_ms = min(known) if known and len(known) == len(held) else None
    return Merged(watermark_ms, all_idle=not held, highest_ms=highest_ms)
