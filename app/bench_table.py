"""What a benchmark measured, as a table: medians over the runs, and the share of the ceiling of the same run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Self

from rich.table import Column, Table

COLUMNS: Final = (
    "program",
    "events",
    "events/s",
    "of the ceiling",
    "CPU s",
    "peak MiB",
    "records/event",
    "bytes/event",
    "ledger",
    "transactions",
)
NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class Measure:
    """One run of one program, as it reported it.

    Attributes:
        seconds: from the first batch to the last commit, wall time.
        cpu_s: of its process, in that time.
        peak_mib: the most memory that its process ever had.
        state_records: records written to changelogs and partials; None where a program keeps no count.
        bytes_written: to all topics.
        ledger_entries: answers that it could tell a copy of; 0 is a program without a ledger.
        transactions: whether what it wrote was committed with the position.
        digest: names the counts that it came to.
    """

    events: int
    seconds: float
    cpu_s: float
    peak_mib: float
    state_records: int | None = None
    bytes_written: int | None = None
    ledger_entries: int = 0
    transactions: bool = False
    digest: str | None = None

    @classmethod
    def of(cls, report: Mapping[str, Any], *, transactions: bool) -> Self:
        """Reads a program's report, leaving out what has no column."""
        known = {name: report[name] for name in cls.__dataclass_fields__ if name in report}
        return cls(**known | {"transactions": transactions})

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds


@dataclass(frozen=True, slots=True)
class Ratios:
    """Shares of the ceiling, each of the ceiling of its own run: machines are noisy, and seconds apart they compare."""

    least: float
    middle: float
    most: float

    @classmethod
    def of(cls, runs: Sequence[Measure], ceilings: Sequence[Measure]) -> Self:
        """Compares run by run.

        Raises:
            ValueError: not as many of one as of the other, or none.
        """
        shares = [run.rate / ceiling.rate for run, ceiling in zip(runs, ceilings, strict=True)]
        if not shares:
            raise ValueError("no runs to compare")
        return cls(min(shares), median(shares), max(shares))

    def __str__(self) -> str:
        """The median, and the spread where there is one."""
        if self.least == self.most:
            return f"{self.middle:.2f}"
        return f"{self.middle:.2f} ({self.least:.2f} to {self.most:.2f})"


@dataclass(frozen=True, slots=True)
class Row:
    """One program with its runs.

    Attributes:
        ceilings: one for each run, or one for all, where a program does not run beside the ceiling.
    """

    program: str
    runs: Sequence[Measure]
    ceilings: Sequence[Measure]

    def cells(self) -> tuple[str, ...]:
        """A text for each of ``COLUMNS``."""
        runs = self.runs
        one = runs[0]
        durable = one.state_records is not None
        ledger = f"on, {one.ledger_entries:,} ids" if one.ledger_entries else NOTHING
        return (
            self.program,
            f"{one.events:,}",
            f"{median(run.rate for run in runs):,.0f}",
            str(self._ratios()),
            f"{median(run.cpu_s for run in runs):.2f}",
            f"{max(run.peak_mib for run in runs):,.0f}",
            _each(runs, "state_records", ".4f") if durable else NOTHING,
            _each(runs, "bytes_written", ".1f") if durable else NOTHING,
            ledger,
            "on" if one.transactions else NOTHING,
        )

    def _ratios(self) -> Ratios:
        if len(self.ceilings) == len(self.runs):
            return Ratios.of(self.runs, self.ceilings)
        middle = sorted(self.ceilings, key=lambda run: run.rate)[(len(self.ceilings) - 1) // 2]
        return Ratios.of(self.runs, [middle] * len(self.runs))


def _each(runs: Sequence[Measure], name: str, form: str) -> str:
    return format(median(getattr(run, name) / run.events for run in runs), form)


def rich_table(rows: Iterable[Row], runs: int) -> Table:
    """For a terminal."""
    first, *others = COLUMNS
    columns = [Column(first, overflow="fold"), *(Column(name, justify="right") for name in others)]
    table = Table(*columns, title=f"Benchmark, medians of {runs} run{'s' if runs > 1 else ''}")
    for row in rows:
        table.add_row(*row.cells())
    return table


def markdown_table(rows: Iterable[Row]) -> str:
    """For a README."""
    lines = [COLUMNS, ("---", *("---:" for _ in COLUMNS[1:])), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
