"""How far a restore is."""

from __future__ import annotations

from structlog.testing import capture_logs

from agents.restoring import Progress, _compacted
from tests.unit.agents.streams import Rec


def test_a_long_restore_tells_how_far_it_is_and_a_short_one_nothing():
    """A line every five seconds, with what has come and what can come at most."""
    progress = Progress(partitions=2, total=900, started_s=100.0, said_s=100.0)
    with capture_logs() as lines:
        for moment_s in (101.0, 104.9, 105.0, 107.0, 111.5):
            progress.records += 100
            progress.say(moment_s)
    told = [(line["event"], line["records"], line["of_at_most"], line["seconds"]) for line in lines]
    assert told == [("restoring state", 300, 900, 5), ("restoring state", 500, 900, 12)]


def test_of_each_key_only_the_last_record_is_taken_up_in_the_order_of_the_log():
    """As compaction leaves it: a tombstone counts as the last word, and nothing else moves."""
    written = [(b"p1", b"a"), (b"l0", b"b"), (b"p2", b"c"), (b"p1", b"d"), (b"p2", None), (b"m", b"e")]
    records = [Rec(at, 0, key, value) for at, (key, value) in enumerate(written)]
    assert list(_compacted(records)) == [(b"l0", b"b"), (b"p1", b"d"), (b"p2", None), (b"m", b"e")]
