"""From the tables of a configuration file to the catalog; what each key means stands in effortstream.toml."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, TypeVar

from scoring.bands import Bands
from scoring.catalog import Catalog, Segment, Timing, Touchpoint
from scoring.journey import JOURNEY_STAGES
from scoring.questions import Metric, Question, Scale, question
from scoring.windows import Calendar, CalendarWindow, LiveWindow, calendar_window, live_window

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.config_tables import Table

LIVE_DEFAULT = ("5m", "1h", "24h", "7d")
CALENDAR_DEFAULT = ("1h", "1d")
MAX_VALUES_DEFAULT = 50
NPS_SCALE = Scale(0, 10, 10)
SCALE_EXAMPLE = "scale = { low = 1, high = 7, best = 7 }"
_Window = TypeVar("_Window", LiveWindow, CalendarWindow)


def read_catalog(root: Table) -> Catalog:
    """The catalog that a file declares; what is wrong in it is noted, and the catalog is then of no use."""
    strict = root.flag("strict", default=False)
    max_undeclared = root.whole("max_undeclared", 1000, minimum=0)
    privacy_floor = root.whole("privacy_floor", 0, minimum=0)
    confidence = root.level("confidence", 0.95)
    touchpoints = _touchpoints(root.table("touchpoints"))
    questions = _questions(root.table("questions"), touchpoints if strict else None)
    if root.content.get("questions", {}) == {}:
        root.note(
            "questions", "none is declared", f'Add [questions.ID] with metric = "ces" and {SCALE_EXAMPLE}'
        )
    live, calendar, timezone, timing = _windows(root.table("windows"))
    return Catalog(
        questions=questions,
        touchpoints=touchpoints,
        segments=_segments(root.table("segments")),
        live=live,
        calendar=calendar,
        timezone=timezone,
        timing=timing,
        strict=strict,
        max_undeclared=max_undeclared,
        privacy_floor=privacy_floor,
        confidence=confidence,
    )


def _questions(table: Table, only: dict[str, Touchpoint] | None) -> dict[str, Question]:
    """Every question; ``only`` holds the touchpoints where no others are accepted."""
    out: dict[str, Question] = {}
    for name, entry in table.tables("question"):
        found = _question(name, entry)
        entry.finish()
        if found is None:
            continue
        if only is not None and found.touchpoint is not None and found.touchpoint not in only:
            entry.note(
                "touchpoint",
                "is not declared, and strict = true accepts no other",
                f"Declare [touchpoints.{found.touchpoint!r}], or correct the name",
                found.touchpoint,
            )
        out[name] = found
    return out


def _question(name: str, table: Table) -> Question | None:
    before = len(table.problems)
    metric = table.choice("metric", [metric.value for metric in Metric], None)
    table.missing("metric", 'metric = "ces", "csat" or "nps"')
    scale = _scale(table, metric)
    positive = table.numbers("positive", int, "[4, 5]")
    low_effort = table.numbers("low_effort", int, "[6, 7]")
    formula = table.choice("ces_formula", ("mean", "net-ease"), "mean")
    touchpoint = table.text("touchpoint", None)
    min_n = table.whole("min_n", 1, minimum=1)
    comments = table.flag("comments", default=False)
    bands = _bands(table, falling=metric == Metric.CES)
    if metric is None or scale is None or len(table.problems) > before:
        return None
    return table.declared(
        lambda: question(
            name,
            metric,
            scale,
            positive=positive,
            low_effort=low_effort,
            ces_formula=formula,
            touchpoint=touchpoint,
            min_n=min_n,
            comments=comments,
            bands=bands,
        ),
        prefix=f"questions.{name}.",
    )


def _scale(table: Table, metric: str | None) -> Scale | None:
    if "scale" not in table:
        # NPS has one scale; anything else is never guessed, since nothing in an answer tells its direction
        if metric == Metric.NPS:
            return NPS_SCALE
        table.missing("scale", SCALE_EXAMPLE)
        return None
    before = len(table.problems)
    entry = table.table("scale")
    ends = [entry.whole_or_none(key, SCALE_EXAMPLE) for key in ("low", "high", "best")]
    entry.finish()
    low, high, best = ends
    if low is None or high is None or best is None or len(table.problems) > before:
        return None
    return table.declared(lambda: Scale(low, high, best))


def _bands(table: Table, *, falling: bool) -> Bands | None:
    """A question's own bands: names from worst to best, with an edge between each two."""
    if "bands" not in table:
        return None
    entry = table.table("bands")
    names = entry.texts("names", (), '["poor", "good"]')
    edges = entry.numbers("edges", (int, float), "[70, 80]") or []
    entry.finish()
    if len(edges) != len(names) - 1 or not all(map(isfinite, edges)):
        entry.note(
            "edges",
            f"{len(names)} names need {max(len(names) - 1, 0)} edges",
            "Give the edges between them",
            edges,
        )
        return None
    # str, since 16.67 means the decimal as written; a score on an edge belongs to the better band
    exact = tuple(Fraction(str(edge)) for edge in edges)
    return table.declared(lambda: Bands(tuple(names), exact, (True,) * len(exact), falling))


