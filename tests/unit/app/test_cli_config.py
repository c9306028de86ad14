"""The command line's frame: what config check prints, exit statuses, and errors without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from app import __main__ as command_line
from app.cli.config import duration
from app.settings import FIELDS
from scoring.errors import DeclarationError, EffortStreamError

REPOSITORY = Path(__file__).resolve().parents[3]
QUESTION = '[questions.q]\nmetric = "ces"\nscale = { low = 1, high = 7, best = 7 }\n'


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    """No setting of whoever runs the tests reaches them."""
    for name in os.environ:
        if name.upper().startswith("EFFORTSTREAM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command line in this process: (exit status, standard output, standard error)."""

    def _run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["effortstream", *arguments])
        with pytest.raises(SystemExit) as left:
            command_line.main()
        captured = capsys.readouterr()
        code = left.value.code
        return (0 if code is None else int(code)), captured.out, captured.err

    return _run


def test_config_check_prints_all_that_is_in_force(run, tmp_path, monkeypatch):
    """Questions, touchpoints, segments, windows, timing and settings with their sources are on standard output."""
    path = tmp_path / "c.toml"
    path.write_text(
        QUESTION
        + "touchpoint = 'the [shop]'\n[touchpoints.checkout]\njourney_stage = 'purchase'\n"
        + "[segments]\nchannel = { values = ['web'] }\nplan = { max_values = 7 }\n'channel+plan' = {}\n"
        + "[windows]\nlive = ['30m']\ngrace = '90s'\n[deployment]\nport = 8081\n"
    )
    monkeypatch.setenv("EFFORTSTREAM_ID_KEY", "hunter2")
    status, out, err = run("config", "check", "--config", str(path))
    assert (status, err) == (0, "")
    rows = [" ".join(line.replace("│", " ").split()) for line in out.splitlines()]
    for expected in (
        "q ces 1..7, best 7 low effort: 6, 7 the [shop] 1 dropped",
        "checkout purchase",
        "the [shop] (not declared)",
        "channel web; anything else is other",
        "plan the first 7 values of each touchpoint, then other",
        "channel+plan combination of channel and plan",
        "windows.live 30m",
        "windows.grace 90s",
        "confidence 0.95",
        "id_key (hidden) environment: EFFORTSTREAM_ID_KEY",
        "broker_wait_s 60 default",
    ):
        assert expected in rows
    assert any(row.startswith("port 8081") for row in rows)
    assert "hunter2" not in out
    assert rows[-1] == f"{path}: correct"


def test_config_check_knows_the_repository_s_own_file(run, monkeypatch):
    """Without --config the file of the working folder is checked; every setting but the hidden clock is listed."""
    monkeypatch.chdir(REPOSITORY)
    status, out, _ = run("config", "check")
    assert status == 0
    settings = out[out.index("Settings") :]
    assert [name for name in FIELDS if f" {name} " not in settings] == ["clock"]


def test_a_wrong_configuration_is_exit_2_with_the_message_on_standard_error(run, tmp_path):
    """Every problem is a line on standard error, nothing is on standard output, and the status is 2."""
    path = tmp_path / "c.toml"
    path.write_text(QUESTION + "min = 1\n[windows]\ngrace = 3\n")
    status, out, err = run("config", "check", "--config", str(path))
    assert (status, out) == (2, "")
    assert [line.split(" = ")[0] for line in err.splitlines()] == [
        f"{path}: questions.q.min",
        f"{path}: windows.grace",
    ]


def test_a_wrong_variable_is_exit_2(run, tmp_path, monkeypatch):
    """Config check looks at the environment too."""
    path = tmp_path / "c.toml"
    path.write_text(QUESTION)
    monkeypatch.setenv("EFFORTSTREAM_PORT", "http")
    status, _, err = run("config", "check", "--config", str(path))
    assert status == 2
    assert err.startswith('environment: EFFORTSTREAM_PORT = "http": ')


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            EffortStreamError("the broker is gone. Start it"),
            1,
            "effortstream: the broker is gone. Start it\n",
        ),
        (DeclarationError("a", 1, "wrong", "Right it"), 2, "effortstream: a = 1: wrong. Right it\n"),
        (KeyboardInterrupt(), 130, ""),
        (typer.Exit(3), 3, ""),
    ],
)
def test_what_a_command_raises_becomes_a_status_and_one_line(run, monkeypatch, error, status, message):
    """Errors of ours leave one line and no traceback; Ctrl-C leaves nothing."""

    def failing() -> None:
        raise error

    monkeypatch.setattr("app.cli.schema.schema", failing)
    assert run("schema") == (status, "", message)


def test_a_bug_of_ours_crashes_with_its_traceback(monkeypatch):
    """Only errors raised on purpose are shortened; anything else must be seen whole."""

    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("app.cli.schema.schema", broken)
    monkeypatch.setattr(sys, "argv", ["effortstream", "schema"])
    with pytest.raises(ZeroDivisionError):
        command_line.main()


@pytest.mark.parametrize(
    "arguments",
    [("confg",), ("config", "chekc"), ("schema", "--format", "yaml"), ("config", "check", "--x"), ()],
)
def test_wrong_usage_is_exit_2(run, arguments):
    """An unknown command, option or value is exit 2 with the usage."""
    status, out, err = run(*arguments)
    assert status == 2
    assert "Usage: effortstream" in out + err


def test_an_unknown_command_suggests_the_nearest(run):
    """A slip of the finger is answered with the command that was meant."""
    assert "'config'" in run("confg")[2]


def test_every_command_of_the_table_can_be_imported_and_has_help(run):
    """No command of the help is a promise that its module breaks."""
    for name in command_line.COMMANDS:
        status, out, _ = run(name, "--help")
        assert status == 0
        assert out.startswith(f"Usage: effortstream {name}")


def test_the_help_lists_every_command_and_imports_none(run):
    """The help is made from the table alone: what commands need is loaded when they run."""
    _, out, _ = run("--help")
    for name, summary in command_line.COMMANDS.items():
        assert name in out
        assert summary in out, "whole, not cut at the width of a terminal"
    code = (
        "import sys\nsys.argv = ['effortstream', '--help']\nfrom app.__main__ import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'faust', 'aiokafka', 'litestar', 'numpy', 'pydantic', 'structlog', 'rich.markdown'}\n"
        "sys.exit(str(sorted(heavy & sys.modules.keys())) if heavy & sys.modules.keys() else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_printed(run):
    """--version prints the name and the version."""
    status, out, _ = run("--version")
    assert status == 0
    assert out.startswith("effortstream ")


def test_a_real_ctrl_c_leaves_quietly_with_130(tmp_path):
    """SIGINT in the middle of a command gives status 130 and no traceback."""
    code = (
        "import os, signal, sys\nimport app.cli.schema as module\n"
        "module.schema = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.argv = ['effortstream', 'schema']\nfrom app.__main__ import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0s"), (1_000, "1s"), (60_000, "1m"), (61_000, "61s"), (7_200_000, "2h"), (86_400_000, "1d")],
)
def test_durations_are_printed_in_the_largest_unit_that_divides_them(milliseconds, text):
    """What config check prints can be written into the file as it is."""
    assert duration(milliseconds) == text
