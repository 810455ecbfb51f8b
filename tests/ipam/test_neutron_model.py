# SPDX-License-Identifier: Apache-2.0
"""ipam and a Neutron that others use, in any order, with processes that die: every grant is true in both, and when
things have come to rest both have the same.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import nullcontext, suppress
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bms.ipam.v1 import lease_pb2
from services.ipam.domain.holding import HALF_DONE
from services.ipam.domain.leases import LeaseState
from services.kernel.errors import BmsError
from services.runtime.database import open_database
from tests.ipam.neutron_rig import Crash, NeutronRig, dying, released
from tests.ipam.rig import wish
from tests.ipam.test_concurrency import served
from tests.ipam.test_neutron_crashes import agrees
from tests.support.memory import IN_MEMORY
from tests.support.stores import _sqlite_copy

COOL_DOWN = timedelta(seconds=30)
HOSTS = [f"10.1.0.{last}" for last in range(2, 7)]
DEATHS = [
    (label, when)
    for label in (
        "plane.hold", "plane.drop", "plane.holders", "db.ipam.begin.commit", "db.LeaseAddress.commit",
        "db.ReleaseLease.commit", "db.ipam.held.commit", "db.ipam.let_go.commit", "db.ipam.observe.commit",
        "db.ipam.set_aside.commit", "db.ipam.settle_at.commit", "db.ipam.give_up.commit",
    )
    for when in ("before", "after")
]  # fmt: skip

owners = st.integers(0, 4)
deaths = st.one_of(st.none(), st.sampled_from(DEATHS))


class Addresses(RuleBasedStateMachine):
    """Five addresses, five owners, Nova's machines, an administrator with his hands on the ports."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="bms-ipam-", dir=IN_MEMORY))
        self.database = open_database(_sqlite_copy("services.ipam", self.folder / "ipam.sqlite"))
        self.rig = NeutronRig(self.database)
        self.machines: list[str] = []

    @initialize()
    def a_prefix(self) -> None:
        self.rig.prefix("10.1.0.0/29", cool_down=COOL_DOWN)

    @rule(owner=owners, address=st.one_of(st.just(""), st.sampled_from(HOSTS)), death=deaths)
    def lease(self, owner: int, address: str, death: tuple[str, str] | None) -> None:
        request = wish(f"vm-{owner}", address=address, mac_address=f"52:54:00:00:00:0{owner}")
        held_before = [lease for lease in self.rig.stored_all() if lease.state is LeaseState.LEASED]
        with dying(*death) if death else nullcontext(), suppress(Crash, BmsError):
            granted = served(self.rig, "LeaseAddress", request)
            if any(lease.name == granted.name and not lease.pending for lease in held_before):
                return
            port = self.rig.port_at(granted.address)
            assert port is not None
            assert (port["name"], port["mac_address"]) == (granted.name, request.owner.mac_address)

    @rule(owner=owners, death=deaths)
    def release(self, owner: int, death: tuple[str, str] | None) -> None:
        with dying(*death) if death else nullcontext(), suppress(Crash):
            for lease in self.rig.stored_all():
                if lease.owner.resource == f"vm-{owner}" and lease.state is LeaseState.LEASED and not lease.pending:
                    asked = released(lease_pb2.AddressLease(name=lease.name, epoch=lease.epoch))
                    served(self.rig, "ReleaseLease", asked)

    @rule(address=st.sampled_from(HOSTS))
    def a_machine_of_novas_comes(self, address: str) -> None:
        with suppress(AssertionError):  # Neutron refuses what is taken
            self.machines.append(self.rig.vm(address)["id"])

    @rule()
    def a_machine_of_novas_goes(self) -> None:
        if self.machines:
            del self.rig.neutron.ports[self.machines.pop(0)]

    @rule(which=st.integers(0, 4), what=st.sampled_from(["delete", "mac", "name"]))
    def hands_on_a_port(self, which: int, what: str) -> None:
        ports = self.rig.ports()
        if which >= len(ports):
            return
        if what == "delete":
            del self.rig.neutron.ports[ports[which]["id"]]
        elif what == "mac":
            ports[which]["mac_address"] = f"0e:00:00:00:00:{which:02x}"
        elif ports[which]["id"] in {lease.hold for lease in self.rig.stored_all()}:
            # One that nobody has noted yet is known by its name alone.
            ports[which]["name"] = "mine"

    @rule(away=st.booleans())
    def neutron_goes_or_comes(self, away: bool) -> None:
        self.rig.neutron.away = away

    @rule(method=st.sampled_from(["POST", "PUT", "DELETE"]))
    def an_answer_is_lost(self, method: str) -> None:
        self.rig.neutron.loses = (method, "ports")

    @rule(seconds=st.sampled_from([1, 29, 31, 61, HALF_DONE.total_seconds() + 1]))
    def time_passes(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)

    @rule(death=deaths, full=st.booleans())
    def work(self, death: tuple[str, str] | None, full: bool) -> None:
        with dying(*death) if death else nullcontext(), suppress(Crash):
            if full:
                self.rig.round()
            else:
                self.rig.settle()

    def teardown(self) -> None:
        self.rig.neutron.away, self.rig.neutron.loses = False, None
        for ident in self.machines:
            del self.rig.neutron.ports[ident]
        for _ in range(4):
            self.rig.clock.advance(HALF_DONE.total_seconds() + 61)
            self.rig.round()
        agrees(self.rig)
        assert not [port for port in self.rig.neutron.ports.values() if port["description"] != "bms-lease"]
        for lease in self.rig.stored_all():
            if lease.state is LeaseState.LEASED:
                self.rig.release(lease_pb2.AddressLease(name=lease.name, epoch=lease.epoch))
        self.rig.clock.advance(COOL_DOWN.total_seconds() + 1)
        self.rig.round()
        self.rig.clock.advance(COOL_DOWN.total_seconds() + 61)
        self.rig.round()
        assert self.rig.ports() == []
        assert {self.rig.lease(f"last-{number}").address for number in range(5)} == set(HOSTS)
        self.database.close()
        shutil.rmtree(self.folder)


TestAddresses = Addresses.TestCase
"""Every grant is Neutron's too, and at rest the ports of ours are the leases, and every address can be had again."""
TestAddresses.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
