"""What operators may do, and how it is refused when it has no meaning."""

from __future__ import annotations

import pytest

from agents.records import AlertRecord
from app.muting import Muting, maintenance
from app.operations import (
    MAX_SILENCE_MS,
    InvalidOperation,
    NotFiring,
    acknowledge,
    deployment,
    silence,
    withdraw,
)
from app.readmodel import ReadModel
from scoring.alerts.maintenance import Maintenance, Once
from tests.alert_records import alert_record
from tests.score_records import NOW_MS

HOUR_MS = 3_600_000


def silenced(**changes):
    """A silence with one thing changed."""
    given = {
        "author": "ada",
        "reason": "the card provider is down",
        "ends_at_ms": NOW_MS + HOUR_MS,
        "now_ms": NOW_MS,
        "rule": "checkout-*",
    }
    return silence(**(given | changes))


def test_an_acknowledgement_is_the_same_for_the_same_incident():
    """Whoever asks and whenever, it has one id; the next incident has another."""
    alert = alert_record()
    first = acknowledge(alert, "ada", "on it", NOW_MS)
    assert acknowledge(alert, "bob", "me too", NOW_MS + 5).id == first.id
    again = alert_record(sequence=5, fired_at_ms=NOW_MS + HOUR_MS)
    assert acknowledge(again, "ada", "on it", NOW_MS).id != first.id
    assert (first.action, first.fingerprint, first.ends_at_ms) == ("acknowledge", alert.fingerprint, None)


@pytest.mark.parametrize("state", ["inactive", "pending", "resolved"])
def test_only_what_fires_can_be_acknowledged(state):
    """There is nothing to acknowledge, and the message says what to do instead."""
    with pytest.raises(NotFiring, match=f"is {state}, not firing.*Silence it"):
        acknowledge(alert_record(state), "ada", "on it", NOW_MS)


def test_a_silence_holds_what_was_given_and_begins_now():
    """Texts are trimmed; each silence is one of its own."""
    made = silenced(author=" ada ", touchpoint="check*", severity="critical")
    assert (made.author, made.at_ms, made.ends_at_ms) == ("ada", NOW_MS, NOW_MS + HOUR_MS)
    assert (made.rule, made.touchpoint, made.severity) == ("checkout-*", "check*", "critical")
    assert made.id != silenced().id
    assert silenced(at_ms=NOW_MS + 60_000).at_ms == NOW_MS + 60_000


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({"author": None}, "author", "is missing. Say who"),
        ({"author": "  "}, "author", "is empty. Say who"),
        ({"author": "a" * 129}, "author", "longer than 128 bytes"),
        ({"author": "ada\nroot"}, "author", "control character"),
        ({"reason": None}, "reason", "is missing. Say why"),
        ({"reason": "x" * 1001}, "reason", "longer than 1000 bytes"),
        ({"ends_at_ms": None}, "ends_at_ms", "is missing. Give milliseconds"),
        ({"ends_at_ms": NOW_MS // 1000}, "ends_at_ms", "before the year 2000. Give milliseconds"),
        ({"ends_at_ms": NOW_MS}, "ends_at_ms", "over before it begins"),
        ({"at_ms": NOW_MS + 2 * HOUR_MS}, "ends_at_ms", "over before it begins"),
        ({"ends_at_ms": NOW_MS + MAX_SILENCE_MS + 1}, "ends_at_ms", "more than 90 days"),
        ({"at_ms": -1}, "at_ms", "before the year 2000"),
        ({"rule": None}, "rule", 'nothing says which alerts are meant. Give "*"'),
        ({"rule": ""}, "rule", "is empty"),
        ({"touchpoint": "t" * 129}, "touchpoint", "longer than 128 bytes"),
        ({"severity": "crit"}, "severity", "matches no severity. Give warning, critical"),
    ],
)
def test_a_silence_without_meaning_says_which_field_what_value_and_what_to_give(changes, key, said):
    """Nothing is guessed."""
    with pytest.raises(InvalidOperation, match=said) as caught:
        silenced(**changes)
    assert caught.value.key == key
    assert caught.value.value == changes.get(key, NOW_MS + HOUR_MS)


def test_the_longest_silence_is_ninety_days():
    """Exactly that is allowed."""
    assert silenced(ends_at_ms=NOW_MS + MAX_SILENCE_MS).ends_at_ms == NOW_MS + MAX_SILENCE_MS


def test_marking_a_deployment_twice_is_marking_it_once():
    """A deployment is known by its touchpoints and its time, so a pipeline may repeat itself."""

    def marked(**changes):
        given = {"author": "ci", "reason": "shop 4.2", "now_ms": NOW_MS, "touchpoint": "checkout*"}
        return deployment(**(given | changes))

    first = marked(at_ms=NOW_MS - 5)
    assert marked(at_ms=NOW_MS - 5, reason="shop 4.2, again").id == first.id
    assert marked().id != first.id
    assert marked(at_ms=NOW_MS - 5, touchpoint=None).id != first.id
    assert (marked().at_ms, marked(touchpoint=None).touchpoint) == (NOW_MS, "*")


@pytest.mark.parametrize(
    ("at_ms", "said"), [(NOW_MS + 300_001, "lies in the future"), (NOW_MS // 1000, "Give milliseconds")]
)
def test_a_deployment_is_marked_when_it_has_gone_live(at_ms, said):
    """Neither far ahead nor in seconds; a clock that is five minutes off is forgiven."""
    with pytest.raises(InvalidOperation, match=said):
        deployment(author="ci", reason="shop 4.2", now_ms=NOW_MS, at_ms=at_ms)
    assert deployment(author="ci", reason="4.2", now_ms=NOW_MS, at_ms=NOW_MS + 300_000).at_ms > NOW_MS


def test_what_is_taken_back_says_by_whom_and_why():
    """Everything else stays, the time of a deployment above all."""
    made = deployment(author="ci", reason="shop 4.2", now_ms=NOW_MS)
    back = withdraw(made, "ada", "rolled back")
    assert (back.id, back.at_ms, back.withdrawn) == (made.id, NOW_MS, True)
    assert (back.author, back.reason) == ("ada", "rolled back")
    with pytest.raises(InvalidOperation, match="author"):
        withdraw(made, None, "rolled back")


def test_maintenance_mutes_without_anybodys_name():
    """A window of the configuration covers by rule, touchpoint and time; calm alerts are not muted."""
    window = Maintenance("release", Once(NOW_MS, NOW_MS + HOUR_MS), touchpoint="check*")

    def judged(alert: AlertRecord, at_ms: int) -> list[tuple[str, str, str | None]]:
        judge = Muting(ReadModel().operations, lambda: at_ms, maintenance([window])).judge()
        return [(each.by, each.id, each.author) for each in judge(alert)]

    assert judged(alert_record(), NOW_MS) == [("maintenance", "release", None)]
    assert judged(alert_record(), NOW_MS + HOUR_MS) == []
    assert judged(alert_record(touchpoint="search"), NOW_MS) == []
    assert judged(alert_record("resolved"), NOW_MS) == []
