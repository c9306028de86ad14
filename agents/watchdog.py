"""The progress watchdog: work is there, and nothing moves."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from scoring.errors import EffortStreamError

_LOOK_GAP_S = 5.0


class StalledError(EffortStreamError, TimeoutError):
    """Nothing has moved for too long although there is work; a fresh start is the remedy."""


@dataclass(slots=True)
class Watchdog:
    """Notices what has stood still for ``stall_s`` although it should move.

    Kafka clients can stop without an error, mostly after the loss of a broker or a rebalance; only the lack of
    progress shows it.

    Args:
        stall_s: how long anything may stand still, in seconds.

    Example:
        >>> watchdog = Watchdog(10)
        >>> [watchdog.look(now, [("a", 7)]) for now in (0, 4, 8, 12)]
        [None, None, None, 'a']
        >>> watchdog.look(13, [("a", 8)])
    """

    stall_s: float
    _since: dict[Hashable, tuple[object, float]] = field(default_factory=dict)
    _looked_s: float | None = None

    def look(self, now_s: float, waiting: Iterable[tuple[Hashable, object]]) -> Hashable | None:
        """What has stalled, if anything has.

        Args:
            now_s: monotonic clock; a gap between two looks (a process that was stopped) starts all waits anew.
            waiting: everything that has work to do, each with a value that changes when it moves.
        """
        if self._looked_s is None or now_s - self._looked_s > _LOOK_GAP_S:
            self._since = {}
        self._looked_s = now_s
        held, self._since = self._since, {}
        for name, state in waiting:
            before = held.get(name)
            since_s = before[1] if before is not None and before[0] == state else now_s
            self._since[name] = state, since_s
        return next(
            (name for name, (_, since_s) in self._since.items() if now_s - since_s > self.stall_s), None
        )
