"""The command ``effortstream``: one table of sub-commands, and one place where errors become exit statuses."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from app.config_problems import ConfigurationError
from app.version import VERSION
from scoring.errors import DeclarationError, EffortStreamError

FAILED, WRONG_CONFIGURATION, INTERRUPTED = 1, 2, 130

# Each is the function, or the typer app, NAME of module app.cli.NAME, in the order of the help.
COMMANDS = {
    "demo": "See it work: broker, customers, worker and serve in one.",
    "worker": "Tally events and publish scores; more workers share them.",
    "serve": "Serve current scores: /metrics, JSON API, health checks.",
    "simulate": "Simulate customers of an online shop on the input topics.",
    "replay": "Replay CSV files through the whole pipeline.",
    "score": "Compute scores straight from CSV files, with no broker.",
    "alerts": "List alerts, acknowledge them, silence them.",
    "deployment": "Mark deployments, for rules that compare with the time before.",
    "backtest": "Step the alert rules through CSV files: what would have fired.",
    "tune": "Propose alert levels for a wanted false-alarm rate.",
    "topics": "Create the topics of a deployment.",
    "prometheus": "Make the rules for Prometheus, and a dashboard for Grafana.",
    "config": "Check the configuration and print what is in force.",
    "bench": "Measure the worker against the ceiling on Apache Kafka.",
    "schema": "Print the records and topics as JSON Schema or AsyncAPI.",
}


class LazyGroup(TyperGroup):
    """A group whose help knows each command's summary, and which imports a command when it is run.

    The help must be instant, and the commands bring Faust, litestar and numpy with them.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, summary in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments name, imported, and the arguments that are left for it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, None if name is None or command is None else imported(name), rest


def imported(name: str) -> TyperCommand | TyperGroup:
    """The command of that name, ready to run."""
    found = getattr(import_module(f"app.cli.{name}"), name)
    if isinstance(found, typer.Typer):
        found.rich_markup_mode = None
        return typer.main.get_group(found)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name)(found)
    command = typer.main.get_command(single)
    assert isinstance(command, TyperCommand)  # noqa: S101 - one function makes one command
    return command


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - the form that typer calls
    if wanted:
        typer.echo(f"effortstream {VERSION}")
        raise typer.Exit


def _root(
    _version: Annotated[  # noqa: FBT002 - the form that typer reads options from
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Customer effort scores per touchpoint, in real time, from Kafka."""


def root() -> TyperGroup:
    """The whole command line."""
    # Plain help: loading the boxes of rich takes longer than all the rest, and they swallow [names] in brackets
    app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
    app.callback()(_root)
    return typer.main.get_group(app)


def main() -> None:
    """Runs the command line and leaves with its exit status; an error of the user's is a message, no traceback."""
    try:
        root()(prog_name="effortstream")
    except ConfigurationError as error:
        _leave(str(error), WRONG_CONFIGURATION)
    except DeclarationError as error:
        _leave(f"effortstream: {error}", WRONG_CONFIGURATION)
    except EffortStreamError as error:
        _leave(f"effortstream: {error}", FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _leave(message: str, status: int) -> None:
    typer.echo(message, err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
