"""``effortstream schema``: the published records and topics, made from the project's own types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from agents.events import OUTCOMES
from agents.records import (
    AlertRecord,
    CommentRecord,
    InteractionRecord,
    InteractionStatsRecord,
    OperationRecord,
    ResponseRecord,
    ScoreRecord,
)
from agents.topics import (
    ALERTS,
    COMMENTS,
    DEAD_LETTERS,
    INTERACTION_STATS,
    INTERACTIONS,
    OPERATIONS,
    RESPONSES,
    SCORES,
    WINDOWS,
    Topics,
    TopicSpec,
)
from app.config import load_config
from app.settings import Settings, load_settings
from app.version import VERSION
from scoring.alerts.rules import Kind, Severity
from scoring.alerts.states import State
from scoring.questions import Metric

# What each public topic carries, and the fields that make up its key
RECORDS: dict[TopicSpec, tuple[type[msgspec.Struct], str]] = {
    INTERACTIONS: (InteractionRecord, "customer_id, else interaction_id"),
    RESPONSES: (ResponseRecord, "customer_id, else response_id"),
    SCORES: (ScoreRecord, "compact JSON array [touchpoint, question, segment, window]"),
    WINDOWS: (ScoreRecord, "compact JSON array [touchpoint, question, segment, window, start_ms]"),
    INTERACTION_STATS: (InteractionStatsRecord, "compact JSON array [touchpoint, segment, window]"),
    ALERTS: (AlertRecord, "fingerprint"),
    OPERATIONS: (OperationRecord, "id"),
    COMMENTS: (CommentRecord, "touchpoint"),
}
ACTIONS = ("acknowledge", "silence", "deployment")
WINDOW_KINDS = ("live", "calendar")
# Fields that hold one of a few words. The types have plain texts: a reader of a newer version's record goes on
ENUMERATIONS: dict[type[msgspec.Struct], dict[str, Sequence[str]]] = {
    AlertRecord: {"kind": list(Kind), "state": list(State), "severity": list(Severity)},
    OperationRecord: {"action": ACTIONS},
    ScoreRecord: {"metric": list(Metric), "kind": WINDOW_KINDS},
    InteractionRecord: {"outcome": OUTCOMES},
}
INPUTS = (INTERACTIONS, RESPONSES)
DEAD_LETTER_HEADERS = (
    "effort_reason",
    "effort_topic",
    "effort_partition",
    "effort_offset",
    "effort_detail",
    "effort_size",
    "effort_truncated",
)
KAFKA_BINDING = "0.5.0"


class Format(StrEnum):
    """The two documents that can be printed."""

    JSON_SCHEMA = "json-schema"
    ASYNCAPI = "asyncapi"


def schema(
    format: Annotated[  # noqa: A002 - the name of the option
        Format, typer.Option(help="json-schema: the records. asyncapi: the topics too.")
    ] = Format.JSON_SCHEMA,
    config: Annotated[
        Path | None, typer.Option(help="A configuration file, for the names of the topics.")
    ] = None,
) -> None:
    """Print the published records as JSON Schema, or the topics as AsyncAPI 3.0."""
    if format is Format.JSON_SCHEMA:
        document = json_schema()
    else:
        document = asyncapi(load_settings(None if config is None else load_config(config)))
    typer.echo(json.dumps(document, indent=2))


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) with one definition for each record type."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Records of effortstream {VERSION}",
        "$defs": _definitions("#/$defs/{name}"),
    }


def asyncapi(settings: Settings) -> dict[str, Any]:
    """An AsyncAPI 3.0 document of the public topics, under the deployment's prefix."""
    topics = Topics(settings.prefix, settings.group)
    specs = (*RECORDS, DEAD_LETTERS)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "effortstream",
            "version": VERSION,
            "description": "Customer effort scores per touchpoint. Values are UTF-8 JSON; "
            "read with isolation level read_committed.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": settings.broker.split(",")[0],
                "protocol": "kafka" if settings.security_protocol == "PLAINTEXT" else "kafka-secure",
            }
        },
        "channels": {spec.name: _channel(spec, topics(spec), settings) for spec in specs},
        "operations": {spec.name.split(".")[0]: _operation(spec) for spec in specs},
        "components": {
            "messages": {spec.name: _message(spec) for spec in specs},
            "schemas": _definitions("#/components/schemas/{name}"),
        },
    }


def _definitions(template: str) -> dict[str, Any]:
    types = list(dict.fromkeys(record for record, _ in RECORDS.values()))
    _, definitions = msgspec.json.schema_components(types, ref_template=template)
    for record, fields in ENUMERATIONS.items():
        for name, words in fields.items():
            _enumerate(definitions[record.__name__]["properties"][name], words)
    return definitions


def _enumerate(field: dict[str, Any], words: Sequence[str]) -> None:
    """Bounds the text of a field, which may be one of several alternatives, to these words."""
    for alternative in field.get("anyOf", [field]):
        if alternative["type"] == "string":
            alternative["enum"] = [str(word) for word in words]


def _pointer(*parts: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(parts)}


def _channel(spec: TopicSpec, address: str, settings: Settings) -> dict[str, Any]:
    topic: dict[str, Any] = {"cleanup.policy": spec.cleanup.split(",")}
    if spec.retention_ms is not None:
        topic["retention.ms"] = spec.retention_ms
    return {
        "address": address,
        "messages": {spec.name: _pointer("components", "messages", spec.name)},
        "bindings": {
            "kafka": {
                "topic": address,
                "partitions": settings.partitions,
                "replicas": settings.replication,
                "topicConfiguration": topic,
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _operation(spec: TopicSpec) -> dict[str, Any]:
    return {
        "action": "receive" if spec in INPUTS else "send",
        "channel": _pointer("channels", spec.name),
        "messages": [_pointer("channels", spec.name, "messages", spec.name)],
    }


def _message(spec: TopicSpec) -> dict[str, Any]:
    if spec == DEAD_LETTERS:
        headers = {name: {"type": "string"} for name in DEAD_LETTER_HEADERS}
        return {
            "name": "DeadLetter",
            "summary": "A refused record: its raw bytes, at most 64 KiB, and where it stood.",
            "contentType": "application/octet-stream",
            "headers": {"type": "object", "properties": headers, "required": list(DEAD_LETTER_HEADERS[:4])},
            "payload": {"type": "string", "format": "binary"},
        }
    record, key = RECORDS[spec]
    return {
        "name": record.__name__,
        "contentType": "application/json",
        "payload": _pointer("components", "schemas", record.__name__),
        "bindings": {
            "kafka": {"key": {"type": "string", "description": key}, "bindingVersion": KAFKA_BINDING}
        },
    }
