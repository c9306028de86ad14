"""Alert rules and maintenance in the configuration: what each key means, and every mistake with its remedy."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest

from app import __main__ as command_line
from app.config import ConfigurationError, load_config
from app.config_alert_kinds import OWN_KEYS
from scoring.alerts.maintenance import Maintenance, Once, Weekly
from scoring.alerts.rules import (
    BudgetRule,
    ChangeRule,
    FalseAlarms,
    Kind,
    RisingRule,
    ScoreName,
    Selector,
    Severity,
    SilentRule,
    StaleRule,
    ThresholdRule,
    minutes_per_false_alarm,
    parts,
)

REPOSITORY = Path(__file__).resolve().parents[3]
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
DECLARED = """
[questions.effort]
metric = "ces"
scale = { low = 1, high = 7, best = 7 }
[questions.hardship]
metric = "ces"
scale = { low = 1, high = 5, best = 1 }
[questions.ease]
metric = "ces"
scale = { low = 1, high = 3, best = 3 }
ces_formula = "net-ease"
[questions.satisfaction]
metric = "csat"
scale = { low = 1, high = 5, best = 5 }
[questions.recommend]
metric = "nps"
[touchpoints.checkout]
journey_stage = "purchase"
[touchpoints.cart]
journey_stage = "purchase"
[touchpoints.chat]
journey_stage = "support"
[segments]
channel = { values = ["web", "app"] }
plan = { max_values = 4 }
"plan+channel" = {}
"""
THRESHOLD = '[[alerts]]\nid = "a"\nkind = "threshold"\nscore = "effort_index"\nenter = 50\nexit = 45\n'
VALUE = '[[alerts]]\nid = "a"\nkind = "threshold"\n'
RISING = '[[alerts]]\nid = "a"\nkind = "rising"\n'
CHANGE = '[[alerts]]\nid = "a"\nkind = "change"\n'
SILENT = '[[alerts]]\nid = "a"\nkind = "silent"\n'
STALE = '[[alerts]]\nid = "a"\nkind = "stale"\n'
BUDGET = '[[alerts]]\nid = "a"\nkind = "budget"\n'
WEEKLY = '[[maintenance]]\nid = "m"\nweekday = "sun"\nfrom = "02:00"\nto = "04:00"\n'
ONCE = '[[maintenance]]\nid = "m"\n'


@pytest.fixture
def load(tmp_path):
    """Reads a configuration that begins with the declarations above."""

    def _load(text: str, before: str = ""):
        path = tmp_path / "c.toml"
        path.write_text(before + DECLARED + text, encoding="utf-8")
        return load_config(path)

    return _load


@pytest.fixture
def rule(load):
    """The one rule of a configuration."""

    def _rule(text: str, before: str = ""):
        (only,) = load(text, before).catalog.alerts
        return only

    return _rule


@pytest.fixture
def messages(load, tmp_path):
    """The lines of the error that a configuration gives, without the file's name."""

    def _messages(text: str, before: str = "") -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            load(text, before)
        lines = str(caught.value).splitlines()
        assert all(line.startswith(f"{tmp_path / 'c.toml'}: ") for line in lines)
        assert len(lines) == len(caught.value.problems)
        assert all(problem.remedy and problem.key for problem in caught.value.problems)
        return [line.removeprefix(f"{tmp_path / 'c.toml'}: ") for line in lines]

    return _messages


