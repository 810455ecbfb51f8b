# SPDX-License-Identifier: Apache-2.0
"""The five services and PostgreSQL as docker/compose.yaml starts them, called by a genuine grpcurl."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid

import pytest

from tests.containers.engine import PORTS, SERVICES, Refused, Site, eventually, podman

# Building the images on a busy machine takes minutes.
pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

INVENTORY = "bms.inventory.v1.InventoryService"
LIFECYCLE = "bms.lifecycle.v1.LifecycleService"
IPAM = "bms.ipam.v1.IpamService"
NETWORK = "bms.network.v1.NetworkService"
TELEMETRY = "bms.telemetry.v1.TelemetryService"

SECRET = "pa55word-that-never-comes-out"


@pytest.fixture(scope="module")
def server(site: Site) -> str:
    """The name of a server that inventory knows."""
    mac = "52:54:00:" + ":".join(uuid.uuid4().hex[place : place + 2] for place in (0, 2, 4))
    request = {
        "server": {
            "display_name": f"box-{uuid.uuid4().hex[:8]}",
            "bmc": {"address": "192.0.2.17", "username": "root", "password": SECRET},
            "ports": [{"mac_address": mac, "switch_name": "leaf1", "switch_port": "xe-0/0/7", "pxe_enabled": True}],
            "resource_class": "compute",
        },
        "request_id": str(uuid.uuid4()),
    }
    return str(site.call("inventory", f"{INVENTORY}/CreateServer", request)["name"])


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_answers_by_reflection(site: Site, service: str) -> None:
    """
    grpcurl finds every service's methods without being given a contract.
    """
    site.require_serving(service)
    answer = site.grpcurl(service, "grpc.health.v1.Health/Check", {}, site.certified())

    assert answer == {"status": "SERVING"}


def test_a_server_is_kept_and_its_password_is_not_shown(site: Site, server: str) -> None:
    """
    What was registered is read back, without the secret.
    """
    answer = site.call("inventory", f"{INVENTORY}/GetServer", {"name": server})

    assert answer["name"] == server
    assert answer["bmc"]["has_credentials"] is True
    assert SECRET not in json.dumps(answer)


def test_lifecycle_learns_of_the_server(site: Site, server: str) -> None:
    """
    Lifecycle follows inventory's log over mutual TLS.
    """
    status = eventually(lambda: _found(site, f"{LIFECYCLE}/GetServerStatus", {"name": f"{server}/status"}))

    assert status["name"] == f"{server}/status"


def test_a_server_is_provided(site: Site, server: str) -> None:
    """
    The longest way there is: lifecycle fetches the BMC's login over mutual TLS, which nothing else ever gets out,
    network moves the ports, and the rack that both of them share is inspected and erased until the server is available.
    """
    for network_class in ("CLEANING", "PROVISIONING"):
        network = {"network_class": f"PORT_CLASS_{network_class}"}
        request = {"parent": "projects/site", "network_id": network_class.lower(), "network": network}
        site.call("network", f"{NETWORK}/CreateNetwork", request)
    name = f"{server}/status"
    eventually(lambda: _found(site, f"{LIFECYCLE}/GetServerStatus", {"name": name}))
    site.call("lifecycle", f"{LIFECYCLE}/ProvideServer", {"name": server})

    def look() -> None:
        status = site.call("lifecycle", f"{LIFECYCLE}/GetServerStatus", {"name": name})
        assert status["state"] == "STATE_AVAILABLE", f"{status}\n{site.logs('lifecycle')}"

    eventually(look, deadline=120)


def test_telemetry_tells_of_the_server(site: Site, server: str) -> None:
    """
    The event of the registration reaches the reading side.
    """

    def look() -> None:
        answer = site.call("telemetry", f"{TELEMETRY}/QueryEvents", {"stream": server})
        assert answer.get("events"), site.logs("telemetry")

    eventually(look)


def test_a_network_its_prefix_and_an_address(site: Site) -> None:
    """
    Network and ipam keep what they are told, in databases of their own.
    """
    project = f"projects/p{uuid.uuid4().hex[:8]}"
    site.call("network", f"{NETWORK}/CreateNetwork", {"parent": project, "network_id": "blue"})
    prefix = {"cidr": "10.77.0.0/24", "network": f"{project}/networks/blue"}
    site.call("ipam", f"{IPAM}/CreatePrefix", {"parent": project, "prefix_id": "blue", "prefix": prefix})

    listed = site.call("ipam", f"{IPAM}/ListPrefixes", {"parent": project})

    assert [row["cidr"] for row in listed["prefixes"]] == ["10.77.0.0/24"]


def test_without_a_token_nothing_is_answered(site: Site, server: str) -> None:
    """
    A certificate alone opens nothing.
    """
    with pytest.raises(Refused) as caught:
        site.grpcurl("inventory", f"{INVENTORY}/GetServer", {"name": server}, site.certified())

    assert caught.value.code == "Unauthenticated"


def test_without_a_certificate_nothing_is_reached(site: Site) -> None:
    """
    A client that shows no certificate does not get as far as a status.
    """
    with pytest.raises(Refused) as caught:
        site.grpcurl("inventory", "grpc.health.v1.Health/Check", {}, [])

    assert caught.value.code == "NONE"


def test_the_analytics_form_is_published(site: Site) -> None:
    """
    Contrail's analytics forms answer on their published port, to whoever shows a token.
    """
    address = f"http://127.0.0.1:{PORTS['rest']}/analytics/uves/servers"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(address, timeout=10)
    request = urllib.request.Request(
        address, headers={"X-Auth-Token": (site.folder / "admin.token").read_text().strip()}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        rows = json.loads(answer.read())

    assert caught.value.code == 401
    assert isinstance(rows, list)


def test_told_to_stop_it_stops_by_itself(site: Site) -> None:
    """
    SIGTERM ends a service well before the engine would kill it, with exit code 0; started again it serves.
    """
    name = site.container("ipam")
    began = time.monotonic()
    podman("stop", "--time", "20", name)
    took = time.monotonic() - began

    code = podman("inspect", "--format", "{{.State.ExitCode}}", name).strip()

    assert (code, took < 15) == ("0", True), site.logs("ipam")
    podman("start", name)
    eventually(lambda: site.require_serving("ipam"))


def test_services_wait_for_their_database(site: Site, server: str) -> None:
    """
    While PostgreSQL is away a call says UNAVAILABLE; when it is back the same call goes through, without a restart.
    """
    podman("stop", "--time", "10", site.container("postgres"))
    with pytest.raises(Refused) as caught:
        site.call("inventory", f"{INVENTORY}/GetServer", {"name": server})
    podman("start", site.container("postgres"))

    assert caught.value.code in {"Unavailable", "DeadlineExceeded"}
    answer = eventually(lambda: _found(site, f"{INVENTORY}/GetServer", {"name": server}, service="inventory"))
    assert answer["name"] == server


def _found(site: Site, method: str, request: dict[str, str], *, service: str = "lifecycle") -> dict[str, object]:
    try:
        return site.call(service, method, request)
    except Refused as refused:
        raise AssertionError(f"{refused.text}\n{site.logs(service)}") from None
