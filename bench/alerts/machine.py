"""The product's detector with its alarms and their ends, over many series at once.

``scoring.alerts.rising.Detector`` steps one series; this steps arrays of them with the same recursion. A test runs
both over the same streams and finds the same minutes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.alerts.watchers import Ratios
from bench.alerts.worlds import HOUR, Floats
from scoring.alerts.rising import LEAVE_LEVEL

Bools = NDArray[np.bool_]


def alarmed(n: Floats, sums: Floats, ratios: Ratios, level: float) -> Bools:
    """Whether each series is alarmed after each minute, shape (series, minutes)."""
    series, minutes = n.shape
    drops = ratios.lambdas.shape[2]
    r, q = np.zeros((drops, series)), np.zeros(series)
    state = np.zeros(series, dtype=np.bool_)
    out = np.empty((minutes, series), dtype=np.bool_)
    by_minute, totals = np.ascontiguousarray(n.T), np.ascontiguousarray(sums.T)
    for hour in range(-(-minutes // HOUR)):
        lambdas, kappas = (
            np.ascontiguousarray(one[:, hour % 168].T) for one in (ratios.lambdas, ratios.kappas)
        )
        span = slice(hour * HOUR, min((hour + 1) * HOUR, minutes))
        gains = np.exp(lambdas * totals[span, None] - kappas * by_minute[span, None])
        answered = by_minute[span] > 0
        for at, (gain, some) in enumerate(zip(gains, answered, strict=True), span.start):
            r += 1
            r *= gain
            q += 1
            q /= gain[drops // 2]
            q *= state  # nothing ends what has not begun
            raised = ~state & some & (r.sum(axis=0) >= level * drops)
            ended = state & some & (q >= LEAVE_LEVEL)
            before, state = state, (state | raised) & ~ended
            r *= ~(before | state)  # begins anew after an alarm
            out[at] = state
    return out.T


def changes(states: Bools) -> tuple[int, int]:
    """(how often a state became true, how often it changed), over all series; before the first minute it is false."""
    before = np.concatenate([np.zeros((len(states), 1), dtype=np.bool_), states[:, :-1]], axis=1)
    return int((states & ~before).sum()), int((states != before).sum())
