"""Kafka connections under uvloop: a broken one is an error of that connection, not the end of the client.

asyncio warns of a write to a closed transport and goes on; uvloop raises RuntimeError. aiokafka expects an OSError,
so a broker that resets a connection at the wrong moment ended the client's fetching or sending task, and with that
everything, without a word.
"""

from __future__ import annotations

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


def _send_or_close(self: Any, request: Any, expect_response: bool = True) -> Any:  # noqa: FBT001, FBT002 - theirs
    try:
        return _send(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error


def survive_resets() -> None:
    """Makes every client of this process retry where it finds a connection closed."""
    AIOKafkaConnection.send = _send_or_close
