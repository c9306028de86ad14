"""Intake and merge as Hypothesis drives them: batches, checkpoints, crashes, replays, rebalances and zombies at will.

The log is in memory and fences as Kafka does: whoever takes a partition over gets a higher epoch, and a checkpoint of
an older epoch is refused as a whole.
"""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agents.contacts import InteractionStage
from agents.fingerprint import StateMismatchError
from agents.partials import INTERACTIONS_KIND, RESPONSES_KIND
from agents.ports import Outgoing
from agents.responses import ResponseStage
from tests.unit.agents.oracle import Oracle, calendar_windows, live_windows
from tests.unit.agents.pipeline import AnyStage, Pipeline, SourceKey, _take
from tests.unit.agents.streams import DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS
from tests.unit.agents.test_pipeline_laws import (
    OPEN,
    PARTITIONS,
    check_revisions,
    hash_of,
    response_counts,
    some_interaction,
    some_response,
)

Place = SourceKey | int
SOURCES: list[SourceKey] = [
    (kind, at) for kind in (RESPONSES_KIND, INTERACTIONS_KIND) for at in range(PARTITIONS)
]
PLACES: list[Place] = [*SOURCES, *range(PARTITIONS)]
TOPICS = {RESPONSES_KIND: "responses", INTERACTIONS_KIND: "interactions"}
STEPS_MS = (0, 1_000, MINUTE_MS, HOUR_MS, DAY_MS)


class Group(Pipeline):
    """A pipeline whose partitions change hands.

    Attributes:
        epochs: how often each partition was taken over.
    """

    def __init__(self) -> None:
        super().__init__(OPEN, PARTITIONS)
        self.epochs: dict[Place, int] = dict.fromkeys(PLACES, 0)

    def _source(self, key: SourceKey) -> ResponseStage | InteractionStage:
        kind, partition = key
        made = ResponseStage if kind == RESPONSES_KIND else InteractionStage
        return made(TOPICS[kind], partition, self.intake)

    def stage(self, place: Place) -> AnyStage:
        """The stage of the present owner."""
        return self.scores[place] if isinstance(place, int) else self.sources[place]

    def take(self, place: Place, stage: AnyStage, count: int) -> None:
        """A stage, of the owner or of one that was, applies the next records."""
        _take(stage, self.partials[place] if isinstance(place, int) else self.logs[place], count)

    def take_over(self, place: Place, *, compacted: bool) -> None:
        """The next owner: fences the last one, restores, goes on from its state's position."""
        self.epochs[place] += 1
        self.crash(place, compacted=compacted)


