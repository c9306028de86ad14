"""CSV files line by line: what is broken costs its own line, never the rows after it."""

from __future__ import annotations

import csv
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Self

from app.config_problems import ABSENT, ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

DELIMITERS = ",;\t|"
LINE_BYTES_MAX = 1 << 20
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file as it stands there.

    Attributes:
        line: number of its first line in the file; the header is line 1.
        cells: one per column, or none where the record is broken.
        raw: its bytes, line ends included.
        reason: why it is broken, as in the dead letters, or None.
        detail: the same as a sentence.
    """

    line: int
    cells: list[str]
    raw: bytes
    reason: str | None = None
    detail: str = ""


class _Lines:
    """The lines of a stream as text; those of the record under way can be taken back.

    A quote that is opened and never closed swallows every line after it. Whoever finds that out keeps the
    first of the lines taken, and reads the others again.
    """

    def __init__(self, stream: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        self._stream = stream
        self._on_bytes = on_bytes
        self._again: deque[bytes] = deque()
        self.next_line = 1
        self.taken: list[bytes] = []
        self._problems: list[str | None] = []
        if stream.read(len(BOM)) != BOM:
            stream.seek(0)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._again.popleft() if self._again else self._read()
        if not raw:
            raise StopIteration
        try:
            text, problem = raw.decode(), None
        except UnicodeDecodeError:
            text, problem = raw.decode(errors="surrogateescape"), "not_utf8"
        if b"\0" in raw:
            problem = "wrong_type"
        if len(raw) > LINE_BYTES_MAX:
            problem = "too_large"
        self.next_line += 1
        self.taken.append(raw)
        self._problems.append(problem)
        return text

    @property
    def problem(self) -> str | None:
        """The reason for which one of the lines taken is refused, or None."""
        return next((problem for problem in self._problems if problem is not None), None)

    def begin(self) -> None:
        """Forget the record before."""
        self.taken = []
        self._problems = []

    def keep(self, lines: int) -> None:
        """Take back all but the first ``lines`` lines of the record under way."""
        self._again.extendleft(reversed(self.taken[lines:]))
        self.next_line -= len(self.taken) - lines
        del self.taken[lines:], self._problems[lines:]

    def _read(self) -> bytes:
        raw = rest = self._stream.readline(LINE_BYTES_MAX + 1)
        self._on_bytes(len(raw))
        while len(raw) > LINE_BYTES_MAX and rest and not rest.endswith(b"\n"):
            rest = self._stream.readline(LINE_BYTES_MAX)
            self._on_bytes(len(rest))
        return raw


class CsvFile:
    """A CSV file: its header, then its rows.

    Args:
        path: UTF-8, with or without BOM.
        wanted: columns that the reader is going to ask for; they help to tell the delimiter.
        on_bytes: told how many bytes have been read, for a progress bar.

    Raises:
        ConfigurationError: the file cannot be opened, has no header, or is not UTF-8 there.
    """

    def __init__(
        self, path: Path, wanted: Collection[str] = (), on_bytes: Callable[[int], None] = lambda _: None
    ) -> None:
        self.path = path
        try:
            self._stream = path.open("rb")
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
            remedy = "Name a CSV file that exists."
            raise ConfigurationError([Problem(str(path), "", ABSENT, problem, remedy)]) from error
        try:
            self._lines = _Lines(self._stream, on_bytes)
            self.delimiter, self.header = self._read_header(frozenset(wanted))
        except BaseException:
            self._stream.close()
            raise
        self._lines.begin()

    def __enter__(self) -> Self:
        """The file itself; it is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self._stream.close()

    def _read_header(self, wanted: frozenset[str]) -> tuple[str, list[str]]:
        candidates = []
        for delimiter in DELIMITERS:
            try:
                names = next(csv.reader(self._lines, delimiter=delimiter, strict=True), [])
            except csv.Error:
                names = []
            lines = len(self._lines.taken)
            if names and self._lines.problem is None:
                names = [name.strip() for name in names]
                candidates.append((len(wanted.intersection(names)), len(names), delimiter, names, lines))
            self._lines.keep(0)
        if not candidates:
            raise self._header_error()
        _, _, delimiter, names, lines = max(candidates, key=lambda found: found[:2])
        for _ in range(lines):
            next(self._lines)
        return delimiter, names

    def _header_error(self) -> ConfigurationError:
        head = next(self._lines, "")[:40].encode(errors="surrogateescape")
        problem = "the file has no header in UTF-8"
        remedy = "Save it as CSV in UTF-8, with the column names in its first line and LF or CRLF line ends."
        return ConfigurationError(
            [Problem(str(self.path), "line 1", head.decode("latin-1"), problem, remedy)]
        )

    def __iter__(self) -> Iterator[Row]:
        """Every row that is not blank; a broken one carries its reason."""
        reader = csv.reader(self._lines, delimiter=self.delimiter, strict=True)
        while True:
            self._lines.begin()
            line = self._lines.next_line
            reason, detail, cells = None, "", list[str]()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                reason = "too_large" if "limit" in str(error) else "wrong_type"
                detail = f"not a CSV line ({error})"
            if reason is None and len(cells) != len(self.header):
                if not "".join(cells).strip() and len(cells) <= 1:
                    continue
                reason = "wrong_type"
                detail = f"{len(cells)} cells where the header has {len(self.header)}"
            if reason is not None:
                # Only the first line is at fault for certain; an open quote may have run into good ones.
                self._lines.keep(1)
            if (problem := self._lines.problem) is not None:
                reason, detail = problem, _LINE_PROBLEMS[problem]
            yield Row(line, cells if reason is None else [], b"".join(self._lines.taken), reason, detail)


_LINE_PROBLEMS = {
    "too_large": f"a line of more than {LINE_BYTES_MAX:,} bytes",
    "wrong_type": "a NUL byte in the line",
    "not_utf8": "not UTF-8",
}
