"""The configuration file: what it means, and that every mistake in it is told with its place and remedy."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from app.config import DEFAULT_PATH, Config, ConfigurationError, load_config
from app.settings import FIELDS
from scoring.catalog import Segment, Timing
from scoring.errors import EffortStreamError
from scoring.journey import JOURNEY_STAGES
from scoring.questions import Metric, Scale

REPOSITORY = Path(__file__).resolve().parents[3]
QUESTION = '[questions.q]\nmetric = "ces"\nscale = { low = 1, high = 7, best = 7 }\n'


@pytest.fixture
def write(tmp_path):
    """Writes a configuration file and returns its path."""

    def _write(text: str) -> Path:
        path = tmp_path / "c.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


@pytest.fixture
def messages(write):
    """The lines of the error that a configuration gives, without the file's name."""

    def _messages(text: str) -> list[str]:
        path = write(text)
        with pytest.raises(ConfigurationError) as caught:
            load_config(path)
        lines = str(caught.value).splitlines()
        assert all(line.startswith(f"{path}: ") for line in lines)
        assert len(lines) == len(caught.value.problems)
        return [line.removeprefix(f"{path}: ") for line in lines]

    return _messages


def test_one_question_is_a_whole_configuration_with_the_published_defaults(write):
    """A file with nothing but a question gets the defaults of the contract."""
    path = write(QUESTION)
    config = load_config(path)
    assert isinstance(config, Config)
    assert config.path == path
    assert config.settings == {}
    catalog = config.catalog
    assert catalog.questions["q"].low_effort == {6, 7}
    assert [window.name for window in catalog.live] == ["5m", "1h", "24h", "7d"]
    assert [window.name for window in catalog.calendar] == ["1h", "1d"]
    assert catalog.timezone == "UTC"
    assert catalog.timing == Timing(10_000, 30_000, 60_000, 300_000, 172_800_000)
    assert (catalog.strict, catalog.max_undeclared, catalog.privacy_floor, catalog.confidence) == (
        False,
        1000,
        0,
        0.95,
    )


