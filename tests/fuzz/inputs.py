"""Inputs that are almost records: sound ones from a seed, damaged the way that producers and wires damage them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from tests.unit.agents.streams import NOW_MS, Rec, interaction, response

_HOUR_MS = 3_600_000
_CLOUD_EVENT = [("content-type", b"application/cloudevents+json")]
_HEADERS: tuple[list[tuple[str, Any]], ...] = (
    _CLOUD_EVENT,
    [("content-type", None)],
    [("content-type", b"\xff\xfe")],
    [("ce_specversion", b"1.0"), ("content-type", b"text/plain")],
)
_TOKENS = (
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\x00", b"\x1f", b"\x7f", b" ", b"\n"),
    *(b"null", b"true", b"NaN", b"Infinity", b"-0", b"1e400", b"-1e-400", b"0.1", b"9" * 40, b"1" * 400),
    *(
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        "\u2028\u0301\U0001f600".encode(),
    ),
    *(b'"\\ud800"', b'"\\udfff\\ud800"', b'"\\u0000"', b'"\\x"', b'""', b"[" * 300, b'{"a":' * 300),
    *(b'"rating":7,', b'"response_id":"other",', b'"segments":{},', b'"event_time_ms":null,', b'"data":{},'),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 5, 7, 8, 5.0, 5.5, -0.0, 1e300, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30),
    *("", " ", "5", "effort", "checkout", "other", "x" * 129, "ä" * 65, "x" * 257, "a\x1fb", "a\x1eb", "\u200b", "\ud800"),
    *([], [5], {}, {"channel": "web"}, {"channel": 5}, {"agent": None}, {"agent": "x" * 129}, {"": ""}, [[[]]]),
    *(NOW_MS, NOW_MS * 1000, NOW_MS // 1000, NOW_MS + 299_999, NOW_MS + 300_001, NOW_MS - 49 * _HOUR_MS),
)  # fmt: skip


class Inputs:
    """Records for one of the two stages, without end.

    Args:
        seed: decides everything.
        contacts: interactions instead of responses.
    """

    def __init__(self, seed: int, *, contacts: bool) -> None:
        self._random = random.Random(seed)
        self._contacts = contacts
        self._last = b"{}"

    def __iter__(self) -> Iterator[Rec]:
        offset = 0
        while True:
            yield self._record(offset)
            offset += 1 + (self._random.random() < 0.01)

    def _record(self, offset: int) -> Rec:
        chance = self._random
        fields = self._fields()
        headers: list[tuple[str, Any]] = []
        if chance.random() < 0.1:
            headers = chance.choice(_HEADERS)
            if headers is _CLOUD_EVENT:
                fields = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": fields}
        while chance.random() < 0.4:
            self._distort(fields)
        value: bytes | None = json.dumps(fields, ensure_ascii=chance.random() < 0.5).encode(
            errors="surrogatepass"
        )
        if chance.random() < 0.5:
            value = self._damaged(value or b"")
        key = None if chance.random() < 0.05 else b"c%d" % chance.randrange(100)
        return Rec(offset, NOW_MS + chance.randrange(1_000), key, value, headers)

    def _fields(self) -> dict[str, Any]:
        chance = self._random
        time_ms = NOW_MS - chance.randrange(_HOUR_MS)
        if self._contacts:
            return interaction(
                interaction_id=f"i{chance.randrange(5_000)}",
                event_time_ms=time_ms,
                outcome=chance.choice(("resolved", "unresolved", "abandoned")),
                duration_s=chance.randrange(600),
                transfers=chance.randrange(3),
            )
        fields = response(
            response_id=f"r{chance.randrange(5_000)}", rating=chance.randint(1, 7), event_time_ms=time_ms
        )
        if chance.random() < 0.2:
            fields["rating"] = None
        if chance.random() < 0.3:
            fields["updated_at_ms"] = time_ms + chance.randrange(9)
        if chance.random() < 0.5:
            fields["segments"] = {
                "channel": chance.choice(("web", "fax")),
                "agent": f"a{chance.randrange(4)}",
            }
        if chance.random() < 0.1:
            fields |= {"question": "remarks", "rating": chance.randint(1, 5), "comment": "so so"}
        return fields

    def _distort(self, fields: dict[str, Any]) -> None:
        """Another value, another type or no value in one place."""
        chance = self._random
        inner = fields.get("data")
        if isinstance(inner, dict) and inner and chance.random() < 0.7:
            fields = inner
        name = chance.choice([*fields, "channel", "comment", "interaction_id", "customer_id"])
        if chance.random() < 0.15:
            fields.pop(name, None)
        else:
            fields[name] = chance.choice(_VALUES)

    def _damaged(self, value: bytes) -> bytes | None:
        """Bytes that were cut, doubled, swapped, or not JSON to begin with."""
        chance = self._random
        before, self._last = self._last, value
        at = chance.randrange(len(value) + 1)
        behind = min(len(value), at + chance.randrange(1, 9))
        token = chance.choice(_TOKENS)
        return chance.choice(
            (
                None,
                token,
                chance.randbytes(chance.randrange(60)),
                value + value,
                value[:at],
                value[:at] + value[behind:],
                value[:behind] + value[at:],
                value[:at] + bytes([chance.randrange(256)]) + value[at + 1 :],
                value[:at] + token + value[behind:],
                value[:at] + token + value[at:],
                value[:at] + before[min(at, len(before)) :],
            )
        )
