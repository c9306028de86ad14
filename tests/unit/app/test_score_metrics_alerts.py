"""What /metrics says about the alerts."""

from __future__ import annotations

import shutil
import subprocess

import msgspec
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from agents.records import AlertRecord, OperationRecord
from agents.topics import ALERTS, OPERATIONS
from app.muting import Muting
from app.readmodel import ReadModel
from app.score_metrics import score_registry
from tests.alert_records import alert_record, silence_record
from tests.score_records import CATALOG, NOW_MS
from tests.servers import without

STATE = "effortstream_alert_state"
MUTED = "effortstream_alert_muted"
SINCE = "effortstream_alert_since_timestamp_seconds"


def model_of(*records: AlertRecord | OperationRecord, ready: bool = True) -> ReadModel:
    """A read model with these records."""
    model = ReadModel()
    for offset, record in enumerate(records):
        topic, key = (
            (ALERTS, record.fingerprint) if isinstance(record, AlertRecord) else (OPERATIONS, record.id)
        )
        model.apply(topic, 0, offset, key.encode(), msgspec.json.encode(record))
    model.ready = ready
    return model


def exposition(model: ReadModel) -> str:
    """A scrape at NOW_MS."""
    return generate_latest(
        score_registry(model, CATALOG, muting=Muting(model.operations, lambda: NOW_MS))
    ).decode()


def scrape(model: ReadModel, name: str) -> dict[str, float]:
    """The samples of a name by rule; no two may have the same labels."""
    out: dict[str, float] = {}
    for family in text_string_to_metric_families(exposition(model)):
        for sample in family.samples:
            if sample.name == name:
                assert sample.labels["rule"] not in out
                out[sample.labels["rule"]] = sample.value
    return out


def test_states_are_numbers():
    """0 inactive or resolved, 1 pending, 2 firing."""
    states = {"inactive": 0, "resolved": 0, "pending": 1, "firing": 2}
    model = model_of(*(alert_record(state, rule=state) for state in states))
    assert scrape(model, STATE) == states


def test_the_labels_are_those_of_the_contract():
    """A touchpoint of no stage and a rule without a question have empty labels."""
    model = model_of(alert_record(touchpoint="kiosk", question=None, window=None))
    assert (
        'effortstream_alert_state{journey_stage="",question="",rule="checkout-effort-high",severity="critical",'
        'touchpoint="kiosk"} 2.0\n'
    ) in exposition(model)


def test_segments_and_windows_of_one_rule_are_one_sample_with_the_highest_state():
    """The labels tell no segment apart, so the loudest speaks, with the time since which it has been so."""
    model = model_of(
        alert_record("firing", since_ms=NOW_MS - 5_000),
        alert_record("firing", segment={"channel": "web"}, since_ms=NOW_MS - 9_000),
        alert_record("pending", segment={"channel": "store"}, since_ms=NOW_MS - 90_000),
        alert_record("resolved", window="24h"),
    )
    assert scrape(model, STATE) == {"checkout-effort-high": 2}
    assert scrape(model, SINCE) == {"checkout-effort-high": (NOW_MS - 9_000) / 1000}


def test_a_calm_alert_has_no_time_since_which_it_holds():
    """Nothing holds."""
    assert scrape(model_of(alert_record("resolved")), SINCE) == {}


def test_a_removed_alert_is_gone_from_the_next_scrape():
    """No stale sample remains when a rule is removed."""
    model = model_of(alert_record())
    model.apply(ALERTS, 0, 9, alert_record().fingerprint.encode(), None)
    assert [scrape(model, name) for name in (STATE, MUTED, SINCE)] == [{}, {}, {}]


def test_until_the_topics_are_read_no_alert_is_exported():
    """What fired last year must not page anybody while serve starts."""
    model = model_of(alert_record(), ready=False)
    assert scrape(model, STATE) == {}
    assert "# HELP effortstream_alert_state " in exposition(model)


@pytest.mark.parametrize(
    ("silence", "muted"),
    [
        ({}, 1),
        ({"rule": "checkout-effort-high", "touchpoint": "check*", "severity": "critical"}, 1),
        ({"rule": None, "severity": "*"}, 1),
        ({"rule": "other"}, 0),
        ({"touchpoint": "check"}, 0),
        ({"severity": "warning"}, 0),
        ({"at_ms": NOW_MS + 1}, 0),
        ({"ends_at_ms": NOW_MS}, 0),
        ({"ends_at_ms": NOW_MS + 1}, 1),
        ({"withdrawn": True}, 0),
    ],
)
def test_a_silence_mutes_what_matches_while_it_lasts_and_leaves_the_state_alone(silence, muted):
    """From its beginning, included, to its end, excluded; by all of its patterns."""
    model = model_of(alert_record(), silence_record(**silence))
    assert scrape(model, MUTED) == {"checkout-effort-high": muted}
    assert scrape(model, STATE) == {"checkout-effort-high": 2}


def test_an_acknowledgement_mutes_its_own_incident_only():
    """The next time that the alert fires it is heard again, and so is another segment of the same rule."""
    alert = alert_record()
    acknowledged = OperationRecord(
        f"{alert.fingerprint}-{NOW_MS}", "acknowledge", "ada", "on it", NOW_MS, fingerprint=alert.fingerprint
    )
    assert scrape(model_of(alert, acknowledged), MUTED) == {"checkout-effort-high": 1}
    again = alert_record(sequence=4, fired_at_ms=NOW_MS + 1)
    assert scrape(model_of(alert, acknowledged, again), MUTED) == {"checkout-effort-high": 0}
    other = alert_record(segment={"channel": "web"})
    assert scrape(model_of(alert, acknowledged, other), MUTED) == {"checkout-effort-high": 0}
    assert scrape(model_of(alert_record("resolved", 3), acknowledged), MUTED) == {"checkout-effort-high": 0}


def test_a_quieter_alert_under_the_same_labels_does_not_unmute_the_loudest():
    """Muted says something about the highest state, which is what is exported."""
    alert = alert_record()
    pending = alert_record("pending", segment={"channel": "web"})
    acknowledged = OperationRecord(f"{alert.fingerprint}-{NOW_MS}", "acknowledge", "ada", "on it", NOW_MS)
    assert scrape(model_of(alert, pending, acknowledged), MUTED) == {"checkout-effort-high": 1}


def test_skipped_alerts_are_counted():
    """What is superseded or finds no place shows in the metrics."""
    model = model_of(alert_record(sequence=5), alert_record(sequence=4))
    text = exposition(model)
    assert 'skipped_records_total{reason="superseded",topic="alerts.v1"} 1.0' in text
    assert 'effortstream_read_model_series{topic="alerts.v1"} 1.0' in text


def test_promtool_finds_nothing_to_complain_about():
    """Names, types and help are as Prometheus wants them."""
    if shutil.which("promtool") is None:
        without("no promtool; it is in the Debian package prometheus")
    text = exposition(model_of(alert_record(), silence_record()))
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
