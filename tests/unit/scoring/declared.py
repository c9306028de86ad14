"""Questions and tallies that several tests score: every metric, formula and direction."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

from scoring.questions import Question, Scale, question

EASE_7 = question("ease-7", "ces", Scale(1, 7, best=7))
EFFORT_5 = question("effort-5", "ces", Scale(1, 5, best=1))
EASE_11 = question("ease-11", "ces", Scale(0, 10, best=10))
EMOJI = question("emoji", "ces", Scale(1, 3, best=3), ces_formula="net-ease")
EMOJI_REVERSED = question("emoji-reversed", "ces", Scale(1, 3, best=1), ces_formula="net-ease")
CSAT_5 = question("csat-5", "csat", Scale(1, 5, best=5))
CSAT_REVERSED = question("csat-reversed", "csat", Scale(1, 4, best=1))
NPS = question("nps", "nps", Scale(0, 10, best=10))
MEANS = (EASE_7, EFFORT_5, EASE_11)
QUESTIONS = (*MEANS, EMOJI, EMOJI_REVERSED, CSAT_5, CSAT_REVERSED, NPS)

COUNT = st.integers(0, 10**6)


def tallies(asked: Question, *, answers_min: int = 1) -> st.SearchStrategy[list[int]]:
    """Counts per rating of a question, with at least so many answers."""
    points = asked.scale.points
    return st.lists(COUNT, min_size=points, max_size=points).filter(lambda counts: sum(counts) >= answers_min)


def share(asked: Question, counts: list[int], ratings: set[int]) -> Fraction:
    """Exact share of the answers that are among these ratings."""
    chosen = sum(
        count for rating, count in zip(asked.scale.ratings, counts, strict=True) if rating in ratings
    )
    return Fraction(chosen, sum(counts))


def mean(asked: Question, counts: list[int]) -> Fraction:
    """Exact mean rating."""
    total = sum(rating * count for rating, count in zip(asked.scale.ratings, counts, strict=True))
    return Fraction(total, sum(counts))


def effort(asked: Question, counts: list[int]) -> Fraction:
    """Exact effort index, as its definition reads."""
    scale = asked.scale
    return (scale.best - mean(asked, counts)) / (scale.best - scale.worst) * 100
