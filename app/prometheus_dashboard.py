"""The dashboard for Grafana as code: rows Now, Scores, Alerts, Stream and Process over the recorded series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from app.prometheus_panels import SOURCE, Panel, placed
from app.prometheus_pipeline import EVENTS, LAG, TOPIC_LAG, WATERMARK
from app.prometheus_scores import STAGE_EFFORT, STATE, stage_window

if TYPE_CHECKING:
    from app.prometheus_names import Monitored
    from scoring.catalog import Catalog

UID: Final = "effortstream"
HIGH_EFFORT: Final = 50
_CHOSEN: Final = 'touchpoint=~"$touchpoint", window="$window"'
_TOUCHPOINT: Final = "{{touchpoint}} ({{question}})"


def dashboard(catalog: Catalog, monitored: Monitored) -> dict[str, Any]:
    """The dashboard as Grafana imports it.

    Args:
        catalog: gives the window that is shown first.
        monitored: how Prometheus calls the jobs.
    """
    window = stage_window(catalog) or "1h"
    rows = {
        "Now": _now(monitored),
        "Scores": _scores(monitored),
        "Alerts": _alerts(monitored),
        "Stream": _stream(monitored),
        "Process": _process(monitored),
    }
    return {
        "uid": UID,
        "title": "Customer effort",
        "tags": ["effortstream"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "graphTooltip": 1,
        "templating": {"list": _variables(window, monitored)},
        "panels": placed(rows),
    }


def _variables(window: str, monitored: Monitored) -> list[dict[str, Any]]:
    series = f"touchpoint:effortstream_score_responses:max{{{monitored.serve}}}"
    chosen = {"type": "query", "datasource": SOURCE, "refresh": 2, "sort": 1}
    return [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        chosen
        | {
            "name": "touchpoint",
            "label": "Touchpoint",
            "query": f"label_values({series}, touchpoint)",
            "multi": True,
            "includeAll": True,
            "current": {"text": "All", "value": "$__all"},
        },
        chosen
        | {
            "name": "window",
            "label": "Window",
            "query": f"label_values({series}, window)",
            "current": {"text": window, "value": window},
        },
    ]


def _now(monitored: Monitored) -> list[Panel]:
    def firing(chosen: str) -> list[tuple[str, str]]:
        return [(f'count(ALERTS{{alertstate="firing", {chosen}}}) or vector(0)', "")]

    return [
        Panel("Critical alerts", firing('scope=~"touchpoint|stage", severity="critical"'), "stat", 4, high=1),
        Panel("Warnings", firing('scope=~"touchpoint|stage", severity="warning"'), "stat", 4, high=1),
        Panel("Pipeline alerts", firing('scope="pipeline"'), "stat", 4, high=1),
        Panel("Records waiting", [(f"sum({TOPIC_LAG}{{{monitored.worker}}})", "")], "stat", 4),
        Panel(
            "Answers in the window",
            [(f"sum(touchpoint:effortstream_score_responses:max{{{monitored.serve}, {_CHOSEN}}})", "")],
            "stat",
            4,
        ),
        Panel(
            "Event time behind",
            [(f"time() - min({WATERMARK}{{{monitored.worker}}})", "")],
            "stat",
            4,
            "s",
            "Of the slowest partition; large where a partition has no events.",
        ),
        Panel(
            "Hardest touchpoints (effort index)",
            [
                (
                    f"topk(12, touchpoint:effortstream_effort_index:max{{{monitored.serve}, {_CHOSEN}}})",
                    _TOUCHPOINT,
                )
            ],
            "bargauge",
            12,
            low=0,
            high=HIGH_EFFORT,
            options={"options": {"orientation": "horizontal", "displayMode": "basic"}},
        ),
        Panel(
            "Effort of each journey stage (effort index)",
            [(f'{STAGE_EFFORT}{{{monitored.serve}, window="$window"}}', "{{journey_stage}}")],
            "bargauge",
            12,
            low=0,
            high=HIGH_EFFORT,
            options={"options": {"orientation": "horizontal", "displayMode": "basic"}},
        ),
    ]


def _bounded(name: str, monitored: Monitored) -> list[tuple[str, str]]:
    """A score and its confidence bounds."""
    legends = (
        ("", _TOUCHPOINT),
        ("_lower_bound", f"{_TOUCHPOINT} lower"),
        ("_upper_bound", f"{_TOUCHPOINT} upper"),
    )
    return [
        (f"touchpoint:{name}{bound}:max{{{monitored.serve}, {_CHOSEN}}}", legend) for bound, legend in legends
    ]


def _scores(monitored: Monitored) -> list[Panel]:
    serve = f"{monitored.serve}, {_CHOSEN}"
    return [
        Panel(
            "Effort index (0 effortless, 100 hardest)",
            _bounded("effortstream_effort_index", monitored),
            width=12,
            low=0,
            high=HIGH_EFFORT,
            about="Thin lines are confidence bounds. 50 is where high effort begins.",
        ),
        Panel("CES mean, on each question's scale", _bounded("effortstream_ces_mean", monitored), width=12),
        Panel(
            "CSAT: satisfied", _bounded("effortstream_csat_satisfied_ratio", monitored), unit="percentunit"
        ),
        Panel("NPS", _bounded("effortstream_nps_score", monitored)),
        Panel("Net ease", _bounded("effortstream_ces_net_ease", monitored)),
        Panel("Low effort", _bounded("effortstream_low_effort_ratio", monitored), unit="percentunit"),
        Panel("Answers (n)", [(f"touchpoint:effortstream_score_responses:max{{{serve}}}", _TOUCHPOINT)]),
        Panel(
            "Answers per interaction",
            [(f"touchpoint:effortstream_response_ratio:max{{{serve}}}", _TOUCHPOINT)],
            unit="percentunit",
        ),
        Panel("Interactions", [(f"touchpoint:effortstream_interactions:max{{{serve}}}", "{{touchpoint}}")]),
    ]


def _alerts(monitored: Monitored) -> list[Panel]:
    decided = f'{STATE}{{{monitored.serve}, touchpoint=~"$touchpoint"}} > 0'
    paged = 'ALERTS{alertstate="firing", scope=~"touchpoint|stage|pipeline|mute"}'
    standing = f"time() - effortstream_alert_since_timestamp_seconds{{{monitored.serve}}}"
    return [
        Panel(
            "What the engine decided (1 pending, 2 firing)",
            [(decided, "{{rule}} at {{touchpoint}} ({{question}})")],
            "state-timeline",
            24,
            options={"options": {"showValue": "never", "mergeValues": True}},
        ),
        Panel(
            "What Prometheus pages about",
            [(paged, "{{alertname}} {{touchpoint}}{{journey_stage}} {{topic}}")],
            "state-timeline",
            16,
            options={"options": {"showValue": "never", "mergeValues": True}},
        ),
        Panel(
            "Standing for",
            [(standing, "{{rule}} at {{touchpoint}}")],
            unit="s",
        ),
    ]


def _stream(monitored: Monitored) -> list[Panel]:
    worker = monitored.worker
    refused = f"sum by (topic, reason) (rate(effortstream_dead_letters_total{{{worker}}}[5m]))"
    buckets = f"sum by (le) (rate(effortstream_checkpoint_duration_seconds_bucket{{{worker}}}[5m]))"
    return [
        Panel("Events by outcome", [(f"{EVENTS}{{{worker}}}", "{{topic}} {{outcome}}")], unit="reqps"),
        Panel(
            "Refused records by reason",
            [(refused, "{{topic}} {{reason}}")],
            unit="reqps",
        ),
        Panel(
            "Records written",
            [(f"sum by (topic) (rate(effortstream_output_records_total{{{worker}}}[5m]))", "{{topic}}")],
            unit="reqps",
        ),
        Panel("Records waiting", [(f"{LAG}{{{worker}}}", "{{topic}}[{{partition}}]")]),
        Panel(
            "Event time behind",
            [(f"time() - {WATERMARK}{{{worker}}}", "{{topic}}[{{partition}}]")],
            unit="s",
            about="A line that rises with the clock is a partition that stands still, or has no events.",
        ),
        Panel(
            "Checkpoint duration",
            [(f"histogram_quantile({q}, {buckets})", f"{q:g}") for q in (0.5, 0.9, 0.99)],
            unit="s",
        ),
        Panel(
            "Lost, late for their window, unkeyed",
            [
                (f"sum by (job) (rate({name}{{{worker}}}[5m]))", name)
                for name in (
                    "effortstream_lost_records_total",
                    "effortstream_beyond_retention_total",
                    "effortstream_unkeyed_records_total",
                )
            ],
            unit="reqps",
        ),
        Panel(
            "Assignments of partitions",
            [(f"increase(effortstream_rebalances_total{{{worker}}}[5m])", "{{instance}}")],
        ),
        Panel("Records to restore", [(f"effortstream_restoring_records{{{worker}}}", "{{instance}}")]),
    ]


def _process(monitored: Monitored) -> list[Panel]:
    jobs = f'job=~"{monitored.worker_job}|{monitored.serve_job}"'
    versions = f"count by (job, version) (effortstream_build_info{{{jobs}}})"
    return [
        Panel("Up", [(f"up{{{jobs}}}", "{{job}} {{instance}}")], low=0),
        Panel(
            "CPU", [(f"rate(process_cpu_seconds_total{{{jobs}}}[5m])", "{{instance}}")], unit="percentunit"
        ),
        Panel("Memory", [(f"process_resident_memory_bytes{{{jobs}}}", "{{instance}}")], unit="bytes"),
        Panel("State held", [(f"sum by (state) (effortstream_series{{{monitored.worker}}})", "{{state}}")]),
        Panel(
            "Response ledger",
            [(f"sum(effortstream_ledger_bytes{{{monitored.worker}}})", "bytes")],
            unit="bytes",
        ),
        Panel(
            "Held by serve",
            [(f"effortstream_read_model_series{{{monitored.serve}}}", "{{instance}} {{topic}}")],
        ),
        Panel("Versions", [(versions, "{{job}} {{version}}")], "stat", 24),
    ]
