"""Settings: which source wins, that mistakes name their source, and that secrets stay secret."""

from __future__ import annotations

import json
import logging
import os
import ssl
import subprocess
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr, ValidationError

from app.config import Config, ConfigurationError
from app.logs import OWN_LOGGERS, configure_logging
from app.settings import FIELDS, SECRETS, Settings, client_security, load_settings, origins
from scoring.catalog import Catalog


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    """No setting of whoever runs the tests reaches them."""
    for name in os.environ:
        if name.upper().startswith("EFFORTSTREAM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def logging_restored():
    """Gives logging back as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


def config(**table: object) -> Config:
    """A configuration whose [deployment] is this table."""
    return Config(catalog=Catalog({}), path=Path("c.toml"), settings=table)


def refused(loaded: Config | None = None, **overrides: object) -> str:
    """The message of settings that are refused."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(loaded, **overrides)
    return str(caught.value)


def test_the_defaults_are_the_published_ones():
    """Without any source the settings are those of the contract."""
    settings = load_settings()
    assert (settings.broker, settings.prefix, settings.group) == ("127.0.0.1:9092", "effort.", "effortstream")
    assert (settings.partitions, settings.replication) == (4, 1)
    assert (settings.checkpoint_ms, settings.checkpoint_min_ms, settings.checkpoint_max_ms) == (100, 20, 500)
    assert (settings.session_timeout_s, settings.rebalance_timeout_s) == (10, 30)
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert (settings.metrics_host, settings.metrics_port) == ("127.0.0.1", 9464)
    assert settings.id_key is None
    assert settings.clock is None
    assert not settings.allow_non_transactional
    assert not settings.dead_letter_redact


def test_command_line_beats_environment_beats_file_beats_default(monkeypatch):
    """Each source wins over the next, and origins says which one did."""
    loaded = config(port=1, metrics_port=2, partitions=3)
    monkeypatch.setenv("EFFORTSTREAM_PORT", "11")
    monkeypatch.setenv("effortstream_metrics_port", "12")
    monkeypatch.setenv("EFFORTSTREAM_PARTITIONS", "")
    settings = load_settings(loaded, port=21, partitions=None)
    assert (settings.port, settings.metrics_port, settings.partitions, settings.replication) == (21, 12, 3, 1)
    places = origins(loaded, port=21)
    assert places["port"] == ("command line", "--port")
    assert places["metrics_port"] == ("environment", "EFFORTSTREAM_METRICS_PORT")
    assert places["partitions"] == ("c.toml", "deployment.partitions")
    assert places["replication"] == ("default", "replication")


def test_settings_cannot_be_changed_once_loaded():
    """What config check printed stays in force."""
    with pytest.raises(ValidationError):
        load_settings().port = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("broker", "localhost"),
        ("broker", "localhost:99999"),
        ("broker", "a:1,,b:2"),
        ("security_protocol", "TLS"),
        ("sasl_mechanism", "GSSAPI"),
        ("prefix", "a/b"),
        ("group", "effort stream"),
        ("partitions", "0"),
        ("replication", "two"),
        ("checkpoint_ms", "0.5"),
        ("session_timeout_s", "-1"),
        ("broker_wait_s", "soon"),
        ("metrics_port", "65536"),
        ("port", "tcp://10.0.0.1:8080"),
        ("log_level", "LOUD"),
        ("log_format", "xml"),
        ("clock", "1,2"),
        ("clock", "1,2,0.5"),
        ("dead_letter_redact", "perhaps"),
    ],
)
def test_a_wrong_variable_is_told_with_its_name_value_and_remedy(monkeypatch, name, value):
    """The message names the variable as it was set, its value, and what is expected."""
    variable = f"EFFORTSTREAM_{name.upper()}"
    monkeypatch.setenv(variable, value)
    message = refused()
    assert message.startswith(f'environment: {variable} = "{value}": ')
    assert message.endswith(f". Expected: {FIELDS[name].description}")
    assert "\n" not in message


def test_a_wrong_option_is_told_as_an_option():
    """The source of a mistake on the command line is the option."""
    assert refused(port=70_000).startswith("command line: --port = 70000: ")
    assert refused(broker="x").startswith("command line: --broker = \"x\": 'x' is not HOST:PORT. ")


def test_several_brokers_and_ipv6_are_addresses():
    """Lists of brokers and bracketed addresses are taken, white space dropped."""
    assert load_settings(broker="a:1, [::1]:2").broker == "a:1,[::1]:2"


def test_names_of_levels_and_protocols_may_be_written_in_lower_case():
    """EFFORTSTREAM_LOG_LEVEL=debug means DEBUG."""
    assert load_settings(log_level="debug", security_protocol="ssl").log_level == "DEBUG"


