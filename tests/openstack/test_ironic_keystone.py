# SPDX-License-Identifier: Apache-2.0
"""The genuine Ironic behind the genuine Keystone: our login, and what it may."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from services.kernel.clock import SystemClock
from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import NEWEST, Deadline, IronicApi
from services.lifecycle.bmc import Bmc
from services.lifecycle.ports import CardPort, HardwareFacts, ImageOrder, JobKind, JobOrder, ServerCard, Target
from services.lifecycle.ports import wait_for as code_of
from services.runtime.keystone.clouds import shared_login
from tests.openstack.cloud.fixture import Cloud

pytestmark = [
    pytest.mark.openstack_full,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

IMAGE = ImageOrder("images/debian", "http://127.0.0.1:1/debian.raw", "sha256:" + "ab" * 32)
CARD = ServerCard("", "iron.test", (), HardwareFacts("x86_64"), (), (CardPort("52:54:00:99:10:01"),))


class Kept:
    """A login that Ironic keeps."""

    def of(self, server: str) -> Bmc:
        return Bmc("", 0, "fake-hardware", "", "", kept=True)


@pytest.fixture
def _told(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.place.clouds))


@pytest.fixture
def api(_told: None) -> IronicApi:
    return IronicApi(cloud="site")


@pytest.fixture
def target(api: IronicApi) -> Iterator[Target]:
    """A node of the test's own, without hardware."""
    server = str(uuid.uuid4())
    kinds = {f"{kind}_interface": "bms-steered" for kind in ("deploy", "inspect", "rescue", "power")}
    body: dict[str, Any] = {"uuid": server, "driver": "fake-hardware", "network_interface": "noop", **kinds}
    api.call("POST", "/nodes", Deadline(), body)
    yield Target(server, 1)
    api.call("PUT", f"/nodes/{server}/maintenance", Deadline(), {"reason": "the test is over"})
    api.call("DELETE", f"/nodes/{server}", Deadline())


def test_a_token_that_was_revoked_is_renewed(api: IronicApi, target: Target) -> None:
    """
    What Keystone no longer takes is replaced within the request that met it; all users of the cloud get the new one.
    """
    session = shared_login("site").session
    # Ironic has a token's verdict for minutes once it asked: the next one it meets for the first time, revoked.
    session.invalidate()
    before = session.get_token()
    answer = session.delete(
        "/auth/tokens",
        endpoint_filter={"service_type": "identity", "interface": "public", "version": (3, 0)},
        headers={"X-Subject-Token": str(before)},
    )
    assert answer.status_code == 204

    for _ in range(2):
        assert api.node(target.server, Deadline()).state == "enroll"

    assert session.get_token() != before
    assert shared_login("site", at_keystone=False).session is session
    assert api.version(Deadline()) == NEWEST


def test_a_node_lives_with_a_login_of_a_project(api: IronicApi, target: Target) -> None:
    """
    Verified, described for a tenant, adopted, given back by a clean; what only the system's administrator may is said.
    """
    hardware = IronicHardware(api, Kept(), SystemClock())
    hardware.verify(target)
    hardware.describe(target, CARD, project="0123456789abcdef0123456789abcdef")
    hardware.adopt(target, IMAGE, project="0123456789abcdef0123456789abcdef")
    shown = api.get(f"/nodes/{target.server}", Deadline())
    assert (shown["provision_state"], shown["resource_class"]) == ("active", "iron.test")
    assert shown["lessee"] == "0123456789abcdef0123456789abcdef"

    with pytest.raises(PeerUnavailable, match="disable_cleaning") as caught:
        hardware.start_job(target, JobOrder(JobKind.INSPECT), request_id="i")

    assert code_of(caught.value) == "REFUSED_BY_PEER"
    hardware.start_job(target, JobOrder(JobKind.CLEAN), request_id="c")
    assert api.get(f"/nodes/{target.server}", Deadline())["lessee"] is None
