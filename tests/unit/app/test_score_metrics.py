"""What /metrics says about the scores."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from agents.topics import INTERACTION_STATS, SCORES
from app.readmodel import ReadModel
from app.score_metrics import score_registry
from scoring.catalog import Catalog
from scoring.intervals import wilson
from scoring.questions import Scale, question
from tests.score_records import (
    CATALOG,
    EASE,
    EFFORT,
    LOYALTY,
    NOW_MS,
    REVERSED,
    SATISFACTION,
    key_of,
    score_record,
    stats_record,
)


def model_of(*records, ready: bool = True) -> ReadModel:
    """A read model with these records."""
    model = ReadModel()
    for offset, record in enumerate(records):
        topic = SCORES if hasattr(record, "question") else INTERACTION_STATS
        model.apply(topic, 0, offset, key_of(record), msgspec.json.encode(record))
    model.ready = ready
    return model


def scrape(model: ReadModel, catalog: Catalog = CATALOG) -> dict[tuple[str, str], float]:
    """Samples by name and question (or other distinguishing labels), parsed from the exposition text."""
    out = {}
    text = generate_latest(score_registry(model, catalog)).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            key = (sample.name, labels.pop("question", ""))
            assert key not in out or sample.name.startswith(("process_", "effortstream_read_model"))
            out[key] = sample.value
    return out


def labels_of(model: ReadModel, name: str) -> list[dict[str, str]]:
    """The labels of every sample of a name."""
    text = generate_latest(score_registry(model, CATALOG)).decode()
    families = text_string_to_metric_families(text)
    return [dict(each.labels) for family in families for each in family.samples if each.name == name]


def test_a_ces_mean_exports_mean_effort_index_and_low_effort_with_their_bounds():
    """The bounds that the record lacks are those that scoring would state."""
    counts = [1, 2, 3, 4, 10, 20, 10]
    record = score_record(EFFORT, counts, interactions=100)
    got = scrape(model_of(record))
    name = "checkout-effort"
    assert got["effortstream_ces_mean", name] == record.value
    assert got["effortstream_ces_mean_lower_bound", name] == record.low
    assert got["effortstream_ces_mean_upper_bound", name] == record.high
    assert got["effortstream_effort_index", name] == record.effort_index
    assert got["effortstream_effort_index_lower_bound", name] == pytest.approx((7 - record.high) / 6 * 100)
    assert got["effortstream_effort_index_upper_bound", name] == pytest.approx((7 - record.low) / 6 * 100)
    assert got["effortstream_low_effort_ratio", name] == 30 / 50
    low, high = wilson(30, 50, 0.95)
    assert got["effortstream_low_effort_ratio_lower_bound", name] == low
    assert got["effortstream_low_effort_ratio_upper_bound", name] == high
    assert got["effortstream_score_responses", name] == 50
    assert got["effortstream_response_ratio", name] == 0.0
    assert got["effortstream_score_updated_timestamp_seconds", name] == (NOW_MS + 250) / 1000


def test_the_effort_bounds_of_a_reversed_scale_are_the_right_way_round():
    """Where 1 is best, the lower bound of the mean is the lower bound of effort."""
    record = score_record(REVERSED, [5, 9, 6, 3, 1])
    got = scrape(model_of(record))
    bounds = [got[f"effortstream_effort_index{end}_bound", "legacy-effort"] for end in ("_lower", "_upper")]
    assert bounds == pytest.approx([(record.low - 1) / 4 * 100, (record.high - 1) / 4 * 100])
    assert bounds[0] < record.effort_index < bounds[1]


def test_csat_is_a_ratio_and_the_net_scores_keep_their_unit():
    """Percent of the record becomes a share of 1; NPS and net ease stay -100 to 100, each under its own name."""
    records = [
        score_record(SATISFACTION, [1, 1, 2, 3, 3]),
        score_record(LOYALTY, [1, 0, 0, 0, 0, 0, 1, 1, 1, 3, 3]),
        score_record(EASE, [10, 30, 60]),
    ]
    got = scrape(model_of(*records))
    assert got["effortstream_csat_satisfied_ratio", "chat-satisfaction"] == 0.6
    assert got["effortstream_csat_satisfied_ratio_lower_bound", "chat-satisfaction"] == records[0].low / 100
    assert got["effortstream_nps_score", "loyalty"] == 40
    assert got["effortstream_nps_score_upper_bound", "loyalty"] == records[1].high
    assert got["effortstream_ces_net_ease", "emoji-ease"] == 50
    assert ("effortstream_ces_mean", "emoji-ease") not in got
    assert ("effortstream_effort_index", "loyalty") not in got


def test_a_null_exports_no_sample():
    """Too few answers is no number: neither 0 nor NaN."""
    got = scrape(model_of(score_record(EFFORT, [0] * 7)))
    named = {name for name, asked in got if asked}
    assert named == {"effortstream_score_responses", "effortstream_score_updated_timestamp_seconds"}
    assert got["effortstream_score_responses", "checkout-effort"] == 0


def test_equal_answers_have_a_mean_and_no_bounds():
    """Without variance nothing is known of the spread, so no bound is exported."""
    got = scrape(model_of(score_record(EFFORT, [0, 0, 0, 0, 0, 9, 0])))
    assert got["effortstream_ces_mean", "checkout-effort"] == 6
    assert not [
        name for name, _ in got if name.startswith("effortstream_ces_mean_") and name.endswith("bound")
    ]
    assert not [name for name, _ in got if name.startswith("effortstream_effort_index_")]


def test_a_record_under_the_privacy_floor_exports_only_when_it_came():
    """Hidden n and counts stay hidden."""
    hidden = (
        "n",
        "value",
        "low",
        "high",
        "band",
        "effort_index",
        "low_effort_share",
        "counts",
        "response_rate",
    )
    record = msgspec.structs.replace(score_record(EFFORT, [1] * 7), **dict.fromkeys(hidden))
    got = scrape(model_of(record))
    assert {name for name, asked in got if asked} == {"effortstream_score_updated_timestamp_seconds"}


def test_segments_and_calendar_windows_are_not_exported():
    """Labels stay few: series of everybody in live windows only."""
    model = model_of(
        score_record(EFFORT, [1] * 7, segment={"channel": "web"}),
        score_record(LOYALTY, [1] * 11, kind="calendar"),
        stats_record(segment={"channel": "web"}),
    )
    assert not {name for name, asked in scrape(model) if asked}
    assert labels_of(model, "effortstream_interactions") == []


def test_labels_name_the_touchpoint_its_stage_the_question_and_the_window():
    """An undeclared touchpoint has an empty stage."""
    model = model_of(
        score_record(EFFORT, [1] * 7, 'odd "name"\n', "5m"),
        stats_record("checkout", n=41),
        score_record(EFFORT, [2] * 7),
    )
    assert labels_of(model, "effortstream_ces_mean") == [
        {"touchpoint": 'odd "name"\n', "journey_stage": "", "question": "checkout-effort", "window": "5m"},
        {
            "touchpoint": "checkout",
            "journey_stage": "purchase",
            "question": "checkout-effort",
            "window": "1h",
        },
    ]
    assert labels_of(model, "effortstream_interactions") == [
        {"touchpoint": "checkout", "journey_stage": "purchase", "window": "1h"}
    ]


def test_a_removed_series_is_gone_from_the_next_scrape():
    """Nothing is remembered between scrapes."""
    record = score_record(EFFORT, [1] * 7)
    model = model_of(record)
    registry = score_registry(model, CATALOG)
    assert b"effortstream_ces_mean{" in generate_latest(registry)
    model.apply(SCORES, 0, 9, key_of(record), None)
    assert b"effortstream_ces_mean{" not in generate_latest(registry)


def test_a_model_that_is_not_ready_exports_no_score():
    """While the topics are still being read, an old record must not look like the current one."""
    got = scrape(model_of(score_record(EFFORT, [1] * 7), stats_record(), ready=False))
    assert not {name for name, asked in got if asked}
    assert ("effortstream_interactions", "") not in got
    assert got["effortstream_read_model_ready", ""] == 0
    assert got["effortstream_build_info", ""] == 1


def test_a_question_that_this_configuration_lacks_has_its_scores_without_derived_bounds():
    """The two processes may be updated apart: serve may run with an older configuration than the worker for a while."""
    other = Catalog(questions={"other": question("other", "csat", Scale(1, 5, 5))})
    got = scrape(model_of(score_record(EFFORT, [1, 2, 3, 4, 5, 6, 7])), other)
    assert ("effortstream_ces_mean_lower_bound", "checkout-effort") in got
    assert ("effortstream_effort_index", "checkout-effort") in got
    assert ("effortstream_effort_index_lower_bound", "checkout-effort") not in got
    assert ("effortstream_low_effort_ratio_lower_bound", "checkout-effort") not in got


def test_a_formula_of_a_later_version_exports_no_score():
    """A number whose meaning is unknown is not passed on under a known name."""
    got = scrape(model_of(score_record(LOYALTY, [1] * 11, formula="nps/2")))
    assert ("effortstream_nps_score", "loyalty") not in got
    assert got["effortstream_score_responses", "loyalty"] == 11


def test_two_apps_in_one_process_do_not_share_samples():
    """Each has a registry of its own."""
    full, empty = model_of(score_record(EFFORT, [1] * 7)), model_of()
    assert b"checkout-effort" in generate_latest(score_registry(full, CATALOG))
    assert b"checkout-effort" not in generate_latest(score_registry(empty, CATALOG))


def test_skipped_records_are_counted_by_topic_and_reason():
    """What the read model could not take shows in the metrics."""
    model = ReadModel(max_series=1)
    for offset, touchpoint in enumerate(("a", "b", "c")):
        record = score_record(EFFORT, [1] * 7, touchpoint)
        model.apply(SCORES, 0, offset, key_of(record), msgspec.json.encode(record))
    model.apply(SCORES, 0, 3, b"no key", None)
    text = generate_latest(score_registry(model, CATALOG)).decode()
    name = "effortstream_read_model_skipped_records_total"
    assert f'{name}{{reason="limit",topic="scores.v1"}} 2.0' in text
    assert f'{name}{{reason="undecodable",topic="scores.v1"}} 1.0' in text
    assert f'{name}{{reason="limit",topic="interaction-stats.v1"}} 0.0' in text
