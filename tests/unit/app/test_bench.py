"""The pure parts of the benchmark: shares of the ceiling, the table, and the input that every program reads."""

from __future__ import annotations

import json
from collections import Counter
from statistics import median

import pytest

from app.bench import BenchError, check_counts
from app.bench_table import COLUMNS, NOTHING, Measure, Ratios, Row, markdown_table, rich_table
from bench.measuring import digest
from bench.records import FIRST_MS, HIGH, LOW, SPAN_MS, TOUCHPOINTS, records


def run(seconds: float, **more: object) -> Measure:
    """One run of a thousand events."""
    return Measure(events=1_000, seconds=seconds, cpu_s=seconds / 2, peak_mib=100.0, **more)


def test_a_share_is_taken_of_the_ceiling_of_the_same_run():
    """A slow minute that meets both programs of a run leaves their ratio as it was."""
    ratios = Ratios.of([run(4.0), run(40.0), run(5.0)], [run(3.0), run(30.0), run(2.0)])
    assert (ratios.least, ratios.middle, ratios.most) == (0.4, 0.75, 0.75)


def test_shares_of_no_runs_or_of_unequal_numbers_are_refused():
    """A ratio is never made of runs that do not belong together."""
    with pytest.raises(ValueError, match="no runs"):
        Ratios.of([], [])
    with pytest.raises(ValueError, match="longer"):
        Ratios.of([run(1.0)], [run(1.0), run(2.0)])


def test_a_spread_is_printed_only_where_there_is_one():
    """One run, or equal ones, are one number."""
    assert str(Ratios(0.75, 0.75, 0.75)) == "0.75"
    assert str(Ratios(0.6, 0.75, 0.8)) == "0.75 (0.60 to 0.80)"


def test_a_row_shows_medians_and_the_highest_peak():
    """Times are typical ones; memory is what a machine must have."""
    runs = [
        Measure(1_000, 2.0, 1.0, 100.0, 50, 5_000, 1_000, transactions=True),
        Measure(1_000, 4.0, 3.0, 300.0, 10, 1_000, 1_000, transactions=True),
        Measure(1_000, 5.0, 2.0, 200.0, 20, 2_000, 1_000, transactions=True),
    ]
    cells = dict(zip(COLUMNS, Row("worker", runs, [run(1.0)] * 3).cells(), strict=True))
    assert cells == {
        "program": "worker",
        "events": "1,000",
        "events/s": f"{median([500, 250, 200]):,.0f}",
        "of the ceiling": "0.25 (0.20 to 0.50)",
        "CPU s": "2.00",
        "peak MiB": "300",
        "records/event": "0.0200",
        "bytes/event": "2.0",
        "ledger": "on, 1,000 ids",
        "transactions": "on",
    }


def test_what_a_program_does_not_have_is_a_dash_and_never_a_zero():
    """A ceiling that writes nothing is not one that writes 0 records."""
    cells = dict(zip(COLUMNS, Row("ceiling", [run(1.0)], [run(1.0)]).cells(), strict=True))
    assert {cells[name] for name in ("records/event", "bytes/event", "ledger", "transactions")} == {NOTHING}


def test_one_run_of_a_peer_is_compared_with_the_median_ceiling():
    """Peers run once, after all runs of the ceiling."""
    row = Row("peer", [run(20.0)], [run(1.0), run(2.0), run(9.0)])
    assert row.cells()[COLUMNS.index("of the ceiling")] == "0.10"


def test_markdown_has_a_header_and_one_line_for_each_program():
    """The table can be pasted into the README."""
    rows = [Row("a", [run(1.0)], [run(1.0)]), Row("b", [run(2.0)], [run(1.0)])]
    lines = markdown_table(rows).splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["| program", "| ---", "| a", "| b"]
    assert len({line.count("|") for line in lines}) == 1
    assert rich_table(rows, 3).row_count == len(rows)


def test_a_report_becomes_a_measure_without_what_has_no_column():
    """Programs may report more than the table shows."""
    report = {"events": 5, "seconds": 1.0, "cpu_s": 0.5, "peak_mib": 9.0, "checkpoints": 3, "digest": "x"}
    assert Measure.of(report, transactions=True) == Measure(5, 1.0, 0.5, 9.0, transactions=True, digest="x")


def test_a_worker_that_counted_something_else_has_no_rate():
    """A fast wrong result is an error, not a figure."""
    check_counts(run(1.0, digest="a"), run(9.0, digest="a"))
    with pytest.raises(BenchError, match="differ"):
        check_counts(run(1.0, digest="a"), run(1.0, digest="b"))


def test_equal_counts_have_equal_digests_in_any_order():
    """Programs that count in another order agree."""
    assert digest({("a", 1): 2, ("b", 1): 3}) == digest({("b", 1): 3, ("a", 1): 2})
    assert digest({("a", 1): 2}) != digest({("a", 2): 2})


def test_the_input_is_the_same_each_time_and_keeps_a_customer_in_one_partition():
    """Runs compare only if they read the same bytes; edits need all answers of a customer in one place."""
    made = list(records(5_000, 4))
    assert made == list(records(5_000, 4))
    homes: dict[bytes, set[int]] = {}
    for partition, key, _ in made:
        homes.setdefault(key, set()).add(partition)
    assert {len(where) for where in homes.values()} == {1}
    assert set.union(*homes.values()) == {0, 1, 2, 3}


def test_the_input_is_an_hour_of_unique_answers_at_fifty_touchpoints():
    """What the README says of the input is true."""
    rows = [json.loads(value) for _, _, value in records(5_000, 4)]
    times = [row["event_time_ms"] for row in rows]
    assert len({row["response_id"] for row in rows}) == len(rows)
    assert len({row["touchpoint"] for row in rows}) == TOUCHPOINTS
    assert set(Counter(row["rating"] for row in rows)) == set(range(LOW, HIGH + 1))
    assert times == sorted(times)
    assert times[0] == FIRST_MS
    assert times[-1] < FIRST_MS + SPAN_MS
