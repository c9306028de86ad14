"""Alerts on Apache Kafka: each transition comes out once, whatever happens to the workers.

What comes out under ``read_committed`` is compared with what the rules say of the answers that were produced, worked out
here from the raw answers by the formulas in docs/alerts.md, with none of the project's own code.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import Iterator
from fractions import Fraction
from hashlib import sha256
from math import exp, log
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.topics import ALERTS, INTERACTIONS, PARTIALS
from app.processes import free_port
from tests.pipeline import (
    BASE_MS,
    PARTITIONS,
    Deployment,
    Log,
    WorkerProcess,
    partition_of,
    produce,
    until,
)

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]

MINUTE_MS, SECOND_MS = 60_000, 1_000
SOURCES = 3 * PARTITIONS
SESSION_S = 6
WINDOW, DWELL = 5, 2  # minutes
ENTER, EXIT, N_MIN = 50, 40, 5
DROPS = (0.3, 0.5, 1.0)  # points of 1 to 7
LEVEL, LEVEL_OF_THE_END = 30 * 24 * 60, 7 * 24 * 60  # minutes
OUT_OF_ORDER_MS = 10 * SECOND_MS

CONFIGURATION = f"""
[touchpoints.checkout]
journey_stage = "purchase"
[questions.effort]
metric = "ces"
scale = {{ low = 1, high = 7, best = 7 }}
[windows]
live = ["5m"]
calendar = ["1h"]
idle_timeout = "1h"
max_out_of_orderness = "{OUT_OF_ORDER_MS // SECOND_MS}s"
[[alerts]]
id = "high"
kind = "threshold"
severity = "critical"
touchpoint = "checkout"
score = "effort_index"
window = "{WINDOW}m"
enter = {ENTER}
exit = {EXIT}
min_n = {N_MIN}
for = "{DWELL}m"
exit_for = "{DWELL}m"
[[alerts]]
id = "rising"
kind = "rising"
touchpoint = "checkout"
false_alarms = "1 per 30d"
min_history = "2d"
margin = 0
[[alerts]]
id = "seen"
kind = "threshold"
touchpoint = "the end *"
score = "effort_index"
window = "1m"
enter = 50
exit = 50
min_n = 1
for = "0m"
exit_for = "0m"
"""
"""No partition falls idle: event time goes as far as the answers say, and no further."""

CALM = (7, 6, 7, 5, 6, 7, 4, 7, 6, 3)
CALM_MINUTES, HARD_MINUTES, AFTER_MINUTES = 72 * 60, 9, 40
CUSTOMERS = [
    next(f"c{n}" for n in range(1_000) if partition_of(b"c%d" % n) == partition)
    for partition in range(PARTITIONS)
]
THE_END = next(
    f"the end {n}" for n in range(1_000) if partition_of(b"the end %d" % n) == partition_of(b"checkout")
)
"""A touchpoint of the same partition, whose alert comes out behind all that came before it."""

Answer = tuple[int, int]
"""(event time, rating)"""

Step = tuple[int, str, int]
"""(sequence, state, event time)"""


def answers() -> list[Answer]:
    """Three calm days, nine minutes of hard answers, and easy ones."""
    calm = [
        (BASE_MS + at * MINUTE_MS + 7_000, rating)
        for at, rating in zip(range(CALM_MINUTES), itertools.cycle(CALM), strict=False)
    ]
    hard = [
        (BASE_MS + (CALM_MINUTES + minute) * MINUTE_MS + at * 15_000, (2, 1, 3, 2)[at])
        for minute in range(HARD_MINUTES)
        for at in range(4)
    ]
    easy = [
        (BASE_MS + (CALM_MINUTES + HARD_MINUTES + minute) * MINUTE_MS + at * 20_000, (7, 6, 7)[at])
        for minute in range(AFTER_MINUTES)
        for at in range(3)
    ]
    return calm + hard + easy


def by_minute(given: list[Answer]) -> dict[int, list[int]]:
    """Ratings by the minute that they fall into."""
    out: dict[int, list[int]] = {}
    for time_ms, rating in given:
        out.setdefault(time_ms - time_ms % MINUTE_MS, []).append(rating)
    return out


def minutes_of(given: list[Answer]) -> range:
    """The end of each minute."""
    return range(BASE_MS + MINUTE_MS, given[-1][0] + MINUTE_MS, MINUTE_MS)


def high_steps(given: list[Answer]) -> list[Step]:
    """The transitions of the threshold rule, minute by minute."""
    held, out = by_minute(given), list[Step]()
    state, since, leaving = "inactive", 0, None
    for now in minutes_of(given):
        ratings = [
            rating
            for start in range(now - WINDOW * MINUTE_MS, now, MINUTE_MS)
            for rating in held.get(start, ())
        ]
        index = 100 * (7 - Fraction(sum(ratings), len(ratings))) / 6
        before = state
        if state == "firing":
            leaving = None if index > EXIT else leaving or now
            if leaving is not None and now - leaving >= DWELL * MINUTE_MS:
                state = "resolved"
        elif len(ratings) < N_MIN or index <= ENTER:
            state = "inactive" if state == "pending" else state
        elif state != "pending":
            state, since = "pending", now
        elif now - since >= DWELL * MINUTE_MS:
            state, leaving = "firing", None
        if state != before:
            out.append((len(out) + 1, state, now))
    return out


def tilt(weights: list[float], mean: float) -> tuple[float, float]:
    """(theta, psi(theta)) of the exponential tilt of ``weights`` on 0, 1, ... that has this mean, by halving."""
    low, high = -30.0, 30.0
    for _ in range(200):
        theta = (low + high) / 2
        tilted = [weight * exp(theta * x) for x, weight in enumerate(weights)]
        if sum(x * part for x, part in enumerate(tilted)) / sum(tilted) < mean:
            low = theta
        else:
            high = theta
    return theta, log(sum(tilted))


def rising_steps(given: list[Answer], baseline_n: int) -> list[Step]:
    """The transitions of the rising rule: its recursion, from the first minute after the baseline on."""
    usual = [7 - rating for _, rating in given[:baseline_n]]
    weights = [(usual.count(x) + 1 / 7) / (baseline_n + 1) for x in range(7)]
    mean = sum(x * weight for x, weight in enumerate(weights))
    theta, psi = tilt(weights, mean)
    ratios = [(one - theta, other - psi) for one, other in (tilt(weights, mean + drop) for drop in DROPS)]
    held, out = by_minute(given), list[Step]()
    risks, back, fires = [0.0] * len(DROPS), 0.0, False
    for now in minutes_of(given)[baseline_n:]:
        away = [7 - rating for rating in held[now - MINUTE_MS]]
        if fires:
            lam, kappa = ratios[1]
            back = (back + 1) * exp(kappa * len(away) - lam * sum(away))
            if back >= LEVEL_OF_THE_END:
                risks, fires = [0.0] * len(DROPS), False
                out.append((len(out) + 1, "resolved", now))
            continue
        risks = [
            (risk + 1) * exp(lam * sum(away) - kappa * len(away))
            for risk, (lam, kappa) in zip(risks, ratios, strict=True)
        ]
        if sum(risks) / len(risks) >= LEVEL:
            back, fires = 0.0, True
            out.append((len(out) + 1, "firing", now))
    return out


def fingerprint(rule: str, window: str | None) -> str:
    """Identity of the alert of a rule at the checkout, as contracts have it."""
    identity = [rule, "checkout", "purchase", "effort", {}, window]
    return sha256(json.dumps(identity, separators=(",", ":")).encode()).hexdigest()[:16]


class Shop:
    """Answers of a day that is told bit by bit, and the alerts that come of it.

    Attributes:
        records: every record of the alerts topic so far.
        told_ms: all answers before it have been produced.
    """

    def __init__(self, deployment: Deployment, log: Log) -> None:
        self.deployment, self._log = deployment, log
        self.answers = answers()
        self.records: list[dict[str, Any]] = []
        self.told_ms = BASE_MS
        self._numbers = itertools.count()

    async def tell(self, until_ms: int) -> None:
        """Produces all answers before an instant on a minute, and lets the watermark of every source pass it."""
        due = [one for one in self.answers if self.told_ms <= one[0] < until_ms]
        self.told_ms = until_ms
        await self.deployment.produce(self._answer("checkout", *one) for one in due)
        now_ms = until_ms + OUT_OF_ORDER_MS + SECOND_MS
        await self.deployment.produce(self._answer("elsewhere", now_ms, 7) for _ in range(PARTITIONS))
        topic = self.deployment.topics(INTERACTIONS)
        await produce(self.deployment.broker, topic, self._visits(now_ms))

    async def chatter(self, count: int) -> None:
        """Answers elsewhere, of the minute that is told already: work, but no news for any rule."""
        await self.deployment.produce(self._answer("elsewhere", self.told_ms, 5) for _ in range(count))

    async def the_end(self) -> None:
        """Waits until every minute that was told has been stepped."""
        now_ms = self.told_ms
        await self.deployment.produce(iter([self._answer(THE_END, now_ms, 1)]))
        await self.tell(now_ms + MINUTE_MS)
        await self.until_said("seen", "firing")

    async def until_said(self, rule: str, state: str) -> None:
        """Waits until a rule has come into a state, as a reader under read_committed sees it."""

        async def said() -> bool:
            self.records += [json.loads(record.value) for record in await self._log.more()]
            return any((record["rule"], record["state"]) == (rule, state) for record in self.records)

        await until(said, f"{rule} is {state}", 30)

    def of(self, rule: str) -> list[dict[str, Any]]:
        """Every record of a rule, in order."""
        return [record for record in self.records if record["rule"] == rule]

    def _answer(self, touchpoint: str, time_ms: int, rating: int) -> tuple[bytes, bytes]:
        number = next(self._numbers)
        customer = CUSTOMERS[number % PARTITIONS]
        answer = {
            "response_id": f"r{number}",
            "customer_id": customer,
            "question": "effort",
            "touchpoint": touchpoint,
            "rating": rating,
            "event_time_ms": time_ms,
        }
        return customer.encode(), json.dumps(answer).encode()

    def _visits(self, time_ms: int) -> Iterator[tuple[bytes, bytes]]:
        for customer in CUSTOMERS:
            number = next(self._numbers)
            visit = {"interaction_id": f"i{number}", "touchpoint": "elsewhere", "event_time_ms": time_ms}
            yield customer.encode(), json.dumps(visit).encode()


@pytest.fixture
def deployment(kafka: str, tmp_path: Path) -> Iterator[Deployment]:
    """Topics of their own on Apache Kafka, with rules, and no worker yet."""
    with Deployment(kafka, tmp_path, CONFIGURATION) as made:
        yield made


async def test_a_worker_killed_while_an_alert_is_pending_and_while_it_fires_repeats_and_loses_no_transition(
    deployment,
):
    """One pending, one firing, one resolved, at the minutes that the answers say, with numbers 1, 2 and 3."""
    pending, firing, resolved = high_steps(answers())
    assert [pending[1], firing[1], resolved[1]] == ["pending", "firing", "resolved"]
    worker = deployment.worker(session_timeout_s=SESSION_S)
    async with Log(deployment.broker, deployment.topics(ALERTS)) as log:
        shop = Shop(deployment, log)
        await shop.tell(pending[2])
        await shop.until_said("high", "pending")
        assert await kill(worker, shop)
        worker = deployment.worker(session_timeout_s=SESSION_S)
        await shop.tell(firing[2] - MINUTE_MS)
        await worker.owns(SOURCES)
        assert [record["state"] for record in shop.of("high")] == ["pending"]
        await shop.tell(firing[2])
        await shop.until_said("high", "firing")
        assert await kill(worker, shop)
        deployment.worker(session_timeout_s=SESSION_S)
        await shop.tell(resolved[2])
        await shop.until_said("high", "resolved")
        await shop.tell(BASE_MS + (CALM_MINUTES + HARD_MINUTES + AFTER_MINUTES) * MINUTE_MS)
        await shop.the_end()
    check(shop)


async def test_alerts_move_with_their_partition_to_the_worker_that_is_left(deployment):
    """Of two workers the one that owns the alert is killed while it is pending: the other goes on counting."""
    pending, firing, _ = high_steps(answers())
    ports = [free_port(), free_port()]
    workers = [deployment.worker("--metrics-port", str(port), session_timeout_s=SESSION_S) for port in ports]
    async with Log(deployment.broker, deployment.topics(ALERTS)) as log:
        shop = Shop(deployment, log)
        for worker in workers:
            await worker.owns(SOURCES // 2)
        await shop.tell(pending[2])
        await shop.until_said("high", "pending")
        owners = [await owns_the_alert(deployment, port) for port in ports]
        assert sorted(owners) == [False, True]
        assert await kill(workers[owners.index(True)], shop)
        await shop.tell(firing[2])
        await shop.until_said("high", "firing")
        assert await owns_the_alert(deployment, ports[owners.index(False)])
        await shop.tell(BASE_MS + (CALM_MINUTES + HARD_MINUTES + AFTER_MINUTES) * MINUTE_MS)
        await shop.the_end()
    check(shop)


async def kill(worker: WorkerProcess, shop: Shop) -> bool:
    """Kills a worker in the middle of its work; whether it died of that."""
    chatter = asyncio.create_task(shop.chatter(5_000))
    worker.send(signal.SIGKILL)
    await chatter
    return await worker.ended() == -signal.SIGKILL


async def owns_the_alert(deployment: Deployment, port: int) -> bool:
    """Whether the worker that shows its metrics at a port owns the partition of the checkout's alerts."""
    async with httpx.AsyncClient() as client:
        metrics = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    place = f'{{partition="{partition_of(b"checkout")}",topic="{deployment.topics(PARTIALS)}"}}'
    return any(line.startswith(f"effortstream_consumer_lag_records{place}") for line in metrics.splitlines())


