"""Time series with bounds, levels and alerts as SVG, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import escape
from itertools import groupby
from math import ceil, floor, log10
from zoneinfo import ZoneInfo

from scoring.panes import DAY_MS, HOUR_MS, MINUTE_MS

WIDTH = 1_000
LEFT, RIGHT, TOP = 64, 24, 76
PANEL, PANEL_GAP, LANE, AXIS = 190, 42, 30, 44
TICKS_MAX = 9
_PADDING = 0.08
_TICKS_MS = (
    *(MINUTE_MS * n for n in (1, 2, 5, 10, 15, 30)),
    *(HOUR_MS * n for n in (1, 2, 3, 6, 12)),
    *(DAY_MS * n for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)
_STYLE = """
.page { fill: #ffffff }
text { fill: #1f2328; font: 12px system-ui, sans-serif }
.title { font-size: 17px; font-weight: 600 }
.small { fill: #59636e; font-size: 11px }
.end { text-anchor: end }
.middle { text-anchor: middle }
.halo { stroke: #ffffff; stroke-width: 3px; paint-order: stroke }
.grid { stroke: #d8dee4 }
.frame { fill: none; stroke: #b5bdc5 }
.score { fill: none; stroke: #0b63c5; stroke-width: 1.4; stroke-linejoin: round }
.dot { fill: #0b63c5 }
.bounds { fill: #0b63c5; fill-opacity: 0.18 }
.enter { stroke: #cf222e; stroke-width: 1.3; stroke-dasharray: 7 4 }
.exit { stroke: #2d7d46; stroke-width: 1.3; stroke-dasharray: 2 4 }
.critical { fill: #cf222e }
.warning { fill: #b35900 }
.shade { fill-opacity: 0.14 }
.pending { fill-opacity: 0.3 }
.lane { fill: #eff2f5 }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 }
text { fill: #e6edf3 }
.small { fill: #9aa4ae }
.halo { stroke: #0d1117 }
.grid { stroke: #262c34 }
.frame { stroke: #4a535d }
.score { stroke: #6cb6ff }
.dot { fill: #6cb6ff }
.bounds { fill: #6cb6ff; fill-opacity: 0.22 }
.enter { stroke: #ff8079 }
.exit { stroke: #6bc889 }
.critical { fill: #ff8079 }
.warning { fill: #e3a341 }
.shade { fill-opacity: 0.22 }
.pending { fill-opacity: 0.4 }
.lane { fill: #1a2029 }
}
"""


@dataclass(frozen=True, slots=True)
class Point:
    """A figure and its bounds at an instant; None where there is none."""

    at_ms: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Span:
    """An alert: pending from one instant, firing from another (None: never), over at a third."""

    severity: str
    pending_ms: int
    fired_ms: int | None
    end_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure over time.

    Attributes:
        low, high: what it can be at least and at most.
        percent: it is a share, shown in percent.
        levels: (``enter`` or ``exit``, rule, level).
        spans: alerts to shade.
    """

    title: str
    low: float
    high: float
    percent: bool
    points: Sequence[Point]
    levels: Sequence[tuple[str, str, float]] = ()
    spans: Sequence[Span] = ()


@dataclass(frozen=True, slots=True)
class Lane:
    """The alerts of one rule as a row of bars."""

    rule: str
    severity: str
    spans: Sequence[Span]


@dataclass(frozen=True, slots=True)
class Picture:
    """Panels above lanes, with one axis of time.

    Attributes:
        more: lanes that are not shown.
    """

    title: str
    subtitle: str
    begin_ms: int
    end_ms: int
    timezone: str
    panels: Sequence[Panel]
    lanes: Sequence[Lane] = field(default_factory=tuple)
    more: int = 0


def draw(picture: Picture) -> str:
    """The SVG document."""
    lanes_top = TOP + len(picture.panels) * (PANEL + PANEL_GAP) - PANEL_GAP + 16
    bottom = lanes_top + len(picture.lanes) * LANE
    height = bottom + AXIS + (16 if picture.more else 0)
    time = _Time(picture)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(picture.title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        _text(LEFT, 26, picture.title, "title"),
        _text(LEFT, 44, picture.subtitle, "small"),
        *time.axis(bottom),
    ]
    for at, panel in enumerate(picture.panels):
        parts += _panel(panel, TOP + at * (PANEL + PANEL_GAP), time)
    for at, lane in enumerate(picture.lanes):
        parts += _lane(lane, lanes_top + at * LANE, time)
    if picture.more:
        parts.append(_text(LEFT, height - 6, f"and {picture.more} more rules", "small"))
    return "\n".join([*parts, "</svg>", ""])


class _Time:
    """The axis of time."""

    def __init__(self, picture: Picture) -> None:
        self.begin_ms = picture.begin_ms
        self.end_ms = max(picture.end_ms, picture.begin_ms + MINUTE_MS)
        self._zone = ZoneInfo(picture.timezone)

    def x(self, at_ms: int) -> float:
        at_ms = min(max(at_ms, self.begin_ms), self.end_ms)
        return LEFT + (WIDTH - LEFT - RIGHT) * (at_ms - self.begin_ms) / (self.end_ms - self.begin_ms)

    def axis(self, bottom: float) -> Iterator[str]:
        day_before = ""
        for at_ms, step_ms in self._ticks():
            x = self.x(at_ms)
            local = self._local(at_ms)
            day = f"{local:%Y-%m-%d}"
            yield f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"/>'
            if step_ms < DAY_MS:
                yield _text(x, bottom + 16, f"{local:%H:%M}", "middle")
            if day != day_before:
                yield _text(x, bottom + (16 if step_ms >= DAY_MS else 31), day, "middle")
            day_before = day

    def _local(self, at_ms: int) -> datetime:
        return datetime.fromtimestamp(at_ms / 1000, self._zone)

    def _ticks(self) -> Iterator[tuple[int, int]]:
        """(instant, step): on round local times; days begin at local midnights, whatever the clocks do."""
        span = self.end_ms - self.begin_ms
        step_ms = next((step for step in _TICKS_MS if span // step < TICKS_MAX), _TICKS_MS[-1])
        midnight = self._local(self.begin_ms).replace(hour=0, minute=0, second=0, microsecond=0)
        if step_ms >= DAY_MS:
            while (at_ms := int(midnight.timestamp() * 1000)) <= self.end_ms:
                if at_ms >= self.begin_ms:
                    yield at_ms, step_ms
                midnight += timedelta(milliseconds=step_ms)
            return
        first_ms = int(midnight.timestamp() * 1000)
        first_ms += ceil((self.begin_ms - first_ms) / step_ms) * step_ms
        for at_ms in range(first_ms, self.end_ms + 1, step_ms):
            yield at_ms, step_ms


class _Scale:
    """The axis of a figure, over what there is to show and no further than it can reach."""

    def __init__(self, panel: Panel, top: float) -> None:
        shown = [level for _, _, level in panel.levels]
        for point in panel.points:
            shown += [value for value in (point.value, point.low, point.high) if value is not None]
        low, high = min(shown, default=panel.low), max(shown, default=panel.high)
        padding = _PADDING * ((high - low) or (panel.high - panel.low))
        self.low, self.high = max(panel.low, low - padding), min(panel.high, high + padding)
        self._top, self._percent = top, panel.percent

    def y(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        return self._top + PANEL * (self.high - value) / (self.high - self.low)

    def label(self, value: float) -> str:
        return f"{100 * value:g} %" if self._percent else f"{value:g}"

    def ticks(self) -> Iterator[float]:
        rough = (self.high - self.low) / 5
        power = 10.0 ** floor(log10(rough))
        step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough)
        for at in range(ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9) + 1):
            yield round(at * step, 10)


def _panel(panel: Panel, top: float, time: _Time) -> Iterator[str]:
    scale = _Scale(panel, top)
    right = WIDTH - RIGHT
    yield _text(LEFT, top - 6, panel.title, "small")
    for tick in scale.ticks():
        y = scale.y(tick)
        yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
        yield _text(LEFT - 8, y + 4, scale.label(tick), "end")
    for span in panel.spans:
        x = time.x(span.fired_ms or span.end_ms)
        width = max(time.x(span.end_ms) - x, 1.0)
        yield (
            f'<rect class="shade {span.severity}" x="{x:.1f}" y="{top}" width="{width:.1f}" height="{PANEL}">'
            f"<title>{escape(span.text)}</title></rect>"
        )
    yield from _curve(panel.points, scale, time)
    for kind, rule, level in panel.levels:
        y = scale.y(level)
        yield f'<line class="{kind}" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
        yield _text(right - 4, y - 4, f"{rule}: {kind} {scale.label(level)}", "end small halo")
    yield f'<rect class="frame" x="{LEFT}" y="{top}" width="{right - LEFT}" height="{PANEL}"/>'


def _curve(points: Sequence[Point], scale: _Scale, time: _Time) -> Iterator[str]:
    """Bounds, then the score above them; broken where there is none."""
    for known, run in groupby(points, key=lambda point: point.low is not None and point.high is not None):
        if known:
            part = list(run)
            above = [f"{time.x(p.at_ms):.1f},{scale.y(p.high or 0.0):.1f}" for p in part]
            below = [f"{time.x(p.at_ms):.1f},{scale.y(p.low or 0.0):.1f}" for p in reversed(part)]
            yield f'<polygon class="bounds" points="{" ".join(above + below)}"/>'
    for known, run in groupby(points, key=lambda point: point.value is not None):
        if known:
            places = [f"{time.x(p.at_ms):.1f},{scale.y(p.value or 0.0):.1f}" for p in run]
            if len(places) > 1:
                yield f'<polyline class="score" points="{" ".join(places)}"/>'
            else:
                x, y = places[0].split(",")
                yield f'<circle class="dot" cx="{x}" cy="{y}" r="1.5"/>'


def _lane(lane: Lane, top: float, time: _Time) -> Iterator[str]:
    fired = sum(span.fired_ms is not None for span in lane.spans)
    told = "never fired" if not fired else f"fired {fired:,} {'time' if fired == 1 else 'times'}"
    yield _text(LEFT, top + 12, f"{lane.rule} ({lane.severity}): {told}", "small")
    yield f'<rect class="lane" x="{LEFT}" y="{top + 16}" width="{WIDTH - LEFT - RIGHT}" height="10"/>'
    for span in lane.spans:
        edges = [(span.pending_ms, span.fired_ms or span.end_ms, "pending ")]
        if span.fired_ms is not None:
            edges.append((span.fired_ms, span.end_ms, ""))
        for start_ms, end_ms, pending in edges:
            if end_ms > start_ms:
                x = time.x(start_ms)
                width = max(time.x(end_ms) - x, 1.0)
                yield (
                    f'<rect class="{pending}{span.severity}" x="{x:.1f}" y="{top + 16}" width="{width:.1f}" '
                    f'height="10"><title>{escape(span.text)}</title></rect>'
                )


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
