"""The records of the score topics, made from tallies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from agents.calendars import Revision
from agents.events import OTHER
from agents.panes import parse_series_code
from agents.ports import Out
from agents.segments import SegmentCaps
from scoring.catalog import Catalog
from scoring.live import LiveSums
from scoring.questions import Question
from scoring.scores import Score, score
from scoring.tallies import interaction_stats


@dataclass(slots=True)
class Publisher:
    """Makes output records; holds nothing but what is declared and what was capped.

    Attributes:
        watermark_ms, now_ms: set by the owner at each checkpoint.
    """

    catalog: Catalog
    caps: SegmentCaps
    watermark_ms: int | None = None
    now_ms: int = 0

    def segment(self, code: str) -> dict[str, str]:
        """The segment of a series as records carry it: names sorted."""
        _, segment, values = parse_series_code(code)
        return dict(sorted(zip(segment.split("+"), values, strict=True))) if segment else {}

    def window(self, revision: Revision) -> Out:
        """The record of a closed calendar window."""
        record = self._score(revision.touchpoint, revision.code, revision.vector, revision.interactions)
        record |= {
            "window": revision.window,
            "kind": "calendar",
            "start_ms": revision.start_ms,
            "end_ms": revision.end_ms,
            "revision": revision.revision,
        }
        key = [
            record["touchpoint"],
            record["question"],
            record["segment"],
            revision.window,
            revision.start_ms,
        ]
        return Out(orjson.dumps(key), orjson.dumps(record))

    def live(
        self, sums: LiveSums[tuple[str, str]], touchpoint: str, code: str, vector: list[int], beside: int
    ) -> Out:
        """The record of a live window."""
        record = self._score(touchpoint, code, vector, beside)
        record |= {
            "window": sums.window.name,
            "kind": "live",
            "start_ms": sums.start_ms,
            "end_ms": sums.end_ms,
            "revision": 0,
        }
        return Out(self.live_key(sums.window.name, touchpoint, code), orjson.dumps(record))

    def live_key(self, window: str, touchpoint: str, code: str) -> bytes:
        """The key of a live score, or of interaction stats."""
        question = parse_series_code(code)[0]
        key = (
            [touchpoint, question, self.segment(code), window]
            if question
            else [touchpoint, self.segment(code), window]
        )
        return orjson.dumps(key)

    def stats(self, sums: LiveSums[tuple[str, str]], touchpoint: str, code: str, vector: list[int]) -> Out:
        """The record of the interactions in a live window."""
        made = interaction_stats(vector)
        record = {
            "touchpoint": touchpoint,
            "journey_stage": self.catalog.journey_stage(touchpoint),
            "segment": self.segment(code),
            "window": sums.window.name,
            "start_ms": sums.start_ms,
            "end_ms": sums.end_ms,
            "n": made.n,
            "resolved_share": made.resolved_share,
            "unresolved_share": made.unresolved_share,
            "abandoned_share": made.abandoned_share,
            "duration_s_mean": made.duration_s_mean,
            "wait_s_mean": made.wait_s_mean,
            "transfers_mean": made.transfers_mean,
            "retries_mean": made.retries_mean,
            "errors_mean": made.errors_mean,
            "contacts_mean": made.contacts_mean,
            "rage_clicks_mean": made.rage_clicks_mean,
            "watermark_ms": self.watermark_ms,
            "published_at_ms": self.now_ms,
        }
        self._mark_capped(record, touchpoint, code)
        return Out(self.live_key(sums.window.name, touchpoint, code), orjson.dumps(record))

    def _score(
        self, touchpoint: str, code: str, vector: list[int] | tuple[int, ...], interactions: int
    ) -> dict[str, Any]:
        question = self.catalog.questions[parse_series_code(code)[0]]
        made = score(question, vector, interactions, self.catalog.confidence)
        record: dict[str, Any] = {
            "touchpoint": touchpoint,
            "journey_stage": self.catalog.journey_stage(touchpoint),
            "question": question.id,
            "metric": question.metric.value,
            "segment": self.segment(code),
            "confidence": self.catalog.confidence,
            "interactions": interactions,
            "watermark_ms": self.watermark_ms,
            "published_at_ms": self.now_ms,
        }
        record |= score_figures(question, vector, made, self.catalog.privacy_floor)
        self._mark_capped(record, touchpoint, code)
        return record

    def _mark_capped(self, record: dict[str, Any], touchpoint: str, code: str) -> None:
        _, segment, values = parse_series_code(code)
        if OTHER in values and self.caps.is_capped(touchpoint, segment):
            record["capped"] = True


def score_figures(
    question: Question, vector: list[int] | tuple[int, ...], made: Score, privacy_floor: int
) -> dict[str, Any]:
    """The figures of a score record; under the privacy floor none of them, n and counts included."""
    hidden = made.n < privacy_floor
    low = question.scale.low
    counts = {str(low + at): count for at, count in enumerate(vector[:-1])}
    figures = {
        "n": made.n,
        "value": made.value,
        "low": made.low,
        "high": made.high,
        "band": made.band,
        "effort_index": made.effort_index,
        "low_effort_share": made.low_effort_share,
        "response_rate": made.response_rate,
        "counts": counts,
    }
    if hidden:
        figures = dict.fromkeys(figures)
    return figures | {"formula": made.formula}
