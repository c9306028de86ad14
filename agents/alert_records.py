"""Alert records: the state of an alert as it is published, with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from agents.alert_series import WatchedSeries
from agents.alerting import Transition
from agents.hard_answers import HardAnswers
from agents.panes import parse_series_code, series_code
from agents.ports import Out
from scoring.alerts.evidence import contributions, grown_ratings, moved_signals
from scoring.alerts.rules import BudgetRule, ChangeRule, Kind, Rule, ThresholdRule
from scoring.alerts.states import Life, State
from scoring.alerts.summary import summary
from scoring.catalog import Catalog
from scoring.live import LiveSums
from scoring.panes import DAY_MS, HOUR_MS, MINUTE_MS

_BEFORE_MS = 7 * DAY_MS
_MOST_SEGMENTS = 3


@dataclass(slots=True)
class AlertPublisher:
    """Makes alert records.

    Args:
        catalog: what is declared.
        live: the live sums of the same partition: what segments and interactions say at the same moment.
        hard: the hardest answers of late.
    """

    catalog: Catalog
    live: Sequence[LiveSums[tuple[str, str]]]
    hard: HardAnswers

    def transition(self, made: Transition, published_at_ms: int) -> Out:
        """The record of a transition."""
        watch = made.watch
        rule, series, life = watch.rule, watch.series, watch.life
        evidence = self._evidence(made)
        record = {
            "fingerprint": watch.fingerprint,
            "rule": rule.id,
            "kind": rule.kind.value,
            "state": life.state.value,
            "severity": rule.severity.value,
            "touchpoint": series.touchpoint,
            "journey_stage": self.catalog.journey_stage(series.touchpoint),
            "question": None if series.question is None else series.question.id,
            "segment": series.segment,
            "window": rule.window_name,
            "since_ms": life.since_ms,
            "fired_at_ms": life.fired_at_ms,
            "resolved_at_ms": life.resolved_at_ms,
            "sequence": life.sequence,
            "summary": summary(rule, life.state, series.touchpoint, series.question, evidence),
            "evidence": evidence,
            "published_at_ms": published_at_ms,
            "runbook": rule.runbook,
            "owner": rule.owner,
        }
        return Out(watch.fingerprint.encode(), orjson.dumps(record))

    @staticmethod
    def orphan(name: str, life: Life, last: bytes, published_at_ms: int) -> Out:
        """The last record of an alert whose rule is not declared any more."""
        record = orjson.loads(last)
        record |= {
            "state": life.state.value,
            "sequence": life.sequence,
            "resolved_at_ms": life.resolved_at_ms,
            "summary": f"{record['touchpoint']}: over, since its rule or series is not declared any more",
            "published_at_ms": published_at_ms,
        }
        return Out(name.encode(), orjson.dumps(record))

    def _evidence(self, made: Transition) -> dict[str, Any]:
        watch, verdict, series = made.watch, made.verdict, made.watch.series
        figures: dict[str, Any] = {
            "value": verdict.value,
            "low": verdict.low,
            "high": verdict.high,
            "confidence": self.catalog.confidence,
            "n": verdict.n,
            "at_ms": made.at_ms,
        }
        figures |= watch.judge.evidence(made.at_ms)
        if watch.rule.kind in (Kind.SILENT, Kind.STALE) or watch.life.state is State.INACTIVE:
            return figures
        if verdict.n and verdict.n < self.catalog.privacy_floor:
            return dict.fromkeys(figures)
        if series.question is not None:
            begin_ms = self._begin(watch.rule, made.at_ms, figures)
            now = series.cells.total(begin_ms, made.at_ms)
            before = series.cells.total(begin_ms - _BEFORE_MS, begin_ms)
            figures["ratings"] = grown_ratings(series.question, now, before)
            if not series.segment:
                figures["segments"] = self._segments(series)
                figures |= self._hardest(series, begin_ms, made.at_ms)
        signals = self._signals(series)
        if signals:
            figures["signals"] = signals
        return figures

    @staticmethod
    def _begin(rule: Rule, at_ms: int, figures: dict[str, Any]) -> int:
        """Start of the period that the evidence is about: the rule's window, or since when effort is risen."""
        if isinstance(rule, ThresholdRule | ChangeRule):
            return at_ms - rule.window_ms
        if isinstance(rule, BudgetRule):
            return at_ms - rule.long_ms
        if "since_from_ms" in figures:
            since_ms: int = (figures["since_from_ms"] + figures["since_to_ms"]) // 2
            return since_ms - since_ms % MINUTE_MS
        return at_ms - HOUR_MS

    def _hardest(self, series: WatchedSeries, begin_ms: int, end_ms: int) -> dict[str, Any]:
        """Interactions with the highest effort, and comments where the question passes them on."""
        assert series.question is not None  # noqa: S101 - the caller has looked
        found = self.hard.since(series.touchpoint, series.question.id, begin_ms, end_ms)
        ids = dict.fromkeys(one.interaction_id for one in found if one.interaction_id)
        comments = [
            {"rating": one.rating, "event_time_ms": one.time_ms, "excerpt": one.comment}
            for one in found
            if one.comment
        ]
        out: dict[str, Any] = {"interaction_ids": list(ids)}
        if comments and series.question.comments:
            out["comments"] = comments
        return out

    def _segments(self, series: WatchedSeries) -> list[dict[str, Any]]:
        """The values of segments that made the score worse, by the shortest live window against the longest."""
        assert series.question is not None  # noqa: S101 - the caller has looked
        short, long = self._ends()
        if short is None or long is None:
            return []
        out: list[tuple[float, dict[str, Any]]] = []
        for declared in self.catalog.segments:
            now = self._by_value(short, series, declared.name)
            whole = self._by_value(long, series, declared.name)
            before = {
                name: [all_ - new for all_, new in zip(vector, now.get(name, [0] * len(vector)), strict=True)]
                for name, vector in whole.items()
            }
            out += [
                (
                    one.points,
                    {
                        "segment": declared.name,
                        "value": one.name,
                        "points": one.points,
                        "n": one.n,
                        "score": one.score,
                        "score_before": one.score_before,
                    },
                )
                for one in contributions(series.question, now, before)
                if one.points > 0 and one.n >= self.catalog.privacy_floor
            ]
        out.sort(key=lambda row: -row[0])
        return [row for _, row in out[:_MOST_SEGMENTS]]

    def _ends(self) -> tuple[LiveSums[tuple[str, str]] | None, LiveSums[tuple[str, str]] | None]:
        """The shortest live window of at least an hour, and a longer one; None where there are not two."""
        hours = sorted(self.live, key=lambda sums: sums.window.size_ms)
        short = [sums for sums in hours if sums.window.size_ms >= HOUR_MS]
        return (short[0], short[-1]) if len(short) > 1 else (None, None)

    @staticmethod
    def _by_value(
        sums: LiveSums[tuple[str, str]], series: WatchedSeries, segment: str
    ) -> dict[str, list[int]]:
        out = {}
        question = parse_series_code(series.code)[0]
        for (touchpoint, code), vector in sums.totals.items():
            if touchpoint == series.touchpoint:
                name, of, values = parse_series_code(code)
                if name == question and of == segment:
                    out["+".join(values)] = vector
        return out

    def _signals(self, series: WatchedSeries) -> dict[str, dict[str, float]]:
        short, long = self._ends()
        _, segment, values = parse_series_code(series.code)
        key = series.touchpoint, series_code("", segment, values)
        now = None if short is None else short.totals.get(key)
        whole = None if long is None else long.totals.get(key)
        if now is None or whole is None:
            return {}
        return moved_signals(now, [all_ - new for all_, new in zip(whole, now, strict=True)])
