"""The demo's plan: an incident that lies within the run and shows, and a clock that stays fast to the end."""

from __future__ import annotations

import pytest

from agents.clock import FastClock
from app.demo_plan import HISTORY_DAYS, OPEN_END_S, Plan, incident_touchpoint, plan, summary_window
from app.demo_view import IncidentStory
from app.simulator import DAY_MS
from scoring.catalog import Catalog, Touchpoint
from scoring.questions import Metric, Scale, question
from scoring.windows import live_window

WALL_MS = 1_763_719_200_000


def shop(*live: str) -> Catalog:
    """A shop with a checkout and these live windows."""
    questions = (
        question("satisfaction", Metric.CSAT, Scale(1, 5, 5)),
        question("effort", Metric.CES, Scale(1, 7, 7)),
    )
    touchpoints = (Touchpoint("search", "discovery"), Touchpoint("cart", "purchase"), Touchpoint("Checkout"))
    return Catalog(
        questions={one.id: one for one in questions},
        touchpoints={one.name: one for one in touchpoints},
        live=tuple(live_window(name) for name in live),
    )


@pytest.mark.parametrize("seconds", [5.0, 40.0, 149.0, 150.0, 3_600.0, None])
@pytest.mark.parametrize("speed", [1.0, 60.0, 600.0])
def test_the_incident_lies_within_the_run(seconds: float | None, speed: float) -> None:
    """It begins after a calm time and ends with time left to see the effort fall."""
    times = plan(seconds, speed)
    assert times.incident_begin_s > 0
    end_s = times.incident_begin_s + times.incident_lasts_s
    assert end_s <= 0.81 * (seconds or OPEN_END_S)


def test_a_short_run_has_its_incident_from_30_to_65_percent_and_a_long_one_for_the_second_minute() -> None:
    """As the demo's help and README promise."""
    short, long = plan(40, 60), plan(None, 60)
    assert (short.incident_begin_s, short.incident_begin_s + short.incident_lasts_s) == (12, 26)
    assert (long.incident_begin_s, long.incident_begin_s + long.incident_lasts_s) == (60, 120)


@pytest.mark.parametrize(("seconds", "runs_s"), [(40.0, 40), (None, OPEN_END_S)])
@pytest.mark.parametrize("speed", [1.0, 60.0])
def test_the_clock_keeps_its_speed_for_the_whole_run(
    seconds: float | None, runs_s: int, speed: float
) -> None:
    """It never shows more than the present, and has not reached it before the run is over."""
    begin_ms = plan(seconds, speed).begin_ms(WALL_MS)
    clock = FastClock(WALL_MS, begin_ms, speed, wall=lambda: WALL_MS + runs_s * 1000)
    assert clock.now_ms() == begin_ms + runs_s * 1000 * speed
    assert begin_ms > WALL_MS - 400 * DAY_MS


@pytest.mark.parametrize(
    ("seconds", "speed", "live", "shown"),
    [
        (None, 60, ("5m", "1h", "24h", "7d"), "1h"),
        (40, 60, ("24h", "5m", "1h"), "5m"),
        (None, 1, ("5m", "1h"), "5m"),
        (None, 600, ("5m", "1h"), "1h"),
    ],
)
def test_the_window_shown_is_one_that_the_incident_fills(
    seconds: float | None, speed: float, live: tuple[str, ...], shown: str
) -> None:
    """The largest that fits into it, else the smallest there is."""
    window = plan(seconds, speed).shown(shop(*live))
    assert window is not None
    assert window.name == shown


def test_the_summary_is_of_an_hour_where_there_is_one() -> None:
    """Else of the next longer window, else of the longest."""
    names = []
    for live in (("5m", "1h", "24h"), ("5m", "24h", "7d"), ("30s", "5m")):
        window = summary_window(shop(*live))
        assert window is not None
        names.append(window.name)
    assert names == ["1h", "24h", "5m"]
    assert summary_window(shop()) is None
    assert plan(40, 60).shown(shop()) is None


def test_the_incident_strikes_where_effort_is_asked_at_the_checkout() -> None:
    """Else where something is bought and effort asked; else at the first touchpoint."""
    catalog = shop("1h")
    asked = [(name, one) for name in catalog.touchpoints for one in catalog.questions]
    assert incident_touchpoint(catalog, asked) == "Checkout"
    assert incident_touchpoint(catalog, [pair for pair in asked if pair[0] != "Checkout"]) == "cart"
    assert incident_touchpoint(catalog, [("search", "satisfaction"), ("cart", "satisfaction")]) == "cart"
    assert incident_touchpoint(catalog, []) is None


def test_events_are_few_hundred_a_wall_second_and_do_not_dry_up_in_the_present() -> None:
    """At 60 times real time and in real time alike."""
    times = Plan(None, 60, 60, 60)
    assert 10 <= times.rate(present=False) * 60 <= 300
    assert 10 <= times.rate(present=True) <= 300
    assert times.rhythm
    assert not plan(40, 60).rhythm
    assert HISTORY_DAYS == 28


def test_the_story_of_an_incident_is_told_from_before_to_after() -> None:
    """The last figure before it, the worst since, and the last; nothing without an incident."""
    story = IncidentStory("checkout")
    for phase, index in (("calm", 20.0), ("calm", 25.25), ("running", 60.0), ("over", 71.0), ("over", 30.0)):
        story.phase = phase
        assert (story.told() is None) is (story.worst is None)
        story.observe(index)
    story.observe(None)
    assert story.told() == "Incident at checkout: effort index 25.3 before, 71.0 at the worst, 30.0 after it"
