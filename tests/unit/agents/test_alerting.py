"""Alerting in the pipeline: transitions are those of an oracle over the raw answers, whatever batches and crashes."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.alerting import fingerprint
from agents.partials import INTERACTIONS_KIND, RESPONSES_KIND, Mark, encode_mark
from agents.scores import ScoreStage
from scoring.alerts.rules import (
    BudgetRule,
    ChangeRule,
    FalseAlarms,
    RisingRule,
    Rule,
    ScoreName,
    Selector,
    Severity,
    SilentRule,
    StaleRule,
    ThresholdRule,
)
from tests.unit.agents.pipeline import Pipeline
from tests.unit.agents.streams import (
    DAY_MS,
    EFFORT,
    HOUR_MS,
    LOYALTY,
    MINUTE_MS,
    REMARKS,
    SECOND_MS,
    Rec,
    catalog,
    raw,
)

BEGIN_MS = 1_763_596_800_000
"""2025-11-20T00:00:00Z, a Thursday."""

Answers = list[tuple[int, int]]
"""(event time, rating of 1..7), in order of time."""

HIGH = ThresholdRule(
    "high",
    Severity.CRITICAL,
    Selector(touchpoint="check*", question="effort"),
    for_ms=2 * MINUTE_MS,
    exit_for_ms=3 * MINUTE_MS,
    score=ScoreName.EFFORT_INDEX,
    window="10m",
    window_ms=10 * MINUTE_MS,
    enter=50.0,
    exit=40.0,
    min_n=5,
)
RISING = RisingRule(
    "rising",
    Severity.WARNING,
    Selector(metric="ces"),
    false_alarms=FalseAlarms(1, 2 * DAY_MS, over_all=False),
    min_history_ms=2 * DAY_MS,
)


def pipeline(*rules: Rule, partitions: int = 1, **changes: Any) -> Pipeline:
    """A pipeline in memory, with these rules."""
    return Pipeline(catalog(alerts=rules, **changes), partitions)


def answer(at: int, time_ms: int, rating: int | None, **fields: Any) -> dict[str, Any]:
    """An answer at the checkout."""
    return {
        "response_id": f"r{at}",
        "question": "effort",
        "rating": rating,
        "event_time_ms": time_ms,
        "touchpoint": "checkout",
    } | fields


def put(pipe: Pipeline, answers: Answers) -> None:
    """Appends answers, each to the partition of its number, and lets time go on to a minute after the last."""
    for at, (time_ms, rating) in enumerate(answers):
        pipe.put(RESPONSES_KIND, at % pipe.partitions, time_ms, raw(answer(at, time_ms, rating)))
    tell_time(pipe, answers[-1][0] + 2 * MINUTE_MS)


def tell_time(pipe: Pipeline, time_ms: int) -> None:
    """Every source partition gets an event of this time, at another touchpoint."""
    for kind, partition in pipe.logs:
        if kind == RESPONSES_KIND:
            record = answer(0, time_ms, 7, response_id=f"t{time_ms}-{partition}", touchpoint="elsewhere")
        else:
            record = {"interaction_id": f"t{time_ms}", "touchpoint": "elsewhere", "event_time_ms": time_ms}
        pipe.put(kind, partition, time_ms, raw(record))


def said(pipe: Pipeline, rule: str, touchpoint: str = "checkout") -> list[dict[str, Any]]:
    """The records of the one alert of a rule at a touchpoint."""
    found = [
        records
        for records in pipe.alerts.values()
        if (records[0]["rule"], records[0]["touchpoint"]) == (rule, touchpoint)
    ]
    assert len(found) <= 1
    return found[0] if found else []


def steps(records: list[dict[str, Any]]) -> list[tuple[int, str, int]]:
    """(sequence, state, event time) of each record."""
    return [(record["sequence"], record["state"], record["evidence"]["at_ms"]) for record in records]


def expected_steps(answers: Answers, rule: ThresholdRule, until_ms: int) -> list[tuple[int, str, int]]:
    """The transitions of a threshold rule on the effort index, from the raw answers, minute by minute."""
    out: list[tuple[int, str, int]] = []
    state, since, leaving = "inactive", 0, None
    for now_ms in range(BEGIN_MS, until_ms + 1, MINUTE_MS):
        ratings = [rating for time_ms, rating in answers if now_ms - rule.window_ms <= time_ms < now_ms]
        index = 100 * (7 - Fraction(sum(ratings), len(ratings))) / 6 if ratings else None
        beyond = index is not None and len(ratings) >= rule.min_n and index > 50
        over = index is None or index <= 40
        before = state
        if state == "firing":
            leaving = (leaving or now_ms) if over else None
            if leaving is not None and now_ms - leaving >= rule.exit_for_ms:
                state = "resolved"
        elif not beyond:
            state = "inactive" if state == "pending" else state
        elif state != "pending":
            state, since = "pending", now_ms
        elif now_ms - since >= rule.for_ms:
            state, leaving = "firing", None
        if state != before:
            out.append((len(out) + 1, state, now_ms))
    return out


def some_answers(chance: random.Random, minutes: int, per_minute: float) -> Answers:
    """Answers whose effort swings between easy and hard."""
    out = []
    hard = False
    for minute in range(minutes):
        hard ^= chance.random() < 0.08
        for _ in range(int(per_minute) + (chance.random() < per_minute % 1)):
            time_ms = BEGIN_MS + minute * MINUTE_MS + chance.randrange(MINUTE_MS)
            out.append((time_ms, chance.choice((1, 2, 3, 4) if hard else (4, 5, 6, 7))))
    return sorted(out)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), crashes=st.sampled_from((0.0, 0.3)), partitions=st.sampled_from((1, 2)))
def test_a_threshold_rule_makes_the_transitions_of_the_raw_answers(seed, crashes, partitions):
    """Whatever the batches, the interleaving, and the crashes before and after checkpoints."""
    chance = random.Random(seed)
    answers = some_answers(chance, 90, chance.choice((0.5, 1.0, 3.0)))
    pipe = pipeline(HIGH, partitions=partitions)
    put(pipe, answers)
    pipe.run(BEGIN_MS + DAY_MS, chance, crashes=crashes)
    until_ms = answers[-1][0] + 2 * MINUTE_MS - 10 * SECOND_MS
    assert steps(said(pipe, "high")) == expected_steps(answers, HIGH, until_ms)


def calm_then_hard(days: float, hard_minutes: int, per_hour: int = 60, seed: int = 7) -> Answers:
    """Calm days, then some minutes of hard ones."""
    chance = random.Random(seed)
    whole = int(days * 24 * per_hour)
    calm = [
        (BEGIN_MS + at * HOUR_MS // per_hour, chance.choices((3, 4, 5, 6, 7), (1, 2, 5, 8, 9))[0])
        for at in range(whole)
    ]
    end_ms = BEGIN_MS + whole * HOUR_MS // per_hour
    hard = [
        (end_ms + at * MINUTE_MS // 2, chance.choices((1, 2, 3, 4, 5), (3, 3, 3, 2, 1))[0])
        for at in range(2 * hard_minutes)
    ]
    return calm + hard


def test_rising_effort_fires_after_calm_days_and_resolves_after_its_end():
    """And says since when, what is usual, and which ratings grew."""
    answers = calm_then_hard(days=3, hard_minutes=60)
    began_ms = answers[-120][0]
    chance = random.Random(3)
    after = [(answers[-1][0] + at * MINUTE_MS // 2, chance.choice((5, 6, 7))) for at in range(1, 2000)]
    pipe = pipeline(RISING)
    put(pipe, answers + after)
    pipe.settle(BEGIN_MS + 9 * DAY_MS)
    records = said(pipe, "rising")
    assert [record["state"] for record in records] == ["firing", "resolved"]
    fired = records[0]
    assert began_ms <= fired["fired_at_ms"] <= began_ms + 30 * MINUTE_MS
    evidence = fired["evidence"]
    assert evidence["since_from_ms"] <= began_ms + 5 * MINUTE_MS
    assert began_ms - 30 * MINUTE_MS <= evidence["since_to_ms"]
    assert evidence["value"] < evidence["baseline_mean"] - 1
    assert {row["rating"] for row in evidence["ratings"]} <= {1, 2, 3}
    assert "rising" in fired["summary"]


def test_a_rise_that_nobody_tells_of_any_more_is_over_after_the_horizon():
    """Only answers end an alarm; when none come for so long, it says nothing of the present."""
    answers = calm_then_hard(days=3, hard_minutes=60)
    pipe = pipeline(RISING)
    put(pipe, answers)
    tell_time(pipe, answers[-1][0] + 3 * DAY_MS)
    pipe.settle(BEGIN_MS + 9 * DAY_MS)
    fired, resolved = said(pipe, "rising")
    assert fired["state"] == "firing"
    silent_ms = resolved["resolved_at_ms"] - answers[-1][0]
    assert 2 * DAY_MS <= silent_ms <= 2 * DAY_MS + 2 * HOUR_MS


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_an_edit_brings_the_detector_to_the_state_of_the_stream_that_had_it_at_once(seed):
    """Withdrawals and changed ratings of the last hour, in any batches and with crashes."""
    chance = random.Random(seed)
    calm = calm_then_hard(days=2.2, hard_minutes=20, per_hour=30, seed=seed)
    changes = {
        at: chance.choice((None, 1, 4, 7)) for at in chance.sample(range(len(calm) - 60, len(calm)), 12)
    }
    edited, clean = pipeline(RISING), pipeline(RISING)
    put(edited, calm)
    edited.run(BEGIN_MS + 9 * DAY_MS, chance, crashes=0.2)
    for at, rating in changes.items():
        edited.put(RESPONSES_KIND, 0, calm[-1][0] + MINUTE_MS, raw(answer(at, calm[at][0], rating)))
    for at, (time_ms, rating) in enumerate(calm):
        now = changes.get(at, rating)
        if now is not None:
            clean.put(RESPONSES_KIND, 0, time_ms, raw(answer(at, time_ms, now)))
    tell_time(clean, calm[-1][0] + 2 * MINUTE_MS)
    for pipe in (edited, clean):
        tell_time(pipe, calm[-1][0] + 5 * MINUTE_MS)
        pipe.run(BEGIN_MS + 9 * DAY_MS, chance, crashes=0.2)
        pipe.crash(0)
    assert detector_of(edited) == detector_of(clean)


def detector_of(pipe: Pipeline) -> Any:
    """State of the detector at the checkout."""
    (watch,) = [
        watch
        for watches in pipe.scores[0]._alerting._watches.values()
        for watch in watches
        if watch.series.touchpoint == "checkout" and watch.rule.kind == "rising"
    ]
    return watch.judge.detector.dump()


def test_a_silence_fires_only_once_the_answers_that_did_not_come_are_many():
    """And ends with the next answer; a touchpoint that always was quiet never fires."""
    rule = SilentRule("silent", Severity.WARNING, Selector(touchpoint="check*"), expected=12.0)
    busy = [(BEGIN_MS + at * 2 * MINUTE_MS, 6) for at in range(2 * 24 * 30)]
    ended_ms = busy[-1][0]
    pipe = pipeline(rule)
    put(pipe, busy)
    for minutes in range(5, 180, 5):
        tell_time(pipe, ended_ms + minutes * MINUTE_MS)
    back_ms = ended_ms + 180 * MINUTE_MS
    pipe.put(RESPONSES_KIND, 0, back_ms, raw(answer(10**6, back_ms, 6)))
    tell_time(pipe, back_ms + 5 * MINUTE_MS)
    pipe.settle(BEGIN_MS + 9 * DAY_MS)
    fired, resolved = said(pipe, "silent")
    assert (fired["state"], resolved["state"]) == ("firing", "resolved")
    late_ms = fired["fired_at_ms"] - ended_ms
    assert 12 * 2 * MINUTE_MS <= late_ms <= 60 * MINUTE_MS
    assert fired["evidence"]["expected"] >= 12
    assert back_ms < resolved["resolved_at_ms"] <= back_ms + 2 * MINUTE_MS


def test_a_backlog_is_never_a_silence():
    """While one source partition is behind, the watermark stands, and so do the rules."""
    rule = SilentRule("silent", Severity.WARNING, Selector(touchpoint="check*"))
    busy = [(BEGIN_MS + at * MINUTE_MS, 6) for at in range(2 * 24 * 60)]
    pipe = pipeline(rule, partitions=2)
    put(pipe, busy)
    tell_time(pipe, busy[-1][0] + DAY_MS)
    pipe.read((RESPONSES_KIND, 0), 1 << 30, BEGIN_MS)  # half of the answers, up to the last day
    for partition in range(2):
        pipe.read((INTERACTIONS_KIND, partition), 1 << 30, BEGIN_MS)
        pipe.merge(partition, 1 << 30, BEGIN_MS)
    assert not pipe.alerts


def test_a_stale_score_fires_after_its_time_to_the_minute():
    """However few answers there were."""
    rule = StaleRule("stale", Severity.WARNING, Selector(touchpoint="checkout"), after_ms=3 * HOUR_MS)
    pipe = pipeline(rule)
    put(pipe, [(BEGIN_MS, 6), (BEGIN_MS + 10 * MINUTE_MS, 5)])
    tell_time(pipe, BEGIN_MS + 5 * HOUR_MS)
    pipe.settle(BEGIN_MS + DAY_MS)
    (record,) = said(pipe, "stale")
    assert record["fired_at_ms"] == BEGIN_MS + 11 * MINUTE_MS + 3 * HOUR_MS


def test_a_burning_budget_needs_both_windows():
    """Old trouble alone is over for the short window, new trouble alone too little for the long one."""
    rule = BudgetRule(
        "burn", Severity.CRITICAL, Selector(touchpoint="checkout"), objective=0.8, burn=3.0, min_n=30
    )
    easy = [(BEGIN_MS + at * MINUTE_MS, 7) for at in range(6 * 60)]
    hard = [(easy[-1][0] + at * MINUTE_MS, 2) for at in range(1, 6 * 60)]
    again = [(hard[-1][0] + at * MINUTE_MS, 7) for at in range(1, 40)]
    pipe = pipeline(rule)
    put(pipe, easy + hard + again)
    pipe.settle(BEGIN_MS + DAY_MS)
    fired, resolved = said(pipe, "burn")
    # 60 % of the 360 minutes of the long window are hard after 217 hard answers
    assert fired["fired_at_ms"] == hard[216][0] + MINUTE_MS
    # and 40 % of the last 30 minutes are easy again after 12 easy ones
    assert resolved["resolved_at_ms"] == again[11][0] + MINUTE_MS


def test_a_change_against_yesterday_fires_with_its_size():
    """The same hour of two days, compared with bounds."""
    rule = ChangeRule(
        "worse",
        Severity.WARNING,
        Selector(touchpoint="checkout"),
        window="1h",
        window_ms=HOUR_MS,
        against_ms=DAY_MS,
        by=20.0,
    )
    chance = random.Random(5)
    first = [(BEGIN_MS + at * MINUTE_MS, chance.choice((5, 6, 7))) for at in range(60)]
    second = [(BEGIN_MS + DAY_MS + at * MINUTE_MS, chance.choice((2, 3, 4))) for at in range(60)]
    pipe = pipeline(rule)
    put(pipe, first + second)
    pipe.settle(BEGIN_MS + 2 * DAY_MS)
    fired = said(pipe, "worse")[0]
    assert fired["state"] == "firing"
    evidence = fired["evidence"]
    assert 30 <= evidence["n"] <= 60
    assert 20 < evidence["low"] < evidence["value"] < evidence["high"]


def test_a_change_against_a_deployment_needs_its_mark():
    """Without one nothing is compared; with one before the trouble, it fires; withdrawn, it is resolved."""
    rule = ChangeRule(
        "deployed",
        Severity.WARNING,
        Selector(touchpoint="checkout"),
        window="2h",
        window_ms=2 * HOUR_MS,
        against_ms=None,
        by=20.0,
    )
    chance = random.Random(5)
    easy = [(BEGIN_MS + at * MINUTE_MS, chance.choice((5, 6, 7))) for at in range(120)]
    hard = [(easy[-1][0] + at * MINUTE_MS, chance.choice((2, 3, 4))) for at in range(1, 61)]
    pipe = pipeline(rule)
    put(pipe, easy + hard)
    pipe.settle(BEGIN_MS + DAY_MS)
    assert not said(pipe, "deployed")
    for withdrawn in (False, True):
        mark = Mark("d-1", easy[-1][0] + MINUTE_MS, "check*", withdrawn)
        pipe.partials[0].append(Rec(len(pipe.partials[0]), 0, b"", encode_mark(mark)))
        tell_time(pipe, hard[-1][0] + (4 + 4 * withdrawn) * MINUTE_MS)
        pipe.settle(BEGIN_MS + DAY_MS)
        pipe.crash(0)
    assert [record["state"] for record in said(pipe, "deployed")] == ["firing", "resolved"]
    assert said(pipe, "deployed")[0]["evidence"]["deployment"] == "d-1"


def test_rates_are_judged_with_their_interactions():
    """Response rate and unresolved share, of which the second has no question."""
    rate = replace(
        HIGH, id="rate", score=ScoreName.RESPONSE_RATE, enter=0.5, exit=0.6, window="1h", window_ms=HOUR_MS
    )
    open_ = replace(
        HIGH, id="open", score=ScoreName.UNRESOLVED_SHARE, enter=0.5, exit=0.4, selector=Selector("check*")
    )
    pipe = pipeline(rate, open_)
    for at in range(60):
        time_ms = BEGIN_MS + at * MINUTE_MS
        record = {"interaction_id": f"i{at}", "touchpoint": "checkout", "event_time_ms": time_ms}
        record["outcome"] = "unresolved" if at >= 30 else "resolved"
        pipe.put(INTERACTIONS_KIND, 0, time_ms, raw(record))
        if at % 4 == 0:
            given = answer(at, time_ms, 6, interaction_id=f"i{at}")
            pipe.put(RESPONSES_KIND, 0, time_ms, raw(given))
    tell_time(pipe, BEGIN_MS + 2 * HOUR_MS)
    pipe.settle(BEGIN_MS + DAY_MS)
    fired = {
        record["rule"]: record
        for records in pipe.alerts.values()
        for record in records
        if record["state"] == "firing"
    }
    assert fired["rate"]["question"] == "effort"
    assert fired["rate"]["evidence"]["value"] == pytest.approx(0.25, abs=0.1)
    assert fired["open"]["question"] is None
    # more than half of the ten newest are unresolved once six are
    assert said(pipe, "open")[0]["since_ms"] == BEGIN_MS + 36 * MINUTE_MS


def test_a_rule_that_is_gone_ends_its_alert_and_its_number_is_not_used_again():
    """The record says so; when the rule comes back its alert goes on counting."""
    hard = [(BEGIN_MS + at * MINUTE_MS, 2) for at in range(30)]
    pipe = pipeline(HIGH)
    put(pipe, hard)
    pipe.settle(BEGIN_MS + DAY_MS)
    for rules in ((), (HIGH,)):
        pipe.catalog = catalog(alerts=rules)
        pipe.crash(0, compacted=True)
        tell_time(pipe, hard[-1][0] + (3 if not rules else 4) * MINUTE_MS)
        pipe.settle(BEGIN_MS + DAY_MS)
    records = said(pipe, "high")
    assert [record["sequence"] for record in records] == list(range(1, len(records) + 1))
    assert [record["state"] for record in records[:4]] == ["pending", "firing", "resolved", "pending"]
    assert "not declared" in records[2]["summary"]


def test_the_fingerprint_is_the_contracts():
    """The first 16 hex digits of SHA-256 of the compact JSON array."""
    text = '["high","checkout","purchase","effort",{"a":"x","b":"y"},"10m"]'
    expected = sha256(text.encode()).hexdigest()[:16]
    assert fingerprint("high", "checkout", "purchase", "effort", {"b": "y", "a": "x"}, "10m") == expected


def test_a_segment_rule_watches_each_value_and_evidence_names_the_segment_that_moved():
    """One alert for each value; everybody's alert says which value made it worse."""
    everybody = replace(HIGH, min_n=20, window="1h", window_ms=HOUR_MS)
    by_value = replace(HIGH, id="by-value", selector=Selector("check*", segment={"channel": "*"}))
    pipe = pipeline(everybody, by_value)
    chance = random.Random(11)
    at = 0
    for minute in range(26 * 60):
        for channel in ("web", "phone"):
            hard = channel == "web" and minute > 25 * 60
            time_ms, rating = BEGIN_MS + minute * MINUTE_MS, chance.choice((1, 2) if hard else (4, 5, 6))
            pipe.put(
                RESPONSES_KIND, 0, time_ms, raw(answer(at, time_ms, rating, segments={"channel": channel}))
            )
            at += 1
    tell_time(pipe, BEGIN_MS + 26 * HOUR_MS + 2 * MINUTE_MS)
    pipe.settle(BEGIN_MS + 9 * DAY_MS)
    fired = [record for records in pipe.alerts.values() for record in records if record["state"] == "firing"]
    assert Counter((record["rule"], orjson.dumps(record["segment"])) for record in fired) == {
        ("high", b"{}"): 1,
        ("by-value", b'{"channel":"web"}'): 1,
    }
    (whole,) = [record for record in fired if record["rule"] == "high"]
    top = whole["evidence"]["segments"][0]
    assert (top["segment"], top["value"]) == ("channel", "web")
    assert top["score"] > 80
    assert top["score_before"] < 50


