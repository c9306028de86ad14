"""A proxy before each broker: it can hold back acknowledgements and cut connections.

It runs in a thread and an event loop of its own, so whatever the harness waits for, bytes go on flowing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Self

from app.processes import HOST

_PRODUCE = 0
_START_S = 10.0


class Proxies:
    """One proxy per broker.

    Args:
        fronts: ports to listen on.
        behind: ports of the brokers, in the same order.
    """

    def __init__(self, fronts: Sequence[int], behind: Sequence[int]) -> None:
        self._routes = list(zip(fronts, behind, strict=True))
        self._delays_s = [0.0] * len(self._routes)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._open: list[set[_Connection]] = [set() for _ in self._routes]
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen()).result(_START_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close()).result(_START_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_S)
        self._loop.close()

    def delay(self, broker: int, seconds: float) -> None:
        """From now on the broker's acknowledgements of produced records come so much later."""
        self._delays_s[broker] = seconds

    def reset(self, broker: int) -> int:
        """Cuts every connection to a broker, with a reset where the system allows it; how many there were."""
        return self._call(self._reset(broker)).result(_START_S)

    def _call(self, work: object) -> Future:  # type: ignore[type-arg]
        return asyncio.run_coroutine_threadsafe(work, self._loop)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        for broker, (front, _) in enumerate(self._routes):
            server = await asyncio.start_server(
                lambda r, w, broker=broker: self._serve(broker, r, w), HOST, front
            )
            self._servers.append(server)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for broker in range(len(self._routes)):
            await self._reset(broker)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _reset(self, broker: int) -> int:
        cut = list(self._open[broker])
        for connection in cut:
            connection.cut()
        return len(cut)

    async def _serve(self, broker: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(HOST, self._routes[broker][1])
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, there[1])
        self._open[broker].add(connection)
        there_pump = asyncio.create_task(self._forth(broker, connection, reader))
        try:
            await self._back(connection, there[0])
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            there_pump.cancel()
            await asyncio.gather(there_pump, return_exceptions=True)
            connection.cut()
            self._open[broker].discard(connection)

    async def _forth(self, broker: int, connection: _Connection, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                frame = await _frame(reader)
                api, _, number = struct.unpack_from(">hhi", frame, 4)
                if api == _PRODUCE and self._delays_s[broker]:
                    connection.due_s[number] = time.monotonic() + self._delays_s[broker]
                connection.there.write(frame)
                await connection.there.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            connection.there.transport.abort()

    async def _back(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        while True:
            frame = await _frame(reader)
            due_s = connection.due_s.pop(struct.unpack_from(">i", frame, 4)[0], None)
            if due_s is not None:
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            connection.here.write(frame)
            await connection.here.drain()


class _Connection:
    """The two halves of one proxied connection, and which responses are held back until when."""

    def __init__(self, here: asyncio.StreamWriter, there: asyncio.StreamWriter) -> None:
        self.here, self.there = here, there
        self.due_s: dict[int, float] = {}

    def cut(self) -> None:
        """Ends both halves at once; no waiting bytes are sent."""
        for writer in (self.here, self.there):
            raw = writer.get_extra_info("socket")
            if raw is not None and not writer.transport.is_closing():
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(4)
    return size + await reader.readexactly(struct.unpack(">i", size)[0])
