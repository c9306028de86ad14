"""Deployment settings: command line over environment (EFFORTSTREAM_...) over [deployment] over defaults."""

from __future__ import annotations

import difflib
import os
import re
import ssl
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from agents.clock import parse_clock
from app.config_problems import ABSENT, ConfigurationError, Problem, dotted, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from app.config import Config

ENV_PREFIX = "EFFORTSTREAM_"
MISSPELT_CUTOFF = 0.85
_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,150}")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]/]+):([0-9]{1,5})")


def _brokers(text: str) -> str:
    for address in text.split(","):
        found = _ADDRESS.fullmatch(address.strip())
        if found is None or not 0 < int(found[2]) <= 65535:  # noqa: PLR2004 - the highest TCP port
            raise ValueError(f"{address.strip()!r} is not HOST:PORT")
    return ",".join(address.strip() for address in text.split(","))


def _topic_name(text: str) -> str:
    if not _TOPIC_NAME.fullmatch(text):
        raise ValueError("Kafka allows 1 to 150 letters, digits, dots, underscores and hyphens here")
    return text


def _clock(text: str) -> str:
    try:
        parse_clock(text)
    except ValueError:
        raise ValueError("is not started_ms,from_ms,rate with a rate of 1 or more") from None
    return text


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


TopicName = Annotated[str, AfterValidator(_topic_name)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]
Milliseconds = Annotated[int, Field(ge=1, le=60_000)]
Count = Annotated[int, Field(ge=1, le=10_000)]
Records = Annotated[int, Field(ge=1, le=10_000_000)]


class Deployment(BaseModel):
    """What may differ between two deployments of one configuration; descriptions double as remedies."""

    broker: Annotated[str, AfterValidator(_brokers)] = Field(
        "127.0.0.1:9092", description="HOST:PORT of a broker, several separated by commas"
    )
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], BeforeValidator(_upper)
    ] = Field("PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, BeforeValidator(_upper)
    ] = Field(None, description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
    sasl_username: str | None = Field(None, description="the user that SASL logs in")
    sasl_password: SecretStr | None = Field(None, description="the password that SASL logs in with")
    ssl_cafile: str | None = Field(
        None, description="a PEM file of trusted authorities (default: the system's)"
    )
    ssl_certfile: str | None = Field(None, description="a PEM file with the client's certificate")
    ssl_keyfile: str | None = Field(None, description="a PEM file with the key of ssl_certfile")
    prefix: TopicName = Field("effort.", description="what the names of topics begin with")
    group: TopicName = Field("effortstream", description="the consumer group, which owns the state")
    partitions: Count = Field(4, description="partitions of each topic, 1 or more, never changed later")
    replication: Count = Field(
        1, description="copies of each topic, 1 or more, at most the number of brokers"
    )
    id_key: Annotated[SecretStr, Field(min_length=1)] | None = Field(
        None, description="a secret that ids in state are hashed with, fixed for the life of the state"
    )
    checkpoint_ms: Milliseconds = Field(100, description="milliseconds between checkpoints to begin with")
    checkpoint_min_ms: Milliseconds = Field(20, description="the shortest time between checkpoints")
    checkpoint_max_ms: Milliseconds = Field(
        500, description="the longest time between checkpoints under load"
    )
    session_timeout_s: Seconds = Field(
        10, description="seconds without a sign of life until a worker is dead"
    )
    rebalance_timeout_s: Seconds = Field(30, description="seconds that a worker has to join a rebalance")
    transaction_timeout_s: Seconds = Field(
        60, description="seconds until the broker aborts an open transaction"
    )
    stall_s: Seconds = Field(
        120,
        description="seconds without progress, while there is work, until a worker ends to be started again",
    )
    broker_wait_s: float = Field(
        60, ge=0, le=86_400, description="seconds to retry an unreachable broker before giving up"
    )
    metrics_host: str = Field(
        "127.0.0.1", min_length=1, description="the address that worker metrics listen on"
    )
    metrics_port: Port = Field(9464, description="the port of worker metrics, up to 65535; 0 is off")
    host: str = Field("127.0.0.1", min_length=1, description="the address that serve listens on")
    port: Port = Field(8080, description="the port that serve listens on, up to 65535; 0 takes a free one")
    max_series: Records = Field(
        200_000, description="scores and interaction statistics that serve holds; it refuses further series"
    )
    max_alerts: Records = Field(
        50_000, description="alerts that serve holds; beyond, the one that is calm for longest gives way"
    )
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)
    ] = Field("INFO", description="DEBUG, INFO, WARNING, ERROR or CRITICAL")
    log_format: Literal["console", "json"] = Field("console", description="console or json")
    clock: Annotated[str, AfterValidator(_clock)] | None = Field(
        None, description="the demo's clock, which the demo sets itself"
    )
    allow_non_transactional: bool = Field(
        default=False, description="true: accept a broker without transactions, where a crash may count twice"
    )
    dead_letter_redact: bool = Field(
        default=False, description="true: dead letters keep no value of the refused record"
    )


