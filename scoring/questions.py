"""Questions: what an answer to each of them means. Nothing is guessed from the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NoReturn

from scoring.bands import DEFAULT_BANDS, Bands
from scoring.errors import DeclarationError, EffortStreamError

if TYPE_CHECKING:
    from collections.abc import Iterable

CesFormula = Literal["mean", "net-ease"]

POINTS_MIN = 2
POINTS_MAX = 11
NET_EASE_POINTS = 3
ID_BYTES_MAX = 256
TOUCHPOINT_BYTES_MAX = 128


class Metric(StrEnum):
    """What a question measures."""

    CES = "ces"
    CSAT = "csat"
    NPS = "nps"


class OffScaleError(EffortStreamError, ValueError):
    """A rating that its question's scale does not have was about to be tallied."""

    def __init__(self, rating: object, scale: Scale) -> None:
        self.rating, self.scale = rating, scale
        super().__init__(
            f"rating = {rating!r}: not on the scale {scale.low}..{scale.high}. Refuse it before it is tallied"
        )


def _whole(key: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DeclarationError(key, value, "not a whole number", "Write a whole number, such as 5")


@dataclass(frozen=True, slots=True)
class Scale:
    """Whole-number ratings low..high, and the end of them that is best for the customer.

    Raises:
        DeclarationError: not whole numbers, not 2 to 11 points, or ``best`` is neither end; its key is ``scale`` or
            ``scale.<field>``, for the caller to put the question before it.

    Example:
        >>> Scale(1, 7, best=1).worst
        7
        >>> list(Scale(1, 3, best=3).ratings)
        [1, 2, 3]
    """

    low: int
    high: int
    best: int

    def __post_init__(self) -> None:
        """Check."""
        for name in ("low", "high", "best"):
            _whole(f"scale.{name}", getattr(self, name))
        if not POINTS_MIN <= self.points <= POINTS_MAX:
            raise DeclarationError(
                "scale",
                f"{self.low}..{self.high}",
                f"a scale has {POINTS_MIN} to {POINTS_MAX} points, this one {max(self.points, 0)}",
                "Write low < high, such as low = 1, high = 5",
            )
        if self.best not in (self.low, self.high):
            raise DeclarationError(
                "scale.best",
                self.best,
                "best is neither end of the scale",
                f"Write {self.low} or {self.high}",
            )

    @property
    def worst(self) -> int:
        """The end that is not best."""
        return self.low if self.best == self.high else self.high

    @property
    def points(self) -> int:
        """How many ratings there are."""
        return self.high - self.low + 1

    @property
    def ratings(self) -> range:
        """Every rating, in rising order: the order of counts in a tally."""
        return range(self.low, self.high + 1)

    def index(self, rating: int) -> int:
        """Position of a rating in a tally.

        Raises:
            OffScaleError: the scale does not have it. Unchecked, a rating below ``low`` would count from the end.
        """
        if not self.low <= rating <= self.high:
            raise OffScaleError(rating, self)
        return rating - self.low

    def effort(self, mean: float) -> float:
        """Effort index of a mean: (best - mean) / (best - worst) x 100; 0 effortless, 100 hardest.

        Example:
            >>> Scale(1, 7, best=7).effort(4.0), Scale(1, 7, best=1).effort(2.5)
            (50.0, 25.0)
        """
        away = self.best - mean if self.best == self.high else mean - self.best
        return 100 * away / (self.high - self.low)

    def best_ratings(self) -> frozenset[int]:
        """The top box: the best rating of 2 or 3 points, the two best of 4 to 7, the three best of 8 to 11.

        Example:
            >>> sorted(Scale(1, 5, best=5).best_ratings()), sorted(Scale(1, 7, best=1).best_ratings())
            ([4, 5], [1, 2])
        """
        wanted = 1 if self.points <= 3 else 2 if self.points <= 7 else 3  # noqa: PLR2004 - the sentence above
        return frozenset(sorted(self.ratings, key=lambda rating: abs(rating - self.best))[:wanted])


@dataclass(frozen=True, slots=True)
class Question:
    """A declared question; made by ``question``, which fills the defaults in and checks.

    Attributes:
        id: what records call it.
        metric: ces, csat or nps.
        scale: its ratings.
        positive: ratings that count as satisfied; empty unless csat.
        low_effort: ratings that count as low effort; empty unless a ces mean.
        ces_formula: how a ces question is scored.
        touchpoint: of answers that name none.
        min_n: fewer answers than this show their n and no score.
        comments: whether comments are passed on.
        bands: None for net ease, which has none.
        weights: per rating in tally order, so that sum(weights x counts) / (divisor x n) is what the bands judge:
            the effort index, the percent satisfied, the NPS or the net ease. Exact, since all are integers.
        divisor: see weights.
        low_effort_weights: 1 for each low-effort rating in tally order, else 0.
    """

    id: str
    metric: Metric
    scale: Scale
    positive: frozenset[int]
    low_effort: frozenset[int]
    ces_formula: CesFormula
    touchpoint: str | None
    min_n: int
    comments: bool
    bands: Bands | None
    weights: tuple[int, ...] = field(init=False, repr=False, compare=False)
    divisor: int = field(init=False, repr=False, compare=False)
    low_effort_weights: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work the weights out once: they are used for every score."""
        divisor = self.scale.points - 1 if self.is_ces_mean else 1
        object.__setattr__(self, "divisor", divisor)
        object.__setattr__(
            self, "weights", tuple(100 * self._weight(rating) for rating in self.scale.ratings)
        )
        low_effort = tuple(int(rating in self.low_effort) for rating in self.scale.ratings)
        object.__setattr__(self, "low_effort_weights", low_effort)

    @property
    def is_ces_mean(self) -> bool:
        """Whether its value is a mean on its own scale, with an effort index beside it."""
        return self.metric == "ces" and self.ces_formula == "mean"

    def _weight(self, rating: int) -> int:
        if self.is_ces_mean:
            return abs(rating - self.scale.best)
        if self.metric == "csat":
            return int(rating in self.positive)
        if self.metric == "nps":
            return 1 if rating >= 9 else -1 if rating <= 6 else 0  # noqa: PLR2004 - promoters 9-10, detractors 0-6
        return 1 if rating == self.scale.best else -1 if rating == self.scale.worst else 0


def question(  # noqa: C901 - one plain check after another reads better than checks spread over functions
    id: str,  # noqa: A002 - the contract's own word for it
    metric: str,
    scale: Scale,
    *,
    positive: Iterable[int] | None = None,
    low_effort: Iterable[int] | None = None,
    ces_formula: str = "mean",
    touchpoint: str | None = None,
    min_n: int = 1,
    comments: bool = False,
    bands: Bands | None = None,
) -> Question:
    """A checked question, with the defaults of its metric.

    Raises:
        DeclarationError: with the key ``questions.<id>.<field>``.

    Example:
        >>> sorted(question("calls", "csat", Scale(1, 5, 5)).positive)
        [4, 5]
        >>> question("nps", "nps", Scale(1, 5, 5))
        Traceback (most recent call last):
        ...
        scoring.errors.DeclarationError: questions.nps.scale = '1..5, best 5': NPS is asked on 0..10 with 10 best \
and on nothing else. Write scale = { low = 0, high = 10, best = 10 }, or metric = "csat"
    """

    def refuse(name: str, value: object, problem: str, remedy: str) -> NoReturn:
        raise DeclarationError(
            f"questions.{id}.{name}" if name else f"questions.{id}", value, problem, remedy
        )

    problem = _name_problem(id, ID_BYTES_MAX)
    if problem:
        refuse("", id, f"the id {problem}", "Choose a short one, such as checkout-effort")
    if metric not in DEFAULT_BANDS:
        refuse("metric", metric, "no such metric", 'Write "ces", "csat" or "nps"')
    kind = Metric(metric)
    if kind is Metric.NPS and scale != Scale(0, 10, 10):
        refuse(
            "scale",
            f"{scale.low}..{scale.high}, best {scale.best}",
            "NPS is asked on 0..10 with 10 best and on nothing else",
            'Write scale = { low = 0, high = 10, best = 10 }, or metric = "csat"',
        )
    if ces_formula not in ("mean", "net-ease"):
        refuse("ces_formula", ces_formula, "no such formula", 'Write "mean" or "net-ease"')
    net_ease = ces_formula == "net-ease"
    if net_ease and kind is not Metric.CES:
        refuse("ces_formula", ces_formula, f"it has no meaning for {kind}", "Leave it out")
    if net_ease and scale.points != NET_EASE_POINTS:
        refuse(
            "ces_formula",
            ces_formula,
            f"net ease needs three points (easy, neutral, hard), the scale has {scale.points}",
            'Declare a scale of three points, or write "mean"',
        )
    if positive is not None and kind is not Metric.CSAT:
        refuse("positive", positive, f"it has no meaning for {kind}", "Leave it out")
    if low_effort is not None and (kind is not Metric.CES or net_ease):
        refuse(
            "low_effort",
            low_effort,
            f"it has no meaning for {'net ease' if net_ease else kind}",
            "Leave it out",
        )
    if bands is not None and (net_ease or bands.falling != (kind is Metric.CES)):
        what = "net ease has no band" if net_ease else "their edges run the wrong way for this metric"
        refuse(
            "bands",
            list(bands.names),
            what,
            "Leave them out, or let falling be true for ces and false elsewhere",
        )
    problem = None if touchpoint is None else _name_problem(touchpoint, TOUCHPOINT_BYTES_MAX)
    if problem:
        refuse(
            "touchpoint", touchpoint, f"the name {problem}", "Write the name of a touchpoint, or leave it out"
        )
    if isinstance(min_n, bool) or not isinstance(min_n, int) or min_n < 1:
        refuse("min_n", min_n, "not a whole number of 1 or more", "Write 1 to show every score")
    if not isinstance(comments, bool):
        refuse("comments", comments, "neither true nor false", "Write true or false")
    return Question(
        id=id,
        metric=kind,
        scale=scale,
        positive=_ratings(f"questions.{id}.positive", positive, scale)
        if kind is Metric.CSAT
        else frozenset(),
        low_effort=(
            _ratings(f"questions.{id}.low_effort", low_effort, scale)
            if kind is Metric.CES and not net_ease
            else frozenset()
        ),
        ces_formula="net-ease" if net_ease else "mean",
        touchpoint=None if touchpoint is None else touchpoint.strip(),
        min_n=min_n,
        comments=comments,
        bands=None if net_ease else bands or DEFAULT_BANDS[kind],
    )


def _ratings(key: str, chosen: Iterable[int] | None, scale: Scale) -> frozenset[int]:
    """The chosen ratings, or the scale's best ones where nothing is chosen."""
    if chosen is None:
        return scale.best_ratings()
    try:
        ratings = list(chosen)
    except TypeError:
        raise DeclarationError(key, chosen, "not a list of ratings", "Write a list, such as [4, 5]") from None
    if not ratings:
        raise DeclarationError(key, ratings, "the list is empty", "Name at least one rating, or leave it out")
    for rating in ratings:
        _whole(key, rating)
        if rating not in scale.ratings:
            raise DeclarationError(
                key, ratings, f"{rating} is not on the scale", f"Choose from {scale.low}..{scale.high}"
            )
    return frozenset(ratings)


def _name_problem(name: object, bytes_max: int) -> str | None:
    """What is wrong with an id or a name, or None."""
    if not isinstance(name, str) or not name.strip():
        return "is empty or not a text"
    if len(name.strip().encode("utf-8", "surrogatepass")) > bytes_max:
        return f"is longer than {bytes_max} bytes"
    if not name.strip().isprintable():
        return "holds control characters"
    return None
