# SPDX-License-Identifier: Apache-2.0
"""What bears our mark at a controller and stands for nothing is found, and removed; what is others' is neither."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from bms.network.v1 import leftover_pb2 as lo
from services.kernel.errors import PeerUnavailable
from services.network.backends.contrail_words import MARK, UNIT, machine, machine_uuid
from services.network.operations.leftovers import GRACE
from services.runtime.contrail import listed, network_uuid
from services.runtime.database import Database
from services.runtime.neutron import LEASE, PORT
from tests.network import contrail_rig, test_neutron_ports
from tests.network.conftest import OTHER, SERVER, Site, link, wish
from tests.network.contrail_rig import furnished, ok
from tests.support.clocks import SequentialIds
from tests.support.neutron import FakeNeutron
from tests.support.wire import Reply, auditor, member, reason, service

STRANGER = "00000000-0000-4000-8000-0000000000ff"
BLUE, DEMO = contrail_rig.BLUE, contrail_rig.DEMO
DEMO_ID = test_neutron_ports.DEMO


class Place:
    """A site whose controller something can be left at."""

    site: Site

    @abstractmethod
    def leave(self, server: str = SERVER, unit: str = "", name: str = BLUE, **more: Any) -> str:
        """Leaves something there as network would have made it; its id."""

    @abstractmethod
    def change(self, ident: str) -> None:
        """Changes what was left."""

    @abstractmethod
    def foreign(self) -> list[str]:
        """Makes some things that are others', or ipam's."""

    @abstractmethod
    def there(self) -> set[str]:
        """The ids of everything there that could be ours."""

    @abstractmethod
    def go(self) -> None:
        """The controller stops answering."""


class InContrail(Place):
    """A Contrail."""

    def __init__(self, site: contrail_rig.Cloud) -> None:
        self.site = self.cloud = site

    def leave(self, server: str = SERVER, unit: str = "", name: str = BLUE, **more: Any) -> str:
        network = self.cloud.fake.read("virtual-network", network_uuid(name))
        if machine_uuid(server) not in self.there():
            self.cloud.fake.do("POST", "/virtual-machines", {"virtual-machine": machine(server)})
        number = len(self.cloud.interfaces())
        return self.cloud.fake.add(
            "virtual-machine-interface",
            [*network["fq_name"][:-1], f"bms-left-{number}"],
            virtual_network_refs=[{"to": network["fq_name"]}],
            virtual_machine_refs=[{"to": [server], "uuid": machine_uuid(server)}],
            annotations=listed({MARK: server, UNIT: unit or link(0, server).mac_address}),
            **more,
        )

    def change(self, ident: str) -> None:
        bindings = listed({"host_id": "somebody"})
        body = {"virtual-machine-interface": {"virtual_machine_interface_bindings": bindings}}
        self.cloud.fake.do("PUT", f"/virtual-machine-interface/{ident}", body)

    def foreign(self) -> list[str]:
        plain = self.cloud.foreign(BLUE)
        guest = self.cloud.fake.add("virtual-machine", ["guest"], server_type="virtual-server")
        # A mark that somebody copied to an interface of his own machine's.
        network = self.cloud.fake.read("virtual-network", network_uuid(BLUE))
        copied = self.cloud.fake.add(
            "virtual-machine-interface",
            [*network["fq_name"][:-1], "copied"],
            virtual_network_refs=[{"to": network["fq_name"]}],
            virtual_machine_refs=[{"to": ["guest"], "uuid": guest}],
            annotations=listed({MARK: SERVER, UNIT: link(0).mac_address}),
        )
        other = self.cloud.fake.add("virtual-machine", ["other"], server_type="baremetal-server")
        return [plain, guest, copied, other]

    def there(self) -> set[str]:
        kinds = ("virtual-machine-interface", "virtual-machine")
        return {one["uuid"] for kind in kinds for one in self.cloud.fake.every(kind)}

    def go(self) -> None:
        self.cloud.fake.away = True


class InNeutron(Place):
    """A Neutron."""

    def __init__(self, site: test_neutron_ports.Cloud) -> None:
        self.site = self.cloud = site

    def leave(self, server: str = SERVER, unit: str = "", name: str = BLUE, **more: Any) -> str:
        made = self.cloud.fake.port(
            self.cloud.by_name(name)["id"],
            name=f"bms-{server}",
            device_id=server,
            device_owner="baremetal:none",
            description=PORT,
            mac_address=unit or link(0, server).mac_address,
            fixed_ips=[],
            **more,
        )
        return str(made["id"])

    def change(self, ident: str) -> None:
        self.cloud.fake.do("PUT", f"/ports/{ident}", {"port": {"binding:host_id": "somebody"}})

    def foreign(self) -> list[str]:
        network = self.cloud.by_name(BLUE)["id"]
        plain = self.cloud.fake.port(network, device_id=SERVER)
        lease = self.cloud.fake.port(network, description=LEASE, mac_address=link(1).mac_address)
        guest = self.cloud.fake.port(network, description=PORT, device_owner="compute:nova", device_id=OTHER)
        words = {"name": f"bms-{SERVER}", "description": PORT, "project_id": DEMO_ID}
        copied = self.cloud.fake.port(network, **words)
        as_ours = self.cloud.fake.port(network, **words, device_owner="baremetal:none", device_id=SERVER)
        return [str(one["id"]) for one in (plain, lease, guest, copied, as_ours)]

    def there(self) -> set[str]:
        return set(self.cloud.fake.ports)

    def go(self) -> None:
        self.cloud.fake.away = True


@pytest.fixture(params=["contrail", "neutron"])
def place(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[Place]:
    """A site with one server whose ports were seen in quarantine, long ago."""
    made: Place
    if request.param == "contrail":
        made = InContrail(contrail_rig.Cloud(database, tmp_path, furnished()))
    else:
        made = InNeutron(test_neutron_ports.Cloud(database, tmp_path, FakeNeutron()))
    for name in (BLUE, contrail_rig.GREEN):
        made.site.network(name)
    ok(made.site.register(link(0), link(1)))
    ok(made.site.read())
    made.site.clock.advance(GRACE.total_seconds() + 1)
    yield made
    made.site.close()


def listed_there(place: Place, page_size: int = 0) -> list[lo.Leftover]:
    found: list[lo.Leftover] = []
    token = ""
    while True:
        request = lo.ListLeftoversRequest(page_size=page_size, page_token=token)
        page = ok(place.site.wire.call("ListLeftovers", request, caller=service()))
        found += page.leftovers
        token = page.next_page_token
        if not token:
            return found


def remove(place: Place, leftover: lo.Leftover, **more: Any) -> Reply:
    request = lo.RemoveLeftoverRequest(name=leftover.name, etag=leftover.etag, **more)
    return place.site.wire.call("RemoveLeftover", request, caller=service())


def names(found: list[lo.Leftover]) -> set[str]:
    return {one.name.removeprefix("leftovers/") for one in found}


# -- what is


@pytest.mark.parametrize("page_size", [0, 1])
def test_what_no_wish_stands_for_is_found_and_removed(place: Place, page_size: int) -> None:
    """
    A port of ours that was asked into quarantine has nothing there; what has is told and goes, with two events.
    """
    ident = place.leave()

    (found,) = listed_there(place, page_size)
    assert (found.name, found.server, found.removable) == (f"leftovers/{ident}", f"servers/{SERVER}", True)
    assert "quarantine" in found.why
    assert found.HasField("create_time")
    got = place.site.wire.call("GetLeftover", lo.GetLeftoverRequest(name=found.name), caller=auditor())
    assert ok(got) == found

    assert ok(remove(place, found)).name == found.name
    assert ident not in place.there()
    assert listed_there(place) == []
    assert [event.header.type for event in place.site.told(4)][-2:] == [
        "leftover.removal_requested",
        "leftover.removed",
    ]
    assert remove(place, found).code is grpc.StatusCode.NOT_FOUND


def test_another_network_than_the_one_asked_for(place: Place) -> None:
    """
    What stands for a port as it was asked to be is none, however it came there; what is on another network beside is.
    """
    ok(place.site.attach(wish(0, "tenant", BLUE), project=DEMO))
    place.site.clock.advance(GRACE.total_seconds() + 1)
    assert listed_there(place) == []
    before = place.there()
    ident = place.leave(name=contrail_rig.GREEN)

    (found,) = listed_there(place)
    ok(remove(place, found))
    assert names([found]) == {ident}
    assert place.there() == before
    assert place.site.classes()[0] == "tenant"


def test_what_is_of_a_server_that_has_gone(place: Place) -> None:
    """
    Network forgot its ports, and its log tells that there were some: what is left is ours.
    """
    ok(place.site.register(link(0, OTHER), server=OTHER))
    ok(place.site.read(OTHER))
    ident = place.leave(OTHER)
    assert place.site.register(server=OTHER, fence=2).code is grpc.StatusCode.OK
    place.site.clock.advance(GRACE.total_seconds() + 1)

    found = [one for one in listed_there(place) if one.name.endswith(ident)]
    assert [one.removable for one in found] == [True]
    ok(remove(place, found[0]))
    for left in listed_there(place):
        ok(remove(place, left))
    assert listed_there(place) == []


def test_what_is_of_a_server_that_never_was_may_be_anothers(place: Place) -> None:
    """
    It is told, and refused with what to do: two managers' marks look the same.
    """
    ident = place.leave(STRANGER)

    found = listed_there(place)
    assert ident in names(found)
    assert not any(one.removable for one in found)
    reply = remove(place, found[0])
    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert ident in place.there()


@pytest.mark.parametrize("place", ["neutron"], indirect=True)
def test_what_hangs_on_a_trunk_is_taken_off(place: InNeutron) -> None:
    """
    The trunk stays, with its parent, which is a port that holds an address.
    """
    fake = place.cloud.fake
    ident, other = place.leave(), place.leave(unit=link(1).mac_address)
    for one in (ident, other):
        fake.ports[one]["device_id"] = ""
    above = fake.port(place.cloud.by_name(contrail_rig.GREEN)["id"], description=LEASE)
    subs = [{"port_id": one, "segmentation_id": tag} for tag, one in ((7, ident), (8, other))]
    trunk = fake.do("POST", "/trunks", {"trunk": {"port_id": above["id"], "sub_ports": subs}})["trunk"]

    (found,) = [one for one in listed_there(place) if one.name.endswith(ident)]
    ok(remove(place, found))
    assert ident not in place.there()
    assert [sub["port_id"] for sub in fake.trunks[trunk["id"]]["sub_ports"]] == [other]


# -- what is not


def test_what_others_have_is_neither_listed_nor_removed(place: Place) -> None:
    """
    Without our mark, with ipam's, or with a mark that somebody copied to what is his.
    """
    foreign = place.foreign()

    assert listed_there(place) == []
    for ident in foreign:
        request = lo.RemoveLeftoverRequest(name=f"leftovers/{ident}")
        reply = place.site.wire.call("RemoveLeftover", request, caller=service())
        assert reply.code is grpc.StatusCode.NOT_FOUND
    assert place.there() >= set(foreign)


def test_what_was_asked_for_a_moment_ago_is_none_yet(place: Place) -> None:
    """
    What is being made or cut is on its way: the server's ports must have been left alone for a while.
    """
    ok(place.site.attach(wish(0, "tenant", BLUE), project=DEMO))
    ok(place.site.attach(wish(0, "quarantine")))
    ident = place.leave()
    assert listed_there(place) == []
    place.site.clock.advance(GRACE.total_seconds() + 1)
    assert names(listed_there(place)) == {ident}


def test_what_is_young_is_none_yet(place: Place) -> None:
    """
    By the controller's own word: it was made after its server's ports were last asked for anything.
    """
    ident = place.leave()
    (found,) = listed_there(place)
    place.site.clock.advance(found.create_time.ToSeconds() - place.site.clock.now().timestamp())
    assert listed_there(place) == []
    assert ident in place.there()


def test_what_was_there_when_the_server_was_found_stays(place: Place) -> None:
    """
    A server in use was registered as it was: who knows who put it there.
    """
    ok(place.site.register(link(0, OTHER), server=OTHER, as_found=True))
    place.leave(OTHER)
    place.site.clock.advance(GRACE.total_seconds() + 1)

    assert listed_there(place) == []


# -- what changes, and what is away


def test_what_has_changed_is_not_removed(place: Place) -> None:
    """
    Not as it was audited: ABORTED, and it stays.
    """
    ident = place.leave()
    (found,) = listed_there(place)
    place.change(ident)

    reply = remove(place, found)
    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.ABORTED, "STALE")
    assert ident in place.there()


def test_what_is_wanted_by_now_is_not_removed(place: Place) -> None:
    """
    Its port was asked onto that very network meanwhile.
    """
    ident = place.leave()
    (found,) = listed_there(place)
    ok(place.site.attach(wish(0, "tenant", BLUE), project=DEMO))
    there = place.there()
    place.site.clock.advance(GRACE.total_seconds() + 1)

    assert remove(place, found).code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ABORTED)
    assert place.there() == there
    assert ident


def test_a_rehearsal_removes_nothing(place: Place) -> None:
    """
    With validate_only all is checked, and neither the controller nor the log is touched.
    """
    ident = place.leave()
    (found,) = listed_there(place)

    assert ok(remove(place, found, validate_only=True)) == found
    assert ident in place.there()
    assert listed_there(place) == [found]


def test_a_removal_may_be_repeated(place: Place) -> None:
    """
    The same request is answered the same.
    """
    place.leave()
    (found,) = listed_there(place)
    identity = "00000000-0000-4000-8000-00000000abcd"

    assert ok(remove(place, found, request_id=identity)) == ok(remove(place, found, request_id=identity))


def test_a_controller_that_is_away_is_no_empty_one(place: Place) -> None:
    """
    Neither a page nor a removal is answered as if nothing were there.
    """
    place.leave()
    (found,) = listed_there(place)
    place.go()

    reply = place.site.wire.call("ListLeftovers", lo.ListLeftoversRequest(), caller=service())
    assert reply.code is grpc.StatusCode.UNAVAILABLE
    assert remove(place, found).code is grpc.StatusCode.UNAVAILABLE


def test_who_may(place: Place) -> None:
    """
    Auditors look, and remove nothing; tenants do neither.
    """
    place.leave()
    (found,) = listed_there(place)
    for caller in (auditor(), member("demo")):
        request = lo.RemoveLeftoverRequest(name=found.name)
        assert place.site.wire.call("RemoveLeftover", request, caller=caller).code is grpc.StatusCode.PERMISSION_DENIED
    reply = place.site.wire.call("ListLeftovers", lo.ListLeftoversRequest(), caller=member("demo"))
    assert reply.code is grpc.StatusCode.PERMISSION_DENIED


def test_without_a_controller_nothing_is_left(database: Database, tmp_path: Path) -> None:
    """
    Switches that are worked directly have nothing that bears a mark.
    """
    site = Site(database, tmp_path)
    page = ok(site.wire.call("ListLeftovers", lo.ListLeftoversRequest(), caller=service()))
    assert (list(page.leftovers), page.next_page_token) == ([], "")
    request = lo.GetLeftoverRequest(name=f"leftovers/{STRANGER}")
    assert site.wire.call("GetLeftover", request, caller=service()).code is grpc.StatusCode.NOT_FOUND
    site.close()


@pytest.mark.parametrize("heard", [True, False], ids=["answered", "gone, and nobody heard of it"])
def test_what_another_process_asks_for_in_that_moment_is_made_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """
    It met what was about to be removed, and took it for its own: the wish is sent once more, and comes true.
    """
    fake = FakeNeutron()
    place = InNeutron(test_neutron_ports.Cloud(database, tmp_path, fake))
    (tmp_path / "other").mkdir()
    other = test_neutron_ports.Cloud(database, tmp_path / "other", fake)
    monkeypatch.setattr(other.log, "_ids", SequentialIds("other"))
    place.site.network(BLUE)
    ok(place.site.register(link(0)))
    ok(place.site.read())
    for site in (place.site, other):
        site.clock.advance(GRACE.total_seconds() + 1)
    ident = place.leave()
    (found,) = listed_there(place)
    delete = place.cloud.api.delete

    def late(collection: str, which: str) -> None:
        ok(other.attach(wish(0, "tenant", BLUE), project=DEMO))
        assert place.cloud.by_name(BLUE)["id"] == fake.ports[ident]["network_id"]
        delete(collection, which)
        if not heard:
            msg = "Neutron does not answer"
            raise PeerUnavailable(msg, peer="neutron")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(place.cloud.api, "delete", late)
        reply = remove(place, found)
        assert reply.code is (grpc.StatusCode.OK if heard else grpc.StatusCode.UNAVAILABLE)

    assert ident not in place.there()
    assert place.site.classes() == ["tenant"]
    for site in (place.site, other):
        site.close()