def test_the_rules_of_the_contract_are_read_as_it_says(load):
    """The two examples of the published contract give the rules that their words promise."""
    first, second = load(
        """
        [[alerts]]
        id = "checkout-effort-high"
        kind = "threshold"
        severity = "critical"
        touchpoint = "checkout*"
        score = "effort_index"
        window = "1h"
        enter = 50
        exit = 45
        min_n = 20
        for = "10m"
        exit_for = "10m"
        confident = true
        [[alerts]]
        id = "effort-rising"
        kind = "rising"
        metric = "ces"
        false_alarms = "1 per 30d"
        """
    ).catalog.alerts
    assert first == ThresholdRule(
        "checkout-effort-high",
        Severity.CRITICAL,
        Selector(touchpoint="checkout*"),
        for_ms=10 * MINUTE_MS,
        exit_for_ms=10 * MINUTE_MS,
        score=ScoreName.EFFORT_INDEX,
        window="1h",
        window_ms=HOUR_MS,
        enter=50.0,
        exit=45.0,
        min_n=20,
        confident=True,
    )
    assert second == RisingRule(
        "effort-rising",
        Severity.WARNING,
        Selector(metric="ces"),
        false_alarms=FalseAlarms(1, 30 * DAY_MS, over_all=False),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            VALUE
            + 'question = "effort"\njourney_stage = "p*"\nwindow = "3d"\nenter = 4.5\nexit = 4.5\nrunbook = '
            + '"https://example.org/r"\nowner = "team"\nsegment = { plan = "b*", channel = "web" }',
            ThresholdRule(
                "a",
                Severity.WARNING,
                Selector(question="effort", journey_stage="p*", segment={"channel": "web", "plan": "b*"}),
                runbook="https://example.org/r",
                owner="team",
                for_ms=10 * MINUTE_MS,
                exit_for_ms=10 * MINUTE_MS,
                window="3d",
                window_ms=3 * DAY_MS,
                enter=4.5,
                exit=4.5,
            ),
        ),
        (
            RISING
            + 'baseline = "14d"\nmin_history = "3d"\ndrops = [0.2, 0.1]\nmargin = 0.05\nfor = "0s"\nmax_series = 9',
            RisingRule(
                "a",
                Severity.WARNING,
                max_series=9,
                baseline_ms=14 * DAY_MS,
                min_history_ms=3 * DAY_MS,
                drops=(0.1, 0.2),
                margin=0.05,
            ),
        ),
        (
            CHANGE + 'window = "6h"\nagainst = "7d"\nby = 2.5\nconfidence = 0.95\nmin_n = 5\nexit_for = "0m"',
            ChangeRule(
                "a",
                Severity.WARNING,
                for_ms=10 * MINUTE_MS,
                window="6h",
                window_ms=6 * HOUR_MS,
                against_ms=7 * DAY_MS,
                by=2.5,
                confidence=0.95,
                min_n=5,
            ),
        ),
        (
            CHANGE + 'against = "deployment"',
            ChangeRule(
                "a",
                Severity.WARNING,
                for_ms=10 * MINUTE_MS,
                exit_for_ms=30 * MINUTE_MS,
                against_ms=None,
            ),
        ),
        (
            SILENT + 'interactions = true\nbaseline = "14d"\nexpected = 20\nafter = "2h"',
            SilentRule(
                "a",
                Severity.WARNING,
                interactions=True,
                baseline_ms=14 * DAY_MS,
                expected=20.0,
                after_ms=2 * HOUR_MS,
            ),
        ),
        (STALE + 'after = "90m"', StaleRule("a", Severity.WARNING, after_ms=90 * MINUTE_MS)),
        (
            BUDGET + 'objective = 0.9\nburn = 5\nlong = "3d"\nshort = "6h"\nmin_n = 1',
            BudgetRule(
                "a",
                Severity.WARNING,
                exit_for_ms=10 * MINUTE_MS,
                objective=0.9,
                burn=5.0,
                long="3d",
                long_ms=3 * DAY_MS,
                short="6h",
                short_ms=6 * HOUR_MS,
                min_n=1,
            ),
        ),
    ],
    ids=["threshold", "rising", "change", "deployment", "silent", "stale", "budget"],
)
def test_every_key_of_a_kind_reaches_its_rule(rule, text, expected):
    """Each own key of each kind has its effect, and what is left out has the default of the kind."""
    assert rule(text) == expected


@pytest.mark.parametrize(
    ("text", "expected", "series"),
    [
        ("", FalseAlarms(1, 7 * DAY_MS, over_all=True), 3 * 5 + 1),
        ('false_alarms = "1 per 7d over all"', FalseAlarms(1, 7 * DAY_MS, over_all=True), 3 * 5 + 1),
        ('false_alarms = "1 per 30d"', FalseAlarms(1, 30 * DAY_MS, over_all=False), 1),
        ('false_alarms = "2 per 720h"', FalseAlarms(2, 30 * DAY_MS, over_all=False), 1),
        ("max_series = 40", FalseAlarms(1, 7 * DAY_MS, over_all=True), 40),
        ('touchpoint = "c*t"\nmetric = "ces"', FalseAlarms(1, 7 * DAY_MS, over_all=True), 3 * 3 + 1),
    ],
)
def test_false_alarms_are_shared_as_the_contract_says(load, text, expected, series):
    """Per series, or over all: declared touchpoints x questions and a part for undeclared ones, or max_series."""
    catalog = load(RISING + text.replace("c*t", "c*")).catalog
    (only,) = catalog.alerts
    assert only.false_alarms == expected
    assert parts(only, catalog) == series
    minutes = expected.period_ms / expected.count / MINUTE_MS
    assert minutes_per_false_alarm(only, catalog) == minutes * series


