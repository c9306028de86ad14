"""The pipeline's metrics, read from the engine at each scrape: a partition given away leaves no gauge behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from agents.scores import ScoreStage
from agents.topics import INTERACTIONS, PARTIALS, RESPONSES
from app.version import VERSION

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from agents.engine import Engine
    from agents.topics import Topics

OUTCOMES = ("accepted", "edit", "duplicate", "withdrawn", "dead_letter")
DEAD_LETTER = "dead_letter:"
SOURCES = {"responses": RESPONSES, "interactions": INTERACTIONS, "scores": PARTIALS}
CHECKPOINT_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class WorkerMetrics:
    """The registry of one worker process.

    Attributes:
        registry: to be exported.
        observe: told the seconds that each checkpoint took.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        seconds = Histogram(
            "effortstream_checkpoint_duration_seconds",
            "Time that writing a checkpoint took, from its first send to its commit",
            buckets=CHECKPOINT_BUCKETS,
            registry=self.registry,
        )
        self.observe = seconds.observe

    def watch(self, engine: Engine, topics: Topics) -> None:
        """Exports an engine from now on."""
        self.registry.register(_EngineCollector(engine, topics))


class _EngineCollector(Collector):
    def __init__(self, engine: Engine, topics: Topics) -> None:
        self._engine = engine
        self._topics = topics

    def describe(self) -> list[Metric]:
        """Nothing: collecting is cheap, but the names need no check at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment."""
        yield from self._events()
        yield from self._partitions()
        yield from self._state()
        yield from self._totals()

    def _events(self) -> Iterator[Metric]:
        events = CounterMetricFamily(
            "effortstream_events", "Input records whose checkpoint has committed, by what became of them",
            labels=["topic", "outcome"],
        )  # fmt: skip
        dead = CounterMetricFamily(
            "effortstream_dead_letters",
            "Input records refused to the dead letters",
            labels=["topic", "reason"],
        )
        unkeyed = CounterMetricFamily(
            "effortstream_unkeyed_records", "Input records without a key, outside the guarantees for duplicates",
            labels=["topic"],
        )  # fmt: skip
        counted = self._engine.totals.events
        for stage in ("responses", "interactions"):
            topic = self._topics(SOURCES[stage])
            for outcome in OUTCOMES:
                events.add_metric([topic, outcome], counted.get((stage, outcome), 0))
            unkeyed.add_metric([topic], counted.get((stage, "unkeyed"), 0))
            for (name, outcome), count in sorted(counted.items()):
                if name == stage and outcome.startswith(DEAD_LETTER):
                    dead.add_metric([topic, outcome.removeprefix(DEAD_LETTER)], count)
        yield from (events, dead, unkeyed)

    def _partitions(self) -> Iterator[Metric]:
        labels = ["topic", "partition"]
        watermark = GaugeMetricFamily(
            "effortstream_watermark_timestamp_seconds",
            "Up to this event time a partition is complete",
            labels=labels,
        )
        lag = GaugeMetricFamily(
            "effortstream_consumer_lag_records",
            "Records between a partition's position and its end",
            labels=labels,
        )
        for source, position, end, watermark_ms in self._engine.positions():
            place = [source.topic, str(source.partition)]
            if watermark_ms is not None:
                watermark.add_metric(place, watermark_ms / 1000)
            if end is not None:
                lag.add_metric(place, max(0, end - position))
        stepped = GaugeMetricFamily(
            "effortstream_alerts_stepped_timestamp_seconds",
            "Up to this event time the alert rules have been stepped; it follows the watermark of the partition",
            labels=["partition"],
        )
        for source, owned in sorted(self._engine.ready.items()):
            if isinstance(owned.stage, ScoreStage) and owned.stage.alerts_stepped_ms is not None:
                stepped.add_metric([str(source.partition)], owned.stage.alerts_stepped_ms / 1000)
        yield from (watermark, lag, stepped)

    def _state(self) -> Iterator[Metric]:
        sizes: dict[str, int] = {}
        for owned in self._engine.ready.values():
            for name, size in owned.stage.sizes.items():
                sizes[name] = sizes.get(name, 0) + size
        series = GaugeMetricFamily("effortstream_series", "Series and panes held in memory", labels=["state"])
        for name in ("panes", "windows", "live_series", "profiles", "alert_series", "alerts"):
            series.add_metric([name], sizes.get(name, 0))
        yield series
        yield GaugeMetricFamily(
            "effortstream_ledger_entries",
            "Answers that the response ledger remembers",
            sizes.get("ledger_entries", 0),
        )
        yield GaugeMetricFamily(
            "effortstream_ledger_bytes", "Memory of the response ledger", sizes.get("ledger_bytes", 0)
        )
        yield CounterMetricFamily(
            "effortstream_beyond_retention",
            "Accepted changes of calendar windows that had left the retention, and are in no window",
            sizes.get("beyond_retention", 0),
        )
        yield CounterMetricFamily(
            "effortstream_undecodable_partials",
            "Records of the partials topic that no worker of ours has written, left out",
            sizes.get("undecodable_partials", 0),
        )
        restoring = self._engine.restoring
        yield GaugeMetricFamily(
            "effortstream_restoring_records", "Changelog records still to be restored; 0 when state is complete",
            max(0, restoring.total - restoring.records) if restoring else 0,
        )  # fmt: skip

    def _totals(self) -> Iterator[Metric]:
        totals = self._engine.totals
        counters = {
            "effortstream_checkpoints": ("Checkpoints committed", totals.checkpoints),
            "effortstream_changelog_records": ("Records written to changelogs", totals.changelog_records),
            "effortstream_written_bytes": ("Bytes of keys and values written", totals.bytes_written),
            "effortstream_lost_records": (
                "Input that retention removed before it was read",
                totals.lost_records,
            ),
            "effortstream_refetches": (
                "Fetches that began behind the position and were made again",
                totals.refetches,
            ),
            "effortstream_rebalances": ("Assignments of partitions to this worker", totals.rebalances),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(name, text, value)
        written = CounterMetricFamily(
            "effortstream_output_records", "Records written to topics", labels=["topic"]
        )
        for name, count in sorted(totals.records.items()):
            written.add_metric([f"{self._topics.prefix}{name}"], count)
        yield written
        if totals.last_progress_ms:
            yield GaugeMetricFamily(
                "effortstream_last_progress_timestamp_seconds", "When a checkpoint last committed",
                totals.last_progress_ms / 1000,
            )  # fmt: skip
        build = GaugeMetricFamily(
            "effortstream_build_info", "1, with the version as a label", labels=["version"]
        )
        build.add_metric([VERSION], 1)
        yield build
