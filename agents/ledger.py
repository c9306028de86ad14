"""The response ledger: which answers were counted, where, and with what, so that copies and edits change nothing twice.

An open-addressing hash table in numpy: one 24-byte slot for each answer, probed for a whole batch at once.
It never holds an id, only a keyed 64-bit hash of it. Two different ids share a hash with probability
n^2 / 2^65 for n entries kept: 0.03 % for one hundred million.

Growth never stalls a batch: a full table becomes the old generation, every later call moves a part of it into a
table of twice the size, and entries that have aged out are left behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

SLOT_BYTES: Final = 24
PROFILE_BITS: Final = 22
MAX_PROFILES: Final = 1 << PROFILE_BITS

RATING_BITS: Final = 0xFF
LINKED: Final = 1 << 8
WITHDRAWN: Final = 1 << 9
HAS_UPDATED: Final = 1 << 10
UPDATED_SHIFT: Final = 16

_LOAD: Final = 0.6
_FIRST_CAPACITY: Final = 1 << 12
_MOVED_PER_CALL: Final = 1 << 15
_BLOCK_ENTRIES: Final = 512
_BLOCK_ENTRIES_MAX: Final = 1 << 14  # 384 KiB: a block must fit into one Kafka message
_EMPTY: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
_MIX: Final = np.uint64(17)


def pack_place(event_time_ms: int, profile: int) -> int:
    """Where an answer was tallied, in 64 bits: 42 for the time (until the year 2109) and 22 for the profile."""
    return event_time_ms << PROFILE_BITS | profile


def place_time_ms(place: int) -> int:
    """The event time of ``pack_place``."""
    return place >> PROFILE_BITS


def place_profile(place: int) -> int:
    """The profile of ``pack_place``."""
    return place & (MAX_PROFILES - 1)


def pack_content(
    rating_index: int, *, linked: bool, updated_at_ms: int | None, withdrawn: bool = False
) -> int:
    """What an answer said, in 64 bits: rating index, flags, and updated_at_ms in 48 bits."""
    word = rating_index | LINKED * linked | WITHDRAWN * withdrawn
    if updated_at_ms is not None:
        word |= HAS_UPDATED | updated_at_ms << UPDATED_SHIFT
    return word


def content_updated_ms(content: int) -> int | None:
    """The updated_at_ms of ``pack_content``, or None."""
    return content >> UPDATED_SHIFT if content & HAS_UPDATED else None


class _Table:
    """One generation of slots: keys, places, contents. A key of 0 is an empty slot."""

    __slots__ = ("capacity", "contents", "keys", "mask", "places", "used")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.mask = np.uint64(capacity - 1)
        self.keys: Words = np.zeros(capacity, np.uint64)
        self.places: Words = np.zeros(capacity, np.uint64)
        self.contents: Words = np.zeros(capacity, np.uint64)
        self.used = 0

    def home(self, keys: Words) -> NDArray[np.intp]:
        return ((keys >> _MIX) & self.mask).astype(np.intp)

    def contains(self, keys: Words) -> NDArray[np.bool_]:
        """Which keys are here."""
        found = np.zeros(len(keys), bool)
        todo = np.arange(len(keys))
        at = self.home(keys)
        mask = self.capacity - 1
        while len(todo):
            held = self.keys[at]
            hit = held == keys[todo]
            found[todo[hit]] = True
            go = ~(hit | (held == _EMPTY))
            todo, at = todo[go], (at[go] + 1) & mask
        return found

    def insert(self, keys: Words, places: Words, contents: Words) -> NDArray[np.bool_]:
        """Adds the entries whose key is not here yet; of equal keys the first.

        Returns:
            Shape (n,): which entries were added.
        """
        added = np.zeros(len(keys), bool)
        todo: NDArray[np.intp] | None = None  # all
        at = self.home(keys)
        wanted = keys
        mask = self.capacity - 1
        while len(at):
            free = np.flatnonzero(self.keys[at] == _EMPTY)
            if len(free):
                entries, slots = free if todo is None else todo[free], at[free]
                # Several entries may want one free slot: written in reverse, the first of them stays. The number
                # of the entry stands in for its content until it is known who won.
                numbers = entries.astype(np.uint64)
                self.contents[slots[::-1]] = numbers[::-1]
                won = self.contents[slots] == numbers
                if not won.all():
                    entries, slots = entries[won], slots[won]
                self.keys[slots], self.places[slots] = keys[entries], places[entries]
                self.contents[slots] = contents[entries]
                added[entries] = True
            left = np.flatnonzero(~(added if todo is None else added[todo]))
            at, wanted = at[left], wanted[left]
            todo = left if todo is None else todo[left]
            go = self.keys[at] != wanted  # where it is equal the key is here already
            if not go.all():
                todo, at, wanted = todo[go], at[go], wanted[go]
            at = (at + 1) & mask
        self.used += int(np.count_nonzero(added))
        return added

    def find(self, key: int) -> int:
        """The slot of a key, or -1."""
        keys, mask = self.keys, self.capacity - 1
        slot = (key >> int(_MIX)) & mask
        while held := int(keys[slot]):
            if held == key:
                return slot
            slot = (slot + 1) & mask
        return -1


class Ledger:
    """Answers by the hash of their identity.

    Args:
        capacity: slots to begin with; rounded up to a power of two.

    Attributes:
        size: entries held, those included that have aged out but were not swept yet.
        oldest_ms: entries of an earlier event time have aged out; set by the owner, only ever forward.
    """

    __slots__ = ("_cursor", "_drained", "_fresh", "_new", "_old", "_open", "oldest_ms")

    def __init__(self, capacity: int = _FIRST_CAPACITY) -> None:
        self._new = _Table(1 << max(4, (capacity - 1).bit_length()))
        self._old: _Table | None = None
        self._cursor = 0
        self._fresh: list[tuple[Words, Words, Words]] = []
        self._open: list[NDArray[np.uint64]] = []
        self._drained = 0
        self.oldest_ms = 0

    def __len__(self) -> int:
        return self.size

    @property
    def size(self) -> int:
        """Entries held; while a table is being moved its entries may be counted twice."""
        return self._new.used + (self._old.used if self._old is not None else 0)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the tables."""
        return SLOT_BYTES * (self._new.capacity + (self._old.capacity if self._old is not None else 0))

    def add_new(self, keys: Words, places: Words, contents: Words) -> NDArray[np.bool_]:
        """Enters the answers whose identity is seen for the first time.

        Args:
            keys: shape (n,), hashes of identities.
            places: shape (n,), see ``pack_place``.
            contents: shape (n,), see ``pack_content``.

        Returns:
            Shape (n,): True where the answer was entered; False where its identity is held already, or came earlier
            in this batch: those the caller decides one by one, in order, with ``get`` and ``put``.
        """
        keys = np.maximum(keys, _ONE)
        self._make_room(len(keys))
        if self._old is None:
            fresh = self._new.insert(keys, places, contents)
        else:
            fresh = ~self._old.contains(keys)
            fresh[fresh] = self._new.insert(keys[fresh], places[fresh], contents[fresh])
        if fresh.all():
            self._fresh.append((keys, places, contents))
        elif fresh.any():
            self._fresh.append((keys[fresh], places[fresh], contents[fresh]))
        return fresh

    def get(self, key: int) -> tuple[int, int] | None:
        """Place and content of an identity, or None if it is unknown or has aged out."""
        key = key or 1
        for table in (self._new, self._old):
            if table is not None:
                slot = table.find(key)
                if slot >= 0:
                    place = int(table.places[slot])
                    return (
                        None if place_time_ms(place) < self.oldest_ms else (place, int(table.contents[slot]))
                    )
        return None

    def put(self, key: int, place: int, content: int) -> None:
        """Enters or replaces one answer."""
        key = key or 1
        entry = (np.array([key], np.uint64), np.array([place], np.uint64), np.array([content], np.uint64))
        self._make_room(1)
        slot = self._new.find(key)
        if slot >= 0:
            self._new.places[slot], self._new.contents[slot] = place, content
        else:  # an older copy in the old generation is shadowed, and left behind when it is moved
            self._new.insert(*entry)
        self._fresh.append(entry)

    def drain(self) -> Iterator[tuple[int, int, bytes]]:
        """What must be stored since the last call, as blocks: (block number, newest event time in it, its bytes).

        A block that is not full yet is written again, grown, under the same number: a quiet ledger does not leave
        a record for each checkpoint behind.
        """
        if not self._fresh:
            return
        columns = [np.concatenate(column) for column in zip(*self._fresh, strict=True)]
        self._fresh.clear()
        rows = np.concatenate([*self._open, np.column_stack(columns)])
        for begin in range(0, len(rows), _BLOCK_ENTRIES_MAX):
            block = rows[begin : begin + _BLOCK_ENTRIES_MAX]
            newest_ms = int(block[:, 1].max()) >> PROFILE_BITS
            yield self._drained, newest_ms, block.astype("<u8", copy=False).tobytes()
            full = len(block) >= _BLOCK_ENTRIES
            self._open = [] if full else [block]
            self._drained += full

    def restore(self, number: int, block: bytes) -> None:
        """Takes one stored block back; blocks come in the order of their numbers, a later entry wins."""
        rows = np.frombuffer(block, "<u8").reshape(-1, 3).astype(np.uint64)
        self._open = [rows] if len(rows) < _BLOCK_ENTRIES else []
        self._drained = number if self._open else number + 1
        # np.unique keeps the first of equal keys: reversed, that is the newest.
        keys, first = np.unique(rows[::-1, 0], return_index=True)
        rows = rows[::-1][first]
        self._make_room(len(keys))
        added = self._new.insert(keys, rows[:, 1], rows[:, 2])
        for key, place, content in rows[~added].tolist():
            slot = self._new.find(key)
            self._new.places[slot], self._new.contents[slot] = place, content

    def _make_room(self, count: int) -> None:
        self._move(max(_MOVED_PER_CALL, 4 * count))
        if self._new.used + count <= _LOAD * self._new.capacity:
            return
        while self._old is not None:  # only a batch larger than all so far comes here with an unfinished move
            self._move(self._old.capacity)
        table = self._new
        live = int(np.count_nonzero((table.places >> np.uint64(PROFILE_BITS)) >= np.uint64(self.oldest_ms)))
        live = min(live, table.used)
        capacity = table.capacity
        while 3 * (live + count) > 2 * _LOAD * capacity:
            capacity *= 2
        self._old, self._cursor = table, 0
        self._new = _Table(capacity)

    def _move(self, slots: int) -> None:
        old = self._old
        if old is None:
            return
        part = slice(self._cursor, self._cursor + slots)
        keys, places = old.keys[part], old.places[part]
        keep = (keys != _EMPTY) & ((places >> np.uint64(PROFILE_BITS)) >= np.uint64(self.oldest_ms))
        keys, places, contents = keys[keep], places[keep], old.contents[part][keep]
        self._new.insert(keys, places, contents)  # a key that is there already was put again since, and stays
        self._cursor += slots
        if self._cursor >= old.capacity:
            self._old = None
