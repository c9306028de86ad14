"""score on the shared files: figures equal to those computed here with csv and fractions, to the last count.

Where the shared files are not at hand, generated ones of the same shape stand in.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest

from app.config import load_config
from app.figures import lines
from app.mapping import load_mapping
from app.rows import read_files
from app.score import score_files
from tests.datasets import (
    AIRLINE,
    AIRLINE_TOUCHPOINTS,
    CALL_CENTRE,
    CALL_COLUMNS,
    Rows,
    read_rows,
    shared,
    write_airline,
    write_call_centre,
    write_rows,
)

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
RATING = "Satisfaction rating"


def scored(path: Path, example: str) -> list[dict]:
    """The lines of ``effortstream score`` with the configuration and mapping of an example."""
    catalog = load_config(EXAMPLES / example / "effortstream.toml").catalog
    mapping = load_mapping(EXAMPLES / example / "mapping.toml")
    return list(lines(score_files(read_files([path], mapping, catalog), mapping, catalog), catalog, "score"))


def counts(ratings: Iterable[str]) -> dict[str, int]:
    """How often each rating of a scale from 1 to 5 occurs."""
    found = Counter(ratings)
    return {str(rating): found[str(rating)] for rating in range(1, 6)}


def mean(found: Iterable[dict[str, int]]) -> Fraction:
    """The exact mean of all answers behind these counts."""
    total: Counter[str] = Counter()
    for each in found:
        total.update(each)
    return Fraction(sum(int(rating) * n for rating, n in total.items()), total.total())


def satisfied(found: dict[str, int]) -> float:
    """Percent of 4 and 5."""
    return float(Fraction(100 * (found["4"] + found["5"]), sum(found.values())))


def totals(made: list[dict], segment: dict[str, str] | None = None) -> dict[str, dict]:
    """The totals of everybody, or of one segment, by touchpoint."""
    return {
        line["touchpoint"]: line
        for line in made
        if line["type"] == "total" and line["segment"] == (segment or {})
    }


@pytest.fixture(scope="module")
def call_centre(tmp_path_factory) -> Path:
    """The file of calls."""
    return shared(CALL_CENTRE) or write_call_centre(tmp_path_factory.mktemp("calls") / CALL_CENTRE)


@pytest.fixture(scope="module")
def airline(tmp_path_factory) -> Path:
    """The file of passengers."""
    return shared(AIRLINE) or write_airline(tmp_path_factory.mktemp("airline") / AIRLINE)


@pytest.fixture(scope="module")
def calls(call_centre) -> list[dict]:
    """The lines for the file of calls."""
    return scored(call_centre, "call-centre")


@pytest.fixture(scope="module")
def flights(airline) -> list[dict]:
    """The lines for the file of passengers."""
    return scored(airline, "airline")


def answered(path: Path) -> Rows:
    """The calls that have a rating."""
    return [row for row in read_rows(path) if row[RATING]]


def test_every_call_is_read_and_every_answered_one_counts(calls, call_centre):
    """5,000 rows; nothing is refused, nothing is lost."""
    rows, summary = read_rows(call_centre), calls[-1]
    assert len(rows) == 5000
    assert summary["read"] == 5000
    assert summary["accepted"] == len(answered(call_centre))
    assert summary["skipped"] == 5000 - summary["accepted"]
    assert summary["dead_letters"] == {}
    assert summary["interactions"] == {"read": 5000, "accepted": 5000, "duplicates": 0, "dead_letters": {}}


def test_mean_satisfaction_of_answered_calls(calls, call_centre):
    """3.40 on the shared file."""
    found = mean(line["counts"] for line in totals(calls).values())
    ratings = [int(row[RATING]) for row in answered(call_centre)]
    assert found == Fraction(sum(ratings), len(ratings))
    if shared(CALL_CENTRE):
        assert round(float(found), 2) == 3.40


def test_each_topic_equals_the_file(calls, call_centre):
    """Counts and percent, per topic."""
    rows = answered(call_centre)
    expected = {
        topic: counts(r[RATING] for r in rows if r["Topic"] == topic) for topic in {r["Topic"] for r in rows}
    }
    assert {topic: line["counts"] for topic, line in totals(calls).items()} == expected
    assert {topic: line["value"] for topic, line in totals(calls).items()} == {
        topic: satisfied(found) for topic, found in expected.items()
    }


def test_each_agent_equals_the_file(calls, call_centre):
    """The segment, per topic; summed over topics it is each agent's own mean."""
    rows = answered(call_centre)
    for agent in {row["Agent"] for row in rows}:
        mine = [row for row in rows if row["Agent"] == agent]
        found = totals(calls, {"agent": agent})
        assert {topic: line["counts"] for topic, line in found.items()} == {
            topic: counts(row[RATING] for row in mine if row["Topic"] == topic)
            for topic in {r["Topic"] for r in mine}
        }
        ratings = [int(row[RATING]) for row in mine]
        assert mean(line["counts"] for line in found.values()) == Fraction(sum(ratings), len(ratings))


