"""Bands: edges decided on exact values, words never finer than the bounds."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.bands import CES_BANDS, CSAT_BANDS, NPS_BANDS, Bands, band
from scoring.errors import DeclarationError
from scoring.questions import Question, Scale, question
from tests.unit.scoring.declared import CSAT_5, EASE_7, EMOJI, NPS

EFFORT_7 = question("effort-7", "ces", Scale(1, 7, best=1))
THIRDS = Bands(("poor", "fair", "fine"), (Fraction(100, 3), Fraction(200, 3)), (True, True))

LOW_EFFORT, ACCEPTABLE, HIGH_EFFORT = "very low effort", "acceptable effort", "high effort"


@pytest.mark.parametrize(
    ("bands", "value", "expected"),
    [
        (CES_BANDS, Fraction(0), LOW_EFFORT),
        (CES_BANDS, Fraction(100, 6) - Fraction(1, 10**30), LOW_EFFORT),
        (CES_BANDS, Fraction(100, 6), ACCEPTABLE),
        (CES_BANDS, Fraction(50), ACCEPTABLE),
        (CES_BANDS, Fraction(50) + Fraction(1, 10**30), HIGH_EFFORT),
        (CES_BANDS, Fraction(100), HIGH_EFFORT),
        (CSAT_BANDS, Fraction(100), "excellent"),
        (CSAT_BANDS, Fraction(80) + Fraction(1, 10**30), "excellent"),
        (CSAT_BANDS, Fraction(80), "good"),
        (CSAT_BANDS, Fraction(70), "good"),
        (CSAT_BANDS, Fraction(70) - Fraction(1, 10**30), "satisfactory"),
        (CSAT_BANDS, Fraction(60), "satisfactory"),
        (CSAT_BANDS, Fraction(60) - Fraction(1, 10**30), "critical"),
        (CSAT_BANDS, Fraction(0), "critical"),
        (NPS_BANDS, Fraction(70) + Fraction(1, 10**30), "excellent"),
        (NPS_BANDS, Fraction(70), "good"),
        (NPS_BANDS, Fraction(50), "good"),
        (NPS_BANDS, Fraction(50) - Fraction(1, 10**30), "acceptable"),
        (NPS_BANDS, Fraction(30), "acceptable"),
        (NPS_BANDS, Fraction(30) - Fraction(1, 10**30), "needs improvement"),
        (NPS_BANDS, Fraction(0), "needs improvement"),
        (NPS_BANDS, -Fraction(1, 10**30), "alarming"),
        (NPS_BANDS, Fraction(-100), "alarming"),
    ],
)
def test_edges_are_decided_exactly(bands: Bands, value: Fraction, expected: str) -> None:
    """The source's strict signs hold; elsewhere the edge belongs to the better band."""
    for scale in (1, 7):  # a ratio need not be reduced
        assert bands.names[bands.locate_ratio(value.numerator * scale, value.denominator * scale)] == expected


@pytest.mark.parametrize("bands", [CES_BANDS, CSAT_BANDS, NPS_BANDS, THIRDS])
@given(value=st.fractions(-100, 100, max_denominator=1000))
@settings(derandomize=True)
def test_floats_are_located_as_their_own_exact_values(bands: Bands, value: Fraction) -> None:
    """Where an edge is a double, a bound and a score of that value are in one band."""
    exact = Fraction(float(value))
    if all(float(edge) == edge or abs(exact - edge) > Fraction(1, 10**9) for edge in bands.edges):
        assert bands.locate(float(value)) == bands.locate_ratio(exact.numerator, exact.denominator)


def ces_tally(mean_7: Fraction, n: int) -> list[int]:
    """Answers on 1..7 with exactly this mean, of the two ratings around it."""
    below = int(mean_7)
    upper = (mean_7 - below) * n
    assert upper.denominator == 1
    counts = [0] * 8
    counts[below - 1] += n - int(upper)
    counts[below] += int(upper)
    return counts[:7]


@pytest.mark.parametrize(
    ("mean_7", "expected"),
    [
        (Fraction(6), ACCEPTABLE),
        (Fraction(6001, 1000), LOW_EFFORT),
        (Fraction(4), ACCEPTABLE),
        (Fraction(3999, 1000), HIGH_EFFORT),
    ],
)
def test_a_mean_on_an_edge_is_banded_by_its_tally(mean_7: Fraction, expected: str) -> None:
    """On 1..7: above 6 very low effort, 4..6 acceptable; mirrored where 1 is best. Bounds as tight as the value."""
    counts = ces_tally(mean_7, 1000)
    inside = 5.0 if expected == ACCEPTABLE else float(mean_7)
    assert band(EASE_7, counts, inside, inside) == expected
    assert band(EFFORT_7, counts[::-1], 8 - inside, 8 - inside) == expected


