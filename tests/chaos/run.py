"""A chaos run: real workers on a real Apache Kafka, faults from a seed, and every figure compared in the end.

    python -m tests.chaos.run --seed 7 --minutes 3 --brokers 3 --rate 5000

Exit status 0: exact. 1: not; the seed and the first difference are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from agents.topics import INTERACTIONS, RESPONSES, Topics
from app.processes import free_port
from tests.chaos.account import Account
from tests.chaos.crew import Crew
from tests.chaos.faults import WORKERS, Faults
from tests.chaos.proxy import Proxies
from tests.chaos.verifier import Verifier
from tests.pipeline import until
from tests.servers import ApacheKafka

_TICK_S = 0.05
_SETTLE_S = 180.0
_STILL_S = 6.0
_BURST = 4
_PRODUCE_S = 180
_START_S = 60.0


@dataclass(slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        difference: the first one; None where everything is exact.
        settled_s: from the last event to equality.
    """

    seed: int
    events: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    slow_ends: list[str] = field(default_factory=list)
    settled_s: float = 0.0
    difference: str | None = None

    def table(self) -> str:
        """The final table."""
        rows = {
            "seed": self.seed,
            "events": f"{self.events} in {self.seconds:.0f} s ({self.events / max(self.seconds, 0.001):.0f}/s)",
            "of them": _listed(self.kinds),
            "faults": f"{self.faults.total()}: {_listed(self.faults)}",
            "workers started again": self.restarts,
            "ends": _listed(self.ends),
            "SIGTERM over 10 s": ", ".join(self.slow_ends) or "none",
            "read": ", ".join(f"{count} {name}" for name, count in self.records.items()),
            "settled after": f"{self.settled_s:.1f} s",
            "result": "exact" if self.difference is None else f"NOT EXACT: {self.difference}",
        }
        return "\n".join(f"{name:<22}{value}" for name, value in rows.items())


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.items())) or "none"


class Feed:
    """Sends what the account makes, at a rate, past the proxies; the place of every batch is checked.

    Args:
        account: makes the records.
        broker: the brokers themselves.
        topics: of the run.
        rate: events a second.
    """

    def __init__(self, account: Account, broker: str, topics: Topics, rate: int) -> None:
        self._account, self._rate = account, rate
        self._topics = {"responses": topics(RESPONSES), "interactions": topics(INTERACTIONS)}
        self._producer = AIOKafkaProducer(
            bootstrap_servers=broker,
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=1 << 19,
            max_request_size=4 << 20,
            request_timeout_ms=_PRODUCE_S * 1000,
        )
        self._placed: Counter[tuple[str, int]] = Counter()
        self._sent: list[tuple[asyncio.Future[Any], int]] = []

    async def run(self) -> None:
        """Sends everything.

        Raises:
            AssertionError: a batch did not land where the account has it: then the account is worth nothing.
        """
        await self._producer.start()
        try:
            begun_s = time.monotonic()
            while self._account.made < self._account.total:
                due = int((time.monotonic() - begun_s) * self._rate) - self._account.made
                due = min(due, int(_BURST * self._rate * _TICK_S), self._account.total - self._account.made)
                await self._send(due)
                await self._check(wait=False)
                await asyncio.sleep(_TICK_S)
            await self._check(wait=True)
        finally:
            await self._producer.stop()

    async def _send(self, count: int) -> None:
        lots: dict[tuple[str, int], list[tuple[bytes, bytes]]] = {}
        for _ in range(count):
            made = self._account.next()
            lots.setdefault((made.kind, made.partition), []).append((made.key, made.value))
        for place, records in lots.items():
            builder = self._producer.create_batch()
            for key, value in records:
                assert builder.append(timestamp=None, key=key, value=value) is not None
            builder.close()
            kind, partition = place
            future = await self._producer.send_batch(builder, self._topics[kind], partition=partition)
            self._sent.append((future, self._placed[place]))
            self._placed[place] += len(records)

    async def _check(self, *, wait: bool) -> None:
        left = []
        for future, offset in self._sent:
            if wait or future.done():
                stored = await future
                assert stored.offset == offset, (
                    f"a batch lies at {stored.offset}, the account has it at {offset}"
                )
            else:
                left.append((future, offset))
        self._sent = left