def test_long_windows_are_those_of_the_live_scores():
    """A rule over 7 days sees the tally that the live window has, hours included that began before a restart."""
    rule = replace(HIGH, id="week", window="7d", window_ms=7 * DAY_MS, enter=1.0, exit=0.5, min_n=1, for_ms=0)
    chance = random.Random(2)
    answers = [(BEGIN_MS + at * 17 * MINUTE_MS, chance.randint(1, 7)) for at in range(900)]
    pipe = pipeline(rule)
    put(pipe, answers)
    pipe.run(BEGIN_MS + 20 * DAY_MS, chance, crashes=0.3)
    (watch,) = [
        watch
        for watches in pipe.scores[0]._alerting._watches.values()
        for watch in watches
        if watch.series.touchpoint == "checkout"
    ]
    stepped_ms = pipe.scores[0]._alerting.stepped_ms
    end_ms = (stepped_ms - MINUTE_MS) // HOUR_MS * HOUR_MS + HOUR_MS
    inside = Counter(rating for time_ms, rating in answers if end_ms - 7 * DAY_MS <= time_ms < stepped_ms)
    vector = watch.series.sum(watch.judge.spans[0], stepped_ms)
    assert vector[:-1] == [inside[rating] for rating in range(1, 8)]


def test_without_rules_nothing_is_kept():
    """No series, no alert, no record of any."""
    pipe = pipeline()
    put(pipe, calm_then_hard(days=0.2, hard_minutes=20))
    pipe.settle(BEGIN_MS + DAY_MS)
    stage: ScoreStage = pipe.scores[0]
    assert not pipe.alerts
    assert stage.sizes["alert_series"] == 0
    assert not any(key[:1] in b"alfd" for key, _ in pipe.changelogs[0])


