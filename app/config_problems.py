"""What is wrong with a configuration: one problem per line, each with its place, its value and the remedy."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from scoring.errors import EffortStreamError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VALUE_LENGTH_MAX = 80
SUGGESTION_CUTOFF = 0.6
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class _Absent:
    """The value of a problem that has none to show: the key is missing, or its value is secret."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


def dotted(path: Iterable[str]) -> str:
    """A key as TOML writes it, with quotes only where they are needed.

    Example:
        >>> dotted(("touchpoints", "Technical Support", "journey_stage"))
        'touchpoints."Technical Support".journey_stage'
    """
    return ".".join(
        part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in path
    )


def shown(value: object) -> str:
    """A value as its file would write it, cut at a length that keeps the message on a screen.

    Example:
        >>> shown(True), shown("5 m"), shown([4, 5])
        ('true', '"5 m"', '[4, 5]')
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_LENGTH_MAX else f"{text[:VALUE_LENGTH_MAX]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """The remedy for an unknown name: the nearest known one, else all of them.

    Example:
        >>> nearest("timezon", ["live", "timezone"])
        'Did you mean timezone?'
        >>> nearest("zzz", ["live", "timezone"])
        'Known here: live, timezone'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=SUGGESTION_CUTOFF)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Known here: {', '.join(names)}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        source: the file, ``environment`` or ``command line``.
        key: dotted path, variable or option; empty where the whole source is meant.
        value: the offending value, or ABSENT where there is none to show.
        problem: what is wrong, as a sentence without a full stop.
        remedy: what to do instead.
    """

    source: str
    key: str
    value: Any
    problem: str
    remedy: str

    def __str__(self) -> str:
        """The problem on one line, the same form wherever it was found."""
        place = f"{self.source}: {self.key}" if self.key else self.source
        if self.value is not ABSENT:
            place = f"{place} = {shown(self.value)}"
        return f"{place}: {self.problem}. {self.remedy}"


class ConfigurationError(EffortStreamError, ValueError):
    """A configuration that cannot be used; the message has one line for each of its problems.

    Args:
        problems: everything found, at least one, in the order of the file.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
