"""Errors of the domain: one root, and leaves that also inherit the built-in they refine."""

from __future__ import annotations


class EffortStreamError(Exception):
    """Root of every error that effortstream raises on purpose."""


class DeclarationError(EffortStreamError, ValueError):
    """A question, segment, window or touchpoint is declared in a way that has no meaning.

    Args:
        key: dotted path of the declaration, such as ``questions.nps.scale``.
        value: the offending value.
        problem: what is wrong with it, as a sentence without a full stop.
        remedy: what to write instead.
    """

    def __init__(self, key: str, value: object, problem: str, remedy: str) -> None:
        self.key, self.value, self.problem, self.remedy = key, value, problem, remedy
        super().__init__(f"{key} = {value!r}: {problem}. {remedy}")
