"""Measurements, each a function of its seed: levels and delays, false alarms, transitions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.random import Generator, default_rng

from bench.alerts.machine import Bools, alarmed, changes
from bench.alerts.watchers import (
    OURS,
    STEPS,
    WATCHERS,
    Ratios,
    cusum,
    matched,
    matched_gains,
    paths,
)
from bench.alerts.worlds import (
    DAY,
    HOUR,
    MONTH,
    STEADY,
    Floats,
    Ints,
    Known,
    World,
    answers,
    history,
    rule,
)

LEVEL = float(MONTH)
OWN_LEVEL = "the same at its own level"
RAMP = "ramp"
RISES = (*(str(step) for step in STEPS), RAMP)
INCIDENTS = ("0.5", "1.0")

_TOGETHER = 50  # series in memory at once
_KEPT_EVERY = 10  # minutes between the kept points of a running maximum
_BEFORE = 2 * DAY
_AFTER = 14 * DAY
_RAMP_POINTS, _RAMP_MINUTES = 0.5, DAY


@dataclass(frozen=True)
class Delay:
    """Hours from the beginning of a rise to the alarm; inf where more than that share was not found in 14 days."""

    world: str
    per_hour: float
    rise: str
    watcher: str
    median: float
    mean: float
    p90: float
    missed: float
    series: int


@dataclass(frozen=True)
class FalseAlarms:
    """Alarms of the product's rule in calm months at the level of one a month."""

    world: str
    wander: float
    per_hour: float
    history_days: int
    per_month: float
    alarmed_share: float
    margin: float
    months: int


@dataclass(frozen=True)
class Transitions:
    """Changes of state per incident of a day, and hours from its end until the alarm ended for good."""

    world: str
    per_hour: float
    rise: str
    watcher: str
    per_incident: float
    exit_median: float
    found: float


def _batches(series: int) -> Iterator[Ints]:
    for first in range(0, series, _TOGETHER):
        yield np.arange(first, min(first + _TOGETHER, series))


def first_passage(path: Floats, level: float) -> Floats:
    """Minutes until a path first reaches a level, shape (series,); inf where it does not."""
    reached = path >= level
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)


def calibrated(maxima: Floats, minutes: int) -> float:
    """The level at which first alarms come once a month of the time at risk, from running maxima of calm series."""
    low, high = float(maxima[:, -1].min()), float(maxima[:, -1].max())
    for _ in range(60):
        level = (low + high) / 2
        times = first_passage(maxima, level) * _KEPT_EVERY
        at_risk = np.minimum(times, minutes).sum()
        if np.isfinite(times).sum() / at_risk * MONTH > 1:
            low = level
        else:
            high = level
    return high


def levels(world: World, per_hour: float, months: int, known: Known, rng: Generator) -> dict[str, float]:
    """Each watcher's level for one false alarm a series-month in a world, and of the matched CUSUMs where steady."""
    kept: dict[str, list[Floats]] = {}
    for some in _batches(months):
        part = known.pick(some)
        n, sums = answers(world, per_hour, len(some), MONTH, rng)
        found = list(_with_matched(world, n, sums, part))
        for name, path in found:
            maxima = np.maximum.accumulate(path, axis=1)[:, _KEPT_EVERY - 1 :: _KEPT_EVERY]
            kept.setdefault(name, []).append(maxima.astype(np.float32))
    return {name: calibrated(np.concatenate(parts), MONTH) for name, parts in kept.items()}


def _with_matched(world: World, n: Floats, sums: Floats, known: Known) -> Iterator[tuple[str, Floats]]:
    yield from paths(n, sums, known, Ratios.of(known))
    if world == STEADY:
        for step in STEPS:
            yield matched(step), cusum(matched_gains(n, sums, step))


def rise_of(kind: str, begins: Ints, minutes: Ints) -> Floats:
    """Points that a rise adds in each minute, shape (series, minutes)."""
    since = minutes - begins[:, None]
    if kind == RAMP:
        return _RAMP_POINTS * np.clip(since / _RAMP_MINUTES, 0, 1)
    return float(kind) * (since >= 0)


def rises(world: World, per_hour: float, months: int, seed: int) -> list[Delay | Transitions]:
    """Delays and transitions of every watcher at its calibrated level, and of ours at its own.

    Levels are found on so many calm series-months; then each kind of rise comes to twice as many series.
    """
    rng = default_rng(seed)
    known = history(world, per_hour, months, rng, rule())
    level = levels(world, per_hour, months, known, rng)
    rows: list[Delay | Transitions] = []
    for kind in RISES:
        rows += _delays_of(kind, world, per_hour, 2 * months, known, level, rng)
    for step in INCIDENTS:
        rows += _transitions_of(step, world, per_hour, months, known, level, rng)
    return rows


