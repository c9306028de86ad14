"""Simulated customers of an online shop: interactions and responses for any catalog, in event-time order.

Pure and seeded: the same generator, catalog, start and incidents give the same bytes, however the time is cut
into calls. Times are event time throughout; who runs the simulator decides when an event is sent.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from app.simulator_places import places, segment_values
from app.simulator_profiles import ease_of, thresholds
from app.simulator_records import Visits, Writer
from scoring.errors import EffortStreamError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from agents.topics import TopicSpec
    from app.simulator_records import Record
    from scoring.catalog import Catalog
    from scoring.questions import Question

DAY_MS = 86_400_000
HISTORY_CELL_MS = 3_600_000
LIVE_CELL_MS = 1_000
# Twenty-eight days of this many responses a day are about 45,000: enough for baselines, seconds to take in.
HISTORY_RESPONSES_PER_DAY = 1_600
# A catalog that asks little must not make the history long.
RESPONSES_EACH_MIN = 0.25
CUSTOMERS = 20_000
RHYTHM_DEPTH = 0.8
BUSIEST_HOUR = 15
# A survey of several questions is not always filled in to the end.
ANSWERS_EACH = 0.92
SHARED_EASE = 0.5
DUPLICATE_SHARE, EDIT_SHARE, WITHDRAWAL_SHARE = 0.010, 0.015, 0.003


class Event(NamedTuple):
    """One record for an input topic; ordered by when it is sent, then by number.

    Attributes:
        timestamp_ms: event time at which it is sent (an edit's is later than the answer's own time).
        number: position in the stream, which breaks ties.
        topic: input topic.
        key: the customer's id.
        value: UTF-8 JSON.
    """

    timestamp_ms: int
    number: int
    topic: TopicSpec
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Incident:
    """A time in which one touchpoint is harder.

    Attributes:
        touchpoint: where.
        start_ms, end_ms: when, [start, end).
        drop: how far mean ratings fall, as a share of their scale, 0 to 1; durations, errors, retries and
            abandonment grow with it.
    """

    touchpoint: str
    start_ms: int
    end_ms: int
    drop: float


class UnknownTouchpointError(EffortStreamError, ValueError):
    """An incident names a touchpoint that the simulated shop does not have."""


class Simulator:
    """Customers who come, visit touchpoints, and answer surveys.

    Args:
        catalog: what is declared; any catalog will do.
        rng: the only source of chance.
        start_ms: event time of the first cell; ids carry it, so that two runs never share a response id.
        rate: events per second of event time, averaged over a day, >= 0; may be set again at any time.
        rhythm: whether traffic follows the hour of the day (plus and minus 80 %).
    """

    def __init__(
        self,
        catalog: Catalog,
        rng: np.random.Generator,
        start_ms: int,
        *,
        rate: float = 1.0,
        rhythm: bool = True,
    ) -> None:
        self.catalog = catalog
        self.places = places(catalog)
        self.rate = rate
        self.rhythm = rhythm
        self.incidents: list[Incident] = []
        self._rng = rng
        self._generated_ms = start_ms
        self._waiting: list[Event] = []
        self._number = 0
        self._zone = ZoneInfo(catalog.timezone)
        values = segment_values(catalog)
        self._writer = Writer(self.places, values, rng, CUSTOMERS, start_ms)
        self._items: list[tuple[int, Question]] = [
            (index, question) for index, place in enumerate(self.places) for question in place.questions
        ]
        traffic = np.array([place.profile.traffic for place in self.places])
        self._traffic = traffic / traffic.sum()
        self._answered = np.array([place.profile.answered for place in self.places])
        width = max((len(place.questions) for place in self.places), default=0)
        self._asked = np.full((len(self.places), width), -1)
        for number, (index, _) in enumerate(self._items):
            self._asked[index, np.argmax(self._asked[index] < 0)] = number
        self._worst = np.array([question.scale.worst for _, question in self._items], dtype=np.int64)
        self._step = np.array(
            [1 if question.scale.best == question.scale.high else -1 for _, question in self._items],
            dtype=np.int64,
        )
        self._cuts = self._cut_table()

    @property
    def responses_per_interaction(self) -> float:
        """Answers that an interaction brings on average, repeats and edits left out."""
        asked = np.array([len(place.questions) for place in self.places])
        return float((self._traffic * self._answered * asked).sum() * ANSWERS_EACH)

    @property
    def events_per_interaction(self) -> float:
        """Records that an interaction brings on average, its own included."""
        repeats = DUPLICATE_SHARE + EDIT_SHARE + WITHDRAWAL_SHARE
        return 1 + self.responses_per_interaction * (1 + repeats)

    @property
    def history_rate(self) -> float:
        """The rate, in events per second, at which a day has about HISTORY_RESPONSES_PER_DAY answers."""
        interactions = HISTORY_RESPONSES_PER_DAY / max(self.responses_per_interaction, RESPONSES_EACH_MIN)
        return interactions * self.events_per_interaction / 86_400

    def wanted_mean(self, touchpoint: str, question: str) -> float:
        """The mean rating that a question tends to at a touchpoint in calm times."""
        asked = self.catalog.questions[question]
        place = next(place for place in self.places if place.name == touchpoint)
        ease = ease_of(asked, place.profile)
        return asked.scale.worst + ease * (asked.scale.best - asked.scale.worst)

    def begin(self, incident: Incident) -> None:
        """Adds an incident; it reaches the visits that are generated from now on.

        Raises:
            UnknownTouchpointError: the shop has no such touchpoint.
        """
        names = [place.name for place in self.places]
        if incident.touchpoint not in names:
            raise UnknownTouchpointError(
                f"incident touchpoint = {incident.touchpoint!r}: the shop has no such touchpoint. "
                f"Take one of: {', '.join(names)}"
            )
        self.incidents.append(incident)
        self._cuts = self._cut_table()

    def until(self, until_ms: int, *, cell_ms: int = LIVE_CELL_MS) -> Iterator[list[Event]]:
        """Every event not yet handed over whose time is before ``until_ms``, in order, in small batches.

        Args:
            until_ms: event time, exclusive.
            cell_ms: how much time is generated in one go; large for a history, small when running live.
        """
        while True:
            cut = bisect_left(self._waiting, (min(until_ms, self._generated_ms),))
            if cut:
                due, self._waiting = self._waiting[:cut], self._waiting[cut:]
                yield due
            if self._generated_ms >= until_ms:
                return
            self._generate(cell_ms)

    def _cut_table(self) -> NDArray[np.float64]:
        """Cuts of the latent ease, [0 calm or 1 + incident, item, cut]; unused cuts are above everybody."""
        table = np.full((1 + len(self.incidents), max(len(self._items), 1), 10), math.inf)
        for state, incident in enumerate([None, *self.incidents]):
            for item, (index, question) in enumerate(self._items):
                drop = incident.drop if incident else 0.0
                cuts = thresholds(question, self.places[index].profile, drop)
                table[state, item, : len(cuts)] = cuts
        return table

    def _busyness(self, time_ms: int) -> float:
        """Traffic at this time of day against the day's average, 0.2 to 1.8."""
        if not self.rhythm:
            return 1.0
        local = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(self._zone)
        hour = local.hour + local.minute / 60
        return 1 + RHYTHM_DEPTH * math.cos(2 * math.pi * (hour - BUSIEST_HOUR) / 24)

    def _generate(self, cell_ms: int) -> None:
        start_ms, self._generated_ms = self._generated_ms, self._generated_ms + cell_ms
        expected = self.rate * cell_ms / 1000 / self.events_per_interaction
        expected *= self._busyness(start_ms + cell_ms // 2)
        counts = self._rng.poisson(expected * self._traffic)
        if not counts.any():
            return
        visits = self._visit(start_ms, cell_ms, counts)
        records = self._writer.interactions(visits)
        records += self._answer(visits)
        first, self._number = self._number, self._number + len(records)
        self._waiting += [Event(record[0], n, *record[1:]) for n, record in enumerate(records, first)]
        self._waiting.sort()

    def _visit(self, start_ms: int, cell_ms: int, counts: NDArray[np.int64]) -> Visits:
        rng = self._rng
        place = np.repeat(np.arange(len(counts)), counts)
        times = start_ms + rng.integers(0, cell_ms, len(place))
        state = np.zeros(len(place), dtype=np.int64)
        for number, incident in enumerate(self.incidents, 1):
            there = np.array([where.name == incident.touchpoint for where in self.places])
            state[there[place] & (times >= incident.start_ms) & (times < incident.end_ms)] = number
        drops = np.array([0.0, *(incident.drop for incident in self.incidents)])
        return self._writer.visits(place, times, state, drops[state])

    def _answer(self, visits: Visits) -> list[Record]:
        rng = self._rng
        surveyed = np.flatnonzero(rng.random(len(visits.place)) < self._answered[visits.place])
        asked = self._asked[visits.place[surveyed]]
        answers = (asked >= 0) & (rng.random(asked.shape) < ANSWERS_EACH)
        row, column = np.nonzero(answers)
        if not len(row):
            return []
        visit, item = surveyed[row], asked[row, column]
        delay_s = np.clip(45 * np.exp(0.9 * rng.standard_normal(len(surveyed))), 4, 900)[row] + 3 * column
        ease = math.sqrt(SHARED_EASE) * visits.ease[visit]
        ease += math.sqrt(1 - SHARED_EASE) * rng.standard_normal(len(visit))
        climbed = (ease[:, None] > self._cuts[visits.state[visit], item]).sum(axis=1)
        ratings = self._worst[item] + self._step[item] * climbed
        questions = [self._items[number][1] for number in item.tolist()]
        times = visits.times[visit] + (delay_s * 1000).astype(np.int64)
        fate = rng.random(len(visit))
        kind = np.searchsorted(np.cumsum([DUPLICATE_SHARE, EDIT_SHARE, WITHDRAWAL_SHARE]), fate, side="right")
        return self._writer.responses(visits, visit, questions, ratings=ratings, times=times, fate=kind)
