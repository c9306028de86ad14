"""Whoever is paged finds what to do: every alert has its texts and a runbook with the same four headings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.config import load_config
from app.prometheus_names import ALERT_NAMES, RUNBOOKS, Monitored
from app.prometheus_rules import rules
from app.settings import load_settings
from scoring.alerts.rules import Kind

ROOT = Path(__file__).parents[2]
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]


def alerts() -> list[dict]:
    """Every alerting rule of the repository's own configuration, which has a rule of each kind."""
    config = load_config(ROOT / "effortstream.toml")
    made = rules(config.catalog, load_settings(config), Monitored())
    return [rule for group in made["groups"] for rule in group["rules"] if "alert" in rule]


def test_the_repositorys_rules_lead_to_an_alert_of_every_kind():
    """So the checks below leave none out."""
    assert {rule["alert"] for rule in alerts()} >= {ALERT_NAMES[kind] for kind in Kind}


def test_every_alert_says_what_where_and_where_to_read_on():
    """Summary, description and link; scope and deployment for Alertmanager; severity of its own or of the series."""
    for rule in alerts():
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, rule["alert"]
        assert all(rule["annotations"].values()), rule["alert"]
        assert {"scope", "deployment"} <= set(rule["labels"]), rule["alert"]
        assert ("severity" in rule["labels"]) is (rule["labels"]["scope"] not in {"touchpoint", "mute"})


@pytest.mark.parametrize("name", sorted({rule["alert"] for rule in alerts()} | set(ALERT_NAMES.values())))
def test_an_alert_has_a_runbook_with_four_headings_and_something_below_each(name):
    """Meaning, Impact, Diagnosis, Mitigation; the title is the alert's name."""
    text = (ROOT / RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    assert parts[1::2] == HEADINGS
    assert all(len(body.strip()) > 20 for body in parts[2::2])


def test_no_runbook_is_left_over():
    """A runbook of an alert that no longer exists would mislead."""
    named = {rule["alert"] for rule in alerts()} | set(ALERT_NAMES.values())
    assert {file.stem for file in (ROOT / RUNBOOKS).glob("*.md")} == named


def test_runbook_links_lead_to_these_files():
    """Where a rule brings none of its own."""
    for rule in alerts():
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOKS}/{rule['alert']}.md"


def test_commands_in_runbooks_exist():
    """Nobody learns at night that a command was renamed."""
    from app.__main__ import COMMANDS, imported  # noqa: PLC0415 - brings typer with it

    for file in (ROOT / RUNBOOKS).glob("*.md"):
        for name, sub in re.findall(r"effortstream (\w+)(?: (\w+))?", file.read_text(encoding="utf-8")):
            assert name in COMMANDS, f"{file.name}: effortstream {name}"
            commands = getattr(imported(name), "commands", None)
            assert commands is None or sub in commands, f"{file.name}: effortstream {name} {sub}"
