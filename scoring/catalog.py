"""What is declared: questions, touchpoints, segments and windows, checked and immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scoring.alerts.rules import Rule
from scoring.questions import Question
from scoring.windows import CalendarWindow, LiveWindow

HOUR_MS = 3_600_000
DEFAULT_HORIZON_MS = 48 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Touchpoint:
    """A place where customers meet the company, with the stage of the journey that it belongs to."""

    name: str
    journey_stage: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A declared dimension: one name, or several joined by ``+`` for a combination.

    Attributes:
        name: ``channel``, or ``channel+plan``.
        fields: the names that make it up, in declared order; one for a plain segment.
        values: the only values published (others become ``other``), or None where the first come are kept.
        max_values: values published per touchpoint where ``values`` is None; what comes later is ``other``.
    """

    name: str
    fields: tuple[str, ...]
    values: frozenset[str] | None = None
    max_values: int = 50


@dataclass(frozen=True, slots=True)
class Timing:
    """Event-time settings, all in milliseconds; the defaults are those of the published contract."""

    max_out_of_orderness_ms: int = 10_000
    idle_timeout_ms: int = 30_000
    grace_ms: int = 60_000
    max_future_ms: int = 300_000
    horizon_ms: int = DEFAULT_HORIZON_MS


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that decides what a record means; two workers of one group must have equal ones.

    Attributes:
        questions: by id.
        touchpoints: the declared ones, by name.
        segments: in declared order.
        live, calendar: windows, in declared order; names are unique.
        timezone: IANA name; calendar windows follow it.
        strict: refuse undeclared touchpoints.
        max_undeclared: undeclared touchpoints accepted per source partition, in offset order.
        privacy_floor: scores of fewer answers are hidden, their n and counts too; 0 is off.
        confidence: level of every interval, in (0, 1).
        alerts: rules, with unique ids; unlike all else here they may differ from those of a stored state.
    """

    questions: Mapping[str, Question]
    touchpoints: Mapping[str, Touchpoint] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    live: tuple[LiveWindow, ...] = ()
    calendar: tuple[CalendarWindow, ...] = ()
    timezone: str = "UTC"
    timing: Timing = field(default_factory=Timing)
    strict: bool = False
    max_undeclared: int = 1000
    privacy_floor: int = 0
    confidence: float = 0.95
    alerts: tuple[Rule, ...] = ()

    def journey_stage(self, touchpoint: str) -> str | None:
        """The declared stage of a touchpoint, or None."""
        declared = self.touchpoints.get(touchpoint)
        return None if declared is None else declared.journey_stage
