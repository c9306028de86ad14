"""Backtest: history through the stages of the worker, in one process and without a broker.

The stages are those that a worker runs: intake, partials, scores and rules. Only what surrounds them is another: the
files are sorted by time, so both sources are known to have come as far as the next row, and time is told to the rules
minute by minute as it passes. So what is published depends on nothing but the rows, their order among equal times
included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import prod
from typing import Any

import msgspec
import orjson

from agents.alerting import Watch
from agents.contacts import InteractionStage
from agents.events import Refusal
from agents.partials import INTERACTIONS_KIND, RESPONSES_KIND, Statement, encode_statement
from agents.ports import Batch, Outgoing
from agents.responses import ResponseStage
from agents.scores import ScoreStage
from agents.source import Intake
from agents.topics import ALERTS, DEAD_LETTERS, PARTIALS
from app.cells import FileMapping
from app.figures import InteractionSummary, Summary
from app.kept import kept_segments
from app.rows import Event, Reading, Refused
from app.score import refused_event
from scoring.catalog import Catalog
from scoring.panes import HOUR_MS, MINUTE_MS

AlertRecord = dict[str, Any]
"""A record of effort.alerts.v1."""

_TELL_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class Steps:
    """Who is told of the progress: events taken so far, refused rows."""

    taken: Callable[[int], None] = lambda _: None
    refused: Callable[[Refused], None] = lambda _: None


@dataclass(slots=True)
class Backtest:
    """What would have been published.

    Attributes:
        records: each transition in order of event time, then fingerprint, then sequence; ``published_at_ms`` is the
            event time of the transition, so that the same files give the same bytes.
        first_ms: start of the first minute with anything that counted; None without.
        last_ms: end of the last one, up to which the rules were stepped.
        summary: what became of the rows.
    """

    records: list[AlertRecord] = field(default_factory=list)
    first_ms: int | None = None
    last_ms: int | None = None
    summary: Summary = field(default_factory=Summary)


def backtest_files(
    reading: Reading, mapping: FileMapping, catalog: Catalog, steps: Steps | None = None
) -> Backtest:
    """Steps the rules of a catalog through history.

    Args:
        reading: events in order of event time.
        mapping: what they were made by.
        catalog: what they are counted by, and the rules.
        steps: told of the progress.
    """
    steps = steps or Steps()
    for row in reading.refused:
        steps.refused(row)
    pipeline = _Pipeline(reading, catalog, steps)
    made = Backtest()
    for minute_ms, partials in pipeline.minutes():
        made.first_ms = minute_ms if made.first_ms is None else made.first_ms
        made.records += pipeline.until(minute_ms)
        pipeline.take(partials)
        made.last_ms = minute_ms + MINUTE_MS
    if made.last_ms is not None:
        made.records += pipeline.until(made.last_ms)
    made.summary = _summary(reading, mapping, pipeline.counts())
    return made


@dataclass(frozen=True, slots=True)
class History:
    """All of history, with no rule stepped.

    Attributes:
        watches: every rule on every series that it watches, with all that stands in the cells of the series.
        last_ms: end of the last minute with anything that counted; 0 without.
    """

    watches: tuple[Watch, ...]
    last_ms: int


def tally_files(reading: Reading, catalog: Catalog, steps: Steps | None = None) -> History:
    """Tallies history for the rules of a catalog, and steps none.

    Args:
        reading: events in order of event time.
        catalog: what they are counted by, and the rules.
        steps: told of the progress, and of refused rows.
    """
    pipeline = _Pipeline(reading, catalog, steps or Steps())
    last_ms = 0
    for minute_ms, partials in pipeline.minutes():
        pipeline.take(partials)
        last_ms = minute_ms + MINUTE_MS
    return History(tuple(pipeline.scores.watches()), last_ms)


@dataclass(slots=True)
class _Record:
    """A record as the stages read it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes
    headers: tuple[()] = ()


