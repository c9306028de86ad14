"""The rules, the dashboard and the routes against the real tools, and against what worker and serve really export."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agents.topics import RESPONSES, Topics
from app.config import load_config
from app.demo_processes import Children
from app.processes import HOST, free_port
from app.prometheus_dashboard import dashboard
from app.prometheus_names import Monitored
from app.prometheus_native import DEBIAN
from app.prometheus_rules import rules, rules_text
from app.prometheus_yaml import from_yaml
from app.settings import load_settings
from app.topics import create_topics
from tests.pipeline import produce
from tests.servers import without

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules" / "effortstream.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "effortstream.json"
TESTS = sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))
ALERTMANAGER = DEPLOY / "alertmanager"
DEADLINE_S = 60.0
# Alerts that are no trouble and never end, or whose end is not theirs
ALWAYS = {"EffortstreamWatchdog"}


def run(tool: str, *arguments: str, stdin: str | None = None, folder: Path = ROOT) -> str:
    """Runs promtool or amtool; what it says. The test fails where it complains and is skipped where it is missing."""
    if shutil.which(tool) is None:
        without(f"no {tool}: {DEBIAN}")
    done = subprocess.run(
        [tool, *arguments], input=stdin, text=True, capture_output=True, timeout=60, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def made_rules() -> str:
    """The rule file of the repository's configuration."""
    config = load_config(ROOT / "effortstream.toml")
    return rules_text(config.catalog, load_settings(config), Monitored())


# -- Prometheus ----------------------------------------------------------------------------------------------------


def test_the_committed_rules_are_those_of_the_configuration():
    """Whoever changes effortstream.toml makes them anew."""
    remedy = f"effortstream prometheus rules --out {RULES.relative_to(ROOT)}"
    assert RULES.read_text(encoding="utf-8") == made_rules(), f"they differ; make them anew: {remedy}"


def test_the_committed_dashboard_is_the_made_one():
    """Dashboards are code."""
    made = (
        json.dumps(dashboard(load_config(ROOT / "effortstream.toml").catalog, Monitored()), indent=2) + "\n"
    )
    remedy = f"effortstream prometheus dashboard --out {DASHBOARD.relative_to(ROOT)}"
    assert DASHBOARD.read_text(encoding="utf-8") == made, f"they differ; make it anew: {remedy}"


def test_promtool_has_nothing_to_complain_about():
    """Neither about the rules nor about the configuration of the containers' Prometheus."""
    assert "SUCCESS" in run("promtool", "check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    run("promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))


def test_promtool_accepts_rules_of_a_configuration_that_has_almost_nothing(tmp_path):
    """One question, no stage, no alert, no window: the checks of the pipeline remain."""
    file = tmp_path / "effortstream.toml"
    file.write_text('[questions.q]\nmetric = "nps"\n[windows]\nlive = []\n', encoding="utf-8")
    config = load_config(file)
    text = rules_text(config.catalog, load_settings(config), Monitored())
    names = {rule.get("alert") for group in from_yaml(text)["groups"] for rule in group["rules"]}
    assert "EffortstreamWorkerDown" in names
    assert not names & {"StageEffortHigh", "EffortstreamAlertMuted"}
    out = tmp_path / "rules.yml"
    out.write_text(text, encoding="utf-8")
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", str(out))


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_rules_fire_and_clear_as_their_tests_say(file):
    """What promtool test rules says."""
    run("promtool", "test", "rules", file.name, folder=file.parent)


def test_every_alert_is_seen_to_fire_and_then_to_clear():
    """In promtool's tests: once with a result and later, in the same test, without."""
    cleared = set()
    for file in TESTS:
        for test in from_yaml(file.read_text(encoding="utf-8"))["tests"]:
            fired = set()
            for case in sorted(
                test.get("promql_expr_test", []), key=lambda case: _minutes(case["eval_time"])
            ):
                names = re.findall(r'alertname="(\w+)", alertstate="firing"', case["expr"])
                if case["exp_samples"]:
                    fired.update(names)
                else:
                    cleared |= fired & set(names)
    config = load_config(ROOT / "effortstream.toml")
    made = rules(config.catalog, load_settings(config), Monitored())
    alerts = {rule["alert"] for group in made["groups"] for rule in group["rules"] if "alert" in rule}
    assert cleared == alerts - ALWAYS


def _minutes(text: str) -> int:
    return int(text.removesuffix("m"))


# -- what is really exported ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """/metrics of a worker and of a serve, with an answer counted and one refused."""
    from tests.conftest import running_embedded  # noqa: PLC0415 - fixtures of a module outlive those of a test

    folder = tmp_path_factory.mktemp("exposed")
    with running_embedded() as broker:
        yield asyncio.run(_expose(broker, folder))


