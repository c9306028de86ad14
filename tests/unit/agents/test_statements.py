"""What a source partition says of its progress, how often, and what stage 2 makes of it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from agents.partials import Statement, decode_statement, encode_statement
from agents.ports import Batch, Outgoing
from agents.scores import ScoreStage
from agents.source import END_OF_INPUT, Intake
from agents.topics import PARTIALS
from tests.unit.agents.pipeline import Pipeline
from tests.unit.agents.streams import (
    CATALOG,
    DAY_MS,
    HOUR_MS,
    NOW_MS,
    SECOND_MS,
    Rec,
    changelog_of,
    feed,
    raw,
    reborn,
    records,
    response,
    responses,
)

REACH_MS = CATALOG.timing.max_out_of_orderness_ms


def said(out: Outgoing | None) -> dict[int, Statement]:
    """The statements of a checkpoint, by the partials partition that they go to."""
    if out is None:
        return {}
    return {
        partition: decode_statement(record.value or b"")
        for (topic, partition), sent in out.sends.items()
        for record in sent
        if topic is PARTIALS and record.key == b""
    }


def test_a_new_owner_first_says_that_its_partition_is_not_idle() -> None:
    """To every partials partition, before anything was read and after a restart of an idle one."""
    stage = responses(Intake(CATALOG, 4))
    first = stage.checkpoint(NOW_MS)
    assert set(said(first)) == {0, 1, 2, 3}
    assert said(first)[0] == Statement(0, 0, -1, None, None, False, False, NOW_MS)
    stage.tick(NOW_MS, at_end=True)
    stage.tick(NOW_MS + 30 * SECOND_MS, at_end=True)
    second = stage.checkpoint(NOW_MS + 30 * SECOND_MS)
    assert said(second)[3].idle
    made = reborn(stage, changelog_of(first) + changelog_of(second))
    assert not any(each.idle for each in said(made.checkpoint(NOW_MS + 31 * SECOND_MS)).values())


def test_progress_is_said_to_all_at_most_once_a_second_and_only_if_it_changed() -> None:
    """In between only the partitions that get partials anyway are told."""
    stage = responses(Intake(CATALOG, 8))
    told = []
    stage.checkpoint(NOW_MS)
    for at in range(40):
        now_ms = NOW_MS + 100 * (at + 1)
        lot = [Rec(at, now_ms, b"k", raw(response(response_id=str(at), event_time_ms=now_ms)))]
        feed(stage, lot)
        told.append(len(said(stage.checkpoint(now_ms))))
    assert [at for at, n in enumerate(told) if n == 8] == [9, 19, 29, 39]
    assert set(told) == {1, 8}
    stage.tick(NOW_MS + 10 * SECOND_MS, at_end=True)
    assert stage.checkpoint(NOW_MS + 10 * SECOND_MS) is None


def test_statements_are_rarer_where_there_are_many_partitions() -> None:
    """Beyond 16 the interval grows in proportion."""
    stage = responses(Intake(CATALOG, 64))
    stage.checkpoint(NOW_MS)
    feed(stage, records([response()]))
    assert len(said(stage.checkpoint(NOW_MS + 3_999))) == 1
    feed(stage, records([response(response_id="2")], first=1))
    assert len(said(stage.checkpoint(NOW_MS + 4_000))) == 64


def test_an_idle_partition_says_so_once_and_then_every_ten_seconds() -> None:
    """Read to its end, and nothing came for idle_timeout."""
    stage = responses(Intake(CATALOG, 1))
    feed(stage, records([response()]))
    stage.checkpoint(NOW_MS)
    idle_at = []
    for second in range(1, 65):
        now_ms = NOW_MS + second * SECOND_MS
        stage.tick(now_ms, at_end=True)
        if any(each.idle for each in said(stage.checkpoint(now_ms)).values()):
            idle_at.append(second)
    assert idle_at == [31, 41, 51, 61]


def test_a_partition_that_is_not_read_to_its_end_is_not_idle() -> None:
    """Neither is one whose records have just come; both say so at once."""
    stage = responses(Intake(CATALOG, 1))
    for second in range(40):
        stage.tick(NOW_MS + second * SECOND_MS, at_end=True)
    assert said(stage.checkpoint(NOW_MS + 40 * SECOND_MS))[0].idle
    stage.tick(NOW_MS + 41 * SECOND_MS, at_end=False)
    assert not said(stage.checkpoint(NOW_MS + 41 * SECOND_MS))[0].idle
    for second in range(42, 80):
        stage.tick(NOW_MS + second * SECOND_MS, at_end=True)
    assert said(stage.checkpoint(NOW_MS + 80 * SECOND_MS))[0].idle
    feed(stage, records([response()]))
    assert not said(stage.checkpoint(NOW_MS + 81 * SECOND_MS))[0].idle


def test_in_a_replay_only_events_move_time() -> None:
    """A slow reader of files is not idle; the end-of-input marker is what ends."""
    stage = responses(Intake(CATALOG, 1, replay=True))
    feed(stage, records([response()]))
    stage.checkpoint(NOW_MS)
    for second in range(100):
        stage.tick(NOW_MS + second * SECOND_MS, at_end=True)
    assert not any(each.idle for each in said(stage.checkpoint(NOW_MS + DAY_MS)).values())
    feed(stage, records([END_OF_INPUT], first=1))
    assert said(stage.checkpoint(NOW_MS + DAY_MS))[0].ended
    assert stage.counts == {"accepted": 1}


def test_the_end_of_input_is_a_dead_letter_outside_a_replay() -> None:
    """Nobody can end a live stream with a record."""
    stage = responses(Intake(CATALOG, 1))
    feed(stage, records([END_OF_INPUT]))
    assert stage.counts == {"dead_letter": 1, "dead_letter:not_json": 1}
    assert not stage.ended


def state(
    kind: int, at: int, watermark_ms: int | None, stated_ms: int = NOW_MS, offset: int = 0, **flags: bool
) -> Statement:
    """A statement of a source partition."""
    newest_ms = None if watermark_ms is None else watermark_ms + REACH_MS
    flags = {"idle": False, "ended": False} | flags
    return Statement(kind, at, offset, newest_ms, watermark_ms, flags["idle"], flags["ended"], stated_ms)


def hear(stage: ScoreStage, statements: Iterable[Statement], now_ms: int = NOW_MS) -> int | None:
    """The merged watermark after these statements."""
    lot = [
        Rec(stage.applied + 1 + at, now_ms, b"", encode_statement(each)) for at, each in enumerate(statements)
    ]
    stage.apply(Batch(lot, stage.applied + 1, stage.applied + 1 + len(lot), 0))
    stage.checkpoint(now_ms)
    return stage.watermark_ms


def test_nothing_closes_before_all_sources_have_reported() -> None:
    """Both topics of both partitions, idle or not."""
    stage = ScoreStage(0, CATALOG, 2)
    assert hear(stage, [state(0, 0, NOW_MS), state(0, 1, NOW_MS), state(1, 0, None, idle=True)]) is None
    assert hear(stage, [state(1, 1, None, idle=True)]) == NOW_MS


@pytest.mark.parametrize("missing", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_windows_wait_for_the_source_that_has_said_nothing(missing: tuple[int, int]) -> None:
    """Whichever it is, its answers may still fill them."""
    pipeline = Pipeline(CATALOG, 2)
    for key in pipeline.sources:
        if key != missing:
            record = {"interaction_id": "i", "touchpoint": "cart"} if key[0] else response(touchpoint="cart")
            pipeline.put(*key, NOW_MS, raw(record | {"event_time_ms": NOW_MS}))
            pipeline.put(*key, NOW_MS + DAY_MS, raw(record | {"event_time_ms": NOW_MS + DAY_MS}))
            pipeline.read(key, 10, NOW_MS + DAY_MS)
    for at in range(2):
        pipeline.merge(at, 100, NOW_MS + DAY_MS)
    assert pipeline.revisions == {}
    assert all(score.watermark_ms is None for score in pipeline.scores)


def test_the_watermark_is_the_slowest_partition_that_is_not_idle() -> None:
    """One without events that is not idle holds it."""
    stage = ScoreStage(0, CATALOG, 1)
    assert hear(stage, [state(0, 0, NOW_MS), state(1, 0, None)]) is None
    assert hear(stage, [state(1, 0, NOW_MS - 5)]) == NOW_MS - 5
    assert hear(stage, [state(1, 0, NOW_MS - 5, idle=True)]) == NOW_MS


def test_an_idle_statement_holds_for_thirty_seconds() -> None:
    """After that its owner may be dead, and the partition holds the watermark."""
    stage = ScoreStage(0, CATALOG, 1)
    hear(stage, [state(0, 0, NOW_MS), state(1, 0, NOW_MS - HOUR_MS, idle=True)])
    held = hear(stage, [state(0, 0, NOW_MS + 30_000)], NOW_MS + 30_000)
    assert held == NOW_MS + 30_000
    assert hear(stage, [state(0, 0, NOW_MS + 60_000)], NOW_MS + 30_001) == NOW_MS + 30_000


def test_an_older_statement_changes_nothing() -> None:
    """It says less than is known."""
    stage = ScoreStage(0, CATALOG, 1)
    hear(stage, [state(0, 0, NOW_MS, offset=9), state(1, 0, NOW_MS)])
    assert hear(stage, [state(0, 0, NOW_MS + 5, offset=8)]) == NOW_MS


def test_when_all_are_idle_the_clock_goes_on() -> None:
    """A stopped survey becomes no data, not a frozen number."""
    stage = ScoreStage(0, CATALOG, 1)
    hear(stage, [state(0, 0, NOW_MS, idle=True), state(1, 0, None, idle=True)])
    stage.tick(NOW_MS + 20_000, at_end=True)
    stage.checkpoint(NOW_MS + 20_000)
    assert stage.watermark_ms == NOW_MS - REACH_MS - CATALOG.timing.idle_timeout_ms + 20_000


def test_the_watermark_never_goes_back() -> None:
    """An idle partition that wakes with older events brings revisions, not windows that open again."""
    stage = ScoreStage(0, CATALOG, 1)
    hear(stage, [state(0, 0, NOW_MS), state(1, 0, NOW_MS - HOUR_MS, idle=True)])
    assert hear(stage, [state(1, 0, NOW_MS - HOUR_MS, offset=1)]) == NOW_MS


def test_the_end_of_all_inputs_closes_all_windows() -> None:
    """Only when every source has ended."""
    stage = ScoreStage(0, CATALOG, 1)
    hear(stage, [state(0, 0, NOW_MS, ended=True), state(1, 0, NOW_MS)])
    assert not stage.ended
    hear(stage, [state(1, 0, None, ended=True)])
    assert stage.ended
    assert stage.watermark_ms is None
