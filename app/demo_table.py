"""The demo's table: the scores of every touchpoint in journey order, where they are going, and how they got there.

Pure: score records in, rich renderables out. What a score is comes from the records; nothing is computed again here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from scoring.journey import JOURNEY_STAGES
from scoring.questions import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scoring.catalog import Catalog
    from scoring.questions import Question

SAMPLES_KEPT = 60
SPARK_WIDTH = 12
BLOCKS = "▁▂▃▄▅▆▇█"
# A change smaller than this part of a metric's range, or than this part of its own uncertainty, is no trend.
STEADY_SHARE = 0.015
STEADY_UNCERTAINTY = 0.5
# A sparkline never zooms in closer than this part of the range, or noise would look like news.
SPARK_SPAN_SHARE = 0.15
TREND_SAMPLES = 8
# Columns come with the room for them, in the order in which they are worth it.
SPARK_FROM_WIDTH, BOUNDS_WIDTH, QUESTION_WIDTH = 94, 112, 158
EFFORT_RANGE, CSAT_RANGE, BALANCE_RANGE = (0.0, 100.0), (0.0, 100.0), (-100.0, 100.0)
CALM, STRAINED = 33.0, 50.0


def half_up(value: float, digits: int) -> str:
    """A number as displays show it, halves rounded up (not to even).

    Example:
        >>> half_up(28.25, 1), half_up(0.125, 2), half_up(-0.04, 1)
        ('28.3', '0.13', '0.0')
    """
    step = Decimal(1).scaleb(-digits)
    rounded = Decimal(repr(value)).quantize(step, rounding=ROUND_HALF_UP)
    return str(abs(rounded) if rounded == 0 else rounded)


@dataclass(frozen=True, slots=True)
class Reading:
    """One score as the table uses it.

    Attributes:
        n: answers in the window.
        value: on its metric's scale, or None with too few answers.
        low, high: its bounds, or None.
        band: its name, or None.
        effort_index: 0 effortless to 100, for mean CES only.
    """

    n: int
    value: float | None
    low: float | None
    high: float | None
    band: str | None
    effort_index: float | None

    @property
    def figure(self) -> float | None:
        """What trend and sparkline follow: the effort index where there is one, the value elsewhere."""
        return self.value if self.effort_index is None else self.effort_index


@dataclass(slots=True)
class Row:
    """A touchpoint's question, with its newest reading and the figures before it, oldest first."""

    stage: str | None
    touchpoint: str
    question: Question
    reading: Reading | None = None
    figures: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES_KEPT))

    @property
    def is_effort(self) -> bool:
        """Whether its figure is an effort index, where less is better."""
        return self.question.metric is Metric.CES and self.question.ces_formula == "mean"

    @property
    def range(self) -> tuple[float, float]:
        """The range that its figure can take."""
        if self.is_effort:
            return EFFORT_RANGE
        return CSAT_RANGE if self.question.metric is Metric.CSAT else BALANCE_RANGE

    def take(self, record: Mapping[str, object]) -> None:
        """Adds a score record; a missing or hidden number stays None."""
        n, band = record.get("n"), record.get("band")
        self.reading = Reading(
            n=n if isinstance(n, int) else 0,
            value=_number(record.get("value")),
            low=_number(record.get("low")),
            high=_number(record.get("high")),
            band=band if isinstance(band, str) else None,
            effort_index=_number(record.get("effort_index")),
        )
        if self.reading.figure is not None:
            self.figures.append(self.reading.figure)

    @property
    def change(self) -> float | None:
        """How far the figure has moved over the last TREND_SAMPLES samples; None with fewer than two."""
        if len(self.figures) <= 1:
            return None
        return self.figures[-1] - self.figures[-min(len(self.figures), TREND_SAMPLES + 1)]

    @property
    def steady(self) -> float:
        """The change below which there is no trend, in the figure's unit."""
        low, high = self.range
        steady = STEADY_SHARE * (high - low)
        reading = self.reading
        if reading is None or reading.low is None or reading.high is None:
            return steady
        unit = 100 / (self.question.scale.high - self.question.scale.low) if self.is_effort else 1.0
        return max(steady, STEADY_UNCERTAINTY * unit * (reading.high - reading.low) / 2)