async def chaos(
    seed: int,
    minutes: float,
    rate: int,
    direct: str,
    folder: Path,
    *,
    through: str | None = None,
    kafka: ApacheKafka | None = None,
    proxies: Proxies | None = None,
    brokers: int = 1,
    say: Callable[[str], None] = print,
) -> Outcome:
    """One run.

    Args:
        seed: decides the records and the faults.
        minutes: how long events and faults come.
        rate: events a second.
        direct: the brokers' own addresses, for the producer and the verifier.
        folder: for logs.
        through: what the workers connect to, if not the brokers themselves.
        kafka: given, brokers are killed and paused as well.
        proxies: given, acknowledgements are held back and connections reset as well.
        brokers: how many there are.
        say: told what happens.

    Returns:
        The outcome; it says whether everything was exact.
    """
    name = uuid.uuid4().hex[:8]
    topics = Topics(f"c{name}.", f"chaos-{name}")
    account = Account(seed, int(minutes * 60 * rate), int(time.time() * 1000))
    outcome = Outcome(seed)
    async with Crew(through or direct, topics, folder, say) as crew:
        await crew.create(direct, min(brokers, 3))
        crew.scale(WORKERS)
        await until(_all_work(crew), "the first workers own partitions", _START_S)
        say(f"seed {seed}: {account.total} events, partition {account.idle_partition} stays idle")
        faults = Faults(seed, crew, kafka, proxies, brokers, say)
        begun_s = time.monotonic()
        feed = asyncio.create_task(Feed(account, direct, topics, rate).run())
        injecting = asyncio.create_task(faults.run(begun_s + minutes * 60 - 5))
        try:
            await asyncio.gather(feed, injecting)
        finally:
            for task in (feed, injecting):
                task.cancel()
            await asyncio.gather(feed, injecting, return_exceptions=True)
        outcome.events, outcome.seconds = account.made, time.monotonic() - begun_s
        say(f"{account.made} events sent; waiting for the outputs")
        async with Verifier(direct, topics, account, crew.catalog) as verifier:
            outcome.settled_s = await _settle(verifier)
            outcome.difference = verifier.first_difference()
            outcome.records = verifier.records
        outcome.faults, outcome.restarts, outcome.kinds = faults.injected, crew.restarts, account.kinds
        outcome.slow_ends = crew.slow_ends
        outcome.ends = Counter(f"with status {end.status}" for end in crew.ends)
    return outcome


def _all_work(crew: Crew) -> Any:
    async def ready() -> bool:
        return sum('"partitions ready"' in text for _, text in crew.texts()) >= WORKERS

    return ready


async def _settle(verifier: Verifier) -> float:
    """Waits until everything is exact and stays so, or for as long as that may take."""
    begun_s = time.monotonic()
    exact_s: float | None = None
    while True:
        await verifier.read()
        now_s = time.monotonic()
        if verifier.first_difference() is not None:
            exact_s = None
        elif exact_s is None:
            exact_s = now_s
        elif now_s - exact_s >= _STILL_S:
            return exact_s - begun_s
        if verifier.violations or now_s - begun_s > _SETTLE_S:
            return now_s - begun_s
        await asyncio.sleep(1.0)


@contextlib.contextmanager
def cluster(brokers: int) -> Iterator[tuple[ApacheKafka, Proxies, str]]:
    """Brokers with a proxy before each; the third value is the address that leads through the proxies."""
    fronts = [free_port() for _ in range(brokers)]
    with ApacheKafka(brokers, fronts=fronts) as kafka, Proxies(fronts, kafka.behind) as proxies:
        yield kafka, proxies, ",".join(f"127.0.0.1:{port}" for port in fronts)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--rate", type=int, default=5_000, help="events a second")
    parser.add_argument("--keep", type=Path, help="a folder for the workers' logs")
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # retries of our own clients are no news here
    begun_s = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - begun_s:7.1f} s  {text}\n")

    with contextlib.ExitStack() as stack:
        folder = given.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="effortstream-chaos-"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        say(f"starting {given.brokers} brokers")
        kafka, proxies, through = stack.enter_context(cluster(given.brokers))
        run = chaos(
            given.seed,
            given.minutes,
            given.rate,
            kafka.address,
            folder,
            through=through,
            kafka=kafka,
            proxies=proxies,
            brokers=given.brokers,
            say=say,
        )
        outcome = asyncio.run(run)
    sys.stdout.write(f"{outcome.table()}\n")
    return 0 if outcome.difference is None else 1


if __name__ == "__main__":
    sys.exit(main())
