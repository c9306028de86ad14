"""Faust's transport with whole batches: one event for each fetch of a partition, and positions that the state owns.

Faust spends about 35 microseconds on each message before an agent sees it, and aiokafka builds an object for each
record. Here the records of one fetch travel as one message, as the batch parser made them. Offsets are never
committed through Faust: the checkpoint's transaction does that.

There is no public way to a batch of aiokafka, so this module and agents/batches.py, and only these, reach into its
consumer; both versions are pinned, and the integration tests cover what is relied on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiokafka
import aiokafka.errors
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from faust.serializers.codecs import Codec
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.threads import WorkerThread

from agents.batches import Gaps, drain_all, log_end
from agents.ports import Batch

if TYPE_CHECKING:
    from agents.engine import Engine

_FETCH_BYTES = 4 << 20
_FETCH_WAIT_MS = 50
_POLL_S = 0.2
_HEARD_MS = 5_000
_UNREADY_S = 0.02
_THREAD_STOP_S = 2.0

LIBRARY_LOG = logging.getLogger("faust")
"""For our subclasses of Faust's services: its own lines ("Starting...") are not ours to show at INFO."""


class Raw(Codec):  # type: ignore[misc]  # Faust is untyped
    """Hands a message's value on as it is."""

    def _loads(self, s: Any) -> Any:
        return s

    def _dumps(self, obj: Any) -> Any:
        return obj


class _MortalThread(WorkerThread):  # type: ignore[misc]  # mode is untyped
    """A thread that a client which hangs, after its brokers have died, can not keep the process alive with."""

    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.daemon = True

    def run(self) -> None:
        """As ever, but the app's crash is the one to be told, not the way in which the client ended after it."""
        try:
            super().run()
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - whatever it is, it comes after the end
            LIBRARY_LOG.debug("the consumer's thread ended", exc_info=True)

    def stop(self) -> None:
        """Waits for the thread's end, but not for ever: this blocks the event loop."""
        self.is_stopped.wait(_THREAD_STOP_S)


class BatchThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust is untyped
    """The consumer's thread: fetches batches, under read_committed."""

    Worker = _MortalThread
    logger = LIBRARY_LOG
    _gaps: Gaps | None = None

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Nothing: the app crashes with the same error, and whoever runs the worker says what that means."""

    async def check_group(self) -> None:
        """Raises what has ended this consumer's part in the group (no right to it, for one): nobody else asks."""
        _check_group(self._ensure_consumer())

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        engine: Engine = self.app.engine
        self._gaps = None if self.app.transactional else Gaps()
        return aiokafka.AIOKafkaConsumer(
            **engine.client,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=_FETCH_BYTES,
            # A fetch that asks only for quiet partitions holds back the busy ones of its broker for as long as this.
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            session_timeout_ms=round(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=round(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=round(conf.broker_heartbeat_interval * 1000),
            request_timeout_ms=round(conf.broker_request_timeout * 1000),
            # A long restore is no reason to leave the group: the engine's own watch ends a worker that hangs.
            max_poll_interval_ms=86_400_000,
            retry_backoff_ms=100,
        )

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> dict[Any, Batch]:
        """As ``Fetcher.fetched_records`` of aiokafka, but with the batches whole."""
        _check_group(consumer)
        fetcher = consumer._fetcher
        if fetcher._fetch_task.done() and not fetcher._closed:
            fetcher._fetch_task.result()  # raises what has ended it; nobody else would notice
        deadline = time.monotonic() + (timeout or 0.0)
        with fetcher._subscriptions.fetch_context():
            while self.consumer.flow_active:
                if consumer._closed or fetcher._closed:
                    raise aiokafka.errors.ConsumerStoppedError
                if fetcher._subscriptions.reassignment_in_progress:
                    return {}
                drained = drain_all(fetcher, active_partitions, self._gaps)
                left_s = deadline - time.monotonic()
                if drained or left_s <= 0:
                    return drained
                waiter = fetcher._create_fetch_waiter()
                done, _ = await asyncio.wait([waiter], timeout=left_s)
                if not done:
                    waiter.cancel()
                    return {}
                waiter.result()
        return {}

    def log_end(self, tp: aiokafka.TopicPartition) -> int | None:
        """Where the readable log of an assigned partition ended at the last fetch.

        None if that is not known, or too long ago to be relied on: then its broker does not answer.
        """
        consumer = self._consumer
        if consumer is None:
            return None
        subscription = consumer._subscription.subscription
        if subscription is None or subscription.assignment is None or tp not in subscription.assignment.tps:
            return None
        state = subscription.assignment.state_value(tp)
        if state.timestamp is None or time.time() * 1000 - state.timestamp > _HEARD_MS:
            return None
        return log_end(state)


def _check_group(consumer: Any) -> None:
    """Raises what has ended the consumer's part in the group, and sees to it that all partitions are shared out.

    A broker that has just come back may know no partitions yet. The group's leader then shares out none of that topic,
    everybody is content, and nothing would be read until metadata are due again, which takes five minutes.
    """
    consumer._coordinator.check_errors()
    if 0 in consumer._coordinator._metadata_snapshot.values():
        consumer._client.force_metadata_update()  # another count of partitions makes the leader share out again


class BatchConsumer(driver.Consumer):  # type: ignore[misc]  # Faust is untyped
    """Yields one message for each batch of the partitions whose state is restored."""

    _thread: BatchThread
    logger = LIBRARY_LOG

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Fetches from the partitions that are ready; an unready one must not be read past its position."""
        engine: Engine = self.app.engine
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        ready = engine.ready
        if not ready or self.should_stop:
            await asyncio.sleep(_UNREADY_S)
            if not self.should_stop:
                await self._thread.call_thread(self._thread.check_group)
            return
        generation = self.app.consumer_generation_id
        for source, batch in (await self._getmany(set(ready), _POLL_S)).items():
            if source not in engine.ready:
                continue  # revoked meanwhile: its next owner starts from the state's position
            tp = TP(source.topic, source.partition)
            stamp_s = batch.records[-1].timestamp / 1000.0 if batch.records else 0.0
            yield (
                tp,
                ConsumerMessage(
                    tp.topic,
                    tp.partition,
                    batch.end - 1,
                    stamp_s,
                    0,
                    [],
                    None,
                    batch,
                    None,
                    0,
                    0,
                    tp,
                    generation_id=generation,
                ),
            )

    async def seek_to(self, tp: aiokafka.TopicPartition, offset: int) -> None:
        """Sets the position of an assigned partition."""
        await self._thread.call_thread(self._seek_in_thread, tp, offset)
        self._read_offset[TP(tp.topic, tp.partition)] = None

    async def _seek_in_thread(self, tp: aiokafka.TopicPartition, offset: int) -> None:
        self._thread._ensure_consumer().seek(tp, offset)

    def log_end(self, tp: aiokafka.TopicPartition) -> int | None:
        """See BatchThread.log_end."""
        return self._thread.log_end(tp)

    async def perform_seek(self) -> None:
        """Nothing: the engine seeks each partition to its own state's position once that is restored."""

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: the queue itself holds the fetch back; Faust's way would sleep a second when all are full."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing, see ``on_buffer_full``."""

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing: offsets are not acked one by one."""

    def _new_offset(self, tp: TP) -> int | None:
        return None  # the checkpoint's transaction commits, never Faust

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: the engine watches its own progress."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Last checkpoint, then let go of all state: rebalances are eager."""
        await self.app.engine.revoke()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begins to restore the state of what was assigned; reading begins when that is done."""
        await super().on_partitions_assigned(assigned, generation_id)
        self.app.engine.reader = self
        self.app.engine.assign({aiokafka.TopicPartition(tp.topic, tp.partition) for tp in assigned})


class BatchTransport(driver.Transport):  # type: ignore[misc]  # Faust is untyped
    """The transport of BatchConsumer."""

    Consumer = BatchConsumer
