"""Reading input records: each refusal of the contract, what is made equal, and that the fast path agrees."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.events import Answer, Checks, Contact, Refusal, read_interaction, read_response
from agents.source import Intake
from scoring.tallies import INTERACTION_FIELDS
from tests.unit.agents.streams import (
    CATALOG,
    EFFORT,
    LOYALTY,
    NOW_MS,
    REMARKS,
    catalog,
    feed,
    interaction,
    raw,
    records,
    response,
    responses,
    tallies,
)

CHECKS = Checks(CATALOG)
YEAR_2000_MS = 946_684_800_000


def read(record: Any, checks: Checks = CHECKS) -> Answer | Refusal:
    """A record of the responses topic, read at NOW_MS."""
    return read_response(raw(record), NOW_MS, checks)


def answer(record: Any, checks: Checks = CHECKS) -> Answer:
    """The answer of a record that must be accepted."""
    found = read(record, checks)
    assert isinstance(found, Answer), found
    return found


def contact(record: Any) -> Contact:
    """The interaction of a record that must be accepted."""
    found = read_interaction(raw(record), NOW_MS, CHECKS)
    assert isinstance(found, Contact), found
    return found


def reason(found: Answer | Contact | Refusal) -> str:
    """Why a record was refused."""
    assert isinstance(found, Refusal), found
    return found.reason


REFUSED: list[tuple[str, Any, str]] = [
    ("tombstone", None, "empty"),
    ("no bytes", b"", "empty"),
    ("blanks", b" \n\t ", "empty"),
    ("cut off", b'{"response_id": "r', "not_json"),
    ("text", b"hello", "not_json"),
    ("NaN", b'{"response_id":"r","question":"effort","rating":NaN}', "not_json"),
    ("infinity", b'{"response_id":"r","question":"effort","rating":Infinity}', "not_json"),
    ("two values", b'{"response_id":"r","question":"effort","rating":5} {}', "not_json"),
    ("lone surrogate", b'{"response_id":"\\ud800","question":"effort","rating":5}', "not_json"),
    ("array", b"[1, 2]", "wrong_type"),
    ("null", b"null", "wrong_type"),
    ("string", b'"text"', "wrong_type"),
    ("not UTF-8", b'{"response_id":"\xff","question":"effort","rating":5}', "not_utf8"),
    ("not UTF-8 at all", b"\xfe\xff\x00{", "not_utf8"),
    ("over 1 MiB", response(comment="x" * (1 << 20)), "too_large"),
    ("nested deeply", b"[" * 100_000 + b"]" * 100_000, "too_deep"),
    ("nested deeply in an unknown field", b'{"x":' + b"[" * 9999 + b"]" * 9999 + b"}", "too_deep"),
    ("no id", response(response_id=None), "missing_field"),
    ("empty id", response(response_id=""), "missing_field"),
    ("no question", response(question=None), "missing_field"),
    ("empty question", response(question=""), "missing_field"),
    ("no rating", {"response_id": "r", "question": "effort"}, "missing_field"),
    ("no touchpoint and no default", response(question="loyalty"), "missing_field"),
    ("blank touchpoint and no default", response(question="loyalty", touchpoint=" "), "missing_field"),
    ("id is a number", response(response_id=1), "wrong_type"),
    ("customer is a number", response(customer_id=1), "wrong_type"),
    ("interaction is a list", response(interaction_id=[]), "wrong_type"),
    ("question is a number", response(question=1), "wrong_type"),
    ("rating is a text", response(rating="5"), "wrong_type"),
    ("rating is true", response(rating=True), "wrong_type"),
    ("rating is a list", response(rating=[5]), "wrong_type"),
    ("time is a text", response(event_time_ms="2025-11-21"), "wrong_type"),
    ("time is true", response(event_time_ms=True), "wrong_type"),
    ("update time is a text", response(updated_at_ms="now"), "wrong_type"),
    ("touchpoint is a number", response(touchpoint=5), "wrong_type"),
    ("touchpoint too long", response(touchpoint="ä" * 65), "wrong_type"),
    ("touchpoint with a control character", response(touchpoint="a\x1fb"), "wrong_type"),
    ("touchpoint with a C1 control character", response(touchpoint="a\x85b"), "wrong_type"),
    ("segments are a list", response(segments=[]), "wrong_type"),
    ("segments are a text", response(segments="web"), "wrong_type"),
    ("segment value is a number", response(segments={"channel": 5}), "wrong_type"),
    ("segment value too long", response(segments={"agent": "x" * 129}), "wrong_type"),
    ("segment value with a line break", response(segments={"agent": "a\nb"}), "wrong_type"),
    ("id over 256 bytes", response(response_id="x" * 257), "id_too_long"),
    ("id over 256 bytes in few letters", response(response_id="ä" * 129), "id_too_long"),
    ("customer id over 256 bytes", response(customer_id="x" * 257), "id_too_long"),
    ("interaction id over 256 bytes", response(interaction_id="x" * 257), "id_too_long"),
    ("undeclared question", response(question="fun"), "unknown_question"),
    ("between two ratings", response(rating=5.5), "off_scale"),
    ("below the scale", response(rating=0), "off_scale"),
    ("above the scale", response(rating=8), "off_scale"),
    ("beyond doubles", b'{"response_id":"r","question":"effort","rating":1e400}', "off_scale"),
    ("beyond 64 bits", response() | {"rating": 2**63}, "off_scale"),
    ("huge rating", b'{"response_id":"r","question":"effort","rating":123456789012345678901}', "off_scale"),
    ("before 1970", response(event_time_ms=-1), "bad_time"),
    ("after 2100", response(event_time_ms=4_102_444_800_000), "bad_time"),
    ("half a millisecond", response(event_time_ms=NOW_MS + 0.5), "bad_time"),
    ("update time before 1970", response(updated_at_ms=-5), "bad_time"),
    ("update time in nanoseconds", response(updated_at_ms=NOW_MS * 10**6), "bad_time"),
    ("before the year 2000", response(event_time_ms=YEAR_2000_MS - 1), "too_old"),
    ("time in seconds", response(event_time_ms=NOW_MS // 1000), "too_old"),
    ("too far ahead", response(event_time_ms=NOW_MS + 300_001), "too_far_ahead"),
]


@pytest.mark.parametrize(("what", "record", "expected"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_bad_record_is_refused_with_its_reason(what: str, record: Any, expected: str) -> None:
    """Each reason of the dead-letter contract, from the careful path and from the stage alike."""
    assert reason(read(record)) == expected
    stage = responses()
    feed(stage, records([response(response_id="before"), record, response(response_id="after")]))
    assert stage.counts == {"accepted": 2, "dead_letter": 1, f"dead_letter:{expected}": 1}


@pytest.mark.parametrize(("what", "record", "expected"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_refusal_tells_no_personal_data(what: str, record: Any, expected: str) -> None:
    """Its detail never repeats a value of the record."""
    found = read(record)
    assert isinstance(found, Refusal)
    assert "xxx" not in found.detail
    assert "r-1" not in found.detail


def test_an_undeclared_touchpoint_is_refused_only_where_strict() -> None:
    """Without strict = true it is a touchpoint like others."""
    record = response(touchpoint="elsewhere")
    assert answer(record).touchpoint == "elsewhere"
    assert reason(read(record, Checks(catalog(strict=True)))) == "unknown_touchpoint"
    stage = responses(Intake(catalog(strict=True), 1))
    feed(stage, records([record]))
    assert stage.counts["dead_letter:unknown_touchpoint"] == 1


@pytest.mark.parametrize("rating", [b"5", b"5.0", b"5e0", b"50e-1"])
def test_a_whole_number_is_a_rating_however_it_is_written(rating: bytes) -> None:
    """5.0 is 5."""
    found = answer(b'{"response_id":"r","question":"effort","rating":%b}' % rating)
    assert found.rating == 5
    assert isinstance(found.rating, int)


def test_limits_are_inclusive() -> None:
    """256 bytes of id, 128 of a name, five minutes ahead and the first moment of 2000 are all taken."""
    found = answer(response(response_id="x" * 256, touchpoint="ä" * 64, event_time_ms=NOW_MS + 300_000))
    assert found.touchpoint == "ä" * 64
    assert answer(response(event_time_ms=YEAR_2000_MS)).event_time_ms == YEAR_2000_MS


def test_names_are_trimmed_and_empty_ones_count_as_missing() -> None:
    """White space around a touchpoint or a segment value means nothing."""
    found = answer(
        response(touchpoint="  cart\u00a0", segments={"channel": " web ", "agent": " ", "plan": 7})
    )
    assert found.touchpoint == "cart"
    assert found.fields == ("web", None)


def test_what_is_left_out_has_its_default() -> None:
    """The question's touchpoint, no time of its own, no link, no comment."""
    found = answer({"response_id": "r", "question": "effort", "rating": 1, "more": [1], "comment": 5})
    assert found == Answer("r", EFFORT, 1, "checkout", (None, None), None, None, False, None, None)


