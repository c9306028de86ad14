"""Creating the topics of a deployment, on both brokers and from the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from agents.topics import PUBLIC
from app.processes import free_port
from app.settings import Settings, load_settings
from app.topics import CHANGELOG_STAGES, TopicError, create_topics
from tests.servers import make_topic

CONFIGURATION = """
[questions.call-satisfaction]
metric = "csat"
scale = { low = 1, high = 5, best = 5 }
"""


Run = Callable[..., subprocess.CompletedProcess[str]]


def ignore(_: str) -> None:
    """For callers who do not care about retries."""


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> str:
    """The address of each broker in turn."""
    address: str = request.getfixturevalue(request.param)
    return address


def settings_at(address: str, **overrides: object) -> Settings:
    """Settings with topics of their own."""
    name = uuid.uuid4().hex[:8]
    given = {"broker": address, "prefix": f"t{name}.", "group": f"g{name}"} | overrides
    return load_settings(None, **given)


class TestCreatingTopics:
    @pytest.mark.embedded
    @pytest.mark.asyncio
    async def test_all_are_created_once_and_then_left_alone(self, broker: str) -> None:
        """The first run creates every topic with its settings, the second finds them all as they should be."""
        settings = settings_at(broker, partitions=3)
        first = await create_topics(settings, ignore)
        second = await create_topics(settings, ignore)
        assert len(first) == len(PUBLIC) + len(CHANGELOG_STAGES)
        assert all(outcome.created for outcome in first)
        assert not any(outcome.created or outcome.differences for outcome in second)
        assert [outcome.name for outcome in second] == [outcome.name for outcome in first]
        admin = AIOKafkaAdminClient(bootstrap_servers=broker)
        await admin.start()
        found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
        await admin.close()
        assert {found[outcome.name] for outcome in first} == {3}
        assert found.keys() >= {
            f"{settings.prefix}windows.v1",
            f"{settings.prefix}{settings.group}-scores-changelog",
        }

    @pytest.mark.embedded
    @pytest.mark.asyncio
    async def test_another_number_of_partitions_is_refused_before_anything_is_created(
        self, broker: str
    ) -> None:
        """The error names topic, both numbers and the remedy; no topic was made."""
        settings = settings_at(broker, partitions=3)
        admin = AIOKafkaAdminClient(bootstrap_servers=broker)
        await admin.start()
        await make_topic(admin, f"{settings.prefix}scores.v1", partitions=2)
        with pytest.raises(TopicError, match=r"3 partitions, but .*scores\.v1 has 2.*--partitions"):
            await create_topics(settings, ignore)
        mine = [name for name in await admin.list_topics() if name.startswith(settings.prefix)]
        await admin.close()
        assert mine == [f"{settings.prefix}scores.v1"]

    @pytest.mark.kafka
    @pytest.mark.asyncio
    async def test_other_settings_of_an_existing_topic_are_told_and_left_alone(self, kafka: str) -> None:
        """A topic that somebody made with CreateTime is reported with both values."""
        settings = settings_at(kafka, partitions=1)
        name = f"{settings.prefix}responses.v1"
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await make_topic(admin, name)
        await admin.close()
        outcomes = {outcome.name: outcome for outcome in await create_topics(settings, ignore)}
        assert outcomes.pop(name).differences == (
            "message.timestamp.type = CreateTime, expected LogAppendTime",
        )
        assert all(outcome.created for outcome in outcomes.values())

    @pytest.mark.kafka
    @pytest.mark.asyncio
    async def test_too_many_copies_are_refused_with_the_remedy(self, kafka: str) -> None:
        """One broker cannot hold nine copies, and the message says which option to change."""
        with pytest.raises(TopicError, match="--replication"):
            await create_topics(settings_at(kafka, replication=9), ignore)


class TestCommand:
    @pytest.fixture
    def run(self, tmp_path: Path) -> Run:
        """Runs ``effortstream topics create`` in a folder with a configuration file and topics of its own."""
        name = uuid.uuid4().hex[:8]
        (tmp_path / "effortstream.toml").write_text(CONFIGURATION, encoding="utf-8")
        code = "from app.__main__ import main; main()"
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "EFFORTSTREAM_PREFIX": f"c{name}.",
            "EFFORTSTREAM_GROUP": f"c{name}",
            "EFFORTSTREAM_BROKER_WAIT_S": "0.5",
        }

        def run(*options: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-c", code, "topics", "create", *options],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

        return run

    @pytest.mark.embedded
    def test_it_prints_what_was_done_and_ends_with_0(self, run: Run, embedded: str) -> None:
        """The table names every topic in full; the second time all of them exist."""
        first = run("--broker", embedded)
        second = run("--broker", embedded)
        assert (first.returncode, second.returncode) == (0, 0)
        assert first.stdout.count("created") == second.stdout.count("exists") == len(PUBLIC) + 3
        assert "interaction-stats.v1" in first.stdout
        assert "-interactions-changelog" in first.stdout

    @pytest.mark.embedded
    def test_another_number_of_partitions_ends_with_1_and_a_remedy(self, run: Run, embedded: str) -> None:
        """What the user caused is a message, not a traceback."""
        run("--broker", embedded)
        again = run("--broker", embedded, "--partitions", "7")
        assert again.returncode == 1
        assert "must have 7 partitions" in again.stderr
        assert "--partitions" in again.stderr
        assert "Traceback" not in again.stderr
        assert again.stdout == ""

    def test_no_broker_ends_with_1_after_telling_of_each_attempt(self, run: Run) -> None:
        """The first failure is told at once, and the last one says what to do."""
        done = run("--broker", f"127.0.0.1:{free_port()}")
        assert done.returncode == 1
        assert "does not answer yet" in done.stderr
        assert "No Kafka broker answers" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_wrong_option_ends_with_2(self, run: Run) -> None:
        """No partitions at all is wrong usage."""
        assert run("--partitions", "0").returncode == 2
