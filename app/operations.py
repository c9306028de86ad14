"""What operators may do about alerts, as records: checked here, whoever asks (the API or the command line)."""

from __future__ import annotations

from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Final
from uuid import uuid4

import msgspec
import orjson

from agents.records import AlertRecord, OperationRecord
from app.config_tables import label_problem
from app.muting import ACKNOWLEDGE, DEPLOYMENT, SILENCE, acknowledgement_id
from scoring.alerts.rules import Severity
from scoring.alerts.states import State
from scoring.errors import DeclarationError, EffortStreamError

DAY_MS = 86_400_000
MAX_SILENCE_MS = 90 * DAY_MS
MAX_AHEAD_MS = 300_000
EARLIEST_MS = 946_684_800_000  # 2000-01-01: what lies before is rather a time in seconds
MAX_REASON_BYTES = 1_000
MAX_NAME_BYTES = 128

_REMEDIES: Final = {
    "author": "Say who does it, in at most 128 bytes",
    "reason": "Say why, in at most 1,000 bytes",
    "rule": "Give the id of a rule or a pattern such as checkout-*, in at most 128 bytes",
    "touchpoint": "Give a touchpoint or a pattern such as checkout*, in at most 128 bytes",
    "severity": "Give warning, critical or a pattern that matches one of them",
}


class InvalidOperation(DeclarationError):  # noqa: N818 - what it is, told to the operator
    """An operation that has no meaning: key, value, what is wrong and the remedy."""


class NotFiring(EffortStreamError, ValueError):  # noqa: N818 - a state of the alert, told to the operator
    """An alert cannot be acknowledged because it does not fire."""


def acknowledge(alert: AlertRecord, author: str | None, reason: str | None, now_ms: int) -> OperationRecord:
    """The acknowledgement of a firing alert, until it is resolved; the same for the same incident, whoever asks.

    Raises:
        InvalidOperation: author or reason is missing or too long.
        NotFiring: nothing is to be acknowledged.
    """
    author, reason = _text("author", author), _text("reason", reason, MAX_REASON_BYTES)
    if alert.state != State.FIRING:
        raise NotFiring(
            f"The alert {alert.fingerprint} is {alert.state}, not firing: there is nothing to acknowledge. "
            "Silence it to keep it quiet when it fires"
        )
    return OperationRecord(
        id=acknowledgement_id(alert),
        action=ACKNOWLEDGE,
        author=author,
        reason=reason,
        at_ms=now_ms,
        fingerprint=alert.fingerprint,
    )


def silence(
    *,
    author: str | None,
    reason: str | None,
    ends_at_ms: int | None,
    now_ms: int,
    at_ms: int | None = None,
    rule: str | None = None,
    touchpoint: str | None = None,
    severity: str | None = None,
) -> OperationRecord:
    """A silence of the alerts that match every given pattern.

    Args:
        author: who silences.
        reason: why.
        ends_at_ms: when it ends; at most 90 days after it begins.
        now_ms: the present.
        at_ms: when it begins; now where it is left out.
        rule: shell pattern; at least one of the three must be given, ``*`` for all.
        touchpoint: likewise.
        severity: likewise.

    Raises:
        InvalidOperation: what is wrong with which of them.
    """
    begins_ms = now_ms if at_ms is None else at_ms
    record = OperationRecord(
        id=uuid4().hex,
        action=SILENCE,
        author=_text("author", author),
        reason=_text("reason", reason, MAX_REASON_BYTES),
        at_ms=_instant("at_ms", begins_ms),
        ends_at_ms=_instant("ends_at_ms", ends_at_ms),
        rule=_pattern("rule", rule),
        touchpoint=_pattern("touchpoint", touchpoint),
        severity=_pattern("severity", severity),
    )
    if record.rule is record.touchpoint is record.severity is None:
        raise InvalidOperation("rule", None, "nothing says which alerts are meant", 'Give "*" to silence all')
    if record.severity is not None and not any(fnmatchcase(one, record.severity) for one in Severity):
        raise InvalidOperation("severity", severity, "matches no severity", _REMEDIES["severity"])
    _check_end(record, now_ms)
    return record


def deployment(
    *,
    author: str | None,
    reason: str | None,
    now_ms: int,
    at_ms: int | None = None,
    touchpoint: str | None = None,
) -> OperationRecord:
    """The mark of a deployment; the same id for the same touchpoints and time, so that saying it twice is once.

    Args:
        author: who deployed.
        reason: what was deployed.
        now_ms: the present.
        at_ms: when it went live; now where it is left out.
        touchpoint: shell pattern of the touchpoints concerned; all where it is left out.

    Raises:
        InvalidOperation: what is wrong with which of them.
    """
    at_ms = _instant("at_ms", now_ms if at_ms is None else at_ms)
    if at_ms > now_ms + MAX_AHEAD_MS:
        raise InvalidOperation(
            "at_ms", at_ms, "lies in the future", "Mark a deployment when it has gone live"
        )
    pattern = _pattern("touchpoint", touchpoint) or "*"
    return OperationRecord(
        id=f"deployment-{sha256(orjson.dumps([pattern, at_ms])).hexdigest()[:16]}",
        action=DEPLOYMENT,
        author=_text("author", author),
        reason=_text("reason", reason, MAX_REASON_BYTES),
        at_ms=at_ms,
        touchpoint=pattern,
    )


def withdraw(operation: OperationRecord, author: str | None, reason: str | None) -> OperationRecord:
    """The record that takes an operation back, with who does so and why.

    Raises:
        InvalidOperation: author or reason is missing or too long.
    """
    return msgspec.structs.replace(
        operation,
        author=_text("author", author),
        reason=_text("reason", reason, MAX_REASON_BYTES),
        withdrawn=True,
    )


def _text(key: str, value: str | None, max_bytes: int = MAX_NAME_BYTES) -> str:
    text = (value or "").strip()
    if problem := label_problem(text, max_bytes):
        raise InvalidOperation(key, value, "is missing" if value is None else problem, _REMEDIES[key])
    return text


def _pattern(key: str, value: str | None) -> str | None:
    return None if value is None else _text(key, value)


def _instant(key: str, value: int | None) -> int:
    if value is None or value < EARLIEST_MS:
        problem = "is missing" if value is None else "lies before the year 2000"
        raise InvalidOperation(key, value, problem, "Give milliseconds since 1970-01-01T00:00:00Z")
    return value


def _check_end(record: OperationRecord, now_ms: int) -> None:
    ends_at_ms = record.ends_at_ms or 0
    if ends_at_ms <= max(now_ms, record.at_ms):
        raise InvalidOperation(
            "ends_at_ms",
            ends_at_ms,
            "is over before it begins",
            f"Give a time after {max(now_ms, record.at_ms)}, in milliseconds since 1970-01-01T00:00:00Z",
        )
    if ends_at_ms - record.at_ms > MAX_SILENCE_MS:
        raise InvalidOperation(
            "ends_at_ms",
            ends_at_ms,
            "lies more than 90 days after the beginning",
            "End it sooner; what shall be quiet for longer is a rule to change",
        )