def test_an_empty_interaction_id_is_no_link() -> None:
    """A field that is there but empty says nothing."""
    assert not answer(response(interaction_id="")).linked
    assert answer(response(interaction_id="i")).linked


def test_a_segment_value_that_is_not_listed_is_other() -> None:
    """Only where the segment lists its values."""
    assert answer(response(segments={"channel": "fax", "agent": "fax"})).fields == ("other", "fax")


def test_a_withdrawal_needs_no_touchpoint() -> None:
    """``rating`` null is not a missing rating."""
    found = answer(response(question="loyalty", rating=None))
    assert (found.rating, found.touchpoint) == (None, None)


def test_files_may_hold_any_time_since_1970() -> None:
    """Replay and score know no clock."""
    checks = Checks.for_files(CATALOG)
    assert answer(response(event_time_ms=5), checks).event_time_ms == 5
    assert answer(response(event_time_ms=NOW_MS * 2), checks).event_time_ms == NOW_MS * 2
    assert reason(read(response(event_time_ms=-5), checks)) == "bad_time"


def test_a_record_without_any_usable_time_is_refused() -> None:
    """A timestamp of -1 is none."""
    record = raw(response(event_time_ms=None))
    assert reason(read_response(record, -1, CHECKS)) == "bad_time"


def test_a_comment_is_kept_only_where_its_question_wants_it() -> None:
    """Elsewhere it is not even looked at."""
    checks = Checks(catalog(questions={"effort": EFFORT, "remarks": REMARKS}))
    assert answer(response(comment="fine"), checks).comment is None
    assert answer(response(comment=7), checks).comment is None
    assert answer(response(question="remarks", comment="fine"), checks).comment == "fine"
    assert reason(read(response(question="remarks", comment=7), checks)) == "wrong_type"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"interaction_id": None}, "missing_field"),
        ({"touchpoint": " "}, "missing_field"),
        ({"interaction_id": "x" * 257}, "id_too_long"),
        ({"outcome": "fine"}, "wrong_type"),
        ({"outcome": 1}, "wrong_type"),
        ({"duration_s": "9"}, "wrong_type"),
        ({"duration_s": -1}, "wrong_type"),
        ({"duration_s": 10**400}, "wrong_type"),
        ({"transfers": 10**400}, "wrong_type"),
        ({"wait_s": True}, "wrong_type"),
        ({"errors": 1.5}, "wrong_type"),
        ({"errors": -1}, "wrong_type"),
        ({"contacts": 10**10}, "wrong_type"),
        ({"channel": 5}, "wrong_type"),
        ({"segments": 5}, "wrong_type"),
        ({"event_time_ms": 1}, "too_old"),
    ],
)
def test_a_bad_interaction_is_refused_with_its_reason(fields: dict[str, Any], expected: str) -> None:
    """Its numbers are checked too: what is summed must be a number."""
    assert reason(read_interaction(raw(interaction(**fields)), NOW_MS, CHECKS)) == expected


