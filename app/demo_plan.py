"""When things happen in a demo: its clock, its pace, its incident and the windows that show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scoring.questions import Metric

if TYPE_CHECKING:
    from scoring.catalog import Catalog
    from scoring.windows import LiveWindow

OPEN_END_S = 1_800
# The clock runs fast longer than asked, since starting and stopping take time too.
CLOCK_SPARE_S = 240
HISTORY_DAYS = 28
EVENTS_PER_WALL_SECOND = 300.0
# Once the clock shows the present it is no longer fast, and events would be few.
PRESENT_EVENTS_PER_SECOND = 25.0
INCIDENT_DROP = 0.5
LONG_RUN_S = 150
LONG_BEGIN_S, LONG_LASTS_S = 60.0, 60.0
SHORT_BEGIN, SHORT_LASTS = 0.30, 0.35
RHYTHM_FROM_MS = 6 * 3_600_000
SUMMARY_WINDOW_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The times of one run.

    Attributes:
        seconds: how long it runs once the scores are live, wall time; None is until stopped.
        speed: event seconds per wall second, >= 1, until the clock has reached the present.
        incident_begin_s: wall seconds from when the scores are live.
        incident_lasts_s: wall seconds.
    """

    seconds: float | None
    speed: float
    incident_begin_s: float
    incident_lasts_s: float

    def begin_ms(self, wall_ms: int) -> int:
        """Event time at which the clock starts: so far in the past that it keeps its speed for the whole run."""
        runs_s = (self.seconds or OPEN_END_S) + CLOCK_SPARE_S
        return wall_ms - round((self.speed - 1) * runs_s * 1000)

    def rate(self, *, present: bool) -> float:
        """Events per second of event time; ``present`` once the clock shows the wall's time."""
        rate = EVENTS_PER_WALL_SECOND / self.speed
        return max(rate, PRESENT_EVENTS_PER_SECOND) if present else rate

    @property
    def rhythm(self) -> bool:
        """Whether the day's rhythm is worth showing; a short run at 3 a.m. would show empty windows."""
        return (self.seconds or OPEN_END_S) * self.speed * 1000 >= RHYTHM_FROM_MS

    def shown(self, catalog: Catalog) -> LiveWindow | None:
        """The largest live window that the incident fills, so that it shows effort rising and falling."""
        windows = sorted(catalog.live, key=lambda window: window.size_ms)
        lasts_ms = self.incident_lasts_s * self.speed * 1000
        fitting = [window for window in windows if window.size_ms <= lasts_ms]
        return fitting[-1] if fitting else windows[0] if windows else None


def plan(seconds: float | None, speed: float) -> Plan:
    """The plan of a run: in a short one the incident lies within it, whatever its length."""
    if seconds is None or seconds >= LONG_RUN_S:
        return Plan(seconds, speed, LONG_BEGIN_S, LONG_LASTS_S)
    return Plan(seconds, speed, SHORT_BEGIN * seconds, SHORT_LASTS * seconds)


def summary_window(catalog: Catalog) -> LiveWindow | None:
    """The window of the summary: the smallest that is an hour or longer, for enough answers; else the largest."""
    windows = sorted(catalog.live, key=lambda window: window.size_ms)
    long = [window for window in windows if window.size_ms >= SUMMARY_WINDOW_MS]
    return long[0] if long else windows[-1] if windows else None


def incident_touchpoint(catalog: Catalog, asked: list[tuple[str, str]]) -> str | None:
    """Where the incident strikes: the checkout; else what is bought or used and asked for effort; else the first."""

    def suitability(pair: tuple[str, str]) -> tuple[bool, bool, bool]:
        touchpoint, question = pair
        purchase = catalog.journey_stage(touchpoint) == "purchase"
        effort = catalog.questions[question].metric is Metric.CES
        return effort, "checkout" in touchpoint.lower(), purchase

    return max(asked, key=suitability)[0] if asked else None