def test_silence_of_interactions_is_shared_by_touchpoints_alone(load):
    """Interactions belong to no question, so a touchpoint has one series of them."""
    catalog = load(SILENT + "interactions = true").catalog
    assert parts(catalog.alerts[0], catalog) == 3 + 1
    catalog = load(SILENT + "interactions = true", "strict = true\n").catalog
    assert parts(catalog.alerts[0], catalog) == 3


ACCEPTED_LEVELS = [
    ('question = "effort"', "value", 4, 5),
    ('question = "hardship"', "value", 3, 2),
    ('question = "ease"', "value", -10, 0),
    ('metric = "csat"', "value", 70, 75),
    ('metric = "nps"', "value", -20, 0),
    ("", "effort_index", 50, 45),
    ('metric = "ces"', "low_effort_share", 0.5, 0.6),
    ("", "response_rate", 0.1, 0.15),
    ("", "unresolved_share", 0.3, 0.2),
]


@pytest.mark.parametrize(("selector", "score", "enter", "leave"), ACCEPTED_LEVELS)
def test_the_end_lies_on_the_better_side_of_the_beginning(rule, messages, selector, score, enter, leave):
    """For every score and direction of scale the right order of levels is accepted and the other one refused."""
    head = f'{VALUE}score = "{score}"\n{selector}\n'
    found = rule(f"{head}enter = {enter}\nexit = {leave}")
    assert (found.enter, found.exit) == (enter, leave)
    assert rule(f"{head}enter = {enter}\nexit = {enter}").exit == enter
    (line,) = messages(f"{head}enter = {leave}\nexit = {enter}")
    assert line.startswith(f"alerts.a.exit = {enter}")
    assert "is on the worse side of enter" in line


@pytest.mark.parametrize(
    ("selector", "score", "low", "high", "rising"),
    [
        ('question = "effort"', "value", 1, 7, False),
        ('question = "hardship"', "value", 1, 5, True),
        ('question = "ease"', "value", -100, 100, False),
        ('metric = "csat"', "value", 0, 100, False),
        ('metric = "nps"', "value", -100, 100, False),
        ("", "effort_index", 0, 100, True),
        ("", "low_effort_share", 0, 1, False),
        ("", "response_rate", 0, 1, False),
        ("", "unresolved_share", 0, 1, True),
    ],
)
def test_a_level_that_no_score_can_reach_or_cross_is_refused(
    rule, messages, selector, score, low, high, rising
):
    """The ends of the range are told; the best end is a level like any other, the worst one can never be crossed."""
    head = f'{VALUE}score = "{score}"\n{selector}\n'
    best, worst = (low, high) if rising else (high, low)
    assert rule(f"{head}enter = {best}\nexit = {best}").enter == best
    for off in (low - 0.5, high + 0.5):
        (line,) = messages(f"{head}enter = {off}\nexit = {best}")
        assert line.startswith(
            f"alerts.a.enter = {off}: is off the range of the score: {score} from {low} to {high}"
        )
    (line,) = messages(f"{head}enter = {worst}\nexit = {worst}")
    assert line.startswith(f"alerts.a.enter = {worst}")
    assert "can never be crossed" in line