class ScoreBoard:
    """The rows of the table, in journey order, kept up to date from score records.

    Args:
        catalog: gives stages, questions and the order of declaration.
        asked: (touchpoint, question id) pairs that are shown even before they have a score.
    """

    def __init__(self, catalog: Catalog, asked: Iterable[tuple[str, str]]) -> None:
        self._catalog = catalog
        self._rows: dict[tuple[str, str], Row] = {}
        for touchpoint, question in asked:
            self._row(touchpoint, question)
        self.watermark_ms: int | None = None

    def take(self, records: Iterable[Mapping[str, object]]) -> None:
        """Takes in the scores of one window; series of a segment and undeclared questions are left out."""
        for record in records:
            touchpoint, question = record.get("touchpoint"), record.get("question")
            if record.get("segment") or not isinstance(touchpoint, str):
                continue
            if not isinstance(question, str) or question not in self._catalog.questions:
                continue
            self._row(touchpoint, question).take(record)
            watermark_ms = record.get("watermark_ms")
            if isinstance(watermark_ms, int):
                self.watermark_ms = max(self.watermark_ms or watermark_ms, watermark_ms)

    @property
    def rows(self) -> list[Row]:
        """In the order of the journey, then of declaration; undeclared stages and touchpoints come last."""
        touchpoints, questions = list(self._catalog.touchpoints), list(self._catalog.questions)

        def place(row: Row) -> tuple[int, int, str, int]:
            stage = JOURNEY_STAGES.index(row.stage) if row.stage in JOURNEY_STAGES else len(JOURNEY_STAGES)
            known = row.touchpoint in self._catalog.touchpoints
            declared = touchpoints.index(row.touchpoint) if known else len(touchpoints)
            return stage, declared, row.touchpoint, questions.index(row.question.id)

        return sorted(self._rows.values(), key=place)

    @property
    def scored(self) -> int:
        """How many rows have at least one answer."""
        return sum(row.reading is not None and row.reading.n > 0 for row in self._rows.values())

    @property
    def touchpoints(self) -> int:
        """How many touchpoints there are."""
        return len({row.touchpoint for row in self._rows.values()})

    def effort_at(self, touchpoint: str) -> float | None:
        """The effort index of a touchpoint's first effort question, or None."""
        for row in self.rows:
            if row.touchpoint == touchpoint and row.is_effort and row.reading is not None:
                return row.reading.effort_index
        return None

    def table(self, window: str, width: int, height: int | None = None) -> Table:
        """The table.

        Args:
            window: name of the window that the scores are of, for the heading.
            width: columns of the terminal; a narrow one loses questions, then bounds, then sparklines.
            height: lines that there are, or None for any number; too few show each touchpoint's first question.
        """
        rows = self.rows
        if height is not None and len(rows) + 1 > height:
            first: dict[str, Row] = {}
            for row in rows:
                first.setdefault(row.touchpoint, row)
            rows = list(first.values())
        roomy = width >= QUESTION_WIDTH
        table = Table(box=None, pad_edge=False, padding=(0, 2 if roomy else 1, 0, 0), header_style="bold")
        table.add_column("stage", no_wrap=True)
        table.add_column("touchpoint", no_wrap=True)
        if roomy:
            table.add_column("question", no_wrap=True)
        table.add_column("effort", justify="right", no_wrap=True)
        table.add_column(f"score ({window})", justify="right", no_wrap=True)
        table.add_column("n", justify="right", no_wrap=True)
        if width >= BOUNDS_WIDTH:
            table.add_column("bounds", justify="right", no_wrap=True)
        table.add_column("band", no_wrap=True)
        table.add_column("", no_wrap=True)
        if width >= SPARK_FROM_WIDTH:
            table.add_column("lately", no_wrap=True)
        shown: str | None = ""
        for row in rows:
            stage = "" if row.stage == shown else (row.stage or "-")
            shown = row.stage
            table.add_row(*_cells(row, stage, width))
        return table

    def _row(self, touchpoint: str, question: str) -> Row:
        row = self._rows.get((touchpoint, question))
        if row is None:
            stage = self._catalog.journey_stage(touchpoint)
            row = Row(stage, touchpoint, self._catalog.questions[question])
            self._rows[touchpoint, question] = row
        return row


