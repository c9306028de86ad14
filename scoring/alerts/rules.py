"""Alert rules as they are declared, and which series each of them watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scoring.catalog import Catalog
    from scoring.questions import Question

MINUTE_MS = 60_000
DAY_MS = 86_400_000


class Kind(StrEnum):
    """What a rule looks for."""

    THRESHOLD = "threshold"
    RISING = "rising"
    CHANGE = "change"
    SILENT = "silent"
    STALE = "stale"
    BUDGET = "budget"


class Severity(StrEnum):
    """How loud an alert is: a page, or a note for working hours."""

    WARNING = "warning"
    CRITICAL = "critical"


class ScoreName(StrEnum):
    """The figures that a threshold can be set on."""

    VALUE = "value"
    EFFORT_INDEX = "effort_index"
    LOW_EFFORT_SHARE = "low_effort_share"
    RESPONSE_RATE = "response_rate"
    UNRESOLVED_SHARE = "unresolved_share"


_OF_CES_MEANS = frozenset({ScoreName.EFFORT_INDEX, ScoreName.LOW_EFFORT_SHARE})


@dataclass(frozen=True, slots=True)
class Selector:
    """Which series a rule watches; what is None matches all.

    Attributes:
        touchpoint, question, journey_stage: shell patterns (``checkout*``), matched with case.
        metric: ces, csat or nps.
        segment: names and patterns of values, such as ``{"channel": "*"}``; empty watches everybody's series only.
    """

    touchpoint: str | None = None
    question: str | None = None
    metric: str | None = None
    journey_stage: str | None = None
    segment: Mapping[str, str] = field(default_factory=dict)

    def touchpoint_matches(self, name: str, stage: str | None) -> bool:
        """Whether a touchpoint of a journey stage (None: of none) is watched."""
        if self.touchpoint is not None and not fnmatchcase(name, self.touchpoint):
            return False
        return self.journey_stage is None or (stage is not None and fnmatchcase(stage, self.journey_stage))

    def question_matches(self, question: Question) -> bool:
        """Whether answers to a question are watched."""
        if self.question is not None and not fnmatchcase(question.id, self.question):
            return False
        return self.metric is None or question.metric.value == self.metric

    def segment_matches(self, segment: Mapping[str, str]) -> bool:
        """Whether a series' segment is watched: the same names, and each value by its pattern."""
        return segment.keys() == self.segment.keys() and all(
            fnmatchcase(value, self.segment[name]) for name, value in segment.items()
        )


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """How many false alarms a rule may raise: ``count`` per ``period_ms``, of each series or of all together."""

    count: float
    period_ms: int
    over_all: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """What every rule has.

    Attributes:
        id: unique; part of the identity of its alerts.
        severity: warning or critical.
        selector: which series it watches.
        runbook: link for whoever is paged, or None.
        owner: team that answers, or None.
        for_ms: how long its condition must hold before it fires, event time.
        exit_for_ms: how long the condition for the end must hold before it is resolved.
        false_alarms: how often it may be wrong, where its kind can promise that.
        max_series: into how many parts a budget over all is shared; None counts declared touchpoints x questions.
    """

    id: str
    severity: Severity
    selector: Selector = field(default_factory=Selector)
    runbook: str | None = None
    owner: str | None = None
    for_ms: int = 0
    exit_for_ms: int = 0
    false_alarms: FalseAlarms = FalseAlarms(1, 7 * DAY_MS, over_all=True)
    max_series: int | None = None

    @property
    def kind(self) -> Kind:
        """Which kind of rule it is."""
        raise NotImplementedError

    @property
    def window_name(self) -> str | None:
        """The window that its alerts name, or None."""
        return None

    @property
    def of_interactions(self) -> bool:
        """Whether it watches interactions instead of the answers to a question."""
        return False

    def judges(self, question: Question) -> bool:
        """Whether answers to a question are watched, and have the figure that the rule looks at."""
        return not self.of_interactions and self.selector.question_matches(question)


@dataclass(frozen=True, slots=True)
class ThresholdRule(Rule):
    """A score crosses ``enter`` to the worse side, and comes back over ``exit``.

    Attributes:
        score: which figure.
        window: name and length of the window it is taken over, ending at the watermark.
        enter: on its own scale: of a value the metric's own; indexes 0..100; shares and rates 0..1.
        exit: on the better side of ``enter``, or equal to it.
        min_n: fewer answers (or interactions) than this never fire.
        confident: also the nearer confidence bound must have crossed ``enter``.
    """

    score: ScoreName = ScoreName.VALUE
    window: str = "1h"
    window_ms: int = 3_600_000
    enter: float = 0.0
    exit: float = 0.0
    min_n: int = 20
    confident: bool = False

    @property
    def kind(self) -> Kind:
        """Threshold."""
        return Kind.THRESHOLD

    @property
    def window_name(self) -> str | None:
        """Its window."""
        return self.window

    @property
    def of_interactions(self) -> bool:
        """Unresolved interactions are counted among interactions."""
        return self.score is ScoreName.UNRESOLVED_SHARE

    def judges(self, question: Question) -> bool:
        """Whether a question is watched; of those, only CES means have an effort index and a low-effort share."""
        # super() knows no class here: slots make a new one
        return Rule.judges(self, question) and (self.score not in _OF_CES_MEANS or question.is_ces_mean)


