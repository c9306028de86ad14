"""What alerting keeps in the changelog of the scores stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from agents.alert_cells import Minutes
from agents.alert_rising import RisingJudge
from agents.alert_series import SeriesKey, WatchedSeries
from agents.partials import Mark, decode_mark, encode_mark
from agents.ports import Out
from scoring.alerts.baseline import Baseline
from scoring.alerts.states import Life, State

if TYPE_CHECKING:
    from agents.alerting import Watch

FitKey = tuple[str, str, str]
"""(rule, touchpoint, series code)"""

StoredHour = tuple[Minutes, list[int], dict[str, Any]]
"""(minutes, what is known by the hour only, places of detectors by rule)"""

HOURS, LIVES, FITS, MARKS = b"a", b"l", b"f", b"d"
"""First letter of the keys."""

TAGS = frozenset((HOURS, LIVES, FITS, MARKS))

_FORMAT = b"\x01"
_encode = msgspec.msgpack.Encoder().encode
_decode_hour_key = msgspec.msgpack.Decoder(tuple[str, str, int]).decode
_decode_fit_key = msgspec.msgpack.Decoder(tuple[str, str, str, int]).decode
_decode_hour = msgspec.msgpack.Decoder(tuple[dict[int, list[int]], list[int], dict[str, Any]]).decode
_decode_life = msgspec.msgpack.Decoder(tuple[str, int, int, int | None, int | None, int | None, bytes]).decode


@dataclass(slots=True)
class AlertStore:
    """Gathers what is to be written, and what was read until it is resumed.

    Attributes:
        lives: every alert by its fingerprint; those of rules that are gone keep their sequence number here.
        records: what was published last of those that are pending or firing.
        touched: series whose cells or detectors may have changed.
        stored: hours that were read back, until they are resumed: minutes, the rest, and places by rule.
        fits, marks: likewise.
    """

    lives: dict[str, Life] = field(default_factory=dict)
    records: dict[str, bytes] = field(default_factory=dict)
    touched: set[SeriesKey] = field(default_factory=set)
    dirty_lives: set[str] = field(default_factory=set)
    dirty_marks: set[str] = field(default_factory=set)
    gone_hours: list[tuple[str, str, int]] = field(default_factory=list)
    gone_fits: list[tuple[str, str, str, int]] = field(default_factory=list)
    stored: dict[SeriesKey, dict[int, StoredHour]] = field(default_factory=dict)
    fits: dict[FitKey, dict[int, Baseline | None]] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)

    # -- out ---------------------------------------------------------------------------------------------------

    def drain(
        self,
        series: Mapping[SeriesKey, WatchedSeries],
        watches: Mapping[SeriesKey, Sequence[Watch]],
        marks: Mapping[str, Mark],
    ) -> list[Out]:
        """Changelog records of what changed since the last call."""
        out: list[Out] = []
        out += [Out(HOURS + _encode(hour_key), None) for hour_key in self.gone_hours]
        out += [Out(FITS + _encode(fit_key), None) for fit_key in self.gone_fits]
        self.gone_hours.clear()
        self.gone_fits.clear()
        for key in sorted(self.touched):
            if key in series:
                out += self._series(key, series[key], watches[key])
        self.touched.clear()
        for name in sorted(self.dirty_lives):
            out.append(Out(LIVES + name.encode(), _FORMAT + _encode(self._life(name))))
        self.dirty_lives.clear()
        for mark_id in sorted(self.dirty_marks):
            mark = marks.get(mark_id)
            value = None if mark is None else _FORMAT + encode_mark(mark)
            out.append(Out(MARKS + mark_id.encode(), value))
        self.dirty_marks.clear()
        return out

    @staticmethod
    def _series(key: SeriesKey, series: WatchedSeries, watches: Sequence[Watch]) -> list[Out]:
        out = []
        judges = [(watch, watch.judge) for watch in watches if isinstance(watch.judge, RisingJudge)]
        hours = set(series.cells.dirty)
        series.cells.dirty.clear()
        for _, judge in judges:
            hours |= judge.dirty
            judge.dirty.clear()
        for hour_ms in sorted(hours):
            minutes, rest = series.cells.stored(hour_ms)
            places = {
                watch.rule.id: judge.places[hour_ms] for watch, judge in judges if hour_ms in judge.places
            }
            empty = not minutes and not rest and not places
            value = None if empty else _FORMAT + _encode((minutes, rest, places))
            out.append(Out(HOURS + _encode((*key, hour_ms)), value))
        for watch, judge in judges:
            for fitted_ms in sorted(judge.dirty_fits):
                baseline = judge.fits[fitted_ms]
                raw = b"" if baseline is None else baseline.dump()
                out.append(Out(FITS + _encode((*watch.fit_key, fitted_ms)), _FORMAT + raw))
            judge.dirty_fits.clear()
        return out

    # -- back --------------------------------------------------------------------------------------------------

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Takes one record of the changelog back, whose key begins with one of TAGS."""
        tag, rest = key[:1], key[1:]
        if tag == HOURS:
            self._restore_hour(rest, value)
        elif tag == LIVES:
            if value is not None:
                self._restore_life(rest.decode(), value[1:])
        elif tag == FITS:
            *fit_key, fitted_ms = _decode_fit_key(rest)
            fits = self.fits.setdefault((fit_key[0], fit_key[1], fit_key[2]), {})
            if value is None:
                fits.pop(fitted_ms, None)
            else:
                fits[fitted_ms] = Baseline.load(value[1:]) if len(value) > 1 else None
        elif value is None:
            self.marks.pop(rest.decode(), None)
        else:
            self.marks[rest.decode()] = decode_mark(value[1:])

    def _restore_hour(self, raw_key: bytes, value: bytes | None) -> None:
        touchpoint, code, hour_ms = _decode_hour_key(raw_key)
        hours = self.stored.setdefault((touchpoint, code), {})
        hours.pop(hour_ms, None)
        if value is not None:
            hours[hour_ms] = _decode_hour(value[1:])

    def _restore_life(self, name: str, raw: bytes) -> None:
        state, sequence, since_ms, fired_at_ms, resolved_at_ms, leaving_ms, record = _decode_life(raw)
        self.lives[name] = Life(State(state), sequence, since_ms, fired_at_ms, resolved_at_ms, leaving_ms)
        if record:
            self.records[name] = record
        else:
            self.records.pop(name, None)

    def _life(self, name: str) -> tuple[Any, ...]:
        life = self.lives[name]
        return (
            life.state.value,
            life.sequence,
            life.since_ms,
            life.fired_at_ms,
            life.resolved_at_ms,
            life.leaving_ms,
            self.records.get(name, b""),
        )

    def release(self) -> None:
        """Once resumed: what was read is let go of."""
        self.stored, self.fits, self.marks = {}, {}, {}
