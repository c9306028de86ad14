"""Combinations of question, touchpoint and segment values: numbers, bounds, and what a restart keeps of them."""

from __future__ import annotations

import pytest

from agents.events import Refusal
from agents.profiles import Profiles
from agents.source import Intake
from scoring.catalog import Segment
from tests.unit.agents.streams import (
    CATALOG,
    NOW_MS,
    catalog,
    changelog_of,
    feed,
    reborn,
    records,
    response,
    responses,
    tallies,
)

FEW = catalog(max_undeclared=2, segments=())


def test_a_combination_keeps_its_number() -> None:
    """Numbers are given out in order and never again."""
    profiles = Profiles(CATALOG)
    wanted = [("effort", "cart", ("web", None)), ("effort", "cart", ()), ("loyalty", "cart", (None, "ann"))]
    assert [profiles.number(*each) for each in wanted * 2] == [0, 1, 2, 0, 1, 2]
    assert profiles.find("effort", "cart", (None, None)) == 1
    assert profiles.find("effort", "search", ()) is None
    assert len(profiles) == 3


def test_a_profile_feeds_everybody_and_each_segment_that_it_carries() -> None:
    """A combination only where all of its fields have a value."""
    profiles = Profiles(CATALOG)
    for fields in ((None, None), ("web", None), ("web", "ann")):
        profiles.number("effort", "cart", fields)
    assert [len(profile.codes) for profile in profiles.table] == [1, 2, 4]
    assert (profiles.table[0].low, profiles.table[0].high) == (1, 7)


def test_undeclared_touchpoints_are_bounded_in_offset_order() -> None:
    """The first two are taken for good, a third is refused, a declared one never."""
    stage = responses(Intake(FEW, 1))
    names = ["a", "b", "c", "a", "checkout", "c", "b"]
    fed = [response(response_id=str(at), touchpoint=name) for at, name in enumerate(names)]
    feed(stage, records(fed))
    assert stage.counts == {"accepted": 5, "dead_letter": 2, "dead_letter:touchpoint_limit": 2}
    assert set(tallies(stage)) == {"a", "b", "checkout"}


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_refused_answer_takes_no_place_among_the_touchpoints(size: int) -> None:
    """Off the scale, too late, too far ahead or without an id: its touchpoint was never accepted."""
    stage = responses(Intake(FEW, 1))
    fed = [
        response(response_id="1", touchpoint="a"),
        response(response_id="2", touchpoint="x1", rating=9),
        response(response_id="3", touchpoint="x2", event_time_ms=NOW_MS - 50 * 3_600_000),
        response(response_id="4", touchpoint="x3", event_time_ms=NOW_MS + 10**7),
        response(response_id="", touchpoint="x4"),
        response(response_id="6", touchpoint="x5", updated_at_ms=-1),
        response(response_id="7", touchpoint="b"),
        response(response_id="8", touchpoint="c"),
    ]
    feed(stage, records(fed), size=size)
    assert stage.counts["accepted"] == 2
    assert set(tallies(stage)) == {"a", "b"}
    assert stage.counts["dead_letter:touchpoint_limit"] == 1


def test_a_restart_keeps_the_bounds_and_the_numbers() -> None:
    """The next process decides as this one would have."""
    stage = responses(Intake(FEW, 1))
    feed(stage, records([response(response_id=name, touchpoint=name) for name in "ab"]))
    changelog = changelog_of(stage.checkpoint(NOW_MS))
    made = reborn(stage, changelog + changelog[:3])
    assert made._profiles.table == stage._profiles.table
    feed(made, records([response(response_id=name, touchpoint=name) for name in "cab"], first=2))
    assert made.counts == {"accepted": 2, "duplicate": 2, "dead_letter": 1, "dead_letter:touchpoint_limit": 1}


def test_a_replay_knows_no_bounds() -> None:
    """Files are finite."""
    stage = responses(Intake(FEW, 1, replay=True))
    feed(stage, records([response(response_id=str(at), touchpoint=f"t{at}") for at in range(20)]))
    assert stage.counts == {"accepted": 20}


def test_raw_segment_values_are_bounded_per_touchpoint() -> None:
    """Beyond 1,000 (or 20 x max_values) what is new counts as ``other``; what is known stays, after a restart too."""
    declared = catalog(segments=(Segment("agent", ("agent",), max_values=2),))
    profiles = Profiles(declared)
    for at in range(1_000):
        profiles.number("effort", "cart", (f"agent {at}",))
    late = profiles.number("effort", "cart", ("agent 1000",))
    assert not isinstance(late, Refusal)
    assert profiles.table[late].fields == ("other",)
    assert profiles.number("effort", "cart", ("agent 1001",)) == late
    assert profiles.find("effort", "cart", ("agent 1002",)) == late
    assert profiles.number("effort", "cart", ("agent 7",)) == 7
    elsewhere = profiles.number("effort", "search", ("agent 1000",))
    assert not isinstance(elsewhere, Refusal)
    assert profiles.table[elsewhere].fields == ("agent 1000",)

    made = Profiles(declared)
    for number, raw in profiles.drain():
        made.restore(number, raw)
    made.resume()
    assert made.table == profiles.table
    assert made.number("effort", "cart", ("agent 5000",)) == late
    assert made.drain() == []
