# SPDX-License-Identifier: Apache-2.0
"""Ports that Ironic moves: read as ever, left alone but for a cut and its undoing, over the whole service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from bms.network.v1 import attachment_pb2 as at
from services.kernel.effect import observed
from services.kernel.errors import Corrupt
from services.network.backends.neutron import NeutronFabric
from services.network.backends.neutron_networks import NeutronNetworks
from services.network.backends.neutron_observed import ObservedNeutron
from services.runtime.database import Database
from services.runtime.neutron import Neutron
from tests.network.conftest import SERVER, Site, link, refusal, wish
from tests.support.neutron import OWN, FakeNeutron
from tests.support.wire import Reply

DEMO = "de" * 16
BLUE = f"projects/{DEMO}/networks/blue"
GREEN = f"projects/{DEMO}/networks/green"
CLEANING = "projects/site/networks/cleaning"
CUT, RESTORE = at.WISH_PURPOSE_CUT, at.WISH_PURPOSE_RESTORE


class Ironics(Site):
    """A network service over a Neutron whose ports somebody else moves: `bind` and `unbind` are Ironic."""

    def __init__(self, database: Database, folder: Path, fake: FakeNeutron) -> None:
        self.fake = fake
        api = Neutron(fake, OWN)
        super().__init__(
            database, folder, lambda clock: ObservedNeutron(api, NeutronFabric(api, clock)), NeutronNetworks(api)
        )

    def bind(self, name: str, index: int = 0, **more: Any) -> dict[str, Any]:
        """A port that Ironic binds for the server, in its own words."""
        plug, ident = link(index), name.rsplit("/", 1)[1]
        network = next(one for one in self.fake.networks.values() if one["description"].endswith(ident))
        there = {"port_id": plug.switch_port, "switch_id": "00:1b:21:00:00:01", "switch_info": plug.switch_name}
        return self.fake.port(
            network["id"],
            mac_address=plug.mac_address,
            device_owner="baremetal:none",
            **{
                "binding:host_id": SERVER,
                "binding:vnic_type": "baremetal",
                "binding:profile": {"local_link_information": [there], "physical_network": "physnet1"},
            },
            **more,
        )

    def ask(self, index: int, port_class: str, *networks: str | tuple[str, int], purpose: Any = 0) -> Reply:
        asked = wish(index, port_class, *networks)
        asked.purpose = purpose
        return self.attach(asked, project=DEMO if port_class == "tenant" else "")

    def writes(self) -> list[tuple[str, str]]:
        """What Neutron was asked to change since the last question."""
        told, self.fake.told[:] = list(self.fake.told), []
        return told


def ok(reply: Reply) -> Any:
    assert reply.code is grpc.StatusCode.OK, reply
    return reply.message


@pytest.fixture
def fake() -> FakeNeutron:
    return FakeNeutron()


@pytest.fixture
def site(database: Database, tmp_path: Path, fake: FakeNeutron) -> Iterator[Ironics]:
    made = Ironics(database, tmp_path, fake)
    made.network(CLEANING, "cleaning")
    for name in (BLUE, GREEN):
        made.network(name)
    ok(made.register(link(0), link(1)))
    ok(made.read())
    made.writes()
    yield made
    made.close()


def test_what_ironic_does_settles_the_steps(site: Ironics) -> None:
    """
    A step is recorded and asked of nobody; it is settled once Ironic's binding, or its end, is read.
    """
    for port_class, network in (("cleaning", CLEANING), ("tenant", BLUE)):
        ok(site.ask(0, port_class, network))
        assert site.classes()[0] == "quarantine"
        assert not site.attachments()[0].settled
        bound = site.bind(network)
        site.writes()
        assert site.classes()[0] == port_class
        assert site.attachments()[0].settled
        ok(site.ask(0, "quarantine"))
        assert site.classes()[0] == port_class
        assert not site.attachments()[0].settled
        assert site.writes() == []
        site.fake.do("DELETE", f"/ports/{bound['id']}")
        assert site.classes()[0] == "quarantine"
        assert site.attachments()[0].settled


def test_a_server_that_is_registered_is_left_as_it_is(site: Ironics, fake: FakeNeutron) -> None:
    """
    New ports are to be in quarantine, and what is bound there is not cut by that.
    """
    ok(site.register(link(0)))
    site.bind(BLUE, 1)
    site.writes()
    ok(site.register(link(0), link(1)))

    assert site.writes() == []
    assert site.classes() == ["quarantine", "tenant"]
    assert [one.settled for one in site.attachments()] == [True, False]


def test_a_cut_takes_the_host_and_nothing_else(site: Ironics, fake: FakeNeutron) -> None:
    """
    The port stays as Ironic made it, MAC address, place and trunk, and is bound again as it was.
    """
    sub = fake.port(next(one["id"] for one in fake.networks.values() if one["description"].endswith("green")))
    parent = site.bind(BLUE)
    fake.do("PUT", f"/ports/{parent['id']}", {"port": {"binding:host_id": ""}})
    held = [{"port_id": sub["id"], "segmentation_id": 7, "segmentation_type": "vlan"}]
    fake.do("POST", "/trunks", {"trunk": {"port_id": parent["id"], "sub_ports": held}})
    fake.do("PUT", f"/ports/{parent['id']}", {"port": {"binding:host_id": SERVER}})
    before = {**fake.ports[parent["id"]]}
    assert site.classes()[0] == "tenant"
    site.writes()

    ok(site.ask(0, "quarantine", purpose=CUT))
    assert site.writes() == [("PUT", f"/ports/{parent['id']}")]
    assert site.classes()[0] == "quarantine"
    assert site.attachments()[0].settled
    assert len(fake.trunks) == 1
    ok(site.ask(0, "tenant", BLUE, (GREEN, 7), purpose=RESTORE))

    assert site.classes()[0] == "tenant"
    assert site.attachments()[0].settled
    after = fake.ports[parent["id"]]
    assert {**after, "revision_number": 0} == {**before, "revision_number": 0}


def test_a_step_takes_no_cut_back(site: Ironics, fake: FakeNeutron) -> None:
    """
    Quarantine asked for as a step after a cut that did not come through leaves it a cut, which the next call repeats;
    and a cut after a step is carried out.
    """
    site.bind(BLUE)
    site.bind(GREEN, 1)
    fake.away = True
    assert site.ask(0, "quarantine", purpose=CUT).code is grpc.StatusCode.UNAVAILABLE
    fake.away = False
    ok(site.ask(0, "quarantine"))
    assert site.attachments()[0].requested.purpose == CUT
    assert site.classes() == ["quarantine", "tenant"]

    ok(site.ask(1, "quarantine"))
    assert site.classes()[1] == "tenant"
    ok(site.ask(1, "quarantine", purpose=CUT))
    assert site.classes() == ["quarantine", "quarantine"]


def test_what_neutron_will_not_unbind_is_switched_off_and_unknown(site: Ironics, fake: FakeNeutron) -> None:
    """
    No plugin promises that this cuts: the reading is no quarantine, and says why. The same cut later goes through.
    """
    port = site.bind(BLUE)
    fake.refuses["PUT", "ports"] = (409, "PortBound")
    ok(site.ask(0, "quarantine", purpose=CUT))

    assert not fake.ports[port["id"]]["admin_state_up"]
    assert site.classes()[0] == "unknown"
    assert "switched off, and bound still" in ok(site.read(fence=0)).readings[0].detail
    assert not site.attachments()[0].settled
    ok(site.ask(0, "quarantine", purpose=CUT))
    assert site.classes()[0] == "quarantine"
    ok(site.ask(0, "tenant", BLUE, purpose=RESTORE))
    assert site.classes()[0] == "tenant"
    assert fake.ports[port["id"]]["admin_state_up"]


def test_nothing_is_brought_back_that_is_not_there(site: Ironics, fake: FakeNeutron) -> None:
    """
    No port is made: one that Ironic does not know of it would never unbind. Nor is one bound beside another.
    """
    port = site.bind(BLUE)
    ok(site.ask(0, "quarantine", purpose=CUT))
    ok(site.read())
    other = site.bind(CLEANING)
    refused = site.ask(0, "tenant", BLUE, purpose=RESTORE)
    assert refused.code is grpc.StatusCode.UNAVAILABLE
    assert "is bound where" in refused.status.message
    assert fake.ports[port["id"]]["binding:host_id"] == ""

    fake.do("DELETE", f"/ports/{other['id']}")
    fake.do("DELETE", f"/ports/{port['id']}")
    gone = site.ask(0, "tenant", BLUE, purpose=RESTORE)
    assert gone.code is grpc.StatusCode.UNAVAILABLE
    assert "left" in gone.status.message
    assert fake.ports == {}


def test_where_the_place_is_lost_it_is_named_anew(site: Ironics, fake: FakeNeutron) -> None:
    """
    Somebody emptied the profile meanwhile: the links are those that inventory knows.
    """
    port = site.bind(BLUE)
    ok(site.ask(0, "quarantine", purpose=CUT))
    ok(site.read())
    fake.do("PUT", f"/ports/{port['id']}", {"port": {"binding:profile": {}}})
    ok(site.ask(0, "tenant", BLUE, purpose=RESTORE))

    assert site.classes()[0] == "tenant"
    (there,) = fake.ports[port["id"]]["binding:profile"]["local_link_information"]
    assert there["port_id"] == link(0).switch_port


def test_a_bond_is_cut_and_brought_back_as_one(site: Ironics, fake: FakeNeutron) -> None:
    """
    Its members share one port of Neutron's, which is told once.
    """
    ok(site.register(link(0, group="bond0"), link(1, group="bond0")))
    port = site.bind(BLUE)
    second = {"port_id": link(1).switch_port, "switch_id": "00:1b:21:00:00:02", "switch_info": link(1).switch_name}
    port["binding:profile"]["local_link_information"].append(second)
    assert site.classes() == ["tenant", "tenant"]
    site.writes()
    ok(site.ask(1, "quarantine", purpose=CUT))
    assert site.classes() == ["quarantine", "quarantine"]
    ok(site.ask(0, "tenant", BLUE, purpose=RESTORE))

    assert site.classes() == ["tenant", "tenant"]
    assert site.writes() == [("PUT", f"/ports/{port['id']}")] * 2


@pytest.mark.parametrize(
    ("port_class", "networks", "purpose"),
    [("tenant", (BLUE,), CUT), ("cleaning", (CLEANING,), CUT), ("quarantine", (), RESTORE), ("quarantine", (), 9)],
)
def test_a_purpose_fits_what_is_asked(site: Ironics, port_class: str, networks: tuple[str, ...], purpose: Any) -> None:
    """
    What is cut goes to quarantine, what is restored goes to a tenant's networks.
    """
    reply = site.ask(0, port_class, *networks, purpose=purpose)

    assert refusal(reply) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["wishes[0].purpose"])


class _Killed(Corrupt):
    """The process ends here: nothing of ours catches it, and nobody prints where it came from."""


def test_a_lost_answer_or_a_death_is_made_good_by_the_same_calls(site: Ironics, fake: FakeNeutron) -> None:
    """
    Whichever request's answer is lost, or before or after whichever the process ends: the same call again has the port
    cut, or back, and changed nothing else.
    """
    port = site.bind(BLUE)
    before, points = {**port}, 0
    for target, asked in (("quarantine", ()), ("tenant", (BLUE,))):
        purpose = CUT if target == "quarantine" else RESTORE
        undo = ("tenant", BLUE, RESTORE) if target == "quarantine" else ("quarantine", "", CUT)
        at_point = 0
        while True:
            at_point += 1
            met = [0]

            def die(label: str, when: str, met: list[int] = met, at_point: int = at_point) -> None:
                met[0] += label.startswith("neutron.")
                if label.startswith("neutron.") and met[0] == at_point:
                    raise _Killed("killed")

            with observed(die):
                reply = site.ask(0, target, *asked, purpose=purpose)
            if reply.code is grpc.StatusCode.OK:
                break
            points += 1
            ok(site.ask(0, target, *asked, purpose=purpose))
            assert site.classes()[0] == target
            ok(site.ask(0, undo[0], *filter(None, [undo[1]]), purpose=undo[2]))
            assert site.classes()[0] == undo[0]
        ok(site.ask(0, undo[0], *filter(None, [undo[1]]), purpose=undo[2]))
        ok(site.read())
        fake.loses = ("PUT", "ports")
        assert site.ask(0, target, *asked, purpose=purpose).code is grpc.StatusCode.UNAVAILABLE
        fake.loses = None
        ok(site.ask(0, target, *asked, purpose=purpose))
        assert site.classes()[0] == target
    assert points >= 8
    same = before.keys() - {"revision_number", "status"}
    assert {key: fake.ports[port["id"]][key] for key in same} == {key: before[key] for key in same}
    assert len(fake.ports) == 1
