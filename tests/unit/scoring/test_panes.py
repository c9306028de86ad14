"""Panes and durations: exact integer time, before 1970 too."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.errors import DeclarationError
from scoring.panes import PANE_WIDTHS, pane_start, pane_width, parse_duration_ms

TIME = st.integers(-(2**53), 2**53)
ORIGIN = st.sampled_from([0, 900_000, 1_800_000, 2_700_000])


@given(TIME, st.sampled_from(PANE_WIDTHS), ORIGIN)
@settings(derandomize=True)
def test_a_pane_holds_its_instant_and_lies_on_the_grid(time_ms: int, width_ms: int, origin_ms: int) -> None:
    """It starts at or before the instant, start <= time < start + width, and start is an edge."""
    start_ms = pane_start(time_ms, width_ms, origin_ms)
    assert start_ms <= time_ms < start_ms + width_ms
    assert (start_ms - origin_ms) % width_ms == 0
    assert pane_start(start_ms, width_ms, origin_ms) == start_ms


@given(TIME, ORIGIN)
@settings(derandomize=True)
def test_panes_nest(time_ms: int, origin_ms: int) -> None:
    """A finer pane lies inside one coarser pane, so that folding is exact."""
    for fine, coarse in pairwise(PANE_WIDTHS):
        inner = pane_start(time_ms, fine, origin_ms)
        outer = pane_start(time_ms, coarse, origin_ms)
        assert outer <= inner <= outer + coarse - fine


@pytest.mark.parametrize(
    ("window", "width_s"),
    [
        ("5s", 5),
        ("5m", 5),
        ("301s", 60),
        ("1h", 60),
        ("61m", 300),
        ("24h", 300),
        ("1d", 300),
        ("25h", 3600),
        ("7d", 3600),
    ],
)
def test_longer_windows_have_wider_panes(window: str, width_s: int) -> None:
    """5 s up to 5 m, 1 m up to 1 h, 5 m up to 24 h, 1 h beyond."""
    assert pane_width(parse_duration_ms(window)) == width_s * 1000


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("24h", 86_400_000),
        ("7d", 604_800_000),
        ("0s", 0),
    ],
)
def test_durations_are_a_whole_number_and_a_unit(text: str, expected_ms: int) -> None:
    """As the configuration file writes them."""
    assert parse_duration_ms(text) == expected_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "m",
        "5 m",
        " 5m",
        "5m\n",
        "-5m",
        "+5m",
        "1.5h",
        "5M",
        "5ms",
        "1h30m",
        "\u0665m",
        "1w",
        "9" * 10 + "s",
        300,
        None,
        True,
    ],
)
def test_anything_else_is_refused_with_its_key(text: Any) -> None:
    """Nothing is guessed from a number without its unit."""
    with pytest.raises(DeclarationError, match=r"not a duration") as caught:
        parse_duration_ms(text, "windows.live")
    assert caught.value.key == "windows.live"
