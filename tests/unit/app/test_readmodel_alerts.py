"""The read model holds the newest state of each alert, the last transitions, and what operators did."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.records import AlertRecord, OperationRecord
from agents.topics import ALERTS, OPERATIONS
from app.alertmodel import AlertTable, OperationTable
from app.readmodel import ReadModel
from tests.alert_records import alert_record, silence_record
from tests.score_records import NOW_MS


def put(table: AlertTable, record: AlertRecord, partition: int = 0) -> bool:
    """Applies an alert as published."""
    return table.apply(partition, record.fingerprint.encode(), msgspec.json.encode(record))


def note(table: OperationTable, record: OperationRecord, partition: int = 0) -> bool:
    """Applies an operation as published."""
    return table.apply(partition, record.id.encode(), msgspec.json.encode(record))


def test_the_highest_sequence_of_a_fingerprint_wins():
    """A lower sequence that comes later, from a worker that was slow to die, changes nothing and is counted."""
    table = AlertTable()
    firing = alert_record("firing", 2)
    assert put(table, alert_record("pending", 1))
    assert put(table, firing)
    assert not put(table, alert_record("pending", 1))
    assert table.all() == [firing]
    assert table.superseded == 1


def test_a_tombstone_removes_its_alert_and_its_sequence_alone():
    """Afterwards the alert may begin at sequence 1 again."""
    table = AlertTable()
    stays = alert_record(rule="other")
    put(table, stays)
    put(table, alert_record("firing", 9))
    table.apply(0, alert_record().fingerprint.encode(), None)
    assert table.all() == [stays]
    assert put(table, alert_record("pending", 1))
    assert table.superseded == 0


def test_transitions_are_kept_in_order_and_a_copy_is_none():
    """The same transition published twice, by a worker without transactions, is one transition."""
    table = AlertTable()
    told = [alert_record("pending", 1), alert_record("firing", 2), alert_record("resolved", 3)]
    for record in (told[0], told[1], told[1], told[2]):
        put(table, record)
        put(table, alert_record(rule="other", sequence=record.sequence))
    assert table.transitions(told[0].fingerprint) == told
    assert table.transitions("none") == []


def test_transitions_are_bounded_over_all_alerts():
    """The oldest give way."""
    table = AlertTable(max_transitions=3)
    for sequence in range(1, 6):
        put(table, alert_record("pending" if sequence % 2 else "inactive", sequence))
    assert [each.sequence for each in table.transitions(alert_record().fingerprint)] == [3, 4, 5]


def test_a_full_table_lets_the_alert_go_that_has_been_calm_for_longest():
    """What is firing or pending is never lost to a calm one."""
    table = AlertTable(max_alerts=3)
    put(table, alert_record("resolved", 3, "a"))
    put(table, alert_record("inactive", 2, "b"))
    put(table, alert_record("firing", 2, "c"))
    put(table, alert_record("resolved", 6, "a"))
    assert put(table, alert_record("pending", 1, "d"))
    assert sorted(each.rule for each in table.all()) == ["a", "c", "d"]
    assert put(table, alert_record("firing", 2, "e"))
    assert sorted(each.rule for each in table.all()) == ["c", "d", "e"]
    assert not put(table, alert_record("firing", 2, "f"))
    assert sorted(each.rule for each in table.all()) == ["c", "d", "e"]
    assert (len(table), table.dropped) == (3, 3)


def test_a_partition_that_begins_anew_takes_its_alerts_and_their_transitions_along():
    """Reading it again must neither keep old alerts nor tell a transition twice."""
    table = AlertTable()
    stays, goes = alert_record(rule="stays"), alert_record("resolved", 7, "goes")
    put(table, stays, partition=0)
    put(table, goes, partition=1)
    table.forget(1)
    assert table.all() == [stays]
    assert table.transitions(goes.fingerprint) == []
    assert put(table, alert_record("pending", 1, "goes"), partition=1)
    assert table.transitions(stays.fingerprint) == [stays]


FIRING = msgspec.json.encode(alert_record())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, FIRING),
        (b"0123456789abcdef", FIRING),
        (b"\xff", FIRING),
        (alert_record().fingerprint.encode(), b"{}"),
        (alert_record().fingerprint.encode(), msgspec.json.encode(alert_record("asleep"))),
        (b"", msgspec.json.encode(msgspec.structs.replace(alert_record(), fingerprint=""))),
    ],
)
def test_an_alert_that_cannot_be_read_is_counted_and_harms_nothing(key, value):
    """A state of a later version is not taken for one of ours."""
    model = ReadModel()
    model.apply(ALERTS, 0, 0, key, value)
    assert model.undecodable[ALERTS] == 1
    assert model.alerts.all() == []


STATES = st.sampled_from(["pending", "firing", "resolved", "inactive"])


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), STATES), max_size=60), st.integers(1, 8))
def test_the_limit_holds_whatever_comes_and_the_loud_are_kept(steps, limit):
    """Never more than the limit; with room for all that is loud at any time, each loud alert is there."""
    table, states, most = AlertTable(max_alerts=limit), {}, 0
    for sequence, (rule, state) in enumerate(steps, 1):
        put(table, alert_record(state, sequence, rule))
        states[rule] = state
        loud = {name for name, last in states.items() if last in {"pending", "firing"}}
        most = max(most, len(loud))
        assert len(table) <= limit
        if most < limit:
            assert {each.rule for each in table.all()} >= loud


def test_operations_are_held_until_they_are_withdrawn():
    """Withdrawing and a tombstone both take an operation back; ended ones stay for the reader to judge."""
    table = OperationTable()
    first, second, third = (silence_record(name, at_ms=at) for name, at in (("s1", 3), ("s2", 1), ("s3", 2)))
    for record in (first, second, third, silence_record("a", action="acknowledge")):
        note(table, record)
    assert table.all("silence") == [second, third, first]
    note(table, msgspec.structs.replace(second, withdrawn=True, reason="mended"))
    table.apply(0, b"s3", None)
    assert table.all("silence") == [first]
    assert table.get("s2") is None
    assert table.get("s1") == first


def test_a_full_table_of_operations_lets_the_one_go_that_was_read_first():
    """Alerts are heard rather than missed; writing an operation anew makes it the newest."""
    table = OperationTable(max_operations=2)
    for name in ("a", "b", "a", "c"):
        note(table, silence_record(name))
    assert [each.id for each in table.all("silence")] == ["a", "c"]
    assert (len(table), table.dropped) == (2, 1)


def test_operations_of_a_partition_that_begins_anew_are_forgotten():
    """They are read again from their log."""
    model = ReadModel()
    for partition, name in enumerate(("a", "b")):
        model.apply(OPERATIONS, partition, 5, name.encode(), msgspec.json.encode(silence_record(name)))
    assert model.has_reached(OPERATIONS, 1, 5)
    assert not model.has_reached(OPERATIONS, 1, 6)
    model.forget(OPERATIONS, 1)
    assert not model.has_reached(OPERATIONS, 1, 0)
    assert [each.id for each in model.operations.all("silence")] == ["a"]


def test_an_operation_under_another_key_is_counted_as_unreadable():
    """Its tombstone could never remove it."""
    model = ReadModel()
    model.apply(OPERATIONS, 0, 0, b"other", msgspec.json.encode(silence_record(at_ms=NOW_MS)))
    assert model.undecodable[OPERATIONS] == 1
    assert model.held(OPERATIONS) == 0


def test_alerts_do_not_take_the_places_of_series():
    """Each has a limit of its own."""
    model = ReadModel(max_series=1, max_alerts=1)
    for offset, rule in enumerate("ab"):
        record = alert_record(rule=rule)
        model.apply(ALERTS, 0, offset, record.fingerprint.encode(), msgspec.json.encode(record))
    assert model.held(ALERTS) == 1
    assert model.beyond_limit(ALERTS) == 1
    assert [each.rule for each in model.alerts.all()] == ["a"]
