"""The figures straight from the files, with no broker: plain dicts and whole numbers.

It shares the reading of rows, the checks of records and the formulas with the pipeline, and nothing of how the
pipeline counts: every answer is kept as it stands now and tallied once, at the end. So it is what the pipeline is
compared with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agents.events import Answer, Checks, Contact, Refusal, read_interaction, read_response
from app.cells import FileMapping
from app.figures import EVERYBODY, Figures, InteractionSummary, Summary, WindowTally, segment_key
from app.kept import Carrier, KeptSegments, carried, kept_values, published
from app.rows import Event, Reading, Refused
from scoring.catalog import Catalog
from scoring.questions import Question
from scoring.tallies import add
from scoring.windows import Calendar


@dataclass(slots=True)
class StoredAnswer:
    """An answer as it stands; ``withdrawn`` ones count nowhere."""

    question: Question
    touchpoint: str
    fields: tuple[str | None, ...]
    time_ms: int
    rating: int
    updated_at_ms: int | None
    linked: bool
    withdrawn: bool = False

    def says(self, answer: Answer) -> bool:
        """Whether an answer says just this; one without a time of its own says nothing about it."""
        same = (self.rating, self.touchpoint, self.fields) == (
            answer.rating,
            answer.touchpoint,
            answer.fields,
        )
        return same and answer.event_time_ms in (None, self.time_ms)


class Answers:
    """The answers counted so far, by the identity rules of effort.responses.v1.

    Args:
        horizon_ms: the same id within it, inclusive, is the same response.
    """

    def __init__(self, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._newest: dict[tuple[str, str], StoredAnswer] = {}
        self.stored: list[StoredAnswer] = []
        self.outcomes: Counter[str] = Counter()

    def take(self, answer: Answer, timestamp_ms: int) -> str:
        """Counts one record.

        Returns:
            accepted, edits, duplicates or withdrawn; ``outcomes`` counts them too, and ``removed``.
        """
        outcome = self._take(answer, timestamp_ms)
        self.outcomes[outcome] += 1
        return outcome

    def _take(self, answer: Answer, timestamp_ms: int) -> str:  # noqa: PLR0911 - one for each rule
        identity = answer.question.id, answer.response_id
        time_ms = timestamp_ms if answer.event_time_ms is None else answer.event_time_ms
        stored = self._newest.get(identity)
        if stored is None or abs(time_ms - stored.time_ms) > self._horizon_ms:
            if answer.rating is None:
                return "withdrawn"
            return self._accept(identity, answer, time_ms)
        newer_ms, known_ms = answer.updated_at_ms, stored.updated_at_ms
        if newer_ms is not None and known_ms is not None and newer_ms < known_ms:
            return "duplicates"
        if answer.rating is None:
            return self._withdraw(stored, newer_ms)
        if stored.says(answer):
            stored.updated_at_ms = known_ms if newer_ms is None else newer_ms
            return "duplicates"
        if stored.withdrawn:
            return self._accept(identity, answer, time_ms)
        stored.time_ms = stored.time_ms if answer.event_time_ms is None else answer.event_time_ms
        stored.rating, stored.touchpoint, stored.fields = answer.rating, _touchpoint(answer), answer.fields
        stored.updated_at_ms, stored.linked = newer_ms, answer.linked
        return "edits"

    def _withdraw(self, stored: StoredAnswer, updated_at_ms: int | None) -> str:
        if not stored.withdrawn:
            stored.withdrawn = True
            stored.updated_at_ms = stored.updated_at_ms if updated_at_ms is None else updated_at_ms
            self.outcomes["removed"] += 1
        return "withdrawn"

    def _accept(self, identity: tuple[str, str], answer: Answer, time_ms: int) -> str:
        new = StoredAnswer(
            answer.question,
            _touchpoint(answer),
            answer.fields,
            time_ms,
            _rating(answer),
            answer.updated_at_ms,
            answer.linked,
        )
        self._newest[identity] = new
        self.stored.append(new)
        return "accepted"


class Contacts:
    """The interactions counted so far; identity is (touchpoint, interaction_id), within the horizon as for answers."""

    def __init__(self, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._newest: dict[tuple[str, str], int] = {}
        self.stored: list[tuple[Contact, int]] = []
        self.outcomes: Counter[str] = Counter()

    def take(self, contact: Contact, timestamp_ms: int) -> str:
        """Counts one record; returns accepted or duplicates."""
        identity = contact.touchpoint, contact.interaction_id
        time_ms = timestamp_ms if contact.event_time_ms is None else contact.event_time_ms
        known_ms = self._newest.get(identity)
        outcome = "duplicates"
        if known_ms is None or abs(time_ms - known_ms) > self._horizon_ms:
            self._newest[identity] = time_ms
            self.stored.append((contact, time_ms))
            outcome = "accepted"
        self.outcomes[outcome] += 1
        return outcome


def score_files(
    reading: Reading,
    mapping: FileMapping,
    catalog: Catalog,
    on_refused: Callable[[Refused], None] = lambda _: None,
) -> Figures:
    """The figures of everything that was read.

    Args:
        reading: events in the order in which they count.
        mapping: what they were made by.
        catalog: what they are counted by.
        on_refused: told of each row that is refused, those of ``reading`` first.
    """
    checks = Checks.for_files(catalog)
    answers, contacts = Answers(catalog.timing.horizon_ms), Contacts(catalog.timing.horizon_ms)
    refused = {"responses": Counter[str](), "interactions": Counter[str]()}
    for row in reading.refused:
        refused[row.topic][row.reason] += 1
        on_refused(row)
    carriers: list[Carrier] = []
    for event in reading.events:
        read = read_response if event.topic == "responses" else read_interaction
        record = read(event.value, event.timestamp_ms, checks)
        if isinstance(record, Refusal):
            refused[event.topic][record.reason] += 1
            on_refused(refused_event(event, record))
            continue
        if record.touchpoint is not None:
            carriers.append((event.timestamp_ms, record.touchpoint, record.fields))
        if isinstance(record, Answer):
            answers.take(record, event.timestamp_ms)
        else:
            contacts.take(record, event.timestamp_ms)
    figures = tally(answers, contacts, kept_values(carriers, catalog), catalog)
    figures.summary = _summary(reading, mapping, answers.outcomes, refused["responses"])
    if mapping.interactions:
        made, lost = contacts.outcomes, refused["interactions"]
        figures.summary.interactions = InteractionSummary(
            reading.rows * len(mapping.interactions), made["accepted"], made["duplicates"], dict(lost)
        )
    return figures


def refused_event(event: Event, refusal: Refusal) -> Refused:
    """An event that the checks refuse, with the line that it comes from."""
    detail = f"{event.file}, line {event.line}: {refusal.detail}"
    return Refused(event.topic, refusal.reason, detail, event.value, event.file, event.line)


def tally(answers: Answers, contacts: Contacts, kept: KeptSegments, catalog: Catalog) -> Figures:
    """Tallies every answer and interaction that stands, once, in each of its series and windows."""
    figures = Figures()
    calendar = Calendar(catalog.timezone)
    series_of = _Series(catalog, kept)
    for answer in answers.stored:
        if not answer.withdrawn:
            _add_answer(answer, series_of(answer.touchpoint, answer.fields), calendar, catalog, figures)
    in_windows: Counter[tuple[str, str, str, int]] = Counter()
    for contact, time_ms in contacts.stored:
        starts = [(window.name, calendar.bounds(window, time_ms)[0]) for window in catalog.calendar]
        for segment in series_of(contact.touchpoint, contact.fields):
            vector = figures.interactions.setdefault((contact.touchpoint, segment), [0] * len(contact.vector))
            add(vector, contact.vector)
            in_windows.update((contact.touchpoint, segment, *start) for start in starts)
    for (touchpoint, _, segment, name, start_ms), window in figures.windows.items():
        window.interactions = in_windows[touchpoint, segment, name, start_ms]
    figures.capped = series_of.capped
    return figures


def _add_answer(
    answer: StoredAnswer, segments: list[str], calendar: Calendar, catalog: Catalog, figures: Figures
) -> None:
    scale = answer.question.scale
    index, width = scale.index(answer.rating), scale.points + 1
    places = [(window.name, *calendar.bounds(window, answer.time_ms)) for window in catalog.calendar]
    for segment in segments:
        series = answer.touchpoint, answer.question.id, segment
        vectors = [figures.totals.get(series) or figures.totals.setdefault(series, [0] * width)]
        for name, start_ms, end_ms in places:
            key = (*series, name, start_ms)
            found = figures.windows.get(key)
            if found is None:
                found = figures.windows[key] = WindowTally(end_ms, [0] * width)
            vectors.append(found.vector)
        for vector in vectors:
            vector[index] += 1
            vector[-1] += answer.linked


class _Series:
    """The segments, as JSON, of the series that a record feeds; a few combinations make up all records."""

    def __init__(self, catalog: Catalog, kept: KeptSegments) -> None:
        self._catalog = catalog
        self._kept = kept
        self._known: dict[tuple[str, tuple[str | None, ...]], list[str]] = {}
        self.capped: set[tuple[str, str]] = set()

    def __call__(self, touchpoint: str, fields: tuple[str | None, ...]) -> list[str]:
        known = self._known.get((touchpoint, fields))
        if known is None:
            known = self._known[touchpoint, fields] = [EVERYBODY, *self._segments(touchpoint, fields)]
        return known

    def _segments(self, touchpoint: str, fields: tuple[str | None, ...]) -> Iterator[str]:
        for segment, values in carried(fields, self._catalog):
            shown, capped = published(touchpoint, segment, values, self._kept)
            if capped:
                self.capped.add((touchpoint, segment_key(shown)))
            yield segment_key(shown)


def _summary(reading: Reading, mapping: FileMapping, counted: Counter[str], refused: Counter[str]) -> Summary:
    return Summary(
        read=reading.rows * len(mapping.responses),
        accepted=counted["accepted"],
        skipped=reading.skipped,
        edits=counted["edits"],
        duplicates=counted["duplicates"],
        withdrawn=counted["withdrawn"],
        removed=counted["removed"],
        dead_letters=dict(refused),
    )


def _touchpoint(answer: Answer) -> str:
    if answer.touchpoint is None:
        raise AssertionError("an answer with a rating has a touchpoint; agents.events refuses it otherwise")
    return answer.touchpoint


def _rating(answer: Answer) -> int:
    if answer.rating is None:
        raise AssertionError("a withdrawal is never accepted as an answer")
    return answer.rating
