"""A group whose leader was told of no partitions."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agents.transport import _check_group


@pytest.mark.parametrize(("known", "asked"), [({"a": 4, "b": 0}, 1), ({"a": 4, "b": 4}, 0), ({}, 0)])
def test_a_topic_without_partitions_is_asked_for_again_at_once(known, asked):
    """Else nobody owns its partitions for minutes, and nobody says so."""
    calls = []
    coordinator = SimpleNamespace(check_errors=lambda: None, _metadata_snapshot=known)
    client = SimpleNamespace(force_metadata_update=lambda: calls.append(1))
    _check_group(SimpleNamespace(_coordinator=coordinator, _client=client))
    assert len(calls) == asked
