"""The scores stage: merges the partials of all source partitions, slides and closes windows, publishes scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from agents.alert_records import AlertPublisher
from agents.alert_store import TAGS as ALERT_TAGS
from agents.alerting import Alerting, Watch
from agents.calendars import CalendarWindows
from agents.fingerprint import Fingerprint, StateMismatchError
from agents.hard_answers import HardAnswers
from agents.merging import Change, MergedPanes
from agents.panes import Layout, code_question, parse_series_code, series_code
from agents.partials import MARK, SourceId, Statement, decode_mark, decode_partial, decode_statement
from agents.ports import Batch, Out, Outgoing
from agents.publishing import Publisher
from agents.segments import KeptValues, SegmentCaps
from agents.topics import ALERTS, INTERACTION_STATS, SCORES, WINDOWS
from scoring.catalog import Catalog
from scoring.live import LiveSums
from scoring.panes import DAY_MS, MINUTE_MS, pane_start
from scoring.tallies import INTERACTION_FIELDS, add, length
from scoring.watermarks import Merged, SourceState, merged_watermark

END_MS: Final = 1 << 53
"""The watermark behind everything: every source of a replay has ended."""

_encode = msgspec.msgpack.Encoder().encode
_META: Final = b"m"
_FORMATS_END: Final = 32
"""Format versions are single bytes below it; no text begins with one."""

Series = tuple[str, str]
"""(touchpoint, published series code)"""


class _Meta(msgspec.Struct, array_like=True):
    applied: int
    statements: list[Statement]
    offsets: list[tuple[int, int, int]]
    watermark_ms: int | None
    moment_ms: int | None
    frozen_ms: int
    partitions: int
    windows_published: int
    held: dict[str, int] = {}
    stepped_ms: int | None = None


_decode_meta = msgspec.msgpack.Decoder(_Meta).decode


class ScoreStage:
    """The state of one partition of the partials topic: every touchpoint that hashes to it.

    Args:
        partition: of the partials topic, and of every output topic.
        catalog: what is declared.
        partitions: of every topic of the prefix; twice as many sources report.
        kept: segment values to publish, where the files have said (replay).
        keep_all: nothing leaves the retention (replay).
    """

    name = "scores"

    def __init__(
        self,
        partition: int,
        catalog: Catalog,
        partitions: int,
        *,
        kept: KeptValues | None = None,
        keep_all: bool = False,
    ) -> None:
        layout = Layout.of(catalog, keep_all=keep_all)
        self.partition = partition
        self.applied = -1
        self._watermark_ms: int | None = None
        self.windows_published = 0
        self._catalog = catalog
        self._partitions = partitions
        self._retention_ms = layout.retention_ms
        self._panes = MergedPanes(layout.widths, layout.origin_ms)
        self._live: list[LiveSums[Series]] = [LiveSums(window, layout.origin_ms) for window in catalog.live]
        self._calendars = CalendarWindows(catalog)
        self._caps = SegmentCaps(catalog, kept)
        self._publisher = Publisher(catalog, self._caps)
        self._alerting = Alerting(catalog)
        self._hard = HardAnswers()
        self._alerts = AlertPublisher(catalog, self._live, self._hard)
        self._orphans_due = False
        self._fingerprint = Fingerprint(catalog)
        self._stored: dict[str, int] = {}
        self._statements: dict[SourceId, Statement] = {}
        self._moment_ms: int | None = None
        self._zeros: dict[tuple[int, str, str], int] = {}
        self._zeros_dirty: set[tuple[int, str, str]] = set()
        self._undecodable = 0
        self._seen: Merged | None = None
        self._news = False

    # -- the step ----------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> None:
        """Applies the next batch of partials and statements."""
        for record in batch.records:
            try:
                if record.key:
                    touchpoint = record.key.decode()
                    partial = decode_partial(record.value)
                    self._moment_ms = max(self._moment_ms or 0, partial.newest_ms)
                    for change in self._panes.apply(touchpoint, partial):
                        self._shift(touchpoint, change)
                    for question, answers in partial.hard:
                        self._hard.add(touchpoint, question, answers)
                elif record.value.startswith(MARK):
                    self._alerting.mark(decode_mark(record.value))
                else:
                    self._hear(decode_statement(record.value))
            except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
                # Ours, but of another version: left out, what it says would be lost. Else it is not ours: only
                # a foreign producer can write such a record into an internal topic, and it must not stop the scores.
                if record.value and record.value[0] < _FORMATS_END:
                    raise StateMismatchError(
                        f"partition {self.partition} of the partials topic, offset {record.offset}: another version of "
                        "effortstream has written this record, and to leave it out would lose answers. "
                        "Run the version that wrote it, or start with a new topic prefix and group."
                    ) from None
                self._undecodable += 1
        self.applied = batch.end - 1
        self._news = True

    def _hear(self, statement: Statement) -> None:
        source = statement.kind, statement.partition
        held = self._statements.get(source)
        if held is None or statement.offset >= held.offset:
            self._statements[source] = statement

    def _shift(self, touchpoint: str, change: Change) -> None:
        code = self._count(touchpoint, change)
        # Of panes that were let go of it cannot be told what is new: a fold would count again what was told before.
        if code is not None and change[2] >= self._calendars.frozen_ms:
            self._alerting.take(touchpoint, code, change[2], change[1], change[3])

    def _count(self, touchpoint: str, change: Change) -> str | None:
        """Adds to the windows; the code that the series is published under, None where it is not."""
        raw_code, width, start_ms, delta = change
        question = code_question(raw_code)
        if question and question not in self._catalog.questions:  # it was removed from the configuration
            return None
        code = self._caps.published(touchpoint, raw_code)
        series = touchpoint, code
        for sums in self._live:
            if width <= sums.window.pane_ms:  # a coarser pane was folded since it lies before this window
                sums.add(series, start_ms, delta)
        self._calendars.add(touchpoint, code, start_ms, delta)
        return code

    # -- time --------------------------------------------------------------------------------------------------

    def _merged(self, now_ms: int) -> Merged:
        """The watermark over all sources; the wall clock when all are idle; END_MS when all have ended."""
        states = [
            SourceState(
                said.offset,
                said.newest_ms,
                END_MS if said.ended else said.watermark_ms,
                said.idle and not said.ended,
                said.stated_ms,
            )
            for said in self._statements.values()
        ]
        merged = merged_watermark(states, 2 * self._partitions, now_ms)
        if not merged.all_idle:
            return merged
        timing = self._catalog.timing
        watermark_ms = now_ms - timing.max_out_of_orderness_ms - timing.idle_timeout_ms
        return Merged(watermark_ms, all_idle=True, highest_ms=max(now_ms, merged.highest_ms or 0))

    def tick(self, now_ms: int, *, at_end: bool) -> None:  # noqa: ARG002 - the same port as the intakes
        """Finds out whether time alone has moved a window."""
        merged = self._merged(now_ms)
        finest = min((sums.window.pane_ms for sums in self._live), default=1_000)
        seen = self._seen
        if (
            seen is None
            or merged.all_idle != seen.all_idle
            or (
                merged.watermark_ms is not None
                and merged.watermark_ms // 1_000 != (seen.watermark_ms or 0) // 1_000
            )
            or (merged.highest_ms or 0) // finest != (seen.highest_ms or 0) // finest
        ):
            self._news = True

    # -- out ---------------------------------------------------------------------------------------------------

    def checkpoint(self, now_ms: int) -> Outgoing | None:
        """Slides and closes windows, and drains state and outputs."""
        if not self._news:
            return None
        self._news = False
        merged = self._seen = self._merged(now_ms)
        if merged.watermark_ms is not None:
            self._watermark_ms = max(self._watermark_ms or 0, merged.watermark_ms)
        if merged.highest_ms is not None:
            self._moment_ms = max(self._moment_ms or 0, merged.highest_ms)
        self._publisher.watermark_ms = self.watermark_ms
        self._publisher.now_ms = now_ms
        out = Outgoing(self.applied + 1)
        out.changelog += self._fingerprint.fresh()
        self._publish_live(out)
        self._publish_windows(out)
        self._publish_alerts(out, merged)
        self._forget(merged)
        out.changelog += self._calendars.drain_gone()
        out.changelog += self._panes.drain()
        out.changelog += self._caps.drain()
        out.changelog += self._drain_zeros()
        out.changelog += self._alerting.drain()
        out.changelog += [Out(b"h" + key, b"\x01" + value) for key, value in self._hard.drain()]
        out.changelog.append(Out(_META, b"\x01" + _encode(self._meta())))
        out.progress = self.progress()
        return out

    def _forget(self, merged: Merged) -> None:
        """Lets go of what no source can change: the slowest one says so, not the one that is read ahead of it.

        When all are idle nothing more is forgotten: after an outage the answers of days ago may still come.
        """
        if self._retention_ms is None or merged.all_idle or merged.watermark_ms is None:
            return
        until_ms = pane_start(merged.watermark_ms - self._retention_ms, DAY_MS)
        if until_ms > self._calendars.frozen_ms:
            self._calendars.freeze(until_ms)
            self._panes.forget(until_ms)

    def progress(self) -> dict[str, int]:
        """Calendar windows published so far."""
        return {"windows": self.windows_published}

    def _meta(self) -> _Meta:
        offsets = [(kind, partition, offset) for (kind, partition), offset in self._panes.offsets.items()]
        return _Meta(
            self.applied,
            list(self._statements.values()),
            offsets,
            self._watermark_ms,
            self._moment_ms,
            self._calendars.frozen_ms,
            self._partitions,
            self.windows_published,
            self._held(),
            self._alerting.stepped_ms,
        )

    def _held(self) -> dict[str, int]:
        """How many records of each sort a restore must find, once all of this checkpoint is in the changelog."""
        return {"panes": len(self._panes)}

    def _publish_windows(self, out: Outgoing) -> None:
        for revision in self._calendars.close(self._watermark_ms):
            out.changelog.append(self._calendars.stored(revision))
            out.send(WINDOWS, self.partition, self._publisher.window(revision))
            self.windows_published += 1

    def _publish_alerts(self, out: Outgoing, merged: Merged) -> None:
        """Steps the rules up to the watermark; what one checkpoint can not take waits for the next."""
        alerting, until_ms = self._alerting, merged.watermark_ms
        if not alerting or until_ms is None:
            return
        if until_ms == END_MS:  # of a replay: up to the end of its last minute
            until_ms = (self._moment_ms or 0) + MINUTE_MS
        if self._orphans_due:
            self._orphans_due = False
            for name, life, last in alerting.orphans(alerting.stepped_ms or until_ms):
                out.send(
                    ALERTS, self.partition, self._alerts.orphan(name, life, last, self._publisher.now_ms)
                )
        for made in alerting.step(until_ms):
            record = self._alerts.transition(made, self._publisher.now_ms)
            alerting.published(made.watch, record.value)
            out.send(ALERTS, self.partition, record)
        if alerting.is_behind(until_ms):
            self._news = True

    def _publish_live(self, out: Outgoing) -> None:
        for at, sums in enumerate(self._live):
            if self._moment_ms is not None:
                sums.advance(self._moment_ms)
            if sums.end_ms is None:
                continue
            for touchpoint, code in sorted(self._with_questions(sums)):
                self._publish_series(out, at, touchpoint, code)
            sums.changed.clear()
            self._bury(out, at)

    def _with_questions(self, sums: LiveSums[Series]) -> set[Series]:
        """The changed series, and the questions beside changed interactions."""
        changed = set(sums.changed)
        for touchpoint, code in sums.changed:
            question, segment, values = parse_series_code(code)
            if not question:
                for name in self._catalog.questions:
                    beside = touchpoint, series_code(name, segment, values)
                    if beside in sums.totals:
                        changed.add(beside)
        return changed

    def _publish_series(self, out: Outgoing, at: int, touchpoint: str, code: str) -> None:
        sums = self._live[at]
        question, segment, values = parse_series_code(code)
        vector = sums.totals.get((touchpoint, code))
        zero = at, touchpoint, code
        if vector is not None and self._zeros.pop(zero, None) is not None:
            self._zeros_dirty.add(zero)
        if vector is None:
            if zero in self._zeros or sums.end_ms is None:
                return
            self._zeros[zero] = sums.end_ms
            self._zeros_dirty.add(zero)
            vector = self._empty(question)
        if question:
            beside = sums.totals.get((touchpoint, series_code("", segment, values)))
            record = self._publisher.live(sums, touchpoint, code, vector, beside[0] if beside else 0)
            out.send(SCORES, self.partition, record)
        else:
            out.send(INTERACTION_STATS, self.partition, self._publisher.stats(sums, touchpoint, code, vector))

    def _empty(self, question: str) -> list[int]:
        declared = self._catalog.questions.get(question)
        return [0] * (length(declared) if declared is not None else len(INTERACTION_FIELDS))

    def _bury(self, out: Outgoing, at: int) -> None:
        """Tombstones for the series that have had no answer for one more window length."""
        sums = self._live[at]
        size_ms, end_ms = sums.window.size_ms, sums.end_ms or 0
        for zero in [
            zero for zero, since in self._zeros.items() if zero[0] == at and end_ms >= since + size_ms
        ]:
            _, touchpoint, code = zero
            del self._zeros[zero]
            self._zeros_dirty.add(zero)
            topic = SCORES if parse_series_code(code)[0] else INTERACTION_STATS
            out.send(
                topic, self.partition, Out(self._publisher.live_key(sums.window.name, touchpoint, code), None)
            )

    def _drain_zeros(self) -> list[Out]:
        dirty, self._zeros_dirty = self._zeros_dirty, set()
        out = []
        for zero in sorted(dirty):
            since = self._zeros.get(zero)
            key = b"z" + _encode((self._live[zero[0]].window.name, *zero[1:]))
            out.append(Out(key, None if since is None else b"\x01" + _encode(since)))
        return out

    # -- back --------------------------------------------------------------------------------------------------

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Takes one record of the changelog back."""
        tag = key[:1]
        if value is not None and tag != b"c" and value[:1] != b"\x01":
            raise self._fingerprint.unknown_format(value[:1])
        if tag == b"p":
            self._panes.restore(key, value)
        elif tag == b"w":
            self._calendars.restore(key, value)
        elif tag == b"s" and value is not None:
            self._caps.restore(value)
        elif tag == b"z":
            self._restore_zero(key, value)
        elif tag == b"h":
            self._hard.restore(key[1:], None if value is None else value[1:])
        elif tag in ALERT_TAGS:
            self._alerting.store.restore(key, value)
        elif tag == b"c" and value is not None:
            self._fingerprint.restore(value)
        elif key == _META and value is not None:
            self._restore_meta(_decode_meta(value[1:]))

    def _restore_zero(self, key: bytes, value: bytes | None) -> None:
        window, touchpoint, code = msgspec.msgpack.decode(key[1:], type=tuple[str, str, str])
        for at, sums in enumerate(self._live):
            if sums.window.name == window:
                if value is None:
                    self._zeros.pop((at, touchpoint, code), None)
                else:
                    self._zeros[at, touchpoint, code] = msgspec.msgpack.decode(value[1:], type=int)

    def _restore_meta(self, meta: _Meta) -> None:
        self.applied, self._watermark_ms, self._moment_ms = meta.applied, meta.watermark_ms, meta.moment_ms
        self._statements = {(said.kind, said.partition): said for said in meta.statements}
        self._panes.resume({(kind, partition): offset for kind, partition, offset in meta.offsets})
        self._calendars.frozen_ms = meta.frozen_ms
        self.windows_published = meta.windows_published
        self._stored = meta.held
        self._alerting.stepped_ms = meta.stepped_ms
        self._fingerprint.check_partitions(meta.partitions, self._partitions)

    def resume(self) -> None:
        """Builds the windows again from the panes; nothing of it is news."""
        self._fingerprint.check()
        self._fingerprint.check_held(self._stored, self._held())
        tallies = []
        for touchpoint, change in self._panes.tallies():
            code = self._count(touchpoint, change)
            if code is not None and self._alerting:
                tallies.append((touchpoint, code, change[2], change[3]))
        self._alerting.resume(tallies)
        self._orphans_due = bool(self._alerting)
        self._calendars.resume()
        for sums in self._live:
            if self._moment_ms is not None:
                sums.advance(self._moment_ms)
            sums.changed.clear()

    # -- for the metrics ---------------------------------------------------------------------------------------

    @property
    def watermark_ms(self) -> int | None:
        """The merged watermark; None before all sources have reported, and behind the end of a replay."""
        return None if self._watermark_ms == END_MS else self._watermark_ms

    def interaction_totals(self) -> dict[tuple[str, str], tuple[dict[str, str], list[int]]]:
        """Interaction tallies over everything that is held, by (touchpoint, series code), with their segment."""
        totals: dict[tuple[str, str], tuple[dict[str, str], list[int]]] = {}
        for touchpoint, (raw_code, _, _, vector) in self._panes.tallies():
            code = self._caps.published(touchpoint, raw_code)
            if not parse_series_code(code)[0]:
                _, total = totals.setdefault(
                    (touchpoint, code), (self._publisher.segment(code), [0] * len(vector))
                )
                add(total, vector)
        return totals

    @property
    def alerts_stepped_ms(self) -> int | None:
        """Up to here the rules have been stepped; None before the first step, and without rules."""
        return self._alerting.stepped_ms

    @property
    def ended(self) -> bool:
        """Every source has reached the end of its input, and all windows are closed."""
        return self._watermark_ms == END_MS and not self._news

    @property
    def alerts_due_ms(self) -> int | None:
        """When a rule looks next; None before there is anything to look at."""
        return self._alerting.due_ms

    def watches(self) -> Iterator[Watch]:
        """Every rule on every series that it watches."""
        return self._alerting.watches()

    @property
    def sizes(self) -> dict[str, int]:
        """How much it holds."""
        return {
            "panes": len(self._panes),
            "windows": len(self._calendars.sums),
            "live_series": sum(len(sums.totals) for sums in self._live),
            "stale_partials": self._panes.stale,
            "undecodable_partials": self._undecodable,
            "beyond_retention": self._calendars.beyond_retention,
            **self._alerting.sizes,
        }
