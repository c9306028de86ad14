"""A changed configuration is found out when state is read back, and never misread."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.fingerprint import Fingerprint, StateMismatchError
from agents.source import Intake
from scoring.alerts.rules import Severity, StaleRule
from scoring.catalog import Catalog, Segment, Timing, Touchpoint
from scoring.questions import Scale, question
from scoring.windows import calendar_window, live_window
from tests.unit.agents.pipeline import Pipeline
from tests.unit.agents.streams import (
    CATALOG,
    DAY_MS,
    EFFORT,
    LOYALTY,
    NOW_MS,
    REMARKS,
    catalog,
    changelog_of,
    feed,
    raw,
    records,
    response,
    responses,
)


def stored(declared: Catalog = CATALOG) -> Pipeline:
    """A pipeline of one partition that has counted two answers."""
    made = Pipeline(declared, 1)
    for at, name in enumerate(("effort", "loyalty")):
        fields = {"agent": "ann", "channel": "web"}
        record = response(response_id=f"r{at}", question=name, touchpoint="cart", segments=fields)
        made.put(0, 0, NOW_MS, raw(record))
    made.run(NOW_MS)
    return made


def under(declared: Catalog, before: Pipeline, partitions: int = 1) -> Pipeline:
    """The same state, read back under another configuration by every stage."""
    made = Pipeline(declared, partitions)
    made.logs, made.partials, made.changelogs = before.logs, before.partials, before.changelogs
    for key in [*made.sources, 0]:
        if key in before.changelogs:
            made.crash(key, compacted=True)
    return made


CHANGED: dict[str, dict[str, Any]] = {
    "scale": {"questions": {"effort": question("effort", "ces", Scale(1, 5, best=5)), "loyalty": LOYALTY}},
    "direction": {
        "questions": {"effort": question("effort", "ces", Scale(1, 7, best=1)), "loyalty": LOYALTY}
    },
    "metric": {"questions": {"effort": question("effort", "csat", Scale(1, 7, best=7)), "loyalty": LOYALTY}},
    "segments removed": {"segments": ()},
    "segments added": {"segments": (*CATALOG.segments, Segment("plan", ("plan",)))},
    "segments renamed": {"segments": (Segment("device", ("device",)), *CATALOG.segments[1:2])},
    "live windows": {"live": (live_window("7d"),)},
    "calendar windows": {"calendar": (calendar_window("1d"),)},
    "time zone": {"timezone": "Europe/Warsaw"},
    "half-hour zone": {"timezone": "Asia/Kolkata"},
    "horizon": {"timing": Timing(horizon_ms=DAY_MS)},
}


@pytest.mark.parametrize("changes", CHANGED.values(), ids=list(CHANGED))
def test_state_of_another_meaning_is_refused_with_the_remedy(changes: dict[str, Any]) -> None:
    """Whatever the stored tallies depend on; the message says what to do."""
    with pytest.raises(StateMismatchError, match="Put the old value back"):
        under(catalog(**changes), stored())


@pytest.mark.parametrize("stage", ["intake", "scores"])
def test_each_stage_finds_a_changed_scale_by_itself(stage: str) -> None:
    """They may run in different processes."""
    before = stored()
    made = Pipeline(catalog(**CHANGED["scale"]), 1)
    made.changelogs = before.changelogs
    with pytest.raises(StateMismatchError, match=r"questions\.effort"):
        made.crash((0, 0) if stage == "intake" else 0)


def test_another_partition_count_is_refused_with_the_remedy() -> None:
    """Touchpoints would change their partition."""
    with pytest.raises(StateMismatchError, match="made with 1 partitions"):
        under(CATALOG, stored(), partitions=2)


@pytest.mark.parametrize("key", [(0, 0), 0], ids=["intake", "scores"])
def test_a_format_of_another_version_is_refused_with_the_remedy(key: Any) -> None:
    """Neither a value nor the fingerprint of a later version is guessed at."""
    before = stored()
    changelog = before.changelogs[key]
    for at, (name, value) in enumerate(changelog):
        assert value is not None
        later = value.replace(b'"format":1', b'"format":2') if name == b"c" else b"\x02" + value[1:]
        made = Pipeline(CATALOG, 1)
        made.changelogs = {key: [*changelog[:at], (name, later)]}
        with pytest.raises(StateMismatchError, match="Run the version that wrote it"):
            made.crash(key)


@pytest.mark.parametrize(
    "changes",
    [
        {"questions": {"effort": EFFORT, "loyalty": LOYALTY, "remarks": REMARKS}},
        {"questions": {"effort": replace(EFFORT, touchpoint="search", min_n=5), "loyalty": LOYALTY}},
        {"touchpoints": {"cart": Touchpoint("cart")}},
        {"max_undeclared": 5},
        {"privacy_floor": 10},
    ],
    ids=["question added", "default changed", "touchpoint declared", "bound changed", "floor changed"],
)
def test_what_stored_tallies_do_not_depend_on_may_change(changes: dict[str, Any]) -> None:
    """State goes on under it, with everything that was counted."""
    made = under(catalog(**changes), stored())
    made.put(0, 0, NOW_MS, raw(response(response_id="r0", rating=1, touchpoint="cart")))
    made.run(NOW_MS)
    assert made.counts() == {"accepted": 2, "edit": 1}


def test_a_question_may_be_removed_and_the_others_go_on() -> None:
    """What was counted for it is published no more; nothing fails."""
    made = under(catalog(questions={"loyalty": LOYALTY}), stored())
    made.put(0, 0, NOW_MS, raw(response(question="loyalty", response_id="r9", touchpoint="cart", rating=1)))
    made.put(0, 0, NOW_MS, raw(response(response_id="r9", touchpoint="cart")))
    made.run(NOW_MS)
    made.fall_idle(NOW_MS + 3 * DAY_MS)
    assert made.counts()["dead_letter:unknown_question"] == 1
    assert {key[1] for key in made.windows()} == {"loyalty"}


def test_a_removed_question_may_not_come_back_with_another_scale() -> None:
    """What was counted for it is still stored."""
    without = under(catalog(questions={"loyalty": LOYALTY}), stored())
    without.put(0, 0, NOW_MS, raw(response(question="loyalty", response_id="r9", touchpoint="cart")))
    without.run(NOW_MS)
    with pytest.raises(StateMismatchError, match=r"questions\.effort"):
        under(catalog(**CHANGED["scale"]), without)


def test_the_fingerprint_is_stored_once() -> None:
    """A checkpoint without a change of configuration does not repeat it."""
    stage = responses(Intake(CATALOG, 1))
    feed(stage, records([response()]))
    first = changelog_of(stage.checkpoint(NOW_MS))
    feed(stage, records([response(response_id="r-2")], first=1))
    second = changelog_of(stage.checkpoint(NOW_MS))
    assert [key for key, _ in first].count(b"c") == 1
    assert b"c" not in [key for key, _ in second]


def test_the_first_rule_is_refused_where_the_state_has_no_minutes_and_the_message_says_why():
    """With a live window of up to an hour, as by default, rules come and go as they like."""
    rule = StaleRule("stale", Severity.WARNING)
    for live, refused in ((("5m", "7d"), True), (("5m", "1h"), False)):
        windows = tuple(map(live_window, live))
        before, after = (Fingerprint(catalog(live=windows, alerts=rules)) for rules in ((), (rule,)))
        (record,) = before.fresh()
        after.restore(record.value or b"")
        if refused:
            with pytest.raises(StateMismatchError, match=r"tallies by the minute.*windows\.live"):
                after.check()
        else:
            after.check()
