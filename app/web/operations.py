"""What operators do about alerts, over HTTP: acknowledgements, silences, deployment marks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Response, delete, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter

from agents.records import OperationRecord
from app.muting import DEPLOYMENT, SILENCE
from app.operation_log import OperationNotStored
from app.operations import InvalidOperation, NotFiring, acknowledge, deployment, silence, withdraw
from app.readmodel import ReadModel
from app.web.alerts import NOT_FOUND, find_alert
from app.web.paging import MAX_FILTER_CHARACTERS, refuse_unknown
from app.web.problems import AnyRequest, problem
from app.web.scores import ERRORS, RETRY_AFTER_S, UNREADY, ProblemDocument
from app.web.writers import check_writer

MAX_BODY_BYTES = 16_384

_Connection = ASGIConnection[Any, Any, Any, Any]

Author = Annotated[
    str | None, QueryParameter(description="Who takes it back", max_length=MAX_FILTER_CHARACTERS)
]
Reason = Annotated[str | None, QueryParameter(description="Why", max_length=MAX_FILTER_CHARACTERS)]


@dataclass(frozen=True, slots=True)
class Desk:
    """Where operations are handed in.

    Attributes:
        store: stores an operation for good, or raises OperationNotStored.
        now_ms: the present.
        closed: why nobody may write here, as a sentence; None where this machine's users may.
    """

    store: Callable[[OperationRecord], Awaitable[None]]
    now_ms: Callable[[], int]
    closed: str | None = None


class AcknowledgeBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who acknowledges an alert, and why; both required."""

    author: str | None = None
    reason: str | None = None


class SilenceBody(msgspec.Struct, forbid_unknown_fields=True):
    """A silence: author, reason, its end and at least one pattern are required; it begins now unless at_ms says."""

    author: str | None = None
    reason: str | None = None
    ends_at_ms: int | None = None
    at_ms: int | None = None
    rule: str | None = None
    touchpoint: str | None = None
    severity: str | None = None


class DeploymentBody(msgspec.Struct, forbid_unknown_fields=True):
    """A deployment: author and reason are required; it is of now and of all touchpoints unless it says otherwise."""

    author: str | None = None
    reason: str | None = None
    touchpoint: str | None = None
    at_ms: int | None = None


class OperationList(msgspec.Struct):
    """Operations by time and id."""

    items: list[OperationRecord]


def _fault(what: str) -> ResponseSpec:
    return ResponseSpec(ProblemDocument, description=what, generate_examples=False)


_WRITE_ERRORS = {**ERRORS, 403: _fault("Writing is not allowed here"), 415: _fault("The body is no JSON")}


def _stored(status: int) -> dict[int, ResponseSpec]:
    return {status: ResponseSpec(OperationRecord, description="As stored", generate_examples=False)}


class _Clerk:
    """What the routes share.

    Attributes:
        reader: a guard that lets nobody in until the model is ready.
        writer: a guard that lets only those in who may write, and them not before.
    """

    def __init__(self, model: ReadModel, desk: Desk) -> None:
        self.model, self.desk = model, desk

        # Functions and no methods: a router copies its guards, and what a method is bound to along with it
        def reader(_: _Connection, __: BaseRouteHandler) -> None:
            if not model.ready:
                raise HTTPException(
                    status_code=HTTPStatus.SERVICE_UNAVAILABLE,
                    detail=UNREADY,
                    headers={"Retry-After": str(RETRY_AFTER_S)},
                )

        def writer(connection: _Connection, handler: BaseRouteHandler) -> None:
            check_writer(connection, desk.closed)
            reader(connection, handler)

        self.reader, self.writer = reader, writer

    async def hand_in(self, record: OperationRecord, status: HTTPStatus) -> Response[bytes]:
        """Stores a record unless it is known just so, and answers with it."""
        if self.model.operations.get(record.id) != record:
            await self.desk.store(record)
        return Response(msgspec.json.encode(record), status_code=status, media_type=MediaType.JSON)

    def standing(self, action: str) -> Response[bytes]:
        """The operations of an action that have not ended."""
        now_ms = self.desk.now_ms()
        records = self.model.operations.all(action)
        items = [each for each in records if each.ends_at_ms is None or each.ends_at_ms > now_ms]
        return Response(msgspec.json.encode(OperationList(items)), media_type=MediaType.JSON)

    async def take_back(
        self, action: str, name: str, author: str | None, reason: str | None
    ) -> Response[bytes]:
        """Withdraws an operation."""
        found = self.model.operations.get(name)
        if found is None or found.action != action:
            raise NotFoundException(
                f"There is no {action} {name[:80]!r}. /api/v1/{action}s lists those that there are"
            )
        return await self.hand_in(withdraw(found, author, reason), HTTPStatus.OK)


