"""The panes of all source partitions, as their partials say them, and what each partial changes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agents.panes import Group, PaneKey, decode_group, encode_group, pane_key_bytes, split_pane_key
from agents.partials import Partial, SourceId
from agents.ports import Out
from scoring.panes import pane_start

Change = tuple[str, int, int, list[int]]
"""(raw series code, width_ms, start_ms, delta)"""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, int, msgspec.Raw]]).decode


class MergedPanes:
    """Absolute pane tallies by source partition.

    A partial says the whole tally of a pane as of its offset. So one that comes twice changes nothing, one that is
    older than what is held is refused, and a coarse pane takes the place of the finer ones that it was folded from.
    """

    def __init__(self, widths: tuple[int, ...], origin_ms: int) -> None:
        self._widths = widths
        self._origin_ms = origin_ms
        self._cells: dict[PaneKey, dict[SourceId, Group]] = {}
        self._by_source: dict[tuple[SourceId, str], set[tuple[int, int]]] = {}
        self._offsets: dict[SourceId, int] = {}
        self._dirty: set[PaneKey] = set()
        self.stale = 0

    def __len__(self) -> int:
        return len(self._cells)

    def apply(self, touchpoint: str, partial: Partial) -> Iterator[Change]:
        """Takes one partial and yields what it changes."""
        source = partial.kind, partial.partition
        if partial.offset < self._offsets.get(source, -1):
            self.stale += 1
            return
        self._offsets[source] = partial.offset
        for width, start, raw in partial.panes:
            key = touchpoint, width, start
            group = decode_group(raw)
            before = [self._take(key, source), *self._finer(key, source)]
            self._cells.setdefault(key, {})[source] = group
            self._by_source.setdefault((source, touchpoint), set()).add((width, start))
            self._dirty.add(key)
            for code, vector in group.items():
                delta = vector
                for held in before:
                    old = held.get(code)
                    if old is not None:
                        delta = [now - then for now, then in zip(delta, old, strict=True)]
                if any(delta):
                    yield code, width, start, delta

    def _take(self, key: PaneKey, source: SourceId) -> Group:
        cell = self._cells.get(key)
        return {} if cell is None else cell.pop(source, {})

    def _finer(self, key: PaneKey, source: SourceId) -> list[Group]:
        """Removes and returns what the source had said of the finer panes inside this one."""
        touchpoint, width, start = key
        held = self._by_source.get((source, touchpoint))
        if width == self._widths[0] or not held:
            return []
        inside = self._inside(held, width, start)
        groups = []
        for fine, at in inside:
            groups.append(self._cells[touchpoint, fine, at].get(source, {}))
            self._drop((touchpoint, fine, at), source)
        return groups

    def _inside(self, held: set[tuple[int, int]], width: int, start: int) -> list[tuple[int, int]]:
        """Which of the panes held lie inside a coarser one; by looking where they may be, or at all if they are few."""
        finer = [fine for fine in self._widths if fine < width]
        if len(held) <= sum(width // fine for fine in finer):
            return [
                (fine, at)
                for fine, at in held
                if fine < width and pane_start(at, width, self._origin_ms) == start
            ]
        return [
            (fine, at) for fine in finer for at in range(start, start + width, fine) if (fine, at) in held
        ]

    def _drop(self, key: PaneKey, source: SourceId) -> None:
        cell = self._cells.get(key)
        if cell is not None:
            cell.pop(source, None)
            if not cell:
                del self._cells[key]
            self._dirty.add(key)
        self._by_source.get((source, key[0]), set()).discard(key[1:])

    def forget(self, until_ms: int) -> None:
        """Lets go of the panes that end at or before an instant; what was counted from them stays counted."""
        for key in [key for key in self._cells if key[1] + key[2] <= until_ms]:
            for source in list(self._cells[key]):
                self._drop(key, source)

    def drain(self) -> list[Out]:
        """Changelog records of what changed since the last call."""
        dirty, self._dirty = self._dirty, set()
        out = []
        for key in sorted(dirty):
            cell = self._cells.get(key)
            raw = None
            if cell:
                rows = [
                    (kind, partition, msgspec.Raw(encode_group(group)[1:]))
                    for (kind, partition), group in cell.items()
                ]
                raw = b"\x01" + _encode(rows)
            out.append(Out(pane_key_bytes(key), raw))
        return out

    def restore(self, raw_key: bytes, value: bytes | None) -> None:
        """Takes one stored pane back."""
        key = split_pane_key(raw_key)
        for source in self._cells.pop(key, {}):
            self._by_source[source, key[0]].discard(key[1:])
        if value is not None:
            cell: dict[SourceId, Group] = {}
            for kind, partition, group in _decode(value[1:]):
                cell[kind, partition] = decode_group(b"\x01" + bytes(group))
                self._by_source.setdefault(((kind, partition), key[0]), set()).add(key[1:])
            self._cells[key] = cell

    def resume(self, offsets: dict[SourceId, int]) -> None:
        """After the last ``restore``: older partials than these offsets are refused from now on."""
        self._offsets = offsets

    def tallies(self) -> Iterator[tuple[str, Change]]:
        """Everything that is held, as changes from nothing: (touchpoint, change)."""
        for (touchpoint, width, start), cell in self._cells.items():
            for group in cell.values():
                for code, vector in group.items():
                    yield touchpoint, (code, width, start, vector)

    @property
    def offsets(self) -> dict[SourceId, int]:
        """The newest source offset that a partial of each source carried."""
        return self._offsets
