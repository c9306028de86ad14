"""The chaos runs' judge of alerts finds what it looks for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.chaos.alerts import Alerts, fingerprint

ABOUT = {
    "rule": "high",
    "touchpoint": "ä",
    "journey_stage": None,
    "question": "q",
    "segment": {},
    "window": "1h",
}


def record(sequence: int, state: str, **changes: Any) -> dict[str, Any]:
    """A transition, at the minute of its sequence."""
    fired, resolved = state in ("firing", "resolved"), state == "resolved"
    times = {"fired_at_ms": 1 if fired else None, "resolved_at_ms": 2 if resolved else None}
    made = ABOUT | {"sequence": sequence, "state": state, "evidence": {"at_ms": 60_000 * sequence}} | times
    return {"fingerprint": fingerprint(made)} | made | changes


def judged(*records: dict[str, Any]) -> list[str]:
    """What is wrong with these records."""
    said: list[str] = []
    alerts = Alerts(said.append)
    for each in records:
        alerts.take(each["fingerprint"].encode(), json.dumps(each).encode())
    return said


def test_a_life_with_all_its_turns_is_right() -> None:
    """Pending, back, pending, firing, resolved, and again."""
    states = (
        "pending",
        "inactive",
        "pending",
        "firing",
        "resolved",
        "pending",
        "firing",
        "resolved",
        "firing",
    )
    assert judged(*(record(at, state) for at, state in enumerate(states, 1))) == []


WRONG = {
    "sequence 2 where 1 was due": [record(2, "pending")],
    "sequence 3 where 2 was due": [record(1, "pending"), record(3, "firing")],
    "sequence 1 is there twice": [record(1, "pending"), record(1, "pending", published_at_ms=5)],
    "sequence 1 has two contents, which differ in since_ms": [
        record(1, "pending", since_ms=1),
        record(1, "pending", since_ms=2),
    ],
    "resolved after pending": [record(1, "pending"), record(2, "resolved")],
    "inactive after None": [record(1, "inactive")],
    "event time did not go on": [record(1, "pending"), record(2, "firing", evidence={"at_ms": 60_000})],
    "its times say otherwise": [record(1, "firing", fired_at_ms=None)],
    "by what it is about": [record(1, "pending", touchpoint="b")],
}


@pytest.mark.parametrize("said", WRONG)
def test_what_must_never_be_said_is_found(said: str) -> None:
    """Each sort of violation, named."""
    found = judged(*WRONG[said])
    assert len(found) == 1
    assert said in found[0]


def test_a_tombstone_is_a_violation() -> None:
    """The topic keeps the state of every alert."""
    said: list[str] = []
    Alerts(said.append).take(b"f", None)
    assert said == ["alert b'f': a tombstone"]