def trend(row: Row) -> Text:
    """An arrow for where a figure is going, green for better and red for worse; both directions by name of effort."""
    change = row.change
    if change is None:
        return Text(" ")
    if abs(change) < row.steady:
        return Text("→", style="dim")
    worse = (change > 0) is row.is_effort
    return Text("↑" if change > 0 else "↓", style="bold red" if worse else "bold green")


def sparkline(figures: Iterable[float], low: float, high: float, width: int = SPARK_WIDTH) -> str:
    """The last figures as blocks, lowest to highest, never zoomed in closer than 15 % of the range.

    Args:
        figures: oldest first.
        low: the least that a figure can be.
        high: the most that it can be.
        width: how many are shown, the newest ones.

    Example:
        >>> sparkline([0, 50, 100], 0, 100)
        '▁▅█'
        >>> sparkline([50, 51, 50], 0, 100)
        '▄▅▄'
    """
    last = list(figures)[-width:]
    if not last:
        return ""
    span = max(max(last) - min(last), SPARK_SPAN_SHARE * (high - low))
    floor = (max(last) + min(last) - span) / 2
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[min(int((figure - floor) / span * len(BLOCKS)), top)] for figure in last)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _cut(text: str, length: int) -> str:
    """A text of at most ``length`` characters; rich would take the room from the numbers instead."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _cells(row: Row, stage: str, width: int) -> list[Text]:
    roomy = width >= QUESTION_WIDTH
    reading = row.reading or Reading(0, None, None, None, None, None)
    cells = [
        Text(_cut(stage, 12), style="cyan"),
        Text(_cut(row.touchpoint, 20 if width >= SPARK_FROM_WIDTH else 18)),
    ]
    if roomy:
        cells.append(Text(_cut(row.question.id, 25), style="dim"))
    cells += [_effort(reading), Text(_score(row, reading.value)), Text(f"{reading.n:,}")]
    if width >= BOUNDS_WIDTH:
        cells.append(Text(_bounds(row, reading), style="dim"))
    cells += [Text(_cut(reading.band or "-", 26 if roomy else 17)), trend(row)]
    if width >= SPARK_FROM_WIDTH:
        cells.append(Text(sparkline(row.figures, *row.range)))
    return cells


def _effort(reading: Reading) -> Text:
    index = reading.effort_index
    if index is None:
        return Text("-", style="dim")
    style = "green" if index <= CALM else "yellow" if index <= STRAINED else "bold red"
    return Text(half_up(index, 1), style=style)


def _score(row: Row, value: float | None) -> str:
    if value is None:
        return "-"
    question = row.question
    if row.is_effort:
        return f"CES {half_up(value, 2)} of {question.scale.low}-{question.scale.high}"
    if question.metric is Metric.CSAT:
        return f"CSAT {half_up(value, 1)} %"
    name = "NPS" if question.metric is Metric.NPS else "net ease"
    return f"{name} {half_up(value, 0)}"


def _bounds(row: Row, reading: Reading) -> str:
    if reading.low is None or reading.high is None:
        return "-"
    digits = 2 if row.is_effort else 1
    return f"{half_up(reading.low, digits)} to {half_up(reading.high, digits)}"