def test_an_interaction_becomes_a_tally_of_whole_numbers() -> None:
    """Seconds become milliseconds, what is missing counts nowhere."""
    found = contact(
        interaction(outcome="unresolved", duration_s=182.0004, contacts=1, errors=2.0, channel=" web ")
    )
    tally = dict(zip(INTERACTION_FIELDS, found.vector, strict=True))
    assert {name: value for name, value in tally.items() if value} == {
        "n": 1,
        "unresolved": 1,
        "duration_n": 1,
        "duration_ms": 182_000,
        "contacts": 1,
        "errors": 2,
    }
    assert found.fields == ("web", None)


def test_the_channel_of_an_interaction_gives_way_to_its_segments() -> None:
    """``segments.channel`` says it more exactly."""
    assert contact(interaction(channel="web", segments={"channel": "phone"})).fields == ("phone", None)


# -- the fast path agrees ----------------------------------------------------------------------------------------

WORD = st.sampled_from(
    ["", " ", "a", "b ", "web", "fax", "checkout", "x" * 129, "x" * 257, "ä" * 64, "a\x00"]
)
ODD = st.sampled_from([None, 5, 5.0, True, [], {}, {"channel": "web"}, "5", 2**63, 2**70, -1, 1e300])
MOMENT = st.sampled_from([NOW_MS, NOW_MS - 60_000, NOW_MS + 300_001, NOW_MS - 49 * 3_600_000, 5, -1, 2**62])
RECORD = st.fixed_dictionaries(
    {},
    optional={
        "response_id": st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"]) | WORD | ODD,
        "question": st.sampled_from(["effort", "loyalty"]) | st.sampled_from(["effort", "fun", "", None, 5]),
        "rating": st.integers(0, 11) | st.sampled_from([1, 5, 7]) | ODD,
        "touchpoint": st.sampled_from(["checkout", "cart", "cart ", "search"]) | WORD | ODD,
        "event_time_ms": MOMENT | ODD,
        "updated_at_ms": st.sampled_from([1, 2, 3, 4_102_444_800_000]) | ODD,
        "interaction_id": WORD | ODD,
        "customer_id": WORD | ODD,
        "segments": st.dictionaries(
            st.sampled_from(["channel", "agent", "plan"]), st.sampled_from(["web", "ann", " ", "fax"]) | ODD
        )
        | ODD,
        "comment": WORD | ODD,
    },
).map(lambda some: {"response_id": "z", "question": "effort", "rating": 3} | some)
BROKEN = st.sampled_from(
    [
        None,
        b"",
        b"[]",
        b"{",
        b'{"response_id":"u","question":"effort","rating":4,"comment":"\xff"}',
        b'{"response_id":"v","question":"effort","rating":4,"comment":1e400}',
        b'{"response_id":"w","question":"effort","rating":4,"segments":{"plan":1e400}}',
        b'{"response_id":"w","question":"effort","rating":4,"segments":{"plan":"\xff"}}',
        b'{"response_id":"x","question":"effort","rating":4,"segments":{"\xff":1}}',
        b'{"response_id":"y","question":"effort","rating":4,"segments":{"agent":"\xff"}}',
        b'{"response_id":"y","question":"effort","rating":4,"rating":1.0}',
    ]
)
DECLARED = {
    "full": CATALOG,
    "bare": catalog(segments=(), questions={"effort": EFFORT, "loyalty": LOYALTY, "remarks": REMARKS}),
    "few": catalog(max_undeclared=1),
}


@pytest.mark.parametrize("declared", list(DECLARED))
@pytest.mark.parametrize("replay", [False, True], ids=["live", "replay"])
@given(lot=st.lists(RECORD | RECORD | BROKEN, min_size=1, max_size=30))
@settings(derandomize=True, max_examples=120, deadline=None)
def test_a_whole_batch_means_what_its_records_mean_one_by_one(declared: str, replay: bool, lot: Any) -> None:
    """The numpy path and the careful path take the same records, with the same tallies, counts and refusals."""
    intake = Intake(DECLARED[declared], 1, replay=replay)
    whole, single, careful = responses(intake), responses(intake), responses(intake)
    fed = records(lot)
    feed(whole, fed)
    feed(single, fed, size=1)
    for record in fed:
        careful._consider(record)
    assert whole.counts == single.counts == careful.counts
    assert tallies(whole) == tallies(single) == tallies(careful)
    assert whole.newest_ms == single.newest_ms == careful.newest_ms
    dead = [
        [(record.offset, refusal) for record, refusal in stage._dead] for stage in (whole, single, careful)
    ]
    assert dead[0] == dead[1] == dead[2]
    assert whole._comments == single._comments == careful._comments
    assert whole._profiles.table == single._profiles.table == careful._profiles.table
