"""Questions: defaults by metric, and every declaration without a meaning refused with its key and a remedy."""

from __future__ import annotations

from typing import Any

import pytest

from scoring.bands import CES_BANDS, CSAT_BANDS, NPS_BANDS
from scoring.errors import DeclarationError, EffortStreamError
from scoring.questions import Metric, OffScaleError, Scale, question
from tests.unit.scoring.declared import CSAT_5, EASE_7, EMOJI, NPS


@pytest.mark.parametrize(
    ("points", "best_high", "best_low"),
    [
        (2, {2}, {1}),
        (3, {3}, {1}),
        (4, {3, 4}, {1, 2}),
        (5, {4, 5}, {1, 2}),
        (7, {6, 7}, {1, 2}),
        (8, {6, 7, 8}, {1, 2, 3}),
        (10, {8, 9, 10}, {1, 2, 3}),
        (11, {9, 10, 11}, {1, 2, 3}),
    ],
)
@pytest.mark.parametrize(("metric", "field"), [("csat", "positive"), ("ces", "low_effort")])
def test_the_best_ratings_are_the_default_set(
    metric: str, field: str, points: int, best_high: set[int], best_low: set[int]
) -> None:
    """One of 2 or 3 points, two of 4 to 7, three of 8 to 11, from whichever end is best."""
    for best, expected in ((points, best_high), (1, best_low)):
        assert getattr(question("q", metric, Scale(1, points, best)), field) == expected


def test_sets_of_other_metrics_are_empty() -> None:
    """Only csat has positive answers, only a ces mean has low-effort ones."""
    assert (
        EASE_7.positive
        == CSAT_5.low_effort
        == NPS.positive
        == NPS.low_effort
        == EMOJI.low_effort
        == frozenset()
    )


def test_chosen_sets_win_over_the_defaults() -> None:
    """What is declared is what counts."""
    assert question("q", "csat", Scale(1, 5, 5), positive=[3, 5]).positive == {3, 5}
    assert question("q", "ces", Scale(1, 7, 7), low_effort=[5, 6, 7]).low_effort == {5, 6, 7}


def test_bands_follow_the_metric() -> None:
    """Each metric has its own; net ease has none."""
    assert (EASE_7.bands, CSAT_5.bands, NPS.bands, EMOJI.bands) == (CES_BANDS, CSAT_BANDS, NPS_BANDS, None)


def test_equal_declarations_are_equal_and_hash_alike() -> None:
    """A question can be a key, and two workers can compare what they were given."""
    again = question("ease-7", "ces", Scale(1, 7, best=7))
    assert again == EASE_7
    assert hash(again) == hash(EASE_7)


def test_a_touchpoint_is_trimmed() -> None:
    """As those of records are, or the default would be another touchpoint."""
    assert question("q", "csat", Scale(1, 5, 5), touchpoint=" call ").touchpoint == "call"


@pytest.mark.parametrize(
    ("ends", "key"),
    [
        ((1, 1, 1), "scale"),
        ((5, 1, 5), "scale"),
        ((0, 11, 11), "scale"),
        ((1, 5, 3), "scale.best"),
        ((1, 5, 6), "scale.best"),
        ((1.0, 5, 5), "scale.low"),
        ((1, "5", 5), "scale.high"),
        ((False, 5, 5), "scale.low"),
        ((1, 5, None), "scale.best"),
    ],
)
def test_a_scale_without_a_meaning_is_refused(ends: tuple[Any, Any, Any], key: str) -> None:
    """2 to 11 whole-number points, best at one end; the key says which part is wrong."""
    with pytest.raises(DeclarationError) as caught:
        Scale(*ends)
    assert caught.value.key == key


def test_a_scale_knows_its_ratings() -> None:
    """Tally order is rising, whichever end is best."""
    scale = Scale(-1, 1, best=-1)
    assert (scale.worst, scale.points, list(scale.ratings)) == (1, 3, [-1, 0, 1])
    assert [scale.index(rating) for rating in scale.ratings] == [0, 1, 2]


