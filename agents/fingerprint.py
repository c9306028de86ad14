"""What stored state means, kept beside it, so that a changed configuration is found out and never misread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from agents.panes import Layout
from agents.ports import Out
from scoring.catalog import Catalog
from scoring.errors import EffortStreamError
from scoring.panes import MINUTE_MS

_KEY = b"c"
_FORMAT = 1


class StateMismatchError(EffortStreamError, ValueError):
    """Stored state was written under another configuration or format, and can not be read under this one."""


class Fingerprint:
    """The part of a catalog that stored state depends on: questions, segments, pane layout, horizon.

    New and removed questions, new values and touchpoints are compatible. A changed metric or scale of a question, other
    segments, other live windows or another time zone are not: the stored tallies would mean something else.
    """

    def __init__(self, catalog: Catalog) -> None:
        layout = Layout.of(catalog)
        self._now: dict[str, Any] = {
            "format": _FORMAT,
            "questions": {
                question.id: [
                    question.metric.value,
                    question.scale.low,
                    question.scale.high,
                    question.scale.best,
                ]
                for question in catalog.questions.values()
            },
            "segments": [[segment.name, list(segment.fields)] for segment in catalog.segments],
            "widths": list(layout.widths),
            "origin_ms": layout.origin_ms,
            "calendar": [window.name for window in catalog.calendar],
            "timezone": catalog.timezone,
            "horizon_ms": catalog.timing.horizon_ms,
        }
        self._stored: bytes | None = None

    def fresh(self) -> list[Out]:
        """The record to store, if it is not stored like this yet."""
        raw = orjson.dumps(self._now, option=orjson.OPT_SORT_KEYS)
        if raw == self._stored:
            return []
        self._stored = raw
        return [Out(_KEY, raw)]

    def restore(self, value: bytes) -> None:
        """Takes the stored record back."""
        self._stored = value

    def check(self) -> None:
        """Compares the stored configuration with the one in force.

        Raises:
            StateMismatchError: they do not fit; the message names what differs and the remedy.
        """
        if self._stored is None:
            return
        stored = orjson.loads(self._stored)
        if stored.get("format") != _FORMAT:
            raise self.unknown_format(str(stored.get("format")).encode())
        for name, then in stored["questions"].items():
            now = self._now["questions"].get(name)
            if now is not None and now != then:
                raise self._mismatch(f"questions.{name} (metric, low, high, best)", then, now)
        # A removed question is still what its stored tallies were made by, should it come back.
        self._now["questions"] = stored["questions"] | self._now["questions"]
        for key in ("segments", "widths", "origin_ms", "calendar", "timezone", "horizon_ms"):
            if stored[key] != self._now[key]:
                if key == "widths" and set(stored[key]) ^ set(self._now[key]) == {MINUTE_MS}:
                    raise self._minutes_mismatch()
                raise self._mismatch(key, stored[key], self._now[key])

    @staticmethod
    def check_partitions(then: int, now: int) -> None:
        """Compares the partition count of the stored state with the topics'.

        Raises:
            StateMismatchError: they differ.
        """
        if then != now:
            raise StateMismatchError(
                f"partitions = {now}: the stored state was made with {then} partitions. "
                "Start with a new topic prefix and group, and replay the input into it."
            )

    @staticmethod
    def check_held(stored: Mapping[str, int], found: Mapping[str, int]) -> None:
        """Compares how many records the last checkpoint had stored with how many were restored.

        That each is undamaged is what the checksums of Kafka's batches are for; that none is missing is not.

        Args:
            stored: by sort; a sort that is not in it was not counted by the version that stored it.
            found: by sort, at least those of ``stored``.

        Raises:
            StateMismatchError: some are missing, or there are too many.
        """
        for sort, count in stored.items():
            if found.get(sort, count) != count:
                raise StateMismatchError(
                    f"the stored state is not whole: {found[sort]} {sort} where {count} were stored. Records of the "
                    "changelog were removed or overwritten: its cleanup.policy must be compact, and nobody else may "
                    "write there. Start with a new topic prefix and group, and replay the input into it."
                )

    @staticmethod
    def unknown_format(found: bytes) -> StateMismatchError:
        """The error for a stored value of a format that this version does not know."""
        return StateMismatchError(
            f"stored state of format {found!r}: this version reads format {_FORMAT}. "
            "Run the version that wrote it, or start with a new topic prefix and group."
        )

    @staticmethod
    def _minutes_mismatch() -> StateMismatchError:
        return StateMismatchError(
            "[[alerts]]: rules need tallies by the minute, and the stored state was made with rules and this "
            "configuration has none, or the other way round. Put them back as they were (or a live window of up to 1h "
            "in windows.live), or start with a new topic prefix and group, and replay the input into it."
        )

    @staticmethod
    def _mismatch(key: str, then: object, now: object) -> StateMismatchError:
        return StateMismatchError(
            f"{key} = {now!r}: the stored state was made with {then!r}, and its tallies would mean something else. "
            "Put the old value back (a changed question needs a new id), or start with a new topic prefix and group."
        )