@dataclass(frozen=True, slots=True)
class RisingRule(Rule):
    """Effort is higher than the series' own baseline (mixture Shiryaev-Roberts).

    Attributes:
        baseline_ms: how far the baseline reaches back; 28 days by default.
        min_history_ms: how much of it there must be before anything fires.
        drops: changes of the mean to look for, as shares of the scale's width (best to worst), each in (0, 1).
        margin: null margin in the same unit; None finds it from the day-to-day wander of the history.
    """

    baseline_ms: int = 28 * DAY_MS
    min_history_ms: int = 7 * DAY_MS
    drops: tuple[float, ...] = (0.3 / 6, 0.5 / 6, 1.0 / 6)
    margin: float | None = None

    @property
    def kind(self) -> Kind:
        """Rising."""
        return Kind.RISING


@dataclass(frozen=True, slots=True)
class ChangeRule(Rule):
    """This window is worse than an earlier one, by enough and significantly.

    Attributes:
        window: length of either period.
        against_ms: how far back the earlier period ends; None: it ends at the newest deployment mark.
        by: least difference that matters, in points of the effort index (ces), percent (csat) or NPS points.
        confidence: of the difference, two-sided, in (0, 1).
        min_n: answers that either period needs.
    """

    window: str = "24h"
    window_ms: int = DAY_MS
    against_ms: int | None = DAY_MS
    by: float = 5.0
    confidence: float = 0.99
    min_n: int = 30

    @property
    def kind(self) -> Kind:
        """Change."""
        return Kind.CHANGE

    @property
    def window_name(self) -> str | None:
        """Its window."""
        return self.window


@dataclass(frozen=True, slots=True)
class SilentRule(Rule):
    """A touchpoint that had responses (or interactions) stopped having them.

    Attributes:
        interactions: watch interactions instead of responses.
        baseline_ms: over how long the usual number is taken.
        expected: how many were to be expected since the last one came before it fires; at least 3.
        after_ms: however many were expected, never sooner after the last one.
    """

    interactions: bool = False
    baseline_ms: int = 7 * DAY_MS
    expected: float = 12.0
    after_ms: int = 30 * MINUTE_MS

    @property
    def kind(self) -> Kind:
        """Silent."""
        return Kind.SILENT

    @property
    def of_interactions(self) -> bool:
        """As declared."""
        return self.interactions


@dataclass(frozen=True, slots=True)
class StaleRule(Rule):
    """A score stands on no answer newer than ``after_ms``."""

    after_ms: int = DAY_MS

    @property
    def kind(self) -> Kind:
        """Stale."""
        return Kind.STALE


@dataclass(frozen=True, slots=True)
class BudgetRule(Rule):
    """High-effort answers (on the worse side of the middle of the scale) burn an error budget, over two windows.

    Attributes:
        objective: share of answers that shall not be high effort, in (0, 1).
        burn: factor by which both windows must exceed the budget 1 - objective; burn x (1 - objective) < 1.
        long, short: the windows; the short one ends the alert soon after the incident.
        min_n: answers that the long window needs.
    """

    objective: float = 0.8
    burn: float = 3.0
    long: str = "6h"
    long_ms: int = 6 * 3_600_000
    short: str = "30m"
    short_ms: int = 30 * MINUTE_MS
    min_n: int = 30

    @property
    def kind(self) -> Kind:
        """Budget."""
        return Kind.BUDGET

    @property
    def window_name(self) -> str | None:
        """The long window."""
        return self.long


def parts(rule: Rule, catalog: Catalog) -> int:
    """Into how many parts a budget over all series is shared: fixed by the configuration, never counted at run time.

    Returns:
        ``max_series``, else declared touchpoints that match x matching questions (1 for interactions), and one further
        part for all undeclared touchpoints unless none are accepted; 1 where false alarms are per series.
    """
    if not rule.false_alarms.over_all:
        return 1
    if rule.max_series is not None:
        return rule.max_series
    touchpoints = sum(
        rule.selector.touchpoint_matches(one.name, one.journey_stage) for one in catalog.touchpoints.values()
    )
    questions = 1 if rule.of_interactions else sum(map(rule.judges, catalog.questions.values()))
    return max(1, touchpoints * questions + (not catalog.strict))


def minutes_per_false_alarm(rule: Rule, catalog: Catalog) -> float:
    """How many minutes lie between two false alarms of ONE series of a rule: the level A of its detector.

    Example:
        >>> from scoring.catalog import Catalog
        >>> rule = RisingRule("r", Severity.WARNING, false_alarms=FalseAlarms(1, 30 * DAY_MS, over_all=False))
        >>> minutes_per_false_alarm(rule, Catalog({}))
        43200.0
    """
    allowed = rule.false_alarms
    return allowed.period_ms / MINUTE_MS / allowed.count * parts(rule, catalog)


def silence_needed(rule: SilentRule, catalog: Catalog) -> float:
    """How many answers must have been expected before none is news: -ln of the false alarms allowed a minute.

    A silence of a Poisson stream that was to bring m answers has probability exp(-m), and about every minute that has
    an answer begins a new one.
    """
    return max(rule.expected, log(minutes_per_false_alarm(rule, catalog)))
