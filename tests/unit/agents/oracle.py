"""What the pipeline must come to, worked out from the contract with plain dicts: one source partition at a time."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from scoring.catalog import Catalog
from scoring.windows import Calendar

Identity = tuple[str, str]
WindowKey = tuple[str, str, str, str, int]
"""(touchpoint, question, segment as JSON, window, start_ms)"""


class Oracle:
    """Answers and interactions of one source partition, as the contract counts them."""

    def __init__(self, catalog: Catalog, *, replay: bool = False) -> None:
        self.catalog, self.replay = catalog, replay
        self.newest_ms: int | None = None
        self.answers: list[dict[str, Any]] = []
        self.contacts: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self._held: dict[Identity, dict[str, Any]] = {}
        self._seen: dict[Identity, int] = {}

    def _in_time(self, time_ms: int) -> bool:
        timing = self.catalog.timing
        if self.newest_ms is not None and not self.replay:
            watermark_ms = self.newest_ms - timing.max_out_of_orderness_ms
            if time_ms < watermark_ms - timing.horizon_ms:
                return False
        self.newest_ms = max(time_ms, self.newest_ms or 0)
        return True

    def respond(self, record: dict[str, Any], timestamp_ms: int) -> None:
        """Takes a response that is sound in itself, or one off the scale."""
        outcome = self._respond(record, timestamp_ms)
        self.counts[outcome] += 1
        if outcome.startswith("dead_letter:"):
            self.counts["dead_letter"] += 1

    def _respond(self, record: dict[str, Any], timestamp_ms: int) -> str:  # noqa: PLR0911 - one for each rule
        question = self.catalog.questions[record["question"]]
        rating = record["rating"]
        if rating is not None and not question.scale.low <= rating <= question.scale.high:
            return "dead_letter:off_scale"
        time_ms = record.get("event_time_ms", timestamp_ms)
        if not self._in_time(time_ms):
            return "dead_letter:too_late"
        identity = question.id, record["response_id"]
        held = self._held.get(identity)
        if held is not None and abs(held["time_ms"] - time_ms) > self.catalog.timing.horizon_ms:
            held = None
        updated_ms = record.get("updated_at_ms")
        if (
            held is not None
            and None not in (updated_ms, held["updated_ms"])
            and updated_ms < held["updated_ms"]
        ):
            return "duplicate"
        if rating is None:
            return self._withdraw(held, updated_ms)
        new = {
            "question": question.id,
            "rating": rating,
            "touchpoint": record.get("touchpoint", question.touchpoint),
            "segments": _segments(record, self.catalog),
            "linked": "interaction_id" in record,
            "updated_ms": updated_ms,
            "time_ms": time_ms,
            "counts": True,
        }
        if held is None:
            return self._accept(identity, new)
        same = all(held[name] == new[name] for name in ("rating", "touchpoint", "segments"))
        if same and ("event_time_ms" not in record or time_ms == held["time_ms"]):
            held["updated_ms"] = held["updated_ms"] if updated_ms is None else updated_ms
            return "duplicate"
        if not held["counts"]:
            return self._accept(identity, new)
        held |= new | ({} if "event_time_ms" in record else {"time_ms": held["time_ms"]})
        return "edit"

    def _accept(self, identity: Identity, new: dict[str, Any]) -> str:
        self._held[identity] = new
        self.answers.append(new)
        return "accepted"

    def _withdraw(self, held: dict[str, Any] | None, updated_ms: int | None) -> str:
        if held is not None and held["counts"]:
            held["counts"] = False
            held["updated_ms"] = held["updated_ms"] if updated_ms is None else updated_ms
            self.counts["removed"] += 1
        return "withdrawn"

    def contact(self, record: dict[str, Any], timestamp_ms: int) -> None:
        """Takes an interaction that is sound in itself."""
        time_ms = record.get("event_time_ms", timestamp_ms)
        if not self._in_time(time_ms):
            self.counts["dead_letter:too_late"] += 1
            return
        identity = record["touchpoint"], record["interaction_id"]
        known_ms = self._seen.get(identity)
        if known_ms is not None and abs(known_ms - time_ms) <= self.catalog.timing.horizon_ms:
            self.counts["duplicate"] += 1
            return
        self._seen[identity] = time_ms
        self.counts["accepted"] += 1
        self.contacts.append(
            {
                "touchpoint": record["touchpoint"],
                "time_ms": time_ms,
                "segments": _segments(record, self.catalog),
            }
        )


def _segments(record: dict[str, Any], catalog: Catalog) -> tuple[str, ...]:
    """The series of a record, as JSON: everybody's and those of the declared segments that it carries."""
    values = record.get("segments", {})
    out = ["{}"]
    for segment in catalog.segments:
        if all(values.get(name) for name in segment.fields):
            shown = {
                name: "other"
                if (listed := _listed(name, catalog)) is not None and values[name] not in listed
                else values[name]
                for name in segment.fields
            }
            out.append(json.dumps(shown, sort_keys=True, separators=(",", ":")))
    return tuple(out)


def _listed(name: str, catalog: Catalog) -> frozenset[str] | None:
    for segment in catalog.segments:
        if segment.fields == (name,):
            return segment.values
    return None


def calendar_windows(oracles: list[Oracle], catalog: Catalog) -> dict[WindowKey, tuple[dict[str, int], int]]:
    """Counts and interactions of every calendar window that holds an answer."""
    calendar = Calendar(catalog.timezone)
    answers: dict[WindowKey, Counter[str]] = {}
    contacts: Counter[tuple[str, str, str, int]] = Counter()
    for oracle in oracles:
        for contact in oracle.contacts:
            for window in catalog.calendar:
                start_ms, _ = calendar.bounds(window, contact["time_ms"])
                for segment in contact["segments"]:
                    contacts[contact["touchpoint"], segment, window.name, start_ms] += 1
        for answer in oracle.answers:
            for window in catalog.calendar if answer["counts"] else ():
                start_ms, _ = calendar.bounds(window, answer["time_ms"])
                for segment in answer["segments"]:
                    key = answer["touchpoint"], answer["question"], segment, window.name, start_ms
                    answers.setdefault(key, Counter())[str(answer["rating"])] += 1
    return {key: (dict(counts), contacts[key[0], key[2], key[3], key[4]]) for key, counts in answers.items()}


def live_windows(
    oracles: list[Oracle], catalog: Catalog
) -> dict[tuple[str, str, str, str], tuple[dict[str, int], int]]:
    """Counts and interactions of every live window that holds an answer, ending with the newest event of all."""
    newest_ms = max(oracle.newest_ms for oracle in oracles if oracle.newest_ms is not None)
    answers: dict[tuple[str, str, str, str], Counter[str]] = {}
    contacts: Counter[tuple[str, str, str]] = Counter()
    for window in catalog.live:
        end_ms = newest_ms // window.pane_ms * window.pane_ms + window.pane_ms
        held = range(end_ms - window.size_ms, end_ms)
        for oracle in oracles:
            for contact in oracle.contacts:
                for segment in contact["segments"] if contact["time_ms"] in held else ():
                    contacts[contact["touchpoint"], segment, window.name] += 1
            for answer in oracle.answers:
                for segment in answer["segments"] if answer["counts"] and answer["time_ms"] in held else ():
                    key = answer["touchpoint"], answer["question"], segment, window.name
                    answers.setdefault(key, Counter())[str(answer["rating"])] += 1
    return {key: (dict(counts), contacts[key[0], key[2], key[3]]) for key, counts in answers.items()}
