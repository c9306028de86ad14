"""The alerts and the operators' records as their compacted topics tell them; both bounded."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from agents.records import AlertRecord, OperationRecord
from scoring.alerts.states import State

DEFAULT_MAX_ALERTS = 50_000
MAX_TRANSITIONS = 2_000
MAX_OPERATIONS = 10_000

LEVELS: Final = {State.INACTIVE: 0, State.RESOLVED: 0, State.PENDING: 1, State.FIRING: 2}
"""How much attention each state asks for; 0 is calm."""

_decode_alert = msgspec.json.Decoder(AlertRecord).decode
_decode_operation = msgspec.json.Decoder(OperationRecord).decode


class AlertTable:
    """The newest state of each alert by fingerprint, and the last transitions of all of them.

    The highest sequence of a fingerprint wins: a lower one is ignored and counted. When the table is full, the alert
    that has been calm for longest gives way; only if all of them are pending or firing a new one is refused.

    Args:
        max_alerts: how many are held, 1 or more.
        max_transitions: how many transitions are kept, over all alerts.

    Attributes:
        superseded: records with a lower sequence than the one held.
        dropped: alerts that gave way or were refused because the table was full.
    """

    def __init__(self, max_alerts: int = DEFAULT_MAX_ALERTS, max_transitions: int = MAX_TRANSITIONS) -> None:
        self.max_alerts = max_alerts
        self.superseded = 0
        self.dropped = 0
        self._held: dict[str, tuple[int, AlertRecord]] = {}
        self._calm: dict[str, None] = {}  # in the order in which they became calm
        self._transitions: deque[tuple[int, AlertRecord]] = deque(maxlen=max_transitions)

    def __len__(self) -> int:
        return len(self._held)

    def apply(self, partition: int, key: bytes | None, value: bytes | None) -> bool:
        """Takes in one record; a missing value removes its alert.

        Returns:
            Whether it was taken in.

        Raises:
            msgspec.DecodeError: it is no alert, of a state that this version knows, under its own fingerprint.
            UnicodeDecodeError: its key is no text.
        """
        fingerprint = (key or b"").decode()
        if not value:
            self._held.pop(fingerprint, None)
            self._calm.pop(fingerprint, None)
            return True
        record = _decode_alert(value)
        if not fingerprint or record.fingerprint != fingerprint:
            raise msgspec.ValidationError("the record names another alert than its key")
        if record.state not in LEVELS:
            raise msgspec.ValidationError("the record has a state that this version does not know")
        return self._put(partition, record)

    def _put(self, partition: int, record: AlertRecord) -> bool:
        fingerprint = record.fingerprint
        held = self._held.get(fingerprint)
        if held is not None and record.sequence < held[1].sequence:
            self.superseded += 1
            return False
        if held is None and not self._make_room():
            return False
        if held is None or record.sequence > held[1].sequence:
            self._transitions.append((partition, record))
        self._held[fingerprint] = partition, record
        self._calm.pop(fingerprint, None)
        if LEVELS[State(record.state)] == 0:
            self._calm[fingerprint] = None
        return True

    def _make_room(self) -> bool:
        if len(self._held) < self.max_alerts:
            return True
        self.dropped += 1
        longest = next(iter(self._calm), None)
        if longest is None:
            return False
        del self._held[longest], self._calm[longest]
        return True

    def forget(self, partition: int) -> None:
        """Drops all that came from a partition."""
        for fingerprint in [name for name, (source, _) in self._held.items() if source == partition]:
            del self._held[fingerprint]
            self._calm.pop(fingerprint, None)
        kept = [each for each in self._transitions if each[0] != partition]
        self._transitions.clear()
        self._transitions.extend(kept)

    def get(self, fingerprint: str) -> AlertRecord | None:
        """One alert, or None."""
        held = self._held.get(fingerprint)
        return None if held is None else held[1]

    def all(self) -> list[AlertRecord]:
        """Every alert, unsorted; safe to call from another thread than the one that applies."""
        # tuple() of a dict's values is one step under the interpreter's lock, so it never sees a dict change
        return [record for _, record in tuple(self._held.values())]

    def transitions(self, fingerprint: str) -> list[AlertRecord]:
        """The transitions of one alert that are kept, oldest first."""
        return [record for _, record in self._transitions if record.fingerprint == fingerprint]


class OperationTable:
    """What operators did and did not take back, by id; an end that has passed is for the reader to judge.

    When the table is full the operation that was read first gives way: alerts are then heard rather than missed.

    Args:
        max_operations: how many are held, 1 or more.

    Attributes:
        dropped: operations that gave way.
    """

    def __init__(self, max_operations: int = MAX_OPERATIONS) -> None:
        self.max_operations = max_operations
        self.dropped = 0
        self._held: dict[str, tuple[int, OperationRecord]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def apply(self, partition: int, key: bytes | None, value: bytes | None) -> bool:
        """Takes in one record; one that is withdrawn, or has no value, removes its operation.

        Returns:
            True: nothing is refused here.

        Raises:
            msgspec.DecodeError: it is no operation under its own id.
            UnicodeDecodeError: its key is no text.
        """
        name = (key or b"").decode()
        record = _decode_operation(value) if value else None
        if record is not None and (not name or record.id != name):
            raise msgspec.ValidationError("the record names another operation than its key")
        self._held.pop(name, None)
        if record is None or record.withdrawn:
            return True
        if len(self._held) >= self.max_operations:
            self.dropped += 1
            del self._held[next(iter(self._held))]
        self._held[name] = partition, record
        return True

    def forget(self, partition: int) -> None:
        """Drops all that came from a partition."""
        for name in [name for name, (source, _) in self._held.items() if source == partition]:
            del self._held[name]

    def get(self, name: str) -> OperationRecord | None:
        """One operation, or None."""
        held = self._held.get(name)
        return None if held is None else held[1]

    def all(self, action: str) -> list[OperationRecord]:
        """The operations of an action, by time and id; safe to call from another thread than the one that applies."""
        found = [record for _, record in tuple(self._held.values()) if record.action == action]
        return sorted(found, key=lambda record: (record.at_ms, record.id))
