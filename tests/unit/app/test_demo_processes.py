"""The demo's processes are always stopped, and one that ends by itself is explained."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest

from app.demo_processes import ChildDied, Children, PortTaken, check_port
from app.processes import HOST, free_port

CONFIG = """
[questions.effort]
metric = "ces"
scale = { low = 1, high = 7, best = 7 }
"""
DEADLINE_S = 30.0


def alive(pid: int) -> bool:
    """Whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def serve(children: Children, folder: Path) -> int:
    """Starts a serve that waits for a broker which is not there; its process id."""
    config = folder / "effortstream.toml"
    config.write_text(CONFIG, encoding="utf-8")
    broker = f"{HOST}:{free_port()}"
    children.start("serve", ["--config", str(config), "--broker", broker, "--port", str(free_port())])
    return children._running["serve"].pid


async def started(children: Children) -> None:
    """Waits until serve has written something, so that it is past its start."""
    deadline = time.monotonic() + DEADLINE_S
    while not children.log("serve").read_text(encoding="utf-8"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.asyncio
async def test_processes_are_stopped_at_the_end_of_the_block(tmp_path: Path) -> None:
    """One that runs and one that has just been started are both gone."""
    async with Children(tmp_path, {}) as children:
        first = serve(children, tmp_path)
        await started(children)
        assert alive(first)
    assert not alive(first)
    async with Children(tmp_path, {}) as children:
        second = serve(children, tmp_path)
    assert not alive(second)


@pytest.mark.asyncio
async def test_processes_are_stopped_when_the_block_fails_or_is_cancelled(tmp_path: Path) -> None:
    """No way out of the block leaves one behind."""
    pids: list[int] = []

    async def hold() -> None:
        async with Children(tmp_path, {}) as children:
            pids.append(serve(children, tmp_path))
            await children.watch()

    holding = asyncio.create_task(hold())
    while not pids:
        await asyncio.sleep(0.01)
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding

    async def fail() -> None:
        async with Children(tmp_path, {}) as children:
            pids.append(serve(children, tmp_path))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)


@pytest.mark.asyncio
async def test_a_process_that_ends_is_told_with_the_end_of_its_output(tmp_path: Path) -> None:
    """The message has its name, its status, its last lines and where the rest is."""
    async with Children(tmp_path, {}) as children:
        children.start("serve", ["--config", str(tmp_path / "absent.toml")])
        with pytest.raises(ChildDied, match=r"effortstream serve .*status 2.*serve\.log(?s:.*)absent\.toml"):
            async with asyncio.timeout(DEADLINE_S):
                await children.watch()


@pytest.mark.asyncio
async def test_a_process_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    """A folder that cannot be written to is named."""
    async with Children(tmp_path / "absent", {}) as children:
        with pytest.raises(ChildDied, match=r"No such file.*absent"):
            children.start("serve", [])


def test_a_taken_port_is_refused_with_another_one_to_choose() -> None:
    """The message names the port and the option; a free port is accepted."""
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"Port {port} .*--port \d+"):
            check_port(port)
    check_port(free_port())
