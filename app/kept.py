"""Which values of the open segments are published when files are read: the first ones of each touchpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from agents.events import OTHER, Checks, Refusal, read_interaction, read_response, segment_fields
from app.rows import Event
from scoring.catalog import Catalog, Segment

KeptSegments = Mapping[tuple[str, str], tuple[str, ...]]
"""(touchpoint, segment name) to the values published, in order; those of a combination are joined by JOINT."""

JOINT = "\x1f"  # no value contains a control character


Carrier = tuple[int, str, tuple[str | None, ...]]
"""(event time, touchpoint, values of the segment fields) of one record that passed the checks."""


def kept_segments(events: Iterable[Event], catalog: Catalog) -> dict[tuple[str, str], tuple[str, ...]]:
    """The first ``max_values`` values of each touchpoint and segment without listed values.

    Only records that pass the checks count, responses and interactions alike, in order of event time and then of the
    rows, whatever order the events are given in.

    Args:
        events: in the order of their rows wherever two have one time.
        catalog: what is declared.
    """
    checks = Checks.for_files(catalog)
    carriers: list[Carrier] = []
    for event in events:
        read = read_response if event.topic == "responses" else read_interaction
        record = read(event.value, event.timestamp_ms, checks)
        if not isinstance(record, Refusal) and record.touchpoint is not None:
            carriers.append((event.timestamp_ms, record.touchpoint, record.fields))
    return kept_values(carriers, catalog)


def kept_values(carriers: Iterable[Carrier], catalog: Catalog) -> dict[tuple[str, str], tuple[str, ...]]:
    """The same from what has been read already, in the order of the rows wherever two have one time."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for _, touchpoint, fields in sorted(carriers, key=lambda carrier: carrier[0]):
        for segment, values in carried(fields, catalog):
            if segment.values is None and not _is_other(values):
                seen = found.setdefault((touchpoint, segment.name), {})
                if len(seen) < segment.max_values:
                    seen.setdefault(JOINT.join(values))
    return {key: tuple(values) for key, values in found.items()}


def carried(fields: tuple[str | None, ...], catalog: Catalog) -> Iterator[tuple[Segment, tuple[str, ...]]]:
    """The declared segments that a record carries, each with its values.

    Args:
        fields: values of ``segment_fields(catalog)``, in that order.
        catalog: what is declared.
    """
    by_name = dict(zip(segment_fields(catalog), fields, strict=True))
    for segment in catalog.segments:
        values = tuple(value for name in segment.fields if (value := by_name[name]) is not None)
        if len(values) == len(segment.fields):
            yield segment, values


def published(
    touchpoint: str, segment: Segment, values: tuple[str, ...], kept: KeptSegments
) -> tuple[dict[str, str], bool]:
    """The segment as it is published, and whether its values gave way to ``other``."""
    declared = segment.values is not None or _is_other(values)
    if declared or JOINT.join(values) in kept.get((touchpoint, segment.name), ()):
        return dict(zip(segment.fields, values, strict=True)), False
    return dict.fromkeys(segment.fields, OTHER), True


def _is_other(values: tuple[str, ...]) -> bool:
    """Whether a record itself says ``other``: that takes no place among the kept ones."""
    return all(value == OTHER for value in values)
