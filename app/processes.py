"""Servers that run as child processes: a port for them, the end of their output, and a life no longer than ours."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

HOST = "127.0.0.1"
LOG_LINES_SHOWN = 12
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def die_with_parent() -> Callable[[], None] | None:
    """What a child process must run before its program, so that it is killed when its parent is, even by kill -9.

    Linux watches the THREAD that started the child, so start it from one that lives as long as it is needed (the
    main thread). Other systems have no such call: there the result is None, and only kill -9 leaves a broker behind.
    """
    if _LIBC is None:
        return None
    libc, parent = _LIBC, os.getpid()

    def follow() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return follow


def last_lines(log: Path) -> str:
    """The end of a process's output, without colours, for an error message."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"  (its output cannot be read: {error.strerror})"
    lines = _COLOURS.sub("", text).splitlines()[-LOG_LINES_SHOWN:]
    return "\n".join(f"  {line}" for line in lines) or "  (it wrote nothing)"
