"""The records of the published topics, as msgspec types: the one source of the JSON Schema and of every decoder."""

from __future__ import annotations

from typing import Any

import msgspec


class ResponseRecord(msgspec.Struct, gc=False):
    """One answer to one question (effort.responses.v1). ``rating`` null withdraws the answer."""

    response_id: str
    question: str
    rating: int | None
    customer_id: str | None = None
    interaction_id: str | None = None
    event_time_ms: int | None = None
    updated_at_ms: int | None = None
    touchpoint: str | None = None
    segments: dict[str, str | None] | None = None
    comment: str | None = None


class InteractionRecord(msgspec.Struct, gc=False):
    """One contact of a customer with a touchpoint (effort.interactions.v1)."""

    interaction_id: str
    touchpoint: str
    customer_id: str | None = None
    event_time_ms: int | None = None
    channel: str | None = None
    outcome: str | None = None
    duration_s: float | None = None
    wait_s: float | None = None
    contacts: int | None = None
    transfers: int | None = None
    retries: int | None = None
    errors: int | None = None
    rage_clicks: int | None = None
    segments: dict[str, str | None] | None = None


class ScoreRecord(msgspec.Struct, gc=False):
    """A score of one series in one window (effort.scores.v1, effort.windows.v1)."""

    touchpoint: str
    journey_stage: str | None
    question: str
    metric: str
    segment: dict[str, str]
    window: str
    kind: str
    start_ms: int
    end_ms: int
    n: int | None
    value: float | None
    low: float | None
    high: float | None
    confidence: float
    band: str | None
    effort_index: float | None
    low_effort_share: float | None
    counts: dict[str, int] | None
    interactions: int
    response_rate: float | None
    watermark_ms: int | None
    revision: int
    formula: str
    published_at_ms: int
    capped: bool = False


class InteractionStatsRecord(msgspec.Struct, gc=False):
    """Interactions in one live window (effort.interaction-stats.v1); means are null without data."""

    touchpoint: str
    journey_stage: str | None
    segment: dict[str, str]
    window: str
    start_ms: int
    end_ms: int
    n: int
    resolved_share: float | None
    unresolved_share: float | None
    abandoned_share: float | None
    duration_s_mean: float | None
    wait_s_mean: float | None
    transfers_mean: float | None
    retries_mean: float | None
    errors_mean: float | None
    contacts_mean: float | None
    rage_clicks_mean: float | None
    watermark_ms: int | None
    published_at_ms: int
    capped: bool = False


class CommentRecord(msgspec.Struct, gc=False):
    """A comment, only where its question has ``comments = true`` (effort.comments.v1)."""

    touchpoint: str
    question: str
    rating: int
    event_time_ms: int
    segments: dict[str, str]
    interaction_id: str | None
    comment: str


class AlertRecord(msgspec.Struct, gc=False):
    """The state of one alert (effort.alerts.v1): one rule on one series. Times are event time.

    ``state`` is inactive, pending, firing or resolved; ``sequence`` grows by 1 with each transition. ``question`` is
    null where a rule watches interactions, ``window`` where it has none.
    """

    fingerprint: str
    rule: str
    kind: str
    state: str
    severity: str
    touchpoint: str
    journey_stage: str | None
    question: str | None
    segment: dict[str, str]
    window: str | None
    since_ms: int
    fired_at_ms: int | None
    resolved_at_ms: int | None
    sequence: int
    summary: str
    evidence: dict[str, Any]
    published_at_ms: int
    runbook: str | None = None
    owner: str | None = None


class OperationRecord(msgspec.Struct, gc=False):
    """What an operator did (effort.operations.v1), keyed by id; it never changes a rule's state.

    ``action`` is acknowledge (one alert, by ``fingerprint``, until it is resolved), silence (the alerts that match
    ``rule``, ``touchpoint`` and ``severity``, patterns, until ``ends_at_ms``) or deployment (a mark at ``at_ms`` that
    rules of kind change may compare with). A record with ``withdrawn`` takes its operation back.
    """

    id: str
    action: str
    author: str
    reason: str
    at_ms: int
    ends_at_ms: int | None = None
    fingerprint: str | None = None
    rule: str | None = None
    touchpoint: str | None = None
    severity: str | None = None
    withdrawn: bool = False
