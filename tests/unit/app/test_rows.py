"""Rows of files to events: what each cell becomes, and what a broken line costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.events import Checks, Refusal, read_response
from app.config import ConfigurationError, load_config
from app.csvlines import LINE_BYTES_MAX, CsvFile
from app.mapping import load_mapping
from app.rows import Event, Reading, read_files

CONFIG = """
[questions.q]
metric = "csat"
scale  = { low = 1, high = 5, best = 5 }
[questions.home]
metric = "ces"
scale  = { low = 1, high = 7, best = 7 }
touchpoint = "home"
[segments]
agent = { max_values = 2 }
"""
MAPPING = """
[[responses]]
question    = "q"
rating      = { column = "R", skip = ["", "0"] }
response_id = { column = "Id" }
touchpoint  = { column = "T" }
event_time  = { columns = ["D", "H"], format = "%Y-%m-%d %H:%M:%S", timezone = "Europe/Warsaw" }
segments    = { agent = { column = "A" } }
"""
SHORT = '[[responses]]\nquestion = "home"\nrating = { column = "R" }\n'
HEADER = "Id,R,T,D,H,A\n"
GOOD = "i1,5,calls,2026-01-02,9:00:00,Ann\n"
GOOD_MS = 1_767_340_800_000  # 2026-01-02T08:00:00Z


def read(folder: Path, content: str | bytes, mapping: str = MAPPING, **options: bool) -> Reading:
    """What a file with this content and this mapping yields."""
    path = folder / "f.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "m.toml").write_text(mapping)
    (folder / "c.toml").write_text(CONFIG)
    catalog = load_config(folder / "c.toml").catalog
    return read_files([path], load_mapping(folder / "m.toml"), catalog, **options)


def records(reading: Reading) -> list[dict]:
    """The events' values."""
    return [json.loads(event.value) for event in reading.events]


def refusals(reading: Reading) -> list[tuple[str, int]]:
    """Reason and line of each refused row."""
    return [(refused.reason, refused.line) for refused in reading.refused]


def test_a_row_becomes_the_record_of_the_contract(tmp_path):
    """Every mapped column arrives under its name; the time is taken in the mapping's zone."""
    reading = read(tmp_path, HEADER + GOOD)
    assert records(reading) == [
        {
            "response_id": "i1",
            "question": "q",
            "rating": 5,
            "touchpoint": "calls",
            "segments": {"agent": "Ann"},
            "event_time_ms": GOOD_MS,
        }
    ]
    event = reading.events[0]
    assert event == Event("responses", b"i1", event.value, GOOD_MS, str(tmp_path / "f.csv"), 2)


def test_the_key_is_the_customer_or_else_the_response(tmp_path):
    """As for every producer of the topic."""
    mapping = MAPPING + 'customer_id = { column = "A" }\n'
    reading = read(tmp_path, HEADER + GOOD + GOOD.replace("Ann", " \u00a0"), mapping)
    assert [event.key for event in reading.events] == [b"Ann", b"i1"]
    assert ["customer_id" in record for record in records(reading)] == [True, False]


def test_without_ids_and_times_file_row_and_position_stand_in(tmp_path):
    """One row a second from the year 2000, an id for each row and table; blank lines are no rows."""
    reading = read(tmp_path, "R,S\n5,1\n\n , \n7,2\n", SHORT + SHORT.replace('"R"', '"S"'))
    assert [(record["response_id"], record["event_time_ms"]) for record in records(reading)] == [
        ("f.csv:1:1", 946_684_800_000),
        ("f.csv:1:2", 946_684_800_000),
        ("f.csv:3:1", 946_684_802_000),
        ("f.csv:3:2", 946_684_802_000),
    ]
    assert refusals(reading) == [("missing_field", 4)] * 2


