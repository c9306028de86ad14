"""Logs of libraries are held back when they repeat themselves."""

from __future__ import annotations

import logging
import sys

from aiokafka.errors import KafkaConnectionError

from app.logs import Brief, Throttle


def line(name: str, number: int = 1) -> logging.LogRecord:
    """A line from a place in a library."""
    return logging.LogRecord(
        name, logging.ERROR, "client.py", number, "Unable to connect to %s", ("kafka:9092",), None
    )


def test_a_place_says_at_most_five_lines_in_ten_seconds_and_then_how_many_it_kept_back() -> None:
    """What was kept back is counted in the next line that is let through."""
    now_s = 0.0
    throttle = Throttle(lambda: now_s)
    assert [throttle.filter(line("aiokafka.conn")) for _ in range(12)] == [True] * 5 + [False] * 7
    now_s = 11.0
    late = line("aiokafka.conn")
    assert throttle.filter(late)
    assert late.getMessage() == "Unable to connect to kafka:9092 (and 7 more like it in 11 s)"
    assert [throttle.filter(line("aiokafka.conn")) for _ in range(6)] == [True] * 4 + [False] * 2


def test_other_places_and_our_own_lines_are_not_held_back() -> None:
    """Each place has its own count; what effortstream says itself is always said."""
    throttle = Throttle(lambda: 0.0)
    assert all(throttle.filter(line("aiokafka.conn", number)) for number in range(20))
    assert all(throttle.filter(line("agents.engine")) for _ in range(20))


def test_a_lost_connection_of_a_client_is_one_line_and_a_bug_keeps_its_traceback() -> None:
    """A dead broker would print the same stack for each client of a worker."""
    for error, name, kept in (
        (KafkaConnectionError("connection closed"), "aiokafka.conn", False),
        (ConnectionResetError("reset by peer"), "aiokafka.producer.sender", False),
        (KeyError("topic"), "aiokafka.conn", True),
        (ConnectionResetError("reset by peer"), "agents.engine", True),
    ):
        made = line(name)
        try:
            raise error
        except type(error):
            made.exc_info = sys.exc_info()
        assert Brief().filter(made)
        assert (made.exc_info is not None) == kept
        assert (str(error) in made.getMessage()) != kept
