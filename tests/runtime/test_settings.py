# SPDX-License-Identifier: Apache-2.0
"""Settings are read once, and nonsense is told by the variable's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.kernel.errors import InvalidField
from services.runtime.settings import ClientTls, ServerTls, Settings


def test_defaults() -> None:
    """
    Nothing set: SQLite, keys and tokens in one data directory, loopback, each service's own port.
    """
    settings = Settings.read("ipam", {"BMS_DATA_DIR": "/data"})

    assert settings.database.url == "sqlite:////data/ipam.sqlite"
    assert settings.server.address == "127.0.0.1:50053"
    assert (settings.server.threads, settings.server.grace, settings.server.tls) == (24, 10.0, None)
    assert settings.peers.addresses["network"] == "127.0.0.1:50054"
    assert settings.peers.tls is None
    assert settings.data.key_file == Path("/data/data.key")
    assert settings.data.signing_key_file == Path("/data/ipam.signing.key")


def test_everything_set() -> None:
    """
    Each variable reaches its setting; a service's own variables are not the others'.
    """
    settings = Settings.read(
        "ipam",
        {
            "BMS_DATA_DIR": "/data",
            "BMS_IPAM_DATABASE_URL": "postgresql://db/ipam",
            "BMS_IPAM_ADDRESS": "0.0.0.0:1",
            "BMS_NETWORK_ADDRESS": "net:2",
            "BMS_IPAM_THREADS": "40",
            "BMS_NETWORK_THREADS": "99",
            "BMS_GRACE_SECONDS": "0.5",
            "BMS_DIE_WITH_PARENT": "1",
            "BMS_IPAM_METRICS_PORT": "9",
            "BMS_TLS_CERT": "/c",
            "BMS_TLS_KEY": "/k",
            "BMS_TLS_CLIENT_CA": "/ca",
            "BMS_TLS_CA": "/ca2",
            "BMS_LOG_LEVEL": "DEBUG",
            "BMS_LOG_JSON": "0",
            "BMS_KEY_FILE": "/key",
            "BMS_TOKENS_FILE": "/tokens",
            "BMS_SERVICE_TOKEN_FILE": "/token",
        },
    )

    assert settings.database.url == "postgresql://db/ipam"
    assert (settings.server.address, settings.peers.addresses["network"]) == ("0.0.0.0:1", "net:2")
    assert (settings.server.threads, settings.server.grace, settings.server.metrics_port) == (40, 0.5, 9)
    assert settings.server.die_with_parent
    assert settings.server.tls == ServerTls(Path("/c"), Path("/k"), Path("/ca"))
    assert settings.peers.tls == ClientTls(Path("/ca2"), Path("/c"), Path("/k"))
    assert (settings.log.level, settings.log.json) == ("debug", False)
    assert (settings.data.key_file, settings.data.tokens_file) == (Path("/key"), Path("/tokens"))
    assert settings.peers.token_file == Path("/token")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BMS_IPAM_THREADS", "21"),
        ("BMS_IPAM_THREADS", "many"),
        ("BMS_GRACE_SECONDS", "-1"),
        ("BMS_GRACE_SECONDS", "inf"),
        ("BMS_GRACE_SECONDS", "nan"),
        ("BMS_DIE_WITH_PARENT", "perhaps"),
        ("BMS_LOG_LEVEL", "loud"),
        ("BMS_TLS_CERT", "/c"),
        ("BMS_TLS_KEY", "/k"),
    ],
)
def test_nonsense_is_refused(name: str, value: str) -> None:
    """
    A value that cannot be meant stops the start, and names a variable.
    """
    with pytest.raises(InvalidField) as caught:
        Settings.read("ipam", {name: value})

    assert caught.value.facts["field"].startswith("BMS_")
