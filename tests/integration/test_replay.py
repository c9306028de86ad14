"""Replay: files through the whole pipeline give the lines that score computes straight from them."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import orjson
import pytest

from app.config import load_config
from app.figures import lines
from app.mapping import load_mapping
from app.replay import Steps, replay_files
from app.rows import Refused, read_files
from app.score import score_files
from app.settings import load_settings
from tests.datasets import (
    AIRLINE,
    CALL_CENTRE,
    CALL_COLUMNS,
    read_rows,
    shared,
    write_airline,
    write_call_centre,
    write_rows,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RATING = "Satisfaction rating"


def both(
    path: Path, example: str, broker: str, *, as_is: bool = False
) -> tuple[list[dict], list[dict], list[Refused]]:
    """The lines of replay on a broker and of score, each without its source, and what replay refused."""
    declared = load_config(EXAMPLES / example / "effortstream.toml")
    mapping = load_mapping(EXAMPLES / example / "mapping.toml")
    catalog, refused = declared.catalog, []
    settings = load_settings(
        declared, broker=broker, allow_non_transactional=True, session_timeout_s=6, rebalance_timeout_s=6
    )
    replayed = asyncio.run(
        replay_files(
            read_files([path], mapping, catalog, as_is=as_is),
            mapping,
            catalog,
            settings,
            embedded=False,
            steps=Steps(refused=refused.append),
        )
    )
    scored = score_files(read_files([path], mapping, catalog, as_is=as_is), mapping, catalog)
    made = [list(lines(figures, catalog, "either")) for figures in (replayed, scored)]
    return made[0], made[1], refused


@pytest.fixture(scope="module")
def call_centre(tmp_path_factory) -> Path:
    """The real file where it exists, else a generated one of the same shape."""
    return shared(CALL_CENTRE) or write_call_centre(tmp_path_factory.mktemp("calls") / CALL_CENTRE)


@pytest.fixture(scope="module")
def airline(tmp_path_factory) -> Path:
    """The real file where it exists, else a generated one of the same shape."""
    return shared(AIRLINE) or write_airline(tmp_path_factory.mktemp("flights") / AIRLINE)


def same_and_mean(found: list[dict], expected: list[dict], path: Path) -> None:
    """Equal line for line, every row read, and the mean of the answered calls that of the file."""
    assert found == expected
    rows = read_rows(path)
    ratings = [int(row[RATING]) for row in rows if row[RATING]]
    counted = [line["counts"] for line in found if line["type"] == "total" and line["segment"] == {}]
    total = sum(int(rating) * n for counts in counted for rating, n in counts.items())
    assert found[-1]["read"] == len(rows)
    assert Fraction(total, found[-1]["accepted"]) == Fraction(sum(ratings), len(ratings))


@pytest.mark.embedded
def test_replay_of_calls_equals_score_on_the_embedded_broker(call_centre, embedded):
    """Windows, totals, interactions and the summary are the same lines; the mean is that of the file."""
    found, expected, refused = both(call_centre, "call-centre", embedded)
    same_and_mean(found, expected, call_centre)
    assert refused == []


@pytest.mark.kafka
def test_replay_of_calls_equals_score_on_apache_kafka(call_centre, kafka):
    """The same with transactions, and the topics of the replay are gone afterwards."""
    found, expected, _ = both(call_centre, "call-centre", kafka)
    same_and_mean(found, expected, call_centre)


@pytest.mark.embedded
def test_replay_of_flights_equals_score(airline, embedded):
    """Fourteen touchpoints from one row, to the last count."""
    found, expected, _ = both(airline, "airline", embedded)
    assert found == expected
    touchpoints = {line["touchpoint"] for line in found if line["type"] == "total"}
    assert len(touchpoints) == 14


@pytest.mark.embedded
@pytest.mark.parametrize("as_is", [False, True], ids=["by time", "as is"])
def test_copies_and_edits_give_the_clean_file_with_the_changed_answers(
    call_centre, embedded, tmp_path, as_is
):
    """Every row doubled and shuffled, then 5 % of the answers changed at the end, through the whole pipeline."""
    rng = random.Random(5)
    rows = read_rows(call_centre)
    chosen = rng.sample([row for row in rows if row[RATING]], len(rows) // 20)
    changed = {row["Call Id"]: row | {RATING: str(int(row[RATING]) % 5 + 1)} for row in chosen}
    clean = write_rows(
        tmp_path / "clean.csv", CALL_COLUMNS, [changed.get(row["Call Id"], row) for row in rows]
    )
    copies = rows * 2
    rng.shuffle(copies)
    edited = write_rows(tmp_path / "edited.csv", CALL_COLUMNS, [*copies, *changed.values()])
    found, expected, _ = both(edited, "call-centre", embedded, as_is=as_is)
    assert found == expected
    declared = load_config(EXAMPLES / "call-centre" / "effortstream.toml").catalog
    mapping = load_mapping(EXAMPLES / "call-centre" / "mapping.toml")
    straight = score_files(read_files([clean], mapping, declared), mapping, declared)
    assert found[:-1] == list(lines(straight, declared, "either"))[:-1]
    assert found[-1]["edits"] == len(changed)


@pytest.mark.embedded
def test_broken_rows_are_refused_alike_and_named_by_their_line(call_centre, embedded, tmp_path, monkeypatch):
    """Off the scale, not a number, no such time and a line with too few cells: one dead letter each, nothing else.

    Nothing is left in the working folder either.
    """
    monkeypatch.chdir(tmp_path)
    rows = [row for row in read_rows(call_centre) if row[RATING]][:50]
    bad = [rows[0] | {RATING: "9"}, rows[1] | {RATING: "fine"}, rows[2] | {"Date": "2021-13-01"}]
    bad = [row | {"Call Id": f"bad{at}"} for at, row in enumerate(bad)]
    path = write_rows(tmp_path / "broken.csv", CALL_COLUMNS, [*rows, *bad])
    with path.open("a") as file:
        file.write("half a line\n")
    found, expected, refused = both(path, "call-centre", embedded)
    assert found == expected
    assert found[-1]["accepted"] == 50
    assert found[-1]["dead_letters"] == {"bad_time": 1, "off_scale": 1, "wrong_type": 2}
    lines_named = {row.line for row in refused if row.topic == "responses"}
    assert lines_named == {52, 53, 54, 55}
    assert [entry.name for entry in tmp_path.iterdir()] == ["broken.csv"]


@pytest.fixture
def small_file(tmp_path) -> Callable[[], Path]:
    """A small file of calls."""
    return lambda: write_call_centre(tmp_path / "small.csv", calls=40)


@pytest.mark.embedded
def test_the_command_prints_lines_and_leaves_no_process(small_file):
    """The command with a broker of its own: status 0, JSON lines on standard output, nothing else there."""
    command = [sys.executable, "-m", "app", "replay", str(small_file()), "--format", "json"]
    command += ["--mapping", str(EXAMPLES / "call-centre" / "mapping.toml")]
    command += ["--config", str(EXAMPLES / "call-centre" / "effortstream.toml")]
    done = subprocess.run(command, capture_output=True, timeout=90, check=False, cwd=EXAMPLES.parent)
    assert done.returncode == 0, done.stderr.decode()
    summary = orjson.loads(done.stdout.splitlines()[-1])
    assert (summary["type"], summary["source"], summary["read"]) == ("summary", "replay", 40)
    assert b"Traceback" not in done.stderr
