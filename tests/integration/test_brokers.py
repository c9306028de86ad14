"""The brokers that everything else is tested on: the embedded one and Apache Kafka."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownError

from app.broker import BrokerError, BrokerUnavailable, EmbeddedBroker, cluster_id, wait_for_broker
from app.processes import free_port
from tests.servers import ApacheKafka, KafkaMissingError, make_topic, without

DEADLINE_S = 20.0


def ignore(_: str) -> None:
    """For callers who do not care about retries."""


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition, with a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def three_brokers(kafka: str) -> Iterator[ApacheKafka]:
    """A cluster of three of our own, where an Apache Kafka can be had at all."""
    assert kafka
    try:
        cluster = ApacheKafka(brokers=3, heap="256m")
    except KafkaMissingError as error:
        without(f"a cluster of three cannot be started: {error}")
        return
    with cluster:
        yield cluster


class TestEmbeddedBroker:
    @pytest.mark.asyncio
    async def test_it_answers_inside_its_block_and_is_gone_after_it(self, tmp_path: Path) -> None:
        """Inside the block it answers metadata requests; after it there is no process, and the log is kept."""
        async with EmbeddedBroker(log=tmp_path / "logs" / "broker.log") as broker:
            pid = broker.pid
            assert pid is not None
            assert (await cluster_id(broker.address, {})).startswith("effortstream-")
        assert broker.pid is None
        assert not is_running(pid)
        assert "listening on" in broker.log.read_text(encoding="utf-8")
        with pytest.raises(ConnectionError):
            await cluster_id(broker.address, {})

    @pytest.mark.asyncio
    async def test_it_is_stopped_when_the_block_fails(self) -> None:
        """An error inside the block comes out as it is, and the process is gone."""
        broker = EmbeddedBroker()
        pids: list[int] = []

        async def run() -> None:
            async with broker:
                pids.append(broker.pid or 0)
                raise KeyError("ours")

        with pytest.raises(KeyError, match="ours"):
            await run()
        assert not is_running(pids[0])
        assert not broker.log.exists()

    @pytest.mark.asyncio
    @pytest.mark.parametrize("started", [False, True], ids=["while it starts", "while it runs"])
    async def test_it_is_stopped_when_its_task_is_cancelled(self, *, started: bool) -> None:
        """A cancelled task leaves no process behind, at whatever moment it is cancelled."""
        broker = EmbeddedBroker()
        inside = asyncio.Event()

        async def run() -> None:
            async with broker:
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(run())
        if started:
            await inside.wait()
        await until(lambda: broker.pid is not None)
        pid = broker.pid or 0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not is_running(pid)

    @pytest.mark.asyncio
    async def test_a_taken_port_is_named_with_the_remedy(self) -> None:
        """A port that somebody else listens on is refused in one sentence, before anything is started."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(BrokerError, match=rf"Port {port} .* already in use.*another port"):
                async with EmbeddedBroker(port):
                    pass

    @pytest.mark.asyncio
    async def test_a_broker_that_dies_at_once_is_reported_with_its_last_words(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The message holds the end of the output and the name of the log file."""
        program = tmp_path / "program"
        program.write_text("#!/bin/sh\necho 'no room left'\nexit 3\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("CALF_TANSU_BIN", str(program))
        log = tmp_path / "broker.log"
        with pytest.raises(BrokerError) as raised:
            async with EmbeddedBroker(log=log):
                pass
        assert "status 3" in str(raised.value)
        assert "no room left" in str(raised.value)
        assert str(log) in str(raised.value)

    @pytest.mark.asyncio
    async def test_a_broker_that_does_not_answer_is_given_up_and_stopped(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After the deadline the process is killed, and the message says why."""
        program, pid_file = tmp_path / "program", tmp_path / "pid"
        program.write_text(f"#!/bin/sh\necho $$ > {pid_file}\nexec tail -f /dev/null\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("CALF_TANSU_BIN", str(program))
        with pytest.raises(BrokerError, match="did not answer within"):
            async with EmbeddedBroker(log=tmp_path / "broker.log", deadline_s=0.5):
                pass
        assert not is_running(int(pid_file.read_text(encoding="utf-8")))

    @pytest.mark.asyncio
    async def test_a_missing_program_is_an_error_with_a_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where there is no binary for this system the user is told what else to do."""
        monkeypatch.setenv("CALF_TANSU_BIN", "/nowhere/tansu")
        with pytest.raises(BrokerError, match="--broker HOST:PORT"):
            async with EmbeddedBroker():
                pass

    @pytest.mark.asyncio
    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
    async def test_it_dies_with_a_program_that_is_killed(self, tmp_path: Path) -> None:
        """A program that gets kill -9 cannot stop anything any more, and yet no broker stays behind."""
        program = (
            "import asyncio, pathlib\n"
            "from app.broker import EmbeddedBroker\n"
            "async def run():\n"
            f"    async with EmbeddedBroker(log=pathlib.Path({str(tmp_path / 'log')!r})) as broker:\n"
            "        print(broker.pid, flush=True)\n"
            "        await asyncio.Event().wait()\n"
            "asyncio.run(run())\n"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            assert is_running(pid)
            parent.send_signal(signal.SIGKILL)
        await until(lambda: not is_running(pid))

    @pytest.mark.embedded
    @pytest.mark.asyncio
    async def test_its_limits_are_the_ones_that_the_code_allows_for(self, embedded: str) -> None:
        """Times and headers are kept, LogAppendTime is not done, end_offsets is low and the high watermark is right."""
        topic = TopicPartition(f"limits-{uuid.uuid4().hex}", 0)
        admin = AIOKafkaAdminClient(bootstrap_servers=embedded)
        await admin.start()
        await make_topic(admin, topic.topic, settings={"message.timestamp.type": "LogAppendTime"})
        await admin.close()
        producer = AIOKafkaProducer(bootstrap_servers=embedded)
        await producer.start()
        batch = producer.create_batch()
        for number in range(10):
            batch.append(
                key=b"k", value=b"%d" % number, timestamp=1_000_000_000_000, headers=[("ce_id", b"1")]
            )
        await (await producer.send_batch(batch, topic.topic, partition=0))
        await producer.stop()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=embedded, auto_offset_reset="earliest", isolation_level="read_committed"
        )
        await consumer.start()
        consumer.assign([topic])
        records: list[ConsumerRecord] = []
        async with asyncio.timeout(DEADLINE_S):
            while len(records) < 10:
                for fetched in (await consumer.getmany(timeout_ms=500)).values():
                    records += fetched
        end, highwater = (await consumer.end_offsets([topic]))[topic], consumer.highwater(topic)
        await consumer.stop()
        assert {(record.timestamp, record.headers) for record in records} == {
            (1_000_000_000_000, (("ce_id", b"1"),))
        }
        assert (end, highwater) == (1, 10)

    @pytest.mark.embedded
    @pytest.mark.asyncio
    async def test_it_refuses_transactions(self, embedded: str) -> None:
        """That is how a program can tell it from a broker that has them."""
        producer = AIOKafkaProducer(bootstrap_servers=embedded, transactional_id="t")
        with pytest.raises(UnknownError):
            await producer.start()
        await producer.stop()


class TestWaiting:
    @pytest.mark.asyncio
    async def test_a_broker_that_comes_later_is_found(self) -> None:
        """While nobody listens it is tried again, each failure is told, and the first answer ends the wait."""
        port = free_port()
        told: list[str] = []
        wait = asyncio.create_task(wait_for_broker(f"127.0.0.1:{port}", DEADLINE_S, {}, told.append))
        await until(lambda: bool(told))
        async with EmbeddedBroker(port):
            await wait
        assert "does not answer yet (" in told[0]
        assert str(port) in told[0]

    @pytest.mark.asyncio
    async def test_no_broker_is_an_error_with_address_time_cause_and_remedy(self) -> None:
        """The message says where, how long, why and what to do."""
        address = f"127.0.0.1:{free_port()}"
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable) as raised:
            await wait_for_broker(address, 0.5, {}, ignore)
        assert time.monotonic() - begun < 5
        for part in (address, "tried for", "refused", "--broker HOST:PORT"):
            assert part in str(raised.value)
        assert isinstance(raised.value, ConnectionError)

    @pytest.mark.asyncio
    async def test_a_listener_that_is_no_broker_does_not_count(self) -> None:
        """A port that accepts connections and says nothing is no broker."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            with pytest.raises(BrokerUnavailable, match="no answer in time"):
                await wait_for_broker(f"127.0.0.1:{other.getsockname()[1]}", 0.5, {}, ignore)

    @pytest.mark.embedded
    @pytest.mark.asyncio
    async def test_one_living_address_of_several_is_enough(self, embedded: str) -> None:
        """The dead ones of a list are passed over."""
        await wait_for_broker(f"127.0.0.1:{free_port()}, {embedded}", DEADLINE_S, {}, ignore)


class TestApacheKafka:
    @pytest.mark.kafka
    @pytest.mark.asyncio
    async def test_it_has_transactions(self, kafka: str) -> None:
        """Readers of committed records see what was committed and nothing of what was aborted."""
        topic = TopicPartition(f"transactions-{uuid.uuid4().hex}", 0)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await make_topic(admin, topic.topic)
        await admin.close()
        producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic.topic)
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait(topic.topic, b"aborted", partition=0)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic.topic, b"committed", partition=0)
        await producer.stop()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka, auto_offset_reset="earliest", isolation_level="read_committed"
        )
        await consumer.start()
        consumer.assign([topic])
        async with asyncio.timeout(DEADLINE_S):
            record = await consumer.getone()
        end = (await consumer.end_offsets([topic]))[topic]
        await consumer.stop()
        assert record.value == b"committed"
        assert end == 4  # two records and the two markers of their transactions

    @pytest.mark.kafka
    @pytest.mark.asyncio
    async def test_a_cluster_of_three_works_on_while_one_is_gone(self, three_brokers: ApacheKafka) -> None:
        """Records written while a broker is killed are all there; a frozen one answers again; the killed one comes back."""
        topic = TopicPartition(f"cluster-{uuid.uuid4().hex}", 0)
        admin = AIOKafkaAdminClient(bootstrap_servers=three_brokers.address)
        await admin.start()
        await admin.create_topics([NewTopic(topic.topic, 1, 3)])
        await admin.close()
        producer = AIOKafkaProducer(
            bootstrap_servers=three_brokers.address, acks="all", enable_idempotence=True
        )
        await producer.start()
        for number in range(30):
            if number == 10:
                three_brokers.kill(0)
            await producer.send_and_wait(topic.topic, b"%d" % number, partition=0)
        await producer.stop()
        three_brokers.restart(0)
        first = three_brokers.address.split(",")[0]
        await cluster_id(first, {})
        three_brokers.pause(0)
        with pytest.raises(TimeoutError):
            await cluster_id(first, {}, timeout_s=0.5)
        three_brokers.resume(0)
        await wait_for_broker(first, DEADLINE_S, {}, ignore)
        consumer = AIOKafkaConsumer(bootstrap_servers=three_brokers.address, auto_offset_reset="earliest")
        await consumer.start()
        consumer.assign([topic])
        values: list[int] = []
        async with asyncio.timeout(DEADLINE_S):
            while len(values) < 30:
                for fetched in (await consumer.getmany(timeout_ms=500)).values():
                    values += [int(record.value) for record in fetched]
        await consumer.stop()
        assert values == list(range(30))
