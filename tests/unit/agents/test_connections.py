"""Broken connections under uvloop."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest

from agents.connections import survive_resets


def test_a_write_to_a_closed_connection_is_an_error_of_that_connection():
    """What uvloop raises there ends no task of a client: the connection is closed, and the client makes another."""

    async def write() -> AIOKafkaConnection:
        async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        server = await asyncio.start_server(wait_for_end, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            connection = AIOKafkaConnection("127.0.0.1", port)
            connection._reader, connection._writer = await asyncio.open_connection("127.0.0.1", port)
            connection._writer.transport.abort()
            await asyncio.sleep(0)
            connection._read_task = asyncio.create_task(asyncio.sleep(0))
            connection._closed_fut = asyncio.get_running_loop().create_future()
            with pytest.raises(KafkaConnectionError, match="broken"):
                connection.send(ApiVersionRequest())
            return connection

    survive_resets()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(write())._writer is None
