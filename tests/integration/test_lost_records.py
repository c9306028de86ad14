"""Input that retention removed before it was read: counted and reported, never silent."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from agents.topics import RESPONSES
from app.processes import HOST, free_port
from tests.pipeline import PARTITIONS, Customers, Deployment, partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]

SOURCES = 3 * PARTITIONS
REMOVED = 700


@pytest.fixture
def deployment(kafka: str, tmp_path: Path) -> Iterator[Deployment]:
    """Topics of their own on Apache Kafka, and no worker yet."""
    with Deployment(kafka, tmp_path) as made:
        yield made


async def test_what_retention_removed_is_counted_and_reported_and_the_rest_is_exact(deployment):
    """A worker comes back behind the start of one partition: it names the loss, and counts everything that is left."""
    customers = Customers(total=10_000, clean=True)
    async with deployment.readers() as readers:
        first = deployment.worker()
        await first.owns(SOURCES)
        await deployment.produce(customers.records(5_000))
        await readers.agree(customers)
        first.send(signal.SIGTERM)
        assert await first.ended() == 0

        await deployment.produce(doomed())
        applied = customers.lengths[0] - 1
        await remove_before(deployment, 0, applied + 1 + REMOVED)
        await deployment.produce(customers.records(5_000))

        port = free_port()
        second = deployment.worker("--metrics-port", str(port))
        await second.owns(SOURCES)
        await readers.agree(customers)
        assert counters(port)["effortstream_lost_records_total"] == REMOVED
        (said,) = second.events("retention removed records before they were read")
        assert (said["partition"], said["from_offset"], said["lost"]) == (0, applied + 1, REMOVED)
        assert said["level"] == "error"
        assert second.status is None


def doomed() -> Iterator[tuple[bytes, bytes]]:
    """Answers of partition 0 that nobody will ever read."""
    key = next(key for number in range(100) if partition_of(key := b"d%d" % number) == 0)
    for number in range(REMOVED):
        yield key, b'{"response_id":"d%d","question":"effort","rating":1,"touchpoint":"t"}' % number


async def remove_before(deployment: Deployment, partition: int, offset: int) -> None:
    """What the broker does when retention has come to an offset."""
    admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
    await admin.start()
    try:
        tp = TopicPartition(deployment.topics(RESPONSES), partition)
        assert await admin.delete_records({tp: RecordsToDelete(offset)}) == {tp: offset}
    finally:
        await admin.close()


def counters(port: int) -> dict[str, float]:
    """A worker's metrics without labels."""
    lines = httpx.get(f"http://{HOST}:{port}/metrics").text.splitlines()
    plain = [line.split() for line in lines if not line.startswith("#") and "{" not in line]
    return {name: float(value) for name, value in plain}
