"""The intake of interactions: each is counted once, by its first record, into the panes of its touchpoint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash

from agents.events import Contact, Refusal, event_of, read_interaction
from agents.ledger import PROFILE_BITS, pack_place, place_time_ms
from agents.partials import INTERACTIONS_KIND
from agents.ports import Record
from agents.source import Intake, SourceStage
from scoring.tallies import add

_id_hash = xxhash.xxh3_64_intdigest
_SEEDS_MAX = 65_536


class InteractionStage(SourceStage):
    """The state of one partition of the interactions topic.

    Identity is (touchpoint, interaction_id) within the horizon. An interaction is a finished fact: its first record
    counts and later ones are duplicates, whatever they say.
    """

    name = "interactions"
    kind = INTERACTIONS_KIND

    def __init__(self, topic_name: str, partition: int, intake: Intake) -> None:
        super().__init__(topic_name, partition, intake)
        self._seeds: dict[str, int] = {}

    def _take_all(self, records: Sequence[Record]) -> None:
        taken: list[tuple[int, int, int, list[int]]] = []
        unkeyed = [record.key for record in records].count(None)
        if unkeyed:
            self._count("unkeyed", unkeyed)
        for record in records:
            contact = read_interaction(event_of(record), record.timestamp, self._checks)
            if isinstance(contact, Refusal):
                self._refuse(record, contact)
                continue
            time_ms = record.timestamp if contact.event_time_ms is None else contact.event_time_ms
            number = self._too_late(time_ms) or self._number(contact)
            if isinstance(number, Refusal):
                self._refuse(record, number)
                continue
            self._see(time_ms)
            taken.append((self._key(contact), time_ms, number, contact.vector))
        if taken:
            self._enter(taken)

    def _number(self, contact: Contact) -> int | Refusal:
        return self._profiles.number("", contact.touchpoint, contact.fields)

    def _key(self, contact: Contact) -> int:
        seed = self._seeds.get(contact.touchpoint)
        if seed is None:
            if len(self._seeds) >= _SEEDS_MAX:
                self._seeds.clear()
            seed = self._seeds[contact.touchpoint] = _id_hash(
                contact.touchpoint.encode(), seed=self._key_seed
            )
        return _id_hash(contact.interaction_id.encode(errors="surrogatepass"), seed=seed)

    def _enter(self, taken: list[tuple[int, int, int, list[int]]]) -> None:
        keys, times, numbers, vectors = zip(*taken, strict=True)
        time_ms, profile = np.array(times, np.int64), np.array(numbers, np.int64)
        places = (time_ms << PROFILE_BITS | profile).astype(np.uint64)
        fresh = self._ledger.add_new(
            np.array(keys, np.uint64), places, np.zeros(len(keys), np.uint64)
        ).tolist()
        if self.newest_ms is not None:
            self._panes.fold_early(self.newest_ms)
        cells: dict[tuple[int, int, int], list[int]] = {}
        for at, is_new in enumerate(fresh):
            if not is_new and self._is_copy(keys[at], times[at], numbers[at]):
                self._count("duplicate")
                continue
            self._count("accepted")
            cell = (numbers[at], *self._panes.pane_of(times[at]))
            held = cells.get(cell)
            if held is None:
                cells[cell] = vectors[at].copy()
            else:
                add(held, vectors[at])
        for (number, width, start), vector in cells.items():
            entry = self._profiles.table[number]
            for code in entry.codes:
                self._panes.add((entry.touchpoint, width, start), code, vector)

    def _is_copy(self, key: int, time_ms: int, profile: int) -> bool:
        held = self._ledger.get(key)
        if held is not None and abs(time_ms - place_time_ms(held[0])) <= self._timing.horizon_ms:
            return True
        self._ledger.put(key, pack_place(time_ms, profile), 0)
        return False