class Settings(Deployment, BaseSettings):
    """The settings in force; made by ``load_settings``, which says which source a mistake came from."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )


FIELDS = Deployment.model_fields
SECRETS = frozenset(name for name, field in FIELDS.items() if "SecretStr" in repr(field.annotation))


def deployment_problems(table: Mapping[str, Any], source: str) -> list[Problem]:
    """What is wrong with a table [deployment] taken by itself; texts are not taken for numbers here."""
    places = {name: (source, dotted(("deployment", name))) for name in table}
    unknown = [
        # never its value: a misspelt sasl_password is still a password
        Problem(*places[name], ABSENT, "no such key", nearest(name, FIELDS))
        for name in table
        if name not in FIELDS
    ]
    try:
        Deployment.model_validate({name: table[name] for name in table if name in FIELDS}, strict=True)
    except ValidationError as error:
        return unknown + _problems(error, places)
    return unknown


def load_settings(config: Config | None = None, **overrides: Any) -> Settings:
    """The settings in force.

    Args:
        config: its table [deployment] fills in what the environment leaves open.
        overrides: options of the command line, which beat everything; None means not given.

    Raises:
        ConfigurationError: names the option, variable or key, its value unless secret, and the remedy.
        TypeError: an override that is no setting, which is the caller's bug.
    """
    if strange := overrides.keys() - FIELDS.keys():
        raise TypeError(f"no such settings: {sorted(strange)}")
    places = origins(config, **overrides)
    given = {name: value for name, value in overrides.items() if value is not None}
    variables = _variables()
    table = {} if config is None else config.settings
    given |= {name: value for name, value in table.items() if name not in given and name not in variables}
    problems = list(_misspelt())
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise ConfigurationError(problems + _problems(error, places)) from None
    for name, problem, remedy in _contradictions(settings):
        value = ABSENT if name in SECRETS else getattr(settings, name)
        problems.append(Problem(*places[name], value, problem, remedy))
    if problems:
        raise ConfigurationError(problems)
    return settings


def origins(config: Config | None = None, **overrides: Any) -> dict[str, tuple[str, str]]:
    """Where each setting comes from: (file, ``environment``, ``command line`` or ``default``; key there)."""
    variables = _variables()
    table = {} if config is None else config.settings
    out = {}
    for name in FIELDS:
        if overrides.get(name) is not None:
            out[name] = ("command line", f"--{name.replace('_', '-')}")
        elif name in variables:
            out[name] = ("environment", f"{ENV_PREFIX}{name.upper()}")
        elif name in table and config is not None:
            out[name] = (str(config.path), f"deployment.{name}")
        else:
            out[name] = ("default", name)
    return out


def client_security(settings: Settings) -> dict[str, Any]:
    """The security arguments of every aiokafka client.

    Raises:
        ConfigurationError: a certificate file that cannot be used.
    """
    out: dict[str, Any] = {"security_protocol": settings.security_protocol}
    if settings.security_protocol.endswith("SSL"):
        out["ssl_context"] = _ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        password = settings.sasl_password
        out |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": None if password is None else password.get_secret_value(),
        }
    return out


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    name, value = "ssl_cafile", settings.ssl_cafile
    try:
        context = ssl.create_default_context(cafile=value)
        if settings.ssl_certfile is not None:
            name, value = "ssl_certfile", settings.ssl_certfile
            context.load_cert_chain(value, settings.ssl_keyfile)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = Problem("settings", name, value, f"cannot be used ({reason})", _expected(name))
        raise ConfigurationError([problem]) from None
    return context


def _variables() -> frozenset[str]:
    """The fields that the environment sets; variables that are set but empty count as not set."""
    names = {name.upper().removeprefix(ENV_PREFIX).lower() for name, value in _environment() if value}
    return frozenset(names & FIELDS.keys())


def _environment() -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in os.environ.items() if name.upper().startswith(ENV_PREFIX))


def _misspelt() -> Iterator[Problem]:
    """Variables that are nearly a setting; others belong to others (Kubernetes sets some by service name)."""
    for variable, _ in _environment():
        name = variable.upper().removeprefix(ENV_PREFIX).lower()
        close = difflib.get_close_matches(name, FIELDS, n=1, cutoff=MISSPELT_CUTOFF)
        if name not in FIELDS and close:
            remedy = f"Did you mean {ENV_PREFIX}{close[0].upper()}?"
            yield Problem("environment", variable, ABSENT, "no such setting", remedy)


def _expected(name: str) -> str:
    return f"Expected: {FIELDS[name].description}"


def _problems(error: ValidationError, places: Mapping[str, tuple[str, str]]) -> list[Problem]:
    out = []
    for item in error.errors(include_url=False, include_context=False):
        name = str(item["loc"][0])
        value = ABSENT if name in SECRETS else item["input"]
        problem = item["msg"].removeprefix("Value error, ")
        problem = problem[:1].lower() + problem[1:]
        out.append(Problem(*places[name], value, problem, _expected(name)))
    return out


def _contradictions(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Settings that are right by themselves and wrong together, as (field, problem, remedy)."""
    if settings.security_protocol.startswith("SASL"):
        for name in ("sasl_mechanism", "sasl_username", "sasl_password"):
            if getattr(settings, name) is None:
                yield (
                    "security_protocol",
                    f"needs {name}, which is not set",
                    f"Set {ENV_PREFIX}{name.upper()}, or {name} in [deployment]",
                )
    elif settings.sasl_mechanism is not None:
        yield (
            "sasl_mechanism",
            f"is not used with security_protocol = {settings.security_protocol}",
            "Set security_protocol to SASL_SSL (or SASL_PLAINTEXT), or remove it",
        )
    if settings.ssl_keyfile is not None and settings.ssl_certfile is None:
        yield "ssl_keyfile", "stands without ssl_certfile", "Set ssl_certfile too, or remove it"
    if not settings.checkpoint_min_ms <= settings.checkpoint_ms <= settings.checkpoint_max_ms:
        yield (
            "checkpoint_ms",
            f"lies outside {settings.checkpoint_min_ms} to {settings.checkpoint_max_ms}",
            "Let checkpoint_min_ms <= checkpoint_ms <= checkpoint_max_ms",
        )
