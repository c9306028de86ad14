"""Alerts and operations over HTTP, over a filled read model and without a broker."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from litestar.testing import TestClient

from agents.records import AlertRecord, OperationRecord
from agents.topics import ALERTS, OPERATIONS
from app.muting import Muting
from app.operation_log import OperationNotStored
from app.readmodel import ReadModel
from app.score_metrics import score_registry
from app.web.api import create_app
from app.web.operations import Desk
from tests.alert_records import alert_record, silence_record
from tests.score_records import CATALOG, NOW_MS

FIRING = alert_record()
WHO = {"author": "ada", "reason": "on it"}
SILENCE = WHO | {"ends_at_ms": NOW_MS + 3_600_000, "touchpoint": "check*"}
HOME = "http://127.0.0.1:8080"


class Office:
    """A read model and a desk whose records come back at once."""

    def __init__(self) -> None:
        self.model, self.stored, self.down, self._offset = ReadModel(), [], False, 0
        self.model.ready = True

    def put(self, *records: AlertRecord | OperationRecord) -> None:
        """Applies records as published."""
        for record in records:
            topic, key = (
                (ALERTS, record.fingerprint) if isinstance(record, AlertRecord) else (OPERATIONS, record.id)
            )
            self.model.apply(topic, 0, self._offset, key.encode(), msgspec.json.encode(record))
            self._offset += 1

    async def store(self, record: OperationRecord) -> None:
        """Stores a record, or fails as a broker does."""
        if self.down:
            raise OperationNotStored("Kafka did not confirm the operation. Try again")
        self.stored.append(record)
        self.put(record)

    def client(self, closed: str | None = None, base_url: str = HOME) -> TestClient:
        """A client of an app over it."""
        muting = Muting(self.model.operations, lambda: NOW_MS)
        app = create_app(
            self.model,
            score_registry(self.model, CATALOG, muting=muting),
            list,
            muting,
            Desk(self.store, lambda: NOW_MS, closed),
        )
        return TestClient(app, base_url=base_url, raise_server_exceptions=False)


@pytest.fixture
def office() -> Office:
    """An office with one firing alert, one pending and one resolved."""
    made = Office()
    made.put(
        alert_record("pending", 1),
        FIRING,
        alert_record("pending", 1, "search-slow", touchpoint="search", severity="warning"),
        alert_record("resolved", 3, segment={"channel": "web"}),
    )
    return made


@pytest.fixture
def client(office: Office) -> Iterator[TestClient]:
    """A client of it."""
    with office.client() as opened:
        yield opened


def shown(client: TestClient, **filters: str) -> list[tuple[str, str]]:
    """Rule and state of the alerts that match."""
    answer = client.get("/api/v1/alerts", params=filters)
    assert answer.status_code == 200, answer.text
    assert answer.json()["total"] == len(answer.json()["items"])
    return [(each["rule"], each["state"]) for each in answer.json()["items"]]


def test_alerts_are_the_records_with_who_muted_them(client, office):
    """Everything that was published is there, and beside it whether it is to be heard."""
    office.put(silence_record())
    (alert,) = client.get("/api/v1/alerts", params={"state": "firing"}).json()["items"]
    assert alert.pop("muted") is True
    assert alert.pop("muted_by") == [
        {
            "by": "silence",
            "id": "s1",
            "author": "ada",
            "reason": "known outage of the card provider",
            "ends_at_ms": NOW_MS + 3_600_000,
        }
    ]
    assert alert == msgspec.to_builtins(FIRING)


def test_filters_narrow_the_alerts(client, office):
    """State, rule, touchpoint, severity, and whether it is muted."""
    checkout, search = ("checkout-effort-high", "firing"), ("search-slow", "pending")
    assert sorted(shown(client)) == [checkout, ("checkout-effort-high", "resolved"), search]
    assert shown(client, state="pending") == [search]
    assert shown(client, rule="checkout-effort-high", state="firing") == [checkout]
    assert shown(client, touchpoint="search") == [search]
    assert shown(client, severity="warning") == [search]
    assert shown(client, touchpoint="nowhere") == []
    office.put(silence_record(rule=None, touchpoint="search"))
    assert shown(client, muted="true") == [search]
    assert shown(client, muted="false", state="firing") == [checkout]


@pytest.mark.parametrize("query", ["state=red", "severity=loud", "muted=maybe", "fingerprint=1", "limit=0"])
def test_a_filter_that_means_nothing_is_refused(client, query):
    """It must not look like one that matches everything."""
    answer = client.get(f"/api/v1/alerts?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    assert query.partition("=")[0] in answer.text


def test_pages_of_alerts_follow_one_another(client):
    """The cursor goes on behind the last one shown."""
    first = client.get("/api/v1/alerts", params={"limit": 2}).json()
    rest = client.get("/api/v1/alerts", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (2, 1, None)
    assert {each["fingerprint"] for each in first["items"]}.isdisjoint(
        each["fingerprint"] for each in rest["items"]
    )


def test_one_alert_has_its_history(client):
    """Its transitions, oldest first, the current one at the end."""
    alert = client.get(f"/api/v1/alerts/{FIRING.fingerprint}").json()
    assert [each["state"] for each in alert["transitions"]] == ["pending", "firing"]
    assert (alert["state"], alert["muted"], alert["muted_by"]) == ("firing", False, [])
    missing = client.get("/api/v1/alerts/0000000000000000")
    assert missing.status_code == 404
    assert "/api/v1/alerts lists" in missing.json()["detail"]


def test_an_acknowledgement_is_stored_once_and_mutes(client, office):
    """The second one answers with the first and writes nothing; the state stays what the engine decided."""
    path = f"/api/v1/alerts/{FIRING.fingerprint}/acknowledge"
    first = client.post(path, json=WHO)
    second = client.post(path, json={"author": "bob", "reason": "me too"})
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json() == msgspec.to_builtins(office.stored[0])
    assert len(office.stored) == 1
    alert = client.get(f"/api/v1/alerts/{FIRING.fingerprint}").json()
    assert (alert["state"], alert["muted"]) == ("firing", True)
    assert [(each["by"], each["author"]) for each in alert["muted_by"]] == [("acknowledgement", "ada")]
    metrics = client.get("/metrics").text
    labels = (
        '{journey_stage="purchase",question="checkout-effort",rule="checkout-effort-high",'
        'severity="critical",touchpoint="checkout"}'
    )
    assert f"effortstream_alert_state{labels} 2.0\n" in metrics
    assert f"effortstream_alert_muted{labels} 1.0\n" in metrics


def test_what_does_not_fire_cannot_be_acknowledged(client, office):
    """409 with what to do; an unknown alert is 404."""
    quiet = alert_record("resolved", 3, segment={"channel": "web"}).fingerprint
    refused = client.post(f"/api/v1/alerts/{quiet}/acknowledge", json=WHO)
    assert (refused.status_code, "is resolved, not firing" in refused.text) == (409, True)
    assert client.post("/api/v1/alerts/nobody/acknowledge", json=WHO).status_code == 404
    assert office.stored == []


def test_a_silence_is_stored_listed_and_ended(client, office):
    """Ending it says by whom and why, and unmutes."""
    made = client.post("/api/v1/silences", json=SILENCE)
    assert made.status_code == 201
    name = made.json()["id"]
    assert client.get("/api/v1/silences").json() == {"items": [made.json()]}
    assert shown(client, muted="true") == [("checkout-effort-high", "firing")]
    anonymous = client.delete(f"/api/v1/silences/{name}")
    assert (anonymous.status_code, "author" in anonymous.text) == (400, True)
    ended = client.delete(f"/api/v1/silences/{name}", params=WHO)
    assert (ended.status_code, ended.json()["withdrawn"], ended.json()["reason"]) == (200, True, "on it")
    assert client.get("/api/v1/silences").json() == {"items": []}
    assert shown(client, muted="true") == []
    assert client.delete(f"/api/v1/silences/{name}", params=WHO).status_code == 404
    assert [each.withdrawn for each in office.stored] == [False, True]


def test_silences_that_have_ended_are_not_listed(client, office):
    """Those to come are."""
    office.put(silence_record("over", at_ms=NOW_MS - 9, ends_at_ms=NOW_MS))
    office.put(silence_record("later", at_ms=NOW_MS + 9))
    assert [each["id"] for each in client.get("/api/v1/silences").json()["items"]] == ["later"]


def test_a_deployment_is_marked_listed_and_taken_back(client, office):
    """The same one twice is one."""
    body = {"author": "ci", "reason": "shop 4.2", "touchpoint": "checkout*", "at_ms": NOW_MS - 1_000}
    made = client.post("/api/v1/deployments", json=body)
    assert made.status_code == 201
    assert client.post("/api/v1/deployments", json=body).json() == made.json()
    assert client.get("/api/v1/deployments").json() == {"items": [made.json()]}
    assert len(office.stored) == 1
    assert client.delete(f"/api/v1/silences/{made.json()['id']}", params=WHO).status_code == 404
    assert client.delete(f"/api/v1/deployments/{made.json()['id']}", params=WHO).status_code == 200
    assert client.get("/api/v1/deployments").json() == {"items": []}


def test_what_is_wrong_is_told_by_field_value_and_remedy(client, office):
    """As a problem document, and nothing is stored."""
    answer = client.post("/api/v1/silences", json=SILENCE | {"ends_at_ms": NOW_MS - 1})
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert (error["field"], error["value"]) == ("ends_at_ms", NOW_MS - 1)
    assert error["problem"] == "is over before it begins"
    assert "milliseconds" in error["remedy"]
    assert office.stored == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"author": 5}', "author"),
        ('{"athor": "ada"}', "athor"),
        ("[1]", "object"),
        ("{oops", "JSON"),
        ("", "body is empty"),
        ("{}", "author"),
    ],
)
def test_a_body_of_another_shape_is_refused(client, office, content, said):
    """A misspelt field is not ignored."""
    answer = client.post(
        "/api/v1/silences", content=content, headers={"Content-Type": "application/json; charset=utf-8"}
    )
    assert answer.status_code == 400
    assert said in answer.text
    assert office.stored == []


def test_a_huge_body_is_refused(client):
    """Before it is read to its end."""
    assert client.post("/api/v1/silences", json=WHO | {"rule": "x" * 20_000}).status_code == 413


def test_a_page_of_another_site_cannot_write(office):
    """A form cannot send JSON, and a name that was pointed here does not become ours."""
    with office.client() as client:
        form = client.post("/api/v1/silences", content="{}", headers={"Content-Type": "text/plain"})
        assert (form.status_code, "application/json" in form.text) == (415, True)
    with office.client(base_url="http://rebound.example:8080") as client:
        assert client.get("/api/v1/alerts").status_code == 200
        assert client.post("/api/v1/silences", json=SILENCE).status_code == 403
        assert client.delete("/api/v1/silences/s1", params=WHO).status_code == 403
    assert office.stored == []


def test_where_the_desk_is_closed_nothing_is_written_and_everything_can_be_read(office):
    """403 says why."""
    office.put(silence_record())
    with office.client(closed="Others can reach this. Use the command line") as client:
        for answer in (
            client.post("/api/v1/silences", json=SILENCE),
            client.post("/api/v1/deployments", json=WHO),
            client.post(f"/api/v1/alerts/{FIRING.fingerprint}/acknowledge", json=WHO),
            client.delete("/api/v1/silences/s1", params=WHO),
            client.delete("/api/v1/deployments/d1", params=WHO),
        ):
            assert answer.status_code == 403
            assert answer.json()["detail"] == "Others can reach this. Use the command line"
        assert len(client.get("/api/v1/silences").json()["items"]) == 1
    assert office.stored == []


def test_a_broker_that_does_not_confirm_is_told(client, office):
    """503, to be tried again, and not taken for done."""
    office.down = True
    answer = client.post("/api/v1/silences", json=SILENCE)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "Try again" in answer.json()["detail"]
    assert client.get("/api/v1/silences").json() == {"items": []}


@pytest.mark.parametrize("path", ["alerts", "alerts/1", "silences", "deployments"])
def test_until_the_topics_are_read_there_is_no_answer(client, office, path):
    """What is known may be old then; writing waits too, since it may depend on it."""
    office.model.ready = False
    answer = client.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert client.post("/api/v1/silences", json=SILENCE).status_code == 503
    assert office.stored == []