PROBLEMS = [
    # what every rule has
    ('[[alerts]]\nkind = "stale"', 'alerts.1.id: is missing. Write id = "checkout-effort-high"'),
    (STALE.replace('"a"', "7"), "alerts.1.id = 7: must be a text in quotes"),
    (STALE.replace('"a"', '"a b"'), 'alerts."a b".id = "a b": may hold letters, digits, . _ and - only.'),
    (STALE + STALE, 'alerts.a.id = "a": is the id of two. Give each an id of its own'),
    ('[[alerts]]\nid = "a"', 'alerts.a.kind: is missing. Write kind = "threshold"'),
    (STALE.replace("stale", "stail"), 'alerts.a.kind = "stail": is not "threshold" or'),
    (STALE + 'severity = "page"', 'alerts.a.severity = "page": is not "warning" or "critical".'),
    (STALE + "windoww = 1", "alerts.a.windoww = 1: no such key. Did you mean window?"),
    (
        STALE + "enter = 1",
        "alerts.a.enter = 1: is no key of a rule of kind stale. Remove it; it belongs to kind thr",
    ),
    (
        STALE + "burn = 1",
        "alerts.a.burn = 1: is no key of a rule of kind stale. Remove it; it belongs to kind budg",
    ),
    (
        STALE + "max_series = 1",
        "alerts.a.max_series = 1: is no key of a rule of kind stale. Remove it; it belongs to",
    ),
    (STALE + "runbook = 1", "alerts.a.runbook = 1: must be a text in quotes"),
    (STALE + "owner = ''", 'alerts.a.owner = "": is empty.'),
    (STALE + "for = 5", "alerts.a.for = 5: must be a duration in quotes"),
    (
        STALE + "for = '90s'",
        'alerts.a.for = "90s": is no multiple of a minute, the step of all rules. Write "2m"',
    ),
    (STALE + "exit_for = '1y'", 'alerts.a.exit_for = "1y": not a duration.'),
    ("[alerts]\nid = 'a'", 'alerts = {"id": "a"}: must be tables, each under [[alerts]].'),
    # which series
    (
        STALE + "question = 'efort'",
        'alerts.a.question = "efort": matches no declared question. Did you mean effort?',
    ),
    (STALE + "metric = 'cess'", 'alerts.a.metric = "cess": is not "ces" or "csat" or "nps".'),
    (
        STALE + "question = 'effort'\nmetric = 'nps'",
        'alerts.a.metric = "nps": no question effort has this metric.',
    ),
    (
        STALE + "journey_stage = 'suport'",
        'alerts.a.journey_stage = "suport": matches that of no declared touchpoint.',
    ),
    (
        STALE + "journey_stage = 'support'\ntouchpoint = 'checkout'",
        'alerts.a.touchpoint = "checkout": matches no declared touchpoint of stage support.',
    ),
    (STALE + "segment = 'web'", 'alerts.a.segment = "web": must be a table.'),
    (STALE + "segment = { channl = '*' }", 'alerts.a.segment = {"channl": "*"}: \'channl\' is not declared.'),
    (STALE + "segment = { channel = 1 }", "alerts.a.segment.channel = 1: must be a text in quotes"),
    (
        STALE + "segment = { channel = 'wep' }",
        'alerts.a.segment.channel = "wep": matches no declared value. Did you mean web?',
    ),
    (
        STALE + "segment = { channel = 'web', region = '*' }",
        'alerts.a.segment = {"channel": "web", "region": "*"}: \'channel+region\' is not declared. Correct it, or declare',
    ),
    (
        SILENT + "interactions = true\nquestion = 'effort'",
        'alerts.a.question = "effort": has no meaning for a rule that watches interactions.',
    ),
    # threshold
    (VALUE + "question = 'effort'\nexit = 5", "alerts.a.enter: is missing. Write enter = LEVEL"),
    (VALUE + "question = 'effort'\nenter = 5", "alerts.a.exit: is missing. Write exit = LEVEL"),
    (THRESHOLD.replace("50", "'50'"), 'alerts.a.enter = "50": must be a number.'),
    (THRESHOLD.replace("50", "nan"), "alerts.a.enter = NaN: must be a finite number."),
    (
        THRESHOLD.replace("effort_index", "efort"),
        'alerts.a.score = "efort": is not "value" or "effort_index" or',
    ),
    (
        THRESHOLD + "metric = 'csat'",
        'alerts.a.score = "effort_index": none of its questions has it: only means of metric ces have, not satisfac',
    ),
    (
        VALUE + "enter = 3\nexit = 3",
        'alerts.a.score = "value": one level cannot suit questions of two directions (1 to 7, lower is worse: effort; ',
    ),
    (
        VALUE + "enter = 3\nexit = 3\nquestion = '[se]a*'",
        'alerts.a.score = "value": one level cannot suit questions of different scales (-100 to 100, lower is worse: ',
    ),
    (
        THRESHOLD + "window = '90s'",
        'alerts.a.window = "90s": is no multiple of the minute that windows up to 48 h',
    ),
    (THRESHOLD + "window = '49h'\nmin_n = 0", "alerts.a.min_n = 0: must be 1 or more."),
    (
        THRESHOLD + "window = '2881m'",
        'alerts.a.window = "2881m": is no multiple of the hour that windows beyond 48 h slide by. Write "49h"',
    ),
    (THRESHOLD + "window = '0m'", 'alerts.a.window = "0m": is not between 1m and 400d.'),
    (THRESHOLD + "window = '401d'", 'alerts.a.window = "401d": is not between 1m and 400d.'),
    (THRESHOLD + "window = 'hour'", 'alerts.a.window = "hour": not a duration.'),
    (THRESHOLD + "confident = 1", "alerts.a.confident = 1: must be true or false."),
    # rising
    (RISING + "false_alarms = 1", "alerts.a.false_alarms = 1: must be a text in quotes"),
    (
        RISING + "false_alarms = 'one a week'",
        'alerts.a.false_alarms = "one a week": is not understood. Write "1 per',
    ),
    (RISING + "false_alarms = '0 per 7d'", 'alerts.a.false_alarms = "0 per 7d": is not understood.'),
    (
        RISING + "false_alarms = '1 per 7d over  all'",
        'alerts.a.false_alarms = "1 per 7d over  all": is not understood',
    ),
    (
        RISING + "false_alarms = '3 per 2h'",
        'alerts.a.false_alarms = "3 per 2h": allows more than one false alarm an',
    ),
    (
        RISING + "false_alarms = '1 per 0d'",
        'alerts.a.false_alarms = "1 per 0d": allows more than one false alarm an',
    ),
    (RISING + "max_series = 0", "alerts.a.max_series = 0: must be 1 or more."),
    (
        RISING + "false_alarms = '1 per 7d'\nmax_series = 3",
        "alerts.a.max_series = 3: has no meaning where false alarms are allowed to each series.",
    ),
    (
        RISING + "segment = { channel = '*' }",
        (
            "alerts.a.max_series: is missing: how many series of segments share the false alarms of a rule over all is "
            f"not declared. Write max_series = {3 * 5 * 3},"
        ),
    ),
    (
        SILENT + "touchpoint = 'chat'\ninteractions = true\nsegment = { channel = 'web', plan = 'b*' }",
        (
            "alerts.a.max_series: is missing: how many series of segments share the false alarms of a rule over all is "
            f"not declared. Write max_series = {1 * 1 * (4 + 1)},"
        ),
    ),
    (
        RISING + "baseline = '36h'",
        'alerts.a.baseline = "36h": is not 1 to 400 whole days. Write whole days, such as',
    ),
    (
        RISING + "baseline = '2d'\nmin_history = '3d'",
        'alerts.a.min_history = "3d": is longer than the baseline.',
    ),
    (RISING + "drops = []", "alerts.a.drops = []: must be 1 to 8 different numbers between 0 and 1."),
    (
        RISING + "drops = [0.5, 0.5]",
        "alerts.a.drops = [0.5, 0.5]: must be 1 to 8 different numbers between 0 and 1.",
    ),
    (RISING + "drops = [1]", "alerts.a.drops = [1]: must be 1 to 8 different numbers between 0 and 1."),
    (
        RISING + "margin = 0.9",
        "alerts.a.margin = 0.9: leaves no room on the scale for the largest drop",
    ),
    (RISING + "margin = -1", "alerts.a.margin = -1: must be 0 or more."),
    # change
    (CHANGE + "against = '2d'", 'alerts.a.against = "2d": is not "1d" or "7d" or "deployment".'),
    (
        CHANGE + "window = '25h'",
        'alerts.a.window = "25h": is longer than against (1d): the two periods would overlap.',
    ),
    (
        CHANGE + "window = '90m'\nagainst = '7d'",
        'alerts.a.window = "90m": is no multiple of an hour, and what is more than 48 h back is kept by the hour.',
    ),
    (
        CHANGE + "window = '25h'\nagainst = 'deployment'",
        'alerts.a.window = "25h": is longer than 24h: a mark falls',
    ),
    (CHANGE + "by = 0", "alerts.a.by = 0.0: must be more than 0."),
    (CHANGE + "by = 201", "alerts.a.by = 201: must be a number from 0 to 200."),
    (CHANGE + "confidence = 99", "alerts.a.confidence = 99: must lie between 0 and 1."),
    # silent and stale
    (SILENT + "expected = 2", "alerts.a.expected = 2: must be 3 or more."),
    (SILENT + "after = '0m'", 'alerts.a.after = "0m": must be longer than 0.'),
    (SILENT + "interactions = 'yes'", 'alerts.a.interactions = "yes": must be true or false.'),
    (STALE + "after = '90s'", 'alerts.a.after = "90s": is no multiple of a minute'),
    # budget
    (
        BUDGET + "burn = 5",
        (
            "alerts.a.burn = 5.0: can never be reached: with objective = 0.8 even nothing but high-effort answers burns 5 "
            "times the budget. Write a burn below 5, or a higher objective"
        ),
    ),
    (
        BUDGET + "burn = 14.4\nobjective = 0.93",
        "alerts.a.burn = 14.4: can never be reached: with objective = 0.93 ",
    ),
    (BUDGET + "burn = 0", "alerts.a.burn = 0.0: must be more than 0."),
    (BUDGET + "objective = 1", "alerts.a.objective = 1: must lie between 0 and 1."),
    (BUDGET + "long = '30m'", 'alerts.a.short = "30m": is not shorter than long (30m).'),
    # maintenance
    (WEEKLY.replace('id = "m"', ""), 'maintenance.1.id: is missing. Write id = "sunday-release"'),
    (WEEKLY + WEEKLY, 'maintenance.m.id = "m": is the id of two.'),
    (WEEKLY + "rule = 'a'", 'maintenance.m.rule = "a": matches no declared rule.'),
    (STALE + WEEKLY + "rule = 'b'", 'maintenance.m.rule = "b": matches no declared rule.'),
    (WEEKLY + "form = 1", "maintenance.m.form = 1: no such key. Did you mean from?"),
    (WEEKLY.replace('"sun"', '"Sunday"'), 'maintenance.m.weekday = "Sunday": is not "mon" or'),
    (WEEKLY.replace('"02:00"', '"2:00"'), 'maintenance.m.from = "2:00": is not a time of day.'),
    (WEEKLY.replace('"02:00"', '"24:00"'), 'maintenance.m.from = "24:00": a day begins at 00:00.'),
    (WEEKLY.replace('"04:00"', "04:00:00"), 'maintenance.m.to = "04:00:00": must be a text in quotes'),
    (WEEKLY.replace('"04:00"', '"02:00"'), 'maintenance.m.to = "02:00": is the same as from.'),
    (WEEKLY.replace('to = "04:00"\n', ""), 'maintenance.m.to: is missing. Write to = "04:00"'),
    (
        WEEKLY + "start = 2026-03-14T22:00:00Z",
        'maintenance.m.start = "2026-03-14 22:00:00+00:00": does not go with',
    ),
    (
        ONCE + "end = 2026-03-14T22:00:00Z",
        "maintenance.m.start: is missing. Write start = 2026-11-27T22:00:00+01:00",
    ),
    (
        ONCE + "start = 2026-03-14T22:00:00\nend = 2026-03-14T23:00:00Z",
        'maintenance.m.start = "2026-03-14T22:00:00": has no offset from UTC.',
    ),
    (
        ONCE + "start = 2026-03-14\nend = 2026-03-14T23:00:00Z",
        'maintenance.m.start = "2026-03-14": must be a date and',
    ),
    (
        ONCE + "start = 2026-03-14T22:00:00Z\nend = 2026-03-14T23:00:00+01:00",
        'maintenance.m.end = "2026-03-14 23:00:00+01:00": is not after start.',
    ),
]