def test_evidence_names_the_interactions_with_the_highest_effort():
    """At most ten, the hardest and newest of the window; comments only where the question passes them on."""
    remarks = replace(
        HIGH, id="remarks", selector=Selector("check*", question="remarks"), score=ScoreName.VALUE
    )
    remarks = replace(remarks, enter=50.0, exit=60.0)
    pipe = pipeline(HIGH, remarks, questions={one.id: one for one in (EFFORT, LOYALTY, REMARKS)})
    for at in range(20):
        time_ms = BEGIN_MS + at * MINUTE_MS
        fields = {"interaction_id": f"i{at}", "comment": f"too hard, {at}"}
        pipe.put(RESPONSES_KIND, 0, time_ms, raw(answer(at, time_ms, 1 + at % 3, **fields)))
        pipe.put(
            RESPONSES_KIND, 0, time_ms, raw(answer(at, time_ms, 1 + at % 2, question="remarks", **fields))
        )
    tell_time(pipe, BEGIN_MS + 22 * MINUTE_MS)
    pipe.run(BEGIN_MS + DAY_MS, random.Random(4), crashes=0.3)
    (effort,) = [record for record in said(pipe, "high") if record["state"] == "firing"]
    at_ms, ids = effort["evidence"]["at_ms"], effort["evidence"]["interaction_ids"]
    assert 0 < len(ids) <= 10
    assert {int(name[1:]) % 3 for name in ids[:2]} == {0}
    assert all(at_ms - HIGH.window_ms <= BEGIN_MS + int(name[1:]) * MINUTE_MS for name in ids)
    assert "comments" not in effort["evidence"]
    (with_comments,) = [record for record in said(pipe, "remarks") if record["state"] == "firing"]
    assert with_comments["evidence"]["comments"][0]["excerpt"].startswith("too hard")


