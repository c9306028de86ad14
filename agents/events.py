"""Reading one input record: the careful path, which says exactly what is wrong with it.

The hot path (intake.py) decodes the same fields with strict types and falls back to these functions for every
record that it cannot take as it is; what it accepts, they accept with the same meaning (a test holds both
against each other). Bad data is a value, a ``Refusal``, never an exception.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import orjson

from agents.ports import Record
from scoring.catalog import Catalog
from scoring.questions import Question
from scoring.tallies import INTERACTION_FIELDS

YEAR_2000_MS: Final = 946_684_800_000
YEAR_2100_MS: Final = 4_102_444_800_000
MAX_RECORD_BYTES: Final = 1 << 20
MAX_ID_BYTES: Final = 256
MAX_NAME_BYTES: Final = 128
MAX_DURATION_S: Final = 1e9
MAX_COUNT: Final = 1_000_000_000
OTHER: Final = "other"

OUTCOMES: Final = ("resolved", "unresolved", "abandoned")
_COUNTED: Final = ("transfers", "retries", "errors", "contacts", "rage_clicks")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record is not taken: one of the reasons of the dead-letter contract, and a detail without personal data."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Checks:
    """What a record is checked against.

    Attributes:
        catalog: the declared questions, touchpoints and segments.
        oldest_ms: event times before it are ``too_old``; the year 2000 in a worker, 0 in replay and score.
        max_future_ms: how far an event may be ahead of its record's timestamp, or None for no bound (replay, score).
        fields, closed: ``segment_fields`` and ``closed_values`` of the catalog.
        decode_response, decode_interaction: of the fields that mean something; all others are skipped, not read.
    """

    catalog: Catalog
    oldest_ms: int = YEAR_2000_MS
    max_future_ms: int | None = 300_000
    fields: tuple[str, ...] = field(init=False, repr=False)
    closed: Mapping[str, frozenset[str]] = field(init=False, repr=False)
    decode_response: Callable[[bytes], Any] = field(init=False, repr=False, compare=False)
    decode_interaction: Callable[[bytes], Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Works out once what each record needs."""
        fields = segment_fields(self.catalog)
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "closed", closed_values(self.catalog))
        object.__setattr__(self, "decode_response", _loose_decoder(_LooseResponse, fields))
        object.__setattr__(self, "decode_interaction", _loose_decoder(_LooseInteraction, fields))

    @staticmethod
    def for_files(catalog: Catalog) -> Checks:
        """The checks of replay and score: any time since 1970, and no bound by the record's timestamp."""
        return Checks(catalog, oldest_ms=0, max_future_ms=None)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that passed every check of its own record.

    Attributes:
        rating: on the question's scale; None withdraws the answer.
        touchpoint: None only for a withdrawal that names none.
        fields: values of ``segment_fields(catalog)``, in that order; None where it carries none.
        event_time_ms: None where the record has none: the record's timestamp counts, and an edit keeps the stored time.
        linked: it carries an interaction_id.
    """

    response_id: str
    question: Question
    rating: int | None
    touchpoint: str | None
    fields: tuple[str | None, ...]
    event_time_ms: int | None
    updated_at_ms: int | None
    linked: bool
    comment: str | None
    interaction_id: str | None


@dataclass(frozen=True, slots=True)
class Contact:
    """An interaction that passed every check; ``vector`` is its tally (scoring.tallies.INTERACTION_FIELDS)."""

    interaction_id: str
    touchpoint: str
    fields: tuple[str | None, ...]
    event_time_ms: int | None
    vector: list[int]


class _Refused(Exception):  # noqa: N818 - control flow inside this module, never seen outside
    def __init__(self, reason: str, detail: str) -> None:
        self.refusal = Refusal(reason, detail)
        super().__init__(reason)


_NULL: Final = msgspec.Raw(b"null")
_CLOUD_EVENT: Final = b"application/cloudevents+json"


class _CloudEvent(msgspec.Struct, gc=False):
    data: msgspec.Raw


_decode_cloud_event = msgspec.json.Decoder(_CloudEvent).decode


class _LooseResponse(msgspec.Struct, gc=False):
    response_id: Any = None
    customer_id: Any = None
    interaction_id: Any = None
    question: Any = None
    rating: Any = msgspec.UNSET
    event_time_ms: Any = None
    updated_at_ms: Any = None
    touchpoint: Any = None
    comment: msgspec.Raw = _NULL  # read only where its question wants it


class _LooseInteraction(msgspec.Struct, gc=False):
    interaction_id: Any = None
    customer_id: Any = None
    touchpoint: Any = None
    event_time_ms: Any = None
    channel: Any = None
    outcome: Any = None
    duration_s: Any = None
    wait_s: Any = None
    contacts: Any = None
    transfers: Any = None
    retries: Any = None
    errors: Any = None
    rage_clicks: Any = None


def segments_type(fields: tuple[str, ...], value: Any) -> type[msgspec.Struct]:
    """A type with the segment fields of a record, in their order, each of this type or None."""
    names = {f"field_{at}": name for at, name in enumerate(fields)}
    return msgspec.defstruct("Segments", [(key, value, None) for key in names], rename=names, gc=False)


def _loose_decoder(base: type[msgspec.Struct], fields: tuple[str, ...]) -> Callable[[bytes], Any]:
    segments = segments_type(fields, Any)
    loose = msgspec.defstruct(base.__name__, [("segments", segments | None, None)], bases=(base,), gc=False)
    return msgspec.json.Decoder(loose).decode


def segment_fields(catalog: Catalog) -> tuple[str, ...]:
    """The plain fields that the declared segments are made of, in declared order, each once."""
    return tuple(dict.fromkeys(name for segment in catalog.segments for name in segment.fields))


def closed_values(catalog: Catalog) -> dict[str, frozenset[str]]:
    """For each field that is a segment with listed values: those values; anything else it carries is ``other``."""
    return {s.name: s.values for s in catalog.segments if s.values is not None and len(s.fields) == 1}


def event_of(record: Record) -> bytes | None:
    """The event that a record carries: its value, or the ``data`` of a structured CloudEvent.

    A binary CloudEvent is a plain record with further headers, which mean nothing here.
    """
    for name, text in record.headers:
        if name.lower() == "content-type" and text is not None and text.startswith(_CLOUD_EVENT):
            value = record.value
            if value is None or len(value) > MAX_RECORD_BYTES:
                return value
            try:
                return bytes(_decode_cloud_event(value).data)
            except (msgspec.MsgspecError, RecursionError, ValueError):
                return value  # the checks of a plain record name what is wrong with it
    return record.value


def read_response(value: bytes | None, timestamp_ms: int, checks: Checks) -> Answer | Refusal:
    """Checks one record of the responses topic.

    Args:
        value: the record's value.
        timestamp_ms: the record's own timestamp.
        checks: what to check against.

    Returns:
        The answer, or the refusal with one of the reasons of the dead-letter contract.
    """
    try:
        raw = _decode(value, checks.decode_response, "rating")
        return _answer(raw, timestamp_ms, checks)
    except _Refused as refused:
        return refused.refusal


def read_interaction(value: bytes | None, timestamp_ms: int, checks: Checks) -> Contact | Refusal:
    """Checks one record of the interactions topic; otherwise as ``read_response``."""
    try:
        raw = _decode(value, checks.decode_interaction, None)
        return _contact(raw, timestamp_ms, checks)
    except _Refused as refused:
        return refused.refusal


def _decode(value: bytes | None, decode: Any, rating_field: str | None) -> Any:
    if not value or not value.strip():
        raise _Refused("empty", "the record has no value")
    if len(value) > MAX_RECORD_BYTES:
        raise _Refused("too_large", f"{len(value)} bytes; at most {MAX_RECORD_BYTES} are read")
    try:
        return decode(value)
    except RecursionError:
        raise _Refused("too_deep", "nested too deeply to be read") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise _undecodable(value, str(error), rating_field) from None


def _undecodable(value: bytes, problem: str, rating_field: str | None) -> _Refused:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return _Refused("not_utf8", f"byte {error.start} is not UTF-8")
    known = _misplaced(problem, rating_field)
    if known is not None:
        return known
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):
            return _Refused("too_deep", "nested too deeply to be read")
        return _Refused("not_json", f"not JSON at character {error.pos}")
    return _Refused("wrong_type", "the value is not a JSON object")


def _misplaced(problem: str, rating_field: str | None) -> _Refused | None:
    """The refusal for JSON that decodes, but not into this record."""
    if problem.endswith("`$.segments`"):
        return _Refused("wrong_type", "segments must be an object of strings")
    if "out of range" not in problem:
        return None
    if rating_field and f"$.{rating_field}" in problem:
        return _Refused("off_scale", "the rating is out of the range of a number")
    return _Refused("wrong_type", "a number is out of range")


def _answer(raw: Any, timestamp_ms: int, checks: Checks) -> Answer:
    response_id = _id(raw.response_id, "response_id", required=True)
    _id(raw.customer_id, "customer_id")
    interaction_id = _id(raw.interaction_id, "interaction_id")
    name = _text(raw.question, "question")
    if not name:
        raise _Refused("missing_field", "question")
    if raw.rating is msgspec.UNSET:
        raise _Refused("missing_field", "rating")
    question = checks.catalog.questions.get(name)
    if question is None:
        raise _Refused("unknown_question", "the question is not declared in the configuration")
    event_time_ms = _event_time(raw.event_time_ms, timestamp_ms, checks)
    updated_at_ms = _time(raw.updated_at_ms, "updated_at_ms")
    touchpoint = _name(raw.touchpoint, "touchpoint") or question.touchpoint
    fields = _fields(raw.segments, None, checks)
    rating = _rating(raw.rating, question)
    if touchpoint is None and rating is not None:
        raise _Refused("missing_field", "touchpoint, and the question declares no default")
    _declared(touchpoint, checks.catalog)
    comment = _comment(raw.comment) if question.comments else None
    return Answer(
        response_id or "",
        question,
        rating,
        touchpoint,
        fields,
        event_time_ms,
        updated_at_ms,
        interaction_id is not None,
        comment,
        interaction_id,
    )


def _contact(raw: Any, timestamp_ms: int, checks: Checks) -> Contact:
    interaction_id = _id(raw.interaction_id, "interaction_id", required=True)
    _id(raw.customer_id, "customer_id")
    touchpoint = _name(raw.touchpoint, "touchpoint")
    if touchpoint is None:
        raise _Refused("missing_field", "touchpoint")
    _declared(touchpoint, checks.catalog)
    event_time_ms = _event_time(raw.event_time_ms, timestamp_ms, checks)
    fields = _fields(raw.segments, raw.channel, checks)
    return Contact(interaction_id or "", touchpoint, fields, event_time_ms, contact_vector(raw))


def contact_vector(raw: Any) -> list[int]:
    """The tally of one interaction: every number a whole one (durations in milliseconds), so that sums stay exact."""
    outcome = _text(raw.outcome, "outcome")
    if outcome is not None and outcome not in OUTCOMES:
        raise _Refused("wrong_type", f"outcome must be one of {', '.join(OUTCOMES)}")
    duration_ms = _seconds(raw.duration_s, "duration_s")
    wait_ms = _seconds(raw.wait_s, "wait_s")
    vector = [1, *(int(outcome == name) for name in OUTCOMES)]
    vector += [int(duration_ms is not None), duration_ms or 0, int(wait_ms is not None), wait_ms or 0]
    vector += [_count(getattr(raw, name), name) for name in _COUNTED]
    if len(vector) != len(INTERACTION_FIELDS):  # the two lists are declared apart; a mismatch is our own bug
        raise AssertionError(f"{len(vector)} numbers for {INTERACTION_FIELDS}")
    return vector


def _id(value: Any, field: str, *, required: bool = False) -> str | None:
    if value is None or value == "":
        if required:
            raise _Refused("missing_field", field)
        return None
    if not isinstance(value, str):
        raise _Refused("wrong_type", f"{field} must be a string")
    if len(value.encode(errors="surrogatepass")) > MAX_ID_BYTES:
        raise _Refused("id_too_long", f"{field}: at most {MAX_ID_BYTES} bytes")
    return value


def _text(value: Any, field: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _Refused("wrong_type", f"{field} must be a string")
    return value


def clean_name(value: str) -> str | None:
    """A touchpoint or segment value, trimmed; None if nothing is left, a ValueError if it can not be a name.

    Raises:
        ValueError: longer than 128 bytes, or it contains a control character.
    """
    value = value.strip()
    if not value:
        return None
    if len(value.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
        raise ValueError(f"at most {MAX_NAME_BYTES} bytes")
    if not value.isprintable() and any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise ValueError("no control characters")
    return value


def _name(value: Any, field: str) -> str | None:
    text = _text(value, field)
    if text is None:
        return None
    try:
        return clean_name(text)
    except ValueError as error:
        raise _Refused("wrong_type", f"{field}: {error}") from None


def _declared(touchpoint: str | None, catalog: Catalog) -> None:
    if catalog.strict and touchpoint is not None and touchpoint not in catalog.touchpoints:
        raise _Refused("unknown_touchpoint", "the touchpoint is not declared and strict = true")


def _comment(raw: msgspec.Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str | None)
    except UnicodeDecodeError:
        raise _Refused("not_utf8", "the comment is not UTF-8") from None
    except (msgspec.MsgspecError, RecursionError):
        raise _Refused("wrong_type", "comment must be a string") from None


def _fields(segments: Any, channel: Any, checks: Checks) -> tuple[str | None, ...]:
    carried = (None,) * len(checks.fields) if segments is None else msgspec.structs.astuple(segments)
    out = []
    for name, text in zip(checks.fields, carried, strict=True):
        value = _name(text, f"segments.{name}")
        if value is None and name == "channel":
            value = _name(channel, "channel")
        if value is not None and name in checks.closed and value not in checks.closed[name]:
            value = OTHER
        out.append(value)
    return tuple(out)


def _rating(value: Any, question: Question) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Refused("wrong_type", "rating must be a number or null")
    if isinstance(value, float) and (not math.isfinite(value) or value != math.floor(value)):
        raise _Refused("off_scale", "rating must be a whole number")
    rating = int(value)
    if not question.scale.low <= rating <= question.scale.high:
        raise _Refused("off_scale", f"rating must lie in {question.scale.low}..{question.scale.high}")
    return rating


def _time(value: Any, field: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Refused("wrong_type", f"{field} must be whole milliseconds since 1970")
    if isinstance(value, float) and (not math.isfinite(value) or value != math.floor(value)):
        raise _Refused("bad_time", f"{field} must be whole milliseconds since 1970")
    if not 0 <= value < YEAR_2100_MS:
        raise _Refused("bad_time", f"{field} must lie between the years 1970 and 2100")
    return int(value)


def _event_time(value: Any, timestamp_ms: int, checks: Checks) -> int | None:
    event_time_ms = _time(value, "event_time_ms")
    effective_ms = timestamp_ms if event_time_ms is None else event_time_ms
    if not 0 <= effective_ms < YEAR_2100_MS:
        raise _Refused("bad_time", "the record's timestamp must lie between the years 1970 and 2100")
    if effective_ms < checks.oldest_ms:
        raise _Refused("too_old", "event times before the year 2000 are taken by replay only")
    if checks.max_future_ms is not None and effective_ms > timestamp_ms + checks.max_future_ms:
        ahead_s = (effective_ms - timestamp_ms) / 1000
        raise _Refused("too_far_ahead", f"event time is {ahead_s:.0f} s ahead of the record's timestamp")
    return event_time_ms


def _seconds(value: Any, field: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Refused("wrong_type", f"{field} must be a number of seconds")
    if not 0 <= value <= MAX_DURATION_S:  # NaN, too, and an integer that is too long for a float
        raise _Refused("wrong_type", f"{field} must lie in 0..{MAX_DURATION_S:.0f} seconds")
    return round(value * 1000)


def _count(value: Any, field: str) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Refused("wrong_type", f"{field} must be a whole number")
    if not 0 <= value <= MAX_COUNT:  # so it is finite, and no integer is too long for a float
        raise _Refused("wrong_type", f"{field} must lie in 0..{MAX_COUNT}")
    if value != math.floor(value):
        raise _Refused("wrong_type", f"{field} must be a whole number")
    return int(value)