@pytest.mark.parametrize(("text", "expected"), PROBLEMS)
def test_a_mistake_in_a_rule_is_told_with_its_key_value_and_remedy(messages, text, expected):
    """One mistake gives one line, which starts with the dotted key, the rule's id in it, and the value."""
    lines = messages(text)
    assert len(lines) == 1, lines
    assert lines[0].startswith(expected)
    assert ". " in lines[0], "a remedy follows the problem"


@pytest.mark.parametrize("kind", list(Kind))
def test_a_key_of_another_kind_is_refused_for_every_kind(messages, kind):
    """Each key that some other kind has, and this one has not, is told as such and read no further."""
    heads = {Kind.THRESHOLD: THRESHOLD}
    head = heads.get(kind, f'[[alerts]]\nid = "a"\nkind = "{kind}"\n')
    foreign = sorted(frozenset().union(*OWN_KEYS.values()) - OWN_KEYS[kind])
    assert foreign
    lines = messages(head + "".join(f"{key} = 1\n" for key in foreign))
    assert [line.split(" = ")[0] for line in lines] == [f"alerts.a.{key}" for key in foreign]
    assert all(
        f"is no key of a rule of kind {kind}. Remove it; it belongs to kind " in line for line in lines
    )


def test_a_touchpoint_must_be_declared_only_where_no_others_are_accepted(rule, messages):
    """An undeclared touchpoint may come yet; with strict = true a pattern without a match is a mistake."""
    text = STALE + 'touchpoint = "chekout"'
    assert rule(text).selector.touchpoint == "chekout"
    expected = 'alerts.a.touchpoint = "chekout": matches no declared touchpoint. Did you mean checkout?'
    assert messages(text, "strict = true\n") == [expected]
    (line,) = messages(WEEKLY + 'touchpoint = "chekout"', "strict = true\n")
    assert line.startswith('maintenance.m.touchpoint = "chekout": matches no declared touchpoint.')


