# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.kernel.errors import InvalidField, PeerUnavailable
from services.runtime.neutron import LEASE, Neutron, find_network, is_ours, network_tag, open_neutron
from services.runtime.openstack import Refused
from tests.support.keystone import SERVICE, FakeKeystone, fake_keystone
from tests.support.neutron import OWN, FakeNeutron
from tests.support.neutron_http import served

TENANT = "a1" * 16
OTHER = "b2" * 16


@pytest.fixture
def fake() -> FakeNeutron:
    return FakeNeutron()


@pytest.fixture
def api(fake: FakeNeutron) -> Neutron:
    return Neutron(fake, OWN)


@pytest.fixture
def keystone() -> Iterator[FakeKeystone]:
    with fake_keystone() as made:
        yield made


@pytest.fixture
def over_http(
    fake: FakeNeutron, keystone: FakeKeystone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Neutron]:
    path = keystone.write_clouds(tmp_path / "clouds.yaml")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served(fake) as url:
        clouds = json.loads(path.read_text())
        clouds["clouds"]["site"]["network_endpoint_override"] = url
        path.write_text(json.dumps(clouds))
        yield open_neutron("site", 5, setting="BMS_NETWORK_NEUTRON_CLOUD")


def test_a_cloud_is_asked_with_its_login(over_http: Neutron, fake: FakeNeutron) -> None:
    """
    What Neutron answers over HTTP is what the caller gets, refusals with Neutron's own word, and our project is known.
    """
    network = fake.network(TENANT)

    assert over_http.own_project == SERVICE
    assert over_http.get("networks", network["id"]) == network
    made = over_http.create("ports", {"network_id": network["id"], "mac_address": "0c:c4:7a:00:00:01"})
    with pytest.raises(Refused) as caught:
        over_http.create("ports", {"network_id": network["id"], "mac_address": "0C:C4:7A:00:00:01"})
    assert (caught.value.status, caught.value.kind) == (409, "MacAddressInUse")
    over_http.delete("ports", made["id"])
    over_http.delete("ports", made["id"])
    assert over_http.get("ports", made["id"]) is None


def test_a_post_whose_answer_is_lost_is_not_sent_again(over_http: Neutron, fake: FakeNeutron) -> None:
    """
    A connection that breaks after a POST leaves one port, not two, and the caller is told that there was no answer.
    """
    network = fake.network(TENANT)
    fake.loses = ("POST", "ports")

    with pytest.raises(PeerUnavailable):
        over_http.create("ports", {"network_id": network["id"]})

    assert len(fake.ports) == 1


def test_a_service_that_is_away_is_no_refusal(over_http: Neutron, fake: FakeNeutron, keystone: FakeKeystone) -> None:
    """
    No answer, a refused login and a login without rights are for the operator, and name no secret.
    """
    fake.away = True
    with pytest.raises(PeerUnavailable) as caught:
        over_http.every("ports")
    fake.away = False
    fake.refuses["GET", "ports"] = (403, "PolicyNotAuthorized")
    with pytest.raises(PeerUnavailable, match="does not let our login"):
        over_http.every("ports")
    fake.refuses["GET", "ports"] = (503, "NoNetworkAvailable")
    with pytest.raises(PeerUnavailable):
        over_http.every("ports")
    assert keystone.password not in repr(caught.value.facts) + str(caught.value)


def test_a_cloud_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The refusal names the setting that named the cloud.
    """
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "none.yaml"))
    with pytest.raises(InvalidField) as caught:
        open_neutron("nowhere", setting="BMS_NETWORK_NEUTRON_CLOUD")

    assert caught.value.facts["field"] == "BMS_NETWORK_NEUTRON_CLOUD"


def test_a_listing_is_whole_or_none(api: Neutron, fake: FakeNeutron) -> None:
    """
    All pages are read; if what a page began after is gone, all are read again; a listing that never ends is no answer.
    """
    network = fake.network(TENANT)
    made = [fake.port(network["id"])["id"] for _ in range(7)]
    fake.most = 3
    assert [port["id"] for port in api.every("ports")] == made
    assert [port["id"] for port in api.every("ports", id=[made[1], made[5]])] == [made[1], made[5]]

    real = fake.handle
    gone: list[str] = []

    def handle(method: str, path: str, body: object) -> tuple[int, object]:
        answer = real(method, path, body)
        if "marker" not in path and len(gone) < limit:
            gone.append(answer[1]["ports"][-1]["id"])
            del fake.ports[gone[-1]]
        return answer

    fake.handle = handle  # type: ignore[method-assign]  # somebody deletes a port between two pages
    limit = 1
    assert [port["id"] for port in api.every("ports")] == [ident for ident in made if ident not in gone]
    limit = 99
    with pytest.raises(PeerUnavailable, match="faster than they can be listed"):
        api.every("ports")


def test_whose_network_is_found(api: Neutron, fake: FakeNeutron) -> None:
    """
    A network that we made is found by its mark, in either place, within its project alone; one that others made by its
    id, if it is the project's or shared; one of a word of our own whosever it is.
    """
    ours = fake.network(TENANT, description="bms-network=web")
    tagged = fake.network(TENANT)
    api.mark("networks", tagged["id"], "bms-network=db")
    private = fake.network(OWN, description="bms-network=site/clean")
    foreign, shared = fake.network(OTHER), fake.network(OTHER, shared=True)

    def found(name: str) -> str:
        return str((find_network(api, name) or {}).get("id", ""))

    assert found(f"projects/{TENANT}/networks/web") == ours["id"]
    assert found(f"projects/{TENANT}/networks/db") == tagged["id"]
    assert found(f"projects/{OTHER}/networks/web") == ""
    assert found("projects/site/networks/clean") == private["id"]
    assert found("projects/lab/networks/clean") == ""
    assert found(f"projects/{OTHER}/networks/{foreign['id']}") == foreign["id"]
    assert found(f"projects/{TENANT}/networks/{foreign['id']}") == ""
    assert found(f"projects/{TENANT}/networks/{shared['id']}") == shared["id"]
    assert found(f"projects/site/networks/{foreign['id']}") == foreign["id"]
    assert network_tag(f"projects/{TENANT}/networks/web") == "bms-network=web"


def test_of_two_made_by_two_replicas_everybody_finds_the_older(api: Neutron, fake: FakeNeutron) -> None:
    """
    Neutron keeps no mark unique; all agree on one.
    """
    older = fake.network(TENANT, description="bms-network=web")
    fake.network(TENANT, description="bms-network=web")
    found = find_network(api, f"projects/{TENANT}/networks/web")

    assert found is not None
    assert found["id"] == older["id"]


def test_a_mark_is_believed_in_either_place(api: Neutron, fake: FakeNeutron) -> None:
    """
    A thing says that we made it from its first moment on, before its tag is set.
    """
    network = fake.network(TENANT)
    fresh = fake.port(network["id"], description=LEASE, tags=[LEASE])
    assert fresh["tags"] == []
    tagged = fake.port(network["id"])
    api.mark("ports", tagged["id"], LEASE)

    assert is_ours(fresh, LEASE)
    assert is_ours(tagged, LEASE)
    assert not is_ours(fake.port(network["id"]), LEASE)
