# SPDX-License-Identifier: Apache-2.0
"""What telemetry is told by its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.kernel.errors import InvalidField
from telemetry.readback import Analytics
from telemetry.sandesh.settings import Address
from telemetry.settings import Listen, TelemetrySettings


def read(**given: str) -> TelemetrySettings:
    return TelemetrySettings.read({f"BMS_TELEMETRY_{name}": value for name, value in given.items()})


def test_defaults_are_loopback_and_contrails_ports() -> None:
    """
    Told nothing, it listens on loopback where Contrail's own would, and sends to its own collector.
    """
    settings = read()

    assert settings.collector == Listen("127.0.0.1", 8086)
    assert settings.rest == Listen("127.0.0.1", 8081)
    assert settings.introspect == Listen("127.0.0.1", 8110)
    assert settings.collectors == ()
    assert settings.tls is None
    assert settings.dscp is None
    assert settings.message_seconds == 48 * 3600
    assert (settings.identity.module, settings.identity.node_type) == ("bms-telemetry", "Config")
    assert settings.identity.instance == "0"


def test_everything_can_be_told(tmp_path: Path) -> None:
    """
    Addresses of both families, several collectors, TLS files, a name.
    """
    for name in ("cert", "key", "ca"):
        (tmp_path / name).write_text("x")
    secret = tmp_path / "analytics"
    secret.touch(0o600)
    secret.write_text("anna:hunter2\n")
    settings = read(
        COLLECTOR_ADDRESS="off",
        COLLECTORS="10.0.0.1, collector-2:8087,[2001:db8::1]:8086",
        REST_ADDRESS="[::1]:9081",
        INTROSPECT_ADDRESS="OFF",
        MESSAGE_HOURS="0.5",
        HOST_NAME="cfg-1",
        INSTANCE_ID="7",
        SANDESH_DSCP="46",
        ANALYTICS_URL="https://10.0.0.9:8181",
        ANALYTICS_CREDENTIALS_FILE=str(secret),
        ANALYTICS_CA=str(tmp_path / "ca"),
        SANDESH_CERT=str(tmp_path / "cert"),
        SANDESH_KEY=str(tmp_path / "key"),
        SANDESH_CA=str(tmp_path / "ca"),
    )

    assert settings.collector is None
    assert settings.introspect is None
    assert settings.collectors == (Address("10.0.0.1"), Address("collector-2", 8087), Address("2001:db8::1"))
    assert settings.rest == Listen("::1", 9081)
    assert settings.message_seconds == 1800
    assert str(settings.identity) == "cfg-1:Config:bms-telemetry:7"
    assert settings.tls is not None
    assert settings.dscp == 46
    assert settings.analytics == Analytics("https://10.0.0.9:8181", "anna:hunter2", tmp_path / "ca")
    assert settings.tls.key == tmp_path / "key"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COLLECTOR_ADDRESS", "8086"),
        ("COLLECTOR_ADDRESS", "off"),
        ("REST_ADDRESS", "host:port"),
        ("REST_ADDRESS", "host:70000"),
        ("COLLECTORS", "a b"),
        ("COLLECTORS", "host:0"),
        ("MESSAGE_HOURS", "0"),
        ("MESSAGE_HOURS", "for ever"),
        ("HOST_NAME", "a:b"),
        ("INSTANCE_ID", "<0>"),
        ("SANDESH_CERT", "/nowhere/cert.pem"),
        ("ANALYTICS_URL", "10.0.0.1:8081"),
        ("ANALYTICS_URL", "http://anna:hunter2@10.0.0.1:8081"),
        ("ANALYTICS_URL", "http://10.0.0.1:8081"),
        ("SANDESH_DSCP", "64"),
        ("SANDESH_DSCP", "-1"),
    ],
    ids=str,
)
def test_what_cannot_be_understood_names_its_variable(name: str, value: str) -> None:
    """
    A variable that makes no sense is refused by name; so is one that is missing beside another.
    """
    with pytest.raises(InvalidField) as caught:
        read(**{name: value})

    field = caught.value.violations[0].field
    assert field.startswith("BMS_TELEMETRY_")
    assert field == f"BMS_TELEMETRY_{name}" or value in ("off", "/nowhere/cert.pem")
