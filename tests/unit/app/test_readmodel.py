"""The read model holds the newest record of each series and nothing else."""

from __future__ import annotations

import logging

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.topics import INTERACTION_STATS, SCORES
from app.readmodel import ReadModel
from tests.score_records import EFFORT, LOYALTY, key_of, score_record, stats_record


def put(model: ReadModel, offset: int, record, partition: int = 0) -> None:
    """Applies a record as published."""
    topic = SCORES if hasattr(record, "question") else INTERACTION_STATS
    model.apply(topic, partition, offset, key_of(record), msgspec.json.encode(record))


def shown(model: ReadModel, **wanted) -> list:
    """The scores that match, in order."""
    return [record for _, record in model.scores(**wanted)]


def test_the_newest_record_of_a_series_replaces_the_older():
    """One series has one record: the last one published."""
    model = ReadModel()
    put(model, 0, score_record(EFFORT, [1, 0, 0, 0, 0, 0, 9]))
    newer = score_record(EFFORT, [1, 0, 0, 0, 0, 0, 10])
    put(model, 1, newer)
    assert shown(model) == [newer]


def test_a_record_read_again_changes_nothing():
    """An older record never replaces a newer one, and a removed series does not come back."""
    model = ReadModel()
    older, newer = score_record(EFFORT, [1] * 7), score_record(EFFORT, [2] * 7)
    gone = score_record(LOYALTY, [1] * 11)
    put(model, 3, older)
    put(model, 4, gone)
    put(model, 5, newer)
    model.apply(SCORES, 0, 6, key_of(gone), None)
    put(model, 3, older)
    put(model, 4, gone)
    assert shown(model) == [newer]


def test_a_tombstone_removes_its_series_alone():
    """A record without a value ends a series."""
    model = ReadModel()
    stays, goes = score_record(EFFORT, [1] * 7), score_record(EFFORT, [1] * 7, window="5m")
    put(model, 0, stays)
    put(model, 1, goes)
    model.apply(SCORES, 0, 2, key_of(goes), None)
    model.apply(SCORES, 0, 3, key_of(goes), None)
    assert shown(model) == [stays]
    assert model.held(SCORES) == 1


def test_a_series_without_answers_is_kept():
    """That n is 0 is something to know: the survey has stopped."""
    model = ReadModel()
    empty = score_record(EFFORT, [0] * 7)
    put(model, 0, empty)
    assert shown(model) == [empty]
    assert (empty.n, empty.value) == (0, None)


def test_offsets_of_different_partitions_and_topics_are_not_compared():
    """A low offset is new where the partition or the topic is another."""
    model = ReadModel()
    put(model, 100, score_record(EFFORT, [1] * 7))
    put(model, 0, score_record(EFFORT, [1] * 7, touchpoint="search"), partition=1)
    put(model, 0, stats_record())
    assert model.held(SCORES) == 2
    assert model.held(INTERACTION_STATS) == 1


def test_answers_are_sorted_by_touchpoint_question_segment_and_window():
    """The order does not depend on when a series came."""
    model = ReadModel()
    records = [
        score_record(EFFORT, [1] * 7, "a", "1h"),
        score_record(EFFORT, [1] * 7, "a", "5m"),
        score_record(EFFORT, [1] * 7, "a", "1h", {"channel": "web"}),
        score_record(LOYALTY, [1] * 11, "a", "1h"),
        score_record(EFFORT, [1] * 7, "b", "1h"),
    ]
    for offset, record in enumerate(reversed(records)):
        put(model, offset, record)
    names = [(each.touchpoint, each.question, str(each.segment), each.window) for each in shown(model)]
    assert names == [
        ("a", "checkout-effort", "{'channel': 'web'}", "1h"),
        ("a", "checkout-effort", "{}", "1h"),
        ("a", "checkout-effort", "{}", "5m"),
        ("a", "loyalty", "{}", "1h"),
        ("b", "checkout-effort", "{}", "1h"),
    ]


def test_filters_match_exactly_and_together():
    """Each filter narrows; a segment matches whatever the order of its names."""
    model = ReadModel()
    both = score_record(EFFORT, [1] * 7, segment={"plan": "pro", "channel": "web"})
    web = score_record(EFFORT, [1] * 7, segment={"channel": "web"})
    everybody = score_record(EFFORT, [1] * 7)
    other = score_record(LOYALTY, [1] * 11, "checkout-2", "5m")
    for offset, record in enumerate((both, web, everybody, other)):
        put(model, offset, record)
    assert shown(model, segment={"channel": "web", "plan": "pro"}) == [both]
    assert shown(model, segment={"channel": "web"}) == [web]
    assert shown(model, segment={}) == [everybody, other]
    assert shown(model, touchpoint="checkout", window="1h", segment={}) == [everybody]
    assert shown(model, question="loyalty") == [other]
    assert shown(model, touchpoint="check") == []


