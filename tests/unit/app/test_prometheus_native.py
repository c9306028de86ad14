"""Prometheus and Alertmanager of this machine: what they are given, and what is said where they are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.prometheus_native import (
    ConfigurationMissing,
    ProgramMissing,
    Programs,
    Station,
    alertmanager_config,
    beside,
    check_monitoring,
    programs,
)
from app.prometheus_yaml import from_yaml

DEPLOY = Path(__file__).parents[3] / "deploy"


def program(folder: Path, name: str) -> str:
    """An executable of that name."""
    file = folder / name
    file.write_text("#!/bin/sh\n", encoding="utf-8")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize("name", ["prometheus-alertmanager", "alertmanager"])
def test_alertmanager_is_found_under_debians_name_and_its_own(tmp_path, monkeypatch, name):
    """Debian calls it prometheus-alertmanager."""
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = Programs(program(tmp_path, "prometheus"), program(tmp_path, name))
    assert programs() == expected


def test_what_is_missing_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    """Before anything is started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing) as both:
        check_monitoring(DEPLOY)
    assert str(both.value).startswith("prometheus and prometheus-alertmanager (or alertmanager) not found")
    assert "apt-get install prometheus prometheus-alertmanager" in str(both.value)
    program(tmp_path, "prometheus")
    with pytest.raises(ProgramMissing, match=r"^prometheus-alertmanager"):
        programs()


def test_a_folder_without_configuration_is_named(tmp_path, monkeypatch):
    """With the folder that has one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("prometheus", "alertmanager"):
        program(tmp_path, name)
    with pytest.raises(
        ConfigurationMissing, match=r"alertmanager\.yml cannot be read: .* Name the folder deploy"
    ):
        check_monitoring(tmp_path)


def test_a_short_run_has_the_shipped_routes_and_inhibition_with_short_waits():
    """What a test shows of them holds for the shipped file."""
    shipped = from_yaml((DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
    made = alertmanager_config(shipped, "http://127.0.0.1:9000", wait_s=1)
    assert made["inhibit_rules"] == shipped["inhibit_rules"]
    for short, long in zip(
        [made["route"], *made["route"]["routes"]],
        [shipped["route"], *shipped["route"]["routes"]],
        strict=True,
    ):
        assert (short["group_wait"], short["group_interval"]) == ("1s", "1s")
        assert (short["receiver"], short.get("matchers")) == (long["receiver"], long.get("matchers"))
    hooks = [hook["url"] for one in made["receivers"] for hook in one.get("webhook_configs", [])]
    assert hooks == [f"http://127.0.0.1:9000/{name}" for name in ("team", "page", "watchdog")]
    assert "127.0.0.1:9095" not in str(alertmanager_config(shipped))


def test_everything_listens_on_this_machine_alone_and_writes_into_its_folder(tmp_path):
    """Neither shows itself to the network."""
    station = Station(tmp_path, 19090, 19093)
    for command in station.commands(Programs("p", "a")).values():
        assert any(part.startswith("--web.listen-address=127.0.0.1:190") for part in command)
        assert all(str(tmp_path) in part for part in command if "path=" in part or "config.file=" in part)


def test_beside_the_demo_the_targets_and_rules_are_written(tmp_path):
    """As files of one folder, with no receiver that would send anything."""
    station = beside(DEPLOY, tmp_path, "groups: []\n", {"effortstream-serve": ["127.0.0.1:8080"]})
    config = from_yaml((station.folder / "prometheus.yml").read_text(encoding="utf-8"))
    assert config["scrape_configs"] == [
        {"job_name": "effortstream-serve", "static_configs": [{"targets": ["127.0.0.1:8080"]}]}
    ]
    assert Path(config["rule_files"][0]).read_text(encoding="utf-8") == "groups: []\n"
    receivers = from_yaml((station.folder / "alertmanager.yml").read_text(encoding="utf-8"))["receivers"]
    assert receivers == [{"name": name} for name in ("team", "page", "watchdog", "nobody")]
    assert station.prometheus in station.told()
