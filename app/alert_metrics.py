"""Alerts as Prometheus metrics: what the engine decided, and apart from it whether operators want to hear it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily

from app.alertmodel import LEVELS
from scoring.alerts.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.metrics_core import Metric

    from agents.records import AlertRecord
    from app.muting import Mute

ALERT_LABELS = ("rule", "severity", "touchpoint", "journey_stage", "question")


def alert_families(
    alerts: Iterable[AlertRecord], mutes: Callable[[AlertRecord], list[Mute]]
) -> Iterator[Metric]:
    """The families of the alerts; those of a rule that differ by segment or window alone share their labels.

    Args:
        alerts: the newest record of each.
        mutes: what mutes one of them.
    """
    state = GaugeMetricFamily(
        "effortstream_alert_state",
        "What the engine decided: 0 inactive or resolved, 1 pending, 2 firing; the highest over segments and windows",
        labels=ALERT_LABELS,
    )
    muted = GaugeMetricFamily(
        "effortstream_alert_muted",
        "1 where a silence, a maintenance window or an acknowledgement mutes every alert of the highest state",
        labels=ALERT_LABELS,
    )
    since = GaugeMetricFamily(
        "effortstream_alert_since_timestamp_seconds",
        "Event time from which the condition of a pending or firing alert has held, the earliest of the highest state",
        labels=ALERT_LABELS,
    )
    for labels, (level, loudest) in _by_labels(alerts).items():
        state.add_metric(labels, level)
        muted.add_metric(labels, int(level > 0 and all(mutes(alert) for alert in loudest)))
        if level:
            since.add_metric(labels, min(alert.since_ms for alert in loudest) / 1000)
    yield from (state, muted, since)


def _by_labels(
    alerts: Iterable[AlertRecord],
) -> dict[tuple[str, ...], tuple[int, list[AlertRecord]]]:
    """The highest level of each set of labels, and the alerts at that level."""
    out: dict[tuple[str, ...], tuple[int, list[AlertRecord]]] = {}
    for alert in alerts:
        level = LEVELS[State(alert.state)]
        labels = (
            alert.rule,
            alert.severity,
            alert.touchpoint,
            alert.journey_stage or "",
            alert.question or "",
        )
        highest, loudest = out.get(labels, (-1, []))
        if level > highest:
            out[labels] = level, [alert]
        elif level == highest:
            loudest.append(alert)
    return out
