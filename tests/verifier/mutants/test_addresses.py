# SPDX-License-Identifier: Apache-2.0
"""Our own ipam with one thing wrong, most of it found in an address manager that is in use: I7 finds each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bms.event.v1 import event_pb2
from bms.ipam.v1 import lease_pb2
from services.ipam.domain.leases import AddressRow, AddressState, Lease
from services.ipam.operations import leasing
from services.ipam.operations.leasing import Leasing
from services.ipam.operations.ports import Store
from services.ipam.operations.resting import Cause, change
from services.kernel.calls import Call
from services.verifier.verdict import Finding
from tests.ipam.rig import Rig
from tests.support.judging import findings
from tests.support.stores import MakeDatabase

ADDRESS = "10.1.0.7"


@pytest.fixture
def rig(make_database: MakeDatabase) -> Rig:
    """One ipam with a prefix."""
    rig = Rig(make_database("services.ipam"))
    rig.prefix(cool_down=timedelta(minutes=10))
    return rig


def found(rig: Rig) -> list[tuple[str, str, str]]:
    """Invariant and witnesses of everything that is found."""

    def short(one: Finding) -> tuple[str, str, str]:
        return one.invariant, one.witnesses[0].type, one.witnesses[1].type

    return [short(one) for one in findings("ipam", rig.events())]


def lease(rig: Rig, resource: str) -> lease_pb2.AddressLease:
    return rig.lease(resource, address=ADDRESS)


def given_up(type_: str, after: Callable[[AddressRow, Call], AddressRow]) -> Callable[..., Lease]:
    """A release that trusts the lease's name: neither epoch nor holder of the address is looked at."""

    def release(self: Leasing, store: Store, call: Call, name: str, *_: Any) -> Lease:
        given = self.get(store, name)
        row = store.lock_address(given.vrf, given.address)
        assert row is not None
        left = replace(after(row, call), epoch=given.epoch)
        change(store, row, left, given, type_, Cause(call.caller.subject, call.now))
        return given

    return release


def rests(row: AddressRow, call: Call) -> AddressRow:
    return replace(row, state=AddressState.COOLING, free_time=call.now + timedelta(minutes=10))


def test_honest_leases_pass(rig: Rig) -> None:
    """
    Granted, given up, rested, granted anew: nothing is found.
    """
    rig.release(lease(rig, "vm-1"))
    rig.clock.advance(601)
    lease(rig, "vm-2")

    assert [event_pb2.EventHeader.FromString(event.header).type for event in rig.of_addresses()] == [
        "address.leased", "address.cooling", "address.freed", "address.leased"
    ]  # fmt: skip
    assert found(rig) == []


def test_granted_twice(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One address, two owners: the two grants witness it. (Our tables refuse it as well: the mutant has none.)
    """

    def grant(self: Leasing, store: Store, call: Call, name: str, *_: Any) -> Lease:
        held = self.get(store, name)
        row = store.lock_address(held.vrf, held.address)
        assert row is not None
        other = replace(held, name=f"{held.name[:-1]}x", epoch=row.epoch + 1)
        cause = Cause(call.caller.subject, call.now)
        change(store, row, replace(row, epoch=other.epoch, lease=other.name), other, "address.leased", cause)
        return other

    monkeypatch.setattr(Leasing, "release", grant)
    rig.release(lease(rig, "vm-1"))

    assert found(rig) == [("I7", "address.leased", "address.leased")]


def test_granted_while_it_rests(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An address whose cool-down is cut short: what began it, and what ended it.
    """
    monkeypatch.setattr(AddressRow, "is_free", lambda *_: True)
    rig.release(lease(rig, "vm-1"))
    rig.clock.advance(599)
    lease(rig, "vm-2")

    assert found(rig)[0] == ("I7", "address.cooling", "address.freed")


def test_a_late_release_takes_the_next_owners_address(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A repeated release by the owner before frees what is another's by now: his grant, and the release.
    """
    before = lease(rig, "vm-1")
    rig.release(before)
    rig.clock.advance(601)
    lease(rig, "vm-2")
    monkeypatch.setattr(Leasing, "release", given_up("address.cooling", rests))
    rig.release(before)

    assert found(rig) == [("I7", "address.leased", "address.cooling")]


def test_an_epoch_comes_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Two grants of one epoch cannot be told apart by whoever comes late.
    """
    monkeypatch.setattr(leasing, "Lease", lambda **fields: Lease(**{**fields, "epoch": 1}))
    rig.release(lease(rig, "vm-1"))
    rig.clock.advance(601)
    lease(rig, "vm-2")

    assert found(rig)[0] == ("I7", "address.freed", "address.leased")


@pytest.mark.parametrize(
    ("type_", "after"),
    [
        ("address.freed", lambda row, _call: replace(row, state=AddressState.FREE, free_time=None)),
        ("address.cooling", lambda row, call: replace(row, state=AddressState.COOLING, free_time=call.now)),
        ("address.cooling", lambda row, _call: replace(row, state=AddressState.COOLING, free_time=None)),
        ("address.withdrawn", lambda row, call: replace(row, state=AddressState.COOLING, free_time=call.now)),
    ],
    ids=["at once", "no length", "no end", "withdrawn"],
)
def test_freed_without_a_rest(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, type_: str, after: Callable[[AddressRow, Call], AddressRow]
) -> None:
    """
    Free at once, or with a cool-down of no length: the grant, and what gave it up.
    """
    monkeypatch.setattr(Leasing, "release", given_up(type_, after))
    rig.release(lease(rig, "vm-1"))

    assert found(rig) == [("I7", "address.leased", type_)]
