"""Rules for Prometheus: what of the configuration they carry, and that no text of it turns into something else."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.prometheus_names import Monitored, literal, quoted
from app.prometheus_rules import rules, rules_text
from app.prometheus_scores import stage_window
from app.prometheus_yaml import from_yaml, to_yaml
from app.settings import load_settings
from scoring.alerts.rules import RisingRule, Selector, Severity, SilentRule, ThresholdRule
from scoring.windows import live_window
from tests.score_records import CATALOG

ROOT = Path(__file__).parents[3]
HOUR = live_window("1h")
HIGH = ThresholdRule(
    "checkout-effort-high", Severity.CRITICAL, Selector(question="checkout-effort"), enter=4, exit=5
)
CONFIGURATION = '[questions.q]\nmetric = "nps"\n[[alerts]]\nid = "falling"\nkind = "rising"\n'


def made(*alerts, monitored: Monitored | None = None, **changes: Any) -> list[dict[str, Any]]:
    """The rules of a configuration with these alerts."""
    catalog = replace(CATALOG, alerts=alerts, live=(HOUR,))
    settings = load_settings(None, **changes)
    groups = rules(catalog, settings, monitored or Monitored())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts_named(found: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The alerting rules of a name."""
    return [rule for rule in found if rule.get("alert") == name]


def test_each_configured_rule_is_one_alert_on_what_the_engine_decided():
    """Named by its kind, narrowed to its id; its severity is the series' own."""
    found = made(HIGH, replace(HIGH, id="other"), SilentRule("quiet", Severity.WARNING))
    exprs = [rule["expr"] for rule in alerts_named(found, "ScoreBeyondThreshold")]
    assert exprs == [
        f'rule:effortstream_alert_state:max{{job="effortstream-serve", rule="{name}"}} == 2'
        for name in ("checkout-effort-high", "other")
    ]
    (quiet,) = alerts_named(found, "TouchpointSilent")
    assert quiet["labels"] == {"scope": "touchpoint", "deployment": "effort"}
    assert "Rule quiet: " in quiet["annotations"]["description"]


def test_owner_and_runbook_of_a_rule_go_to_whoever_is_paged():
    """A rule without gets the shipped runbook of its kind and no owner."""
    own = replace(HIGH, owner="checkout team", runbook="https://wiki.example/checkout")
    with_own, without = alerts_named(made(own, replace(HIGH, id="b")), "ScoreBeyondThreshold")
    assert with_own["labels"]["owner"] == "checkout team"
    assert with_own["annotations"]["runbook_url"] == "https://wiki.example/checkout"
    assert "owner" not in without["labels"]
    assert without["annotations"]["runbook_url"] == "deploy/runbooks/ScoreBeyondThreshold.md"


def test_no_text_of_the_configuration_is_taken_for_a_template():
    """Prometheus expands labels and annotations; an owner in braces stays what it is."""
    (rule,) = alerts_named(made(replace(HIGH, owner="{{ .Labels }}")), "ScoreBeyondThreshold")
    assert rule["labels"]["owner"] == '{{ "{{" }} .Labels }}'


def test_every_partition_of_the_configured_prefix_is_asked_for():
    """Each of the three topics that workers read, with the configured number of partitions."""
    found = alerts_named(made(prefix="shop-eu.", partitions=12), "EffortstreamPartitionUnowned")
    assert [rule["labels"]["topic"] for rule in found] == [
        f"shop-eu.{name}" for name in ("responses.v1", "interactions.v1", "partials.v1")
    ]
    assert all(rule["expr"].endswith(" < 12") for rule in found)


def test_jobs_and_deployment_are_in_every_alert_that_has_a_series():
    """So two deployments can share one Prometheus and one Alertmanager."""
    text = rules_text(
        replace(CATALOG, alerts=(HIGH,), live=(HOUR,)),
        load_settings(None),
        Monitored("shop", "w", "s", "https://example.org/runbooks"),
    )
    assert "effortstream-worker" not in text
    assert "effortstream-serve" not in text
    assert "https://example.org/runbooks/EffortstreamLagHigh.md" in text
    found = [rule for group in from_yaml(text)["groups"] for rule in group["rules"] if "alert" in rule]
    assert {rule["labels"]["deployment"] for rule in found} == {"shop"}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["5m", "24h", "1h"], "1h"),
        (["7d", "24h"], "24h"),
        (["1m", "5m"], "5m"),
        ([], None),
    ],
)
def test_a_stage_is_judged_over_the_smallest_window_of_an_hour_or_more(names, chosen):
    """Else over the largest; without windows not at all."""
    catalog = replace(CATALOG, live=tuple(map(live_window, names)))
    assert stage_window(catalog) == chosen
    stages = [
        group
        for group in rules(catalog, load_settings(None), Monitored())["groups"]
        if "stage" in group["name"]
    ]
    assert len(stages) == (chosen is not None)


def test_without_a_ces_mean_or_a_stage_there_is_no_effort_of_a_stage():
    """Net ease, CSAT and NPS have no effort index."""
    without_mean = {name: one for name, one in CATALOG.questions.items() if not one.is_ces_mean}
    for catalog in (
        replace(CATALOG, live=(HOUR,), questions=without_mean),
        replace(CATALOG, live=(HOUR,), touchpoints={}),
    ):
        groups = rules(catalog, load_settings(None), Monitored())["groups"]
        assert "effortstream-stages" not in {group["name"] for group in groups}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("abc:#- {", max_size=5), inner, max_size=4)
        ),
        max_leaves=8,
    )
)
def test_what_is_written_as_yaml_is_read_back_the_same(value):
    """Whatever a text looks like: a number, a truth value, a comment, a block."""
    document = {"value": value, "block": "a:\n  # b\nc\n"}
    assert from_yaml(to_yaml(document, "heading\n\nof lines")) == document


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_text_ends_where_it_should(text):
    """No quote inside of it ends it early, and it has no line break."""
    inside = quoted(text)[1:-1].replace("\\\\", "").replace('\\"', "")
    assert '"' not in inside
    assert "\n" not in inside
    assert "{{" not in literal(text).replace('{{ "{{" }}', "")


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``effortstream prometheus`` in a folder with a small configuration."""
    (folder / "effortstream.toml").write_text(CONFIGURATION, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-P", "-m", "app", "prometheus", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_writes_rules_to_standard_output_or_a_file(tmp_path):
    """Nothing but the rules goes to standard output."""
    shown = command(tmp_path, "rules")
    assert shown.returncode == 0, shown.stderr
    written = command(tmp_path, "rules", "--out", "rules.yml")
    assert (written.returncode, written.stdout) == (0, "")
    assert (tmp_path / "rules.yml").read_text(encoding="utf-8") == shown.stdout
    names = {rule.get("alert") for group in from_yaml(shown.stdout)["groups"] for rule in group["rules"]}
    assert "EffortRising" in names


def test_a_place_that_cannot_be_written_is_a_message_and_status_1(tmp_path):
    """It names the file and the remedy, without a traceback."""
    done = command(tmp_path, "rules", "--out", "missing/rules.yml")
    assert done.returncode == 1
    assert (
        done.stderr
        == "effortstream: missing/rules.yml cannot be written: No such file or directory. Give another place with --out\n"
    )


def test_rising_rules_share_one_name_whatever_their_id():
    """So one runbook serves them all."""
    found = made(RisingRule("a", Severity.WARNING), RisingRule("b", Severity.CRITICAL))
    assert len(alerts_named(found, "EffortRising")) == 2