def _touchpoints(table: Table) -> dict[str, Touchpoint]:
    out: dict[str, Touchpoint] = {}
    for name, entry in table.tables("touchpoint"):
        stage = entry.text("journey_stage", None)
        entry.finish()
        # Companies may have stages of their own, but "Support" beside "support" would split one stage in two
        plain = None if stage is None else " ".join(stage.replace("_", " ").replace("-", " ").split()).lower()
        if plain in JOURNEY_STAGES and stage != plain:
            entry.note("journey_stage", "is another spelling of a known stage", f'Write "{plain}"', stage)
        out[name] = Touchpoint(name, stage)
    return out


def _segments(table: Table) -> tuple[Segment, ...]:
    out: list[Segment] = []
    plain = [name for name in table.content if "+" not in name]
    for name, entry in table.tables("segment"):
        fields = tuple(name.split("+"))
        values = None
        if len(fields) == 1:
            values = entry.texts("values", (), '["web", "phone"]') if "values" in entry else None
            if values is not None and "max_values" in entry:
                entry.note("max_values", "has no meaning beside values", "Keep one of the two")
            if entry.content.get("values") == []:
                entry.note("values", "lists nothing", "List the values, or write max_values = 50", [])
        elif unknown := [field for field in fields if field not in plain]:
            entry.note(
                (),
                f"combines {', '.join(map(repr, unknown))}, which is not declared",
                f"Declare it as a segment of its own, or correct it. Declared: {', '.join(plain) or 'none'}",
            )
        elif len(set(fields)) < len(fields):
            entry.note((), "combines a segment with itself", "Name each segment once")
        elif any(set(other.fields) == set(fields) for other in out):
            entry.note((), "is declared already, with its names in another order", "Remove one of the two")
        max_values = entry.whole("max_values", MAX_VALUES_DEFAULT, minimum=1)
        entry.finish()
        out.append(Segment(name, fields, None if values is None else frozenset(values), max_values))
    return tuple(out)


def _windows(
    table: Table,
) -> tuple[tuple[LiveWindow, ...], tuple[CalendarWindow, ...], str, Timing]:
    live = _named(table, "live", LIVE_DEFAULT, live_window)
    calendar = _named(table, "calendar", CALENDAR_DEFAULT, calendar_window)
    sizes: dict[int, str] = {}
    for window in live:
        same = sizes.setdefault(window.size_ms, window.name)
        if same != window.name:
            table.note("live", f'is as long as "{same}"', "Keep one of the two", window.name)
    if not live and not calendar and table.content.get("live") == table.content.get("calendar") == []:
        table.note((), "neither live nor calendar has a window", 'Write one, such as live = ["1h"]')
    timezone = table.text("timezone", "UTC")
    table.declared(lambda: Calendar(timezone), "timezone")
    usual = Timing()
    timing = Timing(
        max_out_of_orderness_ms=table.duration_ms(
            "max_out_of_orderness", usual.max_out_of_orderness_ms, zero=True
        ),
        idle_timeout_ms=table.duration_ms("idle_timeout", usual.idle_timeout_ms, zero=False),
        grace_ms=table.duration_ms("grace", usual.grace_ms, zero=True),
        max_future_ms=table.duration_ms("max_future", usual.max_future_ms, zero=True),
        horizon_ms=table.duration_ms("horizon", usual.horizon_ms, zero=False),
    )
    table.finish()
    return live, calendar, timezone, timing


def _named(
    table: Table, key: str, default: tuple[str, ...], build: Callable[[str], _Window]
) -> tuple[_Window, ...]:
    names = table.texts(key, default, str(list(default)).replace("'", '"'))
    found = [table.declared(partial(build, name), key) for name in names]
    return tuple(window for window in found if window is not None)
