"""What may happen to a worker, in the order that does harm; each says how the outputs then differ from the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from agents import engine as engine_module
from agents.topics import PARTIALS
from scoring.errors import EffortStreamError
from tests.mutation.hand import WAIT_S, CutError, Hand, differences, say_positions
from tests.pipeline import Customers, Deployment

PART = 600
"""Records of one step."""

_MARKER_ONLY = "200"
"""Bytes: a transaction's own marker is smaller, a batch of partials is larger."""

Scenario = Callable[[Deployment], Awaitable[list[str]]]


async def found(scenario: Scenario, deployment: Deployment) -> list[str]:
    """The differences of a scenario; that a worker could not go on is one of them."""
    try:
        return await scenario(deployment)
    except (EffortStreamError, LookupError) as error:
        return [f"{type(error).__name__}: {error}"]


async def half_counted(deployment: Deployment) -> Customers:
    """Two parts are in the log; the first is counted and stored."""
    customers = Customers(total=3 * PART, seed=11)
    await deployment.produce(customers.records(PART))
    async with Hand(deployment) as hand:
        await hand.read()
        await hand.checkpoint()
    await deployment.produce(customers.records(PART))
    return customers


async def successor(deployment: Deployment, customers: Customers) -> list[str]:
    """The next worker reads to the end; what the outputs come to then."""
    async with Hand(deployment) as hand:
        await hand.read()
        await hand.checkpoint()
        problems = await differences(deployment, customers)
        if hand.engine.totals.refetches:
            problems.append(f"{hand.engine.totals.refetches} fetches began behind the position of the state")
    return problems


def cut(batches: int) -> Scenario:
    """A worker ends inside its second checkpoint, when so many batches of it are stored; its successor goes on."""

    async def scenario(deployment: Deployment) -> list[str]:
        customers = await half_counted(deployment)
        async with Hand(deployment) as hand:
            await hand.read()
            hand.cut_after(batches)
            await _fails(hand.checkpoint())
        return await successor(deployment, customers)

    return scenario


async def after_a_restart_copies_come(deployment: Deployment) -> list[str]:
    """The second part has copies, edits and withdrawals of answers that another worker has counted."""
    return await successor(deployment, await half_counted(deployment))


async def a_batch_is_refused(deployment: Deployment) -> list[str]:
    """The broker stores a checkpoint's state, and takes none of its partials; later it does again."""
    customers = await half_counted(deployment)
    async with Hand(deployment) as hand:
        await hand.read()
        await _largest_batch(deployment, _MARKER_ONLY)
        await _fails(hand.checkpoint())
        await _largest_batch(deployment, str(1 << 20))
    return await successor(deployment, customers)


async def the_group_says_another_position(deployment: Deployment) -> list[str]:
    """Somebody has set the group's offsets forward while no worker ran: the state knows better."""
    customers = await half_counted(deployment)
    await say_positions(deployment, 50)
    return await successor(deployment, customers)


def a_fetch_begins_elsewhere(by: int) -> Scenario:
    """A fetch begins that far beyond (or, below zero, before) the position, with nothing of the log removed."""

    async def scenario(deployment: Deployment) -> list[str]:
        customers = await half_counted(deployment)
        async with Hand(deployment) as hand:
            await hand.move(by)
            await hand.read()
            await hand.checkpoint()
            return await differences(deployment, customers)

    return scenario


async def the_last_owner_commits_late(deployment: Deployment) -> list[str]:
    """The last owner has sent a checkpoint, and commits it when the next one has read the changelog."""
    customers = await half_counted(deployment)
    may_commit = asyncio.Event()
    restore = engine_module.restore
    async with Hand(deployment) as last:
        await last.read()
        last.hold_commits(may_commit.wait)
        late = asyncio.create_task(_fails(last.checkpoint()))

        async def restore_then_let_commit(*args: object) -> None:
            await restore(*args)
            may_commit.set()
            await late

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine_module, "restore", restore_then_let_commit)
            return await successor(deployment, customers)


async def _fails(step: Awaitable[None]) -> None:
    """Lets a step fail, if it does: what that comes to is seen in the outputs."""
    try:
        await asyncio.wait_for(step, WAIT_S)
    except (EffortStreamError, CutError):
        return


async def _largest_batch(deployment: Deployment, size: str) -> None:
    """How large a batch of the partials topic may be."""
    admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
    await admin.start()
    try:
        topic = deployment.topics(PARTIALS)
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": size})]
        )
    finally:
        await admin.close()
