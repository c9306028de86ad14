"""Feeds inputs to a stage: each must be counted as one thing, and each refused one gives one dead letter.

python -m tests.fuzz.check --inputs 1000000 --seed 1
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from itertools import islice

from agents.ports import Batch
from agents.source import Intake
from agents.topics import DEAD_LETTERS
from tests.fuzz.inputs import Inputs
from tests.unit.agents.streams import (
    CATALOG,
    NOW_MS,
    REMARKS,
    Rec,
    SourceStage,
    catalog,
    interactions,
    responses,
)

OUTCOMES = ("accepted", "duplicate", "edit", "withdrawn", "dead_letter")
"""Every record is exactly one of these."""

_BATCH = 500
_SHARES = (0.6, 0.4)
"""Responses, interactions."""


class Feeder:
    """One stage, and what has become of its inputs.

    Attributes:
        taken: inputs so far.
        refused: reason to number of dead letters.
    """

    def __init__(self, stage: SourceStage) -> None:
        self._stage = stage
        self.taken = 0
        self.refused: Counter[str] = Counter()

    def feed(self, lot: list[Rec]) -> None:
        """Applies one batch and makes a checkpoint.

        Raises:
            AssertionError: a record was counted twice or not at all, or its dead letter is missing or doubled.
        """
        stage = self._stage
        refused = stage.counts.get("dead_letter", 0)
        stage.apply(Batch(lot, stage.applied + 1, lot[-1].offset + 1, lot[-1].offset + 1))
        self.taken += len(lot)
        counted = sum(stage.counts.get(outcome, 0) for outcome in OUTCOMES)
        assert counted == self.taken, f"{self.taken} inputs, {counted} counted: {stage.counts}"
        out = stage.checkpoint(NOW_MS)
        assert out is not None
        letters = [
            dict(letter.headers or []) for letter in out.sends.get((DEAD_LETTERS, stage.partition), [])
        ]
        places = [int(headers["effort_offset"]) for headers in letters]
        assert len(places) == stage.counts.get("dead_letter", 0) - refused
        assert len(set(places)) == len(places)
        assert set(places) <= {record.offset for record in lot}
        self.refused.update(headers["effort_reason"].decode() for headers in letters)

    @property
    def counts(self) -> dict[str, int]:
        """Inputs by outcome."""
        return {outcome: self._stage.counts.get(outcome, 0) for outcome in OUTCOMES}


def fuzz(inputs: int, seed: int) -> list[Feeder]:
    """Feeds so many inputs, in batches of all sizes, to a stage of responses and one of interactions."""
    intake = Intake(catalog(questions=CATALOG.questions | {REMARKS.id: REMARKS}), 1)
    feeders = []
    for contacts, stage in ((False, responses(intake)), (True, interactions(intake))):
        feeder, chance = Feeder(stage), random.Random(seed)
        source = iter(Inputs(seed, contacts=contacts))
        left = round(inputs * _SHARES[contacts])
        while left:
            size = min(left, chance.choice((1, 2, 30, _BATCH)))
            lot = list(islice(source, size))
            try:
                feeder.feed(lot)
            except Exception as error:
                error.add_note(f"seed {seed}, offsets {lot[0].offset} to {lot[-1].offset} of {stage.name}")
                raise
            left -= size
        feeders.append(feeder)
    return feeders


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.check", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    begun_s = time.monotonic()
    for name, feeder in zip(("responses", "interactions"), fuzz(given.inputs, given.seed), strict=True):
        listed = ", ".join(f"{count} {outcome}" for outcome, count in feeder.counts.items())
        reasons = ", ".join(f"{count} {reason}" for reason, count in feeder.refused.most_common())
        sys.stdout.write(f"{name}: {feeder.taken} inputs: {listed}\n  dead letters: {reasons}\n")
    sys.stdout.write(f"seed {given.seed}: no exception, {time.monotonic() - begun_s:.0f} s\n")


if __name__ == "__main__":
    main()
