"""Backtest: transitions are those of an oracle over the rows, and of the pipeline in memory."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import orjson
import pytest

from agents.partials import RESPONSES_KIND
from app.backtest import Backtest, backtest_files
from app.backtest_figures import incidents, lines, rule_counts
from app.mapping import load_mapping
from app.rows import read_files
from scoring.alerts.rules import (
    FalseAlarms,
    RisingRule,
    ScoreName,
    Selector,
    Severity,
    SilentRule,
    StaleRule,
    ThresholdRule,
)
from scoring.windows import live_window
from tests.datasets import write_rows
from tests.unit.agents.pipeline import Pipeline
from tests.unit.app.history import (
    BEGIN_MS,
    COLUMNS,
    DAY_MS,
    HOUR_MS,
    MAPPING,
    MINUTE_MS,
    Answers,
    calm_with_a_hard_hour,
    catalog,
    mapping,
    row,
    rows,
    stepped,
)

HIGH = ThresholdRule(
    "high",
    Severity.CRITICAL,
    Selector(question="effort"),
    for_ms=4 * MINUTE_MS,
    exit_for_ms=6 * MINUTE_MS,
    score=ScoreName.EFFORT_INDEX,
    window="30m",
    window_ms=30 * MINUTE_MS,
    enter=50.0,
    exit=40.0,
    min_n=8,
)
RISING = RisingRule(
    "rising",
    Severity.WARNING,
    false_alarms=FalseAlarms(1, 2 * DAY_MS, over_all=False),
    min_history_ms=DAY_MS,
)
SILENT = SilentRule("silent", Severity.WARNING)
STALE = StaleRule("stale", Severity.WARNING, after_ms=2 * HOUR_MS)


def transitions(made: Backtest, rule: str = "high") -> list[tuple[int, str, int]]:
    """(sequence, state, event time) of each record of a rule."""
    return [
        (one["sequence"], one["state"], one["evidence"]["at_ms"])
        for one in made.records
        if one["rule"] == rule
    ]


def expected(answers: Answers, rule: ThresholdRule) -> list[tuple[int, str, int]]:
    """Transitions of a threshold on the effort index of 1..7, minute by minute, from the answers themselves."""
    out: list[tuple[int, str, int]] = []
    state, since, leaving = "inactive", 0, None
    last_ms = max(answers)[0] // MINUTE_MS * MINUTE_MS + MINUTE_MS
    for now_ms in range(BEGIN_MS, last_ms + 1, MINUTE_MS):
        ratings = [rating for time_ms, rating in answers if now_ms - rule.window_ms <= time_ms < now_ms]
        index = Fraction(100 * sum(7 - rating for rating in ratings), 6 * len(ratings)) if ratings else None
        before = state
        if state == "firing":
            over = index is None or index <= rule.exit
            leaving = (leaving or now_ms) if over else None
            if leaving is not None and now_ms - leaving >= rule.exit_for_ms:
                state = "resolved"
        elif index is None or index <= rule.enter or len(ratings) < rule.min_n:
            state = "inactive" if state == "pending" else state
        elif state != "pending":
            state, since = "pending", now_ms
        elif now_ms - since >= rule.for_ms:
            state, leaving = "firing", None
        if state != before:
            out.append((len(out) + 1, state, now_ms))
    return out


@pytest.mark.parametrize("seed", range(4))
def test_a_hard_hour_fires_and_resolves_where_the_answers_say(tmp_path, seed):
    """To the minute, against exact arithmetic over the rows."""
    answers = calm_with_a_hard_hour(1.0, seed)
    made = stepped(tmp_path, rows(answers), catalog(HIGH))
    found = transitions(made)
    assert found == expected(answers, HIGH)
    hard_ms = BEGIN_MS + DAY_MS // 2
    fired = [at_ms for _, state, at_ms in found if state == "firing"]
    assert any(hard_ms < at_ms < hard_ms + HOUR_MS for at_ms in fired)


def test_the_order_of_the_rows_changes_no_byte(tmp_path):
    """Shuffled files print the same lines, evidence by segments and times of publication included."""
    chance = random.Random(2)
    content = [
        row(at, time_ms, rating, channel=chance.choice(("web", "phone", "fax")))
        for at, (time_ms, rating) in enumerate(calm_with_a_hard_hour(3.0, 5))
    ]
    declared = catalog(
        HIGH, RISING, SILENT, replace(HIGH, id="by", selector=Selector(segment={"channel": "*"}))
    )
    printed = []
    for _ in range(2):
        made = stepped(tmp_path, content, declared)
        printed.append(b"\n".join(orjson.dumps(line) for line in lines(made, declared)))
        chance.shuffle(content)
    assert printed[0] == printed[1]
    assert any(one["evidence"].get("segments") for one in made.records)


def plain(record: dict[str, Any]) -> dict[str, Any]:
    """A record without when it was published, and without what the live windows said at that moment."""
    evidence = {key: value for key, value in record["evidence"].items() if key not in ("segments", "signals")}
    return record | {"evidence": evidence, "published_at_ms": None}


@pytest.mark.parametrize("seed", range(3))
def test_it_publishes_what_the_pipeline_does(tmp_path, seed):
    """The same answers through two partitions, in random batches, give the same records of every alert."""
    chance = random.Random(seed)
    answers = calm_with_a_hard_hour(2.5, seed, per_hour=20)
    declared = catalog(HIGH, RISING, SILENT, STALE)
    made = stepped(tmp_path, rows(answers), declared)

    path = write_rows(tmp_path / "again.csv", COLUMNS, rows(answers))
    pipe = Pipeline(declared, 2, replay=True)
    for event in read_files([path], mapping(tmp_path), declared).events:
        place = int(orjson.loads(event.value)["response_id"][1:]) % 2
        pipe.put(RESPONSES_KIND, place, event.timestamp_ms, event.value)
    pipe.end()
    pipe.run(answers[-1][0], chance)
    published = sorted(
        (record for records in pipe.alerts.values() for record in records),
        key=lambda record: (record["evidence"]["at_ms"], record["fingerprint"], record["sequence"]),
    )
    assert [plain(record) for record in made.records] == [plain(record) for record in published]
    assert {"high"} <= {record["rule"] for record in made.records}


def test_an_edit_counts_from_its_own_time_on(tmp_path):
    """What fired before it has fired; the corrected answers end it."""
    rule = replace(HIGH, for_ms=0, exit_for_ms=0, window="1h", window_ms=HOUR_MS)
    hard = [(BEGIN_MS + at * MINUTE_MS, 1) for at in range(10)]
    edits = [row(at, BEGIN_MS + (20 + at) * MINUTE_MS, 7) for at in range(10)]
    made = stepped(tmp_path, [*rows(hard), *edits], catalog(rule))
    # 8 hard answers fire; of ten, six corrected ones leave an effort index of 40
    assert transitions(made) == [
        (1, "firing", BEGIN_MS + 8 * MINUTE_MS),
        (2, "resolved", BEGIN_MS + 26 * MINUTE_MS),
    ]
    assert made.summary.edits == 10


def test_transitions_are_published_at_their_event_time_in_order(tmp_path):
    """Nothing in the output knows the clock, and sequences of an alert have no gap."""
    made = stepped(tmp_path, rows(calm_with_a_hard_hour(1.0, 3)), catalog(HIGH, SILENT, STALE))
    assert made.records
    assert all(one["published_at_ms"] == one["evidence"]["at_ms"] for one in made.records)
    keys = [(one["published_at_ms"], one["fingerprint"], one["sequence"]) for one in made.records]
    assert keys == sorted(keys)
    for name in {one["fingerprint"] for one in made.records}:
        own = [one["sequence"] for one in made.records if one["fingerprint"] == name]
        assert own == list(range(1, len(own) + 1))


def test_a_silence_inside_the_files_fires_at_its_minute_with_the_live_windows_of_that_minute(tmp_path):
    """Time is told to the rules inside a gap, not only at the next row."""
    stale = replace(STALE, after_ms=3 * HOUR_MS)
    answers = [(BEGIN_MS, 6), (BEGIN_MS + 10 * MINUTE_MS, 5), (BEGIN_MS + DAY_MS, 6)]
    made = stepped(tmp_path, rows(answers), catalog(stale, live=(live_window("1h"), live_window("7d"))))
    assert transitions(made, "stale") == [
        (1, "firing", BEGIN_MS + 11 * MINUTE_MS + 3 * HOUR_MS),
        (2, "resolved", BEGIN_MS + DAY_MS + MINUTE_MS),
    ]
    assert made.records[0]["published_at_ms"] == BEGIN_MS + 11 * MINUTE_MS + 3 * HOUR_MS


def test_rows_that_are_refused_move_no_time(tmp_path):
    """A row of a far future that is off the scale fires no silence."""
    content = [*rows([(BEGIN_MS, 6)]), row(9, BEGIN_MS + 300 * DAY_MS, 99)]
    made = stepped(tmp_path, content, catalog(STALE))
    assert made.records == []
    assert made.summary.dead_letters == {"off_scale": 1}
    assert (made.first_ms, made.last_ms) == (BEGIN_MS, BEGIN_MS + MINUTE_MS)


def test_interactions_are_stepped_beside_the_answers(tmp_path):
    """A share of unresolved interactions fires from the same files."""
    rule = ThresholdRule(
        "unresolved", Severity.WARNING, score=ScoreName.UNRESOLVED_SHARE, enter=0.5, exit=0.4, min_n=4
    )
    (tmp_path / "mapping.toml").write_text(
        '[[interactions]]\ntouchpoint = { column = "place" }\ninteraction_id = { column = "id" }\n'
        'event_time = { columns = ["at"], format = "%Y-%m-%d %H:%M:%S.%f", timezone = "UTC" }\n'
        'outcome = { column = "rating" }\n'
    )
    outcomes = ["resolved"] * 6 + ["unresolved"] * 8
    content = [
        row(at, BEGIN_MS + at * MINUTE_MS, 1) | {"rating": outcome} for at, outcome in enumerate(outcomes)
    ]
    path = write_rows(tmp_path / "contacts.csv", COLUMNS, content)
    declared = catalog(rule)
    columns = load_mapping(tmp_path / "mapping.toml")
    made = backtest_files(read_files([path], columns, declared), columns, declared)
    # 7 of 13 are more than a half, 6 of 12 are not
    assert transitions(made, "unresolved") == [(1, "firing", BEGIN_MS + 13 * MINUTE_MS)]
    assert made.summary.interactions is not None
    assert made.summary.interactions.accepted == 14


def test_incidents_and_counts_are_those_of_the_records(tmp_path):
    """An incident begins with what is pending and ends with resolved or inactive; shares are of a union of spans."""
    answers = calm_with_a_hard_hour(1.0, 1)
    declared = catalog(HIGH, replace(HIGH, id="never", enter=100.0 - 1e-9))
    content = [*rows(answers), *(row(10**6 + at, *one, place="cart") for at, one in enumerate(answers))]
    made = stepped(tmp_path, content, declared)
    found = incidents(made.records)
    states = [one["state"] for one in made.records]
    assert len(found) == states.count("pending")
    assert sum(one.fired_ms is not None for one in found) == states.count("firing")
    assert sum(one.ended_ms is not None for one in found) == states.count("resolved") + states.count(
        "inactive"
    )
    high, never = rule_counts(made, declared)
    assert (never.firings, never.firing_ms, never.firing_share) == (0, 0, 0.0)
    by_alert = [
        sum(
            (after["published_at_ms"] - before["published_at_ms"])
            for before, after in pairwise([one for one in made.records if one["touchpoint"] == place])
            if before["state"] == "firing"
        )
        for place in ("cart", "checkout")
    ]
    assert high.firing_ms == sum(by_alert)
    # Both touchpoints have the same answers, so at least one fires for as long as either
    assert made.last_ms is not None
    assert made.first_ms is not None
    assert high.firing_share == pytest.approx(by_alert[0] / (made.last_ms - made.first_ms))


def test_segments_beyond_their_limit_are_other_by_the_order_of_the_rows(tmp_path):
    """The first values of a touchpoint are kept, as in replay and score, even when all come within one minute."""
    by_agent = replace(HIGH, id="by", selector=Selector(segment={"agent": "*"}), for_ms=0, min_n=1)
    content = [row(at, BEGIN_MS + 1000 * (at // 2), 1, channel=name) for at, name in enumerate("zzyyxx")]
    path = write_rows(tmp_path / "answers.csv", COLUMNS, content)
    text = MAPPING.replace("segments = { channel", "segments = { agent")
    (tmp_path / "mapping.toml").write_text(text)
    declared = catalog(by_agent)
    columns = load_mapping(tmp_path / "mapping.toml")
    made = backtest_files(read_files([path], columns, declared), columns, declared)
    assert sorted(one["segment"]["agent"] for one in made.records) == ["other", "y", "z"]