def test_a_history_longer_than_the_retention_counts_once_in_every_hour():
    """Read in one go, it is told by the minute, forgotten, and told again by the hour, which is no news."""
    answers = [(BEGIN_MS + at * 10 * MINUTE_MS, 1 + at % 7) for at in range(12 * 24 * 6)]
    pipe = pipeline(RISING, partitions=2)
    put(pipe, answers)
    for minutes in (3, 4, 5):
        pipe.settle(BEGIN_MS + 13 * DAY_MS)
        tell_time(pipe, answers[-1][0] + minutes * MINUTE_MS)
    pipe.settle(BEGIN_MS + 13 * DAY_MS)
    (watch,) = [
        watch for stage in pipe.scores for watch in stage.watches() if watch.series.touchpoint == "checkout"
    ]
    held = watch.series.cells.hours
    assert {hour_ms: sum(cell[:-1]) for hour_ms, cell in held.items()} == dict.fromkeys(
        range(BEGIN_MS, BEGIN_MS + 12 * DAY_MS, HOUR_MS), 6
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), crashes=st.sampled_from((0.0, 0.2)))
@example(seed=1611906, crashes=0.0)  # one source has folded what another still tells by the minute
def test_edits_and_withdrawals_of_any_age_leave_the_tallies_of_the_last_answers(seed, crashes):
    """Also of answers whose minutes were folded, while the rules are far behind; no cell falls below 0."""
    chance = random.Random(seed)
    rate = replace(HIGH, window="1h", window_ms=HOUR_MS, confident=True)
    pipe = pipeline(rate, RISING, partitions=2)
    newest: dict[int, tuple[int, int | None]] = {}
    for at in range(400):
        time_ms = BEGIN_MS + at * chance.choice((1, 1, 2)) * MINUTE_MS
        if at > 20 and chance.random() < 0.3:
            number = chance.randrange(at)
            rating = chance.choice((None, 1, 4, 7))
            if number in newest:
                given_ms, before = newest[number]
                if before is None and rating is not None:
                    continue  # it would count anew, as another answer does
                newest[number] = given_ms, rating
                record = answer(number, given_ms, rating, interaction_id="i")
                pipe.put(RESPONSES_KIND, number % 2, time_ms + DAY_MS, raw(record))
            continue
        newest[at] = time_ms, chance.randint(1, 7)
        record = answer(at, time_ms, newest[at][1], interaction_id="i")
        pipe.put(RESPONSES_KIND, at % 2, time_ms + DAY_MS, raw(record))
    tell_time(pipe, BEGIN_MS + DAY_MS)
    pipe.run(BEGIN_MS + 2 * DAY_MS, chance, crashes=crashes)
    alerting = pipe.scores[pipe.partition_of("checkout")]._alerting
    (cells,) = [
        series.cells for (touchpoint, _), series in alerting._series.items() if touchpoint == "checkout"
    ]
    expected: dict[int, Counter[int]] = {}
    for time_ms, rating in newest.values():
        if rating is not None:
            expected.setdefault(time_ms // HOUR_MS * HOUR_MS, Counter())[rating] += 1
    found = {
        at: Counter({r + 1: n for r, n in enumerate(cell[:-1]) if n}) for at, cell in cells.hours.items()
    }
    assert {at: counts for at, counts in found.items() if counts} == expected
    assert all(n >= 0 for cell in (*cells.minutes.values(), *cells.hours.values()) for n in cell)
    by_hour: dict[int, Counter[int]] = {}
    for at, cell in cells.minutes.items():
        for r, n in enumerate(cell[:-1]):
            by_hour.setdefault(at // HOUR_MS * HOUR_MS, Counter())[r + 1] += n
    assert {at: +counts for at, counts in by_hour.items() if +counts} == expected