class Members(RuleBasedStateMachine):
    """Any order of what may happen; in the end everything is read and compared."""

    fenced = True

    @initialize()
    def begin(self) -> None:
        """Nothing was sent yet."""
        self.group = Group()
        self.oracles = {key: Oracle(OPEN) for key in SOURCES}
        self.zombies: list[tuple[Place, int, AnyStage, Outgoing | None]] = []
        self.repeated: list[dict[str, Any]] = []
        self.now_ms = NOW_MS

    # -- the world -----------------------------------------------------------------------------------------------

    @rule(seed=st.integers(0, 2**32), count=st.sampled_from([1, 5, 25]), step_ms=st.sampled_from(STEPS_MS))
    def customers_send(self, seed: int, count: int, step_ms: int) -> None:
        """New answers, copies, edits, withdrawals, answers off the scale, late and too late; interactions."""
        chance = random.Random(seed)
        self.now_ms += step_ms
        for _ in range(count):
            kind = INTERACTIONS_KIND if chance.random() < 0.25 else RESPONSES_KIND
            time_ms = self.now_ms - chance.choice((0, 0, 0, 5_000, HOUR_MS, 3 * DAY_MS))
            if kind == INTERACTIONS_KIND:
                record = some_interaction(chance, time_ms)
            elif self.repeated and chance.random() < 0.15:
                record = chance.choice(self.repeated[-20:])
            else:
                record = some_response(chance, time_ms)
                self.repeated.append(record)
            key = kind, hash_of(record) % PARTITIONS
            self.group.put(*key, self.now_ms, orjson.dumps(record))
            oracle = self.oracles[key]
            (oracle.respond if kind == RESPONSES_KIND else oracle.contact)(record, self.now_ms)

    # -- owners --------------------------------------------------------------------------------------------------

    @rule(place=st.sampled_from(PLACES), count=st.sampled_from([1, 3, 1000]))
    def owner_reads(self, place: Place, count: int) -> None:
        """A batch; nothing is stored yet."""
        self.group.take(place, self.group.stage(place), count)

    @rule(place=st.sampled_from(PLACES))
    def owner_stores(self, place: Place) -> None:
        """A checkpoint."""
        self.group.commit(place, self.group.stage(place).checkpoint(self.now_ms), self.now_ms)

    @rule(place=st.sampled_from(PLACES), compacted=st.booleans())
    def owner_crashes(self, place: Place, compacted: bool) -> None:
        """What it had not stored is read again by its successor."""
        self.group.take_over(place, compacted=compacted)

    @rule(place=st.sampled_from(PLACES), compacted=st.booleans())
    def owner_crashes_inside_a_checkpoint(self, place: Place, compacted: bool) -> None:
        """It has drained and sent everything; the transaction is aborted."""
        self.group.stage(place).checkpoint(self.now_ms)
        self.group.take_over(place, compacted=compacted)

    @rule(places=st.sets(st.sampled_from(PLACES), min_size=1), compacted=st.booleans())
    def partitions_are_shared_out_anew(self, places: set[Place], compacted: bool) -> None:
        """A rebalance: last checkpoints, then other owners."""
        for place in sorted(places, key=str):
            self.owner_stores(place)
            self.group.take_over(place, compacted=compacted)

    # -- owners that were ----------------------------------------------------------------------------------------

    @rule(place=st.sampled_from(PLACES), drained=st.booleans())
    def owner_sleeps_too_long(self, place: Place, drained: bool) -> None:
        """Its partition goes to another; it wakes up later, perhaps with a checkpoint in its hands."""
        stage = self.group.stage(place)
        out = stage.checkpoint(self.now_ms) if drained else None
        self.zombies.append((place, self.group.epochs[place], stage, out))
        self.group.take_over(place, compacted=False)

    @precondition(lambda self: self.zombies)
    @rule(data=st.data(), count=st.sampled_from([0, 3, 1000]))
    def zombie_writes(self, data: st.DataObject, count: int) -> None:
        """It reads on as if nothing had been, and stores what it has: the log refuses that, and it ends."""
        place, epoch, stage, out = data.draw(st.sampled_from(self.zombies))
        self.zombies = [zombie for zombie in self.zombies if zombie[2] is not stage]
        self.group.take(place, stage, count)
        if epoch == self.group.epochs[place] or not self.fenced:
            for each in (out, stage.checkpoint(self.now_ms)):
                self.group.commit(place, each, self.now_ms)

    # -- the end -------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Whatever happened: the figures are those of the deduplicated input, and nothing was said twice."""
        if not hasattr(self, "group"):
            return
        group, oracles = self.group, list(self.oracles.values())
        group.settle(self.now_ms)
        assert group.counts() == response_counts(oracles)
        if any(oracle.newest_ms is not None for oracle in oracles):
            assert group.live_windows() == live_windows(oracles, OPEN)
        places = [
            (dead["effort_topic"], dead["effort_partition"], dead["effort_offset"]) for dead in group.dead
        ]
        assert len(places) == len(set(places))
        assert len(places) == sum(n for each in oracles for name, n in each.counts.items() if ":" in name)
        group.fall_idle(self.now_ms + 3 * DAY_MS)
        assert group.windows() == calendar_windows(oracles, OPEN)
        check_revisions(group)


class Unfenced(Members):
    """The same on a log that takes what a zombie writes."""

    fenced = False


CHECKED = settings(
    derandomize=True,
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_any_history_of_a_group_gives_the_tallies_of_the_deduplicated_input() -> None:
    """Batches, checkpoints, crashes, replays, rebalances, zombies in any order: counts, windows, dead letters agree."""
    run_state_machine_as_test(Members, settings=CHECKED)


def test_without_the_fence_the_same_histories_do_harm() -> None:
    """So the test above can fail: a zombie that may write is found out."""
    unshrunk = settings(CHECKED, phases=[Phase.generate], report_multiple_bugs=False, database=None)
    with pytest.raises((AssertionError, StateMismatchError)):
        run_state_machine_as_test(Unfenced, settings=unshrunk)
