"""The figures of replay and score as tables for people."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cells import COUNTS
from app.figures import EVERYBODY, Figures, SeriesKey, Summary, WindowKey, WindowTally, answers
from scoring.catalog import Catalog
from scoring.questions import Metric, Question
from scoring.scores import Score
from scoring.scores import score as scored
from scoring.tallies import INTERACTION_FIELDS, interaction_stats

TREND_WINDOWS = 24
ROWS_MAX = 100
NONE = "-"
_BARS = "▁▂▃▄▅▆▇█"
_TREND_UNITS = {"1h": "hours", "1d": "days"}


def rounded(value: float | None, digits: int = 1, unit: str = "") -> str:
    """A number for display, rounded half up as people do.

    Example:
        >>> rounded(0.25), rounded(62.5, 0, " %"), rounded(None)
        ('0.3', '63 %', '-')
    """
    if value is None:
        return NONE
    number = Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{number or abs(number):,}{unit}"


def sparkline(values: list[float], low: float, high: float) -> str:
    """Values as bars between the ends of their range.

    Example:
        >>> sparkline([0.0, 50.0, 100.0], 0.0, 100.0)
        '▁▅█'
    """
    steps = len(_BARS)
    return "".join(_BARS[min(steps - 1, int((value - low) / (high - low) * steps))] for value in values)


def print_figures(figures: Figures, catalog: Catalog, console: Console) -> None:
    """Prints the scores per touchpoint and per segment, the interactions, and what became of the rows."""
    for table in (*_score_tables(figures, catalog), *_interaction_tables(figures)):
        console.print(table)
        console.print()
    console.print(summary_text(figures.summary), soft_wrap=True)
    windows = sum(answers(tally.vector) > 0 for tally in figures.windows.values())
    if windows:
        console.print(Text(f"{windows:,} calendar windows: --format json prints them all", style="dim"))


def _score_tables(figures: Figures, catalog: Catalog) -> Iterator[Table]:
    groups: dict[tuple[str, ...], list[SeriesKey]] = {}
    for key in sorted(figures.totals):
        if answers(figures.totals[key]):
            groups.setdefault(tuple(orjson.loads(key[2])), []).append(key)
    for names, keys in sorted(groups.items()):
        trend = ("", {}) if names else _trends(figures, catalog)
        yield _score_table(names, keys, figures, catalog, trend)


def _score_table(
    names: tuple[str, ...],
    keys: list[SeriesKey],
    figures: Figures,
    catalog: Catalog,
    trend: tuple[str, dict[SeriesKey, str]],
) -> Table:
    """One table; columns that would say nothing are left out, so that it fits a terminal."""
    trend_title, trends = trend
    questions = {key[1]: catalog.questions[key[1]] for key in keys}
    title = f"By {' and '.join(names)}" if names else "Scores"
    table = plain_table(f"{title}: {next(iter(questions))}" if len(questions) == 1 else title)
    effort = any(question.is_ces_mean for question in questions.values())
    for name in ("touchpoint", *(["question"] if len(questions) > 1 else []), *names):
        table.add_column(name, overflow="fold")
    for name in ("n", "score", f"{catalog.confidence:.0%} bounds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("band")
    if effort:
        table.add_column("effort", justify="right", no_wrap=True)
    if trends:
        table.add_column(trend_title, no_wrap=True)
    before = ""
    for key in keys[:ROWS_MAX]:
        touchpoint = "" if key[0] == before else key[0]
        before = key[0]
        asked = [key[1]] if len(questions) > 1 else []
        score_cells = _score_cells(questions[key[1]], figures.totals[key], catalog)
        cells = [Text(cell) for cell in (touchpoint, *asked, *orjson.loads(key[2]).values())]
        cells += score_cells if effort else score_cells[:-1]
        table.add_row(*cells, *([trends.get(key, "")] if trends else []))
    if len(keys) > ROWS_MAX:
        table.caption = f"and {len(keys) - ROWS_MAX:,} more: --format json prints them all"
    return table


def _score_cells(question: Question, vector: list[int], catalog: Catalog) -> list[Text]:
    made = scored(question, vector, None, catalog.confidence)
    if made.n < catalog.privacy_floor:
        return [Text(cell) for cell in (f"< {catalog.privacy_floor}", NONE, NONE, NONE, NONE)]
    digits, unit = _display(question)
    bounds = NONE
    if made.low is not None:
        bounds = f"{rounded(made.low, digits)} .. {rounded(made.high, digits)}"
    return [
        Text(f"{made.n:,}"),
        Text(rounded(made.value, digits, unit)),
        Text(bounds),
        Text(made.band or NONE, style=_style(question, made)),
        Text(rounded(made.effort_index, 0)),
    ]


def _display(question: Question) -> tuple[int, str]:
    if question.metric is Metric.CSAT:
        return 1, " %"
    if question.is_ces_mean:
        return 2, f" of {question.scale.low}-{question.scale.high}"
    return 1, ""


def _range(question: Question) -> tuple[float, float]:
    if question.metric is Metric.CSAT:
        return 0.0, 100.0
    if question.is_ces_mean:
        return float(question.scale.low), float(question.scale.high)
    return -100.0, 100.0


def _style(question: Question, made: Score) -> str:
    """Green for the best band, red for the worst; a band between two is neither."""
    if question.bands is None or made.band is None:
        return ""
    names = question.bands.names
    return {names[0]: "red", names[-1]: "green"}.get(made.band, "yellow")


def _trends(figures: Figures, catalog: Catalog) -> tuple[str, dict[SeriesKey, str]]:
    """A title, and for each touchpoint its newest windows as bars over the whole range of the score.

    Days if there are several of them, else hours; windows without answers are left out.
    """
    values: dict[str, dict[SeriesKey, list[float]]] = {}
    for (touchpoint, question_id, segment, window, _), tally in sorted(figures.windows.items(), key=_window):
        made = scored(catalog.questions[question_id], tally.vector, None, catalog.confidence)
        if segment == EVERYBODY and made.value is not None and not catalog.privacy_floor:
            series = values.setdefault(window, {}).setdefault((touchpoint, question_id, segment), [])
            series.append(made.value)
    for window in sorted(values):  # "1d" before "1h"
        longest = max(map(len, values[window].values()))
        if longest > 1:
            bars = {
                key: sparkline(found[-TREND_WINDOWS:], *_range(catalog.questions[key[1]]))
                for key, found in values[window].items()
            }
            return f"last {min(longest, TREND_WINDOWS)} {_TREND_UNITS[window]}", bars
    return "", {}


def _window(item: tuple[WindowKey, WindowTally]) -> WindowKey:
    return item[0]


def _interaction_tables(figures: Figures) -> Iterator[Table]:
    everybody = {key: vector for key, vector in figures.interactions.items() if key[1] == EVERYBODY}
    if not everybody:
        return
    table = plain_table("Interactions")
    table.add_column("touchpoint", overflow="fold")
    # Of what is counted per interaction, only what the files know of
    counted = [name for name in COUNTS if any(vector[_place(name)] for vector in everybody.values())]
    for name in ("n", "resolved", "unresolved", "abandoned", "wait s", "duration s", *counted):
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for (touchpoint, _), vector in sorted(everybody.items()):
        stats = interaction_stats(vector)
        shares = (stats.resolved_share, stats.unresolved_share, stats.abandoned_share)
        table.add_row(
            Text(touchpoint),
            f"{stats.n:,}",
            *(rounded(None if share is None else 100 * share, 1, " %") for share in shares),
            rounded(stats.wait_s_mean),
            rounded(stats.duration_s_mean),
            *(rounded(getattr(stats, f"{name}_mean"), 2) for name in counted),
        )
    yield table


def _place(name: str) -> int:
    return INTERACTION_FIELDS.index(name)


def summary_text(summary: Summary) -> Text:
    """What became of the rows, in words."""
    counts: dict[str, int] = {
        "accepted": summary.accepted,
        "skipped": summary.skipped,
        "edits": summary.edits,
        "duplicates": summary.duplicates,
        "withdrawn": summary.withdrawn,
    }
    text = Text(f"{summary.read:,} responses read: ")
    text.append(", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "none")
    _append_refused(text, summary.dead_letters)
    if summary.interactions is not None:
        made = summary.interactions
        text.append(f"\n{made.read:,} interactions read: {made.accepted:,} accepted")
        if made.duplicates:
            text.append(f", {made.duplicates:,} duplicates")
        _append_refused(text, made.dead_letters)
    return text


def _append_refused(text: Text, reasons: dict[str, int]) -> None:
    if reasons:
        told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
        text.append(f", {sum(reasons.values()):,} refused ({told})", style="yellow")


def plain_table(title: str, **options: Any) -> Table:
    """An empty table in the style of all figures."""
    return Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, **options
    )