@pytest.mark.parametrize(
    ("asked", "counts", "low", "high", "expected"),
    [
        (CSAT_5, [20, 0, 0, 40, 40], 81.0, 90.0, "good or excellent"),
        (CSAT_5, [10, 0, 0, 40, 50], 85.0, 94.0, "excellent"),
        (CSAT_5, [30, 0, 0, 35, 35], 61.0, 77.9, "satisfactory or good"),
        (CSAT_5, [30, 0, 0, 35, 35], 59.9, 77.9, "critical to good"),
        (CSAT_5, [30, 0, 0, 35, 35], 59.9, 88.0, "critical to excellent"),
        (NPS, [30, 0, 0, 0, 0, 0, 0, 20, 0, 0, 50], -5.0, 45.0, "alarming to acceptable"),
        (NPS, [30, 0, 0, 0, 0, 0, 0, 20, 0, 0, 50], 5.0, 35.0, "needs improvement or acceptable"),
        (EASE_7, [0, 0, 0, 0, 9, 1, 0], 5.0, 5.3, ACCEPTABLE),
        (EASE_7, [0, 0, 0, 0, 9, 1, 0], 3.9, 5.3, "high effort or acceptable effort"),
        (EASE_7, [0, 0, 0, 0, 9, 1, 0], 3.9, 6.3, "high effort to very low effort"),
        (EFFORT_7, [0, 1, 9, 0, 0, 0, 0], 1.9, 3.0, "acceptable effort or very low effort"),
    ],
)
def test_bounds_in_several_bands_name_the_worse_and_the_better(
    asked: Question, counts: list[int], low: float, high: float, expected: str
) -> None:
    """It is "or" between neighbours, "to" beyond, the worse one first in either direction of the scale."""
    assert band(asked, counts, low, high) == expected


def test_no_band_without_bounds_answers_or_bands() -> None:
    """Too few answers give None; net ease has no band at all."""
    fussy = question("fussy", "csat", Scale(1, 5, 5), min_n=5)
    assert band(CSAT_5, [0, 0, 0, 0, 9], None, None) is None
    assert band(CSAT_5, [0, 0, 0, 0, 0], 0.0, 100.0) is None
    assert band(fussy, [0, 0, 0, 0, 4], 51.0, 100.0) is None
    assert band(fussy, [0, 0, 0, 0, 5, 4], 90.0, 100.0) == "excellent"
    assert band(EMOJI, [1, 1, 8], 40.0, 90.0) is None


def test_a_question_may_have_bands_of_its_own() -> None:
    """With edges that no double can hold."""
    own = question("own", "csat", Scale(1, 5, 5), bands=THIRDS)
    assert own.bands is THIRDS
    assert THIRDS.locate_ratio(100, 3) == 1
    assert band(own, [2, 0, 0, 0, 1], 34.0, 66.0) == "fair"


def test_a_single_band_has_no_edges() -> None:
    """Everything is in it."""
    assert Bands(("all",), (), ()).name(0, 1, -100.0, 100.0) == "all"


@pytest.mark.parametrize(
    ("names", "edges", "better", "falling"),
    [
        ((), (), (), False),
        (("a", "a"), (Fraction(1),), (True,), False),
        (("a", "b"), (), (), False),
        (("a", "b"), (Fraction(1),), (), False),
        (("a", "b", "c"), (Fraction(2), Fraction(1)), (True, True), False),
        (("a", "b", "c"), (Fraction(1), Fraction(1)), (True, True), False),
        (("a", "b", "c"), (Fraction(1), Fraction(2)), (True, True), True),
    ],
)
def test_bands_that_overlap_or_do_not_match_are_refused(
    names: tuple[str, ...], edges: tuple[Fraction, ...], better: tuple[bool, ...], falling: bool
) -> None:
    """Each name once, an edge between each two, from the worst to the best."""
    with pytest.raises(DeclarationError, match=r"bands\.(names|edges)"):
        Bands(names, edges, better, falling)
