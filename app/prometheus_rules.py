"""Recording and alerting rules for Prometheus, made from the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.prometheus_names import Monitored
from app.prometheus_pipeline import pipeline_group
from app.prometheus_scores import alert_group, score_group, stage_group
from app.prometheus_yaml import to_yaml
from app.version import VERSION

if TYPE_CHECKING:
    from app.settings import Settings
    from scoring.catalog import Catalog

HEADING = f"Made by effortstream {VERSION}: effortstream prometheus rules. Change the configuration and make it anew."


def rules(catalog: Catalog, settings: Settings, monitored: Monitored) -> dict[str, Any]:
    """The rule file as plain values.

    Args:
        catalog: what is declared; each of its alert rules becomes an alert.
        settings: prefix and number of partitions, which are watched one by one.
        monitored: how Prometheus calls what it scrapes.
    """
    groups = [
        score_group(monitored),
        alert_group(catalog, monitored),
        stage_group(catalog, monitored),
        pipeline_group(settings, monitored),
    ]
    return {"groups": [group for group in groups if group is not None]}


def rules_text(catalog: Catalog, settings: Settings, monitored: Monitored) -> str:
    """The rule file as text."""
    return to_yaml(rules(catalog, settings, monitored), HEADING)


def deployment_name(prefix: str) -> str:
    """What alerts call a deployment: the prefix of its topics, which is its own.

    Example:
        >>> deployment_name("effort.")
        'effort'
    """
    return prefix.rstrip("._-") or prefix