class _Pipeline:
    """One partition of each stage, and what passes between them."""

    def __init__(self, reading: Reading, catalog: Catalog, steps: Steps) -> None:
        # Alerts look at no calendar window, and at no live window below an hour
        catalog = replace(
            catalog, calendar=(), live=tuple(one for one in catalog.live if one.size_ms >= HOUR_MS)
        )
        intake = Intake(catalog, 1, replay=True)
        # The first values to come are kept; to know them beforehand matters, and takes time, only where not all fit
        kept = kept_segments(reading.events, catalog) if _may_overflow(reading.events, catalog) else None
        self.scores = ScoreStage(0, catalog, 1, kept=kept, keep_all=True)
        self._reading = reading
        self._steps = steps
        self._stages: dict[str, ResponseStage | InteractionStage] = {
            "responses": ResponseStage("responses", 0, intake),
            "interactions": InteractionStage("interactions", 0, intake),
        }
        self._partials = 0

    # -- in ----------------------------------------------------------------------------------------------------

    def minutes(self) -> Iterator[tuple[int, list[_Record]]]:
        """(start of a minute, the partials of its events), of those minutes in which anything counted."""
        taken = told = 0
        for minute_ms, group in groupby(self._reading.events, _minute):
            events = list(group)
            partials = self._read(events, minute_ms)
            taken += len(events)
            if taken - told >= _TELL_EVERY:
                self._steps.taken(taken)
                told = taken
            if partials:
                yield minute_ms, partials
        self._steps.taken(taken)

    def _read(self, events: list[Event], now_ms: int) -> list[_Record]:
        partials: list[_Record] = []
        for topic, stage in self._stages.items():
            own = [event for event in events if event.topic == topic]
            if not own:
                continue
            start = stage.applied + 1
            records = [
                _Record(at, event.timestamp_ms, event.key, event.value) for at, event in enumerate(own, start)
            ]
            out = self._apply(stage, records, now_ms)
            # What a stage says of its own progress is left out: it cannot know that the files are sorted
            partials += [
                _Record(0, now_ms, sent.key, sent.value)
                for sent in out.sends.get((PARTIALS, 0), ())
                if sent.key and sent.value is not None
            ]
            for dead in out.sends.get((DEAD_LETTERS, 0), ()):
                said = {name: text.decode() for name, text in dead.headers or ()}
                event = own[int(said["effort_offset"]) - start]
                refusal = Refusal(said["effort_reason"], said["effort_detail"])
                self._steps.refused(refused_event(event, refusal))
        return partials

    @staticmethod
    def _apply(stage: Any, records: list[_Record], now_ms: int) -> Outgoing:
        end = records[-1].offset + 1
        stage.apply(Batch(records, records[0].offset, end, end))
        out: Outgoing = stage.checkpoint(now_ms)
        return out

    # -- through -----------------------------------------------------------------------------------------------

    def take(self, partials: list[_Record]) -> None:
        """The scores take partials; time does not move."""
        for record in partials:
            record.offset = self._partials
            self._partials += 1
        end = self._partials
        self.scores.apply(Batch(partials, end - len(partials), end, end))

    def until(self, time_ms: int) -> Iterator[AlertRecord]:
        """Time goes on to the start of a minute, by way of every minute in which a rule looks; what it published."""
        while (due_ms := self.scores.alerts_due_ms) is not None and due_ms < time_ms:
            yield from self._tell(due_ms)
        yield from self._tell(time_ms)

    def _tell(self, now_ms: int) -> Iterator[AlertRecord]:
        """Both sources are read up to an instant, and everything before it has been taken.

        At the end of the files time stops at the end of their last minute: so far go the rules at the end of a
        replay's input, too.
        """
        said = [
            Statement(kind, 0, self._partials, now_ms - 1, now_ms, idle=False, ended=False, stated_ms=now_ms)
            for kind in (RESPONSES_KIND, INTERACTIONS_KIND)
        ]
        self.take([_Record(0, now_ms, None, encode_statement(one)) for one in said])
        return self._published(now_ms)

    def _published(self, now_ms: int) -> Iterator[AlertRecord]:
        made: list[AlertRecord] = []
        while (out := self.scores.checkpoint(now_ms)) is not None:
            made += [orjson.loads(sent.value or b"") for sent in out.sends.get((ALERTS, 0), ())]
        made.sort(key=lambda record: (record["published_at_ms"], record["fingerprint"], record["sequence"]))
        yield from made

    def counts(self) -> dict[str, dict[str, int]]:
        """Outcomes by topic."""
        return {topic: stage.counts for topic, stage in self._stages.items()}


class _Segments(msgspec.Struct):
    segments: Any = None


def _may_overflow(events: list[Event], catalog: Catalog) -> bool:
    """Whether an open segment can have more values than are published; by the values of all touchpoints together."""
    opened = [segment for segment in catalog.segments if segment.values is None]
    found: dict[str, set[str]] = {name: set() for segment in opened for name in segment.fields}
    decode = msgspec.json.Decoder(_Segments).decode
    for event in events if opened else ():
        segments = decode(event.value).segments
        if segments:
            for name, values in found.items():
                if name in segments:
                    values.add(segments[name])
    return any(prod(len(found[name]) for name in segment.fields) > segment.max_values for segment in opened)


def _minute(event: Event) -> int:
    return event.timestamp_ms - event.timestamp_ms % MINUTE_MS


def _summary(reading: Reading, mapping: FileMapping, counted: dict[str, dict[str, int]]) -> Summary:
    answers, contacts = counted["responses"], counted["interactions"]
    refused: dict[str, dict[str, int]] = {topic: _reasons(counts) for topic, counts in counted.items()}
    for row in reading.refused:
        refused[row.topic][row.reason] = refused[row.topic].get(row.reason, 0) + 1
    summary = Summary(
        read=reading.rows * len(mapping.responses),
        accepted=answers.get("accepted", 0),
        skipped=reading.skipped,
        edits=answers.get("edit", 0),
        duplicates=answers.get("duplicate", 0),
        withdrawn=answers.get("withdrawn", 0),
        removed=answers.get("removed", 0),
        dead_letters=refused["responses"],
    )
    if mapping.interactions:
        summary.interactions = InteractionSummary(
            reading.rows * len(mapping.interactions),
            contacts.get("accepted", 0),
            contacts.get("duplicate", 0),
            refused["interactions"],
        )
    return summary


def _reasons(counts: dict[str, int]) -> dict[str, int]:
    return {
        outcome.partition(":")[2]: count
        for outcome, count in counts.items()
        if outcome.startswith("dead_letter:")
    }
