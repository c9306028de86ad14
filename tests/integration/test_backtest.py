"""The commands backtest and tune on the files of the examples."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import orjson
import pytest

from app import __main__ as command_line
from tests.datasets import (
    AIRLINE,
    CALL_CENTRE,
    read_rows,
    shared,
    write_airline,
    write_call_centre,
    write_rows,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RULES = """
[[alerts]]
id = "satisfaction-low"
kind = "threshold"
severity = "critical"
window = "24h"
enter = 45
exit = 55
min_n = 10

[[alerts]]
id = "unresolved"
kind = "threshold"
score = "unresolved_share"
window = "24h"
enter = 0.15
exit = 0.1
min_n = 10

[[alerts]]
id = "rising"
kind = "rising"
false_alarms = "1 per 7d"
min_history = "14d"

[[alerts]]
id = "worse"
kind = "change"
against = "7d"
window = "7d"

[[alerts]]
id = "silent"
kind = "silent"
"""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    """No setting of whoever runs the tests reaches them."""
    for name in os.environ:
        if name.upper().startswith("EFFORTSTREAM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def run(monkeypatch, capfdbinary):
    """Runs the command line in this process: (exit status, standard output, standard error)."""

    def _run(*arguments: object) -> tuple[int, bytes, str]:
        monkeypatch.setattr(sys, "argv", ["effortstream", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            command_line.main()
        captured = capfdbinary.readouterr()
        code = left.value.code
        return (0 if code is None else int(code)), captured.out, captured.err.decode()

    return _run


@pytest.fixture(scope="module")
def calls(tmp_path_factory) -> Path:
    """A month of the real file where it exists, else of a generated one of the same shape."""
    folder = tmp_path_factory.mktemp("calls")
    content = read_rows(shared(CALL_CENTRE) or write_call_centre(folder / "all.csv"))[:1800]
    return write_rows(folder / CALL_CENTRE, list(content[0]), content)


def of(example: str) -> list[str]:
    """The options that name the files of an example."""
    folder = EXAMPLES / example
    return ["--mapping", str(folder / "mapping.toml"), "--config", str(folder / "effortstream.toml")]


@pytest.fixture
def rules(tmp_path) -> Path:
    """A file of rules for the call centre."""
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


def test_backtest_of_calls_prints_each_transition_and_draws(run, calls, rules, tmp_path):
    """The same bytes from shuffled rows; a summary whose counts are those of the lines; one picture per series."""
    pictures = tmp_path / "new" / "pictures"
    arguments = [*of("call-centre"), "--rules", rules, "--format", "json"]
    status, out, err = run("backtest", calls, *arguments, "--pictures", pictures)
    assert status == 0, err
    lines = [orjson.loads(line) for line in out.splitlines()]
    alerts, summary = lines[:-1], lines[-1]
    assert {line["type"] for line in alerts} == {"alert"}
    assert summary["type"] == "summary"
    assert summary["read"] == len(read_rows(calls))
    assert [one["rule"] for one in summary["rules"]] == [
        "satisfaction-low",
        "unresolved",
        "rising",
        "worse",
        "silent",
    ]
    for one in summary["rules"]:
        own = [line for line in alerts if line["rule"] == one["rule"]]
        assert one["transitions"] == len(own)
        assert one["firings"] == sum(line["state"] == "firing" for line in own)
        assert 0 <= one["firing_share"] <= 1
    assert summary["rules"][0]["firings"] > 0
    touchpoints = {row["Topic"] for row in read_rows(calls)}
    assert len(list(pictures.glob("*.svg"))) == 2 * len(touchpoints)

    content = read_rows(calls)
    random.Random(1).shuffle(content)
    shuffled = write_rows(tmp_path / calls.name, list(content[0]), content)
    assert run("backtest", shuffled, *arguments)[1] == out


def test_backtest_of_calls_as_tables(run, calls, rules):
    """Incidents and rules are there for people; --progress shows a bar although this is no terminal."""
    status, out, err = run("backtest", calls, *of("call-centre"), "--rules", rules, "--progress")
    text = out.decode()
    assert status == 0
    assert "Incidents: " in text
    assert "satisfaction-low" in text
    assert "1,800 responses read" in text
    assert "Stepping" in err


def test_tuned_levels_of_calls_keep_the_rate_in_a_backtest(run, calls, rules, tmp_path):
    """What tune prints to paste is taken by --rules, and fires no more often than was wanted."""
    options = [*of("call-centre"), "--rules", rules, "--false-alarms", "1 per 30d"]
    status, out, err = run("tune", calls, *options, "--format", "toml")
    assert status == 0, err
    tuned = tmp_path / "tuned.toml"
    tuned.write_bytes(out)
    lines = run("backtest", calls, *of("call-centre"), "--rules", tuned, "--format", "json")[1].splitlines()
    summary = orjson.loads(lines[-1])
    levelled = [one for one in summary["rules"] if one["kind"] == "threshold"]
    assert levelled
    days = (summary["last_ms"] - summary["first_ms"]) / 86_400_000
    assert all(one["firings"] <= days / 30 for one in levelled)
    status, out, _ = run("tune", calls, *options)
    text = " ".join(out.decode().split())
    assert status == 0
    assert "true incidents" in text
    assert "Rising rules for 1 per 30d" in text
    assert "rules of kind change have no level to find" in text


@pytest.mark.parametrize("command", ["backtest", "tune"])
def test_flights_run_without_times_of_their_own(run, tmp_path, command):
    """Fourteen touchpoints from one row, one row a second."""
    path = shared(AIRLINE) or write_airline(tmp_path / AIRLINE)
    if path == shared(AIRLINE):  # a part of it: the whole is for the benchmark
        content = read_rows(path)[:3000]
        path = write_rows(tmp_path / AIRLINE, list(content[0]), content)
    rules = tmp_path / "rules.toml"
    rules.write_text('[[alerts]]\nid = "low"\nkind = "threshold"\nwindow = "10m"\nenter = 50\nexit = 55\n')
    status, out, err = run(command, path, *of("airline"), "--rules", rules)
    assert status == 0, err
    assert b"low" in out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[[alerts]]\nid = "x"\nkind = "treshold"\n', "treshold"),
        ('[[alerts]]\nid = "x"\nkind = "threshold"\nenter = 300\nexit = 5\n', "off the range of the score"),
        ("[windows]\nlive = []\n", "windows: no such key"),
        ("alerts = 3\n", "must be tables"),
        ("[[alerts]\n", "is not TOML"),
        ("", "there is no rule to step"),
    ],
)
@pytest.mark.parametrize("command", ["backtest", "tune"])
def test_bad_rules_are_exit_2_with_the_problem(run, calls, tmp_path, command, content, said):
    """Before any row is read, and nothing on standard output."""
    rules = tmp_path / "bad.toml"
    rules.write_text(content)
    status, out, err = run(command, calls, *of("call-centre"), "--rules", rules)
    assert (status, out) == (2, b"")
    assert said in err
    assert "bad.toml" in err
    assert "Traceback" not in err


def test_a_rate_that_is_not_understood_is_exit_2(run, calls, rules):
    """With the form that is."""
    status, _, err = run("tune", calls, *of("call-centre"), "--rules", rules, "--false-alarms", "sometimes")
    assert status == 2
    assert '"1 per 30d"' in err


def test_rules_that_need_deployment_marks_are_warned_of(run, calls, tmp_path):
    """Files hold none."""
    rules = tmp_path / "rules.toml"
    rules.write_text('[[alerts]]\nid = "deployed"\nkind = "change"\nagainst = "deployment"\nwindow = "2h"\n')
    status, _, err = run("backtest", calls, *of("call-centre"), "--rules", rules)
    assert status == 0
    assert "deployed: files hold no deployment marks" in err


def test_a_folder_that_cannot_be_made_is_exit_2(run, calls, rules, tmp_path):
    """It is said before the files are read."""
    (tmp_path / "taken").write_text("")
    status, _, err = run(
        "backtest", calls, *of("call-centre"), "--rules", rules, "--pictures", tmp_path / "taken"
    )
    assert status == 2
    assert "cannot be made" in err