def test_each_day_equals_the_file(calls, call_centre):
    """Calendar windows of a day, per topic, in UTC; with the calls of the day as interactions."""
    expected: dict[tuple[str, str], list[str]] = {}
    made: Counter[tuple[str, str]] = Counter()
    for row in read_rows(call_centre):
        made[row["Date"], row["Topic"]] += 1
        if row[RATING]:
            expected.setdefault((row["Date"], row["Topic"]), []).append(row[RATING])
    days = [
        line
        for line in calls
        if line["type"] == "window" and line["window"] == "1d" and line["segment"] == {}
    ]
    assert {(day_of(line), line["touchpoint"]): line["counts"] for line in days} == {
        key: counts(ratings) for key, ratings in expected.items()
    }
    for line in days:
        key = day_of(line), line["touchpoint"]
        assert line["interactions"] == made[key]
        assert line["response_rate"] == len(expected[key]) / made[key]
        assert line["end_ms"] - line["start_ms"] == 86_400_000


def day_of(line: dict) -> str:
    """The date on which a window starts."""
    return f"{datetime.fromtimestamp(line['start_ms'] / 1000, UTC):%Y-%m-%d}"


def test_hours_add_up_to_the_totals(calls):
    """No answer is in two windows or in none, in any series."""
    hours: dict[tuple, Counter] = {}
    for line in calls:
        if line["type"] == "window" and line["window"] == "1h":
            hours.setdefault((line["touchpoint"], str(line["segment"])), Counter()).update(line["counts"])
    assert {key: dict(found) for key, found in hours.items()} == {
        (line["touchpoint"], str(line["segment"])): line["counts"]
        for line in calls
        if line["type"] == "total"
    }


def test_outcomes_of_calls_equal_the_file(calls, call_centre):
    """Resolved, unresolved and abandoned calls, per topic, and their mean duration."""
    for line in calls:
        if line["type"] != "interactions" or line["segment"]:
            continue
        mine = [row for row in read_rows(call_centre) if row["Topic"] == line["touchpoint"]]
        talks = [duration_s(row["AvgTalkDuration"]) for row in mine if row["AvgTalkDuration"]]
        assert line["n"] == len(mine)
        assert line["resolved_share"] == sum(row["Resolved"] == "Y" for row in mine) / len(mine)
        assert line["abandoned_share"] == sum(row["Answered (Y/N)"] == "N" for row in mine) / len(mine)
        assert line["duration_s_mean"] == float(Fraction(sum(talks), len(talks)))


def duration_s(text: str) -> int:
    """``0:02:23`` in seconds."""
    hours, minutes, seconds = map(int, text.split(":"))
    return hours * 3600 + minutes * 60 + seconds


def test_fourteen_touchpoints_come_from_one_row(flights, airline):
    """0 is not applicable and skipped; each touchpoint's counts are exact."""
    rows, summary = read_rows(airline), flights[-1]
    assert len(AIRLINE_TOUCHPOINTS) == 14
    zeros = sum(row[name] == "0" for row in rows for name in AIRLINE_TOUCHPOINTS)
    assert {key: summary[key] for key in ("read", "skipped", "accepted", "dead_letters")} == {
        "read": 14 * len(rows),
        "skipped": zeros,
        "accepted": 14 * len(rows) - zeros,
        "dead_letters": {},
    }
    if shared(AIRLINE):
        assert len(rows) == 25_976
    assert {name: line["counts"] for name, line in totals(flights).items()} == {
        name: counts(row[name] for row in rows if row[name] != "0") for name in AIRLINE_TOUCHPOINTS
    }


def test_each_class_equals_the_file(flights, airline):
    """A segment with listed values."""
    rows = read_rows(airline)
    for cabin in {row["Class"] for row in rows}:
        assert {name: line["counts"] for name, line in totals(flights, {"class": cabin}).items()} == {
            name: counts(row[name] for row in rows if row[name] != "0" and row["Class"] == cabin)
            for name in AIRLINE_TOUCHPOINTS
        }


def test_copies_and_edits_of_calls_give_the_file_with_the_changed_answers(call_centre, tmp_path):
    """Every row doubled and shuffled, then 5 % of the answers changed at the end: equal line for line."""
    rng = random.Random(5)
    rows = read_rows(call_centre)
    chosen = rng.sample([row for row in rows if row[RATING]], len(rows) // 20)
    changed = {row["Call Id"]: row | {RATING: str(int(row[RATING]) % 5 + 1)} for row in chosen}
    *clean, _ = scored(
        write_rows(tmp_path / "clean.csv", CALL_COLUMNS, [changed.get(row["Call Id"], row) for row in rows]),
        "call-centre",
    )
    copies = rows * 2
    rng.shuffle(copies)
    *found, summary = scored(
        write_rows(tmp_path / "edited.csv", CALL_COLUMNS, [*copies, *changed.values()]), "call-centre"
    )
    assert found == clean
    assert summary["edits"] == len(changed) == 250
    assert summary["duplicates"] == summary["accepted"]


def test_copies_and_edits_of_flights_give_the_totals_of_the_changed_answers(tmp_path):
    """The rows have no time, so copies stand at other seconds; totals are equal all the same."""
    rng = random.Random(6)
    rows = read_rows(write_airline(tmp_path / "made.csv", passengers=400, seed=2))
    name = AIRLINE_TOUCHPOINTS[6]
    chosen = rng.sample([row for row in rows if row[name] != "0"], 20)
    changed = {row["id"]: row | {name: str(int(row[name]) % 5 + 1)} for row in chosen}
    clean = write_rows(tmp_path / "clean.csv", list(rows[0]), [changed.get(row["id"], row) for row in rows])
    copies = rows * 2
    rng.shuffle(copies)
    edited = write_rows(tmp_path / "edited.csv", list(rows[0]), [*copies, *changed.values()])
    expected, found = (
        [line for line in scored(path, "airline") if line["type"] == "total"] for path in (clean, edited)
    )
    assert found == expected
