"""Events and alerts over the real Prometheus and Alertmanager, to the messages that people get."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import pytest
from aiohttp import web
from aiokafka import AIOKafkaProducer

from agents.records import AlertRecord
from agents.topics import ALERTS, RESPONSES, Topics
from app.config import load_config
from app.demo_processes import Children
from app.processes import HOST, free_port
from app.prometheus_names import Monitored
from app.prometheus_native import ALERTMANAGER_CONFIG, ProgramMissing, alertmanager_config, jobs
from app.prometheus_rules import rules_text
from app.prometheus_yaml import from_yaml
from app.readmodel import READ_TOPICS
from app.settings import Settings, load_settings
from app.topics import create_topics
from tests.alert_records import alert_record
from tests.servers import Monitoring, without
from tests.serving import create, is_ready, serving, settings_at, topics_of

pytestmark = [pytest.mark.embedded, pytest.mark.asyncio]

SHIPPED = Path(__file__).parents[2] / "deploy" / ALERTMANAGER_CONFIG
DEADLINE_S = 60.0
CONFIGURATION = """
[touchpoints.checkout]
journey_stage = "purchase"
[questions.checkout-effort]
metric = "ces"
scale = { low = 1, high = 7, best = 7 }
touchpoint = "checkout"
[windows]
live = ["5m"]
calendar = []
max_out_of_orderness = "1s"
idle_timeout = "1s"
[[alerts]]
id = "checkout-effort-high"
kind = "threshold"
severity = "critical"
touchpoint = "checkout"
score = "effort_index"
window = "5m"
enter = 50
exit = 40
min_n = 10
for = "0m"
exit_for = "0m"
[[alerts]]
id = "effort-rising"
kind = "rising"
metric = "ces"
"""


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Waits for a condition, with a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not await condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:.0f} s: {what}"
        await asyncio.sleep(0.1)


class Webhook:
    """Takes notifications; ``got`` are the alerts in them, in order, as (receiver, status, alert name, labels)."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, str, dict[str, str]]] = []
        self.annotations: list[dict[str, str]] = []
        self.port = free_port()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{receiver}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        for alert in (await request.json())["alerts"]:
            labels = alert["labels"]
            self.got.append((request.match_info["receiver"], alert["status"], labels["alertname"], labels))
            self.annotations.append(alert["annotations"])
        return web.Response()

    def has(self, receiver: str, status: str, name: str, **labels: str) -> bool:
        """Whether such an alert was in a notification."""
        return any(
            (to, state, alert) == (receiver, status, name) and labels.items() <= found.items()
            for to, state, alert, found in self.got
        )

    async def hears(self, receiver: str, status: str, name: str, **labels: str) -> None:
        """Waits for it."""

        async def heard() -> bool:
            return self.has(receiver, status, name, **labels)

        await until(heard, f"{receiver} hears {status} {name} {labels}; heard so far: {self.got}")


@contextlib.contextmanager
def monitoring(rules: str, ports: dict[str, list[str]], webhook: Webhook) -> Iterator[Monitoring]:
    """Both programs with the shipped routes; the test is skipped where they are missing."""
    config = alertmanager_config(
        from_yaml(SHIPPED.read_text(encoding="utf-8")), f"http://{HOST}:{webhook.port}", wait_s=1
    )
    try:
        made = Monitoring(rules, ports, config)
    except ProgramMissing as error:
        without(str(error))
        return
    with made:
        yield made


