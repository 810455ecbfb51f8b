# SPDX-License-Identifier: Apache-2.0
"""Secrets stay secret: in files and in logs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import Corrupt
from services.runtime import logs
from services.runtime.logs import REDACTED, redact
from services.runtime.secrets import UnsafeFile, Vault
from services.runtime.settings import LogSettings


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    return Vault(tmp_path_factory.mktemp("vault") / "data.key")


@given(st.binary(), st.text())
def test_what_was_sealed_opens_for_its_context(vault: Vault, secret: bytes, context: str) -> None:
    """
    A secret opens for the context it was sealed for, and for no other.
    """
    sealed = vault.seal(secret, context)

    assert vault.open(sealed, context) == secret
    with pytest.raises(Corrupt):
        vault.open(sealed, context + "x")


@given(st.integers(min_value=0))
def test_a_changed_byte_shows(vault: Vault, at: int) -> None:
    """
    Any changed byte, and any cut, is Corrupt.
    """
    sealed = vault.seal(b"secret", "c")
    index = at % len(sealed)
    changed = sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :]

    for broken in (changed, sealed[:index]):
        with pytest.raises(Corrupt):
            vault.open(broken, "c")


def test_another_key_is_told_as_such(tmp_path: Path) -> None:
    """
    A secret sealed with another key says so: the remedy is to restore the key file.
    """
    sealed = Vault(tmp_path / "one").seal(b"secret", "c")

    with pytest.raises(Corrupt, match="another key"):
        Vault(tmp_path / "two").open(sealed, "c")


def test_the_key_file(tmp_path: Path) -> None:
    """
    Made on demand with mode 0600, once however many start together; refused if others may read it or it is cut.
    """
    path = tmp_path / "folder" / "data.key"
    with ThreadPoolExecutor(8) as pool:
        keys = {vault.derive("x") for vault in pool.map(lambda _: Vault(path), range(8))}
    assert len(keys) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert Vault(path).derive("x") != Vault(path).derive("y")
    assert [file.name for file in path.parent.iterdir()] == ["data.key"]

    path.chmod(0o644)
    with pytest.raises(UnsafeFile) as caught:
        Vault(path)
    assert caught.value.remedy == f"chmod 600 {path}"
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(UnsafeFile):
        Vault(path)


def clean(**event: Any) -> dict[str, Any]:
    return dict(redact(None, "info", event))


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "bmc_password",
        "Authorization",
        "user_data",
        "user-data",
        "config_drive",
        "token",
        "private_key",
        "SECRET",
    ],
)
def test_secret_words_are_redacted_at_any_depth(key: str) -> None:
    """
    A value whose key speaks of a secret is not logged, wherever it is nested.
    """
    event = clean(**{key: "hunter2"}, nested={"list": [{key: "hunter2"}, {"name": "x"}]})

    assert event[key] == REDACTED
    assert event["nested"]["list"] == [{key: REDACTED}, {"name": "x"}]


def test_registered_secrets_are_redacted_wherever_they_turn_up() -> None:
    """
    A registered value is cut out of any text; bytes are never logged; page tokens, which are none, are.
    """
    logs.register_secret("very-secret-value")
    event = clean(error="cannot log in with very-secret-value!", data=b"abc", page_token="p", n=1)

    assert event == {"error": f"cannot log in with {REDACTED}!", "data": "[3 bytes]", "page_token": "p", "n": 1}


def test_a_line_is_json(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A log line is one JSON object with time, level, service and facts; an exception's frames show no local values.
    """
    before = structlog.get_config()
    monkeypatch.setattr(logs, "_fast", None)  # puts back what configure() sets
    try:
        logs.configure(LogSettings(level="info", json=True), "ipam")
        log = structlog.get_logger()
        log.debug("unseen")
        log.info("prefix.carved", prefix="10.0.0.0/8", password="hunter2")
        try:
            local = "local-hunter2"
            [][len(local)]
        except IndexError:
            log.exception("failed")
        logs.line("rpc", {"method": "m", "ms": 1.5})
    finally:
        structlog.configure(**before)
    first, second, third = (orjson.loads(line) for line in capfdbinary.readouterr().err.splitlines())

    assert (first["event"], first["level"], first["service"], first["prefix"]) == (
        "prefix.carved",
        "info",
        "ipam",
        "10.0.0.0/8",
    )
    assert first["password"] == REDACTED
    assert "IndexError" in orjson.dumps(second).decode()
    assert "hunter2" not in orjson.dumps(second).decode()
    assert (third["event"], third["level"], third["service"], third["ms"]) == ("rpc", "info", "ipam", 1.5)
    assert set(third) <= {*first, "method", "ms"}
