"""score: identity rules, laws over copies, order and edits, and what is printed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from agents.events import Answer, Contact
from app.cells import FileMapping
from app.cli.score import score
from app.config import ConfigurationError, load_config
from app.figures import Figures, Summary, WindowTally, lines
from app.kept import JOINT, kept_segments, kept_values
from app.mapping import load_mapping
from app.rows import read_files
from app.score import Answers, Contacts, score_files, tally
from scoring.catalog import Catalog, Segment, Touchpoint
from scoring.questions import Scale, question
from scoring.windows import calendar_window
from tests.datasets import write_rows

HOUR_MS = 3_600_000
QUESTION = question("q", "ces", Scale(1, 3, best=3))
OTHER_QUESTION = question("p", "csat", Scale(1, 2, best=2))
SEGMENTS = (Segment("agent", ("agent",), max_values=2), Segment("shop", ("shop",), frozenset({"x", "other"})))
CATALOG = Catalog(
    questions={"q": QUESTION, "p": OTHER_QUESTION},
    touchpoints={"calls": Touchpoint("calls", "support")},
    segments=(*SEGMENTS, Segment("agent+shop", ("agent", "shop"))),
    calendar=(calendar_window("1h"), calendar_window("1d")),
)


@dataclass(frozen=True)
class Sent:
    """One record as a test sends it."""

    response_id: str = "r"
    rating: int | None = 2
    time_ms: int | None = 0
    timestamp_ms: int = 0
    updated_at_ms: int | None = None
    touchpoint: str = "calls"
    fields: tuple[str | None, ...] = (None, None)
    linked: bool = False

    def answer(self) -> Answer:
        """As the checks hand it on."""
        return Answer(
            self.response_id,
            QUESTION,
            self.rating,
            self.touchpoint,
            self.fields,
            self.time_ms,
            self.updated_at_ms,
            self.linked,
            None,
            "i" if self.linked else None,
        )


def outcomes(*sent: Sent) -> list[str]:
    """What becomes of each record."""
    answers = Answers(CATALOG.timing.horizon_ms)
    return [answers.take(record.answer(), record.timestamp_ms) for record in sent]


def counts(*sent: Sent) -> dict[str, int]:
    """The counts of everybody's total at the only touchpoint."""
    answers = Answers(CATALOG.timing.horizon_ms)
    for record in sent:
        answers.take(record.answer(), record.timestamp_ms)
    figures = tally(answers, Contacts(0), {}, CATALOG)
    vector = figures.totals.get(("calls", "q", "{}"), [0] * 4)
    return {"1": vector[0], "2": vector[1], "3": vector[2]}


FIRST = Sent()
H = CATALOG.timing.horizon_ms


@pytest.mark.parametrize(
    ("later", "outcome", "left"),
    [
        (FIRST, "duplicates", {"1": 0, "2": 1, "3": 0}),
        (replace(FIRST, time_ms=None, timestamp_ms=HOUR_MS), "duplicates", {"1": 0, "2": 1, "3": 0}),
        (replace(FIRST, time_ms=1), "edits", {"1": 0, "2": 1, "3": 0}),
        (replace(FIRST, rating=3), "edits", {"1": 0, "2": 0, "3": 1}),
        (replace(FIRST, rating=3, time_ms=H), "edits", {"1": 0, "2": 0, "3": 1}),
        (replace(FIRST, rating=3, time_ms=H + 1), "accepted", {"1": 0, "2": 1, "3": 1}),
        (replace(FIRST, rating=None), "withdrawn", {"1": 0, "2": 0, "3": 0}),
        (replace(FIRST, rating=None, time_ms=H + 1), "withdrawn", {"1": 0, "2": 1, "3": 0}),
        (replace(FIRST, touchpoint="chat"), "edits", {"1": 0, "2": 0, "3": 0}),
        (replace(FIRST, fields=("Ann", None)), "edits", {"1": 0, "2": 1, "3": 0}),
        (replace(FIRST, response_id="s", rating=1), "accepted", {"1": 1, "2": 1, "3": 0}),
    ],
)
def test_a_second_record_is_a_copy_an_edit_or_new(later, outcome, left):
    """By id, content and the horizon, which is inclusive."""
    assert outcomes(FIRST, later) == ["accepted", outcome]
    assert counts(FIRST, later) == left


