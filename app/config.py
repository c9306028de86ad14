"""The configuration file: questions, touchpoints, windows, segments, and what it says of the deployment."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.config_alerts import read_alerts
from app.config_catalog import read_catalog
from app.config_maintenance import read_maintenance
from app.config_problems import ABSENT, ConfigurationError, Problem
from app.config_tables import Table
from app.settings import deployment_problems

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scoring.alerts.maintenance import Maintenance
    from scoring.catalog import Catalog

__all__ = ["DEFAULT_PATH", "Config", "ConfigurationError", "load_config"]

DEFAULT_PATH = Path("effortstream.toml")
_TOML_PLACE = re.compile(r" \(at line (\d+), column \d+\)$")


@dataclass(frozen=True, slots=True)
class Config:
    """One configuration file, checked.

    Attributes:
        catalog: everything that decides what a record means.
        path: the file.
        settings: its table [deployment], checked, as written; ``load_settings`` puts the environment over it.
        maintenance: when alerts are shown as muted.
    """

    catalog: Catalog
    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    maintenance: tuple[Maintenance, ...] = ()


def load_config(path: Path | None = None) -> Config:
    """Reads a configuration file.

    Args:
        path: the file; without it effortstream.toml in the working folder.

    Raises:
        ConfigurationError: with every problem of the file, not only the first.
    """
    file = DEFAULT_PATH if path is None else path
    source = str(file)
    content = _parse(source, _text(file, source))
    problems: list[Problem] = []
    root = Table(source, content, problems)
    catalog = read_catalog(root)
    declared = not problems
    deployment = root.table("deployment").content
    problems += deployment_problems(deployment, source)
    catalog, maintenance = _alerts(root, catalog, declared=declared)
    root.finish()
    if problems:
        raise ConfigurationError(problems)
    return Config(catalog, file, deployment, maintenance)


def load_rules(path: Path, catalog: Catalog) -> Catalog:
    """A catalog with the rules of another file in the place of its own.

    Args:
        path: a file that holds nothing but [[alerts]].
        catalog: what the rules are about.

    Raises:
        ConfigurationError: with every problem of the file, not only the first.
    """
    source = str(path)
    problems: list[Problem] = []
    root = Table(source, _parse(source, _text(path, source, "--rules FILE")), problems)
    rules = read_alerts(root, catalog)
    root.finish()
    if problems:
        raise ConfigurationError(problems)
    return replace(catalog, alerts=rules)


def _alerts(root: Table, catalog: Catalog, *, declared: bool) -> tuple[Catalog, tuple[Maintenance, ...]]:
    """The catalog with its rules, and maintenance; compared with what is declared only where that is right."""
    rules = read_alerts(root, catalog if declared else None)
    ids = None if root.problems else [rule.id for rule in rules]
    touchpoints = list(catalog.touchpoints) if declared and catalog.strict else None
    return replace(catalog, alerts=rules), read_maintenance(root, catalog.timezone, ids, touchpoints)


def _text(file: Path, source: str, option: str = "--config FILE") -> str:
    try:
        # Editors on Windows may put a byte order mark in front, which TOML does not know
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problem, remedy = "no such file", f"Run in the folder that holds it, or name it with {option}"
    except UnicodeDecodeError as error:
        problem, remedy = f"is not UTF-8 (byte {error.start})", "Save the file as UTF-8"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        remedy = f"Name a file that this user may read with {option}"
    raise ConfigurationError([Problem(source, "", ABSENT, problem, remedy)])


def _parse(source: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_PLACE.search(str(error))
        line = found[1] if found else str(text.count("\n") + 1)
        problem = f"is not TOML: {_TOML_PLACE.sub('', str(error))}"
    # The line itself is not shown: it may be a secret whose quotes were forgotten
    remedy = 'Correct the line; texts stand in quotes: key = "text"'
    raise ConfigurationError([Problem(source, f"line {line}", ABSENT, problem, remedy)])
