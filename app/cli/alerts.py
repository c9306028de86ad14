"""``effortstream alerts``: what fires, and what operators do about it, straight on the topics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from agents.records import AlertRecord, OperationRecord
from app.alert_reader import known_alerts, operation_log
from app.alert_table import alert_detail, alert_table, moment_ms, silence_table, state_text, time_text
from app.alertmodel import LEVELS
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
from app.config import Config
from app.muting import SILENCE, JudgedAlert, Muting, maintenance
from app.operations import acknowledge as acknowledgement
from app.operations import silence as silence_of
from app.operations import withdraw
from app.readmodel import ReadModel
from app.settings import Settings
from scoring.alerts.states import State
from scoring.errors import EffortStreamError
from scoring.panes import parse_duration_ms

PREFIX_MIN = 4

alerts = typer.Typer(
    help="Alerts: what fires, and acknowledging or silencing it.", no_args_is_help=True, add_completion=False
)

Fingerprint = Annotated[str, typer.Argument(help="Of the alert; its first 4 or more digits will do.")]


class UnknownAlert(EffortStreamError, LookupError):  # noqa: N818 - what came of it, told to the operator
    """No alert, several alerts or no silence where one was named."""


@alerts.command("list")
def list_alerts(
    state: Annotated[
        State | None, typer.Option(help="Only alerts in this state (default: pending and firing).")
    ] = None,
    rule: Annotated[str | None, typer.Option(help="Only alerts of this rule.")] = None,
    touchpoint: Annotated[str | None, typer.Option(help="Only alerts at this touchpoint.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Resolved and inactive ones too.")] = False,  # noqa: FBT002
    form: OutputFormat = Format.TABLE,
    config: ConfigFile = None,
    broker: Broker = None,
) -> None:
    """Lists alerts, the loudest first, each with who has muted it."""
    loaded, settings = prepare(config, broker)
    model = asyncio.run(known_alerts(settings))
    wanted = [
        alert
        for alert in model.alerts.all()
        if (alert.state == state if state else every or LEVELS[State(alert.state)])
        and rule in (None, alert.rule)
        and touchpoint in (None, alert.touchpoint)
    ]
    wanted.sort(key=lambda each: (-LEVELS[State(each.state)], each.rule, each.touchpoint, each.fingerprint))
    judged = _judged(model, loaded, settings)
    shown = [judged(alert) for alert in wanted]
    if form is Format.JSON:
        for each in shown:
            print_json("alert", each)
    elif shown:
        output().print(alert_table(shown))
    else:
        narrowed = every or state or rule or touchpoint
        output().print("No such alert." if narrowed else "No alert is pending or firing.")


@alerts.command()
def show(
    fingerprint: Fingerprint,
    form: OutputFormat = Format.TABLE,
    config: ConfigFile = None,
    broker: Broker = None,
) -> None:
    """Shows one alert with its evidence, and the transitions that its topic still holds."""
    loaded, settings = prepare(config, broker)
    model = asyncio.run(known_alerts(settings))
    found = _find(model, fingerprint)
    judged = _judged(model, loaded, settings)(found)
    transitions = model.alerts.transitions(found.fingerprint)
    if form is Format.JSON:
        print_json("alert", judged)
        for each in transitions:
            print_json("transition", each)
        return
    out = output()
    out.print(alert_detail(judged))
    for each in transitions:
        out.print(
            f"{time_text(moment_ms(each))}  #{each.sequence}",
            state_text(each.state),
            each.summary,
            markup=False,
        )


@alerts.command()
def acknowledge(
    fingerprint: Fingerprint,
    reason: Reason,
    author: Author = None,
    form: OutputFormat = Format.TABLE,
    config: ConfigFile = None,
    broker: Broker = None,
) -> None:
    """Acknowledges a firing alert: it is muted until it is resolved."""
    _, settings = prepare(config, broker)

    async def run() -> tuple[AlertRecord, OperationRecord]:
        model = await known_alerts(settings)
        alert = _find(model, fingerprint)
        made = acknowledgement(alert, author_or_login(author), reason, present_ms(settings))
        known = model.operations.get(made.id)
        if known is None:
            await operation_log(settings).store(made)
        return alert, known or made

    alert, record = asyncio.run(run())
    said = f"{alert.rule} at {alert.touchpoint} is acknowledged by {record.author} until it is resolved."
    print_operation(said, record, form)


@alerts.command()
def silence(
    reason: Reason,
    lasts: Annotated[str, typer.Option("--for", help="How long, such as 30m, 2h or 1d.")],
    rule: Annotated[str | None, typer.Option(help="Rule, or a pattern such as checkout-*.")] = None,
    touchpoint: Annotated[
        str | None, typer.Option(help="Touchpoint, or a pattern such as checkout*.")
    ] = None,
    severity: Annotated[str | None, typer.Option(help="warning or critical.")] = None,
    author: Author = None,
    form: OutputFormat = Format.TABLE,
    config: ConfigFile = None,
    broker: Broker = None,
) -> None:
    """Silences the alerts that match every pattern given, from now on."""
    _, settings = prepare(config, broker)
    now_ms = present_ms(settings)
    record = silence_of(
        author=author_or_login(author),
        reason=reason,
        ends_at_ms=now_ms + parse_duration_ms(lasts, "--for"),
        now_ms=now_ms,
        rule=rule,
        touchpoint=touchpoint,
        severity=severity,
    )
    asyncio.run(operation_log(settings).store(record))
    print_operation(f"Silence {record.id} holds until {time_text(record.ends_at_ms)} UTC.", record, form)


@alerts.command()
def silences(form: OutputFormat = Format.TABLE, config: ConfigFile = None, broker: Broker = None) -> None:
    """Lists the silences that have not ended."""
    _, settings = prepare(config, broker)
    model = asyncio.run(known_alerts(settings))
    now_ms = present_ms(settings)
    standing = [each for each in model.operations.all(SILENCE) if (each.ends_at_ms or 0) > now_ms]
    if form is Format.JSON:
        for each in standing:
            print_json(SILENCE, each)
    elif standing:
        output().print(silence_table(standing))
    else:
        output().print("No silence.")


@alerts.command()
def unsilence(
    silence_id: Annotated[str, typer.Argument(metavar="ID", help="Of the silence.")],
    reason: Reason,
    author: Author = None,
    form: OutputFormat = Format.TABLE,
    config: ConfigFile = None,
    broker: Broker = None,
) -> None:
    """Ends a silence."""
    _, settings = prepare(config, broker)

    async def run() -> OperationRecord:
        found = (await known_alerts(settings)).operations.get(silence_id)
        if found is None or found.action != SILENCE:
            raise UnknownAlert(
                f"There is no silence {silence_id!r}. effortstream alerts silences lists those that there are"
            )
        record = withdraw(found, author_or_login(author), reason)
        await operation_log(settings).store(record)
        return record

    record = asyncio.run(run())
    print_operation(f"Silence {record.id} has ended.", record, form)


def _judged(model: ReadModel, config: Config, settings: Settings) -> Callable[[AlertRecord], JudgedAlert]:
    """Tells who has muted an alert at present."""
    maintained = maintenance(config.maintenance)
    return Muting(model.operations, partial(present_ms, settings), maintained).judged()


def _find(model: ReadModel, fingerprint: str) -> AlertRecord:
    """The alert of a fingerprint, or of the beginning of one.

    Raises:
        UnknownAlert: none or several begin so.
    """
    exact = model.alerts.get(fingerprint)
    if exact is not None:
        return exact
    found = [
        each
        for each in model.alerts.all()
        if len(fingerprint) >= PREFIX_MIN and each.fingerprint.startswith(fingerprint)
    ]
    if len(found) != 1:
        many = "Several alerts begin with" if found else "There is no alert"
        raise UnknownAlert(f"{many} {fingerprint!r}. effortstream alerts list --all lists them")
    return found[0]
