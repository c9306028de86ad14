"""Why an alert fired: which segment moved the score, which ratings grew, which signals moved with it."""

from __future__ import annotations

from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING

from scoring.tallies import interaction_stats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scoring.questions import Question

SIGNALS = (
    "wait_s_mean",
    "duration_s_mean",
    "transfers_mean",
    "retries_mean",
    "errors_mean",
    "rage_clicks_mean",
    "unresolved_share",
)


def weight(question: Question, vector: Sequence[int]) -> float:
    """Sum of what the answers weigh: the mean of it is the effort index (ces), percent satisfied, net ease or NPS."""
    weighted: int = sum(map(mul, question.weights, vector))
    return weighted / question.divisor


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one value of a segment adds to the change of everybody's score.

    Attributes:
        name: of the value.
        points: its part of the change, in points of the effort index, percent or NPS points; worse is positive.
        n, n_before: its answers now and before.
        score, score_before: its own score; None without answers.
    """

    name: str
    points: float
    n: int
    n_before: int
    score: float | None
    score_before: float | None


def contributions(
    question: Question,
    now: Mapping[str, Sequence[int]],
    before: Mapping[str, Sequence[int]],
) -> list[Contribution]:
    """The parts of a change by the values of one segment, the one that made it worst first.

    With shares w of the answers, scores s, and S the whole score before, a value adds w_now (s_now - S) less
    w_before (s_before - S). Over all values that sums up to the change of the score of all answers with the segment.

    Args:
        question: what was asked.
        now: vectors (``tallies.length(question)`` integers) by value.
        before: likewise, of the period that is compared with.

    Example:
        >>> from scoring.questions import Scale, question
        >>> asked = question("q", "ces", Scale(1, 3, best=3))
        >>> made = contributions(asked, {"web": [8, 0, 2, 0], "app": [0, 0, 10, 0]}, {"web": [0, 0, 10, 0]})
        >>> [(one.name, one.points) for one in made]
        [('web', 40.0), ('app', 0.0)]
    """
    n_now, n_before = (sum(sum(vector[:-1]) for vector in side.values()) for side in (now, before))
    if not n_now or not n_before:
        return []
    level = sum(weight(question, vector) for vector in before.values()) / n_before
    sign = 1 if question.is_ces_mean else -1
    out = []
    for name in sorted(now.keys() | before.keys()):
        here, there = now.get(name), before.get(name)
        n, n_old = (sum(vector[:-1]) if vector else 0 for vector in (here, there))
        whole, whole_old = (weight(question, vector) if vector else 0.0 for vector in (here, there))
        points = (whole - n * level) / n_now - (whole_old - n_old * level) / n_before
        out.append(
            Contribution(
                name,
                sign * points,
                n,
                n_old,
                whole / n if n else None,
                whole_old / n_old if n_old else None,
            )
        )
    return sorted(out, key=lambda one: -one.points)


def grown_ratings(
    question: Question, now: Sequence[int], before: Sequence[int], most: int = 3
) -> list[dict[str, float]]:
    """The ratings whose share of the answers has grown most: rating, share now, share before.

    Args:
        question: what was asked.
        now: vector of the period that is looked at.
        before: vector of the one before it.
        most: how many at most.
    """
    n_now, n_before = sum(now[:-1]), sum(before[:-1])
    if not n_now or not n_before:
        return []
    rows = [
        {"rating": rating, "share": here / n_now, "share_before": there / n_before}
        for rating, here, there in zip(question.scale.ratings, now, before, strict=False)
    ]
    grown = [row for row in rows if row["share"] > row["share_before"]]
    return sorted(grown, key=lambda row: row["share_before"] - row["share"])[:most]


def moved_signals(now: Sequence[int], before: Sequence[int]) -> dict[str, dict[str, float]]:
    """The means and shares of interactions that have grown, now and before, those that grew most (by factor) first.

    Args:
        now: interaction vector of the period that is looked at.
        before: interaction vector of the one before it.
    """
    here, there = interaction_stats(now), interaction_stats(before)
    grown = []
    for name in SIGNALS:
        value, usual = getattr(here, name), getattr(there, name)
        if value is not None and usual is not None and value > usual:
            grown.append((name, value, usual))
    grown.sort(key=lambda row: -row[1] / row[2] if row[2] else -float("inf"))
    return {name: {"value": value, "before": usual} for name, value, usual in grown}
