"""Rules over scores: what the engine decided, as alerts, and effort over a whole stage of the journey.

Thresholds of a touchpoint are judged once, by the worker; Prometheus hears of it as effortstream_alert_state and pages.
A journey stage has no series of its own, so its rules are Prometheus' own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from app.cli.alert_tables import condition
from app.prometheus_names import ALERT_NAMES, Alert, Monitored, literal, quoted, record
from app.score_metrics import BOUNDS, SCORE_METRICS
from scoring.alerts.rules import Kind

if TYPE_CHECKING:
    from scoring.alerts.rules import Rule
    from scoring.catalog import Catalog

STATE = "rule:effortstream_alert_state:max"
MUTED = "rule:effortstream_alert_muted:max"
EFFORT = "touchpoint:effortstream_effort_index:max"
RESPONSES = "touchpoint:effortstream_score_responses:max"
STAGE_EFFORT = "journey_stage:effortstream_effort_index:mean"
STAGE_RESPONSES = "journey_stage:effortstream_score_responses:sum"
FIRING: Final = 2

# A serve that restarts exports nothing until it has read its topics. Its last word counts for so long: an alert that
# still stands must not be announced as over and then as new.
HOLD: Final = "5m"

# High effort begins at an index of 50 in the bands of every CES question. 60 answers hold a stage's index within about
# 10 points; a stage moves slowly, so it may take ten minutes to be sure.
STAGE_ENTER: Final = 50
STAGE_MIN_N: Final = 60
STAGE_FOR: Final = "10m"
STAGE_KEEP: Final = "15m"
STAGE_WINDOW_MS: Final = 3_600_000

PER_TOUCHPOINT = (
    *(f"{name}{suffix}" for name in SCORE_METRICS for suffix in ("", *BOUNDS)),
    "effortstream_score_responses",
    "effortstream_response_ratio",
    "effortstream_interactions",
)
_WHERE = "{{ $labels.touchpoint }}{{ with $labels.question }} ({{ . }}){{ end }}"
_SUMMARIES = {
    Kind.THRESHOLD: f"A score has crossed its level at {_WHERE}",
    Kind.RISING: f"Effort is higher than usual at {_WHERE}",
    Kind.CHANGE: f"A score is worse than in the period before at {_WHERE}",
    Kind.SILENT: f"Nothing comes in any more from {_WHERE}",
    Kind.STALE: f"A score stands on old answers at {_WHERE}",
    Kind.BUDGET: f"High-effort answers use up the budget at {_WHERE}",
}


def score_group(monitored: Monitored) -> dict[str, Any]:
    """Every score once, however many serves export it."""
    rules = [
        record(f"touchpoint:{name}:max", f"max without (instance, pod) ({name}{{{monitored.serve}}})")
        for name in PER_TOUCHPOINT
    ]
    return {"name": "effortstream-scores", "rules": rules}


def alert_group(catalog: Catalog, monitored: Monitored) -> dict[str, Any]:
    """The alerts of the configured rules, and the alert that keeps the muted ones quiet."""
    rules = [
        record(recorded, f"max without (instance, pod) (last_over_time({name}{{{monitored.serve}}}[{HOLD}]))")
        for recorded, name in ((STATE, "effortstream_alert_state"), (MUTED, "effortstream_alert_muted"))
    ]
    rules += [_engine_alert(rule, catalog, monitored).rule(monitored) for rule in catalog.alerts]
    if catalog.alerts:
        rules.append(_mute(monitored).rule(monitored))
    return {"name": "effortstream-alerts", "rules": rules}


def _engine_alert(rule: Rule, catalog: Catalog, monitored: Monitored) -> Alert:
    said = condition(rule, catalog)
    return Alert(
        name=ALERT_NAMES[rule.kind],
        expr=f"{STATE}{{{monitored.serve}, rule={quoted(rule.id)}}} == {FIRING}",
        scope="touchpoint",
        summary=_SUMMARIES[rule.kind],
        description=literal(f"Rule {rule.id}: {said}. ")
        + f"Evidence: effortstream alerts list --rule {rule.id}, then effortstream alerts show FINGERPRINT.",
        labels={"owner": literal(rule.owner)} if rule.owner else {},
        runbook=rule.runbook,
    )


def _mute(monitored: Monitored) -> Alert:
    return Alert(
        name="EffortstreamAlertMuted",
        # A serve that cannot be asked has no say: what was muted a moment ago stays so, like the alert itself
        expr=f"{MUTED}{{{monitored.serve}}} == 1",
        scope="mute",
        summary=f"The alert {{{{ $labels.rule }}}} is muted at {_WHERE}",
        description="A silence, an acknowledgement or a maintenance window mutes it. This alert notifies nobody; "
        "Alertmanager holds the muted one back while it fires.",
    )


def stage_window(catalog: Catalog) -> str | None:
    """The window of a stage's effort: the smallest of an hour or more, else the largest; None without windows."""
    windows = sorted(catalog.live, key=lambda window: window.size_ms)
    long = [window.name for window in windows if window.size_ms >= STAGE_WINDOW_MS]
    return long[0] if long else windows[-1].name if windows else None


def stage_group(catalog: Catalog, monitored: Monitored) -> dict[str, Any] | None:
    """Effort of whole stages, sum of n x effort index / sum of n; None where nothing that has one is declared."""
    window = stage_window(catalog)
    stages = {one.journey_stage for one in catalog.touchpoints.values()} - {None}
    if window is None or not stages or not any(one.is_ces_mean for one in catalog.questions.values()):
        return None
    chosen = f'{monitored.serve}, journey_stage!=""'
    by = "sum by (job, journey_stage, window)"
    # Only answers to questions that have an effort index: the others count nowhere in the mean
    effort, responses = f"{EFFORT}{{{chosen}}}", f"{RESPONSES}{{{chosen}}}"
    rules = [
        record(STAGE_RESPONSES, f"{by} ({responses} and {effort})"),
        record(STAGE_EFFORT, f"{by} ({responses} * {effort})\n  /\n{STAGE_RESPONSES}\n"),
        _stage_alert(window, monitored).rule(monitored),
    ]
    return {"name": "effortstream-stages", "rules": rules}


def _stage_alert(window: str, monitored: Monitored) -> Alert:
    chosen = f"{monitored.serve}, window={quoted(window)}"
    return Alert(
        name="StageEffortHigh",
        expr=f"{STAGE_EFFORT}{{{chosen}}} >= {STAGE_ENTER}\nand\n{STAGE_RESPONSES}{{{chosen}}} >= {STAGE_MIN_N}\n",
        scope="stage",
        severity="critical",
        for_=STAGE_FOR,
        keep=STAGE_KEEP,
        summary="Effort is high in the journey stage {{ $labels.journey_stage }}",
        description='The effort index of the stage is {{ $value | printf "%.1f" }} of 100 over the last '
        f"{{{{ $labels.window }}}}, where {STAGE_ENTER} is high effort. "
        "Several touchpoints may share one cause.",
    )
