"""The demo's table shows the records' own figures, in journey order, and says which way effort goes."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from app.demo_table import BLOCKS, SPARK_WIDTH, ScoreBoard, half_up, sparkline, trend
from scoring.catalog import Catalog, Touchpoint
from scoring.questions import Metric, Scale, question

QUESTIONS = (
    question("recommend", Metric.NPS, Scale(0, 10, 10)),
    question("checkout-effort", Metric.CES, Scale(1, 7, 7)),
    question("delivery-effort", Metric.CES, Scale(1, 5, 1)),
    question("search-ease", Metric.CES, Scale(1, 3, 3), ces_formula="net-ease"),
    question("satisfaction", Metric.CSAT, Scale(1, 5, 5)),
)
CATALOG = Catalog(
    questions={one.id: one for one in QUESTIONS},
    touchpoints={
        "referral": Touchpoint("referral", "advocacy"),
        "checkout": Touchpoint("checkout", "purchase"),
        "cart": Touchpoint("cart", "purchase"),
        "search": Touchpoint("search", "discovery"),
        "lobby": Touchpoint("lobby"),
    },
)


def record(touchpoint: str, asked: str, **fields: Any) -> dict[str, Any]:
    """A score record as serve sends it, as far as the table reads it."""
    out = {
        "touchpoint": touchpoint,
        "question": asked,
        "segment": {},
        "window": "1h",
        "n": 40,
        "value": None,
        "low": None,
        "high": None,
        "band": None,
        "effort_index": None,
        "watermark_ms": None,
    }
    return {**out, **fields}


def effort(index: float, touchpoint: str = "checkout") -> dict[str, Any]:
    """A record of the checkout's effort question."""
    return record(
        touchpoint, "checkout-effort", value=7 - index * 6 / 100, effort_index=index, band="acceptable effort"
    )


def shown(board: ScoreBoard, width: int = 200, height: int | None = None) -> list[str]:
    """The lines of the table, without its heading."""
    text = io.StringIO()
    Console(file=text, width=width).print(board.table("1h", width, height))
    return text.getvalue().splitlines()[1:]


def test_rows_come_in_the_order_of_the_journey() -> None:
    """Stages of the journey first, declared order within a stage, what has no stage last."""
    asked = [
        (name, "satisfaction") for name in ("referral", "unheard of", "lobby", "cart", "checkout", "search")
    ]
    board = ScoreBoard(CATALOG, [*asked, ("checkout", "checkout-effort")])
    assert [(row.touchpoint, row.question.id) for row in board.rows] == [
        ("search", "satisfaction"),
        ("checkout", "checkout-effort"),
        ("checkout", "satisfaction"),
        ("cart", "satisfaction"),
        ("referral", "satisfaction"),
        ("lobby", "satisfaction"),
        ("unheard of", "satisfaction"),
    ]


def test_each_metric_is_shown_in_its_own_unit() -> None:
    """CES with its scale and effort index, CSAT in percent, NPS and net ease as balances; bounds and band as sent."""
    board = ScoreBoard(CATALOG, [])
    board.take(
        [
            record(
                "checkout",
                "checkout-effort",
                value=5.305,
                low=5.12,
                high=5.5,
                effort_index=28.25,
                band="acceptable effort",
                n=1412,
            ),
            record("checkout", "satisfaction", value=82.05, low=77.6, high=82.2, band="excellent"),
            record("referral", "recommend", value=-12.5, low=-30.0, high=5.0, band="alarming"),
            record("search", "search-ease", value=50.0),
        ]
    )
    search, checkout_effort, checkout, referral = shown(board)
    assert "net ease 50" in search
    for part in ("28.3", "CES 5.31 of 1-7", "1,412", "5.12 to 5.50", "acceptable effort", "purchase"):
        assert part in checkout_effort
    for part in ("CSAT 82.1 %", "77.6 to 82.2", "excellent"):
        assert part in checkout
    for part in ("NPS -13", "-30.0 to 5.0", "alarming"):
        assert part in referral


def test_too_few_answers_are_a_dash_and_never_a_zero() -> None:
    """A hidden score keeps its n; a row without any record is there with n 0."""
    board = ScoreBoard(CATALOG, [("cart", "satisfaction")])
    board.take([record("checkout", "satisfaction", n=3)])
    checkout, cart = shown(board)
    assert checkout.split()[-5:] == ["-", "-", "3", "-", "-"]
    assert cart.split()[-5:] == ["-", "-", "0", "-", "-"]
    assert board.scored == 1
    assert board.rows[0].change is None


def test_series_of_segments_and_unknown_questions_are_left_out() -> None:
    """The table is about everybody, and about what the catalog declares."""
    board = ScoreBoard(CATALOG, [])
    board.take([record("checkout", "satisfaction", segment={"channel": "web"}), record("checkout", "other")])
    assert board.rows == []


