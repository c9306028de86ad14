"""Tallies: exact, reversible, and refused where they do not belong together."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.errors import EffortStreamError
from scoring.tallies import INTERACTION_FIELDS, TallyError, add, interaction_stats, length, merge, remove
from tests.unit.scoring.declared import COUNT, NPS, QUESTIONS

VECTOR = st.lists(COUNT, min_size=6, max_size=6)
RATING = st.integers(1, 5)


def tally(ratings: list[int]) -> list[int]:
    """Counts of ratings 1..5, one by one, none of them linked."""
    counts = [0] * 6
    for rating in ratings:
        counts[rating - 1] += 1
    return counts


@given(VECTOR, VECTOR)
@settings(derandomize=True)
def test_merge_is_commutative(a: list[int], b: list[int]) -> None:
    """Source partitions may arrive in any order."""
    assert merge(a, b) == merge(b, a)


@given(VECTOR, VECTOR, VECTOR)
@settings(derandomize=True)
def test_merge_is_associative(a: list[int], b: list[int], c: list[int]) -> None:
    """Panes may be folded in any grouping."""
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(VECTOR, VECTOR)
@settings(derandomize=True)
def test_add_then_remove_is_identity(a: list[int], b: list[int]) -> None:
    """A window that slides over a pane forgets it entirely."""
    window = list(a)
    add(window, b)
    remove(window, b)
    assert window == a


@given(st.lists(RATING), st.lists(RATING))
@settings(derandomize=True)
def test_merge_equals_tally_of_concatenation(first: list[int], second: list[int]) -> None:
    """It does not matter where the answers were counted."""
    assert merge(tally(first), tally(second)) == tally(first + second)


@given(VECTOR, VECTOR)
@settings(derandomize=True)
def test_add_in_place_equals_merge_and_leaves_the_other_alone(a: list[int], b: list[int]) -> None:
    """The pane that is added stays what it was, and so does what merge was given."""
    window, pane = list(a), list(b)
    add(window, pane)
    assert window == merge(a, pane)
    assert pane == b


@pytest.mark.parametrize("verb", [add, remove, merge])
def test_unequal_lengths_are_refused_with_both(verb: object) -> None:
    """Tallies of two scales must never be mixed."""
    window = [5, 5, 5]
    with pytest.raises(TallyError, match="3 and 4 elements") as caught:
        verb(window, [1, 1, 1, 1])  # type: ignore[operator]
    assert window == [5, 5, 5]
    assert isinstance(caught.value, EffortStreamError)
    assert isinstance(caught.value, ValueError)


def test_removing_what_was_never_added_is_refused_and_changes_nothing() -> None:
    """One element below 0 is enough, even where the sum stays positive."""
    window = [5, 0, 3]
    with pytest.raises(TallyError, match="never added"):
        remove(window, [1, 1, 0])
    assert window == [5, 0, 3]


def test_a_vector_has_an_element_per_rating_and_one_for_linked() -> None:
    """The length is fixed by the question alone."""
    assert length(NPS) == 12
    assert all(length(asked) == asked.scale.points + 1 for asked in QUESTIONS)


def test_no_interactions_have_no_figures() -> None:
    """None, and never 0.0."""
    stats = interaction_stats([0] * len(INTERACTION_FIELDS))
    assert stats.n == 0
    figures = [getattr(stats, name) for name in stats.__slots__ if name != "n"]
    assert figures == [None] * 10


@given(st.lists(COUNT, min_size=13, max_size=13).filter(lambda vector: vector[0] > 0))
@settings(derandomize=True)
def test_interaction_figures_are_the_nearest_doubles_to_the_exact_ones(vector: list[int]) -> None:
    """Against Fractions; shares are of all interactions, durations and waits of those that carried one."""
    by_name = dict(zip(INTERACTION_FIELDS, vector, strict=True))
    stats = interaction_stats(vector)
    n = by_name["n"]
    for name in ("resolved", "unresolved", "abandoned"):
        assert getattr(stats, f"{name}_share") == float(Fraction(by_name[name], n))
    for name in ("transfers", "retries", "errors", "contacts", "rage_clicks"):
        assert getattr(stats, f"{name}_mean") == float(Fraction(by_name[name], n))
    for name in ("duration", "wait"):
        carried = by_name[f"{name}_n"]
        expected = float(Fraction(by_name[f"{name}_ms"], 1000 * carried)) if carried else None
        assert getattr(stats, f"{name}_s_mean") == expected


def test_a_vector_of_another_kind_has_no_interaction_figures() -> None:
    """A response vector is refused, not misread."""
    with pytest.raises(TallyError, match="6 and 13"):
        interaction_stats([1] * 6)
