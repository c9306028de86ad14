"""A worker whose broker falls silent: nothing fails, nothing moves, and the watchdog ends it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from app.processes import HOST, free_port
from tests.pipeline import PARTITIONS, Customers, Deployment, until
from tests.servers import ApacheKafka, KafkaMissingError, without

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]

STALL_S = 8


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
def deployment(own_kafka, tmp_path) -> Iterator[Deployment]:
    """Topics on it, and no worker yet."""
    with Deployment(own_kafka.address, tmp_path) as made:
        yield made


async def test_a_worker_that_makes_no_progress_says_so_to_the_probe_and_ends(own_kafka, deployment):
    """/livez answers 503, the status is 1 with the reason, and started again it has lost nothing."""
    customers = Customers(total=4_000, clean=True)
    port = free_port()
    worker = deployment.worker("--metrics-port", str(port), stall_s=STALL_S)
    await worker.owns(3 * PARTITIONS)
    await deployment.produce(customers.records(2_000))
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as probe:
        assert (await probe.get("/livez")).status_code == 200
        own_kafka.pause()
        try:

            async def unhealthy() -> bool:
                return (await probe.get("/livez")).status_code == 503

            await until(unhealthy, "the probe fails", 4 * STALL_S)
            assert await worker.ended(30) == 1
        finally:
            own_kafka.resume()
    (reason,) = [line for line in worker.text().splitlines() if line.startswith("Error: ")]
    assert f"no progress for {STALL_S} s although there is work" in reason
    assert "Traceback" not in worker.text()
    deployment.worker()
    await deployment.produce(customers.records(2_000))
    async with deployment.readers() as readers:
        await readers.agree(customers)
