"""Levels of a threshold rule for a wanted rate of firings, from the history of one series.

The rule is stepped through history as the engine does it, at one level after another. The condition of each instant is
worked out once, for all levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import floor, log10

import numpy as np
from numpy.typing import NDArray

from agents.alerting import Watch
from app.history import Looker
from scoring.alerts.levels import Axis, axis
from scoring.alerts.rules import FalseAlarms, ThresholdRule
from scoring.alerts.states import Life, State

FIRING_SHARE_MAX = 0.1
"""A level that fires for more of the time than this describes what is usual, not what is wrong."""

JUDGED_SHARE_MIN = 0.1
"""A series whose windows reach min_n for less of the time than this tells too little of a level."""

LEVELS = 200
"""About how many levels are tried between the ends of a score."""

CANDIDATES_SHOWN = 6
_UNKNOWN = -1

Floats = NDArray[np.float64]
Flags = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Candidate:
    """How often one pair of levels would have fired, and for how long in all."""

    enter: float
    exit: float
    firings: int
    firing_ms: int


@dataclass(frozen=True, slots=True)
class Levels:
    """What is proposed for one threshold rule on one series.

    Attributes:
        watch: the rule and the series.
        span_ms: from its first answer to the end of the files.
        allowed: firings that the wanted rate allows in that time.
        present: the levels that the rule has now.
        proposed: the mildest ones from which on no stricter ones fire more often than allowed; None with a reason.
        tried: the mildest levels for each number of firings around the proposal, from strict to mild.
        reason: why nothing is proposed.
    """

    watch: Watch
    span_ms: int
    allowed: int
    present: Candidate
    proposed: Candidate | None
    tried: tuple[Candidate, ...]
    reason: str | None = None


def propose_levels(
    watch: Watch, rule: ThresholdRule, until_ms: int, wanted: FalseAlarms, series: int, confidence: float
) -> Levels:
    """The levels of one rule on one series for a wanted rate of firings.

    Args:
        watch: with all of history in the cells of its series.
        rule: of the watch.
        until_ms: end of the files.
        wanted: how often it may fire.
        series: how many share the rate, where it is one over all.
        confidence: level of the bounds, in (0, 1).
    """
    history = _History.of(watch, rule, until_ms, confidence)
    span_ms = until_ms - history.begin_ms
    shared = series if wanted.over_all else 1
    allowed = floor(wanted.count * span_ms / wanted.period_ms / shared)
    reason = None
    judged_ms = history.judged_ms(rule.min_n)
    if judged_ms < JUDGED_SHARE_MIN * span_ms:
        share = 100 * judged_ms / span_ms if span_ms else 0.0
        reason = f"its windows reach min_n = {rule.min_n} for {share:.1f} % of the time only"
    scale = axis(rule.score, watch.series.question)
    walked = list(_walk(history, rule, scale, allowed)) if reason is None else []
    fitting = [one for one in walked if one.firings <= allowed and _is_short(one, span_ms)]
    if reason is None and not fitting:
        reason = "even the strictest level fires more often"
    return Levels(
        watch,
        span_ms,
        allowed,
        history.step(rule),
        fitting[-1] if fitting else None,
        _shown(walked, allowed),
        reason,
    )


def _walk(history: _History, rule: ThresholdRule, scale: Axis, allowed: int) -> Iterator[Candidate]:
    """From the strictest level on, up to the first that fires too often or for too long."""
    gap = abs(rule.enter - rule.exit)
    for enter in _levels(scale):
        milder = enter - gap if scale.rising else enter + gap
        leave = round(min(max(milder, scale.low), scale.high), 10)
        made = history.step(replace(rule, enter=enter, exit=leave))
        yield made
        if made.firings > allowed or not _is_short(made, history.until_ms - history.begin_ms):
            return


def _is_short(made: Candidate, span_ms: int) -> bool:
    return made.firing_ms <= FIRING_SHARE_MAX * span_ms


def _levels(scale: Axis) -> Iterator[float]:
    """Round levels from next to the worst end to the best one."""
    width = scale.high - scale.low
    power = 10.0 ** floor(log10(width / LEVELS))
    step = next(power * n for n in (1, 2, 5, 10) if power * n * LEVELS >= width * (1 - 1e-9))
    count = round(width / step)
    for at in range(1, count + 1):
        yield round(scale.high - at * step if scale.rising else scale.low + at * step, 10)


def _shown(walked: list[Candidate], allowed: int) -> tuple[Candidate, ...]:
    """The mildest level of each number of firings, the last ones up to the first that is too many."""
    mildest: dict[int, Candidate] = {}
    for one in walked:
        if one.firings not in mildest or one.firings <= allowed:
            mildest[one.firings] = one
    return tuple(mildest.values())[-CANDIDATES_SHOWN:]


@dataclass(frozen=True, slots=True)
class _History:
    """The figure whenever it can have changed; NaN where there is none.

    Attributes:
        times: instants on minutes, rising.
        begin_ms: start of the first minute with answers.
    """

    times: list[int]
    value: Floats
    low: Floats
    high: Floats
    n: NDArray[np.int64]
    rising: bool
    begin_ms: int
    until_ms: int

    @classmethod
    def of(cls, watch: Watch, rule: ThresholdRule, until_ms: int, confidence: float) -> _History:
        looker = Looker(rule, watch.series, confidence)
        times = [at for at in looker.instants() if at <= until_ms]
        looks = [looker.at(at) for at in times]
        figures = [
            np.array([np.nan if one is None else one for one in column], np.float64)
            for column in ([look[at] for look in looks] for at in range(3))
        ]
        rising = axis(rule.score, watch.series.question).rising
        n = np.array([look.n for look in looks], np.int64)
        begin_ms = min(watch.series.cells.minutes, default=until_ms)
        return cls(times, figures[0], figures[1], figures[2], n, rising, begin_ms, until_ms)

    def judged_ms(self, min_n: int) -> int:
        """For how long the window held that many answers."""
        edges = np.array([*self.times, self.until_ms], np.int64)
        return int(np.diff(edges)[self.n >= min_n].sum())

    def step(self, rule: ThresholdRule) -> Candidate:
        """How often a rule with these levels fires."""
        entered, left = self._conditions(rule)
        changed = np.ones(len(entered), np.bool_)
        changed[1:] = (entered[1:] != entered[:-1]) | (left[1:] != left[:-1])
        life, spans = Life(), _Spans()
        holds, over = False, None
        for at in np.flatnonzero(changed).tolist():
            self._pass(life, rule, spans, self.times[at] - 1, (holds, over))
            holds, over = bool(entered[at]), None if left[at] == _UNKNOWN else bool(left[at])
            spans.note(
                life.step(self.times[at], rule.for_ms, rule.exit_for_ms, entered=holds, left=over), life
            )
        self._pass(life, rule, spans, self.until_ms, (holds, over))
        return Candidate(rule.enter, rule.exit, spans.firings, spans.length_ms(life, self.until_ms))

    @staticmethod
    def _pass(
        life: Life, rule: ThresholdRule, spans: _Spans, until_ms: int, said: tuple[bool, bool | None]
    ) -> None:
        """Lets a dwell end between two instants, at neither of which the condition changes."""
        due_ms = life.due_ms(rule.for_ms, rule.exit_for_ms)
        if due_ms is not None and due_ms <= until_ms:
            spans.note(life.step(due_ms, rule.for_ms, rule.exit_for_ms, entered=said[0], left=said[1]), life)

    def _conditions(self, rule: ThresholdRule) -> tuple[Flags, Flags]:
        """Whether the condition holds, and whether that for the end does (-1: unknown), as ``threshold`` says."""
        sign = 1 if self.rising else -1
        known = ~np.isnan(self.value)
        with np.errstate(invalid="ignore"):
            entered = known & (sign * (self.value - rule.enter) > 0) & (self.n >= rule.min_n)
            if rule.confident:
                bound = self.low if self.rising else self.high
                entered &= ~np.isnan(bound) & (sign * (bound - rule.enter) > 0)
            over = ~(sign * (self.value - rule.exit) > 0)
        left = np.where(known, over.astype(np.int8), np.where(self.n == 0, 1, _UNKNOWN))
        return entered.astype(np.int8), left.astype(np.int8)


@dataclass(slots=True)
class _Spans:
    """Firings so far."""

    firings: int = 0
    firing_ms: int = 0

    def note(self, state: State | None, life: Life) -> None:
        """Takes a transition, if it was one."""
        if state is State.FIRING:
            self.firings += 1
        elif state is State.RESOLVED:
            self.firing_ms += (life.resolved_at_ms or 0) - (life.fired_at_ms or 0)

    def length_ms(self, life: Life, until_ms: int) -> int:
        """Time firing in all, up to an instant."""
        open_ms = until_ms - (life.fired_at_ms or 0) if life.state is State.FIRING else 0
        return self.firing_ms + open_ms
