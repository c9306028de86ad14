"""What came out, read to its end under read_committed and held against the producer's account."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, Self

from agents.merging import MergedPanes
from agents.panes import Layout, parse_series_code
from agents.partials import decode_partial
from agents.topics import ALERTS, DEAD_LETTERS, INTERACTIONS, PARTIALS, RESPONSES, SCORES, WINDOWS, Topics
from scoring.catalog import Catalog
from tests.chaos.account import GRACE_MS, SCALES, Account, Figures, Ledger, Place
from tests.chaos.alerts import Alerts
from tests.pipeline import PARTITIONS, Log

_KEPT = 5
_WALL_CLOCK = ("published_at_ms", "watermark_ms")


class Tail(Log):
    """A topic read on from where the last reading ended."""

    async def each(self) -> AsyncIterator[Any]:
        """What has come since, one record after the other."""
        assert self._consumer is not None
        while fetched := await self._consumer.getmany(timeout_ms=200):
            for records in fetched.values():
                for record in records:
                    yield record


class Verifier:
    """Reads the outputs and compares.

    What can never be put right again (a gap in the revisions, two contents under one identity, a window that closed
    before its watermark, a dead letter twice) is a violation at once; totals may still be on their way.

    Attributes:
        violations: the first few of these.
        records: what was read; the third sort counts windows and revisions from before the verifier was made.
    """

    def __init__(self, broker: str, topics: Topics, account: Account, catalog: Catalog) -> None:
        self._account = account
        self._sent_ms = time.time() * 1000
        self._ledger: Ledger = account.ledger()
        self._windows, self._scores, self._dead_letters, self._partials, self._transitions = self._logs = [
            Tail(broker, topics(spec)) for spec in (WINDOWS, SCORES, DEAD_LETTERS, PARTIALS, ALERTS)
        ]
        layout = Layout.of(catalog)
        self._panes = [MergedPanes(layout.widths, layout.origin_ms) for _ in range(PARTITIONS)]
        self._tallied: Counter[tuple[str, str, int]] = Counter()
        self._kinds = {topics(RESPONSES): "responses", topics(INTERACTIONS): "interactions"}
        self._newest: dict[tuple[str, str, int], dict[str, Any]] = {}
        self._live: dict[bytes, dict[str, Any]] = {}
        self._dead: dict[Place, str] = {}
        self._stack = AsyncExitStack()
        self.violations: list[str] = []
        self._alerts = Alerts(self._violated)
        self.records: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        for log in self._logs:
            await self._stack.enter_async_context(log)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def read(self) -> None:
        """Reads what has come since."""
        async for record in self._windows.each():
            self._take_window(json.loads(record.value))
        async for record in self._scores.each():
            self.records["scores"] += 1
            if record.value is None:
                self._live.pop(record.key, None)
            else:
                self._live[record.key] = json.loads(record.value)
        async for record in self._dead_letters.each():
            self._take_dead_letter(record)
        async for record in self._partials.each():
            if record.key:
                self._take_partial(record)
        async for record in self._transitions.each():
            self.records["alert transitions"] += 1
            self._alerts.take(record.key, record.value)

    def _take_partial(self, record: Any) -> None:
        touchpoint = record.key.decode()
        for code, _, _, delta in self._panes[record.partition].apply(
            touchpoint, decode_partial(record.value)
        ):
            question = parse_series_code(code)[0]
            for rating, count in zip(
                SCALES.get(question, ()), delta, strict=False
            ):  # the last one counts the linked
                self._tallied[touchpoint, question, rating] += count

    def _violated(self, text: str) -> None:
        if len(self.violations) < _KEPT:
            self.violations.append(text)

    def _take_window(self, new: dict[str, Any]) -> None:
        self.records["windows" if new["revision"] == 0 else "revisions"] += 1
        self.records["of these while events came"] += new["published_at_ms"] < self._sent_ms
        identity = new["touchpoint"], new["question"], new["start_ms"]
        held = self._newest.get(identity)
        due = 0 if held is None else held["revision"] + 1
        if held is not None and new["revision"] == held["revision"] and _content(new) != _content(held):
            self._violated(f"window {identity}: revision {new['revision']} has two contents")
        elif new["revision"] != due:
            self._violated(f"window {identity}: revision {new['revision']} where {due} was due")
        elif held is not None and _content(new) == _content(held):
            self._violated(f"window {identity}: revision {due} says the same as the one before")
        if new["watermark_ms"] < new["end_ms"] + GRACE_MS:
            self._violated(
                f"window {identity}: closed at watermark {new['watermark_ms']}, before its end and grace"
            )
        self._newest[identity] = new

    def _take_dead_letter(self, record: Any) -> None:
        self.records["dead letters"] += 1
        headers = {name: value.decode() for name, value in record.headers}
        kind = self._kinds[headers["effort_topic"]]
        place = Place(kind, int(headers["effort_partition"]), int(headers["effort_offset"]))
        if place in self._dead:
            self._violated(f"dead letter {tuple(place)} is there twice")
        self._dead[place] = headers["effort_reason"]

    # -- against the account -------------------------------------------------------------------------------------

    def differences(self) -> Iterator[str]:
        """How the outputs differ from the account, the worst first."""
        yield from self.violations
        yield from self._total_differences()
        yield from self._window_differences()
        yield from self._live_differences()
        yield from self._dead_letter_differences()
        if not self._alerts.states["resolved"]:
            yield f"alerts: of {self._alerts.states.total()} transitions none is the end of one, so nothing was tried"

    def _total_differences(self) -> Iterator[str]:
        """Per touchpoint, question and rating, over the newest revisions of all windows."""
        found: Counter[tuple[str, str, int]] = Counter()
        for (touchpoint, question, _), record in self._newest.items():
            for rating, count in record["counts"].items():
                found[touchpoint, question, int(rating)] += count
        wanted: Counter[tuple[str, str, int]] = Counter()
        for (touchpoint, question, _, rating), count in self._account.answers.items():
            wanted[touchpoint, question, rating] += count
        if +self._tallied != +wanted:
            lost, doubled = wanted - self._tallied, self._tallied - wanted
            yield f"partials: too few: {_first(lost)}; too many: {_first(doubled)}"
        if +found != +wanted:
            lost, doubled = wanted - found, found - wanted
            yield (
                f"totals: {found.total()} answers instead of {wanted.total()}; too few: {_first(lost)}; "
                f"too many: {_first(doubled)}"
            )

    def _window_differences(self) -> Iterator[str]:
        hour_ms = 3_600_000
        wanted = {(*series, start) for series in self._ledger.series for start in self._ledger.hours(series)}
        for identity in sorted(wanted | self._newest.keys()):
            touchpoint, question, start_ms = identity
            record = self._newest.get(identity)
            figures = self._ledger.figures((touchpoint, question), start_ms, start_ms + hour_ms)
            if record is None:
                yield f"window {identity}: not published; {figures} is due"
            elif problem := _problem(record, figures):
                yield f"window {identity}, revision {record['revision']}: {problem}"

    def _live_differences(self) -> Iterator[str]:
        seen = set()
        for record in self._live.values():
            series = record["touchpoint"], record["question"]
            figures = self._ledger.figures(series, record["start_ms"], record["end_ms"])
            if problem := _problem(record, figures):
                yield f"live score {series} {record['window']} at {record['end_ms']}: {problem}"
            if record["window"] == "7d":
                seen.add(series)
        for series in self._ledger.series:
            if series not in seen:
                yield f"live score {series} 7d: not there"

    def _dead_letter_differences(self) -> Iterator[str]:
        for place, reason in self._account.dead.items():
            if self._dead.get(place) != reason:
                yield f"dead letter {tuple(place)}: {self._dead.get(place)} instead of {reason}"
        for place in self._dead.keys() - self._account.dead.keys():
            yield f"dead letter {tuple(place)}: {self._dead[place]}, and the record was sound"

    def first_difference(self) -> str | None:
        """The first one; None where everything is exact."""
        return next(self.differences(), None)


def _content(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in (*_WALL_CLOCK, "revision")}


def _problem(record: dict[str, Any], figures: Figures) -> str | None:
    rate = figures.linked / figures.interactions if figures.interactions else None
    due = {
        "counts": figures.counts,
        "n": sum(figures.counts.values()),
        "interactions": figures.interactions,
        "response_rate": rate,
    }
    for name, wanted in due.items():
        if record[name] != wanted:
            return f"{name} {record[name]} instead of {wanted}"
    return None


def _first(counter: Counter[tuple[str, str, int]]) -> str:
    if not counter:
        return "none"
    place = min(counter)
    return f"{counter.total()} in {len(counter)} places, first {place}: {counter[place]}"
