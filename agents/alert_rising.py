"""The rising rule at work: a detector stepped by the minute, its baseline refitted daily, replayed after an edit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import mul
from typing import Any
from zlib import crc32

from agents.alert_cells import Span
from agents.alert_series import WatchedSeries
from scoring.alerts.baseline import Baseline, fit
from scoring.alerts.conditions import Verdict
from scoring.alerts.rising import Detector, onset
from scoring.alerts.rules import MINUTE_MS, RisingRule
from scoring.panes import DAY_MS, HOUR_MS, pane_start

_FITS_KEPT = 4

Place = tuple[Any, int | None, int | None]
"""(the detector as it dumps itself, end of the newest minute with answers, end of the last alarm)"""


@dataclass(slots=True)
class RisingJudge:
    """A detector on one series.

    At each hour its state is kept as far back as edits may come. So an edit takes it back to the hour before, and steps
    it again over what is now tallied: the outcome is that of a stream in which the answer had come like that at once.

    Args:
        horizon_ms: how far back an edit may reach; after a silence of that length the detector begins anew.
        level: minutes per false alarm.
        hour_of_week: start of an hour -> 0..167, in the local calendar.

    Attributes:
        dirty: hours whose kept state changed.
        fits: baselines by when they were fitted; None where there was too little history.
        dirty_fits: which of them are not stored yet.
    """

    rule: RisingRule
    series: WatchedSeries
    level: float
    horizon_ms: int
    hour_of_week: Callable[[int], int]
    spans: tuple[Span, ...] = ()
    detector: Detector = field(default_factory=Detector)
    places: dict[int, Place] = field(default_factory=dict)
    dirty: set[int] = field(default_factory=set)
    fits: dict[int, Baseline | None] = field(default_factory=dict)
    dirty_fits: set[int] = field(default_factory=set)
    _at_ms: int | None = None
    _newest_ms: int | None = None
    _calm_ms: int | None = None
    _phase_ms: int = field(init=False)

    def __post_init__(self) -> None:
        """Series are refitted at different hours of the day, so that no hour has to fit them all."""
        self._phase_ms = crc32(f"{self.series.touchpoint}|{self.series.code}".encode()) % 24 * HOUR_MS

    # -- the port ----------------------------------------------------------------------------------------------

    def verdict(self, now_ms: int) -> Verdict:
        """Steps up to now."""
        if self._at_ms is None:
            self._at_ms = min(self.series.cells.minutes, default=now_ms)
        self._advance(now_ms)
        alarmed = self.detector.alarmed
        return Verdict(entered=alarmed, left=not alarmed)

    def next_ms(self, now_ms: int) -> int | None:
        """While alarmed, when a silence makes the detector begin anew; otherwise only answers raise or end an alarm."""
        if not self.detector.alarmed or self._newest_ms is None:
            return None
        silent_ms = self._newest_ms + self.horizon_ms
        due_ms = pane_start(silent_ms, HOUR_MS, self.series.cells.origin_ms) + HOUR_MS + MINUTE_MS
        return due_ms if due_ms > now_ms else None

    def evidence(self, now_ms: int) -> dict[str, Any]:
        """The baseline, and since when."""
        baseline = self._baseline(self._hour(now_ms))
        if baseline is None:
            return {}
        out: dict[str, Any] = {
            "baseline_mean": self._rating(baseline.mean),
            "baseline_n": baseline.n,
            "baseline_margin": baseline.margin,
            "minutes_per_false_alarm": self.level,
        }
        if self.detector.alarmed:
            since = self._onset(baseline, now_ms)
            if since is not None:
                n, effort = self._since(sum(since) // 2, now_ms)
                out |= {"since_from_ms": since[0], "since_to_ms": since[1], "n": n}
                out |= {"value": self._rating(effort / n) if n > 0 else None}
        return out

    # -- time --------------------------------------------------------------------------------------------------

    def _advance(self, now_ms: int) -> None:
        at_ms = self._at_ms
        assert at_ms is not None  # noqa: S101 - set by verdict
        while at_ms < now_ms:
            hour_ms = pane_start(at_ms, HOUR_MS, self.series.cells.origin_ms)
            if at_ms == hour_ms:
                self._keep(hour_ms)
            until_ms = min(now_ms, hour_ms + HOUR_MS)
            self._step(at_ms, until_ms)
            at_ms = until_ms
        self._at_ms = at_ms

    def _keep(self, hour_ms: int) -> None:
        """On an hour: refits if it is time to, and keeps the detector's state."""
        newest_ms = self._newest_ms
        if newest_ms is None or hour_ms - newest_ms > self.horizon_ms:
            self.detector, self._calm_ms = Detector(), None
            if self.places.pop(hour_ms, None) is not None:
                self.dirty.add(hour_ms)
            return
        place = self.detector.dump(), newest_ms, self._calm_ms
        if self.places.get(hour_ms) != place:
            self.places[hour_ms] = place
            self.dirty.add(hour_ms)

    def _step(self, from_ms: int, until_ms: int) -> None:
        """The minutes of one hour, or of a part of it."""
        hour_ms = pane_start(from_ms, HOUR_MS, self.series.cells.origin_ms)
        baseline = self._baseline(hour_ms)
        if baseline is None:
            self._pass(hour_ms, from_ms, until_ms)
            return
        cells, level, detector = self.series.cells, self.level, self.detector
        bucket, next_ms = self.hour_of_week(hour_ms), from_ms
        for minute_ms in cells.minutes_of(hour_ms):
            if not from_ms <= minute_ms < until_ms:
                continue
            detector.quiet((minute_ms - next_ms) // MINUTE_MS)
            n, effort = self._effort(cells.minutes[minute_ms])
            was_alarmed = detector.alarmed
            detector.step(baseline, bucket, minute_ms, n, effort, level)
            next_ms = minute_ms + MINUTE_MS
            if was_alarmed and not detector.alarmed:
                self._calm_ms = next_ms
            if n > 0:
                self._newest_ms = next_ms
        detector.quiet((until_ms - next_ms) // MINUTE_MS)

    def _pass(self, hour_ms: int, from_ms: int, until_ms: int) -> None:
        """Without a baseline only the newest answer is noted."""
        for minute_ms in self.series.cells.minutes_of(hour_ms):
            if from_ms <= minute_ms < until_ms and self.series.n(self.series.cells.minutes[minute_ms]) > 0:
                self._newest_ms = minute_ms + MINUTE_MS

    def late(self, minute_ms: int) -> None:
        """A tally came for a minute that was stepped already: back to the kept state before it.

        Before the first one the detector was new. What came before all minutes that are kept changes nothing.
        """
        if self._at_ms is None or minute_ms >= self._at_ms or minute_ms < self.series.cells.minutes_from:
            return
        before = max((hour_ms for hour_ms in self.places if hour_ms <= minute_ms), default=None)
        if before is not None:
            self._back_to(before)
        else:
            self.detector, self._newest_ms, self._calm_ms = Detector(), None, None
            self._at_ms = pane_start(minute_ms, HOUR_MS, self.series.cells.origin_ms)

    def _back_to(self, hour_ms: int) -> None:
        dumped, self._newest_ms, self._calm_ms = self.places[hour_ms]
        self.detector = Detector.load(dumped)
        self._at_ms = hour_ms

    # -- baselines ---------------------------------------------------------------------------------------------

    def _hour(self, now_ms: int) -> int:
        return pane_start(now_ms - MINUTE_MS, HOUR_MS, self.series.cells.origin_ms)

    def _baseline(self, at_ms: int) -> Baseline | None:
        fitted_ms = at_ms - (at_ms - self._phase_ms) % DAY_MS
        if fitted_ms not in self.fits:
            hours = {at: cell[:-1] for at, cell in self.series.cells.hours.items() if at < fitted_ms}
            self.fits[fitted_ms] = fit(hours, self._scale(), self.rule, fitted_ms, self.hour_of_week)
            self.dirty_fits.add(fitted_ms)
        return self.fits[fitted_ms]

    def forget(self, until_ms: int) -> list[int]:
        """Lets go of the states kept before an edge, and of old baselines; returns when those were fitted."""
        for hour_ms in [hour_ms for hour_ms in self.places if hour_ms < until_ms]:
            del self.places[hour_ms]
        old = [at for at in sorted(self.fits)[:-_FITS_KEPT] if at < until_ms - DAY_MS]
        for at in old:
            del self.fits[at]
            self.dirty_fits.discard(at)
        return old

    # -- back --------------------------------------------------------------------------------------------------

    def resume(self, stepped_ms: int) -> None:
        """After a restart: the newest kept state, and from there over the minutes again."""
        known = [hour_ms for hour_ms in self.places if hour_ms <= stepped_ms]
        if known:
            self._back_to(max(known))
            self._advance(stepped_ms)

    # -- figures -----------------------------------------------------------------------------------------------

    def _scale(self) -> Any:
        assert self.series.question is not None  # noqa: S101 - such a rule never watches interactions
        return self.series.question.scale

    def _effort(self, cell: list[int]) -> tuple[int, int]:
        """(answers, sum of their distances from the best rating)."""
        counts = cell[:-1]
        scale = self._scale()
        away = range(scale.points) if scale.best == scale.low else range(scale.points - 1, -1, -1)
        return sum(counts), sum(map(mul, away, counts))

    def _rating(self, away: float) -> float:
        """A mean distance from the best rating as a mean on the scale."""
        scale = self._scale()
        return float(scale.low + away if scale.best == scale.low else scale.high - away)

    def _since(self, since_ms: int, now_ms: int) -> tuple[int, int]:
        return self._effort(self.series.cells.total(since_ms - since_ms % MINUTE_MS, now_ms))

    def _onset(self, baseline: Baseline, now_ms: int) -> tuple[int, int] | None:
        begin_ms = max(now_ms - self.horizon_ms, self.series.cells.minutes_from, self._calm_ms or 0)
        minutes = [
            (at, *self._effort(cell))
            for at, cell in sorted(self.series.cells.minutes.items())
            if begin_ms <= at < now_ms
        ]
        return onset(minutes, baseline, self.hour_of_week)
