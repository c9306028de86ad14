"""The engine by itself, with sinks that tests hold in their hands: what is open is closed, whatever goes wrong."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from agents import engine as engine_module
from agents.checkpoints import CheckpointError
from agents.clock import SystemClock
from agents.engine import BrokersFailedError, Engine, Pace
from agents.ports import Batch, Outgoing
from agents.watchdog import Watchdog

SOURCES = [TopicPartition("responses", number) for number in range(3)]


class Stage:
    """A stage that counts batches; each checkpoint drains what it has."""

    name = "responses"
    watermark_ms = None

    def __init__(self, source):
        self.partition, self.applied, self.fresh = source.partition, -1, 0
        self.sizes = {}

    def apply(self, batch):
        """Takes a batch."""
        self.applied = batch.end - 1
        self.fresh += len(batch.records)

    def tick(self, now_ms, *, at_end):
        """Time changes nothing here."""

    def progress(self):
        """Nothing to count."""
        return {}

    def checkpoint(self, now_ms):
        """What came since the last one."""
        if not self.fresh:
            return None
        drained, self.fresh = self.fresh, 0
        return Outgoing(self.applied + 1, progress={"drained": drained})


class Sink:
    """A sink whose ``open`` and ``write`` wait for the test, or fail as it says."""

    def __init__(self, source):
        self.is_open = False
        self.may_open, self.may_write = asyncio.Event(), asyncio.Event()
        self.opening, self.writing = asyncio.Event(), asyncio.Event()
        self.error = None
        self.written = 0
        self.may_open.set()
        self.may_write.set()

    async def open(self):
        """When the test lets it."""
        self.opening.set()
        await self.may_open.wait()
        if self.error is not None:
            raise self.error
        self.is_open = True

    async def write(self, outgoing):
        """When the test lets it."""
        assert self.is_open
        self.writing.set()
        await self.may_write.wait()
        if self.error is not None:
            raise self.error
        self.written += outgoing.progress["drained"]

    async def close(self):
        """At once."""
        self.is_open = False


class Reader:
    """A consumer that has nothing to say."""

    async def seek_to(self, tp, offset):
        """There is nothing to seek in."""

    def log_end(self, tp):
        """Not known."""


@pytest.fixture
def restoring(monkeypatch):
    """Set it to let restores end."""
    may_end = asyncio.Event()

    async def restore(stages, changelog_of, client, progress):
        await may_end.wait()

    monkeypatch.setattr(engine_module, "restore", restore)
    return may_end


class Held:
    """An engine and its sinks."""

    def __init__(self):
        self.sinks: list[Sink] = []
        self.engine = Engine({}, SystemClock(), Stage, self._sink, str, Pace(0.0, 0.0, 0.0), Watchdog(60))
        self.engine.reader = Reader()

    def _sink(self, source, stage):
        sink = Sink(source)
        self.sinks.append(sink)
        if self.prepare is not None:
            self.prepare(len(self.sinks) - 1, sink)
        return sink

    prepare = None

    def open_sinks(self):
        """The sinks that are open."""
        return [sink for sink in self.sinks if sink.is_open]


async def soon(condition):
    """Waits for a condition, with a deadline."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.asyncio
async def test_a_rebalance_during_a_restore_ends_it_and_closes_its_sinks(restoring):
    """What was being restored belongs to somebody else by then; the next assignment starts afresh."""
    held = Held()
    held.engine.assign(set(SOURCES))
    await soon(lambda: len(held.open_sinks()) == 3)
    await held.engine.revoke()
    assert (held.open_sinks(), held.engine.ready, held.engine.restoring) == ([], {}, None)
    restoring.set()
    held.engine.assign({SOURCES[0]})
    await soon(lambda: set(held.engine.ready) == {SOURCES[0]})
    assert len(held.open_sinks()) == 1
    await held.engine.stop()
    assert held.open_sinks() == []


@pytest.mark.asyncio
async def test_when_one_sink_can_not_be_opened_none_stays_open(restoring):
    """Neither those that were open already nor those that were about to be."""
    held = Held()

    def prepare(at, sink):
        if at == 1:
            sink.error = KafkaConnectionError("no broker")
        if at == 2:
            sink.may_open.clear()

    held.prepare = prepare
    held.engine.assign(set(SOURCES))
    async with asyncio.timeout(5):
        error = await held.engine.failed
    assert isinstance(error, BrokersFailedError)
    assert "no broker" in str(error)
    held.sinks[2].may_open.set()
    await asyncio.sleep(0)
    assert held.open_sinks() == []
    await held.engine.stop()


async def running(held, restoring):
    """Lets the engine own everything and run."""
    restoring.set()
    held.engine.assign(set(SOURCES))
    await soon(lambda: len(held.engine.ready) == 3)
    return asyncio.create_task(held.engine.run())


@pytest.mark.asyncio
async def test_a_failed_engine_writes_nothing_more_and_closes_all_sinks(restoring):
    """One partition's checkpoint fails: what the others have is left to the successor, nothing stays open."""
    held = Held()
    run = await running(held, restoring)
    held.sinks[0].error = CheckpointError("fenced")
    await held.engine.take(SOURCES[0], Batch([object()], 0, 1, 1))
    async with asyncio.timeout(5):
        assert str(await held.engine.failed) == "fenced"
    await held.engine.take(SOURCES[1], Batch([object()], 0, 1, 1))
    await held.engine.revoke()
    assert held.open_sinks() == []
    assert [sink.written for sink in held.sinks] == [0, 0, 0]
    await held.engine.stop()
    await run


@pytest.mark.asyncio
async def test_stopping_in_the_middle_of_a_checkpoint_loses_nothing_of_it(restoring):
    """The one in the making is finished, what came meanwhile is in the last one."""
    held = Held()
    run = await running(held, restoring)
    sink = held.sinks[0]
    sink.may_write.clear()
    await held.engine.take(SOURCES[0], Batch([object()] * 3, 0, 3, 5))
    await sink.writing.wait()
    await held.engine.take(SOURCES[0], Batch([object()] * 2, 3, 5, 5))
    stop = asyncio.create_task(held.engine.stop())
    await asyncio.sleep(0.01)
    assert not stop.done()
    sink.may_write.set()
    await stop
    await run
    assert sink.written == 5
    assert held.open_sinks() == []
    assert not held.engine.failed.done()


@pytest.mark.asyncio
async def test_a_batch_of_an_old_assignment_is_taken_only_where_it_continues_the_state(restoring):
    """Batches carry their offsets: what is behind the position is left out, what is not assigned is dropped."""
    held = Held()
    run = await running(held, restoring)
    stage = held.engine.ready[SOURCES[0]].stage
    await held.engine.take(SOURCES[0], Batch([Record(0), Record(1)], 0, 2, 4))
    await held.engine.take(SOURCES[0], Batch([Record(0), Record(1)], 0, 2, 4))
    assert stage.applied == 1
    await held.engine.take(SOURCES[0], Batch([Record(1), Record(2), Record(3)], 1, 4, 4))
    await held.engine.take(TopicPartition("responses", 9), Batch([Record(0)], 0, 1, 1))
    await held.engine.stop()
    await run
    assert (stage.applied, held.sinks[0].written) == (3, 4)


class Record:
    """A record with an offset."""

    def __init__(self, offset):
        self.offset = offset
