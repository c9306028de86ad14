"""Whatever bytes come: each record is accepted or one dead letter. ``make fuzz`` feeds a million of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.source import Intake
from tests.fuzz.check import Feeder, fuzz
from tests.unit.agents.streams import NOW_MS, REMARKS, Rec, SourceStage, catalog, interactions, responses

INTAKE = Intake(catalog(questions={REMARKS.id: REMARKS}), 1)
TEXTS = st.text(max_size=300)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
)
FIELDS = (
    "response_id interaction_id question rating touchpoint segments event_time_ms updated_at_ms comment outcome "
    "duration_s transfers channel specversion data"
)
NAMES = st.sampled_from(FIELDS.split())
RECORDS = st.dictionaries(NAMES, JSON | st.sampled_from(["remarks", 5, NOW_MS]), max_size=9)


def encoded(value: Any) -> bytes:
    """JSON, where it can be said in UTF-8; else what is left of it."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return repr(value).encode(errors="surrogatepass")


VALUES = st.none() | st.binary(max_size=200) | JSON.map(encoded) | RECORDS.map(encoded)
HEADERS = st.sampled_from(
    [(), (("content-type", b"application/cloudevents+json"),), (("content-type", None),)]
)


def test_twenty_thousand_damaged_records_are_each_counted_once() -> None:
    """No exception, no record that is counted twice or not at all; and both kinds of end are there."""
    for feeder in fuzz(20_000, 7):
        assert feeder.counts["accepted"] > 1_000
        assert len(feeder.refused) > 7


@pytest.mark.parametrize("stage", [responses, interactions], ids=["responses", "interactions"])
@given(lot=st.lists(st.tuples(VALUES, HEADERS), min_size=1, max_size=6))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_any_bytes_are_a_record_or_a_dead_letter(
    stage: Callable[[Intake], SourceStage], lot: list[tuple[bytes | None, Any]]
) -> None:
    """The same for what Hypothesis thinks of: any JSON, fields of any type, and no JSON at all."""
    records = [Rec(at, NOW_MS, b"k", value, headers) for at, (value, headers) in enumerate(lot)]
    Feeder(stage(INTAKE)).feed(records)
