"""Alerting of one partials partition: steps every rule with the watermark, inside the checkpoint of the scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import orjson

from agents.alert_cells import Cells, Span
from agents.alert_judges import (
    Judge,
    Reach,
)
from agents.alert_kinds import judge_of
from agents.alert_rising import RisingJudge
from agents.alert_schedule import Schedule
from agents.alert_series import SeriesKey, WatchedSeries
from agents.alert_store import AlertStore, FitKey
from agents.panes import Layout, parse_series_code, series_code
from agents.partials import Mark
from agents.ports import Out
from scoring.alerts.conditions import Verdict
from scoring.alerts.rules import (
    MINUTE_MS,
    ChangeRule,
    Rule,
    ScoreName,
    ThresholdRule,
)
from scoring.alerts.states import Life, State
from scoring.catalog import Catalog
from scoring.panes import HOUR_MS, pane_start
from scoring.tallies import INTERACTION_FIELDS, length

STEPS_MAX = 2_000
"""Series looked at in one checkpoint; what is left waits for the next one, which comes at once."""

_FORGET_EVERY_MS = 6 * HOUR_MS

MARKS_MAX = 1_000
"""Deployment marks kept; the oldest leaves."""


@dataclass(slots=True)
class Watch:
    """One rule on one series, and where its alert stands."""

    rule: Rule
    series: WatchedSeries
    judge: Judge
    life: Life
    fingerprint: str

    @property
    def fit_key(self) -> FitKey:
        """What its baselines are stored by."""
        return self.rule.id, self.series.touchpoint, self.series.code


@dataclass(frozen=True, slots=True)
class Transition:
    """An alert that has changed its state at ``at_ms``, with what its rule said then."""

    watch: Watch
    at_ms: int
    verdict: Verdict


def fingerprint(
    rule: str,
    touchpoint: str,
    journey_stage: str | None,
    question: str | None,
    segment: dict[str, str],
    window: str | None,
) -> str:
    """Identity of an alert: the first 16 hex digits of the SHA-256 of the compact JSON of these, in this order."""
    identity = [rule, touchpoint, journey_stage, question, segment, window]
    return sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


class Alerting:
    """The rules of one partials partition.

    Event time goes by the minute, and no further than the merged watermark. So what a rule sees is complete but for
    what comes late, whatever the batches, and a backlog is stepped through like the present. A series is looked at only
    in minutes in which one of its sums changes or a dwell ends.

    Args:
        catalog: what is declared.
    """

    def __init__(self, catalog: Catalog) -> None:
        layout = Layout.of(catalog)
        self._catalog = catalog
        self._origin_ms = layout.origin_ms
        self._reach = Reach.of(catalog.alerts, catalog.timing.horizon_ms)
        self._series: dict[SeriesKey, WatchedSeries] = {}
        self._watches: dict[SeriesKey, list[Watch]] = {}
        self._ignored: set[SeriesKey] = set()
        self._beside: dict[SeriesKey, set[SeriesKey]] = {}
        self._marks: dict[str, Mark] = {}
        self._spans: dict[SeriesKey, dict[Span, int]] = {}
        self._schedule = Schedule(layout.origin_ms)
        self._hour_ms: int | None = None
        self.store = AlertStore()
        self.stepped_ms: int | None = None

    def __bool__(self) -> bool:
        """Whether there are rules, or alerts of rules that are gone."""
        return bool(self._catalog.alerts or self.store.lives)

    # -- in ----------------------------------------------------------------------------------------------------

    def take(self, touchpoint: str, code: str, start_ms: int, width_ms: int, delta: Sequence[int]) -> None:
        """A tally changed: that of a pane, by its start and width."""
        key = touchpoint, code
        if key in self._ignored:
            return
        series = self._series.get(key) or self._watch(key)
        if series is None:
            self._ignored.add(key)
            return
        self.store.touched.add(key)
        rest = list(delta)
        for minute_ms, part in series.cells.parts(start_ms, width_ms, delta):
            rest = [whole - one for whole, one in zip(rest, part, strict=True)]
            self._take_minute(key, series, minute_ms, part)
        if any(rest):
            series.cells.add_hours(start_ms, rest)

    def _take_minute(
        self, key: SeriesKey, series: WatchedSeries, minute_ms: int, delta: Sequence[int]
    ) -> None:
        stepped_ms = self.stepped_ms
        series.add(minute_ms, delta, stepped_ms)
        is_late = stepped_ms is not None and minute_ms < stepped_ms
        for watch in self._watches[key]:
            if is_late and isinstance(watch.judge, RisingJudge):
                watch.judge.late(minute_ms)
        for other in (key, *self._beside.get(key, ())):
            if other in self._series:
                self._wake_for(other, (minute_ms,))
                if is_late and stepped_ms is not None:
                    self._schedule.add(other, stepped_ms + MINUTE_MS)

    def mark(self, mark: Mark) -> None:
        """A deployment was recorded, or taken back."""
        self._marks.pop(mark.id, None)
        self._marks[mark.id] = mark
        self.store.dirty_marks.add(mark.id)
        while len(self._marks) > MARKS_MAX:
            oldest = min(self._marks.values(), key=lambda one: (one.at_ms, one.id)).id
            del self._marks[oldest]
            self.store.dirty_marks.add(oldest)
        if self.stepped_ms is not None:
            for key, watches in self._watches.items():
                if any(isinstance(watch.rule, ChangeRule) for watch in watches):
                    self._schedule.add(key, self.stepped_ms + MINUTE_MS)

    def _watch(self, key: SeriesKey) -> WatchedSeries | None:
        """The series, if a rule watches it or looks at it beside another."""
        touchpoint, code = key
        name, segment_name, values = parse_series_code(code)
        question = self._catalog.questions.get(name) if name else None
        if name and question is None:
            return None
        segment = dict(sorted(zip(segment_name.split("+"), values, strict=True))) if segment_name else {}
        rules = [rule for rule in self._catalog.alerts if self._is_watched(rule, key, segment)]
        if not rules and not (question is None and self._is_looked_at(touchpoint, segment)):
            return None
        size = len(INTERACTION_FIELDS) if question is None else length(question)
        series = WatchedSeries(touchpoint, code, question, segment, Cells(size, self._origin_ms))
        self._series[key] = series
        if any(_needs_interactions(rule) for rule in rules) and question is not None:
            beside = touchpoint, series_code("", segment_name, values)
            series.beside = self._series.get(beside) or self._watch(beside)
            self._ignored.discard(beside)
            self._beside.setdefault(beside, set()).add(key)
        self._watches[key] = [self._watch_for(rule, series) for rule in rules]
        spans: dict[Span, int] = {}
        for at, watch in enumerate(self._watches[key]):
            for span in watch.judge.spans:
                spans[span] = spans.get(span, 0) | 1 << at
        self._spans[key] = spans
        return series

    def _watch_for(self, rule: Rule, series: WatchedSeries) -> Watch:
        stage = self._catalog.journey_stage(series.touchpoint)
        question = None if series.question is None else series.question.id
        name = fingerprint(rule.id, series.touchpoint, stage, question, series.segment, rule.window_name)
        judge = judge_of(rule, series, self._catalog, self._marks)
        return Watch(rule, series, judge, self.store.lives.setdefault(name, Life()), name)

    def _is_watched(self, rule: Rule, key: SeriesKey, segment: dict[str, str]) -> bool:
        selector = rule.selector
        touchpoint, code = key
        name = parse_series_code(code)[0]
        if rule.of_interactions != (not name) or not selector.segment_matches(segment):
            return False
        if name and not selector.question_matches(self._catalog.questions[name]):
            return False
        return selector.touchpoint_matches(touchpoint, self._catalog.journey_stage(touchpoint))

    def _is_looked_at(self, touchpoint: str, segment: dict[str, str]) -> bool:
        stage = self._catalog.journey_stage(touchpoint)
        return any(
            _needs_interactions(rule)
            and rule.selector.touchpoint_matches(touchpoint, stage)
            and rule.selector.segment_matches(segment)
            for rule in self._catalog.alerts
        )

    # -- when to look ------------------------------------------------------------------------------------------

    def _wake_for(self, key: SeriesKey, minutes: Iterable[int]) -> None:
        after_ms = -1 if self.stepped_ms is None else self.stepped_ms
        self._schedule.add_minutes(key, minutes, self._spans[key], after_ms)

    # -- time --------------------------------------------------------------------------------------------------

    def step(self, until_ms: int) -> Iterator[Transition]:
        """Steps the rules up to an instant, or as far as one checkpoint may go; ``is_behind`` tells.

        Args:
            until_ms: the merged watermark; the last whole minute before it is the last one stepped.
        """
        until_ms -= until_ms % MINUTE_MS
        steps = 0
        while steps < STEPS_MAX and self._schedule.is_due(until_ms):
            now_ms, due = self._schedule.take()
            self._forget(now_ms)
            self.stepped_ms = now_ms
            for key, rules in due:
                steps += 1
                yield from self._look(key, now_ms, rules)
        if not self.is_behind(until_ms):
            self.stepped_ms = max(self.stepped_ms or until_ms, until_ms)

    def is_behind(self, until_ms: int) -> bool:
        """Whether there is more to step up to an instant."""
        return self._schedule.is_due(until_ms - until_ms % MINUTE_MS)

    @property
    def due_ms(self) -> int | None:
        """When a rule looks next; None before there is anything to look at."""
        return self._schedule.first_ms

    def _look(self, key: SeriesKey, now_ms: int, rules: int) -> Iterator[Transition]:
        series = self._series.get(key)
        if series is None:
            return
        series.enter(now_ms)
        self.store.touched.add(key)
        for at, watch in enumerate(self._watches[key]):
            if rules >> at & 1:
                verdict = watch.judge.verdict(now_ms)
                if self._go_on(watch, now_ms, verdict):
                    yield Transition(watch, now_ms, verdict)
                self._wake_again(key, at, watch, now_ms)

    def _go_on(self, watch: Watch, now_ms: int, verdict: Verdict) -> bool:
        rule, life = watch.rule, watch.life
        before = life.leaving_ms
        changed = life.step(now_ms, rule.for_ms, rule.exit_for_ms, entered=verdict.entered, left=verdict.left)
        if changed is not None or life.leaving_ms != before:
            self.store.dirty_lives.add(watch.fingerprint)
        return changed is not None

    def _wake_again(self, key: SeriesKey, at: int, watch: Watch, now_ms: int) -> None:
        """When a dwell ends, and when the rule itself wants to be asked again."""
        rule = watch.rule
        for due_ms in (watch.life.due_ms(rule.for_ms, rule.exit_for_ms), watch.judge.next_ms(now_ms)):
            if due_ms is not None:
                self._schedule.add(key, max(due_ms, now_ms + MINUTE_MS), 1 << at)

    def _forget(self, now_ms: int) -> None:
        """Now and then: what no rule can reach any more."""
        hour_ms = pane_start(now_ms, _FORGET_EVERY_MS, self._origin_ms)
        if hour_ms == self._hour_ms:
            return
        self._hour_ms = hour_ms
        minutes_until, hours_until = hour_ms - self._reach.minutes_ms, hour_ms - self._reach.hours_ms
        for key, series in list(self._series.items()):
            for gone_ms in series.cells.forget(minutes_until, hours_until):
                self.store.gone_hours.append((*key, gone_ms))
            for watch in self._watches[key]:
                if isinstance(watch.judge, RisingJudge):
                    for fitted_ms in watch.judge.forget(minutes_until):
                        self.store.gone_fits.append((*watch.fit_key, fitted_ms))
            if not series.cells.hours and all(
                watch.life.state in (State.INACTIVE, State.RESOLVED) for watch in self._watches[key]
            ):
                del self._series[key], self._watches[key], self._spans[key]

    def published(self, watch: Watch, record: bytes | None) -> None:
        """Keeps the last record of an alert that is not over, for the day on which its rule is gone."""
        if record is not None and watch.life.state in (State.PENDING, State.FIRING):
            self.store.records[watch.fingerprint] = record
        else:
            self.store.records.pop(watch.fingerprint, None)

    # -- out and back ------------------------------------------------------------------------------------------

    def drain(self) -> list[Out]:
        """Changelog records of what changed since the last call."""
        return self.store.drain(self._series, self._watches, self._marks)

    def resume(self, tallies: Iterable[tuple[str, str, int, Sequence[int]]]) -> None:
        """After the last record of the changelog.

        Args:
            tallies: (touchpoint, code, start_ms, tally) of all panes: what rules that are new begin with.
        """
        stored = set(self.store.stored)
        for key, hours in self.store.stored.items():
            series = self._series.get(key) or self._watch(key)
            if series is None:
                self.store.gone_hours.extend((*key, hour_ms) for hour_ms in hours)
                continue
            for hour_ms, (minutes, rest, places) in hours.items():
                series.cells.restore(hour_ms, minutes, rest)
                for watch in self._watches[key]:
                    if isinstance(watch.judge, RisingJudge) and watch.rule.id in places:
                        dumped, newest_ms, calm_ms = places[watch.rule.id]
                        watch.judge.places[hour_ms] = dumped, newest_ms, calm_ms
        self._marks.update(self.store.marks)
        for touchpoint, code, start_ms, tally in tallies:
            key = touchpoint, code
            if key in stored or key in self._ignored:
                continue
            series = self._series.get(key) or self._watch(key)
            if series is None:
                self._ignored.add(key)
            else:
                series.cells.add(start_ms - start_ms % MINUTE_MS, tally)
                self.store.touched.add(key)
        self._resume_watches()
        self.store.release()

    def _resume_watches(self) -> None:
        """The sums and the detectors as they were at the last step, and when to look next."""
        stepped_ms = self.stepped_ms
        for key, series in self._series.items():
            if stepped_ms is not None:
                series.cells.minutes_from = (
                    pane_start(stepped_ms, HOUR_MS, self._origin_ms) - self._reach.minutes_ms
                )
                series.find_newest(stepped_ms)
            self._wake_for(key, list(series.cells.minutes))
            for at, watch in enumerate(self._watches[key]):
                judge = watch.judge
                if isinstance(judge, RisingJudge):
                    judge.fits |= self.store.fits.get(watch.fit_key, {})
                    if stepped_ms is not None:
                        judge.resume(stepped_ms)
                if stepped_ms is None:
                    continue
                self._schedule.add(key, stepped_ms + MINUTE_MS)  # a rule may be new
                for span in judge.spans:
                    series.sum(span, stepped_ms)
                self._wake_again(key, at, watch, stepped_ms)

    def orphans(self, now_ms: int) -> Iterator[tuple[str, Life, bytes]]:
        """(fingerprint, alert, its last record) of those whose rule or series is gone; they end now, told once."""
        watched = {watch.fingerprint for watches in self._watches.values() for watch in watches}
        for name in sorted(self.store.records.keys() - watched):
            life = self.store.lives[name]
            if life.end(now_ms) is not None:
                self.store.dirty_lives.add(name)
                yield name, life, self.store.records.pop(name)

    def watches(self) -> Iterator[Watch]:
        """Every rule on every series that it watches, in order of the series."""
        for key in sorted(self._watches):
            yield from self._watches[key]

    @property
    def sizes(self) -> dict[str, int]:
        """How much it holds."""
        return {
            "alert_series": len(self._series),
            "alerts": sum(map(len, self._watches.values())),
            "alerts_firing": sum(life.state is State.FIRING for life in self.store.lives.values()),
        }


def _needs_interactions(rule: Rule) -> bool:
    return isinstance(rule, ThresholdRule) and rule.score is ScoreName.RESPONSE_RATE