def test_an_alert_never_shows_a_score_that_the_privacy_floor_hides(rule, messages):
    """The default of min_n is raised to the floor, and a lower one of the file is refused."""
    assert rule(THRESHOLD, "privacy_floor = 25\n").min_n == 25
    assert rule(BUDGET, "privacy_floor = 25\n").min_n == 30
    (line,) = messages(CHANGE + "min_n = 24", "privacy_floor = 25\n")
    assert line.startswith("alerts.a.min_n = 24: is below privacy_floor = 25: ")
    assert line.endswith("Write 25 or more")


def test_a_burn_is_possible_up_to_the_whole_of_the_answers(rule, messages):
    """Burn x (1 - objective) below 1 is accepted, and 1 is refused however the decimals round."""
    for objective, largest in ((0.8, 5), (0.9, 10), (0.95, 20), (0.99, 100)):
        assert rule(f"{BUDGET}objective = {objective}\nburn = {largest - 0.01}").burn == largest - 0.01
        (line,) = messages(f"{BUDGET}objective = {objective}\nburn = {largest}")
        assert f"burns {largest} times the budget. Write a burn below {largest}," in line


def test_rules_are_not_compared_with_declarations_that_are_wrong_themselves(messages):
    """A misspelt question is one mistake, not one more for each rule that watches it."""
    text = (
        RISING + 'question = "new"\nmargn = 1\n[questions.new]\nmetric = "cess"\n' + WEEKLY + 'rule = "a"\n'
    )
    assert [line.split(" = ")[0] for line in messages(text)] == [
        "questions.new.metric",
        "questions.new.scale: is missing. Write scale",
        "alerts.a.margn",
    ]


