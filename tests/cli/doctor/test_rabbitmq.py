# SPDX-License-Identifier: Apache-2.0
"""The broker: login, exchange, and whether a message comes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.cli.doctor.probes.amqp import Address, parse
from tests.cli.conftest import Shell
from tests.cli.doctor.broker import FakeBroker, fake_broker
from tests.cli.doctor.fakes import NODE, FakeCloud, fake_cloud


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    """A sound broker."""
    with fake_broker() as running:
        yield running


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    """A cloud whose Ironic can be asked without a login."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.delenv("OS_CLOUD", raising=False)
    with fake_cloud() as running:
        yield running


def look(shell: Shell, tmp_path: Path, url: str, *more: str) -> dict[str, tuple[str, str]]:
    """Verdict and text by code."""
    file = tmp_path / "rabbitmq.url"
    file.write_text(f"{url}\n")
    said = shell("doctor", "--section", "rabbitmq", "-o", "json", "--rabbitmq", str(file), *more)
    assert "a-broker's-password" not in said.out + said.err
    return {each["code"]: (each["verdict"], each["text"]) for each in json.loads(said.out)["findings"]}


def test_a_sound_broker(offline: Shell, tmp_path: Path, broker: FakeBroker) -> None:
    """
    It answers, knows us and has the exchange; whether messages come is not tried without --probe.
    """
    seen = look(offline, tmp_path, broker.url())

    assert {code for code, (verdict, _) in seen.items() if verdict == "PASS"} == {
        "RABBITMQ_ANSWERS", "RABBITMQ_TLS", "RABBITMQ_LOGIN", "RABBITMQ_EXCHANGE",
    }  # fmt: skip
    assert seen["RABBITMQ_MESSAGE"][0] == "UNKNOWN"
    assert not broker.bound


@pytest.mark.parametrize(
    ("other", "code", "word"),
    [
        ({"password": "wrong"}, "RABBITMQ_LOGIN", "refuses the login of user 'bms'"),
        ({"vhost": "/elsewhere"}, "RABBITMQ_LOGIN", "no such vhost"),
    ],
)
def test_logins_that_are_refused(
    offline: Shell, tmp_path: Path, broker: FakeBroker, other: dict[str, str], code: str, word: str
) -> None:
    """
    A refusal is told as such, not as silence.
    """
    verdict, text = look(offline, tmp_path, broker.url(**other))[code]

    assert verdict == "FAIL"
    assert word in text


def test_an_exchange_that_is_not_there(offline: Shell, tmp_path: Path, broker: FakeBroker) -> None:
    """
    Without it Ironic sends nothing.
    """
    broker.exchanges.clear()

    assert look(offline, tmp_path, broker.url())["RABBITMQ_EXCHANGE"][0] == "FAIL"


@pytest.mark.parametrize(("how", "word"), [("speaks", "no AMQP"), ("silent", "no answer within 1 s")])
def test_what_is_no_broker(offline: Shell, tmp_path: Path, broker: FakeBroker, how: str, word: str) -> None:
    """
    What speaks something else, or nothing, is one FAIL.
    """
    setattr(broker, how, how == "silent")

    seen = look(offline, tmp_path, broker.url(), "--request-timeout", "1")

    assert seen["RABBITMQ_ANSWERS"][0] == "FAIL"
    assert word in seen["RABBITMQ_ANSWERS"][1]
    assert "RABBITMQ_LOGIN" not in seen


@pytest.mark.parametrize("text", ["hello", "http://127.0.0.1:1", "rabbit://", "rabbit://u:secret@h:port/"])
def test_files_without_a_url(offline: Shell, tmp_path: Path, text: str) -> None:
    """
    What is no URL is told without what is in it.
    """
    verdict, told = look(offline, tmp_path, text)["RABBITMQ_ANSWERS"]

    assert verdict == "FAIL"
    assert "secret" not in told


def test_an_empty_file(offline: Shell, tmp_path: Path) -> None:
    """
    It is refused before anybody is asked.
    """
    (tmp_path / "empty").touch()

    said = offline("doctor", "--rabbitmq", str(tmp_path / "empty"))

    assert said.code == 1
    assert "holds no URL" in said.err


@pytest.mark.parametrize("heard", [True, False])
def test_a_probe_hears_of_a_change(
    offline: Shell, tmp_path: Path, broker: FakeBroker, cloud: FakeCloud, heard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A note in `extra` of a node is told of, or not; it is removed again in both cases, and nothing else is changed.
    """
    monkeypatch.setattr("services.cli.doctor.probes.rabbitmq.HEARD_SECONDS", 1.0)

    def changed(patch: list[dict[str, Any]]) -> None:
        inner = {"event_type": "baremetal.node.update.end", "payload": {"extra": patch[0].get("value")}}
        if heard and patch[0]["op"] == "add":
            broker.publish(json.dumps({"oslo.message": json.dumps({"event_type": "of another"})}).encode())
            broker.publish(json.dumps({"oslo.message": json.dumps(inner)}).encode())

    cloud.on_patch = changed
    seen = look(offline, tmp_path, broker.url(), "--probe", "--ironic-endpoint", f"{cloud.url}/ironic")

    assert seen["RABBITMQ_MESSAGE"] == (
        ("PASS", "baremetal.node.update.end") if heard else ("FAIL", "a node was changed, and nobody told of it")
    )
    assert [(path, patch[0]["op"], patch[0]["path"]) for path, patch in cloud.patched] == [
        (f"/ironic/v1/nodes/{NODE}", "add", "/extra/bms_doctor"),
        (f"/ironic/v1/nodes/{NODE}", "remove", "/extra/bms_doctor"),
    ]
    assert broker.bound == [("ironic", "ironic_versioned_notifications.*")]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("rabbit://u:p@h:1/v", Address("h", 1, "u", "p", "v", False)),
        ("rabbit://u:p%2F@h/", Address("h", 5672, "u", "p/", "/", False)),
        ("rabbits://u:p@h", Address("h", 5671, "u", "p", "/", True)),
        ("rabbit://u:p@h1:1,u:p@h2:2/v", Address("h1", 1, "u", "p", "v", False)),
        ("amqp://h//bms", Address("h", 5672, "guest", "guest", "/bms", False)),
    ],
)
def test_urls(url: str, wanted: Address) -> None:
    """
    Addresses are read as oslo.messaging writes them; the first of several.
    """
    found = parse(url)

    assert found == wanted
    assert found.password not in repr(found) or found.password == "p"
