"""Scores: the nearest double to the exact figure, hidden where there is too little to say."""

from __future__ import annotations

from fractions import Fraction
from math import copysign

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.intervals import adjusted_wald, mean_interval, wilson
from scoring.questions import Question, Scale, question
from scoring.scores import Score, effort_bounds, score
from scoring.tallies import TallyError
from tests.unit.scoring.declared import (
    CSAT_5,
    CSAT_REVERSED,
    EASE_7,
    EFFORT_5,
    EMOJI,
    EMOJI_REVERSED,
    MEANS,
    NPS,
    QUESTIONS,
    effort,
    mean,
    share,
    tallies,
)


@pytest.mark.parametrize("asked", MEANS, ids=lambda asked: asked.id)
@given(data=st.data())
@settings(derandomize=True)
def test_a_ces_mean_is_exact(asked: Question, data: st.DataObject) -> None:
    """Mean, effort index and low-effort share against Fractions, bounds against the interval."""
    counts = data.draw(tallies(asked))
    made = score(asked, [*counts, 0])
    assert made.n == sum(counts)
    assert made.value == float(mean(asked, counts))
    assert made.effort_index == float(effort(asked, counts))
    assert made.low_effort_share == float(share(asked, counts, set(asked.low_effort)))
    assert made.formula == "ces-mean/1"
    interval = mean_interval(counts, asked.scale.low, 0.95)
    assert (made.low, made.high) == (interval or (None, None))
    assert (made.band is None) == (interval is None)


@pytest.mark.parametrize("asked", [CSAT_5, CSAT_REVERSED], ids=lambda asked: asked.id)
@given(data=st.data())
@settings(derandomize=True)
def test_csat_is_exact(asked: Question, data: st.DataObject) -> None:
    """Percent of positive answers, with Wilson's bounds in percent."""
    counts = data.draw(tallies(asked))
    made = score(asked, [*counts, 0], confidence=0.9)
    satisfied = share(asked, counts, set(asked.positive))
    assert made.value == float(100 * satisfied)
    low, high = wilson(int(satisfied * made.n), made.n, 0.9)
    assert (made.low, made.high) == (100 * low, 100 * high)
    assert made.formula == "csat/1"
    assert made.effort_index is made.low_effort_share is None


@given(tallies(NPS))
@settings(derandomize=True)
def test_nps_is_exact(counts: list[int]) -> None:
    """Percent of 9-10 minus percent of 0-6."""
    made = score(NPS, [*counts, 0])
    promoters, detractors = sum(counts[9:]), sum(counts[:7])
    assert made.value == float(100 * Fraction(promoters - detractors, made.n))
    assert (made.low, made.high) == adjusted_wald(promoters, detractors, made.n, 0.95)
    assert made.formula == "nps/1"


@pytest.mark.parametrize("asked", [EMOJI, EMOJI_REVERSED], ids=lambda asked: asked.id)
@given(data=st.data())
@settings(derandomize=True)
def test_net_ease_is_exact(asked: Question, data: st.DataObject) -> None:
    """Percent easy minus percent hard, whichever end is best; bounds as of NPS, no band and no effort index."""
    counts = data.draw(tallies(asked))
    easy, hard = counts[asked.scale.index(asked.scale.best)], counts[asked.scale.index(asked.scale.worst)]
    made = score(asked, [*counts, 0])
    assert made.value == float(100 * Fraction(easy - hard, made.n))
    assert (made.low, made.high) == adjusted_wald(easy, hard, made.n, 0.95)
    assert made.formula == "ces-net-ease/1"
    assert made.band is made.effort_index is made.low_effort_share is None


def test_the_worked_examples_hold() -> None:
    """80 answers that sum to 320 give 4.00; 60/30/10 gives a net ease of 50; 15/9/6 an NPS of 30."""
    made = score(EASE_7, [0, 0, 10, 60, 10, 0, 0, 0])
    assert (made.value, made.effort_index, made.band) == (4.0, 50.0, "high effort or acceptable effort")
    assert score(EMOJI, [10, 30, 60, 0]).value == score(EMOJI_REVERSED, [60, 30, 10, 0]).value == 50.0
    nps = score(NPS, [6, 0, 0, 0, 0, 0, 0, 9, 0, 0, 15, 0])
    assert (nps.value, nps.band) == (30.0, "needs improvement to good")
    csat = score(CSAT_5, [0, 0, 6, 12, 12, 0])
    assert (csat.value, csat.band) == (80.0, "satisfactory to excellent")
    assert score(CSAT_5, [0, 0, 240, 480, 480, 0]).band == "good or excellent"


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: asked.id)
def test_no_answers_have_no_score(asked: Question) -> None:
    """There is n = 0 and None, never 0.0; the response rate is still known."""
    made = score(asked, [0] * (asked.scale.points + 1), interactions=9)
    assert made == Score(0, None, None, None, None, None, None, 0.0, made.formula)


