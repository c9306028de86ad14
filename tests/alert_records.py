"""Alert and operation records as they are published, for tests of those who read them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
import orjson

from agents.records import AlertRecord, OperationRecord
from tests.score_records import NOW_MS, STAGES


def alert_record(
    state: str = "firing", sequence: int = 2, rule: str = "checkout-effort-high", **changes: Any
) -> AlertRecord:
    """A transition of an alert at the checkout; its fingerprint is that of the published contract."""
    touchpoint = changes.get("touchpoint", "checkout")
    record = AlertRecord(
        fingerprint="",
        rule=rule,
        kind="threshold",
        state=state,
        severity="critical",
        touchpoint=touchpoint,
        journey_stage=STAGES.get(touchpoint),
        question="checkout-effort",
        segment={},
        window="1h",
        since_ms=NOW_MS - 600_000,
        fired_at_ms=NOW_MS if state in {"firing", "resolved"} else None,
        resolved_at_ms=NOW_MS + 900_000 if state == "resolved" else None,
        sequence=sequence,
        summary="effort index 61.4 at checkout, above 50",
        evidence={"value": 61.4, "n": 212},
        published_at_ms=NOW_MS + 250,
    )
    record = msgspec.structs.replace(record, **changes)
    identity = [
        record.rule,
        record.touchpoint,
        record.journey_stage,
        record.question,
        record.segment,
        record.window,
    ]
    fingerprint = sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    return msgspec.structs.replace(record, fingerprint=fingerprint)


def silence_record(name: str = "s1", **changes: Any) -> OperationRecord:
    """A silence of an hour around NOW_MS."""
    record = OperationRecord(
        id=name,
        action="silence",
        author="ada",
        reason="known outage of the card provider",
        at_ms=NOW_MS,
        ends_at_ms=NOW_MS + 3_600_000,
        rule="checkout-*",
    )
    return msgspec.structs.replace(record, **changes)
