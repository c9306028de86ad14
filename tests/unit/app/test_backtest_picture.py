"""Pictures: well-formed SVG that shows the figure, its levels and each alert at its time."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from app.backtest import backtest_files, tally_files
from app.backtest_figures import incidents
from app.backtest_picture import write_pictures
from app.backtest_svg import LEFT, RIGHT, WIDTH
from app.history import Looker
from app.rows import read_files
from scoring.alerts.rules import RisingRule, ScoreName, Selector, Severity, ThresholdRule
from tests.datasets import write_rows
from tests.unit.app.history import (
    BEGIN_MS,
    COLUMNS,
    HOUR_MS,
    MINUTE_MS,
    calm_with_a_hard_hour,
    catalog,
    mapping,
    row,
)

SVG = "{http://www.w3.org/2000/svg}"
HIGH = ThresholdRule(
    "high <&>",
    Severity.CRITICAL,
    for_ms=4 * MINUTE_MS,
    exit_for_ms=6 * MINUTE_MS,
    score=ScoreName.EFFORT_INDEX,
    window="30m",
    window_ms=30 * MINUTE_MS,
    enter=50.0,
    exit=40.0,
    min_n=8,
)
BY_CHANNEL = replace(HIGH, id="by", selector=Selector(segment={"channel": "*"}))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """(folder, backtest) of two touchpoints, one of them always calm and with an odd name."""
    folder: Path = tmp_path_factory.mktemp("pictures")
    answers = calm_with_a_hard_hour(1.0, 1)
    content = [row(at, *one) for at, one in enumerate(answers)]
    content += [row(10**6 + at, time_ms, 7, place="a/b <c>") for at, (time_ms, _) in enumerate(answers)]
    declared = catalog(HIGH, BY_CHANNEL, RisingRule("rising", Severity.WARNING))
    reading = read_files([write_rows(folder / "answers.csv", COLUMNS, content)], mapping(folder), declared)
    made = backtest_files(reading, mapping(folder), declared)
    out = folder / "out"
    out.mkdir()
    write_pictures(out, tally_files(reading, declared).watches, made, declared)
    return out, made


def test_each_series_of_everybody_has_a_picture_and_segments_only_with_an_alert(drawn):
    """Names are safe on every file system."""
    out, _ = drawn
    assert sorted(path.name for path in out.iterdir()) == [
        "a-b-c--effort.svg",
        "checkout--effort--channel=web.svg",
        "checkout--effort.svg",
    ]


def test_names_levels_and_colours_of_both_themes_are_in_it(drawn):
    """Any XML reader takes it; names are texts, whatever they hold."""
    out, _ = drawn
    document = (out / "a-b-c--effort.svg").read_text()
    root = ET.fromstring(document)  # noqa: S314 - our own
    texts = ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]
    assert "a/b <c>: effort" in texts
    assert "high <&>: enter 50" in texts
    assert "high <&>: exit 40" in texts
    assert any("effort index of the last 30m" in text for text in texts)
    assert "high <&> (critical): never fired" in texts
    assert "prefers-color-scheme: dark" in document
    assert any(re.fullmatch(r"\d{4}-\d\d-\d\d", text) for text in texts)


def test_alerts_are_shaded_where_they_fired(drawn):
    """The bar of a firing begins and ends at its times on the axis."""
    out, made = drawn
    root = ET.parse(out / "checkout--effort.svg").getroot()  # noqa: S314 - our own
    shades = [one for one in root.iter(f"{SVG}rect") if one.get("class") == "shade critical"]
    fired = [
        one
        for one in incidents(made.records)
        if one.fired_ms is not None and not one.opened["segment"] and one.opened["rule"] == HIGH.id
    ]
    assert len(shades) == len(fired) > 0
    width = WIDTH - LEFT - RIGHT
    for shade, one in zip(shades, fired, strict=True):
        begin = (one.fired_ms - made.first_ms) / (made.last_ms - made.first_ms)
        end = ((one.ended_ms or made.last_ms) - made.first_ms) / (made.last_ms - made.first_ms)
        assert float(shade.get("x")) == pytest.approx(LEFT + width * begin, abs=0.06)
        assert float(shade.get("width")) == pytest.approx(width * (end - begin), abs=0.11)


def test_the_figure_of_a_look_is_that_of_the_answers(tmp_path):
    """At every instant at which it can change, against the rows themselves; looking leaves the series as it was."""
    answers = calm_with_a_hard_hour(0.2, 4)
    declared = catalog(HIGH)
    path = write_rows(tmp_path / "answers.csv", COLUMNS, [row(at, *one) for at, one in enumerate(answers)])
    (watch,) = tally_files(read_files([path], mapping(tmp_path), declared), declared).watches
    for _ in range(2):
        looker = Looker(HIGH, watch.series, 0.95)
        instants = looker.instants()
        assert instants == sorted(set(instants))
        assert BEGIN_MS < instants[0] <= BEGIN_MS + HOUR_MS
        for at_ms in instants:
            look = looker.at(at_ms)
            inside = [rating for time_ms, rating in answers if at_ms - HIGH.window_ms <= time_ms < at_ms]
            assert look.n == len(inside)
            if inside:
                assert look.value == pytest.approx(100 * (7 - sum(inside) / len(inside)) / 6)
