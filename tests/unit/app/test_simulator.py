"""The simulator keeps the contract of the input topics, its own seed, and the figures it promises."""

from __future__ import annotations

import statistics
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import numpy as np
import orjson
import pytest

from agents.records import InteractionRecord, ResponseRecord
from agents.topics import INTERACTIONS, RESPONSES
from app.simulator import DAY_MS, HISTORY_CELL_MS, Event, Incident, Simulator, UnknownTouchpointError
from app.simulator_places import UNDECLARED_TOUCHPOINT, places
from app.simulator_profiles import CES_SHAPE, mean_ease, resampled, tilted
from scoring.catalog import Catalog, Segment, Touchpoint
from scoring.journey import JOURNEY_STAGES
from scoring.questions import Metric, Question, Scale, question

START_MS = 1_763_683_200_000  # 2025-11-21T00:00:00Z
HOUR_MS = 3_600_000


def shop(*questions: Question) -> Catalog:
    """A catalog with a touchpoint in every stage, and questions of every metric and direction."""
    declared = questions or (
        question("checkout-effort", Metric.CES, Scale(1, 7, 7), touchpoint="checkout", comments=True),
        question("search-effort", Metric.CES, Scale(1, 5, 1), touchpoint="discovery desk"),
        question("satisfaction", Metric.CSAT, Scale(1, 5, 5)),
        question("recommend", Metric.NPS, Scale(0, 10, 10)),
    )
    touchpoints = [Touchpoint(f"{stage} desk", stage) for stage in JOURNEY_STAGES]
    touchpoints.append(Touchpoint("checkout", "purchase"))
    return Catalog(
        questions={one.id: one for one in declared},
        touchpoints={one.name: one for one in touchpoints},
        segments=(
            Segment("channel", ("channel",), frozenset({"web", "app", "phone", "store"})),
            Segment("plan", ("plan",)),
            Segment("channel+plan", ("channel", "plan")),
        ),
    )


def run(
    catalog: Catalog,
    hours: float,
    *,
    seed: int = 7,
    rate: float = 2.0,
    incident: Incident | None = None,
    rhythm: bool = True,
) -> list[Event]:
    """All events of a simulated time."""
    simulator = Simulator(catalog, np.random.default_rng(seed), START_MS, rate=rate, rhythm=rhythm)
    if incident:
        simulator.begin(incident)
    batches = simulator.until(START_MS + round(hours * HOUR_MS), cell_ms=60_000)
    return [event for batch in batches for event in batch]


def answers(events: list[Event]) -> list[ResponseRecord]:
    """The first version of every answer."""
    seen: dict[str, ResponseRecord] = {}
    for event in events:
        if event.topic is RESPONSES:
            record = msgspec.json.decode(event.value, type=ResponseRecord)
            seen.setdefault(record.response_id, record)
    return list(seen.values())


def test_one_seed_gives_the_same_bytes_however_time_is_cut() -> None:
    """Two runs of one seed are equal, one in a single call and one in steps; another seed differs."""
    catalog = shop()
    whole = run(catalog, 2)
    simulator = Simulator(catalog, np.random.default_rng(7), START_MS, rate=2.0)
    stepped: list[Event] = []
    for until_ms in range(START_MS, START_MS + 2 * HOUR_MS + 1, 7_000):
        stepped += [e for batch in simulator.until(until_ms, cell_ms=60_000) for e in batch]
    stepped += [e for batch in simulator.until(START_MS + 2 * HOUR_MS, cell_ms=60_000) for e in batch]
    assert stepped == whole
    assert run(catalog, 2, seed=8) != whole


def test_events_come_in_the_order_of_their_time() -> None:
    """Nothing is handed over after something later, and nothing at or beyond the asked time."""
    events = run(shop(), 3)
    assert len(events) > 5_000
    assert all(a.timestamp_ms <= b.timestamp_ms for a, b in pairwise(events))
    assert events[0].timestamp_ms >= START_MS
    assert events[-1].timestamp_ms < START_MS + 3 * HOUR_MS


