"""Tallies: integer vectors that add, subtract and merge exactly, whatever the order."""

from __future__ import annotations

from dataclasses import dataclass
from operator import add as plus
from operator import sub as minus
from typing import TYPE_CHECKING

from scoring.errors import EffortStreamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scoring.questions import Question

INTERACTION_FIELDS = (
    "n",
    "resolved",
    "unresolved",
    "abandoned",
    "duration_n",
    "duration_ms",
    "wait_n",
    "wait_ms",
    "transfers",
    "retries",
    "errors",
    "contacts",
    "rage_clicks",
)


class TallyError(EffortStreamError, ValueError):
    """Two tallies do not belong together, or more was removed than was added: our own bug, never the data's."""


def length(question: Question) -> int:
    """Elements of a response vector: answers per rating, rising, then how many of them carry an interaction_id."""
    return question.scale.points + 1


def _check(left: Sequence[int], right: Sequence[int]) -> None:
    if len(left) != len(right):
        raise TallyError(
            f"tallies have {len(left)} and {len(right)} elements: they belong to different scales. "
            "Tally each question by itself"
        )


def add(into: list[int], other: Sequence[int]) -> None:
    """Add a tally in place.

    Raises:
        TallyError: unequal lengths; nothing is changed then.

    Example:
        >>> window = [1, 0, 2, 1]
        >>> add(window, [0, 1, 1, 0])
        >>> window
        [1, 1, 3, 1]
    """
    _check(into, other)
    into[:] = map(plus, into, other)


def remove(from_: list[int], other: Sequence[int]) -> None:
    """Undo an ``add`` of the same tally, in place and exactly.

    Raises:
        TallyError: unequal lengths, or an element would fall below 0; nothing is changed then.
    """
    _check(from_, other)
    rest = list(map(minus, from_, other))
    if min(rest, default=0) < 0:
        raise TallyError(
            f"tally {from_!r} cannot lose {list(other)!r}: that was never added. Rebuild it from its panes"
        )
    from_[:] = rest


def merge(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """The tally of both, as a new list; commutative and associative.

    Raises:
        TallyError: unequal lengths.
    """
    _check(a, b)
    return list(map(plus, a, b))


@dataclass(frozen=True, slots=True)
class InteractionStats:
    """Counts, shares and means of interactions; None wherever there is nothing to divide by.

    Shares are of all n, so interactions without an outcome lower them all; durations and waits are averaged
    over the interactions that carried one, in seconds; the other means are per interaction.
    """

    n: int
    resolved_share: float | None
    unresolved_share: float | None
    abandoned_share: float | None
    duration_s_mean: float | None
    wait_s_mean: float | None
    transfers_mean: float | None
    retries_mean: float | None
    errors_mean: float | None
    contacts_mean: float | None
    rage_clicks_mean: float | None


def interaction_stats(vector: Sequence[int]) -> InteractionStats:
    """The figures of an interaction vector (elements as in INTERACTION_FIELDS).

    Raises:
        TallyError: not such a vector.

    Example:
        >>> stats = interaction_stats([4, 2, 1, 0, 2, 90_000, 0, 0, 1, 0, 0, 4, 0])
        >>> stats.resolved_share, stats.duration_s_mean, stats.wait_s_mean, stats.transfers_mean
        (0.5, 45.0, None, 0.25)
    """
    _check(vector, INTERACTION_FIELDS)  # type: ignore[arg-type]  # only the lengths are compared
    n, resolved, unresolved, abandoned, duration_n, duration_ms, wait_n, wait_ms, *sums = vector
    transfers, retries, errors, contacts, rage_clicks = sums
    return InteractionStats(
        n=n,
        resolved_share=_ratio(resolved, n),
        unresolved_share=_ratio(unresolved, n),
        abandoned_share=_ratio(abandoned, n),
        duration_s_mean=_ratio(duration_ms, 1000 * duration_n),
        wait_s_mean=_ratio(wait_ms, 1000 * wait_n),
        transfers_mean=_ratio(transfers, n),
        retries_mean=_ratio(retries, n),
        errors_mean=_ratio(errors, n),
        contacts_mean=_ratio(contacts, n),
        rage_clicks_mean=_ratio(rage_clicks, n),
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