def test_every_key_of_the_contract_reaches_the_catalog(write):
    """Each key that the contract names is read and has its effect."""
    catalog = load_config(
        write(
            """
            strict = true
            max_undeclared = 7
            privacy_floor = 5
            confidence = 0.9
            [questions.call-satisfaction]
            metric = "csat"
            scale = { low = 1, high = 5, best = 5 }
            positive = [5]
            touchpoint = "Technical Support"
            min_n = 3
            comments = true
            bands = { names = ["poor", "fair", "good"], edges = [70, 80.5] }
            [questions.ease]
            metric = "ces"
            scale = { low = 1, high = 3, best = 1 }
            ces_formula = "net-ease"
            [questions.effort]
            metric = "ces"
            scale = { low = 1, high = 5, best = 1 }
            low_effort = [1]
            [questions.recommend]
            metric = "nps"
            [touchpoints."Technical Support"]
            journey_stage = "support"
            [touchpoints.shop]
            [windows]
            live = ["30m"]
            calendar = ["1d"]
            timezone = "Asia/Kolkata"
            max_out_of_orderness = "0s"
            idle_timeout = "1m"
            grace = "2m"
            max_future = "3m"
            horizon = "1d"
            [segments]
            agent = { max_values = 9 }
            channel = { values = ["web", "phone"] }
            "channel+agent" = {}
            [deployment]
            port = 81
            """
        )
    ).catalog
    call = catalog.questions["call-satisfaction"]
    assert (call.metric, call.scale, call.positive) == (Metric.CSAT, Scale(1, 5, 5), {5})
    assert (call.touchpoint, call.min_n, call.comments) == ("Technical Support", 3, True)
    assert call.bands is not None
    assert call.bands.names == ("poor", "fair", "good")
    assert call.bands.edges == (Fraction(70), Fraction(161, 2))
    assert catalog.questions["ease"].ces_formula == "net-ease"
    assert catalog.questions["effort"].low_effort == {1}
    assert catalog.questions["recommend"].scale == Scale(0, 10, 10)
    assert catalog.journey_stage("Technical Support") == "support"
    assert catalog.journey_stage("shop") is None
    assert [window.size_ms for window in catalog.live] == [1_800_000]
    assert [window.name for window in catalog.calendar] == ["1d"]
    assert catalog.timezone == "Asia/Kolkata"
    assert catalog.timing == Timing(0, 60_000, 120_000, 180_000, 86_400_000)
    assert catalog.segments == (
        Segment("agent", ("agent",), None, 9),
        Segment("channel", ("channel",), frozenset({"web", "phone"})),
        Segment("channel+agent", ("channel", "agent")),
    )
    assert (catalog.strict, catalog.max_undeclared, catalog.privacy_floor, catalog.confidence) == (
        True,
        7,
        5,
        0.9,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[questions.q]\nmetric = "cess"\nscale = {low=1,high=5,best=5}',
            'questions.q.metric = "cess": is not',
        ),
        ("[questions.q]\nscale = {low=1,high=5,best=5}", "questions.q.metric: is missing. Write metric ="),
        ('[questions.q]\nmetric = "ces"', "questions.q.scale: is missing. Write scale = {"),
        ('[questions.q]\nmetric = "ces"\nscale = {low=1,high=5}', "questions.q.scale.best: is missing."),
        (
            '[questions.q]\nmetric = "ces"\nscale = {low=1,high=5,best=3}',
            "questions.q.scale.best = 3: best is neither end of the scale. Write 1 or 5",
        ),
        (
            '[questions.q]\nmetric = "ces"\nscale = {low=1,high=5,best="5"}',
            'questions.q.scale.best = "5": must be a whole number.',
        ),
        (
            '[questions.q]\nmetric = "nps"\nscale = {low=1,high=5,best=5}',
            'questions.q.scale = "1..5, best 5": NPS is asked on 0..10',
        ),
        (
            '[questions.q]\nmetric = "csat"\npositive = [9]\nscale = {low=1,high=5,best=5}',
            "questions.q.positive = [9]: 9 is not on the scale. Choose from 1..5",
        ),
        (
            '[questions.q]\nmetric = "csat"\npositive = [true]\nscale = {low=1,high=5,best=5}',
            "questions.q.positive = [true]: holds an entry of another kind.",
        ),
        (
            '[questions."a b"]\nmetric = "csat"\nmin_n = 0\nscale = {low=1,high=5,best=5}',
            'questions."a b".min_n = 0: must be 1 or more.',
        ),
        (
            QUESTION + "bands = { names = ['a', 'b'], edges = [1, 2] }",
            "questions.q.bands.edges = [1, 2]: 2 names",
        ),
        (
            QUESTION + "bands = { names = ['a', 'b'], edges = [nan] }",
            "questions.q.bands.edges = [NaN]: 2 names",
        ),
        (
            QUESTION + "bands = { names = ['a', 'b', 'c'], edges = [1, 2] }",
            "questions.q.bands.edges = ",
        ),
        (QUESTION + "ces_formula = 'net-ease'", 'questions.q.ces_formula = "net-ease": net ease needs three'),
        (QUESTION + "comment = true", "questions.q.comment = true: no such key. Did you mean comments?"),
        (
            "strict = true\n" + QUESTION + "touchpoint = 'shop'",
            'questions.q.touchpoint = "shop": is not declared',
        ),
        ("", 'questions: none is declared. Add [questions.ID] with metric = "ces"'),
        ("questions = 3", "questions = 3: must be a table."),
        ("questions.q = 3", "questions.q = 3: is not a question, which is a table. Write a table"),
        (
            "strict = 'yes'\n" + QUESTION,
            'strict = "yes": must be true or false. Write strict = true or false',
        ),
        ("max_undeclared = true\n" + QUESTION, "max_undeclared = true: must be a whole number"),
        ("privacy_floor = -1\n" + QUESTION, "privacy_floor = -1: must be 0 or more."),
        ("confidence = 95\n" + QUESTION, "confidence = 95: must lie between 0 and 1. Write 0.95 for 95 %"),
        ("confidence = nan\n" + QUESTION, "confidence = NaN: must lie between 0 and 1."),
        ("timezone = 'UTC'\n" + QUESTION, 'timezone = "UTC": no such key. '),
        (QUESTION + "[windos]\nlive = []", "windos: no such key. Did you mean windows?"),
        (
            QUESTION + "[windows]\ntimezon = 'UTC'",
            'windows.timezon = "UTC": no such key. Did you mean timezone?',
        ),
        (
            QUESTION + "[windows]\nstrict = true",
            "windows.strict = true: no such key. strict is a top-level key: move it above the first [table]",
        ),
        (QUESTION + "[windows]\nlive = '1h'", 'windows.live = "1h": must be a list of texts'),
        (QUESTION + "[windows]\nlive = ['1y']", 'windows.live = "1y": not a duration.'),
        (QUESTION + "[windows]\nlive = ['7s']", 'windows.live = "7s": '),
        (QUESTION + "[windows]\nlive = ['1h', '1h']", 'windows.live = "1h": an entry is listed twice.'),
        (QUESTION + "[windows]\nlive = ['1h', '60m']", 'windows.live = "60m": is as long as "1h".'),
        (QUESTION + "[windows]\nlive = [1]", "windows.live = 1: an entry is not a text."),
        (
            QUESTION + "[windows]\nlive = []\ncalendar = []",
            "windows: neither live nor calendar has a window.",
        ),
        (QUESTION + "[windows]\ncalendar = ['2h']", 'windows.calendar = "2h": no such calendar window.'),
        (
            QUESTION + "[windows]\ntimezone = 'Mars/Base'",
            'windows.timezone = "Mars/Base": no such time zone.',
        ),
        (
            QUESTION + "[windows]\ntimezone = 'Australia/Lord_Howe'",
            'windows.timezone = "Australia/Lord_Howe": ',
        ),
        (QUESTION + "[windows]\ngrace = 60", "windows.grace = 60: must be a duration in quotes"),
        (QUESTION + "[windows]\ngrace = '60'", 'windows.grace = "60": not a duration.'),
        (QUESTION + "[windows]\nhorizon = '0s'", 'windows.horizon = "0s": must be longer than 0.'),
        (QUESTION + "[touchpoints]\nx = 'support'", 'touchpoints.x = "support": is not a touchpoint'),
        (QUESTION + "[touchpoints.' x']", 'touchpoints." x": the name of this touchpoint has white space'),
        (
            QUESTION + '[touchpoints."a\\u0007"]',
            'touchpoints."a\\u0007": the name of this touchpoint has a control',
        ),
        (
            QUESTION + f"[touchpoints.{'x' * 129}]",
            f"touchpoints.{'x' * 129}: the name of this touchpoint is longer",
        ),
        (
            QUESTION + "[touchpoints.x]\njourney_stage = 'Everyday-Use'",
            'touchpoints.x.journey_stage = "Everyday-Use": is another spelling of a known stage. Write "everyday use"',
        ),
        (QUESTION + "[touchpoints.x]\njourney_stage = ''", 'touchpoints.x.journey_stage = "": is empty.'),
        (
            QUESTION + "[segments]\na = { values = ['x'], max_values = 1 }",
            "segments.a.max_values: has no meaning",
        ),
        (QUESTION + "[segments]\na = { values = [] }", "segments.a.values = []: lists nothing."),
        (QUESTION + "[segments]\na = { max_values = 0 }", "segments.a.max_values = 0: must be 1 or more."),
        (
            QUESTION + '[segments]\na = {}\n"a+b" = {}',
            "segments.\"a+b\": combines 'b', which is not declared.",
        ),
        (QUESTION + '[segments]\na = {}\n"a+a" = {}', 'segments."a+a": combines a segment with itself.'),
        (
            QUESTION + '[segments]\na = {}\nb = {}\n"a+b" = {}\n"b+a" = {}',
            'segments."b+a": is declared already',
        ),
        (QUESTION + "[deployment]\nprot = 1", "deployment.prot: no such key. Did you mean port?"),
        (QUESTION + "[deployment]\nport = '81'", 'deployment.port = "81": input should be a valid integer.'),
    ],
)
def test_a_mistake_is_told_with_its_key_value_and_remedy(messages, text, expected):
    """One mistake gives one line, which starts with the dotted key and the value as the file has it."""
    lines = messages(text)
    assert len(lines) == 1, lines
    assert lines[0].startswith(expected)
    assert ". " in lines[0], "a remedy follows the problem"


