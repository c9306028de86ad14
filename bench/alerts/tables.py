"""What was measured, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isinf

from rich.table import Table

from bench.alerts.measure import OWN_LEVEL, RAMP, RISES, Delay, FalseAlarms, Transitions
from bench.alerts.watchers import OURS, STEPS, TUNED, WATCHERS, matched

_ORDER = (*WATCHERS, OWN_LEVEL)


def _hours(value: float) -> str:
    return ">336" if isinf(value) else f"{value:.2f}" if value < 10 else f"{value:.1f}"  # noqa: PLR2004 - three figures


def delay_tables(rows: Sequence[Delay]) -> Iterable[Table]:
    """One table per world and rate: median / mean / 90th percentile in hours, and the optimum beside each step."""
    for world, per_hour in dict.fromkeys((row.world, row.per_hour) for row in rows):
        found = {
            (row.watcher, row.rise): row for row in rows if (row.world, row.per_hour) == (world, per_hour)
        }
        table = Table(
            title=f"Hours to the alarm, median / mean / p90: {world}, {per_hour:g} answers an hour",
            caption="all at one false alarm per series-month, but for ours at its own level (43,200)",
            title_justify="left",
        )
        table.add_column("watcher", no_wrap=True)
        for rise in RISES:
            table.add_column("ramp of 0.5 in 24 h" if rise == RAMP else f"step {rise}", no_wrap=True)
        table.add_column("mean of the steps", justify="right")
        for name in _ORDER:
            cells = [found[name, rise] for rise in RISES]
            table.add_row(name, *map(_cell, cells), _hours(mix([found[name, str(step)] for step in STEPS])))
        table.add_row("optimum, worst-case mean", *(_optimum(rows, per_hour, rise) for rise in RISES), "")
        yield table


def _cell(row: Delay) -> str:
    least = "≥" if row.missed > 0 else ""
    return f"{_hours(row.median)} / {least}{_hours(row.mean)} / {_hours(row.p90)}"


def _optimum(rows: Sequence[Delay], per_hour: float, rise: str) -> str:
    if rise == RAMP:
        return "-"
    name = matched(float(rise))
    return next((_hours(row.mean) for row in rows if (row.watcher, row.per_hour) == (name, per_hour)), "-")


def mix(rows: Sequence[Delay]) -> float:
    """Mean delay over the steps, each as likely."""
    return sum(row.mean for row in rows) / len(rows)


def false_alarm_table(rows: Sequence[FalseAlarms]) -> Table:
    """Our rule in calm months at the level of one false alarm a month."""
    table = Table(
        title="False alarms per calm series-month, ours at its own level (43,200)", title_justify="left"
    )
    table.add_column("world", no_wrap=True)
    for name in (
        "answers an hour",
        "history, days",
        "false alarms",
        "time alarmed",
        "margin, points",
        "months",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            f"{row.world}, wander {row.wander:g}",
            f"{row.per_hour:g}",
            str(row.history_days),
            f"{row.per_month:.2f}",
            f"{100 * row.alarmed_share:.2f} %",
            f"{row.margin:.3f}",
            str(row.months),
        )
    return table


def transition_table(rows: Sequence[Transitions]) -> Table:
    """Changes of state per incident of 24 hours."""
    table = Table(
        title="Changes of state per incident of 24 hours, until 48 hours after its end", title_justify="left"
    )
    table.add_column("watcher", no_wrap=True)
    for name in ("world", "answers an hour", "step", "transitions", "found within", "calm after, median h"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.watcher,
            row.world,
            f"{row.per_hour:g}",
            row.rise,
            f"{row.per_incident:.2f}",
            f"{100 * row.found:.0f} %",
            _hours(row.exit_median),
        )
    return table


def goals(delays: Sequence[Delay], alarms: Sequence[FalseAlarms], changes: Sequence[Transitions]) -> Table:
    """Each goal, met or missed, with its figures."""
    table = Table(title="Goals", title_justify="left")
    for name in ("goal", "figures", "met"):
        table.add_column(name)
    for goal, figures, met in [*_delay_goals(delays), *_other_goals(alarms, changes)]:
        table.add_row(goal, figures, "yes" if met else "NO")
    return table


def _delay_goals(rows: Sequence[Delay]) -> Iterable[tuple[str, str, bool]]:
    found = {(row.world, row.per_hour, row.rise, row.watcher): row for row in rows}
    for world, per_hour in dict.fromkeys((row.world, row.per_hour) for row in rows):
        place = f"{world}, {per_hour:g}/h"
        own = found[world, per_hour, "0.5", OWN_LEVEL]
        if per_hour == 20:  # noqa: PLR2004 - the rate that the goal names
            yield (
                f"{place}: a step of 0.5 in <= 5.5 h median, <= 10 h p90, own level",
                f"{own.median:.2f} / {own.p90:.2f}",
                own.median <= 5.5 and own.p90 <= 10,  # noqa: PLR2004 - the goal
            )
        worse = [
            f"{other} {rise}"
            for rise in RISES
            for other in WATCHERS
            if other not in (OURS, TUNED)
            and not _earlier(found[world, per_hour, rise, OURS], found[world, per_hour, rise, other])
        ]
        yield f"{place}: mean and p90 before static, for, z and slack", "; ".join(worse) or "all", not worse
        ours, tuned = (found[world, per_hour, "0.5", name] for name in (OURS, TUNED))
        yield (
            f"{place}: within 5 % of the tuned CUSUM on its own step (mean)",
            f"{ours.mean:.2f} / {tuned.mean:.2f} = {ours.mean / tuned.mean:.3f}",
            ours.mean <= 1.05 * tuned.mean,
        )
        ours_mix, tuned_mix = (
            mix([found[world, per_hour, str(step), name] for step in STEPS]) for name in (OURS, TUNED)
        )
        yield (
            f"{place}: before the tuned CUSUM over the mix of steps (mean)",
            f"{ours_mix:.2f} / {tuned_mix:.2f}",
            ours_mix < tuned_mix,
        )


def _earlier(ours: Delay, other: Delay) -> bool:
    return ours.mean <= other.mean and ours.p90 <= other.p90


def _other_goals(
    alarms: Sequence[FalseAlarms], changes: Sequence[Transitions]
) -> Iterable[tuple[str, str, bool]]:
    worst = max(alarms, key=lambda row: row.per_month)
    place = f"{worst.world}, wander {worst.wander:g}, {worst.per_hour:g}/h, {worst.history_days} days"
    yield (
        "at most one false alarm per calm series-month, every world",
        f"at most {worst.per_month:.2f} ({place})",
        worst.per_month <= 1,
    )
    most = max((row for row in changes if row.watcher == OWN_LEVEL), key=lambda row: row.per_incident)
    yield (
        "at most 2.5 transitions per incident",
        f"at most {most.per_incident:.2f} ({most.world}, {most.per_hour:g}/h, {most.rise})",
        most.per_incident <= 2.5,  # noqa: PLR2004 - the goal
    )
