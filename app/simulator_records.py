"""The records of simulated visits and answers, drawn as arrays and written as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson

from agents.topics import INTERACTIONS, RESPONSES, TopicSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from app.simulator_places import Place
    from scoring.questions import Question

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

Record = tuple[int, TopicSpec, bytes, bytes]

CHANNELS = ("web", "app", "phone", "store")
# How much easier a channel feels, in deviations of the latent ease; about 0 over the usual mix.
CHANNEL_EASE = {"web": 0.02, "app": 0.10, "phone": -0.18, "store": -0.02}
CLICKED_CHANNELS = frozenset({"web", "app"})
USUAL_CHANNEL_SHARE = 0.8
OUTCOMES = ("abandoned", "unresolved", "resolved")
DUPLICATE, EDIT, WITHDRAWAL = 0, 1, 2
COMMENTED_SHARE = 0.15
COMMENTS_HARD = (
    "had to try it several times",
    "nobody could help me",
    "the page kept failing",
    "far too many steps",
)
COMMENTS_EASY = ("quick and simple", "found it at once", "no trouble at all", "friendly and fast")


@dataclass(frozen=True, slots=True)
class Visits:
    """Interactions of one stretch of time as columns of equal length.

    Attributes:
        place: index of the touchpoint.
        times: event time, ms.
        state: 0 calm, 1 + index of the incident.
        drop: the incident's drop, 0 when calm.
        customer: index of the customer.
        ease: latent ease, standard normal; incidents are not in it.
        fields: index of the value, for each segment field.
        ids: interaction ids.
    """

    place: Ints
    times: Ints
    state: Ints
    drop: Floats
    customer: Ints
    ease: Floats
    fields: Mapping[str, Ints]
    ids: Sequence[str]


def falling_shares(values: int) -> Floats:
    """Shares of a field's values, each a bit over half of the one before."""
    weights = 0.6 ** np.arange(values)
    shares: Floats = weights / weights.sum()
    return shares