def test_two_files_of_one_name_in_two_folders_do_not_share_default_ids(tmp_path):
    """Else the answers of the second file would be taken for copies of the first's."""
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "f.csv")
        paths[-1].write_text("R\n5\n")
    read(tmp_path, "R\n", SHORT)
    catalog = load_config(tmp_path / "c.toml").catalog
    made = records(read_files(paths, load_mapping(tmp_path / "m.toml"), catalog))
    assert len({record["response_id"] for record in made}) == 2
    assert [record["event_time_ms"] % 10_000 for record in made] == [0, 1000]


@pytest.mark.parametrize(
    ("cell", "rating", "reason"),
    [
        ("5", 5, None),
        (" 5\u00a0", 5, None),
        ("5.0", 5, None),
        ("+05", 5, None),
        ("5e0", 5, None),
        ("5.5", None, "off_scale"),
        ("6", None, "off_scale"),
        ("-1", None, "off_scale"),
        ("1e400", None, "off_scale"),
        ("9" * 40, None, "off_scale"),
        ("five", None, "wrong_type"),
        ("NaN", None, "wrong_type"),
        ("inf", None, "wrong_type"),
        ("true", None, "wrong_type"),
        ("null", None, "wrong_type"),
        ("5,0", None, "wrong_type"),
        ("\u0665", None, "wrong_type"),
        ("1_0", None, "wrong_type"),
    ],
)
def test_rating_text_is_judged_as_the_pipeline_judges_it(tmp_path, cell, rating, reason):
    """Whole numbers however written, and a refusal for everything else; never a withdrawal by accident."""
    reading = read(tmp_path, HEADER + GOOD.replace(",5,", f',"{cell}",'))
    checks = Checks.for_files(load_config(tmp_path / "c.toml").catalog)
    event = reading.events[0]
    answer = read_response(event.value, event.timestamp_ms, checks)
    if reason is None:
        assert not isinstance(answer, Refusal)
        assert answer.rating == rating
    else:
        assert isinstance(answer, Refusal)
        assert answer.reason == reason


def test_checks_come_in_the_order_of_the_contract(tmp_path):
    """Skip value, required cells, time; a skipped row is not looked at any further."""
    reading = read(
        tmp_path,
        HEADER
        + ",0,,nonsense,,\n"  # skipped whatever else is wrong
        + ",5,calls,nonsense,9:00:00,\n"  # no id, before the bad time
        + "i2,5,,nonsense,9:00:00,\n"  # no touchpoint, and the question has no default
        + "i3,9,calls,2026-02-30,9:00:00,\n"  # bad time, before the bad rating
        + "i4,9,calls,,9:00:00,\n"  # half a time is missing
        + "i5,9,calls,1969-12-31,9:00:00,\n"
        + "i6,9,calls,2026-01-02,9:00:00,\n",  # off its scale: for the pipeline to say
    )
    assert reading.skipped == 1
    assert refusals(reading) == [
        ("missing_field", 3),
        ("missing_field", 4),
        ("bad_time", 5),
        ("missing_field", 6),
        ("bad_time", 7),
    ]
    assert [record["response_id"] for record in records(reading)] == ["i6"]
    assert "f.csv, line 3, responses[1]: response_id" in reading.refused[0].detail
    assert reading.refused[2].raw == b"i3,9,calls,2026-02-30,9:00:00,\n"


def test_an_empty_rating_that_is_not_skipped_is_missing(tmp_path):
    """It must not become null, which would withdraw an answer."""
    reading = read(tmp_path, "R,x\n,1\n", SHORT)
    assert refusals(reading) == [("missing_field", 2)]


def test_the_default_touchpoint_stands_in_for_an_empty_cell(tmp_path):
    """Only a question without a default needs one."""
    reading = read(tmp_path, "R,T\n5,\n", SHORT + 'touchpoint = { column = "T" }\n')
    assert "touchpoint" not in records(reading)[0]


def test_events_go_in_order_of_time_and_stay_in_file_order_within_one(tmp_path):
    """Stable, so that an edit appended with the same time comes after what it edits; --as-is keeps the file's order."""
    rows = ["i1,5,c,2026-01-03,9:00:00,", "i2,4,c,2026-01-02,9:00:00,", "i1,3,c,2026-01-03,9:00:00,"]
    content = HEADER + "\n".join(rows)
    assert [(r["response_id"], r["rating"]) for r in records(read(tmp_path, content))] == [
        ("i2", 4),
        ("i1", 5),
        ("i1", 3),
    ]
    assert [r["response_id"] for r in records(read(tmp_path, content, as_is=True))] == ["i1", "i2", "i1"]


