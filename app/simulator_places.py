"""Which touchpoints a catalog has and what is asked there, and which segment values its customers carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.simulator_profiles import Profile, profile
from scoring.questions import Metric

if TYPE_CHECKING:
    from scoring.catalog import Catalog
    from scoring.questions import Question

# What each stage of the journey is asked; a question with a touchpoint of its own is asked there instead.
STAGE_METRICS = {
    "discovery": {Metric.CES, Metric.CSAT},
    "evaluation": {Metric.CES, Metric.CSAT},
    "purchase": {Metric.CSAT, Metric.CES},
    "onboarding": {Metric.CES, Metric.CSAT},
    "everyday use": {Metric.CSAT, Metric.CES},
    "support": {Metric.CSAT, Metric.CES, Metric.NPS},
    "renewal": {Metric.NPS, Metric.CSAT},
    "advocacy": {Metric.NPS},
}
# A catalog may declare questions alone; answers must be about something.
UNDECLARED_TOUCHPOINT = "website"
KNOWN_VALUES = {
    "channel": ("web", "app", "phone", "store"),
    "plan": ("free", "plus", "business"),
    "customer_type": ("returning", "new"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A touchpoint of the simulation.

    Attributes:
        name: the touchpoint.
        profile: its traffic, leaning and response rate.
        questions: what its surveys ask, in declared order; may be empty.
    """

    name: str
    profile: Profile
    questions: tuple[Question, ...]


def places(catalog: Catalog) -> tuple[Place, ...]:
    """Every declared touchpoint, and the undeclared ones that questions name, each with what is asked there.

    A question is asked at its default touchpoint; without one, wherever the stage asks for its metric, and
    everywhere if no stage does.
    """
    names = list(catalog.touchpoints)
    if not catalog.strict:
        for question in catalog.questions.values():
            if question.touchpoint is not None and question.touchpoint not in names:
                names.append(question.touchpoint)
    if not names:
        names = [UNDECLARED_TOUCHPOINT]
    asked: dict[str, list[Question]] = {name: [] for name in names}
    for question in catalog.questions.values():
        if question.touchpoint is not None:
            if question.touchpoint in asked:
                asked[question.touchpoint].append(question)
            continue
        fitting = [
            name
            for name in names
            if question.metric in STAGE_METRICS.get(catalog.journey_stage(name) or "", set())
        ]
        for name in fitting or names:
            asked[name].append(question)
    return tuple(
        Place(name, profile(name, catalog.journey_stage(name)), tuple(asked[name])) for name in names
    )


def segment_values(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """The values of each field that the declared segments use, the commonest first.

    Declared values are taken in the order of KNOWN_VALUES where it knows them, then by name: a set's order
    changes from run to run and must not reach a seeded stream.
    """
    declared = {segment.fields[0]: segment.values for segment in catalog.segments if len(segment.fields) == 1}
    out: dict[str, tuple[str, ...]] = {}
    for segment in catalog.segments:
        for name in segment.fields:
            known = KNOWN_VALUES.get(name, tuple(f"{name} {letter}" for letter in "abc"))
            values = declared.get(name)
            if values:
                known = (*(v for v in known if v in values), *sorted(values.difference(known)))
            out[name] = known
    return out