class Writer:
    """Draws what happens in a visit and writes the events of it.

    Args:
        touchpoints: the shop.
        values: of each declared segment field.
        rng: the only source of chance.
        customers: how many there are.
        run: told apart runs; part of every interaction and response id.
    """

    def __init__(
        self,
        touchpoints: Sequence[Place],
        values: Mapping[str, tuple[str, ...]],
        rng: np.random.Generator,
        customers: int,
        run: int,
    ) -> None:
        self._places = touchpoints
        self._declared = tuple(values)
        self._values = {"channel": CHANNELS, **values}
        self._rng = rng
        self._run = f"{run:x}"
        self._visited = 0
        self._answered = 0
        self._customers = [f"c-{number:05d}" for number in range(customers)]
        self._keys = [customer.encode() for customer in self._customers]
        self._usual = {
            name: rng.choice(len(known), customers, p=falling_shares(len(known)))
            for name, known in self._values.items()
        }
        self._channel_ease = np.array([CHANNEL_EASE.get(name, 0.0) for name in self._values["channel"]])
        self._clicked = np.array([name in CLICKED_CHANNELS for name in self._values["channel"]])
        self._duration_s = np.array([place.profile.duration_s for place in touchpoints])
        self._wait_s = np.array([place.profile.wait_s for place in touchpoints])

    def visits(self, place: Ints, times: Ints, state: Ints, drop: Floats) -> Visits:
        """Who comes, over which channel, and how easy they will find it."""
        rng, count = self._rng, len(place)
        customer = (len(self._customers) * rng.random(count) ** 1.5).astype(np.int64)
        fields = {name: usual[customer] for name, usual in self._usual.items()}
        known = len(self._values["channel"])
        other = rng.integers(0, known, count)
        fields["channel"] = np.where(rng.random(count) < USUAL_CHANNEL_SHARE, fields["channel"], other)
        ease = rng.standard_normal(count) + self._channel_ease[fields["channel"]]
        first, self._visited = self._visited, self._visited + count
        ids = [f"i-{self._run}-{number}" for number in range(first, first + count)]
        return Visits(place, times, state, drop, customer, ease, fields, ids)

    def interactions(self, visits: Visits) -> list[Record]:
        """One interaction event for each visit; an incident raises effort in every field."""
        rng, drop, count = self._rng, visits.drop, len(visits.place)
        trouble = np.exp(-0.5 * visits.ease)
        duration = self._duration_s[visits.place] * np.exp(0.5 * rng.standard_normal(count)) * (1 + 3 * drop)
        wait = self._wait_s[visits.place] * np.exp(0.7 * rng.standard_normal(count)) * (1 + 4 * drop)
        supported = self._wait_s[visits.place] > 0
        transfers = rng.poisson(np.where(supported, 0.15, 0.0) * trouble)
        retries = rng.poisson(0.08 * trouble + 2.5 * drop)
        errors = rng.poisson(0.05 * trouble + 3.0 * drop)
        rage_clicks = rng.poisson(
            np.where(self._clicked[visits.fields["channel"]], 0.04, 0.0) * (1 + 20 * drop)
        )
        contacts = 1 + rng.poisson(0.06 * trouble + 0.5 * drop)
        bounds = np.stack([0.04 + 0.6 * drop, 0.10 + 0.9 * drop], axis=1)
        outcome = (rng.random(count)[:, None] >= bounds).sum(axis=1)
        names = [place.name for place in self._places]
        columns = {
            "interaction_id": visits.ids,
            "customer_id": [self._customers[number] for number in visits.customer.tolist()],
            "touchpoint": [names[number] for number in visits.place.tolist()],
            "event_time_ms": visits.times.tolist(),
            "channel": self._column(visits, "channel"),
            "outcome": [OUTCOMES[number] for number in outcome.tolist()],
            "duration_s": np.round(duration, 1).tolist(),
            "wait_s": np.round(wait, 1).tolist(),
            "contacts": contacts.tolist(),
            "transfers": transfers.tolist(),
            "retries": retries.tolist(),
            "errors": errors.tolist(),
            "rage_clicks": rage_clicks.tolist(),
            "segments": self._segments(visits),
        }
        out: list[Record] = []
        for waits, who, *row in zip(
            supported.tolist(), visits.customer.tolist(), *columns.values(), strict=True
        ):
            event = dict(zip(columns, row, strict=True))
            if not waits:
                del event["wait_s"]
            out.append((event["event_time_ms"], INTERACTIONS, self._keys[who], orjson.dumps(event)))
        return out

    def responses(
        self,
        visits: Visits,
        visit: Ints,
        questions: Sequence[Question],
        *,
        ratings: Ints,
        times: Ints,
        fate: Ints,
    ) -> list[Record]:
        """The answers to surveys, and what becomes of some of them.

        Args:
            visits: the visits that surveys were sent after.
            visit: index of the visit, for each answer.
            questions: what is answered, for each answer.
            ratings: what the answer says.
            times: when it is given, event time, ms.
            fate: DUPLICATE, EDIT or WITHDRAWAL follow the answer; anything else leaves it alone.
        """
        rng, count = self._rng, len(visit)
        where = visits.place[visit].tolist()
        customers = visits.customer[visit].tolist()
        segments = self._segments(visits)
        later = np.exp(rng.uniform(np.log(1_000), np.log(900_000), count)).astype(np.int64).tolist()
        remark = rng.random(count).tolist()
        names = [place.name for place in self._places]
        out: list[Record] = []
        rows = zip(visit.tolist(), questions, ratings.tolist(), times.tolist(), fate.tolist(), strict=True)
        for number, (came, question, rating, time_ms, becomes) in enumerate(rows):
            event: dict[str, object] = {
                "response_id": f"r-{self._run}-{self._answered + number}",
                "customer_id": self._customers[customers[number]],
                "interaction_id": visits.ids[came],
                "question": question.id,
                "rating": rating,
                "event_time_ms": time_ms,
                "updated_at_ms": time_ms,
                "touchpoint": names[where[number]],
                "segments": segments[came],
            }
            if question.comments and remark[number] < COMMENTED_SHARE:
                event["comment"] = remark_on(question, rating, remark[number] / COMMENTED_SHARE)
            key, value = self._keys[customers[number]], orjson.dumps(event)
            out.append((time_ms, RESPONSES, key, value))
            again_ms = time_ms + later[number]
            if becomes == DUPLICATE:
                out.append((again_ms, RESPONSES, key, value))
            elif becomes in (EDIT, WITHDRAWAL):
                event["updated_at_ms"] = again_ms
                event["rating"] = None if becomes == WITHDRAWAL else nearby(question, rating)
                out.append((again_ms, RESPONSES, key, orjson.dumps(event)))
        self._answered += count
        return out

    def _column(self, visits: Visits, name: str) -> list[str]:
        known = self._values[name]
        return [known[number] for number in visits.fields[name].tolist()]

    def _segments(self, visits: Visits) -> list[dict[str, str]]:
        columns = [self._column(visits, name) for name in self._declared]
        if not columns:
            return [{} for _ in visits.ids]
        return [dict(zip(self._declared, row, strict=True)) for row in zip(*columns, strict=True)]


def nearby(question: Question, rating: int) -> int:
    """What a customer who thinks again answers: one step kinder, or one step down from the top."""
    scale = question.scale
    step = 1 if scale.best > scale.worst else -1
    return rating - step if rating == scale.best else rating + step


def remark_on(question: Question, rating: int, chance: float) -> str:
    """A comment that fits a rating; ``chance`` in [0, 1) picks it."""
    scale = question.scale
    eased = (rating - scale.worst) / (scale.best - scale.worst)
    remarks = COMMENTS_EASY if eased > 0.5 else COMMENTS_HARD  # noqa: PLR2004 - the middle of the scale
    return remarks[int(chance * len(remarks))]
