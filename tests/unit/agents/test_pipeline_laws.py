"""Laws of the whole pipeline: batching, interleaving and crashes change nothing, and the figures are the contract's."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.partials import INTERACTIONS_KIND, RESPONSES_KIND
from scoring.catalog import Catalog, Segment
from tests.unit.agents.oracle import Oracle, calendar_windows, live_windows
from tests.unit.agents.pipeline import Pipeline
from tests.unit.agents.streams import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    NOW_MS,
    SECOND_MS,
    catalog,
    response,
)

PARTITIONS = 2
SEED = st.integers(0, 2**32)
OPEN = catalog(
    segments=(
        Segment("channel", ("channel",), frozenset({"web", "phone"})),
        Segment("agent", ("agent",)),
        Segment("channel+agent", ("channel", "agent")),
    )
)


def some_response(chance: random.Random, time_ms: int) -> dict[str, Any]:
    """A response that is sound, or off the scale; ids repeat."""
    record: dict[str, Any] = {
        "response_id": f"r{chance.randrange(60)}",
        "question": chance.choice(("effort", "effort", "loyalty")),
        "rating": chance.randint(1, 7),
        "touchpoint": chance.choice(("checkout", "cart", "search")),
        "event_time_ms": time_ms,
    }
    if chance.random() < 0.08:
        record["rating"] = chance.choice((None, None, 99))
    if chance.random() < 0.2:
        del record["event_time_ms"]
    if chance.random() < 0.2:
        record["updated_at_ms"] = chance.randrange(5)
    if chance.random() < 0.4:
        record["interaction_id"] = "i"
    if record["question"] == "effort" and chance.random() < 0.2:
        del record["touchpoint"]
    if chance.random() < 0.6:
        record["segments"] = {
            name: chance.choice(values)
            for name, values in (("channel", ("web", "phone", "fax")), ("agent", ("ann", "bob", "cid")))
            if chance.random() < 0.7
        }
    return record


def some_interaction(chance: random.Random, time_ms: int) -> dict[str, Any]:
    """An interaction that is sound; ids repeat."""
    record: dict[str, Any] = {
        "interaction_id": f"i{chance.randrange(40)}",
        "touchpoint": chance.choice(("checkout", "cart")),
        "event_time_ms": time_ms,
        "outcome": chance.choice(("resolved", "unresolved", None)),
        "duration_s": chance.choice((1.5, None)),
    }
    if chance.random() < 0.5:
        record["segments"] = {"channel": chance.choice(("web", "phone"))}
    return record


class Stream:
    """A random input: the pipeline that holds it, and oracles that have taken it."""

    def __init__(
        self, declared: Catalog, seed: int, *, span_ms: int, count: int, replay: bool = False
    ) -> None:
        chance = random.Random(seed)
        self.catalog = declared
        self.replay = replay
        self.records: list[tuple[int, int, int, dict[str, Any]]] = []
        self.end_ms = NOW_MS + span_ms
        jitter_ms = chance.choice((SECOND_MS, HOUR_MS, 3 * DAY_MS))
        repeated: list[dict[str, Any]] = []
        for at in range(count):
            timestamp_ms = NOW_MS + span_ms * at // count
            time_ms = timestamp_ms - (chance.randrange(jitter_ms) if chance.random() < 0.5 else 0)
            kind = INTERACTIONS_KIND if chance.random() < 0.25 else RESPONSES_KIND
            made = some_response if kind == RESPONSES_KIND else some_interaction
            record = made(chance, time_ms)
            if kind == RESPONSES_KIND:
                if repeated and chance.random() < 0.15:
                    record = chance.choice(repeated[-20:])
                repeated.append(record)
            self.records.append((kind, hash_of(record) % PARTITIONS, timestamp_ms, record))

    def pipeline(self, **options: Any) -> Pipeline:
        """A pipeline whose logs hold the input."""
        made = Pipeline(self.catalog, PARTITIONS, replay=self.replay, **options)
        for kind, partition, timestamp_ms, record in self.records:
            made.put(kind, partition, timestamp_ms, orjson.dumps(record))
        return made

    def oracles(self) -> list[Oracle]:
        """What the contract says of each source partition."""
        made = {
            (kind, at): Oracle(self.catalog, replay=self.replay)
            for kind in (RESPONSES_KIND, INTERACTIONS_KIND)
            for at in range(PARTITIONS)
        }
        for kind, partition, timestamp_ms, record in self.records:
            oracle = made[kind, partition]
            take = oracle.respond if kind == RESPONSES_KIND else oracle.contact
            take(record, timestamp_ms)
        return list(made.values())


def hash_of(record: dict[str, Any]) -> int:
    """A partition for an identity, the same in every process."""
    return sum((record.get("response_id") or record["interaction_id"]).encode())


def check_revisions(pipeline: Pipeline) -> None:
    """Revisions have no gaps, begin at 0, and each says something new."""
    for said in pipeline.revisions.values():
        assert [record["revision"] for record in said] == list(range(len(said)))
        contents = [(record["counts"], record["interactions"], record["response_rate"]) for record in said]
        # Without interactions an edit may change the number of linked answers alone, which shows nowhere.
        assert all(before != after or not after[1] for before, after in pairwise(contents))
        rate = said[-1]["response_rate"]
        assert (rate is None) == (said[-1]["interactions"] == 0)


def response_counts(oracles: list[Oracle]) -> dict[str, int]:
    """Outcomes of the response partitions, summed."""
    counts: dict[str, int] = {}
    for oracle in oracles[:PARTITIONS]:
        for outcome, n in oracle.counts.items():
            counts[outcome] = counts.get(outcome, 0) + n
    return counts


@given(
    seed=SEED, span_ms=st.sampled_from([HOUR_MS, DAY_MS, 4 * DAY_MS]), crashes=st.sampled_from([0.0, 0.05])
)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_any_batching_interleaving_and_crash_comes_to_the_figures_of_the_contract(
    seed: int, span_ms: int, crashes: float
) -> None:
    """Live: calendar windows, live windows, counts and dead letters equal the plain reckoning."""
    stream = Stream(OPEN, seed, span_ms=span_ms, count=120)
    pipeline, oracles = stream.pipeline(), stream.oracles()
    pipeline.run(stream.end_ms, random.Random(seed), crashes=crashes)
    assert pipeline.counts() == response_counts(oracles)
    assert pipeline.live_windows() == live_windows(oracles, OPEN)
    refused = [dead["effort_reason"] for dead in pipeline.dead]
    assert len(refused) == sum(n for o in oracles for name, n in o.counts.items() if ":" in name)
    pipeline.fall_idle(stream.end_ms + 3 * DAY_MS)
    assert pipeline.windows() == calendar_windows(oracles, OPEN)
    check_revisions(pipeline)


@given(seed=SEED, crashes=st.sampled_from([0.0, 0.05]))
@settings(derandomize=True, max_examples=25, deadline=None)
def test_a_backlog_of_weeks_is_counted_in_full_however_its_partitions_are_read(
    seed: int, crashes: float
) -> None:
    """A partition that is read far ahead of another closes and forgets nothing that the other still fills."""
    stream = Stream(OPEN, seed, span_ms=40 * DAY_MS, count=120)
    pipeline, oracles = stream.pipeline(), stream.oracles()
    pipeline.run(stream.end_ms, random.Random(seed), crashes=crashes)
    pipeline.fall_idle(stream.end_ms + 3 * DAY_MS)
    assert pipeline.windows() == calendar_windows(oracles, OPEN)
    assert pipeline.counts() == response_counts(oracles)
    assert not any(score.sizes["beyond_retention"] for score in pipeline.scores)
    check_revisions(pipeline)


@given(seed=SEED, span_ms=st.sampled_from([DAY_MS, 40 * DAY_MS]), crashes=st.sampled_from([0.0, 0.05]))
@settings(derandomize=True, max_examples=25, deadline=None)
def test_a_replay_closes_every_window_when_its_input_ends(seed: int, span_ms: int, crashes: float) -> None:
    """Nothing is too late or ages out, and no clock is needed: the end-of-input markers close all."""
    stream = Stream(OPEN, seed, span_ms=span_ms, count=120, replay=True)
    pipeline, oracles = stream.pipeline(), stream.oracles()
    pipeline.end()
    pipeline.run(0, random.Random(seed), crashes=crashes)
    assert all(score.ended for score in pipeline.scores)
    assert pipeline.windows() == calendar_windows(oracles, OPEN)
    assert pipeline.counts() == response_counts(oracles)
    check_revisions(pipeline)


def test_a_crash_between_the_stages_loses_and_doubles_nothing() -> None:
    """The intake has committed its partials, the scores stage has not taken them in, or not committed."""
    stream = Stream(OPEN, 7, span_ms=DAY_MS, count=100)
    pipeline, oracles = stream.pipeline(), stream.oracles()
    for _ in range(100):
        for key in pipeline.sources:
            pipeline.read(key, 5, stream.end_ms)
            pipeline.read(key, 5, stream.end_ms, commit=False)
            pipeline.crash(key)
        for at in range(PARTITIONS):
            pipeline.merge(at, 3, stream.end_ms)
            pipeline.merge(at, 1_000, stream.end_ms, commit=False)
            pipeline.crash(at)
    pipeline.settle(stream.end_ms)
    assert pipeline.live_windows() == live_windows(oracles, OPEN)
    pipeline.fall_idle(stream.end_ms + 3 * DAY_MS)
    assert pipeline.windows() == calendar_windows(oracles, OPEN)
    check_revisions(pipeline)


CAPPED = catalog(segments=(Segment("agent", ("agent",), max_values=2),))
AGENTS = ["ann", "bob", "cid", "bob", "other", "dee", "ann"]


def of_agents(pipeline: Pipeline) -> dict[str, tuple[int, bool]]:
    """Answers by published agent in the day's window, and whether the record says that values were capped."""
    return {
        said[-1]["segment"]["agent"]: (said[-1]["n"], said[-1].get("capped", False))
        for said in pipeline.revisions.values()
        if said[-1]["segment"] and said[-1]["window"] == "1d"
    }


