"""Bands: the words for a score, found exactly on the tally and never finer than the bounds allow."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from operator import mul
from typing import TYPE_CHECKING

from scoring.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scoring.questions import Question


@dataclass(frozen=True, slots=True)
class Bands:
    """Names from worst to best, with an edge between each two neighbours.

    Edges are in the unit of what the metric is judged by: the effort index for ces, percent for csat,
    -100..100 for nps. They are Fractions, so that a score on an edge is seen to be on it (100/6 is no double).

    Attributes:
        names: worst first, all different.
        edges: one fewer than names; ``edges[i]`` lies between ``names[i]`` and ``names[i + 1]``.
        edge_is_better: for each edge, whether a score exactly on it belongs to the better band.
        falling: True where a lower number is better (effort).

    Example:
        >>> NPS_BANDS.names[NPS_BANDS.locate_ratio(70, 1)]
        'good'
        >>> NPS_BANDS.names[NPS_BANDS.locate(70.1)]
        'excellent'

    Raises:
        DeclarationError: names and edges do not match in number, a name appears twice, or edges are out of order.
    """

    names: tuple[str, ...]
    edges: tuple[Fraction, ...]
    edge_is_better: tuple[bool, ...]
    falling: bool = False
    _cuts: tuple[tuple[int, int, bool], ...] = field(init=False, repr=False, compare=False)
    _float_cuts: tuple[tuple[float, bool], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check, and work out the cuts once: locating happens for every score."""
        if not self.names or len(set(self.names)) != len(self.names):
            raise DeclarationError(
                "bands.names", list(self.names), "each band needs a name of its own", "Name them worst first"
            )
        wanted = len(self.names) - 1
        if len(self.edges) != wanted or len(self.edge_is_better) != wanted:
            raise DeclarationError(
                "bands.edges",
                [str(edge) for edge in self.edges],
                f"{len(self.names)} bands have {wanted} edges, each with its rule",
                "Give one edge, and one edge_is_better, between each two names",
            )
        sign = -1 if self.falling else 1
        signed = [sign * edge for edge in self.edges]
        if any(left >= right for left, right in pairwise(signed)):
            raise DeclarationError(
                "bands.edges",
                [str(edge) for edge in self.edges],
                "the edges do not lead from the worst band to the best",
                "Let them " + ("fall" if self.falling else "rise"),
            )
        # Signed so that a greater number is always a better one.
        cuts = tuple(
            (e.numerator, e.denominator, b) for e, b in zip(signed, self.edge_is_better, strict=True)
        )
        floats = tuple((float(e), b) for e, b in zip(signed, self.edge_is_better, strict=True))
        object.__setattr__(self, "_cuts", cuts)
        object.__setattr__(self, "_float_cuts", floats)

    def locate_ratio(self, numerator: int, denominator: int) -> int:
        """Position in ``names`` of the score numerator / denominator (denominator > 0), by integers alone."""
        signed = -numerator if self.falling else numerator
        position = 0
        for edge, parts, edge_is_better in self._cuts:
            ahead = signed * parts - edge * denominator
            if ahead < 0 or (ahead == 0 and not edge_is_better):
                break
            position += 1
        return position

    def locate(self, value: float) -> int:
        """Position in ``names`` of a bound, which is a float and compared as one."""
        signed = -value if self.falling else value
        position = 0
        for edge, edge_is_better in self._float_cuts:
            if signed < edge or (signed == edge and not edge_is_better):
                break
            position += 1
        return position

    def name(self, numerator: int, denominator: int, low: float, high: float) -> str:
        """The band of an exact score, widened to every band that its bounds reach.

        Returns:
            The name; ``<worse> or <better>`` for two neighbours, ``<worse> to <better>`` for more.
        """
        found = (self.locate_ratio(numerator, denominator), self.locate(low), self.locate(high))
        worse, better = min(found), max(found)
        if worse == better:
            return self.names[worse]
        return f"{self.names[worse]} {'or' if better - worse == 1 else 'to'} {self.names[better]}"


CES_BANDS = Bands(
    names=("high effort", "acceptable effort", "very low effort"),
    edges=(Fraction(50), Fraction(100, 6)),
    edge_is_better=(True, False),
    falling=True,
)
CSAT_BANDS = Bands(
    names=("critical", "satisfactory", "good", "excellent"),
    edges=(Fraction(60), Fraction(70), Fraction(80)),
    edge_is_better=(True, True, False),
)
NPS_BANDS = Bands(
    names=("alarming", "needs improvement", "acceptable", "good", "excellent"),
    edges=(Fraction(0), Fraction(30), Fraction(50), Fraction(70)),
    edge_is_better=(True, True, True, False),
)
DEFAULT_BANDS: Mapping[str, Bands] = {"ces": CES_BANDS, "csat": CSAT_BANDS, "nps": NPS_BANDS}


def band(question: Question, counts: Sequence[int], low: float | None, high: float | None) -> str | None:
    """The band of a tally whose score has the bounds low..high (of its value: a mean for ces).

    Args:
        question: whose bands apply.
        counts: answers per rating in rating order; more elements than ratings are ignored.
        low: lower bound of the value, or None.
        high: upper bound of the value, or None.

    Returns:
        The band; None for net ease, without bounds, or with fewer answers than ``min_n``.

    Example:
        >>> from scoring.questions import Scale, question
        >>> csat = question("calls", "csat", Scale(1, 5, 5))
        >>> band(csat, [0, 0, 6, 12, 12], 62.7, 90.5)
        'satisfactory to excellent'
        >>> band(csat, [0, 0, 240, 480, 480], 77.6, 82.2)
        'good or excellent'
    """
    if low is None or high is None or question.bands is None:
        return None
    n = sum(counts[: question.scale.points])
    if n == 0 or n < question.min_n:
        return None
    if question.metric == "ces":
        low, high = question.scale.effort(low), question.scale.effort(high)
    return question.bands.name(sum(map(mul, question.weights, counts)), question.divisor * n, low, high)