async def publish(settings: Settings, *alerts: AlertRecord) -> None:
    """Writes alerts as a worker does."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker)
    await producer.start()
    try:
        for alert in alerts:
            await producer.send_and_wait(
                topics_of(settings)(ALERTS),
                msgspec.json.encode(alert),
                alert.fingerprint.encode(),
                partition=1,
            )
    finally:
        await producer.stop()


async def status_of(address: str, name: str, touchpoint: str) -> dict[str, Any]:
    """What Alertmanager says of an alert: its state, and what holds it back."""
    async with httpx.AsyncClient(base_url=address, timeout=10) as client:
        answer = await client.get(
            "/api/v2/alerts", params={"filter": [f'alertname="{name}"', f'touchpoint="{touchpoint}"']}
        )
    found = answer.raise_for_status().json()
    return found[0]["status"] if found else {"state": None, "inhibitedBy": []}


async def test_a_critical_alert_holds_back_the_warnings_of_its_touchpoint_until_it_is_resolved(
    embedded: str, tmp_path: Path
) -> None:
    """Firing and resolved reach the pager, the warning beside it the team only afterwards; a silence holds back too."""
    file = tmp_path / "effortstream.toml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    settings = settings_at(embedded)
    rules = rules_text(load_config(file).catalog, settings, Monitored())
    await create(settings, *READ_TOPICS)
    critical = alert_record("firing", 2)
    beside, elsewhere = (
        alert_record("firing", 2, "effort-rising", severity="warning", touchpoint=name)
        for name in ("checkout", "support-chat")
    )
    await publish(settings, critical, beside, elsewhere)
    async with Webhook() as webhook, serving(settings) as serve:

        async def ready() -> bool:
            return await is_ready(serve)

        await until(ready, "serve is ready")
        ports = jobs(Monitored(), free_port(), serve.base_url.port or 0)
        with monitoring(rules, ports, webhook) as running:
            address = running.station.alertmanager
            await webhook.hears("page", "firing", "ScoreBeyondThreshold", touchpoint="checkout")
            await webhook.hears("team", "firing", "EffortRising", touchpoint="support-chat")
            assert (await status_of(address, "EffortRising", "checkout"))["state"] == "suppressed"
            assert not webhook.has("team", "firing", "EffortRising", touchpoint="checkout")

            await publish(settings, alert_record("resolved", 3))
            await webhook.hears("page", "resolved", "ScoreBeyondThreshold", touchpoint="checkout")
            await webhook.hears("team", "firing", "EffortRising", touchpoint="checkout")

            until_ms = time.time_ns() // 1_000_000 + 3_600_000
            answer = await serve.post(
                "/api/v1/silences",
                json={"author": "ada", "reason": "known", "touchpoint": "support-*", "ends_at_ms": until_ms},
            )
            assert answer.is_success, answer.text

            async def suppressed() -> bool:
                return bool((await status_of(address, "EffortRising", "support-chat"))["inhibitedBy"])

            await until(suppressed, "Alertmanager knows of the silence")
            assert not (await status_of(address, "EffortRising", "checkout"))["inhibitedBy"]
    assert {to for to, *_ in webhook.got} <= {"page", "team", "watchdog"}


class Answers:
    """Customers of the checkout, at 120 times real time: easy, or hard while ``hard`` is set."""

    STEP_S, STEP_MS, EACH = 0.25, 30_000, 12

    def __init__(self, broker: str, topic: str) -> None:
        self._broker, self._topic = broker, topic
        self.hard = False
        self.sent = 0

    async def run(self) -> None:
        """Answers until cancelled; event time begins two hours ago."""
        producer = AIOKafkaProducer(bootstrap_servers=self._broker)
        await producer.start()
        time_ms = time.time_ns() // 1_000_000 - 2 * 3_600_000
        try:
            while True:
                for _ in range(self.EACH):
                    self.sent += 1
                    answer = {
                        "response_id": f"r{self.sent}",
                        "question": "checkout-effort",
                        "rating": 1 + self.sent % 2 if self.hard else 6 + self.sent % 2,
                        "event_time_ms": time_ms,
                    }
                    # To every partition in turn, so that none holds the others back
                    await producer.send(
                        self._topic, json.dumps(answer).encode(), b"k", partition=self.sent % 4
                    )
                await producer.flush()
                time_ms += self.STEP_MS
                await asyncio.sleep(self.STEP_S)
        finally:
            await producer.stop()


@contextlib.asynccontextmanager
async def answering(answers: Answers) -> AsyncIterator[None]:
    """Customers for as long as a block lasts."""
    task = asyncio.create_task(answers.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_hard_answers_lead_to_a_message_and_easy_ones_to_its_end(
    own_embedded: str, tmp_path: Path
) -> None:
    """From the input topic over worker, serve, Prometheus and Alertmanager to a webhook, and back to calm."""
    file = tmp_path / "effortstream.toml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    prefix = f"a{uuid.uuid4().hex[:8]}."
    config = load_config(file)
    settings = load_settings(config, broker=own_embedded, prefix=prefix)
    await create_topics(settings, print)
    worker_port, serve_port = free_port(), free_port()
    common = ["--config", str(file), "--broker", own_embedded]
    answers = Answers(own_embedded, Topics(prefix, settings.group)(RESPONSES))
    async with Webhook() as webhook, Children(tmp_path, {"EFFORTSTREAM_PREFIX": prefix}) as children:
        children.start("worker", [*common, "--allow-non-transactional", "--metrics-port", str(worker_port)])
        children.start("serve", [*common, "--port", str(serve_port)])
        rules = rules_text(config.catalog, settings, Monitored())
        with monitoring(rules, jobs(Monitored(), worker_port, serve_port), webhook):
            async with answering(answers), httpx.AsyncClient(timeout=10) as client:

                async def scored() -> bool:
                    with contextlib.suppress(httpx.TransportError):
                        text = (await client.get(f"http://{HOST}:{serve_port}/metrics")).text
                        return "effortstream_effort_index{" in text
                    return False

                await until(
                    scored, f"calm scores; {children.log('worker').read_text(encoding='utf-8')[-2000:]}"
                )
                assert not webhook.has("page", "firing", "ScoreBeyondThreshold")
                answers.hard = True
                await webhook.hears(
                    "page", "firing", "ScoreBeyondThreshold", touchpoint="checkout", journey_stage="purchase"
                )
                answers.hard = False
                await webhook.hears("page", "resolved", "ScoreBeyondThreshold", touchpoint="checkout")
    told = next(
        notes
        for notes, (_, _, name, _) in zip(webhook.annotations, webhook.got, strict=True)
        if name == "ScoreBeyondThreshold"
    )
    assert told["summary"] == "A score has crossed its level at checkout (checkout-effort)"
    assert told["runbook_url"].endswith("/ScoreBeyondThreshold.md")


STAGE = {
    "scope": "stage",
    "severity": "critical",
    "alertname": "StageEffortHigh",
    "journey_stage": "purchase",
}
LOUD = {"scope": "touchpoint", "severity": "critical", "alertname": "ScoreBeyondThreshold", "rule": "a"}
QUIET = {"scope": "touchpoint", "severity": "warning", "alertname": "EffortRising", "rule": "b"}
CHECKOUT = {"touchpoint": "checkout", "journey_stage": "purchase"}
CHAT = {"touchpoint": "chat", "journey_stage": "support"}
PIPELINE = {"scope": "pipeline", "severity": "critical"}
WORKER_DOWN = PIPELINE | {"alertname": "EffortstreamWorkerDown", "job": "w"}
SERVE_DOWN = PIPELINE | {"alertname": "EffortstreamServeDown", "job": "s"}
INSTANCE_DOWN = {"scope": "pipeline", "severity": "warning", "alertname": "EffortstreamInstanceDown"}
MUTE = {"scope": "mute", "severity": "warning", "alertname": "EffortstreamAlertMuted", "rule": "b"}
QUESTION = {"question": "checkout-effort"}
HELD = [
    (WORKER_DOWN, LOUD | CHECKOUT),
    (SERVE_DOWN, STAGE),
    (PIPELINE | {"alertname": "EffortstreamLagHigh"}, LOUD | CHECKOUT),
    (WORKER_DOWN, PIPELINE | {"alertname": "EffortstreamPartitionUnowned"}),
    (WORKER_DOWN, INSTANCE_DOWN | {"job": "w"}),
    (SERVE_DOWN, PIPELINE | {"alertname": "EffortstreamServeNotReading"}),
    (STAGE, QUIET | CHECKOUT),
    (LOUD | CHECKOUT, QUIET | CHECKOUT),
    (MUTE | CHECKOUT | QUESTION, QUIET | CHECKOUT | QUESTION),
    (MUTE | CHECKOUT, QUIET | CHECKOUT),
]
HEARD = [
    (WORKER_DOWN, SERVE_DOWN),
    (WORKER_DOWN, INSTANCE_DOWN | {"job": "s"}),
    (SERVE_DOWN, PIPELINE | {"alertname": "EffortstreamLagHigh"}),
    (PIPELINE | {"alertname": "EffortstreamRecordsLost"}, LOUD | CHECKOUT),
    (PIPELINE | {"severity": "warning", "alertname": "EffortstreamDeadLettersHigh"}, LOUD | CHECKOUT),
    (STAGE, LOUD | CHECKOUT),
    (STAGE, QUIET | CHAT),
    (LOUD | CHECKOUT, QUIET | CHAT),
    (LOUD | CHECKOUT, LOUD | CHECKOUT | {"rule": "c"}),
    (MUTE | CHECKOUT | QUESTION, QUIET | CHECKOUT),
    (MUTE | CHECKOUT, QUIET | CHECKOUT | {"rule": "c"}),
    # Labels that both sides lack are equal to Alertmanager, and must not be enough
    (LOUD, QUIET),
    (STAGE | {"journey_stage": ""}, QUIET),
    (WORKER_DOWN | {"deployment": ""}, LOUD | CHECKOUT | {"deployment": ""}),
]


async def test_what_is_held_back_follows_from_what_holds_it_and_nothing_else_is() -> None:
    """Each row of the inhibition, and beside it what only looks alike; each pair has a deployment of its own."""
    pairs = [(pair, True) for pair in HELD] + [(pair, False) for pair in HEARD]
    async with Webhook() as webhook, httpx.AsyncClient(timeout=10) as client:
        with monitoring("groups: []\n", {}, webhook) as running:
            address = f"{running.station.alertmanager}/api/v2/alerts"
            posted = [
                {"labels": {"deployment": f"d{number}", "pair": str(number), "side": side} | labels}
                for number, ((source, target), _) in enumerate(pairs)
                for side, labels in (("source", source), ("target", target))
            ]
            (await client.post(address, json=posted)).raise_for_status()

            held: dict[int, bool] = {}

            async def judged() -> bool:
                answer = await client.get(address, params={"filter": 'side="target"'})
                held.clear()
                for alert in answer.raise_for_status().json():
                    held[int(alert["labels"]["pair"])] = bool(alert["status"]["inhibitedBy"])
                # Its parts hear of alerts one after the other; once all that must be held back are, it knows all
                return len(held) == len(pairs) and sum(held.values()) >= len(HELD)

            await until(judged, f"Alertmanager has judged all of them: {held}")
    for number, ((source, target), expected) in enumerate(pairs):
        assert held[number] is expected, f"{source} and {target}: held back is {held[number]}"
