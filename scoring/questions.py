"""Questions: what an answer to each of them means. Nothing is guessed from the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal
from unicodedata import category

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


@dataclass(frozen=True, slots=True)
class Scale:
    """Whole-number ratings low..high, and the end of them that is best for the customer.

    Raises:
        DeclarationError: not whole numbers, not 2 to 11 points, or ``best`` is neither end; its key is ``scale``
            or ``scale.<field>``, for the caller to put the question before it.

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
            _check_whole(f"scale.{name}", getattr(self, name))
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
            OffScaleError: the scale does not have it. A rating below ``low`` would count from the end.
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

    def is_hard(self, rating: int) -> bool:
        """Whether a rating lies on the worse side of the middle of the scale.

        Example:
            >>> [rating for rating in range(1, 8) if Scale(1, 7, best=7).is_hard(rating)]
            [1, 2, 3]
        """
        return 2 * abs(rating - self.best) > self.points - 1

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
        weights: per rating in tally order, so that sum(weights x counts) / (divisor x n) is what bands judge:
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


def question(
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
        >>> question("calls", "nps", Scale(1, 5, 5))
        Traceback (most recent call last):
        ...
        scoring.errors.DeclarationError: questions.calls.scale = '1..5, best 5': NPS is asked on 0..10 with \
10 best and on nothing else. Write scale = { low = 0, high = 10, best = 10 }, or metric = "csat"
    """
    key = f"questions.{id}"
    _check_name(key, id, ID_BYTES_MAX, "Choose a short id, such as checkout-effort")
    kind = _metric(key, metric, scale)
    formula = _formula(key, ces_formula, kind, scale)
    asked = "net ease" if formula == "net-ease" else kind.value
    if positive is not None and asked != "csat":
        raise DeclarationError(f"{key}.positive", positive, f"it has no meaning for {asked}", "Leave it out")
    if low_effort is not None and asked != "ces":
        raise DeclarationError(
            f"{key}.low_effort", low_effort, f"it has no meaning for {asked}", "Leave it out"
        )
    if touchpoint is not None:
        _check_name(
            f"{key}.touchpoint", touchpoint, TOUCHPOINT_BYTES_MAX, "Name a touchpoint, or leave it out"
        )
        touchpoint = touchpoint.strip()
    if isinstance(min_n, bool) or not isinstance(min_n, int) or min_n < 1:
        raise DeclarationError(
            f"{key}.min_n", min_n, "not a whole number of 1 or more", "Write 1 to show every score"
        )
    if not isinstance(comments, bool):
        raise DeclarationError(f"{key}.comments", comments, "neither true nor false", "Write true or false")
    return Question(
        id=id,
        metric=kind,
        scale=scale,
        positive=_ratings(f"{key}.positive", positive, scale) if asked == "csat" else frozenset(),
        low_effort=_ratings(f"{key}.low_effort", low_effort, scale) if asked == "ces" else frozenset(),
        ces_formula=formula,
        touchpoint=touchpoint,
        min_n=min_n,
        comments=comments,
        bands=_bands(f"{key}.bands", bands, asked),
    )


def _metric(key: str, metric: str, scale: Scale) -> Metric:
    if not isinstance(metric, str) or metric not in DEFAULT_BANDS:
        raise DeclarationError(f"{key}.metric", metric, "no such metric", 'Write "ces", "csat" or "nps"')
    if metric == "nps" and scale != Scale(0, 10, 10):
        raise DeclarationError(
            f"{key}.scale",
            f"{scale.low}..{scale.high}, best {scale.best}",
            "NPS is asked on 0..10 with 10 best and on nothing else",
            'Write scale = { low = 0, high = 10, best = 10 }, or metric = "csat"',
        )
    return Metric(metric)


def _formula(key: str, ces_formula: str, kind: Metric, scale: Scale) -> CesFormula:
    key = f"{key}.ces_formula"
    if ces_formula == "mean":
        return "mean"
    if ces_formula != "net-ease":
        raise DeclarationError(key, ces_formula, "no such formula", 'Write "mean" or "net-ease"')
    if kind is not Metric.CES:
        raise DeclarationError(key, ces_formula, f"it has no meaning for {kind}", "Leave it out")
    if scale.points != NET_EASE_POINTS:
        raise DeclarationError(
            key,
            ces_formula,
            f"net ease needs three points (easy, neutral, hard), the scale has {scale.points}",
            'Declare a scale of three points, or write "mean"',
        )
    return "net-ease"


def _bands(key: str, chosen: Bands | None, asked: str) -> Bands | None:
    """The chosen bands, or those of the metric where none are chosen; net ease has none."""
    if chosen is None:
        return DEFAULT_BANDS.get(asked)
    if asked not in DEFAULT_BANDS:
        raise DeclarationError(key, list(chosen.names), f"{asked} has no bands", "Leave them out")
    if chosen.falling != DEFAULT_BANDS[asked].falling:
        raise DeclarationError(
            key,
            list(chosen.names),
            "the edges run the wrong way for this metric",
            "Name the worst band first, and let falling be true for ces (less effort is better), else false",
        )
    return chosen


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
        _check_whole(key, rating)
        if rating not in scale.ratings:
            remedy = f"Choose from {scale.low}..{scale.high}"
            raise DeclarationError(key, ratings, f"{rating} is not on the scale", remedy)
    return frozenset(ratings)


def _check_whole(key: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DeclarationError(key, value, "not a whole number", "Write a whole number, such as 5")


def _check_name(key: str, name: object, bytes_max: int, remedy: str) -> None:
    """Refuse what could not stand in a record: the limits that records of the input topics have too."""
    if not isinstance(name, str) or not name.strip():
        raise DeclarationError(key, name, "empty or not a text", remedy)
    try:
        size = len(name.strip().encode())
    except UnicodeEncodeError:
        raise DeclarationError(key, name, "not valid Unicode", remedy) from None
    if size > bytes_max:
        raise DeclarationError(key, name, f"longer than {bytes_max} bytes", remedy)
    if any(category(letter) == "Cc" for letter in name.strip()):
        raise DeclarationError(key, name, "holds control characters", remedy)