def test_maintenance_is_read_in_both_forms(load):
    """A stretch between two instants, and one of each week in the time zone of the windows."""
    config = load(
        STALE
        + ONCE
        + 'rule = "a*"\ntouchpoint = "chat"\nstart = 2026-03-14T22:00:00+01:00\nend = 2026-03-15T02:00:00.5+01:00\n'
        + WEEKLY.replace('"m"', '"n"')
        + WEEKLY.replace('"m"', '"o"').replace("sun", "daily").replace("04:00", "24:00")
        + '[windows]\ntimezone = "Europe/Warsaw"\n'
    )
    start_ms = int(datetime(2026, 3, 14, 21, tzinfo=UTC).timestamp()) * 1000
    assert config.maintenance == (
        Maintenance("m", Once(start_ms, start_ms + 4 * HOUR_MS + 500), "a*", "chat"),
        Maintenance("n", Weekly(6, 120, 240, "Europe/Warsaw")),
        Maintenance("o", Weekly(None, 120, 1440, "Europe/Warsaw")),
    )


def test_a_file_without_rules_has_none(load):
    """Neither rules nor maintenance are needed."""
    config = load("")
    assert (config.catalog.alerts, config.maintenance) == ((), ())


def test_the_demo_has_a_rule_of_each_kind_and_both_forms_of_maintenance():
    """The repository's own file is the example: every kind, segment, interactions and both maintenance forms."""
    config = load_config(REPOSITORY / "effortstream.toml")
    rules = config.catalog.alerts
    assert {one.kind for one in rules} == set(Kind)
    assert {one.severity for one in rules} == set(Severity)
    assert any(one.selector.segment for one in rules)
    assert any(one.of_interactions for one in rules)
    assert {type(one.when) for one in config.maintenance} == {Once, Weekly}


