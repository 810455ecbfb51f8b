# SPDX-License-Identifier: Apache-2.0
"""What a controller has for leases that there are none of: told, and removed where the log proves that they ended."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from bms.ipam.v1 import lease_pb2
from bms.ipam.v1 import leftover_pb2 as lo
from services.ipam import clearing
from services.ipam.backends.contrail_words import hold_uuid
from services.ipam.worker import KEEP_FREED
from services.runtime.contrail import LEASE as NOTE
from services.runtime.contrail import MAC, listed
from services.runtime.neutron import LEASE
from tests.ipam.contrail_rig import BLUE, ContrailRig
from tests.ipam.controller_rig import OTHER_MAC, ControllerRig
from tests.ipam.neutron_rig import NeutronRig
from tests.ipam.rig import ADMIN, DEMO, Rig
from tests.support.stores import MakeDatabase
from tests.support.wire import Reply, auditor, member, reason, service

UNHEARD = "projects/demo/leases/000000ff-0000-4000-8000-000000000000"


class Place:
    """A controller that something can be left at."""

    rig: ControllerRig

    @abstractmethod
    def leave(self, lease: str, address: str) -> str:
        """Something that is there for *lease*; its id."""

    @abstractmethod
    def use(self, ident: str) -> None:
        """Somebody uses it."""

    @abstractmethod
    def change(self, ident: str) -> None:
        """It shows another MAC address."""

    @abstractmethod
    def foreign(self, address: str) -> str:
        """Something of others', with a copy of our mark as far as that can be."""

    @abstractmethod
    def there(self) -> set[str]:
        """The ids of everything that could be ours."""

    @abstractmethod
    def go(self) -> None:
        """The controller stops answering."""


class InContrail(Place):
    """A Contrail."""

    def __init__(self, rig: ContrailRig) -> None:
        self.rig, self.contrail = rig, rig.contrail

    def leave(self, lease: str, address: str) -> str:
        return self._add(hold_uuid(lease), lease, address)

    def _add(self, ident: str, lease: str, address: str) -> str:
        return self.contrail.add(
            "instance-ip",
            [ident],
            uuid=ident,
            instance_ip_address=address,
            virtual_network_refs=[{"to": BLUE}],
            annotations=listed({NOTE: lease}),
        )

    def use(self, ident: str) -> None:
        made = self.contrail.add("virtual-machine-interface", [*BLUE[:-1], "used"], virtual_network_refs=[{"to": BLUE}])
        body = {
            "type": "instance-ip", "uuid": ident, "ref-type": "virtual-machine-interface", "ref-uuid": made,
            "operation": "ADD",
        }  # fmt: skip
        self.contrail.do("POST", "/ref-update", body)

    def change(self, ident: str) -> None:
        body = {"uuid": ident, "annotations": listed({NOTE: UNHEARD, MAC: OTHER_MAC})}
        self.contrail.do("PUT", f"/instance-ip/{ident}", {"instance-ip": body})

    def foreign(self, address: str) -> str:
        return self._add("000000aa-0000-4000-8000-000000000000", UNHEARD, address)

    def there(self) -> set[str]:
        return {one["uuid"] for one in self.contrail.every("instance-ip")}

    def go(self) -> None:
        self.contrail.away = True


class InNeutron(Place):
    """A Neutron."""

    def __init__(self, rig: NeutronRig) -> None:
        self.rig, self.neutron, self.network = rig, rig.neutron, rig.network

    def leave(self, lease: str, address: str) -> str:
        where = [{"ip_address": address}]
        return str(self.neutron.port(self.network, name=lease, description=LEASE, fixed_ips=where)["id"])

    def use(self, ident: str) -> None:
        self.neutron.do("PUT", f"/ports/{ident}", {"port": {"binding:host_id": "somewhere"}})

    def change(self, ident: str) -> None:
        self.neutron.do("PUT", f"/ports/{ident}", {"port": {"mac_address": OTHER_MAC}})

    def foreign(self, address: str) -> str:
        made = self.neutron.port(self.network, name=UNHEARD, fixed_ips=[{"ip_address": address}])
        return str(made["id"])

    def there(self) -> set[str]:
        return set(self.neutron.ports)

    def go(self) -> None:
        self.neutron.away = True


