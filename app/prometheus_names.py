"""How the rules for Prometheus name things, and the shape of a rule: what each of their parts has in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scoring.alerts.rules import Kind

RUNBOOKS = "deploy/runbooks"
ALERT_NAMES = {
    Kind.THRESHOLD: "ScoreBeyondThreshold",
    Kind.RISING: "EffortRising",
    Kind.CHANGE: "ScoreWorsened",
    Kind.SILENT: "TouchpointSilent",
    Kind.STALE: "AnswersOutdated",
    Kind.BUDGET: "EffortBudgetBurning",
}
"""One alert name, and so one runbook, for each kind of rule; the label ``rule`` says which rule it is."""


@dataclass(frozen=True, slots=True)
class Monitored:
    """The deployment that the rules watch.

    Attributes:
        deployment: a label of every alert, so that one Alertmanager can serve several deployments.
        worker_job, serve_job: names of the jobs under which Prometheus scrapes them.
        runbooks: where the shipped runbooks are, a URL or a folder, without the last slash.
    """

    deployment: str = "effort"
    worker_job: str = "effortstream-worker"
    serve_job: str = "effortstream-serve"
    runbooks: str = RUNBOOKS

    @property
    def worker(self) -> str:
        """The matcher of a worker's series."""
        return f"job={quoted(self.worker_job)}"

    @property
    def serve(self) -> str:
        """The matcher of a serve's series."""
        return f"job={quoted(self.serve_job)}"

    def runbook(self, alert: str) -> str:
        """The shipped runbook of an alert."""
        return f"{self.runbooks}/{alert}.md"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule.

    Attributes:
        name: CamelCase; its runbook has this name.
        expr: fires for each series of its result.
        scope: which part of the whole it is about: touchpoint, stage, pipeline, mute or watchdog.
        summary, description: for whoever is paged; templates of Prometheus.
        severity: None where the series brings its own.
        for_: how long it must hold, as Prometheus writes it; empty fires at once.
        keep: how long it goes on firing after its end.
        labels: others.
        runbook: of its own; None takes the shipped one.
    """

    name: str
    expr: str
    scope: str
    summary: str
    description: str
    severity: str | None = None
    for_: str = ""
    keep: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    runbook: str | None = None

    def rule(self, monitored: Monitored) -> dict[str, Any]:
        """As it stands in a rule file."""
        out: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.for_:
            out["for"] = self.for_
        if self.keep:
            out["keep_firing_for"] = self.keep
        labels = {"severity": self.severity} if self.severity else {}
        labels |= {"scope": self.scope, "deployment": literal(monitored.deployment)} | self.labels
        return out | {
            "labels": labels,
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": literal(self.runbook or monitored.runbook(self.name)),
            },
        }


def record(name: str, expr: str) -> dict[str, Any]:
    """A recording rule."""
    return {"record": name, "expr": expr}


def quoted(text: str) -> str:
    r"""A text as PromQL writes it.

    Example:
        >>> print(quoted('call "centre"'))
        "call \"centre\""
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def literal(text: str) -> str:
    """A text in which nothing is a template of Prometheus.

    Example:
        >>> literal("a {{ b }}")
        'a {{ "{{" }} b }}'
    """
    return text.replace("{{", '{{ "{{" }}')
