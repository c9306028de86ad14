"""Our own code with one thing left out or in the wrong order, each an edit of the source as it stands.

Where the source has changed so that an edit does not fit any more, the test says so instead of testing nothing.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from agents import checkpoints, engine, source
from agents.checkpoints import Place, TransactionalSink
from agents.engine import Engine
from agents.ports import Outgoing
from agents.source import SourceStage


@dataclass(frozen=True, slots=True)
class Edit:
    """One function of ours with texts replaced.

    Attributes:
        owner: the class or module that holds the function.
        name: of the function.
        texts: what is replaced by what; each must be there exactly once.
        names: further names for the new text.
    """

    owner: Any
    name: str
    texts: Mapping[str, str]
    names: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        """Puts the edited function in the place of the right one, for as long as the patch lasts."""
        function = getattr(self.owner, self.name)
        text = textwrap.dedent(inspect.getsource(function))
        for old, new in self.texts.items():
            assert text.count(old) == 1, (
                f"{old!r} is there {text.count(old)} times: {self.name} was changed, so must its mutation"
            )
            text = text.replace(old, new)
        made: dict[str, Any] = {}
        code = compile("from __future__ import annotations\n" + text, inspect.getfile(function), "exec")
        exec(code, {}, made)  # noqa: S102 - our own source
        edited = FunctionType(
            made[self.name].__code__, function.__globals__, self.name, function.__defaults__
        )
        edited.__kwdefaults__ = function.__kwdefaults__
        for name, value in self.names.items():
            patch.setattr(inspect.getmodule(function), name, value, raising=False)
        patch.setattr(self.owner, self.name, edited)


Mutation = tuple[Edit, ...]


async def ledger_beside(place: Place, outgoing: Outgoing, client: Mapping[str, Any]) -> None:
    """Writes the ledger blocks of a checkpoint with a producer of their own, and takes them out of it."""
    beside = [record for record in outgoing.changelog if (record.key or b"").startswith(b"l")]
    outgoing.changelog[:] = [record for record in outgoing.changelog if record not in beside]
    async with AIOKafkaProducer(**client, acks="all") as producer:
        topic = place.topics(place.topics.changelog(place.stage))
        for record in beside:
            await producer.send_and_wait(topic, record.value, record.key, place.partition)


_BEGIN = "await producer.begin_transaction()"
_SEEK = "await self._reader().seek_to(source, one.stage.applied + 1)"
_RESTORE = "await restore(stages, self._changelog_of, self.client, progress)"
_OPEN = "await _open_all(owned.values())"
_TO_SELF = {"super().__init__(": "_ProducerSink.__init__(self, "}

PLAIN_SENDS: Mutation = (
    Edit(
        TransactionalSink,
        "__init__",
        _TO_SELF
        | {
            "transactional_id=place.transactional_id,": "",
            "transaction_timeout_ms=round(timeout_s * 1000),": "",
        },
    ),
    Edit(
        TransactionalSink,
        "write",
        {
            _BEGIN: "pass",
            "await producer.send_offsets_to_transaction(offsets, place.topics.group)": "pass",
            "await producer.commit_transaction()": "pass",
        },
    ),
)
SEND_NOT_AWAITED: Mutation = (Edit(checkpoints, "_send", {"await asyncio.gather(*sent)": "pass"}),)
NO_SEEK: Mutation = (Edit(Engine, "_restore_all", {_SEEK: "pass"}),)
NO_CHECK_AHEAD: Mutation = (
    Edit(
        Engine,
        "take",
        {"batch.start > position and not await self._may_skip(source, owned, batch)": "False"},
    ),
)
NO_CHECK_BEHIND: Mutation = (
    Edit(
        Engine, "take", {"if batch.end <= position:": "if False:", "if batch.start < position:": "if False:"}
    ),
)
OPENED_LATE: Mutation = (
    Edit(engine.Engine, "_restore_all", {_OPEN: "pass", _RESTORE: f"{_RESTORE}; {_OPEN}"}),
)
LEDGER_NOT_STORED: Mutation = (
    Edit(
        SourceStage, "_drain_ledger", {'out.changelog.append(Out(b"l%d" % number, b"\\x01" + block))': "pass"}
    ),
)
LEDGER_BESIDE: Mutation = (
    Edit(
        TransactionalSink,
        "write",
        {_BEGIN: f"await ledger_beside(place, outgoing, self._client); {_BEGIN}"},
        {"ledger_beside": ledger_beside},
    ),
    Edit(
        TransactionalSink,
        "__init__",
        _TO_SELF
        | {
            "**_producer_options(client),\n    )": "**_producer_options(client),\n    )\n    self._client = client"
        },
    ),
)
LEDGER_NOT_COUNTED: Mutation = (
    *LEDGER_NOT_STORED,
    Edit(source.SourceStage, "resume", {"self._fingerprint.check_held(self._stored, self._held())": "pass"}),
)