@pytest.fixture(params=["contrail", "neutron"])
def place(request: pytest.FixtureRequest, make_database: MakeDatabase) -> Place:
    """ipam with one prefix beside a controller."""
    database = make_database("services.ipam")
    found: Place = InContrail(ContrailRig(database)) if request.param == "contrail" else InNeutron(NeutronRig(database))
    found.rig.prefix()
    return found


def come_back(place: Place) -> tuple[str, str]:
    """A controller that was restored has again what a lease had that is long freed: its id, and the lease's name."""
    rig = place.rig
    lease = rig.lease()
    rig.release(lease)
    rig.clock.advance(KEEP_FREED.total_seconds() / 2)
    rig.settle()
    rig.clock.advance(KEEP_FREED.total_seconds() + 1)
    rig.settle()
    assert place.rig.wire.call("GetLease", lease_pb2.GetLeaseRequest(name=lease.name)).code is grpc.StatusCode.NOT_FOUND
    return place.leave(lease.name, lease.address), lease.name


def listing(place: Place) -> list[lo.Leftover]:
    found: list[lo.Leftover] = []
    token = ""
    while True:
        request = lo.ListLeftoversRequest(page_token=token)
        page = place.rig.wire.ok("ListLeftovers", request, caller=service())
        found += page.leftovers
        token = page.next_page_token
        if not token:
            return found


def remove(place: Place, leftover: lo.Leftover, **more: Any) -> Reply:
    request = lo.RemoveLeftoverRequest(name=leftover.name, etag=leftover.etag, **more)
    return place.rig.wire.call("RemoveLeftover", request, caller=ADMIN)


def test_what_was_freed_and_is_there_again_is_removed(place: Place) -> None:
    """
    The log proves that the lease ended: it goes, the log says who had it removed, and the address rests.
    """
    ident, lease = come_back(place)
    held = place.rig.lease("vm-2").address

    (found,) = listing(place)
    assert found.name == f"projects/demo/prefixes/p1/leftovers/{ident}"
    assert (found.lease, found.removable) == (lease, True)
    assert place.rig.wire.ok("GetLeftover", lo.GetLeftoverRequest(name=found.name), caller=auditor()) == found
    assert remove(place, found).code is grpc.StatusCode.OK

    assert ident not in place.there()
    assert listing(place) == []
    assert place.rig.types()[-2:] == ["address.observed", "address.unobserved"]
    assert place.rig.holder(found.address) is None
    assert remove(place, found).code is grpc.StatusCode.NOT_FOUND
    place.rig.round()
    assert held != found.address


def test_after_a_round_as_well(place: Place) -> None:
    """
    A round has counted it for another's meanwhile; removed, the next round finds nothing to say.
    """
    come_back(place)
    place.rig.round()
    (found,) = listing(place)

    assert remove(place, found).code is grpc.StatusCode.OK
    place.rig.round()
    assert place.rig.types()[-2:] == ["address.observed", "address.unobserved"]


def test_what_the_log_does_not_know_is_told_and_stays(place: Place) -> None:
    """
    Our own database may have been restored: somebody may use the address.
    """
    ident = place.leave(UNHEARD, "10.1.0.50")

    (found,) = listing(place)
    assert (found.lease, found.address, found.removable) == (UNHEARD, "10.1.0.50", False)
    reply = remove(place, found)
    assert reply.code is grpc.StatusCode.FAILED_PRECONDITION
    assert ident in place.there()


def test_a_hold_of_nobody_is_logged_once_and_when_it_changes(place: Place) -> None:
    """
    Not in every round: the log would hold nothing else.
    """

    def logged() -> list[str]:
        with capture_logs() as logs:
            place.rig.round()
        return [str(one["holder"]) for one in logs if one["event"] == "hold.of_nobody"]

    first = place.leave(UNHEARD, "10.1.0.50")
    assert [logged(), logged()] == [[first], []]
    second = place.leave(UNHEARD[:-1] + "1", "10.1.0.51")
    assert [logged(), logged()] == [[second], []]
    place.change(first)
    assert [logged(), logged()] == [[first], []]