@pytest.mark.parametrize("crash", [False, True], ids=["calm", "crashes"])
def test_segment_values_beyond_the_cap_are_published_as_other(crash: bool) -> None:
    """The first ones of the touchpoint stay, after a restart too; the record of ``other`` says why."""
    pipeline = Pipeline(CAPPED, 1)
    for at, agent in enumerate(AGENTS):
        record = response(response_id=str(at), touchpoint="cart", segments={"agent": agent})
        pipeline.put(RESPONSES_KIND, 0, NOW_MS, orjson.dumps(record))
        pipeline.settle(NOW_MS)
        for key in ((RESPONSES_KIND, 0), 0) if crash else ():
            pipeline.crash(key, compacted=True)  # type: ignore[arg-type]
    pipeline.fall_idle(NOW_MS + 3 * DAY_MS)
    assert of_agents(pipeline) == {"ann": (2, False), "bob": (2, False), "other": (3, True)}


def test_a_replay_publishes_the_segment_values_that_it_was_given() -> None:
    """The list is made from the files, so the order of reading decides nothing."""
    kept = {("cart", "agent"): ("dee", "cid")}
    pipeline = Pipeline(CAPPED, 1, replay=True, kept=kept)
    for at, agent in enumerate(AGENTS):
        record = response(response_id=str(at), touchpoint="cart", segments={"agent": agent})
        pipeline.put(RESPONSES_KIND, 0, NOW_MS, orjson.dumps(record))
    pipeline.end()
    pipeline.run(0)
    assert of_agents(pipeline) == {"cid": (1, False), "dee": (1, False), "other": (5, True)}


