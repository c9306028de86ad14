"""Which alerts are muted, and by whom: silences, maintenance windows, acknowledgements. None changes a rule's state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from agents.records import AlertRecord, OperationRecord
from app.alertmodel import LEVELS, OperationTable
from scoring.alerts.maintenance import Maintenance
from scoring.alerts.states import State

ACKNOWLEDGE: Final = "acknowledge"
SILENCE: Final = "silence"
DEPLOYMENT: Final = "deployment"

Maintained = Callable[[str, str, int], str | None]
"""The id of a maintenance window that covers a rule at a touchpoint at a time in milliseconds, or None."""


def never(_rule: str, _touchpoint: str, _time_ms: int) -> None:
    """No maintenance at all."""


def maintenance(windows: Sequence[Maintenance]) -> Maintained:
    """The maintenance windows of a configuration as one; the first one that covers is named."""

    def maintained(rule: str, touchpoint: str, time_ms: int) -> str | None:
        return next((each.id for each in windows if each.covers(rule, touchpoint, time_ms)), None)

    return maintained


class Mute(msgspec.Struct, frozen=True):
    """One reason why an alert is muted.

    Attributes:
        by: silence, maintenance or acknowledgement.
        id: of the operation, or of the maintenance window.
        author, reason: who did it and why; None for maintenance, which the configuration declares.
        ends_at_ms: when it ends, if that is known.
    """

    by: str
    id: str
    author: str | None = None
    reason: str | None = None
    ends_at_ms: int | None = None


class JudgedAlert(AlertRecord, kw_only=True):
    """An alert and who has muted it; muting never changes its state."""

    muted: bool
    muted_by: list[Mute]


def acknowledgement_id(alert: AlertRecord) -> str:
    """The id of the acknowledgement of a firing alert: of this incident, so that the next one is heard again."""
    return f"{alert.fingerprint}-{alert.fired_at_ms}"


def in_force(silence: OperationRecord, now_ms: int) -> bool:
    """Whether a silence has begun and not ended."""
    return silence.at_ms <= now_ms < (silence.ends_at_ms or 0)


def silences(silence: OperationRecord, alert: AlertRecord) -> bool:
    """Whether an alert matches the patterns of a silence; one left out matches all."""
    pairs = (
        (silence.rule, alert.rule),
        (silence.touchpoint, alert.touchpoint),
        (silence.severity, alert.severity),
    )
    return all(pattern is None or fnmatchcase(value, pattern) for pattern, value in pairs)


class Muting:
    """Judges alerts by what operators did and what the configuration declares.

    Args:
        operations: what operators did.
        now_ms: the time by which silences and maintenance windows begin and end.
        maintained: the maintenance windows.
    """

    def __init__(
        self,
        operations: OperationTable,
        now_ms: Callable[[], int],
        maintained: Maintained = never,
    ) -> None:
        self._operations, self._now_ms, self._maintained = operations, now_ms, maintained

    def judge(self) -> Callable[[AlertRecord], list[Mute]]:
        """What mutes an alert at this moment: nothing if it is calm, since it is not heard anyway."""
        now_ms = self._now_ms()
        standing = [each for each in self._operations.all(SILENCE) if in_force(each, now_ms)]

        def mutes(alert: AlertRecord) -> list[Mute]:
            if not LEVELS[State(alert.state)]:
                return []
            found = [_mute("silence", each) for each in standing if silences(each, alert)]
            window = self._maintained(alert.rule, alert.touchpoint, now_ms)
            if window is not None:
                found.append(Mute("maintenance", window))
            acknowledged = self._operations.get(acknowledgement_id(alert))
            if alert.state == State.FIRING and acknowledged is not None:
                found.append(_mute("acknowledgement", acknowledged))
            return found

        return mutes

    def judged(self) -> Callable[[AlertRecord], JudgedAlert]:
        """Puts what mutes an alert at this moment beside it."""
        judge = self.judge()

        def judged(alert: AlertRecord) -> JudgedAlert:
            mutes = judge(alert)
            return JudgedAlert(**msgspec.structs.asdict(alert), muted=bool(mutes), muted_by=mutes)

        return judged


def _mute(by: str, operation: OperationRecord) -> Mute:
    return Mute(by, operation.id, operation.author, operation.reason, operation.ends_at_ms)
