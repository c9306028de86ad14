"""The HTTP interface, over a filled read model and without a broker."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from litestar import get
from litestar.testing import TestClient
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from agents.records import ScoreRecord
from agents.topics import INTERACTION_STATS, SCORES
from app.readmodel import ReadModel
from app.score_metrics import score_registry
from app.web.api import SECURITY_HEADERS, create_app
from tests.score_records import CATALOG, EFFORT, LOYALTY, SATISFACTION, key_of, score_record, stats_record

RECORDS = (
    score_record(EFFORT, [1, 2, 3, 4, 10, 20, 10], interactions=90),
    score_record(EFFORT, [0, 1, 0, 1, 0, 1, 4], window="5m"),
    score_record(EFFORT, [0, 0, 1, 0, 0, 1, 1], segment={"channel": "web"}),
    score_record(EFFORT, [0, 0, 1, 0, 0, 1, 0], segment={"channel": "web", "plan": "pro"}),
    score_record(LOYALTY, [0] * 11),
    score_record(SATISFACTION, [1, 1, 1, 1, 3], "support-chat"),
)
STATS = (stats_record(), stats_record("support-chat"), stats_record(segment={"channel": "web"}))


def fill(model: ReadModel) -> None:
    """Applies all records."""
    for topic, records in ((SCORES, RECORDS), (INTERACTION_STATS, STATS)):
        for offset, record in enumerate(records):
            model.apply(topic, 0, offset, key_of(record), msgspec.json.encode(record))


@pytest.fixture
def model() -> ReadModel:
    """A filled read model."""
    filled = ReadModel()
    fill(filled)
    filled.ready = True
    return filled


@pytest.fixture
def client(model: ReadModel) -> Iterator[TestClient]:
    """A client of the app over it."""

    def reasons() -> list[str]:
        return [] if model.ready else ["still reading 2 of 8 partitions"]

    app = create_app(model, score_registry(model, CATALOG), reasons)
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


def items(client: TestClient, **parameters) -> list[dict]:
    """The scores that a query gives, in one page."""
    answer = client.get("/api/v1/scores", params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.json()["total"] == len(answer.json()["items"])
    return answer.json()["items"]


def refusal(client: TestClient, path: str, status: int = 400) -> dict:
    """The problem document that a request gives."""
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    return body


def test_scores_are_the_records_unrounded_and_sorted(client):
    """What was published comes out bit for bit."""
    got = msgspec.convert(items(client), list[ScoreRecord])
    assert got == [RECORDS[3], RECORDS[2], RECORDS[0], RECORDS[1], RECORDS[4], RECORDS[5]]
    assert got[2].low == RECORDS[0].low != round(RECORDS[0].low, 6)


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"touchpoint": "support-chat"}, 1),
        ({"question": "checkout-effort"}, 4),
        ({"window": "5m"}, 1),
        ({"segment": "{}"}, 4),
        ({"segment": "channel:web"}, 1),
        ({"segment": '{"channel": "web"}'}, 1),
        ({"segment": '{"plan": "pro", "channel": "web"}'}, 1),
        ({"touchpoint": "checkout", "question": "loyalty", "window": "1h", "segment": "{}"}, 1),
        ({"touchpoint": "nowhere"}, 0),
    ],
)
def test_filters_narrow_the_answer(client, parameters, count):
    """Each filter matches exactly; none of them matching is an empty answer, not an error."""
    assert len(items(client, **parameters)) == count


def test_pages_follow_one_another_without_gap_or_repetition(client, model):
    """A series that comes or goes between two pages neither repeats nor hides another."""
    seen, cursor = [], None
    while True:
        parameters = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        body = client.get("/api/v1/scores", params=parameters).json()
        seen += [(each["question"], str(each["segment"]), each["window"]) for each in body["items"]]
        if cursor is None:
            # gone: one that was shown; new: one before the cursor
            model.apply(SCORES, 0, 50, key_of(RECORDS[2]), None)
            early = score_record(EFFORT, [1] * 7, "a-new-one")
            model.apply(SCORES, 0, 51, key_of(early), msgspec.json.encode(early))
        cursor = body["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == len(RECORDS)


def test_a_full_last_page_has_no_next_cursor(client):
    """The end is told on the last page, not by an empty one after it."""
    body = client.get("/api/v1/scores", params={"limit": len(RECORDS)}).json()
    assert (len(body["items"]), body["total"], body["next_cursor"]) == (len(RECORDS), len(RECORDS), None)


def test_interaction_statistics_are_filtered_and_paged_likewise(client):
    """The second resource has the same manners."""
    body = client.get("/api/v1/interaction-stats", params={"segment": "{}", "limit": 1}).json()
    assert (body["total"], len(body["items"])) == (2, 1)
    assert body["items"][0]["errors_mean"] == 1 / 3
    assert body["items"][0]["wait_s_mean"] is None
    following = {"segment": "{}", "cursor": body["next_cursor"]}
    rest = client.get("/api/v1/interaction-stats", params=following).json()
    assert [each["touchpoint"] for each in rest["items"]] == ["support-chat"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=many", "limit"),
        ("segment=web", "channel:web"),
        ("segment=", "channel:web"),
        ("segment={oops", "channel:web"),
        ('segment={"channel":1}', "channel:web"),
        ("cursor=%25%25%25", "Start again without it"),
        ("cursor=WzFd", "Start again without it"),
        ("cursor=WyJhIl0", "Start again without it"),
        ("questoin=loyalty", "no such parameter: 'questoin'"),
        ("window=1h&window=5m", "window is given more than once"),
        ("touchpoint=" + "x" * 1001, "touchpoint"),
    ],
)
def test_a_wrong_parameter_is_refused_with_what_to_write_instead(client, query, said):
    """A misspelt filter must not look like one that matches everything."""
    body = refusal(client, f"/api/v1/scores?{query}")
    assert said in str(body)


def test_unknown_paths_and_methods_are_problem_documents_too(client):
    """Every error has the same form."""
    assert refusal(client, "/api/v1/nothing", 404)["title"] == "Not Found"
    answer = client.post("/api/v1/scores")
    assert answer.status_code == 405
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    assert "GET" in answer.headers["allow"]


def test_a_crash_is_logged_and_says_nothing_of_the_inside(model, caplog):
    """The client learns that it was not its fault, and nothing more."""

    @get("/boom")
    async def boom() -> None:
        raise RuntimeError("secret inside")

    app = create_app(model, score_registry(model, CATALOG), list)
    app.register(boom)
    with TestClient(app, raise_server_exceptions=False) as client:
        body = refusal(client, "/boom?customer=c-9", 500)
    assert "secret inside" not in str(body)
    assert "secret inside" in caplog.text
    assert "c-9" not in caplog.text


def test_an_unchanged_answer_is_not_sent_again(client, model):
    """The entity tag follows the content, and only the content of the page asked for."""
    first = client.get("/api/v1/scores?touchpoint=support-chat")
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get("/api/v1/scores?touchpoint=support-chat", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    elsewhere = score_record(EFFORT, [9] * 7)
    model.apply(SCORES, 0, 60, key_of(elsewhere), msgspec.json.encode(elsewhere))
    same = client.get("/api/v1/scores?touchpoint=support-chat", headers={"If-None-Match": tag})
    assert same.status_code == 304
    here = score_record(SATISFACTION, [0, 1, 1, 1, 3], "support-chat")
    model.apply(SCORES, 0, 61, key_of(here), msgspec.json.encode(here))
    changed = client.get("/api/v1/scores?touchpoint=support-chat", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    assert changed.json()["items"][0]["n"] == 6


def test_instances_with_the_same_records_give_the_same_tag(client):
    """A load balancer may send the second request elsewhere."""
    other = ReadModel()
    fill(other)
    other.ready = True
    with TestClient(create_app(other, score_registry(other, CATALOG), list)) as second:
        tags = [each.get("/api/v1/scores").headers["etag"] for each in (client, second)]
    assert tags[0] == tags[1]


def test_nothing_is_served_as_current_before_the_topics_have_been_read(client, model):
    """503 with a reason on /readyz, 503 on the scores, no score sample; alive all the while."""
    model.ready = False
    body = refusal(client, "/readyz", 503)
    assert body["reasons"] == ["still reading 2 of 8 partitions"]
    refusal(client, "/api/v1/scores", 503)
    refusal(client, "/api/v1/interaction-stats", 503)
    assert client.get("/api/v1/scores").headers["retry-after"] == "2"
    assert "checkout-effort" not in client.get("/metrics").text
    assert client.get("/livez").status_code == 200
    model.ready = True
    assert client.get("/readyz").json() == {"status": "ready"}


def test_metrics_parse_and_equal_the_registry(client, model):
    """Prometheus gets the scores as text, or as OpenMetrics if it asks for it."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"effortstream_ces_mean", "effortstream_csat_satisfied_ratio", "effortstream_build_info"} <= names
    plain = generate_latest(score_registry(model, CATALOG)).decode()
    assert [line for line in answer.text.splitlines() if line.startswith("effortstream_")] == [
        line for line in plain.splitlines() if line.startswith("effortstream_")
    ]
    asked = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert asked.text.endswith("# EOF\n")
    assert {family.name for family in openmetrics(asked.text)} >= names - {"process_cpu_seconds"}


