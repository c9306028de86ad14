"""Mapping files: what they may say, and what is said about those that say something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cells import Cell
from app.config import ConfigurationError, load_config
from app.mapping import load_mapping, mapping_warnings

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

FULL = """
[[responses]]
question    = "call-satisfaction"
rating      = { column = "Satisfaction rating", skip = ["", "0"] }
response_id = { columns = ["Day", "Call Id"], prefix = "call-" }
customer_id = { column = "Customer" }
touchpoint  = { value = "seat comfort" }
event_time  = { columns = ["Date", "Time"], format = "%Y-%m-%d %H:%M:%S", timezone = "Europe/Warsaw" }
segments    = { agent = { column = "Agent" } }
comment     = { column = "Comment" }

[[interactions]]
touchpoint = { column = "Topic" }
outcome    = { column = "Resolved", map = { Y = "resolved" } }
"""


def written(folder: Path, text: str) -> Path:
    """A mapping file with this text."""
    path = folder / "m.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    """What is said about a mapping file with this text."""
    with pytest.raises(ConfigurationError) as caught:
        load_mapping(written(folder, text))
    return str(caught.value)


def test_every_key_of_the_contract_is_read(tmp_path):
    """The mapping of the published contract says what it seems to say."""
    mapping = load_mapping(written(tmp_path, FULL))
    table = mapping.responses[0]
    assert table.rating == Cell(("Satisfaction rating",), skip=frozenset({"", "0"}))
    assert table.response_id == Cell(("Day", "Call Id"), prefix="call-")
    assert table.touchpoint == Cell(constant="seat comfort")
    assert table.event_time is not None
    assert (table.event_time.columns, table.event_time.zone.key) == (("Date", "Time"), "Europe/Warsaw")
    assert table.segments == {"agent": Cell(("Agent",))}
    assert mapping.interactions[0].values == {"outcome": Cell(("Resolved",), map={"Y": "resolved"})}


def test_columns_are_named_with_the_key_that_asks_for_them(tmp_path):
    """So that the message about a missing column can say where it is asked for."""
    columns = load_mapping(written(tmp_path, FULL)).columns
    assert columns["Agent"] == "responses[1].segments.agent"
    assert columns["Resolved"] == "interactions[1].outcome"
    assert set(columns) == {
        *(
            "Satisfaction rating",
            "Day",
            "Call Id",
            "Customer",
            "Date",
            "Time",
            "Agent",
            "Comment",
            "Topic",
            "Resolved",
        )
    }


RESPONSE = '[[responses]]\nquestion = "q"\nrating = { column = "R" }\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ("responses", "no table", "[[responses]]")),
        ("[[responses]]\nquestion = 'q'", ("responses[1].rating", "is required")),
        ("[[responses]]\nrating = { column = 'R' }", ("responses[1].question", "is required")),
        ("[[interactions]]\noutcome = { column = 'R' }", ("interactions[1].touchpoint", "is required")),
        (RESPONSE + "ratingg = 1", ("responses[1].ratingg = 1", "no such key", "rating?")),
        (RESPONSE + "touchpoint = 'T'", ("responses[1].touchpoint", '"T"', "inline table")),
        (RESPONSE + "touchpoint = { }", ("responses[1].touchpoint", "exactly one")),
        (RESPONSE + "touchpoint = { value = 'a', column = 'b' }", ("responses[1].touchpoint", "exactly one")),
        (RESPONSE + "touchpoint = { value = 5 }", ("responses[1].touchpoint.value = 5", "in quotes")),
        (RESPONSE + "touchpoint = { value = 'a', prefix = 'b' }", ("touchpoint.prefix", "no such key")),
        (RESPONSE + "touchpoint = { column = 'a', skip = ['b'] }", ("touchpoint.skip", "no such key")),
        (RESPONSE + "touchpoint = { column = ' ' }", ("touchpoint.column", "not empty")),
        (RESPONSE + "response_id = { columns = 'a' }", ("response_id.columns", "list of texts")),
        (RESPONSE + "response_id = { columns = [] }", ("response_id.columns", "list of texts")),
        (
            RESPONSE + "response_id = { column = 'a', prefix = 1 }",
            ("response_id.prefix = 1", "must be a text"),
        ),
        (RESPONSE.replace('"R"', '"R", skip = [0]'), ("rating.skip = [0]", '["", "0"]')),
        (RESPONSE.replace('"R"', '"R", map = ["a"]'), ("rating.map", "table of texts")),
        (RESPONSE + "segments = { agent = 'A' }", ("responses[1].segments.agent", "inline table")),
        (RESPONSE + "segments = 'A'", ("responses[1].segments", "must be a table")),
        (RESPONSE + "event_time = { format = '%Y' }", ("event_time", "exactly one")),
        (RESPONSE + "event_time = { column = 'a', format = '%Q' }", ("event_time.format", "%Q", "strptime")),
        (
            RESPONSE + "event_time = { column = 'a', format = '%d %d' }",
            ("event_time.format", "not a time format"),
        ),
        (RESPONSE + "event_time = { column = 'a', format = '%H:%M' }", ("event_time.format", "has no year")),
        (
            RESPONSE + "event_time = { column = 'a', timezone = 'CET/x' }",
            ("event_time.timezone", "CET/x", "IANA"),
        ),
        (RESPONSE + "event_time = { column = 'a', timezone = 1 }", ("event_time.timezone = 1", "IANA")),
        ("[responses]\nquestion = 'q'", ("responses", "list of tables", "[[responses]]")),
        ("[[response]]\nquestion = 'q'", ("response", "no such key", "responses?")),
        ("[[responses\n", ("not TOML",)),
    ],
)
def test_a_wrong_mapping_is_refused_with_file_key_value_and_remedy(tmp_path, text, said):
    """Whoever wrote it can mend it without reading the source."""
    message = refusal(tmp_path, text)
    for part in (str(tmp_path / "m.toml"), *said):
        assert part in message


def test_a_missing_mapping_file_is_named(tmp_path):
    """No traceback for a typing error."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: cannot be read"):
        load_mapping(tmp_path / "nowhere.toml")


