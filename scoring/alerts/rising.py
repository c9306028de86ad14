"""Rising effort: the mixture Shiryaev-Roberts e-detector, stepped once a minute, and when the rise began.

R_i <- (R_i + 1) exp(lambda_i S - kappa_i n) for each drop i, with n answers and the sum S of their distances from the
best rating; alarm when the mean of the R_i reaches the level (Shin, Ramdas & Rinaldo 2024, "E-detectors").

Guarantee: below the baseline's null R less the minutes passed is a supermartingale, so by optional stopping
E[minutes to a false alarm] >= level, whatever the rate of answers and however often one looks, for a known baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import exp, log
from typing import NamedTuple

from scoring.alerts.baseline import Baseline
from scoring.alerts.rules import MINUTE_MS

LEAVE_LEVEL = 10_080.0
"""Minutes of a rise that goes on until it is wrongly taken for over: a week."""

WAIT_MAX = 1_440
"""Minutes without answers that count as possible beginnings: after a month of silence one answer must not alarm."""

_EXPONENT_MAX = 600.0  # exp(600) times any level is still a finite float
_SHARE_OUTSIDE = 0.05


@dataclass(slots=True)
class Detector:
    """State of the detector for one series. The same minutes give the same floats, however they are cut by dumps.

    A minute without answers adds 1 to each R, which is counted in ``waited`` and added with the next answers, so that
    any cut of a silence into ``quiet`` calls gives the same floats. Only minutes with answers raise or end an alarm.

    Attributes:
        r: R_i after the newest minute with answers, one for each drop; while alarmed those of the alarm.
        q: the reverse statistic after the newest minute with answers, while alarmed.
        waited: minutes without answers since.
        alarmed: whether effort is risen.
        since_ms: start of the minute that raised the alarm, or None.
    """

    r: list[float] = field(default_factory=list)
    q: float = 0.0
    waited: int = 0
    alarmed: bool = False
    since_ms: int | None = None

    @property
    def statistic(self) -> float:
        """Mean of the R_i; calm reaches this about once in so many minutes at most. Frozen while alarmed."""
        mean = sum(self.r) / len(self.r) if self.r else 0.0
        return mean if self.alarmed else mean + min(self.waited, WAIT_MAX)

    def step(
        self,
        baseline: Baseline,
        bucket: int,
        minute_ms: int,
        n: int,
        effort: int,
        level: float,
        leave: float = LEAVE_LEVEL,
    ) -> None:
        """One minute.

        Args:
            baseline: of the series; all its drops are those that the detector began with.
            bucket: hour of the week, 0..167.
            minute_ms: its start.
            n: answers; negative where a correction takes back more than came.
            effort: sum of their distances from the best rating; of either sign likewise.
            level: minutes per allowed false alarm.
            leave: level of the reverse statistic that ends an alarm.
        """
        if n == 0 and effort == 0:
            self.waited += 1
            return
        lambdas, kappas = baseline.ratio_at(bucket)
        minutes = min(self.waited, WAIT_MAX) + 1
        self.waited = 0
        if self.alarmed:
            middle = len(lambdas) // 2
            self.q = (self.q + minutes) * _exp(kappas[middle] * n - lambdas[middle] * effort)
            if self.q >= leave:
                self.r, self.q, self.alarmed, self.since_ms = [], 0.0, False, None
            return
        before = self.r or [0.0] * len(lambdas)
        self.r = [
            (r + minutes) * _exp(lam * effort - kappa * n)
            for r, lam, kappa in zip(before, lambdas, kappas, strict=True)
        ]
        if sum(self.r) >= level * len(self.r):
            self.alarmed, self.since_ms = True, minute_ms

    def quiet(self, minutes: int) -> None:
        """That many minutes without answers; the same as stepping each."""
        self.waited += minutes

    def dump(self) -> tuple[list[float], float, int, bool, int | None]:
        """All of the state; ``load`` gives back an equal detector."""
        return (list(self.r), self.q, self.waited, self.alarmed, self.since_ms)

    @classmethod
    def load(cls, state: Sequence[object]) -> Detector:
        """What ``dump`` gave, also after a way through msgpack or JSON."""
        r, q, waited, alarmed, since_ms = state
        return cls(list(r), q, waited, alarmed, since_ms)  # type: ignore[call-overload, arg-type]


def _exp(exponent: float) -> float:
    return exp(min(max(exponent, -_EXPONENT_MAX), _EXPONENT_MAX))


def onset(
    minutes: Iterable[tuple[int, int, int]], baseline: Baseline, hour_of_week: Callable[[int], int]
) -> tuple[int, int] | None:
    """When the rise began: the interval that holds 90 % of the posterior weight, 5 % left out at either side.

    The weight of a minute is what it adds to the statistic: the mean over the drops of the likelihood ratio of all
    answers from it on. Minutes of a silence weigh the same as the next one with answers.

    Args:
        minutes: (start_ms, n, effort) in rising order up to now, as given to ``Detector.step`` since it was last calm.
        baseline: of the series.
        hour_of_week: any instant in ms -> 0..167.

    Returns:
        (from_ms, to_ms): start of the first and end of the last minute of it; None without any answer.
    """
    answered = [minute for minute in minutes if minute[1] or minute[2]]
    if not answered:
        return None
    sums = [0.0] * baseline.drops
    logs: list[float] = []
    for start_ms, n, effort in reversed(answered):
        lambdas, kappas = baseline.ratio_at(hour_of_week(start_ms))
        sums = [old + lam * effort - kappa * n for old, lam, kappa in zip(sums, lambdas, kappas, strict=True)]
        top = max(sums)
        logs.append(top + log(sum(exp(one - top) for one in sums)))
    logs.reverse()
    top = max(logs)
    spans = [1, *((b[0] - a[0]) // MINUTE_MS for a, b in pairwise(answered))]
    spans = [min(span, WAIT_MAX) for span in spans]
    weights = [exp(one - top) for one in logs]
    total = sum(weight * span for weight, span in zip(weights, spans, strict=True))
    ends = []
    for share in (_SHARE_OUTSIDE, 1 - _SHARE_OUTSIDE):
        left = share * total
        for (start_ms, _, _), weight, span in zip(answered, weights, spans, strict=True):
            if left <= weight * span or start_ms == answered[-1][0]:
                passed = min(int(left / weight), span - 1) if weight > 0 else span - 1
                ends.append(start_ms - (span - 1 - passed) * MINUTE_MS)
                break
            left -= weight * span
    return ends[0], ends[1] + MINUTE_MS


class Rise(NamedTuple):
    """Answers since an instant beside what was to be expected of them, in distances from the best rating."""

    n: int
    mean: float
    expected: float

    @property
    def change(self) -> float:
        """Mean less expected, in points; positive is more effort."""
        return self.mean - self.expected


def expected_change(
    minutes: Iterable[tuple[int, int, int]],
    baseline: Baseline,
    hour_of_week: Callable[[int], int],
    from_ms: int,
) -> Rise | None:
    """The mean since an instant as it is, beside the usual one of the same hours.

    It is not corrected: the answers that raised an alarm are picked by it, so just after an alarm the change is
    inflated (0.67 for a true 0.5 in simulation) and falls to the truth as answers come in.

    Args:
        minutes: (start_ms, n, effort) up to now.
        baseline: of the series.
        hour_of_week: any instant in ms -> 0..167.
        from_ms: the instant, such as the start of ``onset``; earlier minutes are left out.

    Returns:
        None without answers since.
    """
    count, total, usual = 0, 0, 0.0
    for start_ms, n, effort in minutes:
        if start_ms >= from_ms:
            count += n
            total += effort
            usual += n * baseline.mean_at(hour_of_week(start_ms))
    return Rise(count, total / count, usual / count) if count > 0 else None