def test_all_mistakes_of_a_file_are_told_together(messages):
    """A file with mistakes in every table is corrected in one go."""
    lines = messages(
        "confidence = 2\n"
        + QUESTION.replace("ces", "sec")
        + "[windows]\nlive = ['x', 'y']\n[segments]\na = 1\n[deployment]\nport = -1\nprot = 2\n[more]\n"
    )
    assert [line.split(" = ")[0].split(": ")[0] for line in lines] == [
        "confidence",
        "questions.q.metric",
        "windows.live",
        "windows.live",
        "segments.a",
        "deployment.prot",
        "deployment.port",
        "more",
    ]


def test_a_secret_in_the_file_never_shows(messages):
    """Neither a wrong secret nor one under a misspelt key reaches a message."""
    text = (
        QUESTION
        + "[deployment]\nsasl_pasword = 'hunter2'\nid_key = ['hunter2']\n[sasl]\npassword = 'hunter2'"
    )
    lines = messages(text)
    assert len(lines) == 3
    assert "hunter2" not in "".join(lines)


def test_a_syntax_error_names_the_line(messages):
    """What is not TOML is told with the line, and without its content, which may be a secret."""
    assert messages("strict = false\nid_key = hunter2\n") == [
        'line 2: is not TOML: Invalid value. Correct the line; texts stand in quotes: key = "text"'
    ]
    assert messages("a = 1\nb = [1,")[0].startswith("line 2: is not TOML: ")
    assert messages("a = 1\na = 2\n")[0].startswith("line 2: is not TOML: ")


