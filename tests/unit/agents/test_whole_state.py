"""State of which records are missing is refused, whichever they are."""

from __future__ import annotations

import pytest

from agents.fingerprint import StateMismatchError
from tests.unit.agents.pipeline import Pipeline
from tests.unit.agents.streams import CATALOG, NOW_MS, interaction, raw, response

LOST = {"pane": b"p", "profile": b"f", "ledger block": b"l"}


def pipeline() -> Pipeline:
    """Two touchpoints with answers and interactions, all committed."""
    made = Pipeline(CATALOG, 1)
    for number, touchpoint in enumerate(("cart", "search")):
        record = response(response_id=f"r{number}", touchpoint=touchpoint)
        made.put(0, 0, NOW_MS, raw(record))
        contact = interaction(interaction_id=f"i{number}", touchpoint=touchpoint)
        made.put(1, 0, NOW_MS, raw(contact))
    made.run(NOW_MS)
    return made


@pytest.mark.parametrize("tag", LOST.values(), ids=list(LOST))
def test_an_intake_without_one_of_its_records_does_not_start(tag: bytes) -> None:
    """A pane, a profile or a ledger block that retention has taken: the worker says so and counts nothing."""
    made = pipeline()
    key = next(key for key in made.sources if key in made.changelogs)
    lost = next(name for name, _ in made.changelogs[key] if name[:1] == tag)
    made.changelogs[key] = [(name, value) for name, value in made.changelogs[key] if name != lost]
    with pytest.raises(StateMismatchError, match="the stored state is not whole"):
        made.crash(key)


def test_scores_without_one_of_their_panes_do_not_start() -> None:
    """As the intakes."""
    made = pipeline()
    lost = next(name for name, _ in made.changelogs[0] if name[:1] == b"p")
    made.changelogs[0] = [(name, value) for name, value in made.changelogs[0] if name != lost]
    with pytest.raises(StateMismatchError, match="the stored state is not whole"):
        made.crash(0)


def test_whole_state_is_taken_compacted_or_not() -> None:
    """What compaction removes is not missing."""
    made = pipeline()
    for compacted in (False, True):
        for key in [*made.sources, 0]:
            made.crash(key, compacted=compacted)
