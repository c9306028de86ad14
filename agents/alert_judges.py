"""The rules at work: each judge looks at one series for one rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Protocol

from agents.alert_cells import Span
from agents.alert_series import WatchedSeries
from agents.partials import Mark
from scoring.alerts.comparison import Comparison
from scoring.alerts.conditions import Verdict, bounds, budget, change, threshold
from scoring.alerts.rules import (
    MINUTE_MS,
    BudgetRule,
    ChangeRule,
    RisingRule,
    Rule,
    ScoreName,
    SilentRule,
    StaleRule,
    ThresholdRule,
    silence_needed,
)
from scoring.catalog import Catalog
from scoring.panes import HOUR_MS


class Judge(Protocol):
    """One rule on one series.

    Attributes:
        spans: the sums that it looks at; it is asked again whenever one of them may have changed.
    """

    spans: tuple[Span, ...]

    def verdict(self, now_ms: int) -> Verdict:
        """What the rule says as of an instant on a minute, later than at the last call."""

    def next_ms(self, now_ms: int) -> int | None:
        """When to ask again although nothing came; None if only answers can change the verdict."""

    def evidence(self, now_ms: int) -> dict[str, Any]:
        """What the rule knows beyond its verdict."""


class _Quiet:
    def next_ms(self, now_ms: int) -> int | None:  # noqa: ARG002 - the port
        """Never."""
        return None

    def evidence(self, now_ms: int) -> dict[str, Any]:  # noqa: ARG002 - the port
        """Nothing more."""
        return {}


@dataclass(slots=True)
class ThresholdJudge(_Quiet):
    """Looks at the window of a threshold rule."""

    rule: ThresholdRule
    series: WatchedSeries
    confidence: float
    spans: tuple[Span, ...] = field(init=False)

    def __post_init__(self) -> None:
        """One sum."""
        self.spans = (Span(self.rule.window_ms),)

    def verdict(self, now_ms: int) -> Verdict:
        """By the tally of the window that ends now."""
        (span,) = self.spans
        beside = self.series.beside
        interactions = None
        if beside is not None and self.rule.score is ScoreName.RESPONSE_RATE:
            interactions = beside.sum(span, now_ms)
        vector = self.series.sum(span, now_ms)
        return threshold(self.rule, self.series.question, vector, interactions, self.confidence)

    def evidence(self, now_ms: int) -> dict[str, Any]:
        """The bounds and the levels."""
        (span,) = self.spans
        beside = self.series.beside
        interactions = None if beside is None else beside.sum(span, now_ms)
        low, high = bounds(
            self.rule.score,
            self.series.question,
            self.series.sum(span, now_ms),
            interactions,
            self.confidence,
        )
        levels = {"score": self.rule.score.value, "enter": self.rule.enter, "exit": self.rule.exit}
        return {"low": low, "high": high, **levels}


@dataclass(slots=True)
class BudgetJudge(_Quiet):
    """Looks at the two windows of a budget rule."""

    rule: BudgetRule
    series: WatchedSeries
    confidence: float
    spans: tuple[Span, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Two sums."""
        self.spans = (Span(self.rule.long_ms), Span(self.rule.short_ms))

    def verdict(self, now_ms: int) -> Verdict:
        """By the tallies of both windows."""
        assert self.series.question is not None  # noqa: S101 - such a rule never watches interactions
        long, short = (self.series.sum(span, now_ms) for span in self.spans)
        return budget(self.rule, self.series.question, long, short, self.confidence)

    def evidence(self, now_ms: int) -> dict[str, Any]:  # noqa: ARG002 - the port
        """The budget."""
        allowed = 1 - self.rule.objective
        return {
            "objective": self.rule.objective,
            "burn": self.rule.burn,
            "threshold": self.rule.burn * allowed,
        }


@dataclass(slots=True)
class ChangeJudge:
    """Compares two periods of a change rule.

    Args:
        marks: deployments by id, newer ones added by the owner.
    """

    rule: ChangeRule
    series: WatchedSeries
    marks: Mapping[str, Mark]
    spans: tuple[Span, ...] = field(init=False)
    _made: Comparison | None = None
    _mark: Mark | None = None

    def __post_init__(self) -> None:
        """Two sums; with marks none, since the periods then do not slide."""
        window_ms, against_ms = self.rule.window_ms, self.rule.against_ms
        self.spans = () if against_ms is None else (Span(window_ms), Span(window_ms, against_ms))

    def verdict(self, now_ms: int) -> Verdict:
        """By the tallies of both periods."""
        assert self.series.question is not None  # noqa: S101 - such a rule never watches interactions
        if self.spans:
            later, earlier = (self.series.sum(span, now_ms) for span in self.spans)
        else:
            self._mark = self._newest(now_ms)
            if self._mark is None:
                return Verdict(entered=False, left=True)
            at_ms = self._mark.at_ms - self._mark.at_ms % MINUTE_MS
            later = self.series.cells.total(max(at_ms, now_ms - self.rule.window_ms), now_ms)
            earlier = self.series.cells.total(at_ms - self.rule.window_ms, at_ms)
        made, self._made = change(self.rule, self.series.question, later, earlier)
        return made

    def _newest(self, now_ms: int) -> Mark | None:
        """The newest deployment here that is not further back than the period."""
        found = [
            mark
            for mark in self.marks.values()
            if not mark.withdrawn
            and now_ms - self.rule.window_ms <= mark.at_ms < now_ms
            and fnmatchcase(self.series.touchpoint, mark.touchpoint)
        ]
        return max(found, key=lambda mark: (mark.at_ms, mark.id), default=None)

    def next_ms(self, now_ms: int) -> int | None:
        """With a mark every minute."""
        return now_ms + MINUTE_MS if self.spans == () and self._newest(now_ms) is not None else None

    def evidence(self, now_ms: int) -> dict[str, Any]:  # noqa: ARG002 - the port
        """The comparison."""
        out: dict[str, Any] = {"by": self.rule.by, "confidence": self.rule.confidence}
        if self._made is not None:
            out |= {"n_before": self._made.n_before}
        if self._mark is not None:
            out |= {"deployment": self._mark.id, "deployed_at_ms": self._mark.at_ms}
        return out


