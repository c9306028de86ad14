"""CloudEvents on the input topics."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.unit.agents.streams import feed, interaction, interactions, records, response, responses, tallies

STRUCTURED = [("content-type", b"application/cloudevents+json; charset=utf-8")]


def wrapped(event: dict) -> dict:
    """A structured CloudEvent around an event."""
    return {"specversion": "1.0", "id": "1", "source": "/survey", "type": "response", "data": event}


def test_a_structured_event_counts_as_its_data() -> None:
    """The same answer, plain and wrapped, is one answer; the wrapped one alone counts too."""
    plain, enclosed = responses(), responses()
    feed(plain, records([response()]))
    lot = [replace(record, headers=STRUCTURED) for record in records([wrapped(response())])]
    feed(enclosed, lot)
    assert tallies(enclosed) == tallies(plain)
    feed(enclosed, records([response()], first=1))
    assert enclosed.counts == {"accepted": 1, "duplicate": 1}


def test_a_structured_interaction_counts_as_its_data() -> None:
    """Interactions may come as CloudEvents just so."""
    stage = interactions()
    feed(stage, [replace(record, headers=STRUCTURED) for record in records([wrapped(interaction())])])
    assert stage.counts == {"accepted": 1}


def test_headers_of_a_binary_event_mean_nothing() -> None:
    """Its value is the event."""
    stage = responses()
    headers = [("ce_specversion", b"1.0"), ("ce_type", b"response"), ("content-type", b"application/json")]
    feed(stage, [replace(record, headers=headers) for record in records([response()])])
    assert stage.counts == {"accepted": 1}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "not_json"),
        (b'{"specversion": "1.0"}', "missing_field"),
        (json.dumps(wrapped(response(rating=9))).encode(), "off_scale"),
        (None, "empty"),
    ],
)
def test_a_broken_structured_event_is_refused_by_the_reasons_of_any_record(
    value: bytes | None, reason: str
) -> None:
    """One dead letter, named by what is wrong."""
    stage = responses()
    feed(stage, [replace(record, headers=STRUCTURED) for record in records([value])])
    assert stage.counts == {"dead_letter": 1, f"dead_letter:{reason}": 1}