def test_times_may_be_iso_or_carry_their_own_offset(tmp_path):
    """Without a format a time is ISO 8601."""
    mapping = SHORT + 'event_time = { column = "W", timezone = "Asia/Tokyo" }\n'
    reading = read(
        tmp_path,
        "R,W\n5,2026-01-02T17:00:00\n5,2026-01-02T10:00:00+02:00\n5,2026-01-02T08:00:00.001Z\n",
        mapping,
    )
    assert [event.timestamp_ms for event in reading.events] == [GOOD_MS, GOOD_MS, GOOD_MS + 1]


def test_interactions_are_made_likewise(tmp_path):
    """Outcomes by a map, durations as clock times, numbers as numbers."""
    mapping = """
[[interactions]]
interaction_id = { columns = ["Id", "D"] }
touchpoint     = { column = "T" }
outcome        = { columns = ["R", "A"], map = { "1 y" = "resolved" } }
duration_s     = { column = "H" }
transfers      = { column = "R" }
"""
    reading = read(
        tmp_path, HEADER + "i,1,c,d,0:02:23,y\n,1,c,d,1,y\n" + "i,,,d,1,y\n" + "j,2,c,d,1.5,y\n", mapping
    )
    assert [refused.topic for refused in reading.refused] == ["interactions"] * 2
    first, last = records(reading)
    assert (first["interaction_id"], first["outcome"], first["duration_s"], first["transfers"]) == (
        "i|d",
        "resolved",
        143,
        1,
    )
    assert (last["outcome"], last["duration_s"]) == ("2 y", 1.5)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_header_shows_the_delimiter(tmp_path, delimiter, begin, end):
    """With and without BOM, with either line end."""
    content = (HEADER + GOOD).replace(",", delimiter).replace("\n", end)
    assert records(read(tmp_path, begin + content.encode()))[0]["response_id"] == "i1"


def test_a_column_name_may_contain_another_delimiter(tmp_path):
    """The delimiter is the one by which the wanted columns are found."""
    reading = read(tmp_path, "R;a;b;c,x\n5;;;\n".replace(";", ",").replace("c,x", '"c;x;y;z;w"'), SHORT)
    assert len(reading.events) == 1