def test_every_event_is_a_record_of_the_contract() -> None:
    """Types, required fields, outcomes, declared segments; the key is the customer; ids are unique."""
    catalog = shop()
    outcomes, visited = set(), []
    for event in run(catalog, 6):
        if event.topic is INTERACTIONS:
            visit = msgspec.json.decode(event.value, type=InteractionRecord)
            visited.append(visit.interaction_id)
            outcomes.add(visit.outcome)
            assert visit.event_time_ms == event.timestamp_ms
            assert visit.touchpoint in catalog.touchpoints
            assert visit.channel in {"web", "app", "phone", "store"}
            assert visit.duration_s is not None
            assert visit.duration_s >= 0
            segments, customer = visit.segments, visit.customer_id
        else:
            answer = msgspec.json.decode(event.value, type=ResponseRecord)
            scale = catalog.questions[answer.question].scale
            assert answer.rating is None or answer.rating in scale.ratings
            assert answer.touchpoint in catalog.touchpoints
            assert answer.event_time_ms is not None
            assert answer.event_time_ms <= event.timestamp_ms
            assert answer.comment is None or answer.question == "checkout-effort"
            segments, customer = answer.segments, answer.customer_id
        assert event.key == str(customer).encode()
        assert segments is not None
        assert set(segments) == {"channel", "plan"}
    assert outcomes == {"resolved", "unresolved", "abandoned"}
    assert len(visited) == len(set(visited))


def test_answers_follow_their_interaction_by_seconds_to_minutes() -> None:
    """Each answer names an earlier visit to the same touchpoint by the same customer; 20 to 40 % are surveyed."""
    events = run(shop(), 6)
    visits = {}
    for event in events:
        if event.topic is INTERACTIONS:
            visit = orjson.loads(event.value)
            visits[visit["interaction_id"]] = visit
    surveyed = set()
    for answer in answers(events):
        visit = visits[answer.interaction_id]
        surveyed.add(answer.interaction_id)
        assert (visit["customer_id"], visit["touchpoint"]) == (answer.customer_id, answer.touchpoint)
        assert answer.event_time_ms is not None
        assert 4_000 <= answer.event_time_ms - visit["event_time_ms"] <= 930_000
    assert 0.2 <= len(surveyed) / len(visits) <= 0.4


def test_a_few_answers_are_repeated_changed_and_withdrawn() -> None:
    """Copies are equal to the byte; edits and withdrawals carry a later updated_at_ms and the same event time."""
    versions: dict[str, list[bytes]] = {}
    for event in run(shop(), 24):
        if event.topic is RESPONSES:
            versions.setdefault(orjson.loads(event.value)["response_id"], []).append(event.value)
    kinds: Counter[str] = Counter()
    for first, *later in versions.values():
        for value in later:
            old, new = orjson.loads(first), orjson.loads(value)
            if value == first:
                kinds["duplicate"] += 1
                continue
            assert new["updated_at_ms"] > old["updated_at_ms"]
            assert new["event_time_ms"] == old["event_time_ms"]
            assert new["rating"] != old["rating"]
            kinds["withdrawal" if new["rating"] is None else "edit"] += 1
    for kind in ("duplicate", "edit", "withdrawal"):
        assert 0.001 < kinds[kind] / len(versions) < 0.03


def test_base_means_are_near_the_wanted_ones() -> None:
    """Each touchpoint's mean rating is within 5 % of the scale of what its profile asks for, both directions."""
    catalog = shop()
    simulator = Simulator(catalog, np.random.default_rng(0), START_MS)
    ratings: dict[tuple[str, str], list[int]] = {}
    for answer in answers(run(catalog, 24)):
        assert answer.rating is not None
        ratings.setdefault((str(answer.touchpoint), answer.question), []).append(answer.rating)
    asked = {(place.name, one.id) for place in places(catalog) for one in place.questions}
    assert set(ratings) == asked
    for (touchpoint, name), given in ratings.items():
        scale = catalog.questions[name].scale
        wanted = simulator.wanted_mean(touchpoint, name)
        assert abs(statistics.fmean(given) - wanted) < 0.05 * (scale.high - scale.low), (touchpoint, name)


def test_effort_on_seven_points_looks_like_the_measured_surveys() -> None:
    """The base shape has mean 5.45 and deviation 1.54 on 1..7."""
    shares = tilted(list(CES_SHAPE), 4.45 / 6)
    mean = sum(rating * share for rating, share in enumerate(shares, 1))
    variance = sum((rating - mean) ** 2 * share for rating, share in enumerate(shares, 1))
    assert mean == pytest.approx(5.45, abs=1e-6)
    assert variance**0.5 == pytest.approx(1.54, abs=0.03)


@pytest.mark.parametrize("points", range(2, 12))
@pytest.mark.parametrize("ease", [0.03, 0.3, 0.5, 0.8, 0.97])
def test_tilting_reaches_any_mean_on_any_scale(points: int, ease: float) -> None:
    """The shares are a distribution whose mean is the wanted one."""
    shares = tilted(resampled(CES_SHAPE, points), ease)
    assert sum(shares) == pytest.approx(1)
    assert all(share > 0 for share in shares)
    assert mean_ease(shares) == pytest.approx(ease, abs=1e-6)