async def _expose(broker: str, folder: Path) -> dict[str, str]:
    file = ROOT / "effortstream.toml"
    prefix = f"m{uuid.uuid4().hex[:8]}."
    config = load_config(file)
    settings = load_settings(config, broker=broker, prefix=prefix)
    await create_topics(settings, print)
    answer = {"response_id": "r", "question": "checkout-effort", "rating": 5, "customer_id": "c"}
    records = [(b"c", json.dumps(answer).encode()), (b"c", b"{nope")]
    await produce(broker, Topics(prefix, settings.group)(RESPONSES), iter(records), idempotent=False)
    ports = {"worker": free_port(), "serve": free_port()}
    common = ["--config", str(file), "--broker", broker]
    async with Children(folder, {"EFFORTSTREAM_PREFIX": prefix}) as children:
        port = str(ports["worker"])
        children.start("worker", [*common, "--allow-non-transactional", "--metrics-port", port])
        children.start("serve", [*common, "--port", str(ports["serve"])])
        async with httpx.AsyncClient(timeout=10) as client:
            deadline = time.monotonic() + DEADLINE_S
            while True:
                with contextlib.suppress(httpx.TransportError):
                    texts = {
                        name: (await client.get(f"http://{HOST}:{port}/metrics")).text
                        for name, port in ports.items()
                    }
                    counted = 'outcome="dead_letter",topic="' in texts["worker"]
                    if counted and "effortstream_ces_mean{" in texts["serve"]:
                        return texts
                assert time.monotonic() < deadline, children.log("worker").read_text(encoding="utf-8")[-2000:]
                await asyncio.sleep(0.1)


@pytest.mark.embedded
@pytest.mark.parametrize("program", ["worker", "serve"])
def test_promtool_finds_nothing_wrong_with_the_live_metrics(exposed, program):
    """Names, units, types and help, of a process that has something to tell."""
    assert run("promtool", "check", "metrics", stdin=exposed[program]) == ""


def names_of(text: str) -> set[str]:
    """Every sample name that an exposition can have, those of families without a sample too."""
    out = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, flags=re.MULTILINE):
        out |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return out


@pytest.mark.embedded
def test_every_metric_in_rules_and_dashboard_is_exported_by_the_program_that_it_is_asked_of(exposed):
    """A renamed metric would leave a rule that never fires; a recorded series is one that the rules record."""
    exported = {program: names_of(text) for program, text in exposed.items()}
    made = from_yaml(RULES.read_text(encoding="utf-8"))
    listed = [rule for group in made["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in listed if "record" in rule}
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    queries = [rule["expr"] for rule in listed]
    queries += [target["expr"] for panel in panels for target in panel.get("targets", [])]
    seen = set()
    for query in queries:
        for name, matchers in re.findall(r"([A-Za-z_:][\w:]*)(?:\{([^}]*)\})?", query):
            if ":" in name:
                assert name in recorded, f"{name} is recorded by no rule: {query}"
            elif name.startswith(("effortstream_", "process_")):
                job = re.search(r'job=~?"([^"]+)"', matchers or "")
                assert job is not None, f"{name} is asked of every job: {query}"
                for program in job[1].split("|"):
                    assert name in exported[program.removeprefix("effortstream-")], f"{program} has no {name}"
                seen.add(name)
    assert len(seen) > 30


# -- Alertmanager --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted(ALERTMANAGER.glob("*.yml")), ids=lambda file: file.stem)
def test_amtool_accepts_the_configuration_and_the_examples_of_receivers(file):
    """What amtool check-config says."""
    assert "SUCCESS" in run("amtool", "check-config", str(file))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=ScoreBeyondThreshold scope=touchpoint severity=critical", "page"),
        ("alertname=EffortRising scope=touchpoint severity=warning", "team"),
        ("alertname=StageEffortHigh scope=stage severity=critical", "page"),
        ("alertname=EffortstreamWorkerDown scope=pipeline severity=critical", "page"),
        ("alertname=EffortstreamDeadLettersHigh scope=pipeline severity=warning", "team"),
        ("alertname=EffortstreamWatchdog scope=watchdog severity=none", "watchdog"),
        ("alertname=EffortstreamAlertMuted scope=mute severity=critical", "nobody"),
        ("alertname=SomethingElse", "team"),
    ],
)
def test_an_alert_goes_to_whom_it_concerns(labels, receiver):
    """By amtool config routes test; what nobody has thought of reaches the team."""
    config = str(ALERTMANAGER / "alertmanager.yml")
    arguments = ["config", "routes", "test", f"--config.file={config}", f"--verify.receivers={receiver}"]
    run("amtool", *arguments, "deployment=effort", *labels.split())


def test_the_examples_have_the_receivers_that_the_routes_name():
    """They can take the place of the shipped ones."""
    names = {
        file.stem: {one["name"] for one in from_yaml(file.read_text(encoding="utf-8"))["receivers"]}
        for file in ALERTMANAGER.glob("*.yml")
    }
    assert len(set(map(frozenset, names.values()))) == 1, names


def test_an_inhibition_asks_for_every_label_that_must_be_equal():
    """A label that is missing on both sides counts as equal: an alert without it would silence strangers."""
    allowed_missing = {"question", "journey_stage", "severity"}
    config = from_yaml((ALERTMANAGER / "alertmanager.yml").read_text(encoding="utf-8"))
    for rule in config["inhibit_rules"]:
        mutes = 'scope="mute"' in rule["source_matchers"]
        for label in set(rule["equal"]) - (allowed_missing if mutes else set()):
            for side in ("source_matchers", "target_matchers"):
                assert f'{label}=~".+"' in rule[side], (label, rule)
