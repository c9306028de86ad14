"""Brokers for tests that need one: started once for all of them, and always stopped."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.broker import EmbeddedBroker, cluster_id
from tests.servers import ApacheKafka, KafkaMissingError, without


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The address of an Apache Kafka: EFFORTSTREAM_TEST_KAFKA if set, else one started from its Maven artifacts."""
    given = os.environ.get("EFFORTSTREAM_TEST_KAFKA")
    if given:
        asyncio.run(cluster_id(given.split(",")[0], {}))
        yield given
        return
    try:
        server = ApacheKafka()
    except KafkaMissingError as error:
        without(f"no Apache Kafka (set EFFORTSTREAM_TEST_KAFKA=host:port to give one): {error}")
        return
    with server:
        yield server.address


@pytest.fixture(scope="session")
def embedded() -> Iterator[str]:
    """The address of an embedded broker."""
    with running_embedded() as address:
        yield address


@pytest.fixture
def own_embedded() -> Iterator[str]:
    """The address of an embedded broker that no other test has used."""
    with running_embedded() as address:
        yield address


@contextmanager
def running_embedded() -> Iterator[str]:
    """An embedded broker for as long as a block lasts; gives its address."""
    broker = EmbeddedBroker()
    with asyncio.Runner() as runner:
        runner.run(broker.__aenter__())
        try:
            yield broker.address
        finally:
            runner.run(broker.__aexit__(None, None, None))
