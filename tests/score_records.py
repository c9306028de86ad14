"""Records as a worker publishes them, made by the scoring code itself, and the declarations behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from agents.records import InteractionStatsRecord, ScoreRecord
from app.readmodel import segment_text
from scoring.catalog import Catalog, Touchpoint
from scoring.questions import Question, Scale, question
from scoring.scores import score

NOW_MS = 1_763_719_200_000
STAGES = {"checkout": "purchase", "support-chat": "support"}
EFFORT = question("checkout-effort", "ces", Scale(1, 7, best=7))
REVERSED = question("legacy-effort", "ces", Scale(1, 5, best=1))
EASE = question("emoji-ease", "ces", Scale(1, 3, best=3), ces_formula="net-ease")
SATISFACTION = question("chat-satisfaction", "csat", Scale(1, 5, best=5))
LOYALTY = question("loyalty", "nps", Scale(0, 10, best=10))
QUESTIONS = (EFFORT, REVERSED, EASE, SATISFACTION, LOYALTY)
CATALOG = Catalog(
    questions={each.id: each for each in QUESTIONS},
    touchpoints={name: Touchpoint(name, stage) for name, stage in STAGES.items()},
)


def score_record(
    asked: Question,
    counts: list[int],
    touchpoint: str = "checkout",
    window: str = "1h",
    segment: Mapping[str, str] | None = None,
    interactions: int = 0,
    **changes: Any,
) -> ScoreRecord:
    """The record of a tally; ``counts`` are per rating from low to high, none of them linked."""
    made = score(asked, [*counts, 0], interactions)
    record = ScoreRecord(
        touchpoint=touchpoint,
        journey_stage=STAGES.get(touchpoint),
        question=asked.id,
        metric=str(asked.metric),
        segment=dict(segment or {}),
        window=window,
        kind="live",
        start_ms=NOW_MS - 3_600_000,
        end_ms=NOW_MS,
        n=made.n,
        value=made.value,
        low=made.low,
        high=made.high,
        confidence=0.95,
        band=made.band,
        effort_index=made.effort_index,
        low_effort_share=made.low_effort_share,
        counts=dict(zip(map(str, asked.scale.ratings), counts, strict=True)),
        interactions=interactions,
        response_rate=made.response_rate,
        watermark_ms=NOW_MS - 10_000,
        revision=0,
        formula=made.formula,
        published_at_ms=NOW_MS + 250,
    )
    return msgspec.structs.replace(record, **changes)


def stats_record(
    touchpoint: str = "checkout", window: str = "1h", n: int = 40, segment: Mapping[str, str] | None = None
) -> InteractionStatsRecord:
    """Interaction statistics with plausible figures."""
    return InteractionStatsRecord(
        touchpoint=touchpoint,
        journey_stage=STAGES.get(touchpoint),
        segment=dict(segment or {}),
        window=window,
        start_ms=NOW_MS - 3_600_000,
        end_ms=NOW_MS,
        n=n,
        resolved_share=0.75,
        unresolved_share=0.25,
        abandoned_share=0.0,
        duration_s_mean=182.5,
        wait_s_mean=None,
        transfers_mean=0.1,
        retries_mean=0.0,
        errors_mean=1 / 3,
        contacts_mean=1.0,
        rage_clicks_mean=0.0,
        watermark_ms=NOW_MS - 10_000,
        published_at_ms=NOW_MS + 250,
    )


def key_of(record: ScoreRecord | InteractionStatsRecord) -> bytes:
    """The key under which a record is published."""
    segment = msgspec.Raw(segment_text(record.segment).encode())
    parts: tuple[Any, ...] = (record.touchpoint, segment, record.window)
    if isinstance(record, ScoreRecord):
        parts = (record.touchpoint, record.question, segment, record.window)
    return msgspec.json.encode(parts)
