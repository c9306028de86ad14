"""The effort of a journey stage is the effort of its answers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.journey import JOURNEY_STAGES, stage_effort


def test_the_stages_are_those_of_the_source() -> None:
    """Eight of them, in the order that a customer goes."""
    assert len(set(JOURNEY_STAGES)) == len(JOURNEY_STAGES) == 8
    assert (JOURNEY_STAGES[0], JOURNEY_STAGES[-1]) == ("discovery", "advocacy")


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 100)), max_size=20))
@settings(derandomize=True)
def test_stage_effort_is_the_mean_weighted_by_answers(pairs: list[tuple[int, float]]) -> None:
    """Against Fractions."""
    n = sum(n for n, _ in pairs)
    if n == 0:
        assert stage_effort(pairs) is None
        return
    exact = sum((n * Fraction(index) for n, index in pairs), Fraction(0)) / n
    assert stage_effort(pairs) == pytest.approx(float(exact), rel=1e-12, abs=1e-300)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [([], None), ([(5, None)], None), ([(0, 40.0)], None), ([(5, None), (2, 40.0)], 40.0), ([(1, 0.0)], 0.0)],
)
def test_what_has_no_index_weighs_nothing(
    pairs: list[tuple[int, float | None]], expected: float | None
) -> None:
    """Too few answers are left out with their n, and nothing at all is None."""
    assert stage_effort(pairs) == expected
