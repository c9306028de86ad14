"""The command's first moments."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

START = """
import signal, sys
sys.argv = ["effortstream", *sys.argv[1:]]
listen = signal.signal

def told(number, handler):
    listen(number, handler)
    if number == signal.SIGTERM:
        print("up", flush=True)

signal.signal = told
from app.command import main
main()
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.3, 0.6, 1.0])
def test_ctrl_c_ends_a_starting_demo_with_status_0_and_no_traceback(delay_s: float) -> None:
    """However early it comes after the command has begun to listen, its first step."""
    command = [sys.executable, "-c", START, "demo", "--port", "18999"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay_s)  # the moment is the subject here, not a condition to wait for
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert (process.returncode, b"Traceback" in errors) == (0, False), errors.decode()
