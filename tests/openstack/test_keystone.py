# SPDX-License-Identifier: Apache-2.0
"""Tokens of a genuine Keystone, shown to genuine services."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from bms.inventory.v1 import catalogue_pb2, inventory_service_pb2_grpc, server_pb2
from bms.telemetry.v1 import telemetry_pb2, telemetry_service_pb2_grpc
from services.runtime import status as statuses
from tests.openstack.keystone import Cloud, running_keystone
from tests.site.rig import Site, running_site
from tests.support.wire import reason, remedy

pytestmark = pytest.mark.openstack

CACHE_SECONDS = 3.0
OK, DENIED, ABSENT = grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND
MALFORMED = grpc.StatusCode.INVALID_ARGUMENT
STRANGER, AWAY = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Keystone with its people."""
    with running_keystone(tmp_path_factory.mktemp("keystone")) as running:
        yield running


@pytest.fixture(scope="module")
def site(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """inventory and telemetry as processes, which take Keystone's tokens and tell everything in their logs."""
    settings = {
        "BMS_KEYSTONE_CLOUD": "bms",
        "BMS_KEYSTONE_CACHE_SECONDS": str(CACHE_SECONDS),
        "BMS_KEYSTONE_ADMIN_PROJECT": cloud.projects["admin"],
        "BMS_LOG_LEVEL": "debug",
        "OS_CLIENT_CONFIG_FILE": str(cloud.clouds),
        "no_proxy": "127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }
    with running_site(tmp_path_factory.mktemp("site"), only=("inventory", "telemetry"), settings=settings) as running:
        yield running


class Inventory:
    """inventory as the bearer of a token meets it.

    Attributes:
        shown: every token that was shown.
    """

    def __init__(self, site: Site, cloud: Cloud) -> None:
        self._stub: Any = inventory_service_pb2_grpc.InventoryServiceStub(site.channel("inventory"))
        self._cloud = cloud
        self.shown: list[str] = []

    def call(self, token: str, method: str, request: Any, key: str = "authorization") -> tuple[Any, status_pb2.Status]:
        """The code that *method* ends with, and the status."""
        self.shown.append(token)
        value = f"Bearer {token}" if key == "authorization" else token
        try:
            getattr(self._stub, method)(request, metadata=((key, value),), timeout=30)
        except grpc.RpcError as error:
            failed: Any = error
            return failed.code(), statuses.details_of(failed.trailing_metadata()) or status_pb2.Status()
        return OK, status_pb2.Status()

    def reads(self, token: str, key: str = "authorization") -> Any:
        """The code of reading what everybody may who is somebody here."""
        return self.call(token, "ListFlavors", catalogue_pb2.ListFlavorsRequest(), key)[0]

    def audits(self, token: str) -> Any:
        """The code of reading what is the site's."""
        return self.call(token, "ListServers", server_pb2.ListServersRequest())[0]

    def administers(self, token: str) -> Any:
        """The code of what administrators alone may."""
        request = catalogue_pb2.CreateFlavorRequest(flavor_id=f"f-{uuid.uuid4()}", validate_only=True)
        request.flavor.resource_class = "any"
        return self.call(token, "CreateFlavor", request)[0]

    def makes_image(self, token: str, project: str, image: str = "") -> Any:
        """The code of making an image of *project*."""
        request = catalogue_pb2.CreateImageRequest(image_id=image or f"i-{uuid.uuid4()}")
        request.image.project = self._cloud.projects[project]
        request.image.visibility = catalogue_pb2.Image.VISIBILITY_PRIVATE
        request.image.source_uri = "http://images.test/i.raw"
        request.image.checksum = "sha256:" + "0" * 64
        return self.call(token, "CreateImage", request)[0]

    def sees_image(self, token: str, image: str) -> Any:
        """The code of reading an image."""
        return self.call(token, "GetImage", catalogue_pb2.GetImageRequest(name=f"images/{image}"))[0]


@pytest.fixture(scope="module")
def inventory(site: Site, cloud: Cloud) -> Inventory:
    return Inventory(site, cloud)


def test_projects_and_roles_decide(cloud: Cloud, inventory: Inventory) -> None:
    """
    A member changes what is his project's, a reader reads it, to members of another project it does not exist, and
    nobody of them is administrator. Each token is taken under both names.
    """
    alice, rita, bert = (cloud.token(name) for name in ("alice", "rita", "bert"))

    assert inventory.makes_image(alice, "web", "ours") is OK
    assert inventory.makes_image(rita, "web") is DENIED
    # A project that is not theirs is none that an image could be of.
    assert {inventory.makes_image(alice, "shop"), inventory.makes_image(bert, "web")} == {MALFORMED}
    assert [inventory.sees_image(each, "ours") for each in (alice, rita, bert)] == [OK, OK, ABSENT]
    assert {inventory.administers(each) for each in (alice, rita, bert)} == {DENIED}
    assert {inventory.audits(each) for each in (alice, rita, bert)} == {DENIED}
    assert [inventory.reads(alice, key) for key in ("authorization", "x-auth-token")] == [OK, OK]


def test_the_clouds_administrators_are_the_sites(cloud: Cloud, inventory: Inventory) -> None:
    """
    The system's administrator, and that of the project which the settings name, are the site's. Our own login, which
    validates, is nobody: role service is asked for in no project.
    """
    system = cloud.token("admin", system_scope="all")

    assert (inventory.administers(system), inventory.audits(system)) == (OK, OK)
    assert inventory.makes_image(system, "web") is OK
    assert inventory.administers(cloud.token("admin")) is OK
    assert inventory.reads(cloud.token("bms")) is DENIED


def test_tokens_for_nothing_here_are_refused(cloud: Cloud, inventory: Inventory) -> None:
    """
    An unscoped token, one for a domain, and one whose roles count for nothing are refused, and told what to ask for.
    """
    for token in (cloud.unscoped("alice"), cloud.token("admin", domain_id="default"), cloud.token("olaf")):
        code, status = inventory.call(token, "ListFlavors", catalogue_pb2.ListFlavorsRequest())
        assert (code, reason(status)) == (DENIED, "FORBIDDEN")
        assert remedy(status)


def test_what_ended_is_nobodys(cloud: Cloud, inventory: Inventory) -> None:
    """
    A token that expired, one that was revoked, one whose application credential has rules that we would not hold its
    bearer to, and one that never was: whoever shows them is nobody, and told how to become somebody.
    """
    soon = (datetime.now(UTC) + timedelta(seconds=4)).strftime("%Y-%m-%dT%H:%M:%S.%f")
    expiring = cloud.credential_token("alice", expires_at=soon)
    ruled = cloud.credential_token("alice", access_rules=[{"path": "/v1/x", "method": "GET", "service": "baremetal"}])
    revoked = cloud.token("alice")
    assert inventory.reads(revoked) is OK
    cloud.revoke("alice", revoked)
    since = time.monotonic()

    assert {inventory.reads(each) for each in (ruled, "gAAAAAnever")} == {STRANGER}
    while inventory.reads(revoked) is not STRANGER:
        assert time.monotonic() - since < CACHE_SECONDS + 5, "a revoked token outlives the cache"
        time.sleep(0.1)
    while inventory.reads(expiring) is not STRANGER:
        assert time.monotonic() - since < 20, "an expired token is taken"
        time.sleep(0.1)
    code, status = inventory.call(expiring, "ListFlavors", catalogue_pb2.ListFlavorsRequest())
    assert (code, reason(status)) == (STRANGER, "UNAUTHENTICATED")
    assert "openstack token issue" in remedy(status)


def test_the_command_line_logs_in(cloud: Cloud, site: Site) -> None:
    """
    `bms` asks Keystone for a token by the login of clouds.yaml, and inventory asks Keystone whose it is.
    """

    def bms(*line: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BMS_", "OS_"))}
        environ = {**kept, "OS_CLIENT_CONFIG_FILE": str(cloud.clouds), "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        argv = [sys.executable, "-m", "services.cli", "--data", str(site.data.path), *line]
        return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=False)

    made = bms("--os-cloud", "admin", "flavor", "create", "from-the-cloud")
    assert made.returncode == 0, made.stderr
    assert "from-the-cloud" in bms("--os-cloud", "rita", "flavor", "list", "-o", "name").stdout


def test_analytics_takes_the_same_tokens(cloud: Cloud, site: Site) -> None:
    """
    The site's administrator reads analytics by REST and gRPC, with the header that OpenStack's tools send; a tenant
    does not.
    """
    admin, alice = cloud.token("admin", system_scope="all"), cloud.token("alice")

    def reads(token: str) -> int:
        url = f"http://{site.addresses['rest']}/analytics"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(urllib.request.Request(url, headers={"X-Auth-Token": token}), timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    stub: Any = telemetry_service_pb2_grpc.TelemetryServiceStub(site.channel("telemetry"))
    assert stub.GetPipelineStatus(
        telemetry_pb2.GetPipelineStatusRequest(), metadata=(("x-auth-token", admin),), timeout=30
    )
    assert [reads(each) for each in (admin, alice, "gAAAAAnever")] == [200, 403, 401]


def test_a_keystone_that_hangs_locks_out_nobody_else(cloud: Cloud, site: Site, inventory: Inventory) -> None:
    """
    While Keystone says nothing, a caller with its token is told to come again, and one with ours is served. When it
    speaks again, all is as before.
    """
    alice, ours = cloud.token("alice"), site.token("admin")
    os.kill(cloud.process.pid, signal.SIGSTOP)
    try:
        code, status = inventory.call(alice, "ListFlavors", catalogue_pb2.ListFlavorsRequest())
        assert (code, reason(status)) == (AWAY, "PEER_UNAVAILABLE")
        assert any(detail.type_url.endswith("RetryInfo") for detail in status.details)
        assert inventory.administers(ours) is OK
    finally:
        os.kill(cloud.process.pid, signal.SIGCONT)
    until = time.monotonic() + 30
    while inventory.reads(alice) is not OK:
        assert time.monotonic() < until, "Keystone is back, and nobody is let in"
        time.sleep(0.1)


def test_no_log_holds_a_secret(cloud: Cloud, site: Site, inventory: Inventory) -> None:
    """
    Of all tokens that were shown, and of all passwords, not one is in what the services and their supervisor wrote.
    """
    said = site.log("inventory") + site.log("telemetry") + site.output()

    assert "caller.validated" in said
    assert "keystone:" in said
    assert len(inventory.shown) > 10
    assert [secret for secret in (*inventory.shown, *cloud.passwords.values()) if secret in said] == []
