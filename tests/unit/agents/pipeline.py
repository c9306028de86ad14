"""The whole pipeline in memory: logs are lists, a commit is an append, and a crash forgets all but the changelogs."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import orjson

from agents.contacts import InteractionStage
from agents.partials import INTERACTIONS_KIND, RESPONSES_KIND
from agents.ports import Batch, Out, Outgoing
from agents.responses import ResponseStage
from agents.scores import ScoreStage
from agents.segments import KeptValues
from agents.source import END_OF_INPUT, Intake, touchpoint_partition
from agents.topics import (
    ALERTS,
    COMMENTS,
    DEAD_LETTERS,
    INTERACTION_STATS,
    PARTIALS,
    SCORES,
    WINDOWS,
    TopicSpec,
)
from scoring.catalog import Catalog
from tests.unit.agents.streams import Rec

SourceKey = tuple[int, int]
"""(kind, partition)"""
AnyStage = ResponseStage | InteractionStage | ScoreStage


class Pipeline:
    """P partitions of each topic, their stages, and all that they have committed.

    Attributes:
        logs: input records by (kind, partition).
        revisions: every record of effort.windows.v1 in order, by key.
        live: the newest record of each key of effort.scores.v1; None is a tombstone.
        alerts: every record of effort.alerts.v1 in order, by fingerprint.
    """

    def __init__(
        self, catalog: Catalog, partitions: int, *, replay: bool = False, kept: KeptValues | None = None
    ) -> None:
        self.catalog, self.partitions, self.replay, self.kept = catalog, partitions, replay, kept
        self.intake = Intake(catalog, partitions, replay=replay)
        places = range(partitions)
        self.logs: dict[SourceKey, list[Rec]] = {
            (kind, at): [] for kind in (RESPONSES_KIND, INTERACTIONS_KIND) for at in places
        }
        self.partials: list[list[Rec]] = [[] for _ in places]
        self.changelogs: dict[Any, list[tuple[bytes, bytes | None]]] = {}
        self.sources = {key: self._source(key) for key in self.logs}
        self.scores = [self._score(at) for at in places]
        self.revisions: dict[bytes, list[dict[str, Any]]] = {}
        self.live: dict[bytes, dict[str, Any] | None] = {}
        self.stats: dict[bytes, dict[str, Any] | None] = {}
        self.dead: list[dict[str, str]] = []
        self.comments: list[dict[str, Any]] = []
        self.alerts: dict[str, list[dict[str, Any]]] = {}

    def _source(self, key: SourceKey) -> ResponseStage | InteractionStage:
        kind, partition = key
        made = ResponseStage if kind == RESPONSES_KIND else InteractionStage
        return made("topic", partition, self.intake)

    def _score(self, at: int) -> ScoreStage:
        return ScoreStage(at, self.catalog, self.partitions, kept=self.kept, keep_all=self.replay)

    # -- input -------------------------------------------------------------------------------------------------

    def put(self, kind: int, partition: int, timestamp_ms: int, value: bytes | None) -> None:
        """Appends a record to an input log; offsets have gaps, as transactional logs do."""
        log = self.logs[kind, partition]
        offset = log[-1].offset + 1 + len(log) % 2 if log else 0
        log.append(Rec(offset, timestamp_ms, b"k", value))

    def end(self) -> None:
        """Marks the end of the input of a replay."""
        for kind, partition in self.logs:
            self.put(kind, partition, 0, END_OF_INPUT)

    # -- steps -------------------------------------------------------------------------------------------------

    def read(self, key: SourceKey, count: int, now_ms: int, *, commit: bool = True) -> bool:
        """One source partition takes the next records; False if there are none."""
        stage, log = self.sources[key], self.logs[key]
        took = _take(stage, log, count)
        if commit:
            self.commit(key, stage.checkpoint(now_ms), now_ms)
        return took

    def merge(self, at: int, count: int, now_ms: int, *, commit: bool = True) -> bool:
        """One partials partition takes the next records; False if there are none."""
        took = _take(self.scores[at], self.partials[at], count)
        if commit:
            self.commit(at, self.scores[at].checkpoint(now_ms), now_ms)
        return took

    def commit(self, key: SourceKey | int, out: Outgoing | None, now_ms: int) -> None:
        """Makes a checkpoint visible, all of it at once."""
        if out is None:
            return
        log = self.changelogs.setdefault(key, [])
        log += [(record.key or b"", record.value) for record in out.changelog]
        for (topic, partition), sent in out.sends.items():
            for record in sent:
                self._store(topic, partition, record, now_ms)

    def _store(self, topic: TopicSpec, partition: int, record: Out, now_ms: int) -> None:
        key, value = record.key or b"", record.value
        said = None if value is None or topic is PARTIALS or topic is DEAD_LETTERS else orjson.loads(value)
        if topic is PARTIALS:
            place = self.partials[partition]
            place.append(Rec(len(place), now_ms, record.key, value))
        elif topic is WINDOWS:
            self.revisions.setdefault(key, []).append(said)  # type: ignore[arg-type]
        elif topic is ALERTS:
            self.alerts.setdefault(key.decode(), []).append(said)  # type: ignore[arg-type]
        elif topic is SCORES:
            self.live[key] = said
        elif topic is INTERACTION_STATS:
            self.stats[key] = said
        elif topic is DEAD_LETTERS:
            self.dead.append({name: text.decode() for name, text in record.headers or []})
        elif topic is COMMENTS:
            self.comments.append(said)  # type: ignore[arg-type]

    def crash(self, key: SourceKey | int, *, compacted: bool = False) -> None:
        """A stage's process is killed; the next one restores the changelog and reads on from there."""
        made: AnyStage = self._score(key) if isinstance(key, int) else self._source(key)
        changelog = self.changelogs.get(key, [])
        for name, value in _compact(changelog) if compacted else changelog:
            made.restore(name, value)
        made.resume()
        if isinstance(key, int):
            self.scores[key] = made  # type: ignore[assignment]
        else:
            self.sources[key] = made  # type: ignore[assignment]

    # -- whole runs --------------------------------------------------------------------------------------------

    def run(self, now_ms: int, chance: random.Random | None = None, *, crashes: float = 0.0) -> None:
        """Reads everything, in an order, in batches and with crashes as chance has it."""
        chance = chance or random.Random(0)
        places: list[SourceKey | int] = [*self.sources, *range(self.partitions)]
        favourite = chance.choice(places)
        idle_rounds = 0
        while idle_rounds < 3 * len(places):
            place = favourite if chance.random() < 0.3 else chance.choice(places)
            count, commit = chance.choice((1, 3, 20, 1000)), chance.random() >= crashes
            step = self.merge if isinstance(place, int) else self.read
            took = step(place, count, now_ms, commit=commit)  # type: ignore[arg-type]
            idle_rounds = 0 if took else idle_rounds + 1
            if not commit or chance.random() < crashes:
                self.crash(place, compacted=chance.random() < 0.5)
        self.settle(now_ms)

    def settle(self, now_ms: int) -> None:
        """Reads what is left, in order, and commits it."""
        for key in self.sources:
            self.read(key, 1 << 30, now_ms)
        for at in range(self.partitions):
            self.merge(at, 1 << 30, now_ms)
            while (out := self.scores[at].checkpoint(now_ms)) is not None:  # rules may have more to step
                self.commit(at, out, now_ms)

    def fall_idle(self, now_ms: int) -> None:
        """Lets every partition be silent for so long that all of them are idle, and closes what is due."""
        for key, stage in self.sources.items():
            for moment_ms in (now_ms, now_ms + self.catalog.timing.idle_timeout_ms):
                stage.tick(moment_ms, at_end=True)
            self.commit(key, stage.checkpoint(moment_ms), moment_ms)
        for at, score in enumerate(self.scores):
            self.merge(at, 1 << 30, moment_ms)
            score.tick(moment_ms, at_end=True)
            self.commit(at, score.checkpoint(moment_ms), moment_ms)

    # -- what came out -----------------------------------------------------------------------------------------

    def windows(self) -> dict[tuple[str, str, str, str, int], tuple[dict[str, int], int]]:
        """The newest revision of every calendar window that holds an answer: its counts and its interactions."""
        out = {}
        for said in self.revisions.values():
            last = said[-1]
            if last["n"]:
                segment = orjson.dumps(last["segment"]).decode()
                key = last["touchpoint"], last["question"], segment, last["window"], last["start_ms"]
                out[key] = _nonzero(last["counts"]), last["interactions"]
        return out

    def live_windows(self) -> dict[tuple[str, str, str, str], tuple[dict[str, int], int]]:
        """The newest record of every live window that holds an answer."""
        out = {}
        for last in self.live.values():
            if last is not None and last["n"]:
                segment = orjson.dumps(last["segment"]).decode()
                key = last["touchpoint"], last["question"], segment, last["window"]
                out[key] = _nonzero(last["counts"]), last["interactions"]
        return out

    def counts(self) -> dict[str, int]:
        """Outcomes of all response partitions."""
        out: dict[str, int] = {}
        for (kind, _), stage in self.sources.items():
            for outcome, n in stage.counts.items() if kind == RESPONSES_KIND else ():
                out[outcome] = out.get(outcome, 0) + n
        return out

    def partition_of(self, touchpoint: str) -> int:
        """Where the partials of a touchpoint go."""
        return touchpoint_partition(touchpoint, self.partitions)


def _take(stage: AnyStage, log: list[Rec], count: int) -> bool:
    lot = [record for record in log if record.offset > stage.applied][:count]
    if lot:
        stage.apply(Batch(lot, stage.applied + 1, lot[-1].offset + 1, log[-1].offset + 1))
    return bool(lot)


def _compact(changelog: Iterable[tuple[bytes, bytes | None]]) -> list[tuple[bytes, bytes | None]]:
    """What a compacted topic still holds: the last record of each key, in order; tombstones may be gone."""
    last = {key: at for at, (key, _) in enumerate(changelog)}
    return [
        (key, value)
        for at, (key, value) in enumerate(changelog)
        if last[key] == at and (value is not None or at % 2)
    ]


def _nonzero(counts: dict[str, int]) -> dict[str, int]:
    return {rating: n for rating, n in counts.items() if n}
