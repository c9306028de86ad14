"""GET /api/v1/scores and /api/v1/interaction-stats: the read model as JSON, unrounded."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter

from agents.records import InteractionStatsRecord, ScoreRecord
from app.readmodel import ReadModel, ScoreKey, StatsKey
from app.web.paging import (
    DEFAULT_LIMIT,
    MAX_FILTER_CHARACTERS,
    MAX_LIMIT,
    page,
    parse_segment,
    refuse_unknown,
    tagged,
)
from app.web.problems import AnyRequest, problem

RETRY_AFTER_S = 2
UNREADY = "The topics have not been read from Kafka yet; /readyz says how far it is."


class ScorePage(msgspec.Struct):
    """Scores of live windows, sorted by touchpoint, question, segment (its JSON) and window."""

    items: list[ScoreRecord]
    total: int
    next_cursor: str | None


class InteractionStatsPage(msgspec.Struct):
    """Interaction statistics of live windows, sorted by touchpoint, segment (its JSON) and window."""

    items: list[InteractionStatsRecord]
    total: int
    next_cursor: str | None


class ProblemDocument(msgspec.Struct):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


def exactly(what: str) -> QueryParameter:
    """A filter by one value, described."""
    return QueryParameter(description=what, max_length=MAX_FILTER_CHARACTERS)


Touchpoint = Annotated[str | None, exactly("Exactly this touchpoint")]
QuestionId = Annotated[str | None, exactly("Exactly this question")]
Window = Annotated[str | None, exactly("Exactly this live window, such as 1h")]
SegmentText = Annotated[
    str | None, exactly("Exactly this segment: name:value, or a JSON object of texts; {} is everybody")
]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="Records per page")]
Cursor = Annotated[str | None, exactly("next_cursor of the page before")]

ERRORS = {
    400: ResponseSpec(ProblemDocument, description="A parameter is wrong", generate_examples=False),
    503: ResponseSpec(ProblemDocument, description="Not caught up yet", generate_examples=False),
}


def score_routes(model: ReadModel) -> list[HTTPRouteHandler]:
    """The routes of the read model.

    Until the model is ready they answer 503: what it holds then may be older than what is known.
    """

    @get(
        "/scores",
        summary="Current scores",
        responses={200: ResponseSpec(ScorePage, description="A page", generate_examples=False), **ERRORS},
    )
    async def scores(
        request: AnyRequest,
        touchpoint: Touchpoint = None,
        question: QuestionId = None,
        window: Window = None,
        segment: SegmentText = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        refuse_unknown(request, ("touchpoint", "question", "window", "segment", "limit", "cursor"))
        wanted = parse_segment(segment)
        if not model.ready:
            return unready()
        rows = model.scores(touchpoint, question, window, wanted)
        items, following = page(rows, limit, cursor, len(ScoreKey._fields))
        return tagged(request, msgspec.json.encode(ScorePage(items, len(rows), following)))

    @get(
        "/interaction-stats",
        summary="Current interaction statistics",
        responses={
            200: ResponseSpec(InteractionStatsPage, description="A page", generate_examples=False),
            **ERRORS,
        },
    )
    async def interaction_stats(
        request: AnyRequest,
        touchpoint: Touchpoint = None,
        window: Window = None,
        segment: SegmentText = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        refuse_unknown(request, ("touchpoint", "window", "segment", "limit", "cursor"))
        wanted = parse_segment(segment)
        if not model.ready:
            return unready()
        rows = model.interaction_stats(touchpoint, window, wanted)
        items, following = page(rows, limit, cursor, len(StatsKey._fields))
        return tagged(request, msgspec.json.encode(InteractionStatsPage(items, len(rows), following)))

    return [scores, interaction_stats]


def unready() -> Response[bytes]:
    """503: the model does not hold everything yet."""
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        UNREADY,
        {"Retry-After": str(RETRY_AFTER_S)},
    )
