"""The tests of exactly once can fail: with one thing of the design left out, the matching one does.

Each pair is run twice, on Apache Kafka: as the code is, where the outputs must be exact, and with the mutation, where
the same scenario must show a difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutation import mutations, scenarios
from tests.mutation.mutations import Mutation
from tests.mutation.scenarios import Scenario, found
from tests.pipeline import Deployment

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]

SCENARIOS: dict[str, Scenario] = {
    "cut with the state sent": scenarios.cut(1),
    "cut before the commit": scenarios.cut(3),
    "copies after a restart": scenarios.after_a_restart_copies_come,
    "a refused batch": scenarios.a_batch_is_refused,
    "other offsets of the group": scenarios.the_group_says_another_position,
    "a fetch from beyond": scenarios.a_fetch_begins_elsewhere(50),
    "a fetch from before": scenarios.a_fetch_begins_elsewhere(-50),
    "a late commit of the last owner": scenarios.the_last_owner_commits_late,
}
"""What must be survived."""

DETECTED: dict[str, tuple[Mutation, str, str]] = {
    "plain sends instead of the transaction": (
        mutations.PLAIN_SENDS,
        "cut with the state sent",
        "answers: .* dead letters: ",
    ),
    "a send not awaited before the commit": (mutations.SEND_NOT_AWAITED, "a refused batch", "answers: "),
    "no seek to the state's own position": (
        mutations.NO_SEEK,
        "other offsets of the group",
        "4 fetches began behind",
    ),
    "no check of where a fetch starts: beyond": (
        mutations.NO_CHECK_AHEAD,
        "a fetch from beyond",
        "answers: .* dead letters: ",
    ),
    "no check of where a fetch starts: before": (
        mutations.NO_CHECK_BEHIND,
        "a fetch from before",
        "dead letters: .*2 instead of 1",
    ),
    "producers opened after the changelog's end": (
        mutations.OPENED_LATE,
        "a late commit of the last owner",
        "dead letters: .*2 instead of 1",
    ),
    "the ledger beside the transaction": (
        mutations.LEDGER_BESIDE,
        "cut with the state sent",
        "KeyError|answers: ",
    ),
    "the ledger not stored": (mutations.LEDGER_NOT_STORED, "copies after a restart", "state is not whole"),
    "the ledger neither stored nor counted": (
        mutations.LEDGER_NOT_COUNTED,
        "copies after a restart",
        "answers: ",
    ),
}
"""Mutation, the scenario that must show it, and what is said then."""


@pytest.fixture
def deployment(kafka: str, tmp_path: Path) -> Iterator[Deployment]:
    """Topics of their own."""
    with Deployment(kafka, tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_outputs_are_exact_whatever_happens(deployment, name):
    """Every answer once, every dead letter once, and no fetch that had to be made again."""
    assert await found(SCENARIOS[name], deployment) == []


@pytest.mark.parametrize("name", DETECTED)
async def test_the_scenario_shows_the_mutation(deployment, monkeypatch, name):
    """Without this part of the design the outputs differ, and it is seen."""
    mutation, scenario, said = DETECTED[name]
    for edit in mutation:
        edit.apply(monkeypatch)
    problems = " ".join(await found(SCENARIOS[scenario], deployment))
    assert re.search(said, problems, re.DOTALL), problems or "no difference"