def test_a_file_that_cannot_be_read_is_told_with_the_remedy(tmp_path, write):
    """A missing file, a folder and bytes that are no UTF-8 are messages."""
    binary = write("")
    binary.write_bytes(b"strict = \xff")
    for path, problem in (
        (
            tmp_path / "absent.toml",
            "no such file. Run in the folder that holds it, or name it with --config FILE",
        ),
        (tmp_path, "cannot be read ("),
        (binary, "is not UTF-8 (byte 9). Save the file as UTF-8"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            load_config(path)
        assert str(caught.value).startswith(f"{path}: {problem}")


def test_a_byte_order_mark_is_no_mistake(write):
    """A file saved by an editor that writes a byte order mark is read."""
    assert load_config(write("\ufeff" + QUESTION)).catalog.questions.keys() == {"q"}


def test_without_a_path_the_file_of_the_working_folder_is_read(tmp_path, monkeypatch):
    """The default is effortstream.toml in the working folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"^effortstream\.toml: no such file"):
        load_config()
    (tmp_path / "effortstream.toml").write_text(QUESTION)
    assert load_config().path == DEFAULT_PATH


def test_a_configuration_error_is_a_value_error_of_ours(write):
    """Callers may catch either the root of our errors or the built-in."""
    with pytest.raises(ConfigurationError) as caught:
        load_config(write("x = 1"))
    assert isinstance(caught.value, EffortStreamError)
    assert isinstance(caught.value, ValueError)


def test_the_demo_asks_about_the_whole_journey():
    """The repository's own file has every stage, metric, direction and the scales that the demo promises."""
    catalog = load_config(REPOSITORY / "effortstream.toml").catalog
    assert len(catalog.touchpoints) >= 8
    assert {point.journey_stage for point in catalog.touchpoints.values()} == set(JOURNEY_STAGES)
    asked = {(q.metric.value, q.scale.low, q.scale.high, q.scale.best) for q in catalog.questions.values()}
    assert asked == {
        ("ces", 1, 7, 7),
        ("ces", 1, 5, 1),
        ("ces", 1, 3, 3),
        ("csat", 1, 5, 5),
        ("csat", 1, 10, 10),
        ("nps", 0, 10, 10),
    }
    assert {q.touchpoint for q in catalog.questions.values()} == catalog.touchpoints.keys()
    assert [segment.name for segment in catalog.segments] == ["channel", "plan"]


def test_every_key_that_the_example_comments_out_is_right(write):
    """Each `# key = value` of the example loads when it is put in force: the example cannot go stale."""
    lines = (REPOSITORY / "effortstream.toml").read_text(encoding="utf-8").splitlines()
    live = [line.removeprefix("# ") if line.startswith("# ") and " = " in line else line for line in lines]
    assert sum(a != b for a, b in zip(lines, live, strict=True)) > 30
    config = load_config(write("\n".join(live)))
    assert config.catalog == replace(
        load_config(REPOSITORY / "effortstream.toml").catalog, segments=config.catalog.segments
    ), "the commented values are the defaults"
    assert FIELDS.keys() - config.settings.keys() == {"sasl_password", "id_key", "clock"}
