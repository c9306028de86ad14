"""A short chaos run with a fixed seed; `make chaos SEED=n MINUTES=m` makes the long ones."""

from __future__ import annotations

import pytest

from tests.chaos.run import chaos

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]

SEED = 4


async def test_a_minute_of_faults_changes_no_count(kafka, tmp_path):
    """With kill -9, a zombie, SIGTERM, workers that join and leave: nothing is lost and nothing is counted twice."""
    outcome = await chaos(SEED, 0.9, 4_000, kafka, tmp_path)
    assert outcome.difference is None, outcome.table()
    assert outcome.faults.keys() == {"kill -9", "zombie", "SIGTERM", "join and leave"}
    assert outcome.slow_ends == []
