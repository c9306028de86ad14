"""What a worker refuses to work with, and how it says so: no broker, none with transactions, no topics, a dead broker."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from app.processes import free_port
from tests.pipeline import Customers, Deployment, WorkerProcess, until
from tests.servers import ApacheKafka, KafkaMissingError, without

DEADLINE_S = 20.0


def reason(worker: WorkerProcess) -> str:
    """The last line of a worker that has ended, which names what to do; never after a traceback."""
    assert "Traceback" not in worker.text()
    return worker.text().splitlines()[-1]


@pytest.mark.asyncio
async def test_without_a_broker_it_says_so_at_once_and_gives_up_in_time(tmp_path):
    """A clear message first, retries, and exit 1 after broker_wait_s."""
    address = f"127.0.0.1:{free_port()}"
    with Deployment(address, tmp_path, topics=False) as deployment:
        worker = deployment.worker(broker_wait_s=3)

        async def said() -> bool:
            return f"Kafka at {address} does not answer yet (Connection refused)" in worker.text()

        await until(said, "a first message", DEADLINE_S)
        assert worker.status is None
        begun = time.monotonic()
        assert await worker.ended(DEADLINE_S) == 1
        assert time.monotonic() - begun < 6
        assert worker.text().count("does not answer yet") > 2
        assert reason(worker).startswith(f"Error: No Kafka broker answers at {address}")
        assert "--broker" in reason(worker)


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_wait_for_a_broker(tmp_path, number):
    """Nobody has to wait for the last retry."""
    with Deployment(f"127.0.0.1:{free_port()}", tmp_path, topics=False) as deployment:
        worker = deployment.worker(broker_wait_s=60)

        async def said() -> bool:
            return "does not answer yet" in worker.text()

        await until(said, "a first message", DEADLINE_S)
        worker.send(number)
        assert await worker.ended(3) == 0
        reason(worker)


@pytest.mark.embedded
def test_a_broker_without_transactions_is_refused_unless_that_is_accepted(own_embedded, tmp_path):
    """Exit 1 with the remedy; with the option, it counts there as well."""
    customers = Customers(total=4_000, seed=7)

    async def run(deployment: Deployment) -> None:
        refused = deployment.worker()
        assert await refused.ended(DEADLINE_S) == 1
        assert "has no transactions" in reason(refused)
        assert "--allow-non-transactional" in reason(refused)
        accepted = deployment.worker("--allow-non-transactional")
        async with deployment.readers() as readers:
            await deployment.produce(customers.records(customers.total // 2))
            await readers.windows_agree(customers)
            accepted.send(signal.SIGTERM)
            assert await accepted.ended(10) == 0
            again = deployment.worker("--allow-non-transactional")
            await deployment.produce(customers.records(customers.total // 2))
            await readers.agree(customers)
            again.send(signal.SIGTERM)
            assert await again.ended(10) == 0
        assert "no transactions: a crash can count records twice" in accepted.text()
        reason(accepted)

    with Deployment(own_embedded, tmp_path, transactional=False) as deployment:
        asyncio.run(run(deployment))


@pytest.mark.kafka
@pytest.mark.asyncio
async def test_missing_topics_are_named_with_the_command_that_creates_them(kafka, tmp_path):
    """Exit 1; the worker creates nothing by itself."""
    with Deployment(kafka, tmp_path, topics=False) as deployment:
        worker = deployment.worker()
        assert await worker.ended(DEADLINE_S) == 1
        assert f"the first is {deployment.topics.prefix}" in reason(worker)
        assert "effortstream topics create" in reason(worker)


@pytest.fixture
def mortal_kafka():
    """An Apache Kafka of its own, to be killed by the test."""
    try:
        server = ApacheKafka()
    except KafkaMissingError as error:
        without(str(error))
        return
    with server:
        yield server


@pytest.mark.kafka
def test_a_worker_whose_broker_died_ends_with_the_reason_and_does_not_hang(mortal_kafka, tmp_path):
    """A checkpoint that can not be written ends it after the transaction timeout; SIGTERM ends it at any time."""
    with Deployment(mortal_kafka.address, tmp_path) as deployment:

        async def run() -> None:
            patient, hasty = deployment.worker(), deployment.worker(transaction_timeout_s=5)
            await patient.owns(6)
            await hasty.owns(6)
            mortal_kafka.kill()
            patient.send(signal.SIGTERM)
            assert await patient.ended(15) == 1
            assert "Nothing is lost" in reason(patient)
            assert await hasty.ended(30) == 1
            assert "Nothing of it is visible" in reason(hasty)

        asyncio.run(run())
