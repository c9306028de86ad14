"""``effortstream deployment``: marks of deployments, which rules of kind change may compare with."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from agents.records import OperationRecord
from app.alert_reader import known_alerts, operation_log
from app.alert_table import time_text
from app.cli.operator_options import (
    Author,
    Broker,
    OutputFormat,
    Reason,
    author_or_login,
    output,
    prepare,
    present_ms,
    print_json,
    print_operation,
)
from app.cli.options import ConfigFile, Format
from app.muting import DEPLOYMENT
from app.operations import InvalidOperation, withdraw
from app.operations import deployment as deployment_of
from scoring.errors import EffortStreamError

deployment = typer.Typer(
    help="Marks of deployments, to compare scores with the time before.",
    no_args_is_help=True,
    add_completion=False,
)


class UnknownDeployment(EffortStreamError, LookupError):  # noqa: N818 - what came of it, told to the operator
    """No deployment of that id."""


@deployment.command()
def mark(
    reason: Annotated[str, typer.Option(help="What was deployed.")],
    touchpoint: Annotated[
        str | None, typer.Option(help="Touchpoints concerned, a pattern (default: all).")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="When it went live, such as 2026-11-24T09:30:00Z (default: now).")
    ] = None,
    author: Author = None,
    form: OutputFormat = Format.TABLE,
    config: ConfigFile = None,
    broker: Broker = None,
) -> None:
    """Marks a deployment; saying the same one twice is saying it once."""
    _, settings = prepare(config, broker)
    record = deployment_of(
        author=author_or_login(author),
        reason=reason,
        now_ms=present_ms(settings),
        at_ms=None if at is None else _time_ms(at),
        touchpoint=touchpoint,
    )
    asyncio.run(operation_log(settings).store(record))
    said = f"{record.id} is marked at {time_text(record.at_ms)} UTC for the touchpoints {record.touchpoint}."
    print_operation(said, record, form)


@deployment.command("list")
def list_deployments(
    form: OutputFormat = Format.TABLE, config: ConfigFile = None, broker: Broker = None
) -> None:
    """Lists the deployments that are marked."""
    _, settings = prepare(config, broker)
    marked = asyncio.run(known_alerts(settings)).operations.all(DEPLOYMENT)
    if form is Format.JSON:
        for each in marked:
            print_json(DEPLOYMENT, each)
        return
    table = Table("id", "time (UTC)", "touchpoints", "author", "reason", box=None, pad_edge=False)
    for each in marked:
        table.add_row(
            each.id, time_text(each.at_ms), Text(each.touchpoint or "*"), Text(each.author), Text(each.reason)
        )
    output().print(table if marked else "No deployment is marked.")


@deployment.command("withdraw")
def withdraw_mark(
    deployment_id: Annotated[str, typer.Argument(metavar="ID", help="Of the deployment.")],
    reason: Reason,
    author: Author = None,
    form: OutputFormat = Format.TABLE,
    config: ConfigFile = None,
    broker: Broker = None,
) -> None:
    """Takes a mark back: rules compare with the one before it again."""
    _, settings = prepare(config, broker)

    async def run() -> OperationRecord:
        found = (await known_alerts(settings)).operations.get(deployment_id)
        if found is None or found.action != DEPLOYMENT:
            raise UnknownDeployment(
                f"There is no deployment {deployment_id!r}. effortstream deployment list lists those marked"
            )
        record = withdraw(found, author_or_login(author), reason)
        await operation_log(settings).store(record)
        return record

    record = asyncio.run(run())
    print_operation(f"{record.id} is taken back.", record, form)


def _time_ms(text: str) -> int:
    """Epoch milliseconds of a time; one without an offset is UTC.

    Raises:
        InvalidOperation: it is no time.

    Example:
        >>> _time_ms("2025-11-21T10:00:00Z") == _time_ms("2025-11-21T11:00+01:00") == 1_763_719_200_000
        True
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidOperation(
            "--at", text, "is no time", "Write it as 2026-11-24T09:30:00Z, or leave it out for now"
        ) from None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
