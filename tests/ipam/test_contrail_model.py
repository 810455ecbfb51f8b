# SPDX-License-Identifier: Apache-2.0
"""ipam and a Contrail that others use and that lies, in any order, with processes that die: whoever is granted an
address is alone with it at that moment, and when things have come to rest both have the same.
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
from services.ipam.backends.contrail_words import hold_uuid
from services.ipam.domain.holding import HALF_DONE
from services.ipam.domain.leases import LeaseState
from services.kernel.errors import BmsError
from services.runtime.database import open_database
from tests.ipam.contrail_rig import ContrailRig
from tests.ipam.controller_rig import Crash, dying, released
from tests.ipam.rig import wish
from tests.ipam.test_concurrency import served
from tests.ipam.test_contrail_traps import agrees
from tests.support.memory import IN_MEMORY
from tests.support.stores import _sqlite_copy

COOL_DOWN = timedelta(seconds=30)
HOSTS = [f"10.1.0.{last}" for last in range(3, 7)]
"""Of a /29 the first is the gateway, and the second Contrail's."""
DEATHS = [
    (label, when)
    for label in (
        "contrail.POST instance-ips", "contrail.GET instance-ips", "contrail.DELETE instance-ip",
        "contrail.POST prop-collection-update", "plane.holders", "db.ipam.begin.commit", "db.LeaseAddress.commit",
        "db.ipam.held.commit", "db.ipam.let_go.commit", "db.ipam.give_up.commit",
    )
    for when in ("before", "after")
]  # fmt: skip

owners = st.integers(0, 3)
deaths = st.one_of(st.none(), st.sampled_from(DEATHS))


class Addresses(RuleBasedStateMachine):
    """Four addresses, four owners, machines of others, and an administrator with his hands on everything."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="bms-ipam-", dir=IN_MEMORY))
        self.database = open_database(_sqlite_copy("services.ipam", self.folder / "ipam.sqlite"))
        self.rig = ContrailRig(self.database)
        self.machines: list[str] = []
        self.allocated: list[str] = []

    @initialize()
    def a_prefix(self) -> None:
        self.rig.prefix("10.1.0.0/29", cool_down=COOL_DOWN)

    @rule(owner=owners, address=st.one_of(st.just(""), st.sampled_from(HOSTS)), death=deaths)
    def lease(self, owner: int, address: str, death: tuple[str, str] | None) -> None:
        request = wish(f"vm-{owner}", address=address, mac_address=f"52:54:00:00:00:0{owner}")
        held_before = {one.name for one in self.rig.stored_all() if one.state is LeaseState.LEASED and not one.pending}
        with dying(*death) if death else nullcontext(), suppress(Crash, BmsError):
            granted = served(self.rig, "LeaseAddress", request)
            if granted.name not in held_before:
                assert [one["uuid"] for one in self.rig.at(granted.address)] == [hold_uuid(granted.name)]

    @rule(owner=owners, death=deaths)
    def release(self, owner: int, death: tuple[str, str] | None) -> None:
        with dying(*death) if death else nullcontext(), suppress(Crash):
            for one in self.rig.stored_all():
                if one.owner.resource == f"vm-{owner}" and one.state is LeaseState.LEASED and not one.pending:
                    asked = released(lease_pb2.AddressLease(name=one.name, epoch=one.epoch))
                    served(self.rig, "ReleaseLease", asked)

    @rule(address=st.sampled_from(HOSTS))
    def somebody_frees_what_others_have(self, address: str) -> None:
        self.verb("ip-free", {"ip_addr": [address]})
        self.allocated = [one for one in self.allocated if one != address]

    @rule(address=st.sampled_from(HOSTS), unlocked=st.booleans())
    def a_machine_comes(self, address: str, unlocked: bool) -> None:
        with suppress(AssertionError):  # Contrail refuses what is locked
            self.machines.append(self.rig.vm(address, f"vm-{len(self.rig.contrail.told)}")["uuid"])
        if unlocked:
            self.somebody_frees_what_others_have(address)

    @rule()
    def a_machine_goes(self) -> None:
        if self.machines:
            self.rig.vm_goes(self.machines.pop(0))

    @rule()
    def somebody_takes_one_without_an_object(self) -> None:
        with suppress(AssertionError):  # there is none left
            self.allocated += self.verb("ip-alloc", {"count": 1})

    @rule(which=st.integers(0, 3), what=st.sampled_from(["delete", "notes"]))
    def hands_on_ours(self, which: int, what: str) -> None:
        ours = self.rig.ours()
        if which >= len(ours):
            return
        if what == "delete":
            self.rig.contrail.do("DELETE", f"/instance-ip/{ours[which]['uuid']}")
        else:
            self.rig.contrail.objects.things[ours[which]["uuid"]].body.pop("annotations")

    @rule(away=st.booleans())
    def contrail_goes_or_comes(self, away: bool) -> None:
        self.rig.contrail.away = away

    @rule(where=st.sampled_from([("POST", "instance-ips"), ("GET", "instance-ips"), ("DELETE", "instance-ip")]))
    def an_answer_is_lost(self, where: tuple[str, str]) -> None:
        self.rig.contrail.loses = where

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
        self.rig.contrail.away, self.rig.contrail.loses = False, None
        for ident in self.machines:
            self.rig.vm_goes(ident)
        self.verb("ip-free", {"ip_addr": self.allocated})
        for _ in range(4):
            self.rig.clock.advance(HALF_DONE.total_seconds() + 61)
            self.rig.round()
        agrees(self.rig)
        for one in self.rig.stored_all():
            if one.state is LeaseState.LEASED:
                self.rig.release(lease_pb2.AddressLease(name=one.name, epoch=one.epoch))
        for _ in range(2):
            self.rig.clock.advance(COOL_DOWN.total_seconds() + 61)
            self.rig.round()
        assert self.rig.contrail.every("instance-ip") == []
        assert {self.rig.lease(f"last-{number}").address for number in range(4)} == set(HOSTS)
        self.database.close()
        shutil.rmtree(self.folder)

    def verb(self, name: str, body: dict[str, object]) -> list[str]:
        """What Contrail answers to somebody about the network's addresses."""
        answer = self.rig.contrail.do("POST", f"/virtual-network/{self.rig.network}/{name}", body)
        return list(answer["ip_addr"]) if answer else []


TestAddresses = Addresses.TestCase
"""Whoever is granted an address is alone with it, at rest the instance-ips of ours are the leases, and every address
can be had again."""
TestAddresses.settings = settings(
    max_examples=50,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
