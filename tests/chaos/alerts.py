"""What effort.alerts.v1 must never say: a transition twice, one left out, or one that there is no way to."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

STEPS = {
    None: ("pending", "firing"),
    "inactive": ("pending", "firing"),
    "pending": ("firing", "inactive"),
    "firing": ("resolved",),
    "resolved": ("pending", "firing"),
}
"""Which states may follow a state; None is an alert that nobody has heard of. A rule without ``for`` skips pending."""

_IDENTITY = ("rule", "touchpoint", "journey_stage", "question", "segment", "window")


class Alerts:
    """The alerts of a run, transition by transition.

    Args:
        violated: told of what can never be put right again.

    Attributes:
        states: how many transitions led to each state.
    """

    def __init__(self, violated: Callable[[str], None]) -> None:
        self._violated = violated
        self._newest: dict[str, dict[str, Any]] = {}
        self.states: Counter[str] = Counter()

    def take(self, key: bytes, value: bytes | None) -> None:
        """The next record of the topic."""
        if value is None:
            self._violated(f"alert {key!r}: a tombstone")
            return
        new = json.loads(value)
        name = new["fingerprint"]
        held = self._newest.get(name)
        due = 1 if held is None else held["sequence"] + 1
        if key.decode() != name or fingerprint(new) != name:
            self._violated(
                f"alert {key!r} says that it is {name}, and {fingerprint(new)} by what it is about"
            )
        elif new["sequence"] != due:
            self._violated(
                _doubled(held, new) or f"alert {name}: sequence {new['sequence']} where {due} was due"
            )
        else:
            self._follow(name, held, new)
        self._newest[name] = new
        self.states[new["state"]] += 1

    def _follow(self, name: str, held: dict[str, Any] | None, new: dict[str, Any]) -> None:
        """A record with the right sequence: its state, and event time, must go on from the one before."""
        before = None if held is None else held["state"]
        if new["state"] not in STEPS[before]:
            self._violated(f"alert {name}, sequence {new['sequence']}: {new['state']} after {before}")
        if held is not None and new["evidence"]["at_ms"] <= held["evidence"]["at_ms"]:
            self._violated(f"alert {name}, sequence {new['sequence']}: event time did not go on")
        fired, resolved = new["fired_at_ms"] is not None, new["resolved_at_ms"] is not None
        due = {
            "pending": (False, False),
            "inactive": (False, False),
            "firing": (True, False),
            "resolved": (True, True),
        }
        if (fired, resolved) != due[new["state"]]:
            self._violated(
                f"alert {name}, sequence {new['sequence']}: {new['state']}, but its times say otherwise"
            )


def fingerprint(record: dict[str, Any]) -> str:
    """The identity of an alert by the contract."""
    identity = [record[part] for part in _IDENTITY]
    text = json.dumps(identity, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _doubled(held: dict[str, Any] | None, new: dict[str, Any]) -> str | None:
    """What to say of a sequence that came before; None if it did not."""
    if held is None or new["sequence"] != held["sequence"]:
        return None
    differ = [part for part in new if part != "published_at_ms" and new[part] != held.get(part)]
    what = f"has two contents, which differ in {', '.join(differ)}" if differ else "is there twice"
    return f"alert {new['fingerprint']}: sequence {new['sequence']} {what}"
