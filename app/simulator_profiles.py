"""How the simulated customers feel and behave: base distributions of ratings, touchpoint by touchpoint.

Every distribution is kept in order of ease, from the worst rating to the best: one shape then serves scales
of both directions; ``question.scale`` turns it round at the end.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING

from scoring.questions import Metric

if TYPE_CHECKING:
    from scoring.questions import Question

# Shares from the worst rating to the best. CES as measured on real 1..7 surveys: mean 5.45, deviation 1.54.
CES_SHAPE = (0.025, 0.035, 0.06, 0.105, 0.18, 0.285, 0.31)
CSAT_SHAPE = (0.05, 0.06, 0.13, 0.34, 0.42)
NPS_SHAPE = (0.03, 0.01, 0.02, 0.025, 0.03, 0.08, 0.07, 0.14, 0.20, 0.165, 0.23)
SHAPES = {Metric.CES: CES_SHAPE, Metric.CSAT: CSAT_SHAPE, Metric.NPS: NPS_SHAPE}
# The mean as a share of the way from the worst rating to the best, before a touchpoint's own leaning.
BASE_EASE = {Metric.CES: 4.45 / 6, Metric.CSAT: 0.76, Metric.NPS: 0.80}
EASE_MIN, EASE_MAX = 0.03, 0.97
# A latent normal beyond which nobody falls; keeps inv_cdf away from 0 and 1.
TAIL = 1e-12


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage of the journey is like: its part of the traffic, its leaning, how long it takes."""

    traffic: float
    ease: float
    duration_s: float
    wait_s: float = 0.0


STAGES = {
    "discovery": Stage(traffic=2.0, ease=0.04, duration_s=90),
    "evaluation": Stage(traffic=1.6, ease=0.02, duration_s=150),
    "purchase": Stage(traffic=1.8, ease=0.0, duration_s=180),
    "onboarding": Stage(traffic=0.8, ease=-0.03, duration_s=300),
    "everyday use": Stage(traffic=1.2, ease=0.02, duration_s=120),
    "support": Stage(traffic=0.9, ease=-0.09, duration_s=420, wait_s=75),
    "renewal": Stage(traffic=0.5, ease=-0.02, duration_s=140),
    "advocacy": Stage(traffic=0.4, ease=0.03, duration_s=60),
}
ANY_STAGE = Stage(traffic=1.0, ease=0.0, duration_s=150)


@dataclass(frozen=True, slots=True)
class Profile:
    """One touchpoint's own character, the same on every run since it comes from its name and stage.

    Attributes:
        traffic: relative number of interactions, > 0.
        ease: leaning that is added to every question's base ease, as a share of the scale.
        answered: share of interactions whose customer answers the survey, 0.22 to 0.38.
        duration_s, wait_s: medians of a contact; a wait of 0 is none.
    """

    traffic: float
    ease: float
    answered: float
    duration_s: float
    wait_s: float


def profile(touchpoint: str, journey_stage: str | None) -> Profile:
    """The character of a touchpoint: its stage's, and a small leaning drawn from its name."""
    stage = STAGES.get(journey_stage or "", ANY_STAGE)
    digest = zlib.crc32(touchpoint.encode())
    first, second, third = (digest & 0xFF) / 255, (digest >> 8 & 0xFF) / 255, (digest >> 16 & 0xFF) / 255
    return Profile(
        traffic=stage.traffic * (0.8 + 0.4 * first),
        ease=stage.ease + 0.06 * (second - 0.5),
        answered=0.22 + 0.16 * third,
        duration_s=stage.duration_s,
        wait_s=stage.wait_s,
    )


def resampled(shape: tuple[float, ...], points: int) -> list[float]:
    """The same shape on a scale of ``points``: its cumulative curve, read at the new edges.

    Example:
        >>> [round(share, 2) for share in resampled((0.1, 0.2, 0.3, 0.4), 2)]
        [0.3, 0.7]
    """
    edges = [0.0]
    for share in shape:
        edges.append(edges[-1] + share)

    def cumulative(position: float) -> float:
        index = min(int(position), len(shape) - 1)
        return edges[index] + (position - index) * shape[index]

    marks = [cumulative(len(shape) * i / points) for i in range(points + 1)]
    return [high - low for low, high in pairwise(marks)]


def mean_ease(shares: list[float]) -> float:
    """Mean of shares from worst to best, as a share of the way: 0 all worst, 1 all best."""
    return sum(i * share for i, share in enumerate(shares)) / (len(shares) - 1) / sum(shares)


def tilted(shares: list[float], ease: float) -> list[float]:
    """Shares moved to a wanted mean by exponential tilting: share i is multiplied by exp(theta x i).

    Tilting is the change of least relative entropy that has the wanted mean, so a shape keeps its character
    (a J stays a J) while it leans. ``ease`` is cut to 0.03..0.97, the reach of a scale still in use.

    Example:
        >>> round(mean_ease(tilted([0.2, 0.3, 0.5], 0.4)), 6)
        0.4
    """
    ease = min(max(ease, EASE_MIN), EASE_MAX)
    low, high = -40.0, 40.0
    weights = shares
    for _ in range(80):
        theta = (low + high) / 2
        weights = [share * math.exp(theta * (i - (len(shares) - 1) / 2)) for i, share in enumerate(shares)]
        if mean_ease(weights) < ease:
            low = theta
        else:
            high = theta
    total = sum(weights)
    return [weight / total for weight in weights]


def ease_of(question: Question, touchpoint: Profile, drop: float = 0.0) -> float:
    """The wanted mean of a question at a touchpoint, as a share of the way from worst to best.

    Args:
        question: what is asked.
        touchpoint: where.
        drop: what an incident takes away, as a share of the scale.
    """
    return min(max(BASE_EASE[question.metric] + touchpoint.ease - drop, EASE_MIN), EASE_MAX)


def thresholds(question: Question, touchpoint: Profile, drop: float = 0.0) -> list[float]:
    """Cuts of a standard normal ease: a rating is how many cuts lie below the customer's ease.

    One latent ease per contact makes the answers of one survey hang together, which separate draws would not.
    """
    shares = tilted(
        resampled(SHAPES[question.metric], question.scale.points), ease_of(question, touchpoint, drop)
    )
    normal, cumulative, cuts = NormalDist(), 0.0, []
    for share in shares[:-1]:
        cumulative += share
        cuts.append(normal.inv_cdf(min(max(cumulative, TAIL), 1 - TAIL)))
    return cuts
