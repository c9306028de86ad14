"""The published schema: made from the types that decode and encode the records, and in the form its readers expect."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec
import pytest

from agents import records
from agents.topics import PARTIALS, PUBLIC
from app import __main__ as command_line
from app.cli.schema import RECORDS, asyncapi, json_schema
from app.settings import load_settings

# The records as contracts for outsiders show them: field names are fixed, fields may be added
PUBLISHED = {
    "ResponseRecord": "response_id customer_id interaction_id question rating event_time_ms updated_at_ms touchpoint "
    "segments comment",
    "InteractionRecord": "interaction_id customer_id touchpoint event_time_ms channel outcome duration_s wait_s contacts "
    "transfers retries errors rage_clicks segments",
    "ScoreRecord": "touchpoint journey_stage question metric segment window kind start_ms end_ms n value low high "
    "confidence band effort_index low_effort_share counts interactions response_rate watermark_ms revision formula "
    "published_at_ms",
    "InteractionStatsRecord": "touchpoint segment window n",
    "AlertRecord": "fingerprint rule kind state severity touchpoint journey_stage question segment window since_ms fired_at_ms "
    "resolved_at_ms sequence summary evidence published_at_ms runbook owner",
    "OperationRecord": "id action author reason at_ms ends_at_ms fingerprint rule touchpoint severity withdrawn",
    "CommentRecord": "touchpoint question rating event_time_ms segments interaction_id comment",
}
REQUIRED_INPUT = {
    "ResponseRecord": {"response_id", "question", "rating"},
    "InteractionRecord": {"interaction_id", "touchpoint"},
}


def references(node: Any) -> list[str]:
    """Every $ref of a document."""
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in references(value)]
    return [ref for value in node for ref in references(value)] if isinstance(node, list) else []


def resolve(document: Any, reference: str) -> Any:
    """What a local $ref points to; a KeyError where it points nowhere."""
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def test_every_record_type_has_a_definition_with_the_published_fields():
    """The schema names each record of the contract and each of its fields."""
    definitions = json_schema()["$defs"]
    assert definitions.keys() == PUBLISHED.keys()
    for name, fields in PUBLISHED.items():
        assert set(fields.split()) <= definitions[name]["properties"].keys()
        assert definitions[name]["type"] == "object"


def test_the_definitions_are_those_of_the_types_in_use():
    """Fields and required fields are those that msgspec decodes with, not a copy that can drift."""
    definitions = json_schema()["$defs"]
    for name, definition in definitions.items():
        fields = msgspec.structs.fields(getattr(records, name))
        assert list(definition["properties"]) == [field.encode_name for field in fields]
        assert definition.get("required", []) == [field.encode_name for field in fields if field.required]
    for name, required in REQUIRED_INPUT.items():
        assert set(definitions[name]["required"]) == required


def test_a_rating_may_be_null_and_nothing_but_a_whole_number_otherwise():
    """Null withdraws an answer: the schema has to allow it."""
    rating = json_schema()["$defs"]["ResponseRecord"]["properties"]["rating"]
    assert rating == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("record", "field", "words"),
    [
        ("AlertRecord", "state", "inactive pending firing resolved"),
        ("AlertRecord", "severity", "warning critical"),
        ("AlertRecord", "kind", "threshold rising change silent stale budget"),
        ("OperationRecord", "action", "acknowledge silence deployment"),
        ("ScoreRecord", "metric", "ces csat nps"),
        ("ScoreRecord", "kind", "live calendar"),
    ],
)
def test_a_field_of_few_words_lists_them(record, field, words):
    """Whoever makes types from the schema gets the states and kinds of the contract, and no other."""
    assert json_schema()["$defs"][record]["properties"][field] == {"type": "string", "enum": words.split()}


def test_an_outcome_may_be_null_and_nothing_but_the_three_otherwise():
    """An interaction need not have an outcome."""
    text, null = json_schema()["$defs"]["InteractionRecord"]["properties"]["outcome"]["anyOf"]
    assert text == {"type": "string", "enum": ["resolved", "unresolved", "abandoned"]}
    assert null == {"type": "null"}


def test_the_asyncapi_document_describes_every_public_topic_that_has_records():
    """Partials are internal; all the others are there."""
    document = asyncapi(load_settings(prefix="shop.", partitions=6, replication=3))
    assert document["asyncapi"] == "3.0.0"
    expected = [spec for spec in PUBLIC if spec is not PARTIALS]
    assert set(document["channels"]) == {spec.name for spec in expected}
    for spec in expected:
        channel = document["channels"][spec.name]
        assert channel["address"] == f"shop.{spec.name}"
        kafka = channel["bindings"]["kafka"]
        assert (kafka["partitions"], kafka["replicas"]) == (6, 3)
        assert ",".join(kafka["topicConfiguration"]["cleanup.policy"]) == spec.cleanup
        assert kafka["topicConfiguration"].get("retention.ms") == spec.retention_ms
    payloads = {
        name: message["payload"].get("$ref") for name, message in document["components"]["messages"].items()
    }
    for spec, (record, _) in RECORDS.items():
        assert payloads[spec.name] == f"#/components/schemas/{record.__name__}"


def test_effortstream_receives_its_inputs_and_sends_everything_else():
    """Operations are told from effortstream's side."""
    operations = asyncapi(load_settings())["operations"]
    assert {name for name, operation in operations.items() if operation["action"] == "receive"} == {
        "interactions",
        "responses",
    }
    assert {operation["action"] for operation in operations.values()} == {"receive", "send"}


@pytest.mark.parametrize(
    "document", [json_schema(), asyncapi(load_settings())], ids=["json-schema", "asyncapi"]
)
def test_every_reference_leads_to_something(document):
    """No $ref of a document is dangling, and every definition is valid JSON."""
    found = references(document)
    for reference in found:
        assert resolve(document, reference)
    json.dumps(document)


def test_nothing_secret_is_in_the_asyncapi_document():
    """The document is for outsiders: no user and no password of the deployment."""
    settings = load_settings(
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="user9",
        sasl_password="hunter2",  # noqa: S106 - made up
    )
    text = json.dumps(asyncapi(settings))
    assert "hunter2" not in text
    assert "user9" not in text
    assert '"kafka-secure"' in text


@pytest.mark.parametrize(("arguments", "key"), [((), "$defs"), (("--format", "asyncapi"), "channels")])
def test_the_command_prints_the_document_alone_on_standard_output(monkeypatch, capsys, arguments, key):
    """Standard output can be piped into a file as it is."""
    monkeypatch.setattr(sys, "argv", ["effortstream", "schema", *arguments])
    with pytest.raises(SystemExit) as left:
        command_line.main()
    captured = capsys.readouterr()
    assert left.value.code in (0, None)
    assert key in json.loads(captured.out)
    assert captured.err == ""


def test_the_prefix_of_a_configuration_names_the_topics(monkeypatch, capsys, tmp_path):
    """--config takes the deployment's prefix."""
    path = tmp_path / "c.toml"
    path.write_text(
        '[questions.q]\nmetric = "nps"\n[deployment]\nprefix = "shop."\n',
    )
    monkeypatch.setattr(
        sys, "argv", ["effortstream", "schema", "--format", "asyncapi", "--config", str(path)]
    )
    with pytest.raises(SystemExit):
        command_line.main()
    assert json.loads(capsys.readouterr().out)["channels"]["scores.v1"]["address"] == "shop.scores.v1"
