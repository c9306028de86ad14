"""What the demo says about alerts."""

from __future__ import annotations

import asyncio
import io

import msgspec
import pytest
from aiohttp import web
from rich.console import Console

from agents.records import AlertRecord
from app.demo_alerts import ROWS_MAX, AlertBoard, transition_line
from app.demo_scores import poll_alerts
from app.demo_table import ScoreBoard
from app.demo_view import IncidentStory, Pipeline, picture
from app.muting import JudgedAlert
from tests.alert_records import alert_record
from tests.score_records import CATALOG, EFFORT, NOW_MS, SATISFACTION


def judged(record: AlertRecord, *, muted: bool = False) -> JudgedAlert:
    """An alert as serve gives it."""
    return JudgedAlert(**msgspec.structs.asdict(record), muted=muted, muted_by=[])


def drawn(board: AlertBoard, width: int = 160) -> list[str]:
    """The table as lines."""
    out = io.StringIO()
    Console(file=out, width=width).print(board.table())
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_table_shows_what_stands_the_loudest_first():
    """State by word, rule, touchpoint with its segment, since when, and what is the matter."""
    board = AlertBoard()
    assert drawn(board) == ["No alert is pending or firing."]
    board.take(
        [
            judged(alert_record("pending", 1, "early", since_ms=NOW_MS - 999_000)),
            judged(alert_record("firing", 2, "late", segment={"channel": "web"}), muted=True),
            judged(alert_record("resolved", 3, "over")),
        ],
        [],
        live=True,
    )
    title, first, second = drawn(board)
    assert title == "2 alerts pending or firing"
    assert first.split()[:4] == ["firing", "late", "(muted)", "checkout"]
    assert '{"channel":"web"} since 09:50:00 effort index 61.4' in first
    assert second.split()[:3] == ["pending", "early", "checkout"]


@pytest.mark.parametrize("count", [0, 1, ROWS_MAX, ROWS_MAX + 1, 40])
def test_the_table_takes_the_lines_that_it_says(count):
    """So that the picture fits the terminal; a narrow one cuts the summary and breaks no line."""
    board = AlertBoard()
    board.take([judged(alert_record(rule=f"rule-{each}")) for each in range(count)], [], live=True)
    assert len(drawn(board, width=90)) == board.lines() <= ROWS_MAX + 2
    assert (drawn(board)[-1] == f"and {count - ROWS_MAX} more") is (count > ROWS_MAX)


@pytest.mark.parametrize("standing", [0, 1, 3, 40])
@pytest.mark.parametrize("height", [24, 25, 30, 60])
def test_the_picture_fits_the_terminal_whatever_fires(height, standing):
    """A dozen touchpoints with two questions each and their alerts: nothing is pushed over the lower edge."""
    asked = [(f"place {each}", one.id) for each in range(12) for one in (EFFORT, SATISFACTION)]
    board, alerts = ScoreBoard(CATALOG, asked), AlertBoard()
    alerts.take([judged(alert_record(rule=f"rule-{each}")) for each in range(standing)], [], live=True)
    out = io.StringIO()
    console = Console(file=out, width=120, height=height, force_terminal=True, color_system=None)
    story, pipeline = IncidentStory("place 1", "running"), Pipeline("http://127.0.0.1:8080", 60)
    console.print(picture(board, "5m", story, pipeline, console, alerts))
    lines = out.getvalue().splitlines()
    assert len(lines) <= height
    assert sum(" rule-" in line for line in lines) == min(standing, max(1, min(ROWS_MAX, height - 22)))
    assert "INCIDENT" in lines[-2]


def test_only_what_happens_live_is_told():
    """What fired in the history is no news."""
    board = AlertBoard()
    old, new = alert_record("firing", 2), alert_record("resolved", 3)
    assert list(board.take([], [old], live=False)) == []
    assert list(board.take([], [new], live=True)) == [new]
    assert board.transitions == [new]
    assert transition_line(new).plain == (
        "10:15:00 UTC  resolved  checkout-effort-high (critical) at checkout: "
        "effort index 61.4 at checkout, above 50"
    )


def test_the_summary_tells_which_alerts_fired_how_soon_and_when_they_were_resolved():
    """Each incident is one line; the delay is told where the incident struck, and only after it did."""
    board = AlertBoard()
    first = [alert_record("firing", 2), alert_record("resolved", 3)]
    again = alert_record("firing", 4, fired_at_ms=NOW_MS + 3_600_000)
    elsewhere = alert_record("firing", 1, "other", touchpoint="search", fired_at_ms=NOW_MS + 60_000)
    board.take([], [alert_record("pending", 1), *first, elsewhere, again], live=True)
    where = "checkout-effort-high (critical) at checkout"
    assert board.told("checkout", NOW_MS - 90_000) == [
        "Alerts that fired (event time, UTC):",
        f"  {where} fired at 10:00:00, 1.5 min after the incident began, resolved at 10:15:00.",
        "  other (critical) at search fired at 10:01:00, still firing at the end.",
        f"  {where} fired at 11:00:00, 61.5 min after the incident began, still firing at the end.",
    ]
    assert "after the incident" not in " ".join(board.told("checkout", NOW_MS + 9_000_000))
    assert AlertBoard().told() == ["No alert fired."]


class FakeServe:
    """Answers as serve does, with an alert that goes through several states between two questions."""

    def __init__(self) -> None:
        self.told = [[alert_record("pending", 1)], [], []]
        self.told[1] = [*self.told[0], alert_record("firing", 2)]
        self.told[2] = [*self.told[1], alert_record("resolved", 3), alert_record("pending", 4)]
        self.asked = 0

    def transitions(self) -> list[AlertRecord]:
        """What is known at this moment."""
        return self.told[min(self.asked, len(self.told)) - 1]

    async def alerts(self, _: web.Request) -> web.Response:
        """The list: once it fails, which a poller survives."""
        self.asked += 1
        if self.asked == 2:
            self.told.insert(1, [])
            return web.Response(status=503)
        items = [msgspec.to_builtins(self.transitions()[-1]) | {"muted": False, "muted_by": []}]
        return web.json_response({"items": items, "total": 1, "next_cursor": None})

    async def alert(self, _: web.Request) -> web.Response:
        """The detail."""
        return web.json_response({"transitions": [msgspec.to_builtins(each) for each in self.transitions()]})


@pytest.mark.asyncio
async def test_no_transition_between_two_questions_is_missed(monkeypatch):
    """At sixty times real time an alert may change twice a second; each transition comes once, in order."""
    monkeypatch.setattr("app.demo_scores.POLL_S", 0.01)
    serve, got = FakeServe(), []
    app = web.Application()
    app.router.add_get("/api/v1/alerts", serve.alerts)
    app.router.add_get("/api/v1/alerts/{fingerprint}", serve.alert)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    complete = asyncio.Event()

    def take(_: list[JudgedAlert], new: list[AlertRecord]) -> None:
        got.extend(each.sequence for each in new)
        if len(got) >= 4:
            complete.set()

    polling = asyncio.create_task(
        poll_alerts(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}", take)
    )
    try:
        async with asyncio.timeout(20):
            await complete.wait()
            while serve.asked < 7:
                await asyncio.sleep(0.01)
    finally:
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await runner.cleanup()
    assert got == [1, 2, 3, 4]
