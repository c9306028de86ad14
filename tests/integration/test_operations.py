"""Alerts and operations over real brokers: from the topics to the API, the metrics and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from agents.partials import Mark, decode_mark
from agents.records import AlertRecord, OperationRecord
from agents.topics import ALERTS, OPERATIONS, PARTIALS, TopicSpec
from app.operation_log import OperationLog, OperationNotStored
from app.operations import deployment, withdraw
from app.readmodel import READ_TOPICS
from app.settings import Settings
from tests.alert_records import alert_record
from tests.score_records import NOW_MS
from tests.serving import DEADLINE_S, PARTITIONS, create, is_ready, serving, settings_at, topics_of, until

WHO = {"author": "ada", "reason": "on it"}
LABELS = (
    '{journey_stage="purchase",question="checkout-effort",rule="checkout-effort-high",'
    'severity="critical",touchpoint="checkout"}'
)
CONFIGURATION = '[questions.checkout-effort]\nmetric = "ces"\nscale = { low = 1, high = 7, best = 7 }\n'


@pytest.fixture(
    params=[
        pytest.param("embedded", marks=pytest.mark.embedded),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
def broker(request: pytest.FixtureRequest) -> str:
    """The address of each broker in turn."""
    address: str = request.getfixturevalue(request.param)
    return address


async def publish(settings: Settings, *alerts: AlertRecord, removed: bool = False) -> None:
    """Writes alerts as a worker does; with ``removed``, their tombstones."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker)
    await producer.start()
    try:
        for alert in alerts:
            value = None if removed else msgspec.json.encode(alert)
            await producer.send_and_wait(
                topics_of(settings)(ALERTS), value, alert.fingerprint.encode(), partition=1
            )
    finally:
        await producer.stop()


async def read(settings: Settings, spec: TopicSpec, count: int) -> list[tuple[int, bytes, bytes]]:
    """The first ``count`` records of a topic, as (partition, key, value)."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.broker, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topics_of(settings)(spec), number) for number in range(PARTITIONS)])
        found: list[tuple[int, bytes, bytes]] = []

        async def enough() -> bool:
            batches = await consumer.getmany(timeout_ms=200)
            found.extend(
                (each.partition, each.key, each.value) for batch in batches.values() for each in batch
            )
            return len(found) >= count

        await until(enough)
        return found
    finally:
        await consumer.stop()


@pytest.mark.asyncio
async def test_an_alert_is_exported_acknowledged_muted_and_gone_with_its_tombstone(broker):
    """From the topic to the metric; from the API to the topic and back as muted; the state stays the engine's."""
    settings = settings_at(broker)
    await create(settings, *READ_TOPICS)
    firing = alert_record()
    await publish(settings, alert_record("pending", 1), firing)
    async with serving(settings) as client:
        await until(lambda: is_ready(client))
        metrics = (await client.get("/metrics")).text
        assert f"effortstream_alert_state{LABELS} 2.0\n" in metrics
        assert f"effortstream_alert_muted{LABELS} 0.0\n" in metrics
        path = f"/api/v1/alerts/{firing.fingerprint}"
        answer = await client.post(f"{path}/acknowledge", json=WHO)
        assert answer.status_code == 200, answer.text
        # Answered when it is stored and known: whoever asks next sees it
        alert = (await client.get(path)).json()
        assert (alert["state"], alert["muted"], alert["muted_by"][0]["author"]) == ("firing", True, "ada")
        assert [each["state"] for each in alert["transitions"]] == ["pending", "firing"]
        assert f"effortstream_alert_muted{LABELS} 1.0\n" in (await client.get("/metrics")).text
        assert (await client.post(f"{path}/acknowledge", json=WHO)).json() == answer.json()
        silence = await client.post(
            "/api/v1/silences", json=WHO | {"rule": "*", "ends_at_ms": 4_102_444_800_000}
        )
        assert (silence.status_code, silence.json()["errors"][0]["field"]) == (400, "ends_at_ms")
        ((_, key, value),) = await read(settings, OPERATIONS, 1)
        stored = msgspec.json.decode(value, type=OperationRecord)
        assert (key.decode(), msgspec.to_builtins(stored)) == (stored.id, answer.json())
        await publish(settings, firing, removed=True)

        async def gone() -> bool:
            return f"effortstream_alert_state{LABELS}" not in (await client.get("/metrics")).text

        await until(gone)
        assert (await client.get(path)).status_code == 404


@pytest.mark.asyncio
async def test_a_deployment_goes_to_every_partition_of_the_partials_and_then_to_the_operations(broker):
    """So that each scores agent finds the mark in the log that it reads; taking it back goes the same way."""
    settings = settings_at(broker)
    await create(settings, OPERATIONS, PARTIALS)
    log = OperationLog(settings.broker, {}, topics_of(settings))
    made = deployment(author="ci", reason="shop 4.2", now_ms=NOW_MS, touchpoint="checkout*")
    await log.store(made)
    await log.store(withdraw(made, "ada", "rolled back"))
    marks = await read(settings, PARTIALS, 2 * PARTITIONS)
    assert {key for _, key, _ in marks} == {b""}
    for number in range(PARTITIONS):
        assert [decode_mark(value) for partition, _, value in marks if partition == number] == [
            Mark(made.id, NOW_MS, "checkout*"),
            Mark(made.id, NOW_MS, "checkout*", withdrawn=True),
        ]
    stored = [
        msgspec.json.decode(value, type=OperationRecord)
        for _, _, value in await read(settings, OPERATIONS, 2)
    ]
    assert [each.withdrawn for each in stored] == [False, True]


