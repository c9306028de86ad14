"""Logs: structured, on standard error, with times in UTC; results alone go to standard output."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import Processor

    from app.settings import Settings

OWN_LOGGERS = ("app", "agents", "scoring", "effortstream")
LINES_PER_PERIOD = 5
PERIOD_S = 10.0
_PLACES_MAX = 1_000


class Throttle(logging.Filter):
    """Lets a place in a library log at most 5 lines in 10 s, and says with its next one how many it kept back.

    Every client of a worker says by itself that a broker is gone, some dozens a second; our own loggers say it once.

    Args:
        clock: seconds, ever rising.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._places: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is let through."""
        if record.name.partition(".")[0] in OWN_LOGGERS:
            return True
        place, now_s = (record.pathname, record.lineno), self._clock()
        begun_s, count = self._places.get(place, (now_s, 0))
        kept_back = count - LINES_PER_PERIOD
        if now_s - begun_s >= PERIOD_S:
            if kept_back > 0:
                record.msg = (
                    f"{record.getMessage()} (and {kept_back} more like it in {now_s - begun_s:.0f} s)"
                )
                record.args = None
            begun_s, count = now_s, 0
        if len(self._places) >= _PLACES_MAX:
            self._places.clear()
        self._places[place] = begun_s, count + 1
        return count < LINES_PER_PERIOD


class Brief(logging.Filter):
    """Turns a client's traceback of a lost connection into the error's own line: the stack says nothing of the cause.

    Errors of any other sort keep theirs.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every line through."""
        error = record.exc_info[1] if record.exc_info else None
        if record.name.startswith("aiokafka") and isinstance(error, OSError | KafkaError):
            record.msg = f"{record.getMessage()} ({type(error).__name__}: {error})"
            record.args = record.exc_info = record.exc_text = None
        return True


def configure_logging(settings: Settings) -> None:
    """Sends every log line to standard error, as text for people or as one JSON object a line.

    Our own loggers follow ``log_level``. Those of libraries go the same way from WARNING up: below it, Kafka
    clients log each fetch. Tracebacks show no local variables, since these may hold ids and comments of customers.
    Calling it again replaces what the last call set.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(settings)],
        )
    )
    handler.addFilter(Throttle())
    handler.addFilter(Brief())
    level = logging.getLevelNamesMapping()[settings.log_level]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(level)


def _renderers(settings: Settings) -> list[Processor]:
    if settings.log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            timestamp_key="time",
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]