@pytest.mark.parametrize("scale", [Scale(1, 7, 7), Scale(1, 5, 1)])
def test_an_incident_raises_effort_at_its_touchpoint_alone(scale: Scale) -> None:
    """Inside it the mean moves towards the scale's worst end and visits get worse; elsewhere nothing changes."""
    catalog = shop(question("effort", Metric.CES, scale))
    begin, end = START_MS + 4 * HOUR_MS, START_MS + 8 * HOUR_MS
    events = run(catalog, 10, incident=Incident("checkout", begin, end, 0.4))
    visits = {
        visit["interaction_id"]: visit
        for visit in (orjson.loads(event.value) for event in events if event.topic is INTERACTIONS)
    }

    def ease(*, here: bool, during: bool) -> float:
        given = [
            ((answer.rating or 0) - scale.worst) / (scale.best - scale.worst)
            for answer in answers(events)
            if (answer.touchpoint == "checkout") is here
            and (begin <= visits[answer.interaction_id]["event_time_ms"] < end) is during
        ]
        assert len(given) > 100
        return statistics.fmean(given)

    assert ease(here=True, during=True) == pytest.approx(ease(here=True, during=False) - 0.4, abs=0.07)
    assert ease(here=False, during=True) == pytest.approx(ease(here=False, during=False), abs=0.04)
    checkout = [visit for visit in visits.values() if visit["touchpoint"] == "checkout"]
    hard = [visit for visit in checkout if begin <= visit["event_time_ms"] < end]
    calm = [visit for visit in checkout if not begin <= visit["event_time_ms"] < end]
    for name in ("duration_s", "errors", "retries"):
        assert statistics.fmean(v[name] for v in hard) > 1.5 * statistics.fmean(v[name] for v in calm)
    assert sum(v["outcome"] == "abandoned" for v in hard) / len(hard) > 0.2


def test_an_incident_somewhere_unknown_is_refused() -> None:
    """The message names the touchpoint and the ones there are."""
    simulator = Simulator(shop(), np.random.default_rng(1), START_MS)
    with pytest.raises(UnknownTouchpointError, match=r"'till'.*checkout"):
        simulator.begin(Incident("till", START_MS, START_MS + 1, 0.5))


def test_traffic_follows_the_hour_of_the_day() -> None:
    """The busiest hours have several times the traffic of the quietest, and a flat run does not."""

    def per_hour(*, rhythm: bool) -> Counter[int]:
        events = run(shop(), 24, rate=1.0, rhythm=rhythm)
        return Counter(datetime.fromtimestamp(e.timestamp_ms / 1000, UTC).hour for e in events)

    lively, flat = per_hour(rhythm=True), per_hour(rhythm=False)
    assert lively[15] > 4 * lively[3]
    assert max(flat.values()) < 1.3 * min(flat.values())


def test_the_rate_is_the_number_of_events_a_second() -> None:
    """Over whole days the mean rate of records is the asked one, repeats included."""
    assert len(run(shop(), 24, rate=1.5)) == pytest.approx(1.5 * 86_400, rel=0.03)


def test_four_weeks_of_history_are_some_ten_thousand_answers() -> None:
    """The modest rate of the history gives 40,000 to 50,000 answers in 28 days."""
    simulator = Simulator(shop(), np.random.default_rng(3), START_MS)
    simulator.rate = simulator.history_rate
    count = sum(
        event.topic is RESPONSES
        for batch in simulator.until(START_MS + 28 * DAY_MS, cell_ms=HISTORY_CELL_MS)
        for event in batch
    )
    assert 40_000 < count < 50_000


def test_any_catalog_will_do() -> None:
    """One question and nothing else, strict touchpoints, and touchpoints that only a question names."""
    alone = Catalog(questions={"q": question("q", Metric.CSAT, Scale(1, 2, 2))})
    assert {a.touchpoint for a in answers(run(alone, 1))} == {UNDECLARED_TOUCHPOINT}
    assert all(a.segments == {} for a in answers(run(alone, 1)))
    elsewhere = question("q", Metric.CES, Scale(1, 3, 3), touchpoint="kiosk", ces_formula="net-ease")
    named = Catalog(questions={"q": elsewhere}, touchpoints={"till": Touchpoint("till")})
    assert [place.name for place in places(named)] == ["till", "kiosk"]
    strict = Catalog(questions={"q": elsewhere}, touchpoints={"till": Touchpoint("till")}, strict=True)
    assert [(place.name, place.questions) for place in places(strict)] == [("till", ())]
    assert answers(run(strict, 1)) == []
    assert len(run(strict, 1)) > 1_000