@pytest.mark.parametrize(
    ("metric", "scale", "vector"),
    [
        ("ces", Scale(1, 5, 5), [1, 1, 1, 0, 1, 2]),
        ("csat", Scale(1, 5, 5), [1, 1, 1, 0, 1, 2]),
        ("nps", Scale(0, 10, 10), [0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 2]),
    ],
)
def test_fewer_answers_than_min_n_show_n_and_the_response_rate_only(
    metric: str, scale: Scale, vector: list[int]
) -> None:
    """One answer below is hidden, the exact number is not."""
    hidden = score(question("q", metric, scale, min_n=5), vector, interactions=8)
    assert hidden == Score(4, None, None, None, None, None, None, 0.25, hidden.formula)
    shown = score(question("q", metric, scale, min_n=4), vector, interactions=8)
    assert None not in (shown.value, shown.low, shown.high, shown.band)


def test_the_response_rate_counts_linked_answers_only() -> None:
    """None without interactions; it may exceed 1, as an answer may come in a later window than its interaction."""
    vector = [0, 0, 0, 5, 5, 6]
    assert score(CSAT_5, vector).response_rate is None
    assert score(CSAT_5, vector, 0).response_rate is None
    assert score(CSAT_5, vector, 20).response_rate == 0.3
    assert score(CSAT_5, vector, 4).response_rate == 1.5


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: asked.id)
@given(data=st.data())
@settings(derandomize=True)
def test_scores_stay_in_the_range_of_their_metric(asked: Question, data: st.DataObject) -> None:
    """Value and bounds on the scale, percent, or net score; no negative zero, which JSON would show."""
    counts = data.draw(st.one_of(tallies(asked), st.sampled_from(_corners(asked.scale.points))))
    made = score(asked, [*counts, 0])
    if made.formula == "ces-mean/1":
        floor, ceiling = asked.scale.low, asked.scale.high
    else:
        floor, ceiling = (0 if made.formula == "csat/1" else -100), 100
    figures = [figure for figure in (made.value, made.low, made.high) if figure is not None]
    assert all(floor <= figure <= ceiling for figure in figures)
    for figure in (*figures, made.effort_index, made.low_effort_share):
        assert figure is None or figure != 0 or copysign(1, figure) == 1


def _corners(points: int) -> list[list[int]]:
    """All answers alike, at each rating, few and many."""
    return [[n if i == at else 0 for i in range(points)] for at in range(points) for n in (1, 2, 30)]


@given(st.lists(st.integers(0, 50), min_size=7, max_size=7).filter(any))
@settings(derandomize=True)
def test_a_reversed_scale_gives_the_same_effort(counts: list[int]) -> None:
    """1..7 with 7 best and its mirror image with 1 best tell the same story."""
    mirrored = question("mirror", "ces", Scale(1, 7, best=1))
    one, other = score(EASE_7, [*counts, 0]), score(mirrored, [*counts[::-1], 0])
    assert one.effort_index == other.effort_index
    assert one.low_effort_share == other.low_effort_share
    assert one.band == other.band


@pytest.mark.parametrize("vector", [[1] * 5, [1] * 7, []])
def test_a_vector_of_another_scale_is_refused(vector: list[int]) -> None:
    """Its last rating would be taken for the linked ones."""
    with pytest.raises(TallyError, match=rf"6 elements, this one {len(vector)}"):
        score(CSAT_5, vector)


def test_effort_bounds_keep_the_lower_one_first() -> None:
    """Whichever end of the scale is best."""
    assert effort_bounds(EASE_7, 4.0, 7.0) == (0.0, 50.0)
    assert effort_bounds(EFFORT_5, 1.0, 3.0) == (0.0, 50.0)
    assert effort_bounds(EFFORT_5, 2.0, 5.0) == (25.0, 100.0)