@dataclass(slots=True)
class SilentJudge:
    """Waits for answers that were to be expected."""

    rule: SilentRule
    series: WatchedSeries
    needed: float
    spans: tuple[Span, ...] = ()
    _expected: float | None = None
    _armed_ms: int = 0

    @staticmethod
    def of(rule: SilentRule, series: WatchedSeries, catalog: Catalog) -> SilentJudge:
        """The judge, with the level that the rule's false alarms allow."""
        return SilentJudge(rule, series, silence_needed(rule, catalog))

    def verdict(self, now_ms: int) -> Verdict:
        """Whether none came although enough were expected."""
        newest_ms = self.series.newest_ms
        self._expected = None
        if newest_ms is None or now_ms - newest_ms < self.rule.after_ms:
            return Verdict(entered=False, left=newest_ms is not None)
        self._expected = self.series.expected(newest_ms, now_ms, self.rule.baseline_ms)
        entered = self._expected is not None and self._expected >= self.needed
        return Verdict(entered, left=False)

    def next_ms(self, now_ms: int) -> int | None:
        """When as many can be expected at the earliest, so that the minute in which it fires is always the same one.

        None where an earlier time was said, at which this is asked again; and where there is nothing to expect.
        """
        newest_ms = self.series.newest_ms
        if newest_ms is None or now_ms - newest_ms > self.rule.baseline_ms:
            return None
        due_ms = newest_ms + self.rule.after_ms
        if due_ms <= now_ms:
            if self._expected is None or self._expected >= self.needed or not self.series.busiest:
                return None
            due_ms = now_ms + int((self.needed - self._expected) / self.series.busiest * HOUR_MS)
        if now_ms < self._armed_ms <= due_ms:
            return None
        self._armed_ms = due_ms
        return due_ms

    def evidence(self, now_ms: int) -> dict[str, Any]:  # noqa: ARG002 - the port
        """What was expected."""
        return {"newest_ms": self.series.newest_ms, "expected": self._expected, "needed": self.needed}


@dataclass(slots=True)
class StaleJudge:
    """Waits for any answer."""

    rule: StaleRule
    series: WatchedSeries
    spans: tuple[Span, ...] = ()
    _armed_ms: int = 0

    def verdict(self, now_ms: int) -> Verdict:
        """Whether the newest answer is too old."""
        newest_ms = self.series.newest_ms
        entered = newest_ms is not None and now_ms - newest_ms >= self.rule.after_ms
        return Verdict(entered, left=not entered)

    def next_ms(self, now_ms: int) -> int | None:
        """When it will be; None where an earlier time was said, at which this is asked again."""
        newest_ms = self.series.newest_ms
        if newest_ms is None or now_ms < self._armed_ms or newest_ms + self.rule.after_ms <= now_ms:
            return None
        self._armed_ms = newest_ms + self.rule.after_ms
        return self._armed_ms

    def evidence(self, now_ms: int) -> dict[str, Any]:  # noqa: ARG002 - the port
        """The newest answer."""
        return {"newest_ms": self.series.newest_ms}


@dataclass(frozen=True, slots=True)
class Reach:
    """How long cells are kept for a set of rules, in milliseconds."""

    minutes_ms: int
    hours_ms: int

    @staticmethod
    def of(rules: tuple[Rule, ...], horizon_ms: int) -> Reach:
        """What the rules need: sums by the minute, edits within the horizon, baselines by the hour."""
        minutes_ms, hours_ms = HOUR_MS, 2 * horizon_ms
        for rule in rules:
            for span in _spans(rule):
                reach_ms = span.window_ms + span.offset_ms
                minutes_ms = max(minutes_ms, reach_ms if span.is_fine else 0)
                hours_ms = max(hours_ms, reach_ms)
            if isinstance(rule, RisingRule):
                minutes_ms = max(minutes_ms, horizon_ms)
                hours_ms = max(hours_ms, rule.baseline_ms)
            elif isinstance(rule, SilentRule):
                hours_ms = max(hours_ms, 2 * rule.baseline_ms)
            elif isinstance(rule, StaleRule):
                hours_ms = max(hours_ms, rule.after_ms)
        return Reach(minutes_ms + 2 * HOUR_MS, hours_ms + 26 * HOUR_MS)


def _spans(rule: Rule) -> tuple[Span, ...]:
    if isinstance(rule, ThresholdRule):
        return (Span(rule.window_ms),)
    if isinstance(rule, BudgetRule):
        return Span(rule.long_ms), Span(rule.short_ms)
    if isinstance(rule, ChangeRule):
        return Span(rule.window_ms, rule.window_ms if rule.against_ms is None else rule.against_ms), Span(
            rule.window_ms
        )
    return ()
