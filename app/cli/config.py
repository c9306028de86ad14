"""``effortstream config check``: what is in force, or everything that is wrong with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.alert_tables import maintenance_table, rules_table
from app.cli.tables import NONE, duration, table
from app.config import Config, load_config
from app.settings import FIELDS, Settings, load_settings, origins
from scoring.catalog import Catalog
from scoring.questions import Question

HIDDEN = "(hidden)"
PIPE_WIDTH = 160

config = typer.Typer(help="The configuration file.", no_args_is_help=True, add_completion=False)


@config.callback()
def _group() -> None:
    """Look at the configuration."""


@config.command()
def check(
    file: Annotated[
        Path | None,
        typer.Option("--config", help="The file (default: effortstream.toml in the working folder)."),
    ] = None,
) -> None:
    """Check the configuration and print what is in force; exit status 2 if anything is wrong."""
    loaded = load_config(file)
    settings = load_settings(loaded)
    # A file or a pipe has no width of its own; cells folded at 80 columns could not be searched
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    shown = [
        questions_table(loaded.catalog),
        touchpoints_table(loaded.catalog),
        segments_table(loaded.catalog),
        meaning_table(loaded.catalog),
        rules_table(loaded.catalog),
    ]
    if loaded.maintenance:
        shown.append(maintenance_table(loaded.maintenance))
    for one in (*shown, settings_table(loaded, settings)):
        console.print(one)
    console.print(Text(f"{loaded.path}: correct", style="green"))


def questions_table(catalog: Catalog) -> Table:
    """Every question with what its answers mean."""
    rows = [
        (
            found.id,
            found.metric.value,
            f"{found.scale.low}..{found.scale.high}, best {found.scale.best}",
            counted(found),
            found.touchpoint or NONE,
            str(found.min_n),
            "passed on" if found.comments else "dropped",
        )
        for found in catalog.questions.values()
    ]
    return table("Questions", ("id", "metric", "scale", "counted", "touchpoint", "min n", "comments"), rows)


def counted(found: Question) -> str:
    """Which ratings count towards its share.

    Example:
        >>> from scoring.questions import Scale, question
        >>> counted(question("calls", "csat", Scale(1, 5, 5)))
        'positive: 4, 5'
    """
    if found.positive:
        return f"positive: {', '.join(map(str, sorted(found.positive)))}"
    if found.low_effort:
        return f"low effort: {', '.join(map(str, sorted(found.low_effort)))}"
    return found.ces_formula if found.metric.value == "ces" else "promoters 9-10, detractors 0-6"


def touchpoints_table(catalog: Catalog) -> Table:
    """Every declared touchpoint, and those that only a question names."""
    used = {found.touchpoint for found in catalog.questions.values() if found.touchpoint is not None}
    rows = [(point.name, point.journey_stage or NONE) for point in catalog.touchpoints.values()]
    rows += [(name, "(not declared)") for name in sorted(used - catalog.touchpoints.keys())]
    return table("Touchpoints", ("touchpoint", "journey stage"), rows)


def segments_table(catalog: Catalog) -> Table:
    """Every segment with the values that are published."""
    rows = []
    for segment in catalog.segments:
        if len(segment.fields) > 1:
            published = f"combination of {' and '.join(segment.fields)}"
        elif segment.values is None:
            published = f"the first {segment.max_values} values of each touchpoint, then other"
        else:
            published = f"{', '.join(sorted(segment.values))}; anything else is other"
        rows.append((segment.name, published))
    return table("Segments", ("segment", "values"), rows or [(NONE, "none declared")])


def meaning_table(catalog: Catalog) -> Table:
    """Windows, timing and limits."""
    timing = catalog.timing
    rows = [
        ("windows.live", ", ".join(window.name for window in catalog.live) or NONE),
        ("windows.calendar", ", ".join(window.name for window in catalog.calendar) or NONE),
        ("windows.timezone", catalog.timezone),
        ("windows.max_out_of_orderness", duration(timing.max_out_of_orderness_ms)),
        ("windows.idle_timeout", duration(timing.idle_timeout_ms)),
        ("windows.grace", duration(timing.grace_ms)),
        ("windows.max_future", duration(timing.max_future_ms)),
        ("windows.horizon", duration(timing.horizon_ms)),
        ("strict", "true" if catalog.strict else "false"),
        ("max_undeclared", str(catalog.max_undeclared)),
        ("privacy_floor", str(catalog.privacy_floor)),
        ("confidence", str(catalog.confidence)),
    ]
    return table("Windows, timing and limits", ("key", "value"), rows)


def settings_table(loaded: Config, settings: Settings) -> Table:
    """Every setting with where it comes from; secrets only as set or not."""
    places = origins(loaded)
    rows = []
    for name in FIELDS:
        value = getattr(settings, name)
        source, key = places[name]
        if name == "clock" and value is None:
            continue
        if isinstance(value, SecretStr):
            shown = HIDDEN
        elif isinstance(value, bool):
            shown = str(value).lower()
        elif isinstance(value, float):
            shown = f"{value:g}"
        else:
            shown = NONE if value is None else str(value)
        rows.append((name, shown, source if source == "default" else f"{source}: {key}"))
    return table("Settings", ("setting", "value", "from"), rows)
