"""The customer's journey: its stages, and the effort of one."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

JOURNEY_STAGES = (
    "discovery",
    "evaluation",
    "purchase",
    "onboarding",
    "everyday use",
    "support",
    "renewal",
    "advocacy",
)


def stage_effort(pairs: Iterable[tuple[int, float | None]]) -> float | None:
    """Effort index of a stage: sum of n x index over sum of n, over the ces means of its touchpoints.

    Args:
        pairs: n and effort index of each; one whose index is None (too few answers) is left out with its n.

    Returns:
        0..100, or None when nothing was answered.

    Example:
        >>> stage_effort([(30, 20.0), (10, 60.0), (2, None)])
        30.0
        >>> stage_effort([]) is None
        True
    """
    stated = [(n, index) for n, index in pairs if index is not None]
    answers = sum(n for n, _ in stated)
    return fsum(n * index for n, index in stated) / answers if answers else None
