"""docker-compose.yml and the Dockerfile: what they promise, as far as it can be seen without a container engine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.__main__ import COMMANDS
from app.prometheus_yaml import from_yaml
from app.settings import FIELDS

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
OURS = {"topics", "worker", "serve", "customers"}
THEIRS = {"kafka", "prometheus", "alertmanager", "grafana"}


def services() -> dict:
    """What runs."""
    return from_yaml(COMPOSE.read_text(encoding="utf-8"))["services"]


def compose() -> list[str] | None:
    """A compose command of this machine, or None."""
    for command in (["docker", "compose"], ["docker-compose"], ["podman-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, "version"], capture_output=True, timeout=60, check=False)
            if done.returncode == 0:
                return command
    return None


def test_compose_itself_accepts_the_file():
    """Where it is installed; the other tests look at the file without it."""
    command = compose()
    if command is None:
        pytest.skip("no docker compose on this machine")
    done = subprocess.run(
        [*command, "-f", str(COMPOSE), "config", "--quiet"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_everything_runs_that_is_promised():
    """The pipeline, and what watches it."""
    assert services().keys() == OURS | THEIRS


def test_every_image_is_pinned_and_named_in_the_readme():
    """No tag that moves."""
    readme = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    images = {one["image"] for name, one in services().items() if name in THEIRS}
    images |= set(re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    for image in images:
        assert re.search(r":v?\d+\.\d+\.\d+", image), image
        assert f"`{image}`" in readme, image


def test_our_containers_may_write_nothing_and_do_nothing_special():
    """Read-only, no capabilities, not root; only /tmp is there to be written."""
    for name in OURS:
        one = services()[name]
        assert one["read_only"] is True, name
        assert one["tmpfs"] == ["/tmp"]  # noqa: S108 - of the container
        assert one["cap_drop"] == ["ALL"]
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert one["command"][0] == ("simulate" if name == "customers" else name)
        assert one["command"][0] in COMMANDS
    users = re.findall(r"^USER (\S+)", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert users == ["10001:10001"]


def test_nothing_is_open_to_the_network():
    """Every published port is one of this machine alone."""
    for name, one in services().items():
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", [])), name


def test_the_files_that_containers_mount_exist():
    """A missing one would become an empty folder."""
    for one in services().values():
        for volume in one.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (ROOT / source).exists(), source


def test_every_setting_of_ours_is_one_that_exists():
    """A misspelt variable would be ignored."""
    text = COMPOSE.read_text(encoding="utf-8") + DOCKERFILE.read_text(encoding="utf-8")
    named = set(re.findall(r"EFFORTSTREAM_([A-Z_]+)(?=[:=] ?[^3\s])", text))
    assert named == {"BROKER", "HOST", "METRICS_HOST", "LOG_FORMAT"}
    assert {name.lower() for name in named} <= set(FIELDS)


def test_the_image_has_what_the_build_copies():
    """.dockerignore lets in each file that a COPY names."""
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names == allowed
    assert all((ROOT / name).exists() for name in names)


def test_prometheus_scrapes_the_ports_that_the_programs_listen_on():
    """Under the job names that the rules ask for."""
    config = from_yaml((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    found = {
        one["job_name"]: [(target["names"], target["port"]) for target in one.get("dns_sd_configs", [])]
        for one in config["scrape_configs"]
    }
    assert found["effortstream-worker"] == [(["worker"], 9464)]
    assert found["effortstream-serve"] == [(["serve"], 8080)]


def test_the_webhook_that_is_replaced_is_the_one_of_the_configuration():
    """Alertmanager reads no environment, so the container puts the address in."""
    (script,) = services()["alertmanager"]["command"]
    (replaced,) = re.findall(r"s\|(\S+?)\|", script)
    text = (ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")
    assert text.count(replaced) == 3