def operation_routes(model: ReadModel, desk: Desk) -> list[HTTPRouteHandler]:
    """The routes that read and write operations; 503 until the model is ready, 403 where the desk is closed."""
    clerk = _Clerk(model, desk)
    return [_acknowledgements(clerk), *_silences(clerk), *_deployments(clerk)]


def _acknowledgements(clerk: _Clerk) -> HTTPRouteHandler:
    @post(
        "/alerts/{fingerprint:str}/acknowledge",
        summary="Acknowledge a firing alert until it is resolved",
        status_code=200,
        guards=[clerk.writer],
        request_max_body_size=MAX_BODY_BYTES,
        responses={**_stored(200), **_WRITE_ERRORS, **NOT_FOUND, 409: _fault("It does not fire")},
    )
    async def acknowledge_alert(
        fingerprint: FromPath[str], data: JSONBody[AcknowledgeBody]
    ) -> Response[bytes]:
        alert = find_alert(clerk.model, fingerprint)
        record = acknowledge(alert, data.author, data.reason, clerk.desk.now_ms())
        # Who was first has acknowledged it; saying it again changes nothing
        return await clerk.hand_in(clerk.model.operations.get(record.id) or record, HTTPStatus.OK)

    return acknowledge_alert


def _silences(clerk: _Clerk) -> list[HTTPRouteHandler]:
    @post(
        "/silences",
        summary="Silence the alerts that match patterns",
        guards=[clerk.writer],
        request_max_body_size=MAX_BODY_BYTES,
        responses={**_stored(201), **_WRITE_ERRORS},
    )
    async def create_silence(data: JSONBody[SilenceBody]) -> Response[bytes]:
        record = silence(**msgspec.structs.asdict(data), now_ms=clerk.desk.now_ms())
        return await clerk.hand_in(record, HTTPStatus.CREATED)

    @get(
        "/silences",
        summary="Silences that have not ended",
        guards=[clerk.reader],
        responses={**_listed(), **ERRORS},
    )
    async def silences(request: AnyRequest) -> Response[bytes]:
        refuse_unknown(request, ())
        return clerk.standing(SILENCE)

    @delete(
        "/silences/{name:str}",
        summary="End a silence",
        status_code=200,
        guards=[clerk.writer],
        responses={**_stored(200), **_WRITE_ERRORS, **NOT_FOUND},
    )
    async def delete_silence(
        request: AnyRequest, name: FromPath[str], author: Author = None, reason: Reason = None
    ) -> Response[bytes]:
        refuse_unknown(request, ("author", "reason"))
        return await clerk.take_back(SILENCE, name, author, reason)

    return [create_silence, silences, delete_silence]


def _deployments(clerk: _Clerk) -> list[HTTPRouteHandler]:
    @post(
        "/deployments",
        summary="Mark a deployment, for rules that compare with the time before it",
        guards=[clerk.writer],
        request_max_body_size=MAX_BODY_BYTES,
        responses={**_stored(201), **_WRITE_ERRORS},
    )
    async def create_deployment(data: JSONBody[DeploymentBody]) -> Response[bytes]:
        record = deployment(**msgspec.structs.asdict(data), now_ms=clerk.desk.now_ms())
        return await clerk.hand_in(record, HTTPStatus.CREATED)

    @get(
        "/deployments",
        summary="Deployment marks",
        guards=[clerk.reader],
        responses={**_listed(), **ERRORS},
    )
    async def deployments(request: AnyRequest) -> Response[bytes]:
        refuse_unknown(request, ())
        return clerk.standing(DEPLOYMENT)

    @delete(
        "/deployments/{name:str}",
        summary="Take a deployment mark back",
        status_code=200,
        guards=[clerk.writer],
        responses={**_stored(200), **_WRITE_ERRORS, **NOT_FOUND},
    )
    async def delete_deployment(
        request: AnyRequest, name: FromPath[str], author: Author = None, reason: Reason = None
    ) -> Response[bytes]:
        refuse_unknown(request, ("author", "reason"))
        return await clerk.take_back(DEPLOYMENT, name, author, reason)

    return [create_deployment, deployments, delete_deployment]


def _listed() -> dict[int, ResponseSpec]:
    return {200: ResponseSpec(OperationList, description="All of them", generate_examples=False)}


def invalid(_: AnyRequest, error: InvalidOperation) -> Response[bytes]:
    """An operation that has no meaning: which field, its value, and what to give instead."""
    return problem(
        HTTPStatus.BAD_REQUEST,
        str(error),
        errors=[{"field": error.key, "value": error.value, "problem": error.problem, "remedy": error.remedy}],
    )


def not_firing(_: AnyRequest, error: NotFiring) -> Response[bytes]:
    """An acknowledgement of what does not fire."""
    return problem(HTTPStatus.CONFLICT, str(error))


def not_stored(_: AnyRequest, error: OperationNotStored) -> Response[bytes]:
    """The broker did not confirm."""
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": str(RETRY_AFTER_S)})