def _delays_of(
    kind: str,
    world: World,
    per_hour: float,
    series: int,
    known: Known,
    level: dict[str, float],
    rng: Generator,
) -> Iterator[Delay]:
    found: dict[str, list[Floats]] = {}
    for some in _batches(series):
        part = known.pick(some % len(known.mean))
        begins = _BEFORE + rng.integers(DAY, size=len(some))
        minutes = _BEFORE + DAY + _AFTER
        n, sums = answers(
            world, per_hour, len(some), minutes, rng, lambda when, begins=begins: rise_of(kind, begins, when)
        )
        for name, path in paths(n, sums, part, Ratios.of(part)):
            found.setdefault(name, []).append(_after(first_passage(path, level[name]), begins))
            if name == OURS:
                found.setdefault(OWN_LEVEL, []).append(_after(first_passage(path, np.log(LEVEL)), begins))
        if world == STEADY and kind != RAMP:
            name = matched(float(kind))
            gains = matched_gains(n, sums, float(kind)) * (np.arange(minutes) >= begins[:, None])
            found.setdefault(name, []).append(_after(first_passage(cusum(gains), level[name]), begins))
    for name, parts in found.items():
        yield _summary(np.concatenate(parts), world, per_hour, kind, name)


def _after(times: Floats, begins: Ints) -> Floats:
    """Hours from the beginning to the alarm; a series that alarmed before it is left out."""
    late = (times - begins) / HOUR
    return late[late > 0]


def _summary(hours: Floats, world: World, per_hour: float, kind: str, name: str) -> Delay:
    median, p90 = np.quantile(hours, [0.5, 0.9], method="inverted_cdf")
    return Delay(
        world=world.name,
        per_hour=per_hour,
        rise=kind,
        watcher=name,
        median=float(median),
        mean=float(np.minimum(hours, _AFTER / HOUR).mean()),
        p90=float(p90),
        missed=float(np.isinf(hours).mean()),
        series=len(hours),
    )


def false_alarms(
    world: World, per_hour: float, months: int, history_days: int, seed: int
) -> list[FalseAlarms]:
    """Alarms of our rule in calm months, each alarm left by its own rule before the next."""
    rng = default_rng(seed)
    known = history(world, per_hour, months, rng, rule(), history_days)
    n, sums = answers(world, per_hour, months, MONTH, rng)
    states = alarmed(n, sums, Ratios.of(known), LEVEL)
    return [
        FalseAlarms(
            world=world.name,
            wander=world.wander,
            per_hour=per_hour,
            history_days=history_days,
            per_month=changes(states)[0] / months,
            alarmed_share=float(states.mean()),
            margin=float(np.mean([one.margin for one in known.baselines])),
            months=months,
        )
    ]


def _transitions_of(
    kind: str,
    world: World,
    per_hour: float,
    series: int,
    known: Known,
    level: dict[str, float],
    rng: Generator,
) -> Iterator[Transitions]:
    """Changes of state from the beginning of a rise of 24 hours until 48 hours after its end.

    Every watcher but ours is on or off by one level, the calibrated one; ours is at its own level.
    """
    counted: dict[str, list[tuple[int, float, bool]]] = {name: [] for name in WATCHERS}
    for some in _batches(series):
        part = known.pick(some % len(known.mean))
        begins = _BEFORE + rng.integers(DAY, size=len(some))
        ends = begins + DAY

        def rise(when: Ints, begins: Ints = begins, ends: Ints = ends) -> Floats:
            return float(kind) * ((when >= begins[:, None]) & (when < ends[:, None]))

        n, sums = answers(world, per_hour, len(some), _BEFORE + 4 * DAY, rng, rise)
        ratios = Ratios.of(part)
        for name, path in paths(n, sums, part, ratios):
            states = alarmed(n, sums, ratios, LEVEL) if name == OURS else path >= level[name]
            for state, begin, end in zip(states, begins, ends, strict=True):
                if not state[begin - 1]:
                    counted[name].append(_incident(state[begin - 1 : end + 2 * DAY], DAY))
    for name, rows in counted.items():
        late = [one[1] for one in rows if one[2]] or [inf]
        yield Transitions(
            world=world.name,
            per_hour=per_hour,
            rise=kind,
            watcher=OWN_LEVEL if name == OURS else name,
            per_incident=float(np.mean([one[0] for one in rows])),
            exit_median=float(np.quantile(late, 0.5, method="inverted_cdf")),
            found=float(np.mean([one[2] for one in rows])),
        )


def _incident(state: Bools, minutes: int) -> tuple[int, float, bool]:
    """(changes, hours from the end until calm for good, whether it was found before the end)."""
    turns = int((state[1:] != state[:-1]).sum())
    on = np.flatnonzero(state)
    late = max(0.0, (on[-1] - minutes) / HOUR) if len(on) else 0.0
    return turns, late, bool(state[1 : minutes + 1].any())