def check(shop: Shop) -> None:
    """Every record of both rules is what the answers say, and no record is there twice."""
    high, rising = shop.of("high"), shop.of("rising")
    assert [(record["sequence"], record["state"], record["evidence"]["at_ms"]) for record in high] == (
        high_steps(shop.answers)
    )
    pending_ms, fired_ms, resolved_ms = (at for _, _, at in high_steps(shop.answers))
    assert [times(record) for record in high] == [
        (pending_ms, None, None),
        (pending_ms, fired_ms, None),
        (pending_ms, fired_ms, resolved_ms),
    ]
    assert {record["fingerprint"] for record in high} == {fingerprint("high", "5m")}
    baseline_n = rising[0]["evidence"]["baseline_n"]
    assert baseline_n % 60 == 0
    assert CALM_MINUTES - 25 * 60 < baseline_n <= CALM_MINUTES
    assert [(record["sequence"], record["state"], record["evidence"]["at_ms"]) for record in rising] == (
        rising_steps(shop.answers, baseline_n)
    )
    assert {record["fingerprint"] for record in rising} == {fingerprint("rising", None)}
    assert {record["rule"] for record in shop.records} == {"high", "rising", "seen"}


def times(record: dict[str, Any]) -> tuple[int, int | None, int | None]:
    """Since when, when it fired, when it was over."""
    return record["since_ms"], record["fired_at_ms"], record["resolved_at_ms"]