def test_interaction_statistics_are_held_beside_the_scores():
    """The two topics share nothing but the limit."""
    model = ReadModel()
    record, web = stats_record(), stats_record(segment={"channel": "web"})
    put(model, 0, record)
    put(model, 1, web)
    assert [each for _, each in model.interaction_stats(segment={"channel": "web"})] == [web]
    assert [each for _, each in model.interaction_stats(touchpoint="checkout", window="1h")] == [web, record]
    model.apply(INTERACTION_STATS, 0, 2, key_of(web), None)
    assert [each for _, each in model.interaction_stats()] == [record]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"", b"{}"),
        (b"not json", b"{}"),
        (b'["checkout","q",{},"1h"]', b"not json"),
        (b'["checkout","q",{},"1h"]', b'{"touchpoint":"checkout"}'),
        (b'["checkout","q",{},"1h"]', b"\xff\xfe"),
        (b'["checkout","1h"]', None),
        (b'["check\xffout","q",{},"1h"]', None),
        (
            key_of(score_record(EFFORT, [1] * 7, window="5m")),
            msgspec.json.encode(score_record(EFFORT, [1] * 7)),
        ),
    ],
)
def test_a_record_that_cannot_be_read_is_counted_and_harms_nothing(key, value):
    """What is not a score, or names another series than its key, is skipped."""
    model = ReadModel()
    stays = score_record(EFFORT, [1] * 7)
    put(model, 0, stays)
    model.apply(SCORES, 0, 1, key, value)
    assert model.undecodable[SCORES] == 1
    assert model.applied[SCORES] == 1
    assert shown(model) == [stays]


def test_fields_of_a_later_version_are_ignored():
    """Fields may be added to a record; readers of this version go on."""
    model = ReadModel()
    record = score_record(EFFORT, [1] * 7)
    value = msgspec.json.encode({**msgspec.to_builtins(record), "added_later": [1, 2]})
    model.apply(SCORES, 0, 0, key_of(record), value)
    assert shown(model) == [record]


def test_series_beyond_the_limit_are_refused_counted_and_said_once(caplog):
    """The model is bounded over all topics; known series go on being updated, and a freed place is used."""
    model = ReadModel(max_series=2)
    first, second = score_record(EFFORT, [1] * 7, "a"), stats_record("b")
    third = score_record(EFFORT, [1] * 7, "c")
    with caplog.at_level(logging.WARNING, logger="app.readmodel"):
        put(model, 0, first)
        put(model, 0, second)
        put(model, 1, third)
        put(model, 2, third)
    assert (model.beyond_limit(SCORES), model.beyond_limit(INTERACTION_STATS)) == (2, 0)
    assert len(caplog.records) == 1
    newer = score_record(EFFORT, [2] * 7, "a")
    put(model, 3, newer)
    assert shown(model) == [newer]
    model.apply(SCORES, 0, 4, key_of(first), None)
    put(model, 5, third)
    assert shown(model) == [third]


def test_a_partition_that_begins_anew_takes_its_series_along():
    """After forgetting a partition its records count from offset 0 again; others stay."""
    model = ReadModel()
    stays, goes = score_record(EFFORT, [1] * 7, "a"), score_record(EFFORT, [1] * 7, "b")
    put(model, 7, stays, partition=0)
    put(model, 7, goes, partition=1)
    model.forget(SCORES, 1)
    assert shown(model) == [stays]
    anew = score_record(EFFORT, [3] * 7, "b")
    put(model, 0, anew, partition=1)
    assert shown(model) == [stays, anew]


STEPS = st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(1, 9))), max_size=40)


@settings(derandomize=True, deadline=None)
@given(STEPS, st.lists(st.tuples(st.integers(1, 15), st.integers(0, 20)), max_size=6))
def test_rereading_any_stretch_gives_what_one_reading_gives(steps, interruptions):
    """Reading on from any earlier offset after any number of interruptions ends with the last word of each series."""
    log, expected = [], {}
    for series, count in steps:
        record = score_record(EFFORT, [count or 0] * 7, touchpoint=f"t{series}")
        log.append((key_of(record), None if count is None else msgspec.json.encode(record)))
        expected[record.touchpoint] = None if count is None else record
    model, position = ReadModel(), 0
    for ahead, back in [*interruptions, (len(log), 0)]:
        for offset in range(position, min(position + ahead, len(log))):
            model.apply(SCORES, 0, offset, *log[offset])
        position = max(0, min(position + ahead, len(log)) - back)
    for offset in range(position, len(log)):
        model.apply(SCORES, 0, offset, *log[offset])
    assert shown(model) == [record for _, record in sorted(expected.items()) if record is not None]