@pytest.mark.parametrize(
    "path",
    ["/", "/metrics", "/livez", "/readyz", "/schema", "/api/v1/scores", "/nothing", "/api/v1/scores?x=1"],
)
def test_every_answer_carries_the_security_headers_and_allows_no_other_origin(client, path):
    """Errors too."""
    answer = client.get(path, headers={"Origin": "https://elsewhere.example"})
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value
    assert "access-control-allow-origin" not in answer.headers


def test_the_page_names_what_is_there_and_loads_nothing_from_elsewhere(client):
    """It works without a network."""
    page = client.get("/").text
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    for path in ("/api/v1/scores", "/api/v1/interaction-stats", "/metrics", "/livez", "/readyz", "/schema"):
        assert f'href="{path}"' in page
        assert client.get(path).status_code == 200


def test_the_interface_describes_itself(client):
    """OpenAPI with all resources, their filters and the types of their answers."""
    schema = client.get("/schema").json()
    assert schema == client.get("/schema/openapi.json").json()
    assert set(schema["paths"]) == {
        "/api/v1/scores",
        "/api/v1/interaction-stats",
        "/api/v1/alerts",
        "/api/v1/alerts/{fingerprint}",
        "/api/v1/alerts/{fingerprint}/acknowledge",
        "/api/v1/silences",
        "/api/v1/silences/{name}",
        "/api/v1/deployments",
        "/api/v1/deployments/{name}",
    }
    assert {each["name"] for each in schema["paths"]["/api/v1/alerts"]["get"]["parameters"]} >= {
        "state",
        "muted",
    }
    body = schema["paths"]["/api/v1/silences"]["post"]["requestBody"]["content"]
    assert body["application/json"]["schema"] == {"$ref": "#/components/schemas/SilenceBody"}
    scores = schema["paths"]["/api/v1/scores"]["get"]
    assert [each["name"] for each in scores["parameters"]] == [
        "touchpoint",
        "question",
        "window",
        "segment",
        "limit",
        "cursor",
    ]
    assert set(scores["responses"]) >= {"200", "400", "503"}
    record = schema["components"]["schemas"]["ScoreRecord"]
    assert set(record["properties"]) == set(ScoreRecord.__struct_fields__)