def test_a_live_series_without_answers_says_so_once_and_then_leaves_the_topic() -> None:
    """N = 0 when the window has slid past its last answer, a tombstone one window length later."""
    pipeline = Pipeline(catalog(live=CAPPED.live[:1], segments=()), 1)
    key = orjson.dumps(["cart", "effort", {}, "5m"])
    seen = []
    for minute in range(16):
        now_ms = NOW_MS + minute * MINUTE_MS
        name = "cart" if minute == 0 else "search"
        record = response(response_id=str(minute), touchpoint=name, event_time_ms=now_ms)
        pipeline.put(RESPONSES_KIND, 0, now_ms, orjson.dumps(record))
        pipeline.settle(now_ms)
        if minute % 2:
            pipeline.crash(0)
        held = pipeline.live[key]
        seen.append(held and held["n"])
    assert seen == [1] * 5 + [0] * 5 + [None] * 6


def test_the_same_id_after_the_horizon_is_another_answer() -> None:
    """H is inclusive, between the stored and the new time."""
    pipeline = Pipeline(catalog(segments=()), 1)
    horizon_ms = CAPPED.timing.horizon_ms
    for time_ms, rating in ((NOW_MS, 1), (NOW_MS + horizon_ms, 2), (NOW_MS + 2 * horizon_ms + 1, 2)):
        pipeline.put(RESPONSES_KIND, 0, time_ms, orjson.dumps(response(rating=rating, event_time_ms=time_ms)))
    pipeline.run(NOW_MS)
    assert pipeline.counts() == {"accepted": 2, "edit": 1}


def test_dead_letters_name_their_source_and_keep_a_bounded_value() -> None:
    """Identity is (topic, partition, offset); 64 KiB of the raw bytes at most."""
    pipeline = Pipeline(catalog(), 1)
    pipeline.put(RESPONSES_KIND, 0, NOW_MS, b"x" * 100_000)
    pipeline.run(NOW_MS)
    assert pipeline.dead == [
        {
            "effort_reason": "not_json",
            "effort_topic": "topic",
            "effort_partition": "0",
            "effort_offset": "0",
            "effort_detail": "not JSON at character 0",
            "effort_size": "100000",
            "effort_truncated": "true",
        }
    ]
