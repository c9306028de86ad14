"""What a score stage does with records of the partials topic that it can not read."""

from __future__ import annotations

import pytest

from agents.fingerprint import StateMismatchError
from agents.partials import RESPONSES_KIND, VERSION, Partial, Statement, encode_partial, encode_statement
from agents.ports import Batch
from agents.scores import ScoreStage
from tests.unit.agents.streams import CATALOG, NOW_MS, Rec

PARTIAL = encode_partial(Partial(RESPONSES_KIND, 0, 0, NOW_MS, []))
STATEMENT = encode_statement(Statement(RESPONSES_KIND, 0, 0, NOW_MS, NOW_MS, False, False, NOW_MS))


def take(key: bytes, value: bytes | None) -> ScoreStage:
    """A score stage that was given this record."""
    stage = ScoreStage(0, CATALOG, 1)
    stage.apply(Batch([Rec(0, NOW_MS, key, value)], 0, 1, 1))
    return stage


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"cart", b"\x02" + PARTIAL[1:]),
        (b"", b"\x02" + STATEMENT[1:]),
        (b"cart", VERSION + b"\x93\x00\x00\x00"),  # a field fewer, under the same number
        (b"cart", PARTIAL[:-1]),
    ],
    ids=["later partial", "later statement", "other fields", "cut off"],
)
def test_a_partial_of_another_version_stops_the_worker(key: bytes, value: bytes) -> None:
    """Left out it would be lost for good, and nobody would know; the place is named."""
    with pytest.raises(StateMismatchError, match="offset 0: another version"):
        take(key, value)


@pytest.mark.parametrize("value", [b'{"touchpoint":"cart"}', b"", None], ids=["JSON", "empty", "tombstone"])
def test_a_record_that_is_not_ours_is_counted_and_left_out(value: bytes | None) -> None:
    """A foreign producer must not be able to stop the scores."""
    stage = take(b"cart", value)
    assert (stage.sizes["undecodable_partials"], stage.applied) == (1, 0)