BAD = [
    ("i2,5,calls", "wrong_type"),
    ("i2,5,calls,2026-01-02,9:00:00,Ann,more", "wrong_type"),
    ('"i2"x,5,calls,2026-01-02,9:00:00,Ann', "wrong_type"),
    ('"i2,5,calls,2026-01-02,9:00:00,Ann', "wrong_type"),
    ('i2,5,calls,2026-01-02,9:00:00,"Ann', "wrong_type"),
    ("i2,5,calls,2026-01-02,9:00:00,A\0nn", "wrong_type"),
    (b"i2,5,calls,2026-01-02,9:00:00,\xff\xfe", "not_utf8"),
    ("i2,5,calls,2026-01-02,9:00:00," + "x" * 200_000, "too_large"),
    ("i2,5,calls,2026-01-02,9:00:00," + "x" * (LINE_BYTES_MAX + 5), "too_large"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_broken_line_costs_itself_alone(tmp_path, line, reason):
    """An open quote swallows nothing after it; the dead letter has file, line number and the bytes."""
    raw = line.encode() if isinstance(line, str) else line
    after = GOOD.replace("i1", "i3") + GOOD.replace("i1", "i4").replace("Ann", '"A ""n"""')
    reading = read(tmp_path, (HEADER + GOOD).encode() + raw + b"\n" + after.encode())
    assert [record["response_id"] for record in records(reading)] == ["i1", "i3", "i4"]
    assert [event.line for event in reading.events] == [2, 4, 5]
    assert refusals(reading) == [(reason, 3)]
    assert f"{tmp_path / 'f.csv'}, line 3" in reading.refused[0].detail
    assert reading.refused[0].raw == (raw + b"\n")[: LINE_BYTES_MAX + 1]
    assert reading.rows == 4


def test_a_quoted_cell_may_span_lines(tmp_path):
    """The line number is that of the row's first line; the next row's is right too."""
    spread = GOOD.replace("i1", "i2").replace("Ann", '"A\n,n\n"')
    reading = read(tmp_path, HEADER + spread + GOOD + "bad\n")
    assert [(record["response_id"], record["segments"]) for record in records(reading)] == [
        ("i2", {"agent": "A\n,n"}),
        ("i1", {"agent": "Ann"}),
    ]
    assert refusals(reading) == [("wrong_type", 6)]


def test_a_broken_row_is_refused_once_for_each_table(tmp_path):
    """Read = rows x tables = the sum of the outcomes, also where a row cannot be read."""
    reading = read(tmp_path, "R,S\n5\n", SHORT + SHORT.replace('"R"', '"S"'))
    assert refusals(reading) == [("wrong_type", 2)] * 2


@given(
    st.lists(
        st.sampled_from(
            [GOOD.encode(), *(line.encode() if isinstance(line, str) else line for line, _ in BAD[:7])]
        ),
        max_size=12,
    )
)
@settings(derandomize=True, max_examples=150, deadline=None)
def test_any_mixture_of_good_and_broken_lines_keeps_every_good_one_that_no_open_quote_joins(
    tmp_path_factory, lines
):
    """Line numbers are right, every row is an event or a refusal, and good lines before the first quote all count."""
    content = HEADER.encode() + b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)
    reading = read(tmp_path_factory.mktemp("mix"), content)
    at = [event.line for event in reading.events] + [refused.line for refused in reading.refused]
    assert sorted(at) == sorted(set(at))
    assert len(at) == reading.rows
    assert set(at) == set(range(2, 2 + len(lines)))
    good = [number for number, line in enumerate(lines, 2) if line == GOOD.encode()]
    assert [event.line for event in reading.events] == good


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfeR\0", b"R\x005", b'"R', b"R\r5\r"])
def test_a_file_without_a_readable_header_is_refused(tmp_path, content):
    """UTF-16, classic Mac line ends, an empty file: exit 2 with the remedy."""
    with pytest.raises(ConfigurationError, match="has no header in UTF-8"):
        read(tmp_path, content, SHORT)


def test_a_missing_column_is_named_with_its_key_and_a_guess(tmp_path):
    """All of them at once."""
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, "Id,r,T,Dd,H,A\n")
    message = str(caught.value)
    assert "responses[1].rating" in message
    assert '"R"' in message
    assert "responses[1].event_time" in message
    assert "f.csv" in message
    assert "Did you mean Dd?" in message


def test_a_column_that_stands_twice_is_refused(tmp_path):
    """Which of the two was meant nobody can tell."""
    with pytest.raises(ConfigurationError, match="2 columns of this name"):
        read(tmp_path, HEADER.replace("A", "R"), MAPPING.replace('"A"', '"T"'))


def test_a_missing_file_is_named(tmp_path):
    """No traceback for a typing error."""
    with (
        pytest.raises(ConfigurationError, match=r"none\.csv: cannot be read"),
        CsvFile(tmp_path / "none.csv"),
    ):
        pass


def test_one_id_by_default_and_by_accident_is_refused(tmp_path):
    """Two tables of one question, only one of which sets response_id, must not give a row one id."""
    mapping = SHORT + SHORT + 'response_id = { column = "I" }\n'
    assert len(read(tmp_path, "R,I\n5,a\n", mapping).events) == 2
    with pytest.raises(ConfigurationError, match=r"responses\[1\]\.response_id.*line 2"):
        read(tmp_path, "R,I\n5,f.csv:1:1\n", mapping)
    assert len(read(tmp_path, "R,I\n5,x\n", mapping + SHORT + 'response_id = { column = "I" }\n').events) == 3
