"""GET /api/v1/alerts: what the engine decided about each alert, its last transitions, and who has muted it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter

from agents.records import AlertRecord
from app.muting import JudgedAlert, Muting
from app.readmodel import ReadModel
from app.web.paging import DEFAULT_LIMIT, page, refuse_unknown, tagged
from app.web.problems import AnyRequest
from app.web.scores import ERRORS, Cursor, Limit, ProblemDocument, Touchpoint, exactly, unready

KEY_PARTS = 3

StateName = Annotated[
    Literal["inactive", "pending", "firing", "resolved"] | None,
    QueryParameter(name="state", description="In this state"),  # a handler's own ``state`` is the app's
]
SeverityName = Annotated[
    Literal["warning", "critical"] | None, QueryParameter(description="Of this severity")
]
RuleId = Annotated[str | None, exactly("Exactly this rule")]
Muted = Annotated[bool | None, QueryParameter(description="Muted, or not muted")]

NOT_FOUND = {
    int(HTTPStatus.NOT_FOUND): ResponseSpec(
        ProblemDocument, description="There is none", generate_examples=False
    )
}


class AlertDetail(JudgedAlert, kw_only=True):
    """An alert with those of its transitions that are kept, oldest first, the current one included."""

    transitions: list[AlertRecord]


class AlertPage(msgspec.Struct):
    """Alerts sorted by rule, touchpoint and fingerprint."""

    items: list[JudgedAlert]
    total: int
    next_cursor: str | None


def find_alert(model: ReadModel, fingerprint: str) -> AlertRecord:
    """The alert of a fingerprint.

    Raises:
        NotFoundException: nobody has heard of it.
    """
    found = model.alerts.get(fingerprint)
    if found is None:
        raise NotFoundException(
            f"There is no alert {fingerprint[:80]!r}. /api/v1/alerts lists those that there are"
        )
    return found


def alert_routes(model: ReadModel, muting: Muting) -> list[HTTPRouteHandler]:
    """The routes that read alerts; 503 until the model is ready."""

    @get(
        "/alerts",
        summary="Alerts, and who has muted them",
        responses={200: ResponseSpec(AlertPage, description="A page", generate_examples=False), **ERRORS},
    )
    async def alerts(
        request: AnyRequest,
        in_state: StateName = None,
        rule: RuleId = None,
        touchpoint: Touchpoint = None,
        severity: SeverityName = None,
        muted: Muted = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        refuse_unknown(request, ("state", "rule", "touchpoint", "severity", "muted", "limit", "cursor"))
        if not model.ready:
            return unready()
        wanted = {"state": in_state, "rule": rule, "touchpoint": touchpoint, "severity": severity}
        judged = muting.judged()
        shown = [
            judged(alert)
            for alert in model.alerts.all()
            if all(value is None or getattr(alert, name) == value for name, value in wanted.items())
        ]
        rows = sorted(
            ((each.rule, each.touchpoint, each.fingerprint), each)
            for each in shown
            if muted is None or each.muted is muted
        )
        items, following = page(rows, limit, cursor, KEY_PARTS)
        return tagged(request, msgspec.json.encode(AlertPage(items, len(rows), following)))

    @get(
        "/alerts/{fingerprint:str}",
        summary="One alert with its last transitions",
        responses={
            200: ResponseSpec(AlertDetail, description="The alert", generate_examples=False),
            **ERRORS,
            **NOT_FOUND,
        },
    )
    async def alert(request: AnyRequest, fingerprint: FromPath[str]) -> Response[bytes]:
        refuse_unknown(request, ())
        if not model.ready:
            return unready()
        found = find_alert(model, fingerprint)
        detail = AlertDetail(
            **msgspec.structs.asdict(muting.judged()(found)),
            transitions=model.alerts.transitions(fingerprint),
        )
        return tagged(request, msgspec.json.encode(detail))

    return [alerts, alert]
