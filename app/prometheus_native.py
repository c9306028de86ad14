"""Prometheus and Alertmanager as programs of this machine: their configurations and command lines, for short runs."""

from __future__ import annotations

import copy
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.processes import HOST, free_port
from app.prometheus_names import Monitored
from app.prometheus_yaml import from_yaml, to_yaml
from scoring.errors import EffortStreamError

DEBIAN = "apt-get install prometheus prometheus-alertmanager"
ALERTMANAGERS = ("prometheus-alertmanager", "alertmanager")
PROMETHEUS_PORT, ALERTMANAGER_PORT = 9090, 9093
ALERTMANAGER_CONFIG = Path("alertmanager", "alertmanager.yml")


class ProgramMissing(EffortStreamError, LookupError):  # noqa: N818 - a state of the machine, told to the user
    """Prometheus or Alertmanager is not installed here."""


class ConfigurationMissing(EffortStreamError, OSError):  # noqa: N818 - a state of the machine, told to the user
    """The folder that was named holds no configuration of Alertmanager."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the two are."""

    prometheus: str
    alertmanager: str


def programs() -> Programs:
    """The programs of this machine.

    Raises:
        ProgramMissing: with how to get them.
    """
    prometheus = shutil.which("prometheus")
    alertmanager = next(filter(None, map(shutil.which, ALERTMANAGERS)), None)
    wanted = {"prometheus": prometheus, "prometheus-alertmanager (or alertmanager)": alertmanager}
    missing = [name for name, found in wanted.items() if found is None]
    if prometheus is None or alertmanager is None:
        raise ProgramMissing(
            f"{' and '.join(missing)} not found in PATH. On Debian and Ubuntu: {DEBIAN} "
            "(both start as services, which need not run: systemctl disable --now prometheus prometheus-alertmanager)"
        )
    return Programs(prometheus, alertmanager)


@dataclass(frozen=True, slots=True)
class Station:
    """A Prometheus and an Alertmanager with everything they write in one folder.

    Attributes:
        folder: exists, and is theirs.
        prometheus_port, alertmanager_port: of 127.0.0.1.
        interval_s: between scrapes, and between evaluations of the rules.
    """

    folder: Path
    prometheus_port: int
    alertmanager_port: int
    interval_s: int = 1

    @property
    def prometheus(self) -> str:
        """Where Prometheus is reached."""
        return f"http://{HOST}:{self.prometheus_port}"

    @property
    def alertmanager(self) -> str:
        """Where Alertmanager is reached."""
        return f"http://{HOST}:{self.alertmanager_port}"

    def told(self) -> str:
        """Where to look, in one line."""
        return (
            f"Prometheus {self.prometheus}/alerts  Alertmanager {self.alertmanager}/ "
            f"(its alerts as JSON: {self.alertmanager}/api/v2/alerts)"
        )

    def write(
        self, rules: str, targets: Mapping[str, Sequence[str]], alertmanager: Mapping[str, Any]
    ) -> None:
        """Writes their configurations.

        Args:
            rules: the rule file.
            targets: HOST:PORT of what is scraped, by job.
            alertmanager: the configuration of Alertmanager.
        """
        self._rules.write_text(rules, encoding="utf-8")
        self._prometheus_config.write_text(to_yaml(self._prometheus(targets)), encoding="utf-8")
        self._alertmanager_config.write_text(to_yaml(dict(alertmanager)), encoding="utf-8")

    def commands(self, found: Programs) -> dict[str, list[str]]:
        """The command line of each, by name."""
        return {
            "alertmanager": [
                found.alertmanager,
                f"--config.file={self._alertmanager_config}",
                f"--storage.path={self.folder / 'alertmanager'}",
                f"--web.listen-address={HOST}:{self.alertmanager_port}",
                f"--web.external-url={self.alertmanager}",
                "--cluster.listen-address=",  # alone
            ],
            "prometheus": [
                found.prometheus,
                f"--config.file={self._prometheus_config}",
                f"--storage.tsdb.path={self.folder / 'prometheus'}",
                f"--web.listen-address={HOST}:{self.prometheus_port}",
                f"--web.external-url={self.prometheus}",
            ],
        }

    def _prometheus(self, targets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        return {
            "global": {
                "scrape_interval": f"{self.interval_s}s",
                "evaluation_interval": f"{self.interval_s}s",
            },
            "rule_files": [str(self._rules)],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": [f"{HOST}:{self.alertmanager_port}"]}]}]
            },
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
                for job, addresses in targets.items()
            ],
        }

    @property
    def _rules(self) -> Path:
        return self.folder / "rules.yml"

    @property
    def _prometheus_config(self) -> Path:
        return self.folder / "prometheus.yml"

    @property
    def _alertmanager_config(self) -> Path:
        return self.folder / "alertmanager.yml"


