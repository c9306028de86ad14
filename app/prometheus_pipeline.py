"""Checks of the pipeline itself, independent of what the engine says: an engine that is ill cannot tell.

No expression compares event time with the clock of Prometheus: a backlog, a replay and the demo are hours behind and
well. What is asked is whether things move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agents.topics import INTERACTIONS, PARTIALS, RESPONSES, Topics
from app.prometheus_names import Alert, Monitored, literal, quoted, record

if TYPE_CHECKING:
    from app.settings import Settings

LAG = "partition:effortstream_consumer_lag_records:max"
TOPIC_LAG = "topic:effortstream_consumer_lag_records:sum"
WATERMARK = "partition:effortstream_watermark_timestamp_seconds:max"
EVENTS = "topic:effortstream_events:rate5m"
REFUSED = "topic:effortstream_dead_letters_per_event:ratio_rate10m"
UPDATED = "job:effortstream_score_updated_timestamp_seconds:max"

# A worker reads some hundred thousand records a second, so this many that do not become fewer are no burst
LAG_RECORDS: Final = 10_000
LAG_AHEAD_S: Final = 1_800
REFUSED_RATIO: Final = 0.01
REFUSED_MIN: Final = 20
CONTACT_S: Final = 120
CRITICAL, WARNING, NONE = "critical", "warning", "none"


def pipeline_group(settings: Settings, monitored: Monitored) -> dict[str, Any]:
    """What a worker and a serve export, each partition once, and the alerts on it."""
    alerts = [
        *_down(monitored),
        *_reading(monitored),
        *_unowned(settings, monitored),
        *_input(monitored),
        *_serving(monitored),
        _watchdog(),
    ]
    rules = [*_recorded(monitored), *(alert.rule(monitored) for alert in alerts)]
    return {"name": "effortstream-pipeline", "rules": rules}


def _recorded(monitored: Monitored) -> list[dict[str, Any]]:
    worker, serve = monitored.worker, monitored.serve
    # A partition that has just moved may be exported by two workers for one scrape: it counts once
    partition = "max without (instance, pod)"
    events = f"effortstream_events_total{{{worker}}}"
    refused = f'effortstream_events_total{{{worker}, outcome="dead_letter"}}'
    per_topic = "sum by (job, topic)"
    return [
        record(LAG, f"{partition} (effortstream_consumer_lag_records{{{worker}}})"),
        record(WATERMARK, f"{partition} (effortstream_watermark_timestamp_seconds{{{worker}}})"),
        record(TOPIC_LAG, f"{per_topic} ({LAG}{{{worker}}})"),
        record(EVENTS, f"sum by (job, topic, outcome) (rate({events}[5m]))"),
        record(REFUSED, f"{per_topic} (rate({refused}[10m]))\n  /\n{per_topic} (rate({events}[10m]))\n"),
        record(UPDATED, f"max by (job) (effortstream_score_updated_timestamp_seconds{{{serve}}})"),
    ]


def _down(monitored: Monitored) -> list[Alert]:
    programs = (
        (
            "EffortstreamWorkerDown",
            monitored.worker_job,
            "worker",
            "No answer is counted and no alert decided.",
        ),
        ("EffortstreamServeDown", monitored.serve_job, "serve", "Prometheus sees neither scores nor alerts."),
    )
    out = [
        Alert(
            name=name,
            # Nothing tells the job where there is no target at all, so the rule does
            expr=f"absent(up{{job={quoted(job)}}} == 1)",
            scope="pipeline",
            severity=CRITICAL,
            for_="2m",
            labels={"job": literal(job)},
            summary=f"No {program} of effortstream answers",
            description=f"Prometheus has reached none of the job {literal(job)} for 2 minutes. {meaning}",
        )
        for name, job, program, meaning in programs
    ]
    jobs = f"{monitored.worker_job}|{monitored.serve_job}"
    out.append(
        Alert(
            name="EffortstreamInstanceDown",
            expr=f"up{{job=~{quoted(jobs)}}} == 0",
            scope="pipeline",
            severity=WARNING,
            for_="5m",
            summary="{{ $labels.instance }} of {{ $labels.job }} does not answer",
            description="Prometheus could not scrape it for 5 minutes. Others of its job may have taken over its work.",
        )
    )
    return out


def _reading(monitored: Monitored) -> list[Alert]:
    worker = monitored.worker
    partition = "{{ $labels.topic }}[{{ $labels.partition }}]"
    return [
        Alert(
            name="EffortstreamLagHigh",
            expr=f"{TOPIC_LAG}{{{worker}}} > {LAG_RECORDS}\n"
            f"and\npredict_linear({TOPIC_LAG}{{{worker}}}[10m], {LAG_AHEAD_S}) > {LAG_RECORDS}\n",
            scope="pipeline",
            severity=CRITICAL,
            for_="10m",
            keep="5m",
            summary="Workers do not keep up with {{ $labels.topic }}",
            description="{{ $value }} records wait, and at the pace of the last 10 minutes there will still be more "
            f"than {LAG_RECORDS} in half an hour. Scores are that far behind.",
        ),
        Alert(
            name="EffortstreamWatermarkStalled",
            expr=f"{WATERMARK}{{{worker}}} - {WATERMARK}{{{worker}}} offset 10m == 0\n"
            f"and\n{LAG}{{{worker}}} > 0\n",
            scope="pipeline",
            severity=CRITICAL,
            for_="5m",
            summary=f"The watermark of {partition} stands still",
            description="It has not moved for 10 minutes although records wait there. It holds all windows open, "
            "and with them every alert.",
        ),
        Alert(
            name="EffortstreamProgressStalled",
            expr=f"sum by (job, instance) (effortstream_consumer_lag_records{{{worker}}}) > 0\n"
            f"and on (job, instance)\nincrease(effortstream_checkpoints_total{{{worker}}}[5m]) == 0\n",
            scope="pipeline",
            severity=CRITICAL,
            for_="2m",
            summary="The worker {{ $labels.instance }} makes no progress",
            description="{{ $value }} records wait and it has committed no checkpoint for 5 minutes; "
            "effortstream_last_progress_timestamp_seconds says when the last one was.",
        ),
    ]


def _unowned(settings: Settings, monitored: Monitored) -> list[Alert]:
    topics, partitions = Topics(settings.prefix, settings.group), settings.partitions
    return [
        Alert(
            name="EffortstreamPartitionUnowned",
            # Counted from zero: where no partition has an owner there is no series to compare
            expr=f"(count({LAG}{{{monitored.worker}, topic={quoted(topics(spec))}}}) or vector(0)) < {partitions}",
            scope="pipeline",
            severity=CRITICAL,
            for_="5m",
            labels={"topic": literal(topics(spec))},
            summary=f"Not every partition of {literal(topics(spec))} has a worker",
            description=f"{{{{ $value }}}} of {partitions} partitions are read. What is in the others is counted "
            "nowhere until a worker takes them over; a worker that still restores its state does not read yet.",
        )
        for spec in (RESPONSES, INTERACTIONS, PARTIALS)
    ]


def _input(monitored: Monitored) -> list[Alert]:
    refused = f'effortstream_events_total{{{monitored.worker}, outcome="dead_letter"}}'
    return [
        Alert(
            name="EffortstreamDeadLettersHigh",
            expr=f"{REFUSED}{{{monitored.worker}}} > {REFUSED_RATIO}\n"
            f"and\nsum by (job, topic) (increase({refused}[10m])) >= {REFUSED_MIN}\n",
            scope="pipeline",
            severity=WARNING,
            for_="5m",
            keep="10m",
            summary="Many records of {{ $labels.topic }} are refused",
            description="{{ $value | humanizePercentage }} of the records of the last 10 minutes went to the dead "
            "letters, where their headers give the reason. A producer may have changed.",
        ),
        Alert(
            name="EffortstreamRecordsLost",
            expr=f"sum by (job) (increase(effortstream_lost_records_total{{{monitored.worker}}}[1h])) > 0",
            scope="pipeline",
            severity=CRITICAL,
            summary="Input was deleted before it was read",
            description="About {{ $value | humanize }} records in the last hour. Retention of an input topic is "
            "shorter than the backlog; what is gone is in no score.",
        ),
    ]


def _serving(monitored: Monitored) -> list[Alert]:
    serve, worker = monitored.serve, monitored.worker
    accepted = f'effortstream_events_total{{{worker}, outcome="accepted"}}'
    contact = f"max by (job) (effortstream_feed_last_contact_timestamp_seconds{{{serve}}})"
    return [
        Alert(
            name="EffortstreamServeNotReading",
            expr=f"max by (job) (effortstream_read_model_ready{{{serve}}}) == 0\n"
            f"or\ntime() - {contact} > {CONTACT_S}\n",
            scope="pipeline",
            severity=CRITICAL,
            for_="3m",
            summary="serve does not read its topics",
            description="No serve has read the score and alert topics to their end, or none has heard from a broker "
            f"for {CONTACT_S} seconds. What Prometheus knows of scores and alerts is missing or old.",
        ),
        Alert(
            name="EffortstreamScoresStale",
            # The jobs differ, and of either side there is one series at most: nothing is to be matched
            expr=f"(changes({UPDATED}{{{serve}}}[10m]) == 0 or absent({UPDATED}{{{serve}}}))\n"
            f"and on ()\nsum(increase({accepted}[10m])) > 0\n",
            scope="pipeline",
            severity=CRITICAL,
            for_="5m",
            summary="Answers come in but no score is updated",
            description="Events were accepted in the last 10 minutes, and no score has been published.",
        ),
    ]


def _watchdog() -> Alert:
    return Alert(
        name="EffortstreamWatchdog",
        expr="vector(1)",
        scope="watchdog",
        severity=NONE,
        summary="Alerting works",
        description="This alert always fires. Send it to a service that calls when it stops coming.",
    )