@pytest.mark.parametrize(
    ("figures", "arrow", "style"),
    [
        ([25.0, 26.0, 40.0], "↑", "red"),
        ([40.0, 30.0], "↓", "green"),
        ([25.0, 25.5], "→", "dim"),
        ([25.0], " ", ""),
    ],
)
def test_rising_effort_is_red_and_falling_effort_green(figures: list[float], arrow: str, style: str) -> None:
    """The arrow follows the figure, its colour what that means to the customer."""
    board = ScoreBoard(CATALOG, [])
    for index in figures:
        board.take([effort(index)])
    text = trend(board.rows[0])
    assert text.plain == arrow
    assert style in str(text.style)


def test_a_change_within_the_bounds_is_no_trend() -> None:
    """With few answers the figure wanders; an arrow needs half of the half-width of its bounds."""
    for width, arrow in ((40.0, "→"), (10.0, "↑")):
        board = ScoreBoard(CATALOG, [])
        for value in (60.0, 66.0):
            bounds = {"low": value - width / 2, "high": value + width / 2}
            board.take([record("cart", "satisfaction", value=value, **bounds)])
        assert trend(board.rows[0]).plain == arrow


def test_rising_satisfaction_is_green() -> None:
    """For scores where more is better the colours are the other way round."""
    board = ScoreBoard(CATALOG, [])
    for value in (60.0, 80.0):
        board.take([record("cart", "satisfaction", value=value)])
    text = trend(board.rows[0])
    assert (text.plain, "green" in str(text.style)) == ("↑", True)


def test_effort_on_a_reversed_scale_follows_the_index() -> None:
    """On 1 to 5 with 1 best a rising mean is rising effort, as its index says."""
    board = ScoreBoard(CATALOG, [])
    for value in (2.0, 4.0):
        board.take([record("cart", "delivery-effort", value=value, effort_index=(value - 1) * 25)])
    assert "red" in str(trend(board.rows[0]).style)


def test_effort_of_the_incident_is_found_by_touchpoint() -> None:
    """The first effort question of a touchpoint is told, None where it has none."""
    board = ScoreBoard(CATALOG, [("cart", "satisfaction")])
    board.take([effort(31.5)])
    assert board.effort_at("checkout") == 31.5
    assert board.effort_at("cart") is None


def test_the_watermark_is_the_newest_of_the_records() -> None:
    """A record without one says nothing."""
    board = ScoreBoard(CATALOG, [])
    assert board.watermark_ms is None
    board.take([record("cart", "satisfaction", watermark_ms=mark) for mark in (5, 9, None, 7)])
    assert board.watermark_ms == 9


@pytest.mark.parametrize("width", [80, 94, 112, 158, 220])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Numbers are never cut; long names are."""
    board = ScoreBoard(CATALOG, [])
    name = "a touchpoint with a very long name [bold]indeed[/bold]"
    band = "needs improvement to excellent or so"
    for value in range(20):
        fields = {"value": -99.0 - value / 100, "low": -100.0, "high": -98.5, "band": band, "n": 99_999}
        board.take([record(name, "recommend", **fields), effort(value * 5.0, touchpoint=name)])
    text = io.StringIO()
    Console(file=text, width=1_000).print(board.table("24h", width))
    assert all(len(line.rstrip()) <= width for line in text.getvalue().splitlines())
    lines = shown(board, width)
    assert all("99,999" in line or "CES 1.30 of 1-7" in line for line in lines)


def test_a_low_terminal_shows_one_question_of_each_touchpoint() -> None:
    """With too few lines for all questions, every touchpoint is still there."""
    asked = [(name, one.id) for name in CATALOG.touchpoints for one in QUESTIONS]
    board = ScoreBoard(CATALOG, asked)
    assert len(shown(board, height=30)) == 25
    assert len(shown(board, height=12)) == 5


@pytest.mark.parametrize(
    ("value", "digits", "text"), [(0.125, 2, "0.13"), (2.675, 2, "2.68"), (-0.5, 0, "-1"), (-0.01, 1, "0.0")]
)
def test_displays_round_halves_up_and_know_no_minus_zero(value: float, digits: int, text: str) -> None:
    """Of the shortest decimal that the double stands for, as people read it."""
    assert half_up(value, digits) == text


@settings(derandomize=True, max_examples=200)
@given(st.lists(st.floats(0, 100), max_size=40))
def test_sparklines_keep_the_order_of_their_figures(figures: list[float]) -> None:
    """At most the width, one block per figure, and a higher figure never has a lower block."""
    spark = sparkline(figures, 0, 100)
    last = figures[-SPARK_WIDTH:]
    assert len(spark) == len(last)
    levels = [BLOCKS.index(block) for block in spark]
    for one, level in zip(last, levels, strict=True):
        for other, other_level in zip(last, levels, strict=True):
            assert not (one < other and level > other_level)