def test_a_mapping_that_is_not_utf8_is_refused(tmp_path):
    """Likewise."""
    path = tmp_path / "m.toml"
    path.write_bytes(b"# \xff")
    with pytest.raises(ConfigurationError, match="not TOML in UTF-8"):
        load_mapping(path)


def test_what_the_configuration_does_not_declare_is_warned_of(tmp_path):
    """A spelling mistake in a segment would otherwise silently count nothing."""
    config = tmp_path / "c.toml"
    config.write_text('[questions.other]\nmetric = "nps"\nscale = { low = 0, high = 10, best = 10 }\n')
    warnings = mapping_warnings(load_mapping(written(tmp_path, FULL)), load_config(config).catalog)
    assert [("segment 'agent'" in text, "question 'call-satisfaction'" in text) for text in warnings] == [
        (True, False),
        (False, True),
    ]


def test_one_id_for_two_answers_of_a_row_is_warned_of(tmp_path):
    """Both tables set response_id, so it is allowed; but the later answer replaces the other."""
    text = 2 * (RESPONSE + 'response_id = { column = "id" }\n')
    catalog = load_config(EXAMPLES / "airline" / "effortstream.toml").catalog
    mapping = load_mapping(written(tmp_path, text.replace('"q"', '"flight-rating"')))
    assert ["replaces" in warning for warning in mapping_warnings(mapping, catalog)] == [True]


@pytest.mark.parametrize("name", ["call-centre", "airline"])
def test_examples_are_correct_and_raise_no_warning(name):
    """What the README tells people to copy works."""
    mapping = load_mapping(EXAMPLES / name / "mapping.toml")
    assert mapping_warnings(mapping, load_config(EXAMPLES / name / "effortstream.toml").catalog) == []