def check_monitoring(deploy: Path) -> None:
    """Refuses what Prometheus and Alertmanager could not run with, before anything is started.

    Raises:
        ProgramMissing: one of them is not installed.
        ConfigurationMissing: the folder has no configuration of Alertmanager.
    """
    programs()
    _shipped(deploy)


def beside(deploy: Path, folder: Path, rules: str, targets: Mapping[str, Sequence[str]]) -> Station:
    """A Prometheus and an Alertmanager for a run on this machine, written and not yet started.

    They listen where they always do, or on free ports where others do. Receivers that have a webhook get none.

    Args:
        deploy: the folder with the shipped configuration.
        folder: what they write goes below it.
        rules: the rule file.
        targets: HOST:PORT of what is scraped, by job.
    """
    own = folder / "monitoring"
    own.mkdir()
    station = Station(own, _port(PROMETHEUS_PORT), _port(ALERTMANAGER_PORT))
    station.write(rules, targets, alertmanager_config(_shipped(deploy)))
    return station


def _shipped(deploy: Path) -> dict[str, Any]:
    file = deploy / ALERTMANAGER_CONFIG
    try:
        shipped: dict[str, Any] = from_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationMissing(
            f"{file} cannot be read: {error.strerror}. Name the folder deploy of the repository"
        ) from error
    return shipped


def _port(usual: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, usual))
        except OSError:
            return free_port()
    return usual


def jobs(monitored: Monitored, worker_port: int, serve_port: int) -> dict[str, list[str]]:
    """The targets of a worker and a serve on this machine."""
    return {
        monitored.worker_job: [f"{HOST}:{worker_port}"],
        monitored.serve_job: [f"{HOST}:{serve_port}"],
    }


def alertmanager_config(
    shipped: Mapping[str, Any], webhook: str | None = None, wait_s: int = 2
) -> dict[str, Any]:
    """A configuration with the same routes and inhibition for a short run.

    Args:
        shipped: what is to be followed.
        webhook: where all receivers that have a webhook send to, with their name as the path; None: nowhere, so that
            alerts are only to be seen.
        wait_s: how long Alertmanager collects before it notifies, in place of half a minute to five.

    Example:
        >>> config = {"route": {"receiver": "a"}, "receivers": [{"name": "a", "webhook_configs": [{"url": "u"}]}]}
        >>> alertmanager_config(config)["receivers"]
        [{'name': 'a'}]
        >>> alertmanager_config(config, "http://127.0.0.1:9000")["receivers"][0]["webhook_configs"]
        [{'url': 'http://127.0.0.1:9000/a'}]
    """
    out = copy.deepcopy(dict(shipped))
    routes = [out["route"]]
    while routes:
        route = routes.pop()
        route |= {"group_wait": f"{wait_s}s", "group_interval": f"{wait_s}s"}
        routes += route.get("routes", [])
    for receiver in out["receivers"]:
        if webhook is None:
            receiver.pop("webhook_configs", None)
        for hook in receiver.get("webhook_configs", []):
            hook["url"] = f"{webhook}/{receiver['name']}"
    return out
