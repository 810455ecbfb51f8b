# SPDX-License-Identifier: Apache-2.0
"""Ironic's API with the old daemon's login: every page, whatever version it speaks, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.kernel.errors import PeerUnavailable
from telemetry.bridge.conf import read
from telemetry.bridge.ironic import Ironic
from telemetry.bridge.login import CloudLogin
from tests.telemetry.bridge.fake_ironic import USER, FakeIronic
from tests.telemetry.bridge.notes import NODE, PORT, SECRET, node, port


@pytest.fixture
def client(ironic: FakeIronic, tmp_path: Path) -> Ironic:
    """As the old daemon's files say."""
    file = tmp_path / "old.conf"
    file.write_text(ironic.conf())
    return Ironic(read([file], {}, lambda _: "host").login)


def rows(client: Ironic, what: str = "nodes") -> list[Any]:
    """All of them."""
    return [row for page in client.pages(what) for row in page]


def test_13_every_page_is_read(ironic: FakeIronic, client: Ironic) -> None:
    """
    The original took the first, of at most a thousand nodes. The absolute URLs of pages name a host that only the
    server believes in.
    """
    ironic.most = 3
    ironic.put(*(node(uuid=f"{number:08x}-1111-4111-8111-111111111111") for number in range(10)), port())
    found = rows(client)
    assert [row["uuid"] for row in found] == sorted(ironic.nodes)
    assert len([path for path, _ in ironic.asked if "/nodes/detail" in path]) == 4
    assert found[0]["updated_at"] == "2026-11-22T09:00:00+00:00"
    assert [row["uuid"] for row in rows(client, "ports")] == [PORT]


@pytest.mark.parametrize(
    ("newest", "spoken"), [("1.19", "1.19"), ("1.46", "1.46"), ("1.81", "1.81"), ("1.109", "1.81")]
)
def test_17_the_version_is_negotiated(ironic: FakeIronic, client: Ironic, newest: str, spoken: str) -> None:
    """
    The original asked for 1.19 whatever was there, without network_interface and all that came later.
    """
    ironic.newest = newest
    ironic.put(node())
    assert len(rows(client)) == 1
    assert ironic.asked[-1][1] == spoken
    assert client.spoken == tuple(map(int, spoken.split(".")))


def test_17_it_logs_in_at_keystone_v3_and_again_when_the_token_is_gone(ironic: FakeIronic, client: Ironic) -> None:
    """
    The original's default was v2.0, which no Keystone has had since Queens.
    """
    ironic.put(node())
    assert len(rows(client)) == 1
    (login,) = ironic.logins
    assert login["auth"]["identity"]["password"]["user"] == {
        "name": USER, "password": SECRET, "domain": {"name": "Default"},
    }  # fmt: skip
    assert login["auth"]["scope"]["project"] == {"name": "service", "domain": {"name": "Default"}}
    ironic.expired = True
    assert len(rows(client)) == 1
    assert len(ironic.logins) == 2


def test_an_older_ironic_after_an_upgrade_that_was_undone_is_asked_anew(ironic: FakeIronic, client: Ironic) -> None:
    """
    The first listing fails, the next speaks its version.
    """
    ironic.put(node())
    assert len(rows(client)) == 1
    ironic.newest = "1.50"
    with pytest.raises(PeerUnavailable, match="406"):
        rows(client)
    assert [row["uuid"] for row in rows(client)] == [NODE]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"status": 403}, "refuses to list .403"),
        ({"status": 503}, "refuses to list .503"),
        ({"garbage": b"<html>proxy</html>"}, "not Ironic"),
        ({"garbage": b"[]"}, "not Ironic"),
        ({"garbage": b"[" * 100_000}, "not Ironic"),
        ({"garbage": b'{"nodes": {"a": 1}}'}, "not Ironic"),
        ({"newest": "1.18"}, "speaks 1.18 at most"),
        ({"newest": "2"}, "not Ironic"),
        ({"endpoint": "http://127.0.0.1:1"}, "cannot be reached: ConnectFailure"),
        ({"endpoint": "nonsense"}, "cannot be reached"),
    ],
    ids=["forbidden", "busy", "page", "list", "deep", "object", "old", "other", "away", "nonsense"],
)
def test_what_it_cannot_do_it_says_without_secrets(
    ironic: FakeIronic, client: Ironic, wrong: dict[str, Any], says: str
) -> None:
    """
    The next call tries again.
    """
    before = {name: getattr(ironic, name) for name in wrong}
    for name, value in wrong.items():
        setattr(ironic, name, value)
    with pytest.raises(PeerUnavailable, match=says) as caught:
        rows(client)
    assert SECRET not in str(caught.value) + caught.value.remedy
    for name, value in before.items():
        setattr(ironic, name, value)
    if "endpoint" not in wrong:  # Keystone's catalog is kept as long as the token
        assert rows(client) == []


def test_pages_that_go_in_circles_end(ironic: FakeIronic, client: Ironic, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of a proxy that forgets the query, say.
    """
    monkeypatch.setattr("telemetry.bridge.ironic._PAGES", 5)
    ironic.put(node())
    ironic.most, ironic.loops = 1, True
    with pytest.raises(PeerUnavailable, match="do not end"):
        rows(client)


def test_a_wrong_password_is_said_without_it(ironic: FakeIronic, tmp_path: Path) -> None:
    """
    Keystone refuses.
    """
    file = tmp_path / "old.conf"
    file.write_text(ironic.conf().replace(SECRET, "wrong-and-secret"))
    with pytest.raises(PeerUnavailable, match="Unauthorized") as caught:
        rows(Ironic(read([file], {}, lambda _: "host").login))
    assert "wrong-and-secret" not in str(caught.value)


def test_a_cloud_that_is_none_is_said() -> None:
    """
    Where the files have no login, clouds.yaml may have one.
    """
    with pytest.raises(PeerUnavailable, match="no cloud"):
        rows(Ironic(CloudLogin("nowhere")))
