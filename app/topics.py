"""Creating the topics of one deployment, and checking those that exist already."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from agents.topics import PUBLIC, Topics, TopicSpec
from app.broker import wait_for_broker
from app.settings import Settings, client_security
from scoring.errors import EffortStreamError

CHANGELOG_STAGES = ("responses", "interactions", "scores")
VISIBLE_DEADLINE_S = 30.0
VISIBLE_POLL_S = 0.1
_ALREADY_EXISTS: Final = 36
_REMEDIES: Final = {
    "InvalidReplicationFactorError": "Set --replication to at most the number of live brokers",
    "InvalidTopicError": "Choose a prefix and a group of letters, digits, dots, underscores and hyphens",
    "TopicAuthorizationFailedError": "Allow this user to create and describe these topics, or have them created",
    "ClusterAuthorizationFailedError": "Allow this user to create and describe these topics, or have them created",
    "PolicyViolationError": "Follow the cluster's policy for new topics, or have them created by its operators",
}


class TopicError(EffortStreamError, RuntimeError):
    """A topic cannot be created, or exists in a way that the pipeline cannot work with."""


@dataclass(frozen=True, slots=True)
class TopicOutcome:
    """What was done about one topic.

    Attributes:
        name: its full name.
        created: False where it existed and was left alone.
        partitions: how many it has.
        settings: what it should be set to.
        differences: settings of an existing topic that differ, as ``name = value, expected value``.
    """

    name: str
    created: bool
    partitions: int
    settings: Mapping[str, str]
    differences: tuple[str, ...] = ()


def deployment_topics(prefix: str, group: str) -> dict[str, TopicSpec]:
    """Every topic of a deployment by its full name: the public ones and the changelogs of the group."""
    topics = Topics(prefix, group)
    changelogs = [topics.changelog(stage) for stage in CHANGELOG_STAGES]
    return {topics(spec): spec for spec in (*PUBLIC, *changelogs)}


async def create_topics(settings: Settings, on_retry: Callable[[str], None]) -> list[TopicOutcome]:
    """Creates the topics that are missing, and leaves the others as they are.

    Nothing is created where an existing topic has another number of partitions: records of one customer or touchpoint
    would be split between partitions, so the pipeline would count them apart.

    Args:
        settings: broker, security, prefix, group, partitions and replication.
        on_retry: told about each failed attempt to reach the broker.

    Returns:
        One outcome per topic, all of them visible to clients of this broker.

    Raises:
        BrokerUnavailable: no broker answered within ``settings.broker_wait_s``.
        TopicError: a topic was refused, or exists with another number of partitions.
    """
    security = client_security(settings)
    await wait_for_broker(settings.broker, settings.broker_wait_s, security, on_retry)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker, **security)
    try:
        await admin.start()
        return await _create(admin, settings)
    except (KafkaError, OSError) as error:
        if isinstance(error, EffortStreamError):
            raise
        raise TopicError(
            f"The topics at {settings.broker} could not be created: {error or type(error).__name__}. "
            "Run it again; topics that exist already are left alone"
        ) from error
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, settings: Settings) -> list[TopicOutcome]:
    wanted = deployment_topics(settings.prefix, settings.group)
    before = await _partitions(admin)
    _check_partitions(before, wanted, settings.partitions)
    missing = [name for name in wanted if name not in before]
    created: set[str] = set()
    if missing:
        created = await _request(admin, settings, {name: wanted[name] for name in missing})
        # Another process may have made some of them in the meantime, so they are checked as well
        _check_partitions(await _visible(admin, missing), wanted, settings.partitions)
    differences = await _differences(admin, {name: wanted[name] for name in wanted if name not in created})
    return [
        TopicOutcome(name, name in created, settings.partitions, spec.settings(), differences.get(name, ()))
        for name, spec in wanted.items()
    ]


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Partitions of every topic that is ready; of all topics, since asking for an unknown one may create it."""
    described = await admin.describe_topics()
    return {
        topic["topic"]: len(topic["partitions"])
        for topic in described
        if not topic["error_code"] and topic["partitions"]
    }


def _check_partitions(found: Mapping[str, int], wanted: Mapping[str, TopicSpec], partitions: int) -> None:
    wrong = [f"{name} has {found[name]}" for name in wanted if found.get(name, partitions) != partitions]
    if wrong:
        raise TopicError(
            f"Every topic must have {partitions} partitions, but {', '.join(wrong)}. "
            "Run it with --partitions of the existing topics, choose another --prefix and --group, "
            "or delete these topics together with everything in them"
        )


async def _request(
    admin: AIOKafkaAdminClient, settings: Settings, missing: Mapping[str, TopicSpec]
) -> set[str]:
    """Asks the broker to create topics; those that it created, without the ones that had come into being."""
    answer = await admin.create_topics(
        [
            NewTopic(name, settings.partitions, settings.replication, topic_configs=spec.settings())
            for name, spec in missing.items()
        ]
    )
    created: set[str] = set()
    refused: dict[tuple[str, str], list[str]] = {}
    for name, code, *message in answer.topic_errors:
        if code == 0:
            created.add(name)
        elif code != _ALREADY_EXISTS:
            kind = for_code(code)
            cause = (message and message[0]) or kind.description
            refused.setdefault((kind.__name__, str(cause)), []).append(name)
    if refused:
        raise TopicError(
            "\n".join(
                f"The broker refused to create {', '.join(names)}: {cause.rstrip('.')}. "
                f"{_REMEDIES.get(kind, 'Look into the log of the broker')}"
                for (kind, cause), names in refused.items()
            )
        )
    return created


async def _visible(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    """Waits until new topics are in the metadata: a broker may acknowledge them earlier than it knows their leaders."""
    deadline = time.monotonic() + VISIBLE_DEADLINE_S
    while True:
        found = await _partitions(admin)
        absent = [name for name in names if name not in found]
        if not absent:
            return found
        if time.monotonic() > deadline:
            raise TopicError(
                f"Created, but not visible after {VISIBLE_DEADLINE_S:.0f} s: {', '.join(absent)}. "
                "Look into the log of the broker, then run it again"
            )
        await asyncio.sleep(VISIBLE_POLL_S)


async def _differences(
    admin: AIOKafkaAdminClient, existing: Mapping[str, TopicSpec]
) -> dict[str, tuple[str, ...]]:
    if not existing:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in existing]
    out: dict[str, tuple[str, ...]] = {}
    for answer in await admin.describe_configs(resources):
        for code, _, _, name, entries in (tuple(row[:5]) for row in answer.resources):
            out[name] = _compare(existing[name].settings(), code, entries)
    return out


def _compare(expected: Mapping[str, str], code: int, entries: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    if code:
        return (f"settings cannot be read: {for_code(code).__name__}",)
    actual = {entry[0]: entry[1] for entry in entries}
    return tuple(
        f"{key} = {actual.get(key)}, expected {value}"
        for key, value in expected.items()
        if _policies(actual.get(key)) != _policies(value)
    )


def _policies(value: str | None) -> frozenset[str]:
    """A setting as the set of its parts: compact,delete and delete,compact are the same."""
    return frozenset((value or "").replace(" ", "").split(","))