@pytest.mark.parametrize("rating", [0, 6, -1])
def test_the_index_of_a_rating_off_the_scale_is_refused(rating: int) -> None:
    """Rating 0 of 1..5 must not be counted as a 5, which index -1 would do."""
    with pytest.raises(OffScaleError, match=rf"rating = {rating}: not on the scale 1\.\.5") as caught:
        Scale(1, 5, 5).index(rating)
    assert isinstance(caught.value, EffortStreamError)
    assert isinstance(caught.value, ValueError)


FIVE = Scale(1, 5, 5)
THREE = Scale(1, 3, 3)
TEN = Scale(0, 10, 10)


@pytest.mark.parametrize(
    ("metric", "scale", "options", "key"),
    [
        ("smile", FIVE, {}, "q.metric"),
        (["ces"], FIVE, {}, "q.metric"),
        ("nps", FIVE, {}, "q.scale"),
        ("nps", Scale(0, 10, 0), {}, "q.scale"),
        ("nps", Scale(1, 10, 10), {}, "q.scale"),
        ("ces", FIVE, {"ces_formula": "median"}, "q.ces_formula"),
        ("ces", FIVE, {"ces_formula": "net-ease"}, "q.ces_formula"),
        ("csat", THREE, {"ces_formula": "net-ease"}, "q.ces_formula"),
        ("ces", FIVE, {"positive": [5]}, "q.positive"),
        ("nps", TEN, {"positive": [10]}, "q.positive"),
        ("csat", FIVE, {"low_effort": [5]}, "q.low_effort"),
        ("ces", THREE, {"ces_formula": "net-ease", "low_effort": [3]}, "q.low_effort"),
        ("csat", FIVE, {"positive": []}, "q.positive"),
        ("csat", FIVE, {"positive": [4, 6]}, "q.positive"),
        ("csat", FIVE, {"positive": [4.0]}, "q.positive"),
        ("csat", FIVE, {"positive": [True]}, "q.positive"),
        ("csat", FIVE, {"positive": "45"}, "q.positive"),
        ("csat", FIVE, {"positive": 4}, "q.positive"),
        ("ces", FIVE, {"low_effort": [0]}, "q.low_effort"),
        ("csat", FIVE, {"min_n": 0}, "q.min_n"),
        ("csat", FIVE, {"min_n": 1.5}, "q.min_n"),
        ("csat", FIVE, {"min_n": True}, "q.min_n"),
        ("csat", FIVE, {"comments": "yes"}, "q.comments"),
        ("csat", FIVE, {"touchpoint": " "}, "q.touchpoint"),
        ("csat", FIVE, {"touchpoint": 7}, "q.touchpoint"),
        ("csat", FIVE, {"touchpoint": "x" * 129}, "q.touchpoint"),
        ("csat", FIVE, {"touchpoint": "a\x00b"}, "q.touchpoint"),
        ("csat", FIVE, {"touchpoint": "\ud800"}, "q.touchpoint"),
        ("csat", FIVE, {"bands": CES_BANDS}, "q.bands"),
        ("ces", FIVE, {"bands": CSAT_BANDS}, "q.bands"),
        ("ces", THREE, {"ces_formula": "net-ease", "bands": CES_BANDS}, "q.bands"),
    ],
)
def test_a_declaration_without_a_meaning_is_refused(
    metric: Any, scale: Scale, options: dict[str, Any], key: str
) -> None:
    """The error names the key and the value, and ends with what to write instead."""
    with pytest.raises(DeclarationError) as caught:
        question("q", metric, scale, **options)
    assert caught.value.key == f"questions.{key}"
    assert str(caught.value).startswith(f"questions.{key} = ")
    assert str(caught.value).endswith(caught.value.remedy)


@pytest.mark.parametrize("name", ["", " ", "x" * 257, "a\nb", None, "\udfff"])
def test_an_id_that_no_record_could_carry_is_refused(name: Any) -> None:
    """Empty, too long, with control characters or no text at all."""
    with pytest.raises(DeclarationError, match=r"questions\."):
        question(name, "csat", FIVE)


def test_a_non_breaking_space_in_a_name_is_no_control_character() -> None:
    """Names of touchpoints come from people."""
    assert question("q", "csat", FIVE, touchpoint="a\u00a0b").touchpoint == "a\u00a0b"


def test_metrics_are_the_words_of_the_contract() -> None:
    """They go into records as they are."""
    assert [str(metric) for metric in Metric] == ["ces", "csat", "nps"]
