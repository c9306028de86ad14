"""Pictures of a backtest: the score of each watched series over time, with its bounds, its levels and its alerts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from zoneinfo import ZoneInfo

from agents.alert_series import WatchedSeries
from agents.alerting import Watch
from app.backtest import Backtest
from app.backtest_figures import Incident, incidents
from app.backtest_svg import Lane, Panel, Picture, Point, Span, draw
from app.history import Looker
from scoring.alerts.levels import axis
from scoring.alerts.rules import Rule, ScoreName, Severity, ThresholdRule
from scoring.catalog import Catalog
from scoring.panes import DAY_MS, HOUR_MS, MINUTE_MS

PANELS_MAX = 3
LANES_MAX = 16
POINTS_MAX = 1_500
BUSY_PER_HOUR = 20
"""Answers an hour from which on a series that no level tells a window of is drawn by the hour, else by the day."""

NAME_BYTES_MAX = 80
_UNSAFE = re.compile(r"[^A-Za-z0-9._=-]+")
_STEPS_MS = tuple(MINUTE_MS * n for n in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 10_080))
_FIGURES = {
    ScoreName.EFFORT_INDEX: "effort index",
    ScoreName.LOW_EFFORT_SHARE: "share of low-effort answers",
    ScoreName.RESPONSE_RATE: "response rate",
    ScoreName.UNRESOLVED_SHARE: "share of unresolved interactions",
}
_VALUES = {"ces": "effort score", "csat": "satisfied, %", "nps": "NPS"}


@dataclass(frozen=True, slots=True)
class _Figure:
    """What one panel shows."""

    score: ScoreName
    window: str
    window_ms: int


def write_pictures(folder: Path, watches: Iterable[Watch], made: Backtest, catalog: Catalog) -> list[Path]:
    """Writes one SVG for each series of everybody that a rule watches, and for each of a segment that had an alert.

    Args:
        folder: exists.
        watches: in order of their series, with all of history in their cells.
        made: what the rules said.
        catalog: what is declared.

    Returns:
        The files, in order of the series.
    """
    found: dict[str, list[Incident]] = {}
    for one in incidents(made.records):
        found.setdefault(one.opened["fingerprint"], []).append(one)
    written: list[Path] = []
    for _, group in groupby(watches, key=lambda watch: (watch.series.touchpoint, watch.series.code)):
        beside = list(group)
        series = beside[0].series
        if not series.segment or any(watch.fingerprint in found for watch in beside):
            path = _unused(folder, _file_name(series), written)
            path.write_text(draw(_picture(beside, found, made, catalog)), encoding="utf-8")
            written.append(path)
    return written


def _unused(folder: Path, name: str, written: Sequence[Path]) -> Path:
    """A name may stand for two series once what a file name cannot hold is gone."""
    path, number = folder / f"{name}.svg", 2
    while path in written:
        path, number = folder / f"{name}-{number}.svg", number + 1
    return path


def _file_name(series: WatchedSeries) -> str:
    asked = "interactions" if series.question is None else series.question.id
    parts = [series.touchpoint, asked, *(f"{name}={value}" for name, value in series.segment.items())]
    return "--".join(_UNSAFE.sub("-", part)[:NAME_BYTES_MAX].strip("-") for part in parts)


def _picture(
    watches: Sequence[Watch], found: dict[str, list[Incident]], made: Backtest, catalog: Catalog
) -> Picture:
    series = watches[0].series
    begin_ms, end_ms = made.first_ms or 0, made.last_ms or 0
    of_rules = [(watch, found.get(watch.fingerprint, [])) for watch in watches]
    moments = {record_ms for _, own in of_rules for one in own for record_ms in _moments(one)}
    figures = _figures([watch.rule for watch in watches], series, end_ms - begin_ms)
    panels = []
    for figure in figures:
        own = [
            (watch, spans)
            for watch, spans in of_rules
            if _shown_by(watch.rule) == figure
            or (figure == figures[0] and _shown_by(watch.rule) not in figures)
        ]
        panels.append(_panel(figure, series, own, (begin_ms, end_ms), moments, catalog))
    lanes = [
        Lane(watch.rule.id, watch.rule.severity.value, [_span(one, end_ms) for one in own])
        for watch, own in of_rules
    ]
    asked = "interactions" if series.question is None else series.question.id
    segment = "".join(f", {name} = {value}" for name, value in series.segment.items())
    n = sum(map(series.n, series.cells.hours.values()))
    return Picture(
        title=f"{series.touchpoint}: {asked}{segment}",
        subtitle=f"{n:,} {'interactions' if series.question is None else 'answers'}, "
        f"{_instant(begin_ms, catalog)} to {_instant(end_ms, catalog)} {catalog.timezone}",
        begin_ms=begin_ms,
        end_ms=end_ms,
        timezone=catalog.timezone,
        panels=panels,
        lanes=lanes[:LANES_MAX],
        more=max(0, len(lanes) - LANES_MAX),
    )


def _instant(time_ms: int, catalog: Catalog) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, ZoneInfo(catalog.timezone)):%Y-%m-%d %H:%M}"


def _moments(one: Incident) -> list[int]:
    return [moment for moment in (one.pending_ms, one.fired_ms, one.ended_ms) if moment is not None]


def _shown_by(rule: Rule) -> _Figure | None:
    """The figure that a rule has levels of."""
    if isinstance(rule, ThresholdRule):
        return _Figure(rule.score, rule.window, rule.window_ms)
    return None


def _figures(rules: Sequence[Rule], series: WatchedSeries, span_ms: int) -> list[_Figure]:
    levelled = [figure for rule in rules if (figure := _shown_by(rule)) is not None]
    if levelled:
        return list(dict.fromkeys(levelled))[:PANELS_MAX]
    n = sum(map(series.n, series.cells.hours.values()))
    is_busy = n * HOUR_MS >= BUSY_PER_HOUR * span_ms
    score = ScoreName.UNRESOLVED_SHARE if series.question is None else ScoreName.VALUE
    return [_Figure(score, "1h", HOUR_MS) if is_busy else _Figure(score, "24h", DAY_MS)]


def _panel(
    figure: _Figure,
    series: WatchedSeries,
    watches: Sequence[tuple[Watch, list[Incident]]],
    period: tuple[int, int],
    moments: set[int],
    catalog: Catalog,
) -> Panel:
    step_ms, points = _points(figure, series, period, moments, catalog)
    scale = axis(figure.score, series.question)
    share = figure.score not in (ScoreName.VALUE, ScoreName.EFFORT_INDEX)
    metric = "" if series.question is None else series.question.metric.value
    name = _FIGURES.get(figure.score) or _VALUES.get(metric, "score")
    worse = "higher" if scale.rising else "lower"
    every = next(f"{step_ms // size}{unit}" for size, unit in _UNITS if step_ms % size == 0)
    return Panel(
        title=f"{name} of the last {figure.window}, every {every}, with {catalog.confidence:.0%} bounds; "
        f"{worse} is worse, from {scale.low:g} to {scale.high:g}",
        low=float(scale.low),
        high=float(scale.high),
        percent=share,
        points=points,
        levels=[
            level
            for watch, _ in watches
            if isinstance(watch.rule, ThresholdRule)
            for level in (
                ("enter", watch.rule.id, watch.rule.enter),
                ("exit", watch.rule.id, watch.rule.exit),
            )
        ],
        spans=[_span(one, period[1]) for _, own in watches for one in own if one.fired_ms is not None],
    )


_UNITS = ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"))


def _points(
    figure: _Figure, series: WatchedSeries, period: tuple[int, int], moments: set[int], catalog: Catalog
) -> tuple[int, list[Point]]:
    """(step, the figure at each step and at each transition, so that what fired is seen however short it was)."""
    begin_ms, end_ms = period
    step_ms = next((step for step in _STEPS_MS if (end_ms - begin_ms) // step <= POINTS_MAX), _STEPS_MS[-1])
    first_ms = begin_ms - begin_ms % step_ms + step_ms
    instants = sorted({*range(first_ms, end_ms, step_ms), *moments, end_ms})
    rule = ThresholdRule(
        "", Severity.WARNING, score=figure.score, window=figure.window, window_ms=figure.window_ms
    )
    looker = Looker(rule, series, catalog.confidence)
    points = []
    for at_ms in instants:
        look = looker.at(at_ms)
        hidden = look.n < catalog.privacy_floor
        points.append(
            Point(at_ms, None, None, None) if hidden else Point(at_ms, look.value, look.low, look.high)
        )
    return step_ms, points


def _span(one: Incident, end_ms: int) -> Span:
    return Span(
        one.opened["severity"],
        one.pending_ms,
        one.fired_ms,
        end_ms if one.ended_ms is None else one.ended_ms,
        f"{one.opened['rule']}: {one.summary}",
    )
