"""Scores and alerts as Prometheus metrics, made from the read model at each scrape: what has left it is not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from agents.clock import wall_ms
from agents.topics import ALERTS
from app.alert_metrics import alert_families
from app.muting import Muting
from app.readmodel import READ_TOPICS
from app.version import VERSION
from scoring.intervals import wilson
from scoring.scores import CES_MEAN, CES_NET_EASE, CSAT, NPS, effort_bounds

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from agents.records import InteractionStatsRecord, ScoreRecord
    from app.feed import ScoreFeed
    from app.readmodel import ReadModel
    from scoring.catalog import Catalog

SERIES_LABELS = ("touchpoint", "journey_stage", "question", "window")
WINDOW_LABELS = ("touchpoint", "journey_stage", "window")

SCORE_METRICS = {
    "effortstream_ces_mean": "Mean answer of a CES question, on the question's own scale",
    "effortstream_ces_net_ease": "Percent easy minus percent hard, -100 to 100",
    "effortstream_effort_index": "Effort on one scale for all CES questions: 0 effortless, 100 hardest",
    "effortstream_low_effort_ratio": "Answers in the low-effort ratings, as a share of all, 0 to 1",
    "effortstream_csat_satisfied_ratio": "Answers in the satisfied ratings, as a share of all, 0 to 1",
    "effortstream_nps_score": "Net Promoter Score: percent promoters minus percent detractors, -100 to 100",
}
BOUNDS = {
    "_lower_bound": "lower confidence bound",
    "_upper_bound": "upper confidence bound",
}


class Figure(NamedTuple):
    """One score with its bounds; a None is not exported."""

    value: float | None
    low: float | None
    high: float | None


def figures(record: ScoreRecord, catalog: Catalog) -> dict[str, Figure]:
    """What a record says, by metric name; a formula that this version does not know says nothing.

    The bounds that a record does not carry (effort index, low-effort share) are worked out as scoring does it. They
    need the question's declaration, so there are none for a question that this catalog lacks.
    """
    if record.formula == CES_MEAN:
        return {
            "effortstream_ces_mean": Figure(record.value, record.low, record.high),
            "effortstream_effort_index": _effort_index(record, catalog),
            "effortstream_low_effort_ratio": _low_effort(record, catalog),
        }
    plain = {CES_NET_EASE: "effortstream_ces_net_ease", NPS: "effortstream_nps_score"}
    if record.formula in plain:
        return {plain[record.formula]: Figure(record.value, record.low, record.high)}
    if record.formula == CSAT:
        ratio = Figure(_hundredth(record.value), _hundredth(record.low), _hundredth(record.high))
        return {"effortstream_csat_satisfied_ratio": ratio}
    return {}


def _hundredth(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _effort_index(record: ScoreRecord, catalog: Catalog) -> Figure:
    question = catalog.questions.get(record.question)
    if question is None or record.low is None or record.high is None:
        return Figure(record.effort_index, None, None)
    return Figure(record.effort_index, *effort_bounds(question, record.low, record.high))


def _low_effort(record: ScoreRecord, catalog: Catalog) -> Figure:
    question = catalog.questions.get(record.question)
    share, counts = record.low_effort_share, record.counts
    if question is None or share is None or not counts or not record.n:
        return Figure(share, None, None)
    low_effort = sum(counts.get(str(rating), 0) for rating in question.low_effort)
    return Figure(share, *wilson(low_effort, record.n, record.confidence))


class ScoreCollector(Collector):
    """Exports live scores of everybody (segment {}), all alerts, and how the read model behind them is doing.

    Args:
        model: read at each scrape.
        catalog: the declared questions.
        feed: how long ago the broker was heard; None without one.
        muting: which alerts are muted; None knows of operators' silences and acknowledgements alone.
    """

    def __init__(
        self,
        model: ReadModel,
        catalog: Catalog,
        feed: ScoreFeed | None = None,
        muting: Muting | None = None,
    ) -> None:
        self._model, self._catalog, self._feed = model, catalog, feed
        self._muting = muting or Muting(model.operations, wall_ms)

    def collect(self) -> Iterator[Metric]:
        """All families, those without a sample too: their help says what could be there."""
        # Until the model is ready it may hold records that are older than what is known: no sample then
        scores, stats = self._model.everybody() if self._model.ready else ([], [])
        live = [record for record in scores if record.kind == "live"]
        yield from self._scores(live)
        yield from _responses(live)
        yield _interactions(stats)
        yield from alert_families(self._model.alerts.all() if self._model.ready else (), self._muting.judge())
        yield from self._state()

    def _scores(self, records: list[ScoreRecord]) -> Iterator[Metric]:
        families = {}
        for name, text in SCORE_METRICS.items():
            families[name] = GaugeMetricFamily(name, text, labels=SERIES_LABELS)
            for suffix, bound in BOUNDS.items():
                families[name + suffix] = GaugeMetricFamily(
                    name + suffix, f"{text}; {bound}", labels=SERIES_LABELS
                )
        for record in records:
            labels = _labels(record)
            for name, figure in figures(record, self._catalog).items():
                for suffix, value in zip(("", *BOUNDS), figure, strict=True):
                    if value is not None:
                        families[name + suffix].add_metric(labels, value)
        yield from families.values()

    def _state(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("effortstream_build_info", "Always 1; the version", labels=["version"])
        build.add_metric([VERSION], 1)
        yield build
        held = GaugeMetricFamily(
            "effortstream_read_model_series", "Series, alerts and operations held", labels=["topic"]
        )
        skipped = CounterMetricFamily(
            "effortstream_read_model_skipped_records",
            "Records that found no place (or took that of another), cannot be read, or are older than what is held",
            labels=["topic", "reason"],
        )
        for topic in READ_TOPICS:
            held.add_metric([topic.name], self._model.held(topic))
            skipped.add_metric([topic.name, "undecodable"], self._model.undecodable[topic])
            skipped.add_metric([topic.name, "limit"], self._model.beyond_limit(topic))
        skipped.add_metric([ALERTS.name, "superseded"], self._model.alerts.superseded)
        yield held
        yield skipped
        yield GaugeMetricFamily(
            "effortstream_read_model_ready",
            "1 once the topics have been read to where they ended at the start",
            value=int(self._model.ready),
        )
        contact = GaugeMetricFamily(
            "effortstream_feed_last_contact_timestamp_seconds", "When a broker last answered", labels=[]
        )
        if self._feed is not None and self._feed.last_contact_ms is not None:
            contact.add_metric([], self._feed.last_contact_ms / 1000)
        yield contact


def _labels(record: ScoreRecord) -> tuple[str, str, str, str]:
    return record.touchpoint, record.journey_stage or "", record.question, record.window


def _responses(records: list[ScoreRecord]) -> Iterator[Metric]:
    responses = GaugeMetricFamily(
        "effortstream_score_responses", "Answers in the window", labels=SERIES_LABELS
    )
    rate = GaugeMetricFamily(
        "effortstream_response_ratio",
        "Answers that belong to an interaction, per interaction at the touchpoint",
        labels=SERIES_LABELS,
    )
    updated = GaugeMetricFamily(
        "effortstream_score_updated_timestamp_seconds", "When the score was published", labels=SERIES_LABELS
    )
    for record in records:
        labels = _labels(record)
        if record.n is not None:
            responses.add_metric(labels, record.n)
        if record.response_rate is not None:
            rate.add_metric(labels, record.response_rate)
        updated.add_metric(labels, record.published_at_ms / 1000)
    yield from (responses, rate, updated)


def _interactions(records: list[InteractionStatsRecord]) -> Metric:
    # No question label: an interaction belongs to a touchpoint, and a sum over questions would count it repeatedly
    family = GaugeMetricFamily(
        "effortstream_interactions", "Interactions in the window", labels=WINDOW_LABELS
    )
    for record in records:
        family.add_metric((record.touchpoint, record.journey_stage or "", record.window), record.n)
    return family


def score_registry(
    model: ReadModel, catalog: Catalog, feed: ScoreFeed | None = None, muting: Muting | None = None
) -> CollectorRegistry:
    """A registry of its own with the scores and this process in it, so that two apps do not meet in one."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(ScoreCollector(model, catalog, feed, muting))
    return registry