def test_a_misspelt_variable_is_refused_and_a_strange_one_is_not(monkeypatch):
    """A near miss is a mistake; a variable that others set under our prefix is theirs."""
    monkeypatch.setenv("EFFORTSTREAM_TEST_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("EFFORTSTREAM_SERVICE_HOST", "10.0.0.1")
    load_settings()
    monkeypatch.setenv("EFFORTSTREAM_BROKERS", "a:1")
    assert (
        refused() == "environment: EFFORTSTREAM_BROKERS: no such setting. Did you mean EFFORTSTREAM_BROKER?"
    )


def test_secrets_are_neither_printed_nor_in_messages(monkeypatch):
    """A secret shows in no representation of the settings and in no message about it."""
    assert {"sasl_password", "id_key"} == SECRETS
    monkeypatch.setenv("EFFORTSTREAM_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("EFFORTSTREAM_ID_KEY", "hunter3")
    settings = load_settings()
    assert "hunter" not in f"{settings!r} {settings} {settings.model_dump()}"
    assert settings.id_key is not None
    assert settings.id_key.get_secret_value() == "hunter3"
    assert "hunter" not in refused(security_protocol="SASL_SSL")
    assert "hunter" not in refused(id_key=["hunter4"])


def test_settings_that_contradict_each_other_are_refused():
    """Each contradiction is told with what to set; all of them together."""
    lines = refused(security_protocol="SASL_SSL").splitlines()
    assert lines == [
        f'command line: --security-protocol = "SASL_SSL": needs {name}, which is not set. '
        f"Set EFFORTSTREAM_{name.upper()}, or {name} in [deployment]"
        for name in ("sasl_mechanism", "sasl_username", "sasl_password")
    ]
    assert "is not used with security_protocol = SSL" in refused(
        security_protocol="SSL", sasl_mechanism="plain"
    )
    assert "stands without ssl_certfile" in refused(ssl_keyfile="key.pem")
    assert "default: checkpoint_ms = 100: lies outside 200 to 500" in refused(checkpoint_min_ms=200)


def test_clients_get_exactly_the_security_that_is_set(tmp_path):
    """PLAINTEXT brings nothing else; SASL_SSL brings a checking context and the credentials."""
    assert client_security(load_settings()) == {"security_protocol": "PLAINTEXT"}
    sasl = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "u", "sasl_password": "p"}
    given = client_security(load_settings(security_protocol="SASL_SSL", **sasl))
    context = given.pop("ssl_context")
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert given == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "u",
        "sasl_plain_password": "p",
    }
    assert "ssl_context" not in client_security(load_settings(security_protocol="SASL_PLAINTEXT", **sasl))


def test_the_arguments_are_those_that_the_kafka_client_takes():
    """Aiokafka knows every argument by its name."""
    import inspect  # noqa: PLC0415 - only this test asks

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # noqa: PLC0415 - slow to load, only this test asks

    sasl = {"sasl_mechanism": "PLAIN", "sasl_username": "u", "sasl_password": "p"}
    given = client_security(load_settings(security_protocol="SASL_SSL", **sasl))
    for client in (AIOKafkaConsumer, AIOKafkaProducer):
        assert given.keys() <= inspect.signature(client.__init__).parameters.keys()


def test_a_certificate_that_cannot_be_used_is_told_by_its_setting(tmp_path):
    """A missing file and a file that holds no certificate are messages with the setting and the path."""
    absent, empty = str(tmp_path / "absent.pem"), tmp_path / "empty.pem"
    empty.write_text("")
    for name, path in (("ssl_cafile", absent), ("ssl_certfile", absent), ("ssl_certfile", str(empty))):
        settings = load_settings(security_protocol="SSL", **{name: path})
        with pytest.raises(ConfigurationError) as caught:
            client_security(settings)
        assert str(caught.value).startswith(f'settings: {name} = "{path}": cannot be used (')


def test_an_option_that_does_not_exist_is_our_own_mistake():
    """A wrong keyword in the code is a bug and crashes as one."""
    with pytest.raises(TypeError, match="prot"):
        load_settings(prot=1)


def test_a_secret_may_come_as_a_secret():
    """Tests and the demo hand a SecretStr over."""
    settings = load_settings(id_key=SecretStr("k"))
    assert isinstance(settings, Settings)
    assert settings.id_key == SecretStr("k")


@pytest.mark.usefixtures("logging_restored")
def test_logs_are_json_on_standard_error_with_times_in_utc(capsys):
    """Our own lines follow log_level, libraries' lines come from WARNING up, all as JSON with a UTC time."""
    configure_logging(load_settings(log_format="json", log_level="debug"))
    structlog.stdlib.get_logger("agents.intake").debug("checkpoint", records=3)
    logging.getLogger("aiokafka").info("chatter")
    logging.getLogger("aiokafka").warning("lost %s", "a broker")
    captured = capsys.readouterr()
    assert captured.out == ""
    ours, theirs = map(json.loads, captured.err.splitlines())
    assert (ours["event"], ours["records"], ours["level"], ours["logger"]) == (
        "checkpoint",
        3,
        "debug",
        "agents.intake",
    )
    assert ours["time"].endswith("Z")
    assert (theirs["event"], theirs["level"]) == ("lost a broker", "warning")


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("form", ["json", "console"])
def test_logged_tracebacks_show_no_local_variables(capsys, form):
    """A traceback in the log has its lines and never the values, which may be a customer's."""
    configure_logging(load_settings(log_format=form, log_level="info"))
    customer = "c-9"
    try:
        raise ValueError(len(customer))  # noqa: TRY301 - the traceback is what is tested
    except ValueError:
        structlog.stdlib.get_logger("app.serve").exception("failed")
        logging.getLogger("uvicorn").exception("failed")
    structlog.stdlib.get_logger("app.serve").debug("hidden")
    text = capsys.readouterr().err
    assert text.count("ValueError: 3") == 2
    assert "c-9" not in text
    assert "hidden" not in text


@pytest.mark.usefixtures("logging_restored")
def test_configuring_logs_again_replaces_the_last_configuration(capsys):
    """One line is one line, however often logging is configured."""
    for _ in range(3):
        configure_logging(load_settings(log_format="json"))
    structlog.stdlib.get_logger("app").info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_openssl_made_certificates_load(tmp_path):
    """A client certificate and its key reach the context."""
    key, certificate = tmp_path / "k.pem", tmp_path / "c.pem"
    made = subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=t",
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        check=False,
        capture_output=True,
    )
    if made.returncode:
        pytest.skip("openssl is not installed")
    settings = load_settings(
        security_protocol="SSL",
        ssl_cafile=str(certificate),
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
    )
    assert client_security(settings)["ssl_context"].get_ca_certs()[0]["subject"] == ((("commonName", "t"),),)
