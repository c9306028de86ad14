"""Calendar windows of one partials partition: running sums, closing, revisions."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from agents.panes import parse_series_code, series_code
from agents.ports import Out
from scoring.catalog import Catalog
from scoring.tallies import add
from scoring.windows import Calendar

WindowKey = tuple[str, str, str, int]
"""(touchpoint, series code, window name, start_ms)"""

Signature = tuple[tuple[int, ...], int]
"""What a revision says: the series' tally, and how many interactions there were."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, int, tuple[tuple[int, ...], int]]).decode
_decode_key = msgspec.msgpack.Decoder(tuple[str, str, str, int]).decode


@dataclass(slots=True)
class WindowSum:
    """The sum of one calendar window of one series.

    Attributes:
        revision: of what was published last; -1 while nothing was.
        published: what it said.
    """

    end_ms: int
    vector: list[int]
    revision: int = -1
    published: Signature | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """A calendar window to be published."""

    touchpoint: str
    code: str
    window: str
    start_ms: int
    end_ms: int
    revision: int
    vector: tuple[int, ...]
    interactions: int


@dataclass(slots=True)
class CalendarWindows:
    """All calendar windows of a partials partition that can still change.

    Sums are rebuilt from the panes after a restart; only (revision, what it said) is stored, so that one identity
    (window, revision) never has two contents and revisions have no gaps.

    Attributes:
        sums: the windows that hold anything.
        frozen_ms: windows that begin before it are final.
        beyond_retention: tallies that came for such a window, and changed nothing.
    """

    catalog: Catalog
    sums: dict[WindowKey, WindowSum] = field(default_factory=dict)
    frozen_ms: int = -1
    beyond_retention: int = 0
    _calendar: Calendar = field(init=False)
    _open: list[tuple[int, WindowKey]] = field(default_factory=list)
    _touched: set[WindowKey] = field(default_factory=set)
    _questions: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    _stored: dict[WindowKey, tuple[int, int, Signature]] = field(default_factory=dict)
    _gone: list[WindowKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Looks the time zone up."""
        self._calendar = Calendar(self.catalog.timezone)

    def add(self, touchpoint: str, code: str, time_ms: int, delta: Sequence[int]) -> None:
        """Adds a tally at a pane's start to every calendar window that holds it."""
        for window in self.catalog.calendar:
            start_ms, end_ms = self._calendar.bounds(window, time_ms)
            key = touchpoint, code, window.name, start_ms
            held = self.sums.get(key)
            if held is None:
                if start_ms < self.frozen_ms:
                    self.beyond_retention += 1
                    continue
                held = self._open_window(key, end_ms, len(delta))
            add(held.vector, delta)
            self._touched.add(key)

    def _open_window(self, key: WindowKey, end_ms: int, length: int) -> WindowSum:
        touchpoint, code, *_ = key
        held = self.sums[key] = WindowSum(end_ms, [0] * length)
        stored = self._stored.pop(key, None)
        if stored is None:
            heapq.heappush(self._open, (end_ms, key))
        else:  # it is closed, and comes up again only where it is touched
            held.revision, held.published = stored[1], stored[2]
        beside = _interactions_beside(code)
        if beside is not None:
            self._questions.setdefault((touchpoint, beside), set()).add(code)
        return held

    def close(self, watermark_ms: int | None) -> Iterator[Revision]:
        """The windows to publish now: those that the watermark has closed, and closed ones that have changed."""
        if watermark_ms is None:
            return
        closed_ms = watermark_ms - self.catalog.timing.grace_ms
        due = set()
        while self._open and self._open[0][0] <= closed_ms:
            key = heapq.heappop(self._open)[1]
            if key in self.sums:
                due.add(key)
        again = set()
        for key in self._touched:
            held = self.sums.get(key)
            if held is not None and held.end_ms <= closed_ms:
                due.add(key)
            elif held is not None and held.revision >= 0:  # closed before, under a shorter grace
                again.add(key)
            # else it is still open, and comes up in the heap
        self._touched = again
        for key in list(due):  # a change of the interactions is one of every question beside them
            touchpoint, code, window, start_ms = key
            due.update(
                (touchpoint, question, window, start_ms)
                for question in self._questions.get((touchpoint, code), ())
            )
        for key in sorted(due):
            revision = self._revise(key)
            if revision is not None:
                yield revision

    def _revise(self, key: WindowKey) -> Revision | None:
        touchpoint, code, window, start_ms = key
        held = self.sums.get(key)
        question, segment, values = parse_series_code(code)
        if held is None or not question:
            return None
        beside = self.sums.get((touchpoint, series_code("", segment, values), window, start_ms))
        interactions = beside.vector[0] if beside is not None else 0
        # Without interactions there is no response rate, so how many answers are linked to one says nothing.
        linked = held.vector[-1] if interactions else 0
        signature = (*held.vector[:-1], linked), interactions
        if signature == held.published or (held.published is None and not any(held.vector)):
            return None
        held.revision += 1
        held.published = signature
        return Revision(touchpoint, code, window, start_ms, held.end_ms, held.revision, *signature)

    def freeze(self, until_ms: int) -> None:
        """Lets go of the windows that begin before ``until_ms``: no source can change them any more."""
        if until_ms <= self.frozen_ms:
            return
        self.frozen_ms = until_ms
        for key in [key for key in self.sums if key[3] < until_ms]:
            if self.sums.pop(key).revision >= 0:
                self._gone.append(key)

    def drain_gone(self) -> list[Out]:
        """Tombstones of the windows that were let go."""
        gone, self._gone = self._gone, []
        return [Out(_window_key(key), None) for key in gone]

    @staticmethod
    def stored(revision: Revision) -> Out:
        """The changelog record of a revision."""
        key = revision.touchpoint, revision.code, revision.window, revision.start_ms
        signature = revision.vector, revision.interactions
        return Out(_window_key(key), b"\x01" + _encode((revision.end_ms, revision.revision, signature)))

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Takes one stored revision back."""
        window_key = _decode_key(key[1:])
        if value is None:
            self._stored.pop(window_key, None)
        else:
            self._stored[window_key] = _decode(value[1:])

    def resume(self) -> None:
        """After the panes were added again: what was published before stands, and nothing is news."""
        self._touched.clear()
        self.beyond_retention = 0
        for key, (
            end_ms,
            revision,
            signature,
        ) in self._stored.items():  # their panes are gone: what they said stands
            self.sums[key] = WindowSum(end_ms, list(signature[0]), revision, signature)
        self._stored.clear()


@lru_cache(maxsize=4096)
def _interactions_beside(code: str) -> str | None:
    """The code of the interactions of the same segment; None for interactions."""
    question, segment, values = parse_series_code(code)
    return series_code("", segment, values) if question else None


def _window_key(key: WindowKey) -> bytes:
    return b"w" + _encode(key)
