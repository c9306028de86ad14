"""The response ledger against a plain dict: growth, ageing, and what a restart brings back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.ledger import (
    MAX_PROFILES,
    SLOT_BYTES,
    Ledger,
    content_updated_ms,
    pack_content,
    pack_place,
    place_profile,
    place_time_ms,
)

KEY = st.integers(0, 40) | st.sampled_from([2**64 - 1, 2**64 - 2, 1 << 17, 1 << 40])
TIME = st.integers(0, 50)
STEP = st.one_of(
    st.tuples(st.just("new"), st.lists(st.tuples(KEY, TIME), max_size=30)),
    st.tuples(st.just("put"), st.lists(st.tuples(KEY, TIME), min_size=1, max_size=5)),
    st.tuples(st.just("age"), st.integers(0, 40)),
    st.tuples(st.sampled_from(["drain", "restart", "restart compacted", "restart twice"]), st.none()),
)
Model = dict[int, tuple[int, int]]
Blocks = list[tuple[int, bytes]]


def entries(ledger: Ledger, lot: list[tuple[int, int]], contents: int) -> Any:
    """Enters keys with their times; what each says is a number of its own."""
    keys, times = np.array([k for k, _ in lot], np.uint64), np.array([t for _, t in lot], np.uint64)
    words = np.arange(contents, contents + len(lot), dtype=np.uint64)
    return ledger.add_new(keys, times << np.uint64(22), words).tolist()


def hash_of(number: int) -> int:
    """Numbers spread as hashes are: the table counts on it."""
    return number * 0x9E3779B97F4A7C15 % 2**64 | 1


def restored(blocks: Blocks, how: str, oldest_ms: int) -> Ledger:
    """A ledger from the blocks that were drained; a compacted log has the last of each number."""
    if "compacted" in how:
        last = {number: at for at, (number, _) in enumerate(blocks)}
        blocks = [blocks[at] for at in sorted(last.values())]
    made = Ledger(capacity=16)
    for number, block in blocks:
        made.restore(number, block)
        if "twice" in how:
            made.restore(number, block)
    made.oldest_ms = oldest_ms
    return made


def check(ledger: Ledger, model: Model) -> None:
    """The ledger answers as the dict does."""
    for key in [*range(41), 2**64 - 1, 2**64 - 2, 1 << 17, 1 << 40]:
        held = model.get(key or 1)
        alive = held is not None and held[0] >= ledger.oldest_ms
        assert ledger.get(key) == ((held[0] << 22, held[1]) if held is not None and alive else None), key


@given(st.lists(STEP, max_size=25))
@settings(derandomize=True, max_examples=150, deadline=None)
def test_it_answers_as_a_dict_does(steps: list[tuple[str, Any]]) -> None:
    """New entries, replacements, ageing, and restarts between them, in any order."""
    ledger, model, blocks, contents = Ledger(capacity=16), Model(), Blocks(), 1
    for step, given_ in steps:
        if step == "new":
            fresh = entries(ledger, given_, contents)
            for at, (key, time_ms) in enumerate(given_):
                held = model.get(key or 1)
                if held is None or held[0] >= ledger.oldest_ms:
                    assert fresh[at] == (held is None)
                if fresh[at]:
                    model[key or 1] = time_ms, contents + at
            contents += len(given_)
        elif step == "put":
            for key, time_ms in given_:
                ledger.put(key, time_ms << 22, contents)
                model[key or 1] = time_ms, contents
                contents += 1
        elif step == "age":
            ledger.oldest_ms = max(ledger.oldest_ms, given_)
        else:
            blocks += [(number, block) for number, _, block in ledger.drain()]
            if step != "drain":
                ledger = restored(blocks, step, ledger.oldest_ms)
        check(ledger, model)


def test_it_grows_without_losing_anything() -> None:
    """A hundred thousand entries in batches of all sizes; copies are found at every moment of the growth."""
    chance, ledger = random.Random(1), Ledger(capacity=16)
    keys: list[int] = []
    while len(keys) < 100_000:
        lot = [chance.getrandbits(64) for _ in range(chance.choice((1, 10, 1_000, 20_000)))]
        known = chance.sample(keys, min(len(keys), 50))
        words = np.array(lot + known + lot[:5], np.uint64)
        fresh = ledger.add_new(words, words >> np.uint64(1), words)
        assert fresh.tolist() == [True] * len(lot) + [False] * (len(known) + len(lot[:5]))
        keys += lot
    for key in keys[::97]:
        assert ledger.get(key) == (key >> 1, key)
    assert len(keys) <= ledger.size
    assert ledger.memory_bytes <= SLOT_BYTES * len(keys) * 5


@pytest.mark.parametrize("size", [1, 400, 5_000])
def test_what_has_aged_out_takes_no_room_for_ever(size: int) -> None:
    """The tables stay in proportion to what is alive, however long it runs."""
    ledger, alive = Ledger(capacity=16), 5_000
    count = 20 * alive if size > 1 else 3 * alive
    for begin in range(0, count, size):
        numbers = np.arange(begin + 1, begin + size + 1, dtype=np.uint64)
        ledger.add_new(numbers * np.uint64(0x9E3779B97F4A7C15), numbers << np.uint64(22), numbers)
        ledger.oldest_ms = max(0, begin - alive)
    assert ledger.memory_bytes <= SLOT_BYTES * 16 * alive
    assert ledger.get(count * 0x9E3779B97F4A7C15 % 2**64) is not None
    assert ledger.get(0x9E3779B97F4A7C15) is None


def test_an_aged_out_identity_can_be_entered_again() -> None:
    """First it is not new, since its slot is still there, and unknown; then it is what was put."""
    ledger = Ledger()
    entries(ledger, [(7, 10)], 1)
    ledger.oldest_ms = 11
    assert entries(ledger, [(7, 20)], 2) == [False]
    assert ledger.get(7) is None
    ledger.put(7, 20 << 22, 2)
    assert ledger.get(7) == (20 << 22, 2)


def test_a_quiet_ledger_writes_its_open_block_again_under_the_same_number() -> None:
    """It is closed when it is full; a block never outgrows a message."""
    ledger, numbers, sizes = Ledger(), [], []
    for at in range(0, 1_500, 100):
        entries(ledger, [(hash_of(key), key) for key in range(at, at + 100)], at)
        for number, newest_ms, block in ledger.drain():
            numbers.append(number)
            sizes.append(len(block) // SLOT_BYTES)
            assert newest_ms == at + 99
    assert numbers == [0] * 6 + [1] * 6 + [2] * 3
    assert sizes == [100, 200, 300, 400, 500, 600] * 2 + [100, 200, 300]
    entries(ledger, [(hash_of(key + 10_000), key) for key in range(40_000)], 0)
    blocks = list(ledger.drain())
    assert [number for number, _, _ in blocks] == [2, 3, 4]
    assert max(len(block) for _, _, block in blocks) < 512 * 1024
    assert list(ledger.drain()) == []


@given(st.integers(0, 2**42 - 1), st.integers(0, MAX_PROFILES - 1))
@settings(derandomize=True)
def test_a_place_holds_a_time_and_a_profile(time_ms: int, profile: int) -> None:
    """In one word of 64 bits."""
    place = pack_place(time_ms, profile)
    assert place < 2**64
    assert (place_time_ms(place), place_profile(place)) == (time_ms, profile)


@given(st.integers(0, 10), st.booleans(), st.booleans(), st.none() | st.integers(0, 4_102_444_799_999))
@settings(derandomize=True)
def test_a_content_holds_what_an_answer_said(
    rating: int, linked: bool, withdrawn: bool, updated_at_ms: int | None
) -> None:
    """Rating, flags and the time of its update, or that there is none."""
    word = pack_content(rating, linked=linked, updated_at_ms=updated_at_ms, withdrawn=withdrawn)
    assert word < 2**63
    assert content_updated_ms(word) == updated_at_ms
    assert (word & 0xFF, bool(word & 256), bool(word & 512)) == (rating, linked, withdrawn)