@pytest.mark.asyncio
async def test_an_operation_makes_no_topic(broker):
    """A topic that is missing is named, not made with a broker's defaults."""
    settings = settings_at(broker)
    log = OperationLog(settings.broker, {}, topics_of(settings))
    made = deployment(author="ci", reason="shop 4.2", now_ms=NOW_MS)
    with pytest.raises(OperationNotStored, match=r"no topic .*operations\.v1 and no topic .*partials\.v1"):
        await log.store(made)
    await create(settings, OPERATIONS)
    with pytest.raises(OperationNotStored, match=r"no topic \S*partials\.v1"):
        await log.store(made)


@pytest.mark.embedded
@pytest.mark.asyncio
async def test_a_serve_that_others_can_reach_takes_no_operation(embedded):
    """It says so with 403, and goes on serving what there is to read."""
    settings = settings_at(embedded, host="0.0.0.0")  # noqa: S104 - what this test is about
    await create(settings, *READ_TOPICS)
    async with serving(settings) as client:
        await until(lambda: is_ready(client))
        answer = await client.post("/api/v1/silences", json=WHO, headers={"Host": "127.0.0.1"})
        assert answer.status_code == 403
        assert "listens on 0.0.0.0, where others can reach it" in answer.json()["detail"]
        assert (await client.get("/api/v1/alerts", headers={"Host": "127.0.0.1"})).status_code == 200


def command(settings: Settings, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``effortstream`` with these arguments, to its end."""
    file = folder / "c.toml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EFFORTSTREAM_")}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments, "--config", str(file), "--broker", settings.broker],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=environment | {"EFFORTSTREAM_PREFIX": settings.prefix},
        check=False,
    )


@pytest.mark.embedded
@pytest.mark.asyncio
async def test_the_command_line_does_the_same_without_serve(embedded, tmp_path):
    """Lists, acknowledges by the beginning of a fingerprint, silences and ends a silence; status 0, no noise."""
    settings = settings_at(embedded)
    await create(settings, ALERTS, OPERATIONS, PARTIALS)
    firing = alert_record()
    await publish(settings, alert_record("pending", 1), firing, alert_record("resolved", 3, "calm"))

    def run(*arguments: str) -> list[dict]:
        done = command(settings, tmp_path, *arguments, "--format", "json")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    (listed,) = run("alerts", "list")
    assert listed == {
        "type": "alert",
        **msgspec.to_builtins(firing),
        "muted": False,
        "muted_by": [],
    }
    who = ("--author", "ada", "--reason", "on it")
    (made,) = run("alerts", "acknowledge", firing.fingerprint[:8], *who)
    assert run("alerts", "acknowledge", firing.fingerprint, *who) == [made]
    (silence,) = run("alerts", "silence", "--touchpoint", "check*", "--for", "2h", *who)
    assert [each["id"] for each in run("alerts", "silences")] == [silence["id"]]
    shown, *transitions = run("alerts", "show", firing.fingerprint)
    assert [each["by"] for each in shown["muted_by"]] == ["silence", "acknowledgement"]
    assert [each["state"] for each in transitions] == ["pending", "firing"]
    run("alerts", "unsilence", silence["id"], *who)
    assert run("alerts", "silences") == []
    (mark,) = run("deployment", "mark", "--reason", "shop 4.2", "--at", "2025-11-21T10:00:00Z")
    assert mark["at_ms"] == NOW_MS
    assert [each["id"] for each in run("deployment", "list")] == [mark["id"]]
    run("deployment", "withdraw", mark["id"], *who)
    assert run("deployment", "list") == []


@pytest.mark.embedded
@pytest.mark.asyncio
async def test_the_command_line_shows_tables_and_ends_with_the_contracts_status(embedded, tmp_path):
    """1 for what failed, 2 for wrong usage, each with a message that says what to do."""
    settings = settings_at(embedded)
    missing = command(settings, tmp_path, "alerts", "list")
    assert (missing.returncode, "effortstream topics create" in missing.stderr) == (1, True)
    await create(settings, ALERTS, OPERATIONS)
    firing = alert_record()
    await publish(settings, firing, alert_record("resolved", 3, "calm"))
    listed = command(settings, tmp_path, "alerts", "list")
    assert listed.returncode == 0
    (line,) = [line for line in listed.stdout.splitlines() if "firing" in line]
    assert all(part in line for part in ("checkout-effort-high", firing.fingerprint, firing.summary))
    assert "calm" not in listed.stdout
    assert "value" in command(settings, tmp_path, "alerts", "show", firing.fingerprint[:4]).stdout
    unknown = command(settings, tmp_path, "alerts", "show", "0000000")
    assert (unknown.returncode, "alerts list --all" in unknown.stderr) == (1, True)
    quiet = alert_record(rule="calm").fingerprint
    resolved = command(settings, tmp_path, "alerts", "acknowledge", quiet, "--reason", "x", "--author", "a")
    assert (resolved.returncode, "not firing" in resolved.stderr) == (1, True)
    endless = command(settings, tmp_path, "alerts", "silence", "--rule", "*", "--for", "1y", "--reason", "x")
    assert (endless.returncode, "not a duration" in endless.stderr) == (2, True)
    pointless = command(settings, tmp_path, "alerts", "silence", "--for", "1h", "--reason", "x")
    assert (pointless.returncode, "which alerts are meant" in pointless.stderr) == (2, True)
    assert command(settings, tmp_path, "alerts", "silence").returncode == 2
