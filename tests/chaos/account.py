"""The producer's own account: what it has sent, and what must be counted of it in the end.

Everything about one customer goes to one partition, in order, so what becomes of a record follows from what was sent
before it: the account decides it while it makes the record, and looks at nothing that the pipeline says.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.pipeline import PARTITIONS, partition_of

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
RESPONSES, INTERACTIONS = "responses", "interactions"
SCALES = {"effort": range(1, 8), "recommend": range(11)}
HOT = "checkout"
CONFIGURATION = """
[questions.effort]
metric = "ces"
scale = { low = 1, high = 7, best = 7 }
[questions.recommend]
metric = "nps"
[windows]
live = ["1h", "7d"]
calendar = ["1h"]
idle_timeout = "5s"
grace = "1s"
[[alerts]]
id = "effort-high"
kind = "threshold"
question = "effort"
score = "effort_index"
window = "1h"
enter = 50
exit = 49
min_n = 5
for = "2m"
exit_for = "1m"
[[alerts]]
id = "effort-rising"
kind = "rising"
metric = "ces"
false_alarms = "1 per 1d"
min_history = "1d"
"""
"""Ratings come from all of the scale alike, so the effort index is 50 but for chance: alerts begin and end all the time."""

GRACE_MS = 1_000

_SPAN_MS = 9 * HOUR_MS
_TOO_LATE_MS = 60 * HOUR_MS
_FUTURE_MS = 24 * HOUR_MS
_JITTER_MS = 5_000
_CUSTOMERS = 20_000
_COLD = 399
_REMEMBERED = 20_000
_KINDS = {
    "interaction": 0.05,
    "poison": 0.002,
    "too late": 0.001,
    "clock a day ahead": 0.002,
    "an hour late": 0.02,
    "copy": 0.02,
    "edit": 0.02,
    "withdrawal": 0.01,
    "stale edit": 0.002,
    "copy of a withdrawn answer": 0.002,
    "answer again": 0.003,
}
_POISON_RESPONSES: tuple[tuple[bytes, str], ...] = (
    (b"{nope", "not_json"),
    (b'"\xff\xfe"', "not_utf8"),
    (b"", "empty"),
    (b"[1]", "wrong_type"),
    (b"[" * 3000 + b"]" * 3000, "too_deep"),
    (b'{"response_id":"p","question":"effort","rating":8,"touchpoint":"t"}', "off_scale"),
    (b'{"response_id":"p","question":"nobody-asked","rating":5,"touchpoint":"t"}', "unknown_question"),
    (b'{"question":"effort","rating":5,"touchpoint":"t"}', "missing_field"),
)
_POISON_INTERACTIONS: tuple[tuple[bytes, str], ...] = (
    (b"{nope", "not_json"),
    (b'{"interaction_id":"p"}', "missing_field"),
    (b'{"interaction_id":"p","touchpoint":"t","outcome":"great"}', "wrong_type"),
)


class Made(NamedTuple):
    """One record to send."""

    kind: str
    partition: int
    key: bytes
    value: bytes


class Place(NamedTuple):
    """Where a record lies."""

    kind: str
    partition: int
    offset: int


@dataclass(slots=True)
class _Answer:
    """One answer that the customer may still change."""

    key: bytes
    fields: dict[str, Any]
    withdrawn: bool = False


class Account:
    """Makes records from a seed and keeps account of them.

    Args:
        seed: decides everything but the times.
        total: how many records will be made; they spread over nine hours of event time.
        now_ms: of the brokers' clocks: all that is accepted lies before it.

    Attributes:
        answers: by (touchpoint, question, minute, rating).
        linked: answers that carry an interaction_id, by (touchpoint, question, minute).
        interactions: by (touchpoint, minute).
        dead: the reason of each record that must be refused.
        sent: records by (kind, partition).
        kinds: how many records of which sort.
    """

    def __init__(self, seed: int, total: int, now_ms: int) -> None:
        self.seed, self.total = seed, total
        self.answers: Counter[tuple[str, str, int, int]] = Counter()
        self.linked: Counter[tuple[str, str, int]] = Counter()
        self.interactions: Counter[tuple[str, int]] = Counter()
        self.dead: dict[Place, str] = {}
        self.sent: Counter[tuple[str, int]] = Counter()
        self.kinds: Counter[str] = Counter()
        self.made = 0
        self._now_ms = now_ms
        self._base_ms = now_ms // HOUR_MS * HOUR_MS - _SPAN_MS - 2 * HOUR_MS
        self._random = random.Random(seed)
        self.idle_partition = self._random.randrange(PARTITIONS)
        self._keys = [
            key for number in range(_CUSTOMERS) if partition_of(key := b"c%d" % number) != self.idle_partition
        ]
        self._open: list[_Answer] = []
        self._withdrawn: list[_Answer] = []
        self._contacts: list[tuple[bytes, dict[str, Any]]] = []
        self._begun: set[tuple[str, int]] = set()
        self._names, self._weights = list(_KINDS), list(_KINDS.values())
        self._names.append("answer")
        self._weights.append(1 - sum(self._weights))

    # -- in ------------------------------------------------------------------------------------------------------

    def next(self) -> Made:
        """The next record."""
        self.made += 1
        name = self._random.choices(self._names, self._weights)[0]
        key = self._random.choice(self._keys)
        made = self._interaction(key) if name == "interaction" else self._response(name, key)
        self.sent[made.kind, made.partition] += 1
        return made

    def _response(self, name: str, key: bytes) -> Made:
        partition = partition_of(key)
        if name == "poison":
            value, reason = self._random.choice(_POISON_RESPONSES)
            return self._refused(RESPONSES, key, value, reason)
        if name in ("too late", "clock a day ahead") and (RESPONSES, partition) in self._begun:
            late = name == "too late"
            ahead_ms = -_TOO_LATE_MS if late else _FUTURE_MS + self._now_ms - self._moment_ms()
            fields = self._fields(key, ahead_ms)
            return self._refused(RESPONSES, key, _json(fields), "too_late" if late else "too_far_ahead")
        if name in ("copy", "edit", "withdrawal", "stale edit") and self._open:
            return self._again(name)
        if name in ("copy of a withdrawn answer", "answer again") and self._withdrawn:
            return self._after_withdrawal(name)
        return self._answer(name, key)

    def _answer(self, name: str, key: bytes) -> Made:
        late = name == "an hour late"
        fields = self._fields(key, -HOUR_MS if late else 0)
        self._count(fields, 1)
        self.kinds["an hour late" if late else "answer"] += 1
        self._begun.add((RESPONSES, partition_of(key)))
        self._remember(_Answer(key, fields))
        return Made(RESPONSES, partition_of(key), key, _json(fields))

    def _again(self, name: str) -> Made:
        """A copy, an edit, an edit that is older than what is known, or a withdrawal."""
        at = self._random.randrange(len(self._open))
        held = self._open[at]
        fields = held.fields
        if name == "stale edit" and "updated_at_ms" not in fields:
            name = "copy"
        self.kinds[name] += 1
        if name == "copy":
            pass
        elif name == "stale edit":
            stale = {"rating": self._other(fields), "updated_at_ms": fields["updated_at_ms"] - 1}
            fields = fields | stale
        else:
            self._count(fields, -1)
            if name == "edit":
                fields = held.fields = self._newer(self._edited(fields))
                self._count(fields, 1)
            else:
                held.withdrawn = True
                self._open[at] = self._open[-1]
                self._open.pop()
                self._withdrawn.append(held)
                held.fields = self._newer(fields)
                fields = held.fields | {"rating": None}
        return Made(RESPONSES, partition_of(held.key), held.key, _json(fields))

    def _after_withdrawal(self, name: str) -> Made:
        """A copy of a withdrawn answer is a duplicate; a different one counts anew."""
        at = self._random.randrange(len(self._withdrawn))
        held = self._withdrawn[at]
        self.kinds[name] += 1
        if name == "answer again":
            self._withdrawn[at] = self._withdrawn[-1]
            self._withdrawn.pop()
            held.fields = self._newer(held.fields | {"rating": self._other(held.fields)})
            held.withdrawn = False
            self._count(held.fields, 1)
            self._remember(held)
        return Made(RESPONSES, partition_of(held.key), held.key, _json(held.fields))

    def _interaction(self, key: bytes) -> Made:
        draw = self._random.random()
        partition = partition_of(key)
        begun = (INTERACTIONS, partition) in self._begun
        if draw < 0.01:
            value, reason = self._random.choice(_POISON_INTERACTIONS)
            return self._refused(INTERACTIONS, key, value, reason)
        fields = {
            "interaction_id": f"i{self.made}",
            "touchpoint": self._touchpoint(),
            "event_time_ms": self._moment_ms(),
            "outcome": self._random.choice(["resolved", "unresolved", "abandoned"]),
            "duration_s": self._random.randrange(600),
        }
        if begun and draw < 0.02:
            fields["event_time_ms"] -= _TOO_LATE_MS
            return self._refused(INTERACTIONS, key, _json(fields), "too_late")
        if begun and draw < 0.03:
            fields["event_time_ms"] = self._now_ms + _FUTURE_MS
            return self._refused(INTERACTIONS, key, _json(fields), "too_far_ahead")
        if draw < 0.08 and self._contacts:
            key, fields = self._random.choice(self._contacts)
            self.kinds["copy of an interaction"] += 1
            changed = fields | {"duration_s": 1.0}
            return Made(INTERACTIONS, partition_of(key), key, _json(changed))
        self._begun.add((INTERACTIONS, partition))
        self.kinds["interaction"] += 1
        self.interactions[fields["touchpoint"], fields["event_time_ms"] // MINUTE_MS] += 1
        if len(self._contacts) < _REMEMBERED:
            self._contacts.append((key, fields))
        return Made(INTERACTIONS, partition, key, _json(fields))

    def _refused(self, kind: str, key: bytes, value: bytes, reason: str) -> Made:
        partition = partition_of(key)
        self.dead[Place(kind, partition, self.sent[kind, partition])] = reason
        self.kinds["refused"] += 1
        return Made(kind, partition, key, value)

    # -- parts of a record ---------------------------------------------------------------------------------------

    def _moment_ms(self) -> int:
        return self._base_ms + self.made * _SPAN_MS // self.total - self._random.randrange(_JITTER_MS)

    def _touchpoint(self) -> str:
        return HOT if self._random.random() < 0.9 else f"touchpoint-{self._random.randrange(_COLD):03d}"

    def _fields(self, key: bytes, ahead_ms: int) -> dict[str, Any]:
        question = "effort" if self._random.random() < 0.7 else "recommend"
        fields = {
            "response_id": f"r{self.made}",
            "customer_id": key.decode(),
            "touchpoint": self._touchpoint(),
            "question": question,
            "rating": self._random.choice(SCALES[question]),
            "event_time_ms": self._moment_ms() + ahead_ms,
        }
        if self._random.random() < 0.2:
            fields["interaction_id"] = f"i{self.made}"
        if self._random.random() < 0.5:
            fields["updated_at_ms"] = fields["event_time_ms"]
        return fields

    def _other(self, fields: dict[str, Any]) -> int:
        return self._random.choice([r for r in SCALES[fields["question"]] if r != fields["rating"]])

    def _edited(self, fields: dict[str, Any]) -> dict[str, Any]:
        edited = fields | {"rating": self._other(fields)}
        draw = self._random.random()
        if draw < 0.2:
            edited["touchpoint"] = self._touchpoint()
        elif draw < 0.4:
            edited["event_time_ms"] -= self._random.randrange(HOUR_MS)
        return edited

    @staticmethod
    def _newer(fields: dict[str, Any]) -> dict[str, Any]:
        if "updated_at_ms" not in fields:
            return fields
        return fields | {"updated_at_ms": fields["updated_at_ms"] + 1_000}

    def _remember(self, answer: _Answer) -> None:
        if len(self._open) < _REMEMBERED:
            self._open.append(answer)
        else:
            self._open[self._random.randrange(_REMEMBERED)] = answer

    def _count(self, fields: dict[str, Any], by: int) -> None:
        place = fields["touchpoint"], fields["question"], fields["event_time_ms"] // MINUTE_MS
        self.answers[*place, fields["rating"]] += by
        if "interaction_id" in fields:
            self.linked[place] += by

    # -- out -----------------------------------------------------------------------------------------------------

    def ledger(self) -> Ledger:
        """The account summed up, for questions about windows."""
        return Ledger(self)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one window of one series must say."""

    counts: dict[str, int]
    interactions: int
    linked: int