def test_a_lower_updated_at_is_a_copy_whatever_it_says():
    """Records overtake each other between a survey tool and us."""
    first, newer = replace(FIRST, updated_at_ms=5), replace(FIRST, rating=3, updated_at_ms=7)
    assert outcomes(first, newer, replace(first, rating=1, updated_at_ms=6)) == [
        "accepted",
        "edits",
        "duplicates",
    ]
    assert outcomes(newer, replace(newer, rating=None, updated_at_ms=6)) == ["accepted", "duplicates"]
    assert outcomes(first, replace(first, updated_at_ms=9), replace(first, rating=1, updated_at_ms=8)) == [
        "accepted",
        "duplicates",
        "duplicates",
    ]
    assert outcomes(first, replace(FIRST, rating=1), replace(FIRST, rating=2, updated_at_ms=1)) == [
        "accepted",
        "edits",
        "edits",
    ]


def test_a_withdrawn_answer_comes_back_only_as_a_different_one():
    """A copy that arrives late must not bring it back."""
    gone = replace(FIRST, rating=None)
    assert outcomes(gone, FIRST, gone, gone, FIRST, replace(FIRST, rating=3)) == [
        "withdrawn",
        "accepted",
        "withdrawn",
        "withdrawn",
        "duplicates",
        "accepted",
    ]
    assert counts(FIRST, gone, FIRST) == {"1": 0, "2": 0, "3": 0}
    assert counts(FIRST, gone, gone, replace(FIRST, rating=3)) == {"1": 0, "2": 0, "3": 1}


def test_an_edit_without_a_time_keeps_the_stored_one():
    """And takes the link to an interaction from the new record."""
    answers = Answers(H)
    answers.take(FIRST.answer(), 0)
    answers.take(replace(FIRST, rating=3, time_ms=None, linked=True).answer(), 5 * HOUR_MS)
    figures = tally(answers, Contacts(0), {}, CATALOG)
    assert figures.windows == {
        ("calls", "q", "{}", "1h", 0): WindowTally(HOUR_MS, [0, 0, 1, 1]),
        ("calls", "q", "{}", "1d", 0): WindowTally(24 * HOUR_MS, [0, 0, 1, 1]),
    }


RECORDS = st.builds(
    Sent,
    response_id=st.sampled_from("ab"),
    rating=st.sampled_from([None, 1, 2, 3]),
    time_ms=st.one_of(st.none(), st.sampled_from([0, 1, 3 * HOUR_MS, H, H + 1, 2 * H + 2])),
    timestamp_ms=st.sampled_from([0, 2, H, 3 * H]),
    updated_at_ms=st.one_of(st.none(), st.integers(0, 3)),
    touchpoint=st.sampled_from(["calls", "chat"]),
    fields=st.tuples(st.sampled_from([None, "Ann", "Bob", "Cid"]), st.sampled_from([None, "x", "other"])),
    linked=st.booleans(),
)


def by_add_and_remove(sent: list[Sent]) -> tuple[Counter, Counter]:
    """The rules once more, the other way round: tallies that are added to and taken from as records come."""
    standing: Counter[tuple] = Counter()
    told: Counter[str] = Counter()
    ledger: dict[str, dict] = {}
    for record in sent:
        at = record.timestamp_ms if record.time_ms is None else record.time_ms
        held = ledger.get(record.response_id)
        if held is not None and abs(held["at"] - at) > H:
            held = None
        content = (record.touchpoint, record.fields, record.rating)
        cell = (*content, at, record.linked)
        stale = (
            held
            and None not in (held["updated"], record.updated_at_ms)
            and record.updated_at_ms < held["updated"]
        )
        if stale:
            told["duplicates"] += 1
        elif record.rating is None:
            told["withdrawn"] += 1
            if held and held["live"]:
                told["removed"] += 1
                standing[held["cell"]] -= 1
                held["live"] = False
                if record.updated_at_ms is not None:
                    held["updated"] = record.updated_at_ms
        elif held and held["content"] == content and record.time_ms in (None, held["at"]):
            told["duplicates"] += 1
            if record.updated_at_ms is not None:
                held["updated"] = record.updated_at_ms
        else:
            if held and held["live"]:
                told["edits"] += 1
                standing[held["cell"]] -= 1
                at = held["at"] if record.time_ms is None else at
                cell = (*content, at, record.linked)
            else:
                told["accepted"] += 1
            standing[cell] += 1
            updated = record.updated_at_ms
            ledger[record.response_id] = {
                "at": at,
                "content": content,
                "cell": cell,
                "live": True,
                "updated": updated,
            }
    return +standing, told