def test_config_check_tells_what_each_rule_watches_and_when_it_fires(tmp_path, monkeypatch, capsys):
    """Series, condition, dwells, minutes per false alarm of each series and over all, and maintenance are shown."""
    path = tmp_path / "c.toml"
    text = (
        (THRESHOLD + "confident = true\n").replace('"a"', '"high"')
        + (RISING + 'metric = "ces"\n').replace('"a"', '"up"')
        + (RISING + 'false_alarms = "2 per 30d"\n').replace('"a"', '"up-each"')
        + (CHANGE + 'against = "deployment"\n').replace('"a"', '"worse"')
        + (CHANGE + 'segment = { channel = "w*" }\n').replace('"a"', '"worse-web"')
        + (SILENT + "interactions = true\n").replace('"a"', '"quiet"')
        + STALE.replace('"a"', '"old"')
        + BUDGET.replace('"a"', '"burning"')
        + WEEKLY
        + WEEKLY.replace('"m"', '"n"').replace("sun", "daily")
    )
    path.write_text(DECLARED + text)
    monkeypatch.setattr(sys, "argv", ["effortstream", "config", "check", "--config", str(path)])
    monkeypatch.setattr("app.cli.config.PIPE_WIDTH", 400)
    with pytest.raises(SystemExit) as left:
        command_line.main()
    assert left.value.code in (0, None)
    rows = [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]
    everywhere = "3 touchpoints and undeclared ones"
    for expected in (
        (
            f"high threshold warning {everywhere} x 2 questions effort_index of the last 1h above 50, its lower bound too "
            "(n >= 20); over when at most 45; for 10m; resolved after 10m not bounded"
        ),
        (
            f"up rising warning {everywhere} x 3 questions effort is above the series' own baseline of 28d "
            "1 per 100,800 min each (70 d), 10 share 1 per 10,080 min"
        ),
        (
            f"up-each rising warning {everywhere} x 5 questions effort is above the series' own baseline of 28d "
            "1 per 21,600 min each (15 d)"
        ),
        (
            f"worse change warning {everywhere} x 5 questions worse since the newest deployment, up to 24h ago, by 5 points "
            "or more, with 99 % confidence (n >= 30 each); for 10m; resolved after 30m not bounded"
        ),
        (
            f"worse-web change warning {everywhere} x 5 questions, channel = w* the last 24h worse than 1d before by 5 "
            "points or more, with 99 % confidence (n >= 30 each); for 10m; resolved after 30m not bounded"
        ),
        (
            f"quiet silent warning {everywhere}, interactions none came in 30m or more, where 12.0 interactions were to be "
            "expected 1 per 40,320 min each (28 d), 4 share 1 per 10,080 min"
        ),
        f"old stale warning {everywhere} x 5 questions the newest answer is 1d old not bounded",
        (
            f"burning budget warning {everywhere} x 5 questions more than 60 % of the answers of the last 6h (n >= 30) and "
            "30m are high effort; resolved after 10m not bounded"
        ),
        "m all all sun 02:00 to 04:00 UTC",
        "n all all daily 02:00 to 04:00 UTC",
    ):
        assert expected in rows


def test_the_examples_of_the_reference_are_right_and_every_key_is_in_it(tmp_path):
    """Each example of docs/alerts.md loads beside the demo's declarations; each key of each kind is described."""
    text = (REPOSITORY / "docs" / "alerts.md").read_text(encoding="utf-8")
    examples = [block for block in text.split("\n\n") if block.lstrip().startswith("[[")]
    declared = (REPOSITORY / "effortstream.toml").read_text(encoding="utf-8")
    path = tmp_path / "c.toml"
    path.write_text(
        declared[: declared.index("[[alerts]]")] + "\n".join(map(dedent, examples)), encoding="utf-8"
    )
    config = load_config(path)
    assert {one.kind for one in config.catalog.alerts} == set(Kind)
    assert len(config.maintenance) == 2
    for kind, keys in OWN_KEYS.items():
        section = text[text.index(f"## {kind.value}: ") :]
        section = section[: section.index("\n## ")]
        assert [key for key in sorted(keys) if f"`{key}`" not in section] == []
