"""Data for tests: the shared real files where they exist, else generated ones of the same shape, seeded."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
CALL_CENTRE = "call_centre.csv"
AIRLINE = "airline_ratings.csv"

CALL_COLUMNS = (
    "Call Id",
    "Agent",
    "Date",
    "Time",
    "Topic",
    "Answered (Y/N)",
    "Resolved",
    "Speed of answer in seconds",
    "AvgTalkDuration",
    "Satisfaction rating",
)
AGENTS = ("Becky", "Dan", "Diane", "Greg", "Jim", "Joe", "Martha", "Stewart")
TOPICS = ("Admin Support", "Contract related", "Payment related", "Streaming", "Technical Support")
AIRLINE_TOUCHPOINTS = (
    "Inflight wifi service",
    "Departure/Arrival time convenient",
    "Ease of Online booking",
    "Gate location",
    "Food and drink",
    "Online boarding",
    "Seat comfort",
    "Inflight entertainment",
    "On-board service",
    "Leg room service",
    "Baggage handling",
    "Checkin service",
    "Inflight service",
    "Cleanliness",
)

Rows = list[dict[str, str]]


def shared(name: str) -> Path | None:
    """The real file of that name, or None where it is not at hand."""
    path = SHARED / name
    return path if path.is_file() else None


def read_rows(path: Path) -> Rows:
    """Every row of a CSV file by column, with nothing but the csv module."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[dict[str, str]]) -> Path:
    """A CSV file of these rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_call_centre(path: Path, *, calls: int = 5000, seed: int = 1) -> Path:
    """A file like call_centre.csv: calls in order of time over 90 days, one in five of them not answered."""
    rng = random.Random(seed)
    begin = datetime(2021, 1, 1, 9)  # noqa: DTZ001 - the file has no zone
    times = sorted(
        begin + timedelta(days=rng.randrange(90), seconds=rng.randrange(9 * 3600)) for _ in range(calls)
    )
    return write_rows(path, CALL_COLUMNS, (_call(rng, number, at) for number, at in enumerate(times, 1)))


def _call(rng: random.Random, number: int, at: datetime) -> dict[str, str]:
    answered = rng.random() < 0.8
    resolved = answered and rng.random() < 0.9
    talk_s = rng.randrange(30, 420)
    return {
        "Call Id": f"ID{number:04}",
        "Agent": rng.choice(AGENTS),
        "Date": f"{at:%Y-%m-%d}",
        "Time": f"{at.hour}:{at:%M:%S}",
        "Topic": rng.choice(TOPICS),
        "Answered (Y/N)": "Y" if answered else "N",
        "Resolved": "Y" if resolved else "N",
        "Speed of answer in seconds": str(rng.randrange(10, 126)) if answered else "",
        "AvgTalkDuration": f"0:{talk_s // 60:02}:{talk_s % 60:02}" if answered else "",
        "Satisfaction rating": str(rng.choices(range(1, 6), (4, 4, 12, 12, 8))[0]) if answered else "",
    }


def write_airline(path: Path, *, passengers: int = 2000, seed: int = 1) -> Path:
    """A file like airline_ratings.csv: 14 ratings in a row, 0 where the touchpoint does not apply."""
    rng = random.Random(seed)
    columns = ("", "id", "Customer Type", "Class", *AIRLINE_TOUCHPOINTS, "satisfaction")
    rows = [
        {
            "": str(number),
            "id": str(100_000 + number),
            "Customer Type": rng.choice(("Loyal Customer", "disloyal Customer")),
            "Class": rng.choice(("Business", "Eco", "Eco Plus")),
            **{name: str(rng.choices(range(6), (1, 3, 5, 6, 8, 6))[0]) for name in AIRLINE_TOUCHPOINTS},
            "satisfaction": "satisfied",
        }
        for number in range(passengers)
    ]
    return write_rows(path, columns, rows)
