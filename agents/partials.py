"""Records of the partials topic: absolute pane tallies, statements about a source's progress, and deployment marks."""

from __future__ import annotations

from typing import Final

import msgspec

from agents.hard_answers import HardAnswer

VERSION: Final = b"\x01"

RESPONSES_KIND: Final = 0
INTERACTIONS_KIND: Final = 1

SourceId = tuple[int, int]
"""(kind, source partition)"""


class Partial(msgspec.Struct, array_like=True, gc=False):
    """Panes of one touchpoint as one source partition has tallied them up to ``offset``.

    A pane is (width_ms, start_ms, group as bytes); it takes the place of everything that the same source said before
    about it and about the finer panes inside it. ``newest_ms`` is the newest event time that the source folds by:
    live windows must not end before it, or a restart could not tell what they held. ``hard`` names some of the hardest
    new answers by question, for the evidence of alerts; only where there are rules.
    """

    kind: int
    partition: int
    offset: int
    newest_ms: int
    panes: list[tuple[int, int, bytes]]
    hard: list[tuple[str, list[HardAnswer]]] = []


class Statement(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """How far a source partition is; ``ended`` once the end of a replay's input was read."""

    kind: int
    partition: int
    offset: int
    newest_ms: int | None
    watermark_ms: int | None
    idle: bool
    ended: bool
    stated_ms: int


class Mark(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A deployment at ``at_ms``, at the touchpoints that match a shell pattern; withdrawn takes it back.

    Whoever records the deployment sends it to every partition, so that each scores agent finds it in its own log.
    """

    id: str
    at_ms: int
    touchpoint: str
    withdrawn: bool = False


MARK: Final = b"m\x01"
"""What the value of a mark begins with: another letter than the version of a statement, which has no key either."""

_encode = msgspec.msgpack.Encoder().encode
_decode_mark = msgspec.msgpack.Decoder(Mark).decode
_decode_partial = msgspec.msgpack.Decoder(Partial).decode
_decode_statement = msgspec.msgpack.Decoder(Statement).decode


def encode_partial(partial: Partial) -> bytes:
    """The value of a partial record, whose key is the touchpoint."""
    return VERSION + _encode(partial)


def encode_statement(statement: Statement) -> bytes:
    """The value of a statement record, whose key is empty."""
    return VERSION + _encode(statement)


def encode_mark(mark: Mark) -> bytes:
    """The value of a mark record, whose key is empty."""
    return MARK + _encode(mark)


def decode_mark(value: bytes) -> Mark:
    """The inverse of ``encode_mark``.

    Raises:
        msgspec.MsgspecError: not a mark of this version.
    """
    if not value.startswith(MARK):
        raise msgspec.ValidationError(f"mark record of format {value[:2]!r}; this version reads {MARK!r}")
    return _decode_mark(value[len(MARK) :])


def decode_partial(value: bytes) -> Partial:
    """The inverse of ``encode_partial``.

    Raises:
        msgspec.MsgspecError: not a partial of this version.
    """
    _check_version(value)
    return _decode_partial(value[1:])


def decode_statement(value: bytes) -> Statement:
    """The inverse of ``encode_statement``.

    Raises:
        msgspec.MsgspecError: not a statement of this version.
    """
    _check_version(value)
    return _decode_statement(value[1:])


def _check_version(value: bytes) -> None:
    if value[:1] != VERSION:
        raise msgspec.ValidationError(
            f"partial record of format {value[:1]!r}; this version reads {VERSION!r}"
        )
