"""The faults of a chaos run, chosen and timed from its seed."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.chaos.crew import SESSION_S, Crew
from tests.chaos.proxy import Proxies
from tests.servers import ApacheKafka

WORKERS = 2
ZOMBIE_S = SESSION_S + 3.0
BROKER_PAUSE_S = 20.0
SLOW_BROKER_S = 12.0
ACKNOWLEDGEMENT_DELAY_S = 0.5
BROKER_DOWN_S = 6.0


class Faults:
    """Injects one fault after the other.

    Args:
        seed: decides which, to whom and when.
        crew: the workers.
        kafka: the brokers, if they may be touched.
        proxies: before the brokers, likewise.
        say: told about each.

    Attributes:
        injected: how many of each kind.
    """

    def __init__(
        self,
        seed: int,
        crew: Crew,
        kafka: ApacheKafka | None,
        proxies: Proxies | None,
        brokers: int,
        say: Callable[[str], None],
    ) -> None:
        self._random = random.Random(f"faults-{seed}")
        self._crew, self._kafka, self._proxies, self._brokers, self._say = crew, kafka, proxies, brokers, say
        self.injected: Counter[str] = Counter()

    def programme(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """Every fault that this run can inject."""
        out: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("kill -9", self.kill),
            ("zombie", self.zombie),
            ("SIGTERM", self.terminate),
            ("join and leave", self.join_and_leave),
        ]
        if self._kafka is not None:
            out += [
                ("kill -9 of all", self.kill_all),
                ("rebalance storm", self.storm),
                ("broker killed", self.kill_broker),
                ("broker paused", self.pause_broker),
            ]
        if self._proxies is not None:
            out += [("slow broker", self.slow_broker), ("connection resets", self.reset_connections)]
        return out

    async def run(self, until_s: float) -> None:
        """Injects faults until a moment of the monotonic clock; each kind comes once before any comes again."""
        deck: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        while True:
            await asyncio.sleep(self._random.uniform(2.0, 7.0))
            if time.monotonic() >= until_s:
                return
            if not deck:
                deck = self.programme()
                self._random.shuffle(deck)
            name, inject = deck.pop()
            self.injected[name] += 1
            await inject()

    def _slot(self) -> int | None:
        slots = self._crew.slots
        return self._random.choice(slots) if slots else None

    # -- workers -------------------------------------------------------------------------------------------------

    async def kill(self) -> None:
        """A worker ends like a power cut."""
        slot = self._slot()
        self._say(f"fault: kill -9 of worker {slot}")
        if slot is not None:
            self._crew.send(slot, signal.SIGKILL)

    async def kill_all(self) -> None:
        """All workers end like a power cut, at once."""
        self._say("fault: kill -9 of all workers")
        for slot in self._crew.slots:
            self._crew.send(slot, signal.SIGKILL)

    async def zombie(self) -> None:
        """A worker sleeps longer than its session lasts, and comes back to partitions that are not its own any more."""
        slot = self._slot()
        self._say(f"fault: worker {slot} stopped for {ZOMBIE_S:.0f} s")
        if slot is None:
            return
        self._crew.send(slot, signal.SIGSTOP)
        try:
            await asyncio.sleep(ZOMBIE_S)
        finally:
            self._crew.send(slot, signal.SIGCONT)
            self._say(f"worker {slot} goes on")

    async def terminate(self) -> None:
        """A worker is told to end, as in a rollout."""
        slot = self._slot()
        self._say(f"fault: SIGTERM to worker {slot}")
        if slot is not None:
            self._crew.terminate(slot)

    async def join_and_leave(self) -> None:
        """A third worker joins and leaves again; then one of the two leaves for a while."""
        self._say("fault: a third worker joins")
        self._crew.scale(WORKERS + 1)
        await asyncio.sleep(self._random.uniform(6.0, 10.0))
        self._say("fault: two workers leave")
        self._crew.scale(WORKERS - 1)
        await asyncio.sleep(self._random.uniform(3.0, 6.0))
        self._say("fault: a second worker joins")
        self._crew.scale(WORKERS)

    async def storm(self) -> None:
        """A third worker comes and goes, four times in a row, killed or told to; none of the rebalances is finished."""
        self._say("fault: rebalance storm")
        for _ in range(4):
            self._crew.scale(WORKERS + 1)
            await asyncio.sleep(self._random.uniform(3.0, 7.0))
            if self._random.random() < 0.5:
                self._crew.send(WORKERS, signal.SIGKILL)
            self._crew.scale(WORKERS)
            await asyncio.sleep(self._random.uniform(0.2, 1.5))

    # -- brokers -------------------------------------------------------------------------------------------------

    async def kill_broker(self) -> None:
        """A broker ends like a power cut, and comes back."""
        kafka, broker = self._brokers_of(), self._random.randrange(self._brokers)
        self._say(f"fault: kill -9 of broker {broker}")
        kafka.kill(broker)
        await asyncio.sleep(BROKER_DOWN_S)
        kafka.launch(broker)
        await asyncio.to_thread(kafka.wait, self._brokers)
        self._say(f"broker {broker} is back")

    async def pause_broker(self) -> None:
        """A broker answers nothing for a while, with all its connections open."""
        kafka, broker = self._brokers_of(), self._random.randrange(self._brokers)
        self._say(f"fault: broker {broker} paused for {BROKER_PAUSE_S:.0f} s")
        kafka.pause(broker)
        try:
            await asyncio.sleep(BROKER_PAUSE_S)
        finally:
            kafka.resume(broker)
            self._say(f"broker {broker} goes on")

    async def slow_broker(self) -> None:
        """A broker acknowledges half a second late."""
        assert self._proxies is not None
        broker = self._random.randrange(self._brokers)
        self._say(
            f"fault: broker {broker} acknowledges {ACKNOWLEDGEMENT_DELAY_S} s late for {SLOW_BROKER_S:.0f} s"
        )
        self._proxies.delay(broker, ACKNOWLEDGEMENT_DELAY_S)
        try:
            await asyncio.sleep(SLOW_BROKER_S)
        finally:
            self._proxies.delay(broker, 0.0)

    async def reset_connections(self) -> None:
        """Every connection of the workers is cut, five times."""
        assert self._proxies is not None
        for _ in range(5):
            cut = sum(self._proxies.reset(broker) for broker in range(self._brokers))
            self._say(f"fault: {cut} connections reset")
            await asyncio.sleep(self._random.uniform(0.5, 2.0))

    def _brokers_of(self) -> ApacheKafka:
        assert self._kafka is not None
        return self._kafka
