"""The intake of responses: decode, check, drop copies, turn edits into remove and add, tally into panes.

The common case, a batch of plain new answers, runs through numpy as a whole. Whatever is not plain - withdrawals,
odd number formats, comments, refusals - is taken out of the batch and decided one by one, in its place in the
order, with the same rules. A test feeds both ways the same stream and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final, Literal

import msgspec
import numpy as np
import orjson
import xxhash
from numpy.typing import NDArray

from agents.events import (
    MAX_ID_BYTES,
    MAX_RECORD_BYTES,
    OTHER,
    YEAR_2100_MS,
    Answer,
    Refusal,
    clean_name,
    closed_values,
    event_of,
    read_response,
    segment_fields,
    segments_type,
)
from agents.hard_answers import EXCERPT_LETTERS, HardAnswer, effort_of
from agents.ledger import (
    HAS_UPDATED,
    LINKED,
    PROFILE_BITS,
    RATING_BITS,
    UPDATED_SHIFT,
    WITHDRAWN,
    content_updated_ms,
    pack_content,
    pack_place,
    place_profile,
    place_time_ms,
)
from agents.partials import RESPONSES_KIND
from agents.ports import Out, Record
from agents.profiles import Profile
from agents.source import Intake, SourceStage, touchpoint_partition
from scoring.tallies import remove

_CELL: Final = 32  # rating index (0..10) x 2 + linked: a power of two above 22
_RAW_CACHE: Final = 65_536
_UNFIT: Final = -1
_HARD_A_BATCH: Final = 64  # hard answers of a batch that are looked at
_SPARSE: Final = 4  # places a record
_id_hash = xxhash.xxh3_64_intdigest
_get_value = attrgetter("value")
_get_timestamp = attrgetter("timestamp")


class _Fields(dict[Any, int]):
    """Raw (question, touchpoint, segment values ...) to profile number; ``_UNFIT`` where there is none (yet)."""

    def __init__(self, stage: ResponseStage) -> None:
        super().__init__()
        self._stage = stage
        self._unfit: list[tuple[str | None, ...]] = []

    def __missing__(self, raw: tuple[str | None, ...]) -> int:
        if len(self) >= _RAW_CACHE:
            self.clear()
        number = self[raw] = self._stage.profile_of_raw(raw, enter=False)
        if number == _UNFIT:
            self._unfit.append(raw)
        return number

    def forget_unfit(self) -> None:
        """What has no number is remembered within a batch only: the next record may enter it."""
        for raw in self._unfit:
            self.pop(raw, None)
        self._unfit.clear()


def _fast_type(
    fields: tuple[str, ...], questions: tuple[str, ...], *, comments: bool
) -> type[msgspec.Struct]:
    optional_text = (str | None, None)
    columns: list[Any] = [
        ("response_id", str),
        # One of those that are declared, not any text: no string is made for each record. Others are odd.
        ("question", Literal[questions] if questions else str),
        ("rating", int),
        ("customer_id", *optional_text),
        ("interaction_id", *optional_text),
        ("event_time_ms", int | None, None),
        ("updated_at_ms", int | None, None),
        ("touchpoint", *optional_text),
    ]
    columns.append(("segments", segments_type(fields, str | None) | None, None))
    if comments:
        columns.append(("comment", *optional_text))
    return msgspec.defstruct("FastResponse", columns, gc=False)


class ResponseStage(SourceStage):
    """The state of one partition of the responses topic."""

    name = "responses"
    kind = RESPONSES_KIND

    def __init__(self, topic_name: str, partition: int, intake: Intake) -> None:
        super().__init__(topic_name, partition, intake)
        catalog = intake.catalog
        self._field_names = segment_fields(catalog)
        self._closed = closed_values(catalog)
        self._comments_wanted = any(question.comments for question in catalog.questions.values())
        fast = _fast_type(self._field_names, tuple(catalog.questions), comments=self._comments_wanted)
        self._decode: Callable[[Any], Any] = msgspec.json.Decoder(fast).decode
        self._raw = _Fields(self)
        self._seeds = {name: _id_hash(name.encode(), seed=self._key_seed) for name in catalog.questions}
        self._scales: NDArray[np.int64] = np.zeros((0, 2), np.int64)
        self._hard_ranks: NDArray[np.int64] = np.zeros(0, np.int64)

    # -- a batch -----------------------------------------------------------------------------------------------

    def _take_all(self, records: Sequence[Record]) -> None:
        values = list(map(_get_value, records))
        rows, odd = self._decode_all(values)
        unkeyed = [record.key for record in records].count(None)
        if unkeyed:
            self._count("unkeyed", unkeyed)
        self._in_order(records, rows, odd, self._take)

    def _decode_all(self, values: list[bytes | None]) -> tuple[list[Any], list[int]]:
        """Every value decoded, and the indexes of those that the careful path must look at."""
        odd: set[int] = set()
        try:
            longest = max(map(len, values))  # type: ignore[arg-type]
            rows: list[Any] = list(map(self._decode, values))
        except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
            rows, longest = [], MAX_RECORD_BYTES
            for at, value in enumerate(values):
                try:
                    rows.append(self._decode(value))
                except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
                    rows.append(None)
                    odd.add(at)
        if longest > MAX_ID_BYTES:  # no id can be longer than its record, so short records need no look
            odd.update(
                at for at, (row, value) in enumerate(zip(rows, values, strict=True)) if _oversized(row, value)
            )
        if self._comments_wanted:
            odd.update(at for at, row in enumerate(rows) if row is not None and row.comment is not None)
        return rows, sorted(odd)

    def _in_order(self, records: Sequence[Record], rows: list[Any], odd: Sequence[int], take: Any) -> None:
        """Plain runs to ``take``, each odd record to the careful path, in the order of the log."""
        at = 0
        for index in odd:
            if at < index:
                take(records[at:index], rows[at:index])
            self._consider(records[index])
            at = index + 1
        if at == 0:
            take(records, rows)
        elif at < len(records):
            take(records[at:], rows[at:])

    def _take(self, records: Sequence[Record], rows: list[Any]) -> None:
        ids = [row.response_id for row in rows]
        questions = [row.question for row in rows]
        times = [row.event_time_ms for row in rows]
        untimed = None in times
        if untimed:
            times = [
                record.timestamp if time is None else time
                for record, time in zip(records, times, strict=True)
            ]
        numbers = list(map(self._raw.__getitem__, self._raw_keys(rows, questions)))
        if _UNFIT in numbers:
            self._raw.forget_unfit()
            self._enter_profiles(records, rows, times, numbers)
        updated = [row.updated_at_ms for row in rows]
        try:
            profile = np.array(numbers, np.int64)
            time_ms = np.array(times, np.int64)
            rating = np.array([row.rating for row in rows], np.int64)
            content = self._flags([row.interaction_id for row in rows], updated)
        except OverflowError:  # a number beyond 64 bits: let the careful path name it
            self._in_order(records, rows, range(len(rows)), self._take)
            return
        scale = self._scale_of(profile)
        bad = (
            (profile < 0)
            | (rating < scale[:, 0])
            | (rating > scale[:, 1])
            | self._bad_times(records, time_ms)
        )
        if "" in ids:
            bad |= np.array([not response_id for response_id in ids])
        bad |= (content >> np.int64(UPDATED_SHIFT)) < 0
        if bad.any():
            self._in_order(records, rows, np.flatnonzero(bad).tolist(), self._take)
            return
        seeds = map(self._seeds.__getitem__, questions)
        keys = np.fromiter(map(_id_hash, map(str.encode, ids), seeds), np.uint64, len(ids))
        content |= rating - scale[:, 0]
        timed = np.array([row.event_time_ms is not None for row in rows]) if untimed else None
        fresh = self._enter(records, keys, time_ms, profile, content, timed)
        if self._hard_wanted:
            self._note_hard(rows, time_ms, profile, content, fresh)

    def _raw_keys(self, rows: list[Any], questions: list[str]) -> Any:
        if not self._field_names:
            return zip(questions, [row.touchpoint for row in rows], strict=True)
        spread = msgspec.structs.astuple
        return [
            (row.question, row.touchpoint)
            if row.segments is None
            else (row.question, row.touchpoint, *spread(row.segments))
            for row in rows
        ]

    def _flags(self, interactions: list[str | None], updated: list[int | None]) -> NDArray[np.int64]:
        content = np.zeros(len(interactions), np.int64)
        if interactions.count(None) != len(interactions):
            content |= np.array([LINKED if interaction else 0 for interaction in interactions], np.int64)
        if updated.count(None) != len(updated):
            # An impossible time becomes a negative word, which the caller sorts out.
            words = [
                0 if at is None else HAS_UPDATED | at << UPDATED_SHIFT if 0 <= at < YEAR_2100_MS else -1 << 32
                for at in updated
            ]
            content |= np.array(words, np.int64)
        return content

    def _scale_of(self, profile: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(self._scales) != len(self._profiles) or not len(self._scales):
            table = [(p.low, p.high) for p in self._profiles.table] or [(0, -1)]
            self._scales = np.array(table, np.int64)
        return self._scales[profile]

    def _bad_times(self, records: Sequence[Record], time_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        bad = (time_ms < self._checks.oldest_ms) | (time_ms >= YEAR_2100_MS)
        future_ms = self._checks.max_future_ms
        if future_ms is not None and int(time_ms.max()) > min(map(_get_timestamp, records)) + future_ms:
            bad |= time_ms > np.fromiter(map(_get_timestamp, records), np.int64, len(records)) + future_ms
        return bad

    def _enter_profiles(
        self, records: Sequence[Record], rows: list[Any], times: list[int], numbers: list[int]
    ) -> None:
        """Numbers for new combinations, in order, up to the first record that might be refused.

        A refused record must not use up a place among the bounded ones. From it on the careful path decides.
        """
        floor_ms = -1 if self._intake.replay else max(*times, self.newest_ms or 0) - self._reach_ms
        for at, raw in enumerate(self._raw_keys(rows, [row.question for row in rows])):
            if numbers[at] != _UNFIT:
                continue
            number = self._raw.get(raw, _UNFIT)  # a record before this one may have entered it
            if number == _UNFIT:
                if times[at] < floor_ms or not self._is_sound(records[at], rows[at], times[at]):
                    return
                number = self.profile_of_raw(raw, enter=True)
                if number == _UNFIT:
                    return
                self._raw[raw] = number
            numbers[at] = number

    def _is_sound(self, record: Record, row: Any, time_ms: int) -> bool:
        question = self._intake.catalog.questions.get(row.question)
        future_ms, updated_ms = self._checks.max_future_ms, row.updated_at_ms
        return (
            question is not None
            and row.response_id != ""
            and question.scale.low <= row.rating <= question.scale.high
            and self._checks.oldest_ms <= time_ms < YEAR_2100_MS
            and (future_ms is None or time_ms <= record.timestamp + future_ms)
            and (updated_ms is None or 0 <= updated_ms < YEAR_2100_MS)
        )

    def profile_of_raw(self, raw: tuple[str | None, ...], *, enter: bool) -> int:
        """The profile number for the texts of a record as they came, or ``_UNFIT``.

        Args:
            raw: question, touchpoint, and the segment fields if it carries any.
            enter: give out a number if the combination is new.
        """
        name, touchpoint, *fields = raw
        question = self._intake.catalog.questions.get(name or "")
        if question is None:
            return _UNFIT
        try:
            touchpoint = (None if touchpoint is None else clean_name(touchpoint)) or question.touchpoint
            cleaned = [None if value is None else clean_name(value) for value in fields]
        except ValueError:
            return _UNFIT
        catalog = self._intake.catalog
        if touchpoint is None or (catalog.strict and touchpoint not in catalog.touchpoints):
            return _UNFIT
        for at, (field, value) in enumerate(zip(self._field_names, cleaned, strict=False)):
            if value is not None and field in self._closed and value not in self._closed[field]:
                cleaned[at] = OTHER
        find = self._profiles.number if enter else self._profiles.find
        number = find(question.id, touchpoint, tuple(cleaned))
        return _UNFIT if number is None or isinstance(number, Refusal) else number

    # -- plain new answers, all at once --------------------------------------------------------------------------

    def _enter(
        self,
        records: Sequence[Record],
        keys: NDArray[np.uint64],
        time_ms: NDArray[np.int64],
        profile: NDArray[np.int64],
        content: NDArray[np.int64],
        timed: NDArray[np.bool_] | None,
    ) -> NDArray[np.bool_] | None:
        """Which of the answers are new and were tallied at once; None where each was decided by itself."""
        before_ms = self.newest_ms
        late = self._late(time_ms)
        if late is not None:
            self.newest_ms = before_ms
            for at in range(len(keys)):
                self._enter_one(records[at], keys, time_ms, profile, content, timed, at)
            return None
        places = (time_ms << PROFILE_BITS | profile).astype(np.uint64)
        fresh = self._ledger.add_new(keys, places, content.astype(np.uint64))
        if fresh.all():
            self._tally(time_ms, profile, content)
            self._count("accepted", len(keys))
            return fresh
        if fresh.any():
            self._tally(time_ms[fresh], profile[fresh], content[fresh])
            self._count("accepted", int(np.count_nonzero(fresh)))
        for at in np.flatnonzero(~fresh).tolist():
            has_time = timed is None or bool(timed[at])
            self._decide(
                int(keys[at]), int(time_ms[at]), int(profile[at]), int(content[at]), has_time=has_time
            )
        return fresh

    def _note_hard(
        self,
        rows: Sequence[Any],
        time_ms: NDArray[np.int64],
        profile: NDArray[np.int64],
        content: NDArray[np.int64],
        fresh: NDArray[np.bool_] | None,
    ) -> None:
        """Remembers some of the hardest new answers that name an interaction: the newest ones of a batch."""
        if fresh is None:
            return
        hardest = self._hard_from()[profile]
        rank = content & RATING_BITS
        is_hard = fresh & ((content & LINKED) != 0)
        is_hard &= np.where(hardest < 0, rank <= -1 - hardest, rank >= hardest)
        for at in np.flatnonzero(is_hard)[-_HARD_A_BATCH:].tolist():
            self._note_one(int(profile[at]), int(rank[at]), int(time_ms[at]), rows[at].interaction_id, None)

    def _note_one(
        self, profile: int, rank: int, time_ms: int, interaction_id: str | None, comment: str | None
    ) -> None:
        entry = self._profiles.table[profile]
        scale = self._intake.catalog.questions[entry.question].scale
        effort = effort_of(scale.low + rank, scale.low, scale.high, scale.best)
        excerpt = None if comment is None else comment[:EXCERPT_LETTERS]
        answer = HardAnswer(effort, time_ms, scale.low + rank, interaction_id, excerpt)
        self._hard.add(entry.touchpoint, entry.question, (answer,))

    def _hard_from(self) -> NDArray[np.int64]:
        """By profile: the first rank (rating less the lowest) that is hard; where low ones are, -1 - the last one."""
        if len(self._hard_ranks) != len(self._profiles):
            self._hard_ranks = np.array([self._hard_rank(entry) for entry in self._profiles.table], np.int64)
        return self._hard_ranks

    def _hard_rank(self, entry: Profile) -> int:
        question = self._intake.catalog.questions.get(entry.question)
        if question is None:  # it was removed, and nothing of it is accepted any more
            return _CELL
        scale = question.scale
        hard = [at for at, rating in enumerate(scale.ratings) if scale.is_hard(rating)]
        return -1 - hard[-1] if scale.best == scale.high else hard[0]

    def _enter_one(
        self, record: Record, keys: Any, time_ms: Any, profile: Any, content: Any, timed: Any, at: int
    ) -> None:
        moment_ms = int(time_ms[at])
        refusal = self._too_late(moment_ms)
        if refusal is not None:
            self._refuse(record, refusal)
            return
        self._see(moment_ms)
        has_time = timed is None or bool(timed[at])
        self._decide(int(keys[at]), moment_ms, int(profile[at]), int(content[at]), has_time=has_time)

    def _tally(
        self, time_ms: NDArray[np.int64], profile: NDArray[np.int64], content: NDArray[np.int64]
    ) -> None:
        if self.newest_ms is not None:
            self._panes.fold_early(self.newest_ms)
        for width, here in self._panes.by_width(time_ms):
            self._tally_panes(width, time_ms[here], profile[here], content[here])

    def _tally_panes(
        self, width: int, time_ms: NDArray[np.int64], profile: NDArray[np.int64], content: NDArray[np.int64]
    ) -> None:
        panes = self._panes
        origin_ms = panes.layout.origin_ms
        slices = (time_ms - origin_ms) // width
        first = int(slices.min())
        count = len(self._profiles)
        place = (slices - first) * count + profile
        places: NDArray[np.int64] | None = None
        if (int(slices.max()) - first + 1) * count > _SPARSE * len(place):  # scattered: number what is there
            places, place = np.unique(place, return_inverse=True)
        cells = np.bincount(place * _CELL + (content & RATING_BITS) * 2 + ((content & LINKED) != 0))
        cells = np.pad(cells, (0, -len(cells) % _CELL)).reshape(-1, _CELL)
        filled = np.flatnonzero(cells.any(axis=1))
        cells = cells[filled]
        linked = cells[:, 1::2].sum(axis=1).tolist()
        ratings = (cells[:, ::2] + cells[:, 1::2]).tolist()
        table = self._profiles.table
        for at, counts, links in zip(
            (filled if places is None else places[filled]).tolist(), ratings, linked, strict=True
        ):
            entry = table[at % count]
            vector = [*counts[: entry.high - entry.low + 1], links]
            key = entry.touchpoint, width, (at // count + first) * width + origin_ms
            for code in entry.codes:
                panes.add(key, code, vector)

    # -- one answer ----------------------------------------------------------------------------------------------

    def _consider(self, record: Record) -> None:
        """Takes one record the careful way: refusal, withdrawal, or an answer like any other."""
        answer = read_response(event_of(record), record.timestamp, self._checks)
        if isinstance(answer, Refusal):
            self._refuse(record, answer)
            return
        time_ms = record.timestamp if answer.event_time_ms is None else answer.event_time_ms
        refusal = self._too_late(time_ms)
        if refusal is not None:
            self._refuse(record, refusal)
            return
        question = answer.question
        key = _id_hash(answer.response_id.encode(errors="surrogatepass"), seed=self._seeds[question.id])
        if answer.rating is None:
            self._see(time_ms)
            self._withdraw(key, time_ms, answer.updated_at_ms)
            return
        number = self._profiles.number(question.id, answer.touchpoint or "", answer.fields)
        if isinstance(number, Refusal):
            self._refuse(record, number)
            return
        self._see(time_ms)
        content = pack_content(
            answer.rating - question.scale.low, linked=answer.linked, updated_at_ms=answer.updated_at_ms
        )
        changed = self._decide(key, time_ms, number, content, has_time=answer.event_time_ms is not None)
        if changed and answer.comment:
            self._pass_on(answer, time_ms)
        if changed and self._hard_wanted and (answer.interaction_id or answer.comment):
            rank, scale = answer.rating - question.scale.low, question.scale
            if scale.is_hard(answer.rating):
                self._note_one(number, rank, time_ms, answer.interaction_id, answer.comment)

    def _decide(self, key: int, time_ms: int, profile: int, content: int, *, has_time: bool) -> bool:
        """New answer, copy or edit; True unless it is a copy."""
        held = self._ledger.get(key)
        if held is None or abs(time_ms - place_time_ms(held[0])) > self._timing.horizon_ms:
            self._store(key, time_ms, profile, content, "accepted")
            return True
        place, old = held
        newer_ms, older_ms = content_updated_ms(content), content_updated_ms(old)
        if newer_ms is not None and older_ms is not None and newer_ms < older_ms:
            self._count("duplicate")
            return False
        same_time = not has_time or time_ms == place_time_ms(place)
        if (content ^ old) & RATING_BITS == 0 and profile == place_profile(place) and same_time:
            self._count("duplicate")
            if newer_ms is not None and newer_ms != older_ms:
                word = old & ((1 << UPDATED_SHIFT) - 1) | HAS_UPDATED | newer_ms << UPDATED_SHIFT
                self._ledger.put(key, place, word)
            return False
        if old & WITHDRAWN:
            self._store(key, time_ms, profile, content, "accepted")
            return True
        self._remove_one(place, old)
        self._store(key, time_ms if has_time else place_time_ms(place), profile, content, "edit")
        return True

    def _withdraw(self, key: int, time_ms: int, updated_at_ms: int | None) -> None:
        held = self._ledger.get(key)
        if held is None or abs(time_ms - place_time_ms(held[0])) > self._timing.horizon_ms:
            self._count("withdrawn")
            return
        place, old = held
        older_ms = content_updated_ms(old)
        if updated_at_ms is not None and older_ms is not None and updated_at_ms < older_ms:
            self._count("duplicate")
            return
        self._count("withdrawn")
        if old & WITHDRAWN:
            return
        self._count("removed")
        self._remove_one(place, old)
        word = old | WITHDRAWN
        if updated_at_ms is not None:
            word = word & ((1 << UPDATED_SHIFT) - 1) | HAS_UPDATED | updated_at_ms << UPDATED_SHIFT
        self._ledger.put(key, place, word)

    def _store(self, key: int, time_ms: int, profile: int, content: int, outcome: str) -> None:
        self._ledger.put(key, pack_place(time_ms, profile), content)
        self._add_one(time_ms, profile, content)
        self._count(outcome)

    def _add_one(self, time_ms: int, profile: int, content: int) -> None:
        entry = self._profiles.table[profile]
        vector = _one(entry.high - entry.low, content)
        key = (entry.touchpoint, *self._panes.pane_of(time_ms))
        for code in entry.codes:
            self._panes.add(key, code, vector)

    def _remove_one(self, place: int, content: int) -> None:
        entry = self._profiles.table[place_profile(place)]
        vector = _one(entry.high - entry.low, content)
        group = self._panes.group((entry.touchpoint, *self._panes.pane_of(place_time_ms(place))))
        for code in entry.codes:
            remove(group[code], vector)

    def _pass_on(self, answer: Answer, time_ms: int) -> None:
        touchpoint = answer.touchpoint or ""
        segments = {
            name: value for name, value in zip(self._field_names, answer.fields, strict=True) if value
        }
        record = {
            "touchpoint": touchpoint,
            "question": answer.question.id,
            "rating": answer.rating,
            "event_time_ms": time_ms,
            "segments": dict(sorted(segments.items())),
            "interaction_id": answer.interaction_id,
            "comment": answer.comment,
        }
        partition = touchpoint_partition(touchpoint, self._intake.partitions)
        self._comments.append((partition, Out(touchpoint.encode(), orjson.dumps(record))))


def _one(span: int, content: int) -> list[int]:
    vector = [0] * (span + 2)
    vector[content & RATING_BITS] = 1
    vector[-1] = int(content & LINKED != 0)
    return vector


def _oversized(row: Any, value: bytes | None) -> bool:
    if row is None or value is None or len(value) <= MAX_ID_BYTES:
        return False
    if len(value) > MAX_RECORD_BYTES:
        return True
    ids = (row.response_id, row.customer_id, row.interaction_id)
    return any(text is not None and len(text.encode()) > MAX_ID_BYTES for text in ids)
