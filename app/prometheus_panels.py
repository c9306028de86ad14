"""Panels of a Grafana dashboard: what they show, and how Grafana wants that written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
COLUMNS: Final = 24
HEIGHT: Final = 8
STAT_HEIGHT: Final = 4


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: what is seen, with its unit where that is not plain.
        queries: (PromQL, legend) pairs.
        kind: a panel type of Grafana.
        width: of 24 columns.
        unit: of Grafana.
        about: shown on the panel's i.
        low: where the axis begins; None: where the figures do.
        high: where it becomes red; None: nowhere.
        options: further keys of the panel, by name.
    """

    title: str
    queries: Sequence[tuple[str, str]]
    kind: str = "timeseries"
    width: int = 8
    unit: str = "short"
    about: str = ""
    low: float | None = None
    high: float | None = None
    options: dict[str, Any] | None = None


def placed(rows: dict[str, list[Panel]]) -> list[dict[str, Any]]:
    """All panels where they stand: rows from the top, panels from the left."""
    out: list[dict[str, Any]] = []
    y = 0
    for title, panels in rows.items():
        out.append(
            {
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": _place(0, y, COLUMNS, 1),
            }
        )
        y, x, tallest = y + 1, 0, 0
        for panel in panels:
            height = STAT_HEIGHT if panel.kind == "stat" else HEIGHT
            if x + panel.width > COLUMNS:
                y, x, tallest = y + tallest, 0, 0
            out.append(_json(panel) | {"gridPos": _place(x, y, panel.width, height)})
            x, tallest = x + panel.width, max(tallest, height)
        y += tallest
    return [panel | {"id": number} for number, panel in enumerate(out, start=1)]


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _json(panel: Panel) -> dict[str, Any]:
    instant = panel.kind in {"stat", "bargauge"}
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.low is not None:
        defaults["min"] = panel.low
    if panel.high is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.high}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        if panel.kind == "timeseries":
            defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    out: dict[str, Any] = {
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": _thin_bounds() if len(panel.queries) > 1 else []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            | ({"instant": True, "range": False} if instant else {})
            for number, (expr, legend) in enumerate(panel.queries)
        ],
    }
    if panel.about:
        out["description"] = panel.about
    return out | (panel.options or {})


def _thin_bounds() -> list[dict[str, Any]]:
    """Bounds are thin, dashed and not in the legend."""
    return [
        {
            "matcher": {"id": "byRegexp", "options": "/ (lower|upper)$/"},
            "properties": [
                {"id": "custom.lineWidth", "value": 1},
                {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [4, 6]}},
                {"id": "custom.hideFrom", "value": {"legend": True, "tooltip": False, "viz": False}},
            ],
        }
    ]
