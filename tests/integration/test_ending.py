"""How a worker ends when it is told to: with a last checkpoint and in time; told twice, at once."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline import PARTITIONS, Customers, Deployment, until
from tests.servers import ApacheKafka, KafkaMissingError, without

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]

SOURCES = 3 * PARTITIONS
TERM_S = 10.0
AT_ONCE_S = 2.0


@pytest.fixture
def own_kafka() -> Iterator[ApacheKafka]:
    """A broker that this test may freeze."""
    try:
        server = ApacheKafka()
    except KafkaMissingError as error:
        without(str(error))
        return
    with server:
        yield server


@pytest.fixture
def deployment(kafka: str, tmp_path: Path) -> Iterator[Deployment]:
    """Topics of their own, and no worker yet."""
    with Deployment(kafka, tmp_path) as made:
        yield made


@pytest.fixture
def own_deployment(own_kafka: ApacheKafka, tmp_path: Path) -> Iterator[Deployment]:
    """The same on the broker that may be frozen."""
    with Deployment(own_kafka.address, tmp_path) as made:
        yield made


async def test_a_worker_under_load_ends_within_ten_seconds_and_loses_nothing(deployment):
    """SIGTERM while events come faster than anybody sends them: status 0, and the next one is exact."""
    customers = Customers(total=200_000, seed=8)
    worker = deployment.worker()
    await worker.owns(SOURCES)
    load = asyncio.create_task(deployment.produce(customers.records(customers.total)))

    async def loaded() -> bool:
        return sum((await deployment.positions()).values()) > 20_000

    await until(loaded, "the worker is at work")
    begun = time.monotonic()
    worker.send(signal.SIGTERM)
    assert await worker.ended(TERM_S) == 0
    assert time.monotonic() - begun < TERM_S
    await load
    assert sum((await deployment.positions()).values()) < customers.total  # it was in the middle of it
    deployment.worker()
    async with deployment.readers() as readers:
        await readers.agree(customers)


async def test_a_second_signal_ends_a_worker_at_once(own_kafka, own_deployment):
    """Its last checkpoint hangs on a silent broker; told again, it does not wait, and nothing is lost."""
    customers = Customers(total=4_000, clean=True)
    worker = own_deployment.worker(session_timeout_s=6)
    await worker.owns(SOURCES)
    await own_deployment.produce(customers.records(2_000))
    own_kafka.pause()
    try:
        worker.send(signal.SIGTERM)
        with pytest.raises(AssertionError, match="not within"):
            await worker.ended(AT_ONCE_S)  # the first one waits for the brokers
        begun = time.monotonic()
        worker.send(signal.SIGTERM)
        assert await worker.ended(AT_ONCE_S) == 1
        assert time.monotonic() - begun < AT_ONCE_S
    finally:
        own_kafka.resume()
    assert "Traceback" not in worker.text()
    own_deployment.worker()
    await own_deployment.produce(customers.records(2_000))
    async with own_deployment.readers() as readers:
        await readers.agree(customers)