@given(st.lists(RECORDS, max_size=14))
@settings(derandomize=True, max_examples=600, deadline=None)
def test_figures_equal_those_of_tallies_that_add_and_remove(sent):
    """The oracle keeps answers and tallies at the end; adding and removing as records come gives the same."""
    answers = Answers(H)
    for record in sent:
        answers.take(record.answer(), record.timestamp_ms)
    standing, told = by_add_and_remove(sent)
    assert +answers.outcomes == +told
    figures = tally(answers, Contacts(0), {}, CATALOG)
    for name, width in (("1h", HOUR_MS), ("1d", 24 * HOUR_MS)):
        expected: dict[tuple[str, int], list[int]] = {}
        for (touchpoint, _, rating, at, linked), n in standing.items():
            vector = expected.setdefault((touchpoint, at // width * width), [0] * 4)
            vector[rating - 1] += n
            vector[-1] += n * linked
        found = {
            (key[0], key[4]): w.vector
            for key, w in figures.windows.items()
            if key[2] == "{}" and key[3] == name
        }
        assert found == expected
    everybody = sum(sum(vector[:-1]) for key, vector in figures.totals.items() if key[2] == "{}")
    assert everybody == answers.outcomes["accepted"] - answers.outcomes["removed"]


def catalog_and_mapping(folder: Path) -> tuple[Catalog, FileMapping]:
    """A small configuration and the mapping for ``survey``."""
    (folder / "c.toml").write_text(
        '[questions.q]\nmetric = "ces"\nscale = { low = 1, high = 7, best = 7 }\n'
        '[windows]\ntimezone = "Europe/Warsaw"\n[segments]\nagent = { max_values = 2 }\n'
    )
    (folder / "m.toml").write_text(
        '[[responses]]\nquestion = "q"\nrating = { column = "R", skip = [""] }\nresponse_id = { column = "Id" }\n'
        'touchpoint = { column = "T" }\nevent_time = { column = "W", format = "%Y-%m-%dT%H:%M:%S" }\n'
        'segments = { agent = { column = "A" } }\n'
    )
    return load_config(folder / "c.toml").catalog, load_mapping(folder / "m.toml")


def survey(rng: random.Random, rows: int) -> list[dict[str, str]]:
    """Answers with ids and times of their own, over three days around a change of the clocks."""
    minutes = rng.sample(range(3 * 24 * 60), rows)
    return [
        {
            "Id": f"r{number}",
            "R": rng.choice(["", *"1234567"]),
            "T": rng.choice(["calls", "chat"]),
            "W": f"2026-03-{28 + minutes[number] // 1440}T{minutes[number] // 60 % 24:02}:{minutes[number] % 60:02}:00",
            "A": rng.choice(["Ann", "Bob", "Cid", ""]),
        }
        for number in range(rows)
    ]


def printed(folder: Path, rows: list[dict[str, str]], **options: bool) -> list[dict]:
    """The lines of score for a file of these rows, the summary last."""
    catalog, mapping = catalog_and_mapping(folder)
    path = write_rows(folder / "f.csv", ("Id", "R", "T", "W", "A"), rows)
    reading = read_files([path], mapping, catalog, **options)
    return list(lines(score_files(reading, mapping, catalog), catalog, "score"))


@given(st.integers(0, 2**32), st.booleans())
@settings(derandomize=True, max_examples=40, deadline=None)
def test_copies_and_order_change_nothing_but_the_summary(tmp_path_factory, seed, as_is):
    """A file with every row doubled and shuffled gives every line of the clean one."""
    rng = random.Random(seed)
    rows = survey(rng, 40)
    folder = tmp_path_factory.mktemp("laws")
    *clean, before = printed(folder, rows)
    doubled = rows * 2
    rng.shuffle(doubled)
    *copied, after = printed(folder, doubled, as_is=as_is)
    assert copied == clean
    assert after["duplicates"] == before["accepted"]
    assert after["read"] == 2 * before["read"]
    assert (
        sum(line["n"] for line in copied if line["segment"] == {} and line["type"] == "total")
        == after["accepted"]
    )


@given(st.integers(0, 2**32))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_edits_at_the_end_equal_a_file_that_had_them_from_the_start(tmp_path_factory, seed):
    """Same totals, same windows; the summary says how many edits there were."""
    rng = random.Random(seed)
    rows = [row for row in survey(rng, 60) if row["R"]]
    changed = {row["Id"]: row | {"R": str(int(row["R"]) % 7 + 1)} for row in rng.sample(rows, 5)}
    folder = tmp_path_factory.mktemp("edits")
    *expected, _ = printed(folder, [changed.get(row["Id"], row) for row in rows])
    copies = rows * 2
    rng.shuffle(copies)
    *found, summary = printed(folder, copies + list(changed.values()))
    assert found == expected
    assert summary["edits"] == 5
    total = sum(line["n"] for line in found if line["type"] == "total" and line["segment"] == {})
    assert total == summary["accepted"]


def test_the_first_values_of_a_segment_are_kept_in_order_of_time():
    """Then of rows; what comes later is ``other`` and says so, combinations likewise."""
    carriers = [
        (5, "calls", ("Cid", None)),
        (1, "calls", ("Bob", "x")),
        (1, "calls", ("Ann", "other")),
        (9, "chat", ("Cid", None)),
    ]
    kept = kept_values(carriers, CATALOG)
    assert kept == {
        ("calls", "agent"): ("Bob", "Ann"),
        ("calls", "agent+shop"): (f"Bob{JOINT}x", f"Ann{JOINT}other"),
        ("chat", "agent"): ("Cid",),
    }
    answers = Answers(H)
    for number, fields in enumerate([("Cid", "x"), ("Bob", "x"), ("Dan", None)]):
        answers.take(Sent(response_id=f"r{number}", fields=fields).answer(), 0)
    figures = tally(answers, Contacts(0), kept, CATALOG)
    assert {key[2]: sum(vector[:-1]) for key, vector in figures.totals.items()} == {
        "{}": 3,
        '{"agent":"other"}': 2,
        '{"agent":"Bob"}': 1,
        '{"shop":"x"}': 2,
        '{"agent":"other","shop":"other"}': 1,
        '{"agent":"Bob","shop":"x"}': 1,
    }
    assert figures.capped == {("calls", '{"agent":"other"}'), ("calls", '{"agent":"other","shop":"other"}')}


def test_refused_records_take_no_place_among_the_kept_values(tmp_path):
    """Else a broken row could push a real value into ``other``."""
    catalog, mapping = catalog_and_mapping(tmp_path)
    row = {"Id": "a", "R": "5", "T": "calls", "W": "2026-03-29T10:00:00", "A": "Ann"}
    path = write_rows(tmp_path / "f.csv", row.keys(), [row | {"R": "9", "A": "Bad"}, row])
    events = read_files([path], mapping, catalog).events
    assert kept_segments(events, catalog) == {("calls", "agent"): ("Ann",)}


def contact(
    interaction_id: str, time_ms: int, touchpoint: str = "calls", fields: tuple = (None, None)
) -> Contact:
    """An interaction of one minute that was resolved."""
    return Contact(interaction_id, touchpoint, fields, time_ms, [1, 1, 0, 0, 1, 60_000, 0, 0, 0, 0, 0, 0, 0])


def test_interactions_count_once_and_give_the_response_rate():
    """Each by its own event time, in the same touchpoint, segment and window; no join."""
    answers, contacts = Answers(H), Contacts(H)
    for number in range(3):
        answers.take(Sent(response_id=f"r{number}", linked=number < 2, fields=("Ann", None)).answer(), 0)
    told = [
        contacts.take(made, 0)
        for made in (
            contact("a", 0, fields=("Ann", None)),
            contact("a", H),
            contact("a", H + 1),
            contact("b", 1),
            contact("b", 1, "chat"),
            contact("c", HOUR_MS),
        )
    ]
    assert told == ["accepted", "duplicates", "accepted", "accepted", "accepted", "accepted"]
    figures = tally(answers, contacts, {("calls", "agent"): ("Ann",)}, CATALOG)
    made = {
        (line["window"], json.dumps(line["segment"])): (line["interactions"], line["response_rate"])
        for line in lines(figures, CATALOG, "score")
        if line["type"] == "window"
    }
    assert made == {
        ("1h", "{}"): (2, 1.0),
        ("1h", '{"agent": "Ann"}'): (1, 2.0),
        ("1d", "{}"): (3, 2 / 3),
        ("1d", '{"agent": "Ann"}'): (1, 2.0),
    }
    found = [line for line in lines(figures, CATALOG, "score") if line["type"] == "interactions"]
    assert [(line["touchpoint"], line["segment"], line["n"]) for line in found] == [
        ("calls", {"agent": "Ann"}, 1),
        ("calls", {}, 4),
        ("chat", {}, 1),
    ]
    assert (found[1]["resolved_share"], found[0]["duration_s_mean"], found[0]["wait_s_mean"]) == (
        1.0,
        60.0,
        None,
    )


def test_lines_carry_the_columns_of_the_contract_in_its_order():
    """Windows, totals, summary; sorted by touchpoint, question, segment, window, start; n = 0 is not printed."""
    figures = Figures(
        windows={
            ("calls", "q", '{"agent":"Ann"}', "1h", 0): WindowTally(HOUR_MS, [1, 0, 1, 0]),
            ("calls", "q", "{}", "1h", HOUR_MS): WindowTally(2 * HOUR_MS, [0, 0, 0, 0]),
            ("calls", "q", "{}", "1h", 0): WindowTally(HOUR_MS, [1, 0, 1, 1], 4),
            ("calls", "q", "{}", "1d", 0): WindowTally(24 * HOUR_MS, [1, 0, 1, 1], 4),
            ("calls", "p", "{}", "1h", 0): WindowTally(HOUR_MS, [1, 1, 0]),
        },
        totals={
            ("calls", "q", "{}"): [1, 0, 1, 1],
            ("calls", "p", "{}"): [1, 1, 0],
            ("calls", "q", "x"): [0] * 4,
        },
        summary=Summary(read=4, accepted=4),
    )
    made = list(lines(figures, CATALOG, "replay"))
    assert [(line["type"], line.get("question"), line.get("window")) for line in made] == [
        ("window", "p", "1h"),
        ("window", "q", "1h"),
        ("window", "q", "1d"),
        ("window", "q", "1h"),
        ("total", "p", None),
        ("total", "q", None),
        ("summary", None, None),
    ]
    assert {line["source"] for line in made} == {"replay"}
    assert made[2] == {
        "type": "window",
        "source": "replay",
        "touchpoint": "calls",
        "journey_stage": "support",
        "question": "q",
        "metric": "ces",
        "segment": {},
        "window": "1d",
        "kind": "calendar",
        "start_ms": 0,
        "end_ms": 24 * HOUR_MS,
        "n": 2,
        "value": 2.0,
        "low": 1.0,
        "high": 3.0,
        "effort_index": 50.0,
        "low_effort_share": 0.5,
        "counts": {"1": 1, "2": 0, "3": 1},
        "confidence": 0.95,
        "band": "high effort to very low effort",
        "interactions": 4,
        "response_rate": 0.25,
        "formula": "ces-mean/1",
        "capped": False,
    }
    assert set(made[5]) == {
        *("type", "source", "touchpoint", "question", "metric", "segment", "n", "value", "low", "high"),
        *("effort_index", "low_effort_share", "counts"),
    }
    assert made[-1] == {
        "type": "summary",
        "source": "replay",
        "read": 4,
        "accepted": 4,
        "skipped": 0,
        "edits": 0,
        "duplicates": 0,
        "withdrawn": 0,
        "removed": 0,
        "dead_letters": {},
    }


def test_the_privacy_floor_hides_everything_that_tells_of_few_answers():
    """N and counts too."""
    figures = Figures(windows={("calls", "q", "{}", "1h", 0): WindowTally(HOUR_MS, [1, 0, 1, 1], 4)})
    line = next(lines(figures, replace(CATALOG, privacy_floor=3), "score"))
    hidden = (
        "n",
        "value",
        "low",
        "high",
        "band",
        "effort_index",
        "low_effort_share",
        "counts",
        "response_rate",
    )
    assert {line[name] for name in hidden} == {None}


def test_every_outcome_is_in_the_summary(tmp_path):
    """Read = accepted + skipped + edits + duplicates + withdrawn + dead letters, broken lines among them."""
    catalog, mapping = catalog_and_mapping(tmp_path)
    row = {"Id": "a", "R": "5", "T": "calls", "W": "2026-03-29T10:00:00", "A": "Ann"}
    rows = [row, row, row | {"R": "6"}, row | {"R": ""}, row | {"R": "9"}, row | {"W": "x"}, row | {"Id": ""}]
    path = write_rows(tmp_path / "f.csv", row.keys(), rows)
    path.write_bytes(path.read_bytes() + b"b,5\n\n\xff,5,calls,2026-03-29T10:00:00,\n")
    figures = score_files(read_files([path], mapping, catalog), mapping, catalog)
    assert figures.summary == Summary(
        read=9,
        accepted=1,
        skipped=1,
        edits=1,
        duplicates=1,
        dead_letters={"wrong_type": 1, "not_utf8": 1, "bad_time": 1, "missing_field": 1, "off_scale": 1},
    )


COMMAND = typer.Typer()
COMMAND.command()(score)


def run(folder: Path, rows: list[dict[str, str]], *options: str):
    """The command on a file of these rows."""
    catalog_and_mapping(folder)
    path = write_rows(folder / "f.csv", ("Id", "R", "T", "W", "A"), rows)
    arguments = [str(path), "--mapping", str(folder / "m.toml"), "--config", str(folder / "c.toml"), *options]
    return CliRunner().invoke(COMMAND, arguments)


def test_the_command_prints_json_lines_on_standard_output_and_refusals_on_standard_error(tmp_path):
    """Results can be piped on; refusals name file and line and no cell."""
    rows = survey(random.Random(3), 30)
    bad = [rows[0] | {"R": "5", "W": "secret"}, rows[0] | {"R": "99"}]
    result = run(tmp_path, [*rows, *bad], "--format", "json")
    assert result.exit_code == 0
    made = [json.loads(line) for line in result.stdout.splitlines()]
    assert made[-1]["dead_letters"] == {"bad_time": 1, "off_scale": 1}
    mean = next(
        line
        for line in made
        if line["type"] == "total" and line["segment"] == {} and line["touchpoint"] == "calls"
    )
    ratings = [int(row["R"]) for row in rows if row["T"] == "calls" and row["R"]]
    assert Fraction(sum(ratings), len(ratings)) == Fraction(mean["value"]).limit_denominator(1000)
    assert "bad_time" in result.stderr
    assert "f.csv, line 32" in result.stderr
    assert "f.csv, line 33: rating must lie in 1..7" in result.stderr
    assert "secret" not in result.stderr


def test_the_command_prints_tables_for_people(tmp_path):
    """Touchpoints, scores with their unit, bounds and band, segments, and the sums."""
    result = run(tmp_path, survey(random.Random(3), 60))
    assert result.exit_code == 0
    for part in (
        "Scores: q",
        "By agent: q",
        "calls",
        "of 1-7",
        "95% bounds",
        "last 4 days",
        "60 responses read",
    ):
        assert part in result.stdout


def test_an_empty_file_gives_an_empty_summary(tmp_path):
    """A header and nothing else is no error."""
    result = run(tmp_path, [])
    assert result.exit_code == 0
    assert "0 responses read: none" in result.stdout


def test_what_the_user_got_wrong_reaches_the_command_line_as_a_configuration_error(tmp_path):
    """Which the command line turns into exit status 2."""
    catalog_and_mapping(tmp_path)
    result = CliRunner().invoke(
        COMMAND,
        [
            str(tmp_path / "none.csv"),
            "--mapping",
            str(tmp_path / "m.toml"),
            "--config",
            str(tmp_path / "c.toml"),
        ],
    )
    assert isinstance(result.exception, ConfigurationError)


def command(*arguments: str) -> subprocess.CompletedProcess:
    """The whole program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "app", "score", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_exit_status_tells_results_from_wrong_usage(tmp_path):
    """0 with results on standard output; 2 with a message, never a traceback, for a wrong mapping."""
    catalog_and_mapping(tmp_path)
    path = write_rows(tmp_path / "f.csv", ("Id", "R", "T", "W", "A"), survey(random.Random(1), 5))
    options = ["--mapping", str(tmp_path / "m.toml"), "--config", str(tmp_path / "c.toml")]
    done = command(str(path), *options, "--format", "json")
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout.splitlines()[-1])["type"] == "summary"
    (tmp_path / "m.toml").write_text((tmp_path / "m.toml").read_text().replace('"T"', '"Topic"'))
    wrong = command(str(path), *options)
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert "Topic" in wrong.stderr
    assert "f.csv has no such column" in wrong.stderr
    assert "Traceback" not in wrong.stderr
