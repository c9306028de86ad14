"""The entry of the command ``effortstream``: deaf to nothing from its first moment, while the rest is still loading."""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Runs the command line; Ctrl-C while it loads ends it quietly, the demo with status 0 as at any moment."""
    is_demo = sys.argv[1:2] == ["demo"]
    status = 0 if is_demo else INTERRUPTED
    try:
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            signal.signal(number, lambda *_: os._exit(status))
    except KeyboardInterrupt:  # Ctrl-C came before its handler was there
        os._exit(status)
    from app.__main__ import main as run  # noqa: PLC0415 - it brings typer and more; a signal may come meanwhile

    if not is_demo:  # the demo sets its own as soon as it is loaded
        for number, handler in before.items():
            signal.signal(number, handler)
    run()
