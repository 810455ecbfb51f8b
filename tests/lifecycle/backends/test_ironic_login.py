# SPDX-License-Identifier: Apache-2.0
"""How one gets to an Ironic without Keystone, what is spoken there, and that a process logs in to a cloud once."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic_api import NEWEST, Deadline, IronicApi, Version
from services.lifecycle.ports import wait_for
from services.runtime.keystone.clouds import NoCloud, open_session, shared_login
from tests.lifecycle.backends.fake_ironic import Fake, serving

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

PASSWORD = "correct-horse"
BASIC = "Basic " + base64.b64encode(f"bms:{PASSWORD}".encode()).decode()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """An Ironic that clouds.yaml calls ``basic`` and ``none``."""
    with serving() as running:
        common = {"endpoint": running.url}
        login = {**common, "username": "bms", "password": PASSWORD}
        clouds = {
            "basic": {"auth_type": "http_basic", "auth": login, "baremetal_endpoint_override": running.url},
            "none": {"auth_type": "none", "auth": common, "baremetal_endpoint_override": running.url},
        }
        (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": clouds}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
        yield running


@pytest.mark.parametrize(("cloud", "login"), [("basic", BASIC), ("none", "")])
def test_it_is_asked_with_the_cloud_s_login(fake: Fake, cloud: str, login: str) -> None:
    """
    By user and password, or by nobody; no Keystone is needed for either.
    """
    fake.add("00000000-0000-4000-8000-000000000001", "available")

    found = IronicApi(cloud=cloud).node("00000000-0000-4000-8000-000000000001", Deadline())

    assert found.state == "available"
    assert login in fake.logins
    assert fake.logins <= {login, ""}


@pytest.mark.parametrize(
    ("newest", "spoken"), [("1.69", (1, 69)), ("1.80", (1, 80)), ("1.81", NEWEST), ("1.115", NEWEST)]
)
def test_the_newest_that_both_know_is_spoken(fake: Fake, newest: str, spoken: Version) -> None:
    """
    Ours where the server has it, else the server's own newest.
    """
    fake.newest = newest
    fake.add("00000000-0000-4000-8000-000000000001", "available")
    api = IronicApi(cloud="none")
    api.node("00000000-0000-4000-8000-000000000001", Deadline())

    assert api.version(Deadline()) == spoken
    assert f"{spoken[0]}.{spoken[1]}" in fake.spoken


def test_a_login_that_is_refused_is_the_controller_s_wait(fake: Fake) -> None:
    """
    Whoever reads it is sent to the settings, not to a BMC; the password is nowhere in it.
    """
    fake.unknown = True

    with pytest.raises(PeerUnavailable, match="refuses our login") as caught:
        IronicApi(cloud="basic", setting="BMS_X").node("n", Deadline())

    assert wait_for(caught.value) == "CONTROLLER_SILENT"
    assert "BMS_X" in caught.value.remedy
    assert PASSWORD not in f"{caught.value!r} {caught.value.remedy} {caught.value.facts}"


def test_a_process_logs_in_once(fake: Fake) -> None:
    """
    Whoever uses the cloud shares its session; who needs Keystone is refused one without, and told so.
    """
    first = shared_login("basic", at_keystone=False)

    assert shared_login("basic", at_keystone=False) is first
    assert shared_login("none", at_keystone=False) is not first
    assert first.secrets == (PASSWORD,)
    assert PASSWORD not in repr(first)
    for refused in (lambda: shared_login("basic"), lambda: open_session("basic", 5.0)):
        with pytest.raises(NoCloud, match="does not log in at Keystone"):
            refused()