class Ledger:
    """The account by series and minute, and by hour."""

    def __init__(self, account: Account) -> None:
        self._answers: dict[tuple[str, str], dict[int, Counter[int]]] = {}
        self._linked: dict[tuple[str, str], Counter[int]] = {}
        self._interactions: dict[str, Counter[int]] = {}
        for (touchpoint, question, minute, rating), count in account.answers.items():
            if count:
                minutes = self._answers.setdefault((touchpoint, question), {})
                minutes.setdefault(minute, Counter())[rating] += count
        for (touchpoint, question, minute), count in account.linked.items():
            self._linked.setdefault((touchpoint, question), Counter())[minute] += count
        for (touchpoint, minute), count in account.interactions.items():
            self._interactions.setdefault(touchpoint, Counter())[minute] += count

    @property
    def series(self) -> list[tuple[str, str]]:
        """Every (touchpoint, question) with answers."""
        return sorted(self._answers)

    def hours(self, series: tuple[str, str]) -> list[int]:
        """Starts, in ms, of the hours in which a series has answers."""
        return sorted({minute // 60 * HOUR_MS for minute in self._answers.get(series, {})})

    def figures(self, series: tuple[str, str], start_ms: int, end_ms: int) -> Figures:
        """What the answers of [start, end) come to."""
        first, behind = start_ms // MINUTE_MS, end_ms // MINUTE_MS
        counts: Counter[int] = Counter()
        for minute, ratings in self._answers.get(series, {}).items():
            if first <= minute < behind:
                counts.update(ratings)
        return Figures(
            {str(rating): counts[rating] for rating in SCALES[series[1]]},
            _between(self._interactions.get(series[0]), first, behind),
            _between(self._linked.get(series), first, behind),
        )


def _between(counted: Counter[int] | None, first: int, behind: int) -> int:
    return sum(count for minute, count in (counted or {}).items() if first <= minute < behind)


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()
