"""Merging partials: the sum of the newest word of every source, whatever comes twice, late or coarser."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.merging import Change, MergedPanes
from agents.panes import Layout, PaneKey, PaneStore, encode_group
from agents.partials import Partial
from tests.unit.agents.streams import CATALOG, DAY_MS, HOUR_MS, MINUTE_MS

LAYOUT = Layout.of(CATALOG)
ANSWER = st.tuples(
    st.integers(0, 1), st.sampled_from("xy"), st.integers(0, 3 * DAY_MS), st.booleans(), st.booleans()
)


def merged() -> MergedPanes:
    """Nothing yet."""
    return MergedPanes(LAYOUT.widths, LAYOUT.origin_ms)


def partial(source: int, offset: int, panes: dict[tuple[int, int], dict[str, list[int]]]) -> Partial:
    """What a partition of the responses says of some panes."""
    rows = [(width, start, encode_group(group)) for (width, start), group in sorted(panes.items())]
    return Partial(0, source, offset, 0, rows)


def by_hour(changes: list[Change]) -> Counter[tuple[str, int]]:
    """Answers by series and hour."""
    out: Counter[tuple[str, int]] = Counter()
    for code, _, start, delta in changes:
        out[code, start // HOUR_MS] += delta[0]
    return Counter({key: n for key, n in out.items() if n})


@given(st.lists(ANSWER, max_size=50), st.randoms(use_true_random=False))
@settings(derandomize=True, deadline=None)
def test_at_every_moment_it_is_the_sum_of_what_the_sources_have_told(answers: object, chance: object) -> None:
    """Folded or not, with partials that come twice or are old: changes add up to what is held, and to the answers."""
    stores = [PaneStore(LAYOUT), PaneStore(LAYOUT)]
    newest, told = [0, 0], [Counter[tuple[str, int]](), Counter[tuple[str, int]]()]
    counted = [Counter[tuple[str, int]](), Counter[tuple[str, int]]()]
    panes, changes, sent, stored = merged(), [], [], {}
    for offset, (source, code, time_ms, tell, again) in enumerate(answers):  # type: ignore[var-annotated, arg-type]
        store = stores[source]
        newest[source] = max(newest[source], time_ms)
        store.add(("a", *store.pane_of(time_ms)), code, [1])
        counted[source][code, time_ms // HOUR_MS] += 1
        if tell:
            store.fold(newest[source])
            keys = store.drain()
            rows = {key[1:]: store.groups[key] for key in keys if key in store.groups}
            sent.append(partial(source, offset, rows))
            changes += panes.apply("a", sent[-1])
            told[source] = counted[source].copy()
        if again and sent:
            old = chance.choice(sent)  # type: ignore[attr-defined]
            changes += panes.apply("a", old)
        assert by_hour(changes) == told[0] + told[1]
        assert by_hour([change for _, change in panes.tallies()]) == told[0] + told[1]
        for out in panes.drain():
            stored[out.key] = out.value
        made = merged()
        for key, value in stored.items():
            made.restore(key or b"", value)
        made.resume(dict(panes.offsets))
        assert sorted(made.tallies()) == sorted(panes.tallies())


def test_a_partial_that_comes_twice_changes_nothing() -> None:
    """Its tallies are absolute."""
    panes, said = merged(), partial(0, 5, {(5_000, 0): {"x": [1, 2]}})
    assert list(panes.apply("a", said)) == [("x", 5_000, 0, [1, 2])]
    assert list(panes.apply("a", said)) == []
    assert panes.stale == 0


def test_an_older_partial_is_refused() -> None:
    """By its offset, after a restart too."""
    panes = merged()
    list(panes.apply("a", partial(0, 5, {(5_000, 0): {"x": [3]}})))
    assert list(panes.apply("a", partial(0, 4, {(5_000, 0): {"x": [1]}, (5_000, 5_000): {"x": [1]}}))) == []
    assert panes.stale == 1
    assert list(panes.apply("a", partial(1, 4, {(5_000, 0): {"x": [1]}}))) == [("x", 5_000, 0, [1])]
    made = merged()
    for out in panes.drain():
        made.restore(out.key or b"", out.value)
    made.resume(dict(panes.offsets))
    assert list(made.apply("a", partial(0, 4, {(5_000, 0): {"x": [1]}}))) == []


def test_a_coarse_pane_takes_the_place_of_the_finer_ones_of_its_source() -> None:
    """Only what is new in it is a change; other sources and other panes stay."""
    panes = merged()
    fine = {(5_000, 0): {"x": [1]}, (5_000, 5_000): {"x": [1], "y": [2]}, (5_000, MINUTE_MS): {"x": [4]}}
    list(panes.apply("a", partial(0, 1, fine)))
    list(panes.apply("a", partial(1, 1, {(5_000, 0): {"x": [7]}})))
    assert len(panes) == 3
    coarse = partial(0, 2, {(MINUTE_MS, 0): {"x": [3], "y": [2]}})
    assert list(panes.apply("a", coarse)) == [("x", MINUTE_MS, 0, [1])]
    held: set[PaneKey] = {("a", width, start) for _, (_, width, start, _) in panes.tallies()}
    assert held == {("a", 5_000, 0), ("a", MINUTE_MS, 0), ("a", 5_000, MINUTE_MS)}


def test_a_tally_that_shrinks_is_a_negative_change() -> None:
    """A withdrawal, or an edit that leaves the pane."""
    panes = merged()
    list(panes.apply("a", partial(0, 1, {(5_000, 0): {"x": [1, 1]}})))
    assert list(panes.apply("a", partial(0, 2, {(5_000, 0): {"x": [0, 1]}}))) == [("x", 5_000, 0, [-1, 0])]


def test_what_is_forgotten_is_no_change_and_leaves_the_changelog() -> None:
    """What was counted from it stays counted; panes that end later stay."""
    panes = merged()
    said = {(HOUR_MS, 0): {"x": [1]}, (5_000, -5_000): {"x": [1]}, (HOUR_MS, HOUR_MS): {"x": [1]}}
    list(panes.apply("a", partial(0, 1, said)))
    panes.drain()
    panes.forget(HOUR_MS)
    assert [change for _, change in panes.tallies()] == [("x", HOUR_MS, HOUR_MS, [1])]
    assert [out.value for out in panes.drain()] == [None, None]
