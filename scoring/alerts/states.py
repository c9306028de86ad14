"""The life of one alert: inactive, pending, firing, resolved; stepped with event time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where an alert is; resolved stays until the next pending."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(slots=True)
class Life:
    """One rule on one series.

    Attributes:
        state: as of the last step.
        sequence: of the last transition; 0 before the first.
        since_ms: from when on the condition has held, or held last.
        fired_at_ms, resolved_at_ms: of the current or last incident.
        leaving_ms: from when on the condition for the end has held; None while it does not.
    """

    state: State = State.INACTIVE
    sequence: int = 0
    since_ms: int = 0
    fired_at_ms: int | None = None
    resolved_at_ms: int | None = None
    leaving_ms: int | None = None

    def step(
        self, now_ms: int, for_ms: int, exit_for_ms: int, *, entered: bool, left: bool | None
    ) -> State | None:
        """Goes on to ``now_ms``, which is later than at the last step.

        Args:
            now_ms: event time.
            for_ms: how long the condition must hold before it fires; with 0 pending is left out.
            exit_for_ms: how long the condition for the end must hold.
            entered: whether the condition holds.
            left: whether the condition for the end holds; None where nothing can be said, which changes nothing.

        Returns:
            The new state if this was a transition, else None.

        Example:
            >>> life = Life()
            >>> [life.step(at, 2, 1, entered=at < 4, left=at >= 4) for at in range(1, 6)]
            [<State.PENDING: 'pending'>, None, <State.FIRING: 'firing'>, None, <State.RESOLVED: 'resolved'>]
        """
        if self.state is State.FIRING:
            return self._fire_on(now_ms, exit_for_ms, left)
        if not entered:
            return self._to(State.INACTIVE) if self.state is State.PENDING else None
        if self.state is not State.PENDING:
            self.since_ms, self.fired_at_ms, self.resolved_at_ms = now_ms, None, None
            if for_ms > 0:
                return self._to(State.PENDING)
        if now_ms - self.since_ms < for_ms:
            return None
        self.fired_at_ms = now_ms
        return self._to(State.FIRING)

    def end(self, now_ms: int) -> State | None:
        """Ends it whatever it is, since its rule is gone; a transition if it was pending or firing."""
        if self.state is State.PENDING:
            return self._to(State.INACTIVE)
        if self.state is not State.FIRING:
            return None
        self.resolved_at_ms = now_ms
        return self._to(State.RESOLVED)

    def due_ms(self, for_ms: int, exit_for_ms: int) -> int | None:
        """When time alone will move it on, if nothing else changes; None if it will not."""
        if self.state is State.PENDING:
            return self.since_ms + for_ms
        if self.state is State.FIRING and self.leaving_ms is not None:
            return self.leaving_ms + exit_for_ms
        return None

    def _fire_on(self, now_ms: int, exit_for_ms: int, left: bool | None) -> State | None:  # noqa: FBT001 - a result
        if left is False:
            self.leaving_ms = None
        elif left and self.leaving_ms is None:
            self.leaving_ms = now_ms
        if not left or self.leaving_ms is None or now_ms - self.leaving_ms < exit_for_ms:
            return None
        self.resolved_at_ms = now_ms
        return self._to(State.RESOLVED)

    def _to(self, state: State) -> State:
        self.state = state
        self.sequence += 1
        self.leaving_ms = None
        return state