def test_of_many_leases_none_is_left_over(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However many pages of them there are.
    """
    monkeypatch.setattr(clearing, "_PAGE", 2)
    for number in range(5):
        place.rig.lease(f"vm-{number}")
    ident = place.leave(UNHEARD, "10.1.0.50")

    assert [found.name.rpartition("/")[2] for found in listing(place)] == [ident]


def test_what_somebody_uses_stays(place: Place) -> None:
    """
    Freed, and an interface or a host has it all the same: told, with what uses it.
    """
    ident, _ = come_back(place)
    place.use(ident)

    (found,) = listing(place)
    assert not found.removable
    assert "uses it" in found.why
    assert remove(place, found).code is grpc.StatusCode.FAILED_PRECONDITION
    assert ident in place.there()


@pytest.mark.parametrize("place", ["neutron"], indirect=True)
def test_what_hangs_on_a_trunk_is_used(place: InNeutron) -> None:
    """
    The port itself does not tell: the trunks do.
    """
    ident, _ = come_back(place)
    above = place.neutron.port(place.network, fixed_ips=[])
    subs = [{"port_id": ident, "segmentation_id": 7}]
    trunk = place.neutron.do("POST", "/trunks", {"trunk": {"port_id": above["id"], "sub_ports": subs}})["trunk"]

    (found,) = listing(place)
    assert not found.removable
    assert f"trunk {trunk['id']} uses it" in found.why
    assert remove(place, found).code is grpc.StatusCode.FAILED_PRECONDITION
    assert ident in place.there()


@pytest.mark.parametrize("place", ["neutron"], indirect=True)
def test_a_neutron_without_trunks_has_leftovers_all_the_same(place: InNeutron) -> None:
    """
    It answers that it knows no such thing.
    """
    ident, _ = come_back(place)
    place.neutron.aliases.discard("trunk")

    (found,) = listing(place)
    assert remove(place, found).code is grpc.StatusCode.OK
    assert ident not in place.there()


def test_what_is_used_by_now_is_not_removed(place: Place) -> None:
    """
    It has changed since it was looked at.
    """
    ident, _ = come_back(place)
    (found,) = listing(place)
    place.use(ident)

    reply = remove(place, found)
    assert (reply.code, reason(reply.status)) == (grpc.StatusCode.ABORTED, "STALE")
    assert ident in place.there()


def test_leases_and_what_others_have_are_none(place: Place) -> None:
    """
    A lease that is held, one that rests, and what bears no mark of ours or a copied one.
    """
    held, resting = place.rig.lease("vm-1"), place.rig.lease("vm-2")
    place.rig.release(resting)
    foreign = place.foreign("10.1.0.50")
    there = place.there()

    assert listing(place) == []
    name = f"projects/demo/prefixes/p1/leftovers/{foreign}"
    reply = place.rig.wire.call("RemoveLeftover", lo.RemoveLeftoverRequest(name=name), caller=ADMIN)
    assert reply.code is grpc.StatusCode.NOT_FOUND
    assert place.there() == there
    assert held.address


def test_a_rehearsal_removes_nothing(place: Place) -> None:
    """
    With validate_only all is checked, and neither the controller nor the log is touched.
    """
    ident, _ = come_back(place)
    (found,) = listing(place)
    before = place.rig.types()

    assert remove(place, found, validate_only=True).code is grpc.StatusCode.OK
    assert ident in place.there()
    assert place.rig.types() == before


def test_a_controller_that_is_away_is_no_empty_one(place: Place) -> None:
    """
    Neither a page nor a removal is answered as if nothing were there.
    """
    come_back(place)
    (found,) = listing(place)
    place.go()

    reply = place.rig.wire.call("ListLeftovers", lo.ListLeftoversRequest(), caller=service())
    assert reply.code is grpc.StatusCode.UNAVAILABLE
    assert remove(place, found).code is grpc.StatusCode.UNAVAILABLE


def test_who_may(place: Place) -> None:
    """
    Auditors look, and remove nothing; tenants do neither.
    """
    request = lo.RemoveLeftoverRequest(name="projects/demo/prefixes/p1/leftovers/000000aa-0000-4000-8000-000000000000")
    for caller in (auditor(), member("demo"), DEMO):
        assert place.rig.wire.call("RemoveLeftover", request, caller=caller).code is grpc.StatusCode.PERMISSION_DENIED
    reply = place.rig.wire.call("ListLeftovers", lo.ListLeftoversRequest(), caller=DEMO)
    assert reply.code is grpc.StatusCode.PERMISSION_DENIED


def test_without_a_controller_nothing_is_left(rig: Rig) -> None:
    """
    There is nobody who could have anything.
    """
    rig.prefix()
    page = rig.wire.ok("ListLeftovers", lo.ListLeftoversRequest(), caller=service())
    assert (list(page.leftovers), page.next_page_token) == ([], "")
