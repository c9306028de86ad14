"""What both intakes share: the state of one source partition, its changelog, its partials and its statements."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import xxhash
from aiokafka.partitioner import murmur2
from numpy.typing import NDArray

from agents.events import Checks, Refusal
from agents.fingerprint import Fingerprint
from agents.hard_answers import HardAnswers
from agents.ledger import Ledger
from agents.panes import (
    Layout,
    PaneStore,
    decode_group,
    encode_group,
    groups_by_touchpoint,
    pane_key_bytes,
    split_pane_key,
)
from agents.partials import Partial, Statement, encode_partial, encode_statement
from agents.ports import Batch, Out, Outgoing, Record
from agents.profiles import Profiles
from agents.topics import COMMENTS, DEAD_LETTERS, PARTIALS
from scoring.catalog import Catalog

END_OF_INPUT: Final = b"effortstream:end-of-input"
"""Value of the record that replay puts behind the last one of each partition; taken nowhere else."""

_DEAD_LETTER_BYTES: Final = 64 << 10
_PARTIAL_BYTES: Final = 256 << 10
_STATEMENT_EVERY_MS: Final = 1_000
_IDLE_STATEMENT_EVERY_MS: Final = 10_000
_PARTITIONS_AT_FULL_RATE: Final = 16

_encode = msgspec.msgpack.Encoder().encode
_META: Final = b"m"


class _Meta(msgspec.Struct, array_like=True):
    applied: int
    newest_ms: int | None
    ended: bool
    counts: dict[str, int]
    partitions: int
    held: dict[str, int] = {}


_decode_meta = msgspec.msgpack.Decoder(_Meta).decode


@dataclass(frozen=True, slots=True)
class Intake:
    """How the intakes of a group work.

    Attributes:
        catalog: what is declared.
        partitions: of every topic of the prefix.
        id_key: secret that ids are hashed with; fixed for the life of the state.
        replay: files instead of a live topic: nothing is too late, nothing ages out, an end-of-input marker ends it.
        redact: dead letters keep no value.
    """

    catalog: Catalog
    partitions: int
    id_key: bytes = b""
    replay: bool = False
    redact: bool = False

    @property
    def checks(self) -> Checks:
        """What each record is checked against."""
        if self.replay:
            return Checks.for_files(self.catalog)
        return Checks(self.catalog, max_future_ms=self.catalog.timing.max_future_ms)


class SourceStage:
    """The state of one source partition: panes, ledger, profiles, position, newest event time, counts.

    Everything in it is a pure function of the partition's log up to ``applied``; only ``tick`` knows the clock, and
    it changes no tally.
    """

    name: str
    kind: int

    def __init__(self, topic_name: str, partition: int, intake: Intake) -> None:
        catalog = intake.catalog
        self.partition = partition
        self.topic_name = topic_name
        self.applied = -1
        self.newest_ms: int | None = None
        self.ended = False
        self.counts: dict[str, int] = {}
        self._intake = intake
        self._checks = intake.checks
        self._timing = catalog.timing
        self._reach_ms = catalog.timing.max_out_of_orderness_ms + catalog.timing.horizon_ms
        self._panes = PaneStore(Layout.of(catalog, keep_all=intake.replay))
        self._ledger = Ledger()
        self._blocks: deque[tuple[int, int]] = deque()
        self._profiles = Profiles(catalog, bounded=not intake.replay)
        self._key_seed = xxhash.xxh3_64_intdigest(b"identity", seed=_seed(intake.id_key))
        self._dead: list[tuple[Record, Refusal]] = []
        self._comments: list[tuple[int, Out]] = []
        self._hard = HardAnswers()
        self._hard_wanted = bool(catalog.alerts)
        self._fingerprint = Fingerprint(catalog)
        self._stored: dict[str, int] = {}
        self._stated: Statement | None = None
        self._stated_ms = 0
        self._idle = False
        self._quiet_since_ms: int | None = None
        self._news = (
            True  # the first checkpoint says that this partition has an owner, and that it is not idle
        )

    # -- the step ----------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> None:
        """Applies the next batch of the partition's log."""
        if batch.records:
            self._take_all(batch.records)
            self._quiet_since_ms = None
            self._idle = False
        self.applied = batch.end - 1
        self._news = True

    def _take_all(self, records: Any) -> None:
        raise NotImplementedError

    def _refuse(self, record: Record, refusal: Refusal) -> None:
        if self._intake.replay and record.value == END_OF_INPUT:
            self.ended = True
            return
        self._count("dead_letter")
        self._count(f"dead_letter:{refusal.reason}")
        self._dead.append((record, refusal))

    def _count(self, outcome: str, by: int = 1) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + by

    def _see(self, time_ms: int) -> None:
        if self.newest_ms is None or time_ms > self.newest_ms:
            self.newest_ms = time_ms

    def _too_late(self, time_ms: int) -> Refusal | None:
        if self._intake.replay or self.newest_ms is None or time_ms >= self.newest_ms - self._reach_ms:
            return None
        behind_h = (self.newest_ms - self._timing.max_out_of_orderness_ms - time_ms) / 3_600_000
        horizon_h = self._timing.horizon_ms / 3_600_000
        return Refusal(
            "too_late", f"{behind_h:.1f} h behind the watermark; at most {horizon_h:g} h are taken"
        )

    def _late(self, times: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Which of these times, taken in order, are too late; None if none is. Moves the newest event time."""
        before = self.newest_ms
        highest = int(times.max())
        self._see(highest)
        if self._intake.replay or int(times.min()) >= max(highest, before or 0) - self._reach_ms:
            return None
        running = np.maximum.accumulate(times)
        if before is not None:
            running = np.maximum(running, before)
        late: NDArray[np.bool_] = times < running - self._reach_ms
        return late if late.any() else None

    # -- the clock ---------------------------------------------------------------------------------------------

    def tick(self, now_ms: int, *, at_end: bool) -> None:
        """Finds out whether the partition is idle: read to its end, and nothing came for ``idle_timeout``."""
        if not at_end or self._intake.replay:
            self._quiet_since_ms = None
            self._idle = False
        elif self._quiet_since_ms is None:
            self._quiet_since_ms = now_ms
        elif now_ms - self._quiet_since_ms >= self._timing.idle_timeout_ms:
            self._idle = True
        if self._statement_due(now_ms) is not None:
            self._news = True

    def _statement(self, now_ms: int) -> Statement:
        watermark_ms = (
            None if self.newest_ms is None else self.newest_ms - self._timing.max_out_of_orderness_ms
        )
        return Statement(
            self.kind,
            self.partition,
            self.applied,
            self.newest_ms,
            watermark_ms,
            self._idle,
            self.ended,
            now_ms,
        )

    def _statement_due(self, now_ms: int) -> Statement | None:
        """The statement that every partials partition must get now, if one must."""
        now = self._statement(now_ms)
        held = self._stated
        if held is None or (now.idle, now.ended) != (held.idle, held.ended):
            return now
        slower = max(1.0, self._intake.partitions / _PARTITIONS_AT_FULL_RATE)
        waited_ms = now_ms - self._stated_ms
        if now.idle:
            return now if waited_ms >= _IDLE_STATEMENT_EVERY_MS else None
        changed = now.newest_ms != held.newest_ms
        return now if changed and waited_ms >= _STATEMENT_EVERY_MS * slower else None

    # -- out ---------------------------------------------------------------------------------------------------

    def checkpoint(self, now_ms: int) -> Outgoing | None:
        """Drains what changed: panes, ledger, profiles, position to the changelog; partials and dead letters."""
        if not self._news:
            return None
        self._news = False
        if self.newest_ms is not None:
            self._panes.fold_early(self.newest_ms)
            self._age_ledger()
        out = Outgoing(self.applied + 1, progress=self.progress())
        out.changelog += self._fingerprint.fresh()
        self._drain_panes(out)
        for number, raw in self._profiles.drain():
            out.changelog.append(Out(b"f%d" % number, raw))
        self._drain_ledger(out)
        partitions, held = self._intake.partitions, self._held()
        meta = _Meta(self.applied, self.newest_ms, self.ended, self.counts, partitions, held)
        out.changelog.append(Out(_META, b"\x01" + _encode(meta)))
        self._drain_statement(out, now_ms)
        self._drain_dead_letters(out)
        if self.newest_ms is not None:
            self._panes.fold_late(self.newest_ms)
        return out

    def _held(self) -> dict[str, int]:
        """How many records of each sort a restore must find, once all of this checkpoint is in the changelog."""
        return {
            "panes": len(self._panes.groups),
            "profiles": len(self._profiles),
            "ledger blocks": len(self._blocks),
            "first ledger block": self._blocks[0][0] if self._blocks else 0,
        }

    def _age_ledger(self) -> None:
        if self.watermark_ms is not None and not self._intake.replay:
            self._ledger.oldest_ms = max(0, self.watermark_ms - 2 * self._timing.horizon_ms)

    def _drain_panes(self, out: Outgoing) -> None:
        groups = self._panes.groups
        for touchpoint, keys in groups_by_touchpoint(self._panes.drain()):
            panes: list[tuple[int, int, bytes]] = []
            size = 0
            for key in keys:
                group = groups.get(key)
                raw = None if group is None else encode_group(group)
                out.changelog.append(Out(pane_key_bytes(key), raw))
                # A pane that is gone was folded, and its coarse pane says so, or it has left the retention: what
                # was counted from it stays counted.
                if raw is not None:
                    panes.append((key[1], key[2], raw))
                    size += len(raw) + 16
                if size > _PARTIAL_BYTES:
                    self._send_partial(out, touchpoint, panes)
                    panes, size = [], 0
            if panes:
                self._send_partial(out, touchpoint, panes)
        self._hard.held.clear()  # of answers that came to panes, all of which were drained

    def _send_partial(self, out: Outgoing, touchpoint: str, panes: list[tuple[int, int, bytes]]) -> None:
        hard = [(question, held) for (at, question), held in self._hard.held.items() if at == touchpoint]
        partial = Partial(self.kind, self.partition, self.applied, self.newest_ms or 0, panes, hard)
        partition = touchpoint_partition(touchpoint, self._intake.partitions)
        out.send(PARTIALS, partition, Out(touchpoint.encode(), encode_partial(partial)))

    def _drain_ledger(self, out: Outgoing) -> None:
        for number, newest_ms, block in self._ledger.drain():
            out.changelog.append(Out(b"l%d" % number, b"\x01" + block))
            if self._blocks and self._blocks[-1][0] == number:
                newest_ms = max(newest_ms, self._blocks.pop()[1])  # noqa: PLW2901 - the block was written again
            self._blocks.append((number, newest_ms))
        while len(self._blocks) > 1 and self._blocks[0][1] < self._ledger.oldest_ms:
            out.changelog.append(Out(b"l%d" % self._blocks.popleft()[0], None))

    def _drain_statement(self, out: Outgoing, now_ms: int) -> None:
        due = self._statement_due(now_ms)
        if due is not None:
            self._stated, self._stated_ms = due, now_ms
            targets = list(range(self._intake.partitions))
        else:
            targets = [partition for topic, partition in out.sends if topic is PARTIALS]
        raw = encode_statement(due or self._statement(now_ms)) if targets else b""
        for partition in targets:
            out.send(PARTIALS, partition, Out(b"", raw))

    def _drain_dead_letters(self, out: Outgoing) -> None:
        for record, refusal in self._dead:
            out.send(DEAD_LETTERS, self.partition, self._dead_letter(record, refusal))
        self._dead.clear()
        for partition, comment in self._comments:
            out.send(COMMENTS, partition, comment)
        self._comments.clear()

    def _dead_letter(self, record: Record, refusal: Refusal) -> Out:
        value = record.value
        size = len(value) if value is not None else 0
        truncated = size > _DEAD_LETTER_BYTES or (self._intake.redact and size > 0)
        if value is not None:
            value = b"" if self._intake.redact else bytes(value[:_DEAD_LETTER_BYTES])
        key = record.key if record.key is None or len(record.key) <= _DEAD_LETTER_BYTES else None
        headers = {
            "effort_reason": refusal.reason,
            "effort_topic": self.topic_name,
            "effort_partition": str(self.partition),
            "effort_offset": str(record.offset),
            "effort_detail": refusal.detail,
            "effort_size": str(size),
            "effort_truncated": "true" if truncated else "false",
        }
        return Out(key, value, [(name, text.encode()) for name, text in headers.items()])

    # -- back --------------------------------------------------------------------------------------------------

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Takes one record of the changelog back."""
        tag = key[:1]
        if value is not None and tag != b"c" and value[:1] != b"\x01":
            raise self._fingerprint.unknown_format(value[:1])
        if tag == b"p":
            self._panes.restore(split_pane_key(key), None if value is None else decode_group(value))
        elif tag == b"l":
            number = int(key[1:])
            if value is not None:
                self._restore_block(number, value[1:])
            else:
                while self._blocks and self._blocks[0][0] <= number:
                    self._blocks.popleft()
        elif tag == b"f" and value is not None:
            self._profiles.restore(int(key[1:]), value)
        elif tag == b"c" and value is not None:
            self._fingerprint.restore(value)
        elif key == _META and value is not None:
            meta = _decode_meta(value[1:])
            self.applied, self.newest_ms, self.ended = meta.applied, meta.newest_ms, meta.ended
            self.counts = meta.counts
            self._stored = meta.held
            self._fingerprint.check_partitions(meta.partitions, self._intake.partitions)

    def _restore_block(self, number: int, block: bytes) -> None:
        self._ledger.restore(number, block)
        newest_ms = int(np.frombuffer(block, "<u8")[1::3].max()) >> 22
        if self._blocks and self._blocks[-1][0] == number:
            self._blocks.pop()
        self._blocks.append((number, newest_ms))

    def resume(self) -> None:
        """Checks that the restored state means the same as the configuration, and goes on from it."""
        self._fingerprint.check()
        self._profiles.resume()
        self._fingerprint.check_held(self._stored, self._held())
        self._panes.resume(self.newest_ms)
        self._age_ledger()

    def progress(self) -> dict[str, int]:
        """Outcomes counted so far."""
        return self.counts.copy()

    # -- for the metrics ---------------------------------------------------------------------------------------

    @property
    def watermark_ms(self) -> int | None:
        """Newest event time less max_out_of_orderness, or None before the first event."""
        return None if self.newest_ms is None else self.newest_ms - self._timing.max_out_of_orderness_ms

    @property
    def sizes(self) -> dict[str, int]:
        """How much it holds."""
        return {
            "panes": len(self._panes.groups),
            "ledger_entries": self._ledger.size,
            "ledger_bytes": self._ledger.memory_bytes,
            "profiles": len(self._profiles),
        }


def _seed(key: bytes) -> int:
    return int(xxhash.xxh3_64_intdigest(key))


def touchpoint_partition(touchpoint: str, partitions: int) -> int:
    """The partition of every record about a touchpoint: murmur2, as Kafka's own clients hash keys."""
    return int((murmur2(touchpoint.encode()) & 0x7FFFFFFF) % partitions)
