# SPDX-License-Identifier: Apache-2.0
"""Addresses that a controller gave to others beside ours: what I7 makes of them, and that nobody can hide it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bms.event.v1 import event_pb2
from services.ipam.backends.neutron import NOBODY
from services.ipam.domain.holding import Holder
from services.ipam.domain.leases import AddressRow, AddressState
from services.ipam.operations import observing
from services.ipam.operations.resting import ACTOR, Cause, change
from services.runtime.checkpoint_servicer import EventLogServicer
from services.runtime.checkpoints import Checkpointer
from services.runtime.database import open_database
from services.runtime.signing import KeyFiles
from services.runtime.witness import Witness
from services.verifier.address_trial import Address, AddressTrial
from services.verifier.cut import pack, unpack
from services.verifier.seen import Seen
from services.verifier.verdict import Verdict
from tests.ipam.neutron_rig import MAC, OTHER_MAC, NeutronRig
from tests.support.clocks import SequentialIds
from tests.support.judging import findings, judged
from tests.support.stores import MakeDatabase, _sqlite_copy
from tests.support.wire import Wire, reader
from tests.verifier.evidence import Evidence
from tests.verifier.test_tampering import EVENTS, rewritten

ADDRESS = "10.1.0.7"
REST = timedelta(minutes=1)
CONTESTED = ("I7", "address.leased", "address.contested")


@pytest.fixture
def database_kind() -> str:
    """One will do: nothing here depends on it."""
    return "sqlite"


@pytest.fixture
def rig(make_database: MakeDatabase) -> NeutronRig:
    """ipam beside a Neutron, with a prefix."""
    made = NeutronRig(make_database("services.ipam"))
    made.prefix(cool_down=REST)
    return made


def stolen(rig: NeutronRig) -> dict[str, Any]:
    """A lease's port is removed, and Neutron gives its address to a machine; answers that machine's port."""
    for port in rig.ports():
        del rig.neutron.ports[port["id"]]
    theirs = rig.vm(ADDRESS)
    rig.round()
    return theirs


def found(rig: NeutronRig) -> list[tuple[str, str, str]]:
    """Invariant and witnesses of everything that is found."""
    return [(one.invariant, *(each.type for each in one.witnesses)) for one in findings("ipam", rig.events())]  # type: ignore[misc]  # two witnesses


def verdicts(rig: NeutronRig) -> list[Verdict]:
    """The verdicts on the address, in order."""
    (report,) = (one for stream, one in judged("ipam", rig.events()).items() if stream.endswith(f"/{ADDRESS}"))
    return [interval.verdict for interval in report.intervals]


def test_a_port_that_is_gone_is_no_violation(rig: NeutronRig) -> None:
    """
    A tenant deletes his port and nobody else has the address: the port is made again, and nothing is held against it.
    """
    rig.lease(address=ADDRESS, mac_address=MAC)
    rig.neutron.ports.clear()
    rig.round()

    assert rig.types() == ["address.leased", "address.held_again"]
    assert found(rig) == []
    assert verdicts(rig) == [Verdict.PASS]


def test_two_have_it_until_one_goes(rig: NeutronRig) -> None:
    """
    Another was given a leased address: FAIL from then on, with the grant and what was seen, until he has it no more.
    """
    rig.lease(address=ADDRESS, mac_address=MAC)
    theirs = stolen(rig)
    assert found(rig) == [CONTESTED]
    assert verdicts(rig) == [Verdict.PASS, Verdict.FAIL]

    del rig.neutron.ports[theirs["id"]]
    rig.round()

    assert found(rig) == [CONTESTED]
    assert verdicts(rig) == [Verdict.PASS, Verdict.FAIL, Verdict.PASS]


def test_another_has_it_while_it_rests(rig: NeutronRig) -> None:
    """
    What rests may still be in the former owner's neighbours' tables: in another's hands it is a violation, which ends
    with the rest.
    """
    rig.release(rig.lease(address=ADDRESS))
    stolen(rig)
    assert found(rig) == [("I7", "address.cooling", "address.contested")]

    rig.clock.advance(61)
    rig.settle()

    assert rig.types()[-2:] == ["address.freed", "address.observed"]
    assert verdicts(rig) == [Verdict.PASS, Verdict.FAIL, Verdict.PASS]


def test_a_controller_that_forgot_to_free_it_is_nobody(rig: NeutronRig) -> None:
    """
    Neutron calls the address allocated and shows no port that has it: told, and no violation.
    """
    lease = rig.lease(address=ADDRESS)
    row = rig.stored(lease.name)

    def observe(tx: Any) -> bool:
        store = rig.servicer.store(tx)
        prefix = store.prefix(row.prefix)
        assert prefix is not None
        return observing.observe(store, prefix, Holder(row.address, NOBODY), rig.clock.now())

    assert rig.database.transact(observe, label="test")
    assert rig.types() == ["address.leased", "address.contested"]
    assert found(rig) == []


def test_what_else_was_wrong_does_not_end_with_it(rig: NeutronRig) -> None:
    """
    What is held against an address for another reason stays when the other owner is gone, until the next grant.
    """
    rig.lease(address=ADDRESS)
    theirs = stolen(rig)
    *_, last = rig.events()
    trial = AddressTrial()
    for stored in rig.events():
        trial.hear(Seen(stored))
    wrong = event_pb2.StoredEvent()
    wrong.CopyFrom(last)
    header, body = event_pb2.EventHeader.FromString(last.header), event_pb2.EventBody.FromString(last.body)
    header.type = "address.mac_changed"
    body.evidence.addresses[0].epoch = 99
    wrong.header, wrong.body = header.SerializeToString(), body.SerializeToString()
    assert trial.hear(Seen(wrong))
    del rig.neutron.ports[theirs["id"]]
    rig.round()
    for stored in rig.events()[2:]:
        trial.hear(Seen(stored))

    assert trial.verdict is Verdict.FAIL
    assert "changed it" in trial.reason


def test_what_is_believed_survives_a_cut(rig: NeutronRig) -> None:
    """
    An archive that ends while two have an address knows that they do.
    """
    rig.lease(address=ADDRESS)
    stolen(rig)
    trial = AddressTrial()
    for stored in rig.events():
        trial.hear(Seen(stored))

    assert trial.picture.contested
    assert unpack(Address, pack(trial.picture)) == trial.picture
    older = {name: one for name, one in pack(trial.picture).items() if name not in ("other", "contested", "forced")}
    assert unpack(Address, older).witness == trial.picture.witness


# ---- ipam with one thing wrong --------------------------------------------------------------------------------------


def test_granted_though_another_has_it(rig: NeutronRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What a controller gave to somebody is given away by ours as well: who was seen to have it, and the grant.
    """
    theirs = rig.vm(ADDRESS)
    rig.round()
    monkeypatch.setattr(AddressRow, "is_free", lambda *_: True)
    del rig.neutron.ports[theirs["id"]]
    rig.lease(address=ADDRESS)

    assert found(rig) == [("I7", "address.observed", "address.leased")]
    assert verdicts(rig)[-1] is Verdict.FAIL


@pytest.mark.parametrize("state", [AddressState.LEASED, AddressState.COOLING])
def test_called_anothers_though_it_is_ours(
    rig: NeutronRig, monkeypatch: pytest.MonkeyPatch, state: AddressState
) -> None:
    """
    A lease ends without a word because a controller gave its address away: the grant or release, and what was seen.
    """
    taken = observing.observe

    def observe(store: Any, prefix: Any, holder: Any, now: Any) -> bool:
        row = store.take(prefix, holder.address)
        if row is not None and row.state is state:
            store.save_address(replace(row, state=AddressState.FREE), row)
        return taken(store, prefix, holder, now)

    for module in ("services.ipam.rounds", "services.ipam.settling"):
        monkeypatch.setattr(f"{module}.observe", observe)
    lease = rig.lease(address=ADDRESS)
    before = "address.leased"
    if state is AddressState.COOLING:
        rig.release(lease)
        before = "address.cooling"
    stolen(rig)

    assert found(rig) == [("I7", before, "address.observed")]


def test_kept_for_one_who_has_it_no_more(rig: NeutronRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The controller keeps an address for the owner before: the newer grant, and what says so.
    """
    first = rig.lease(address=ADDRESS, mac_address=MAC)
    old = rig.stored(first.name)
    rig.release(first)
    rig.clock.advance(61)
    rig.settle()
    rig.lease("vm-2", address=ADDRESS, mac_address=OTHER_MAC)

    def tell(tx: Any) -> None:
        store = rig.servicer.store(tx)
        row = store.lock_address(old.vrf, old.address)
        assert row is not None
        cause = Cause(ACTOR, rig.clock.now())
        change(store, row, replace(row, epoch=old.epoch), old, "address.held_again", cause)

    rig.database.transact(tell, label="test")

    assert found(rig) == [("I7", "address.leased", "address.held_again")]


# ---- and with the log -----------------------------------------------------------------------------------------------


def evidence(folder: Path, story: Callable[[NeutronRig], None]) -> Evidence:
    """A signed log of *story*."""
    database = open_database(_sqlite_copy("services.ipam", folder / "ipam.sqlite"))
    rig = NeutronRig(database, ids=SequentialIds("ipam"))
    rig.prefix(cool_down=REST)
    keys = KeyFiles(folder / "signing.key")
    checkpointer = Checkpointer("ipam", database, SequentialIds("checkpoints"), keys, Witness(folder / "seen"))
    story(rig)
    while checkpointer.tick(rig.clock.now(), ending=True):
        rig.clock.advance(2)
    made = Evidence(*_published(database, checkpointer), events=rig.events(), service="ipam")
    database.close()
    return made


def _published(database: Any, checkpointer: Checkpointer) -> tuple[Any, Any]:
    wire = Wire(EventLogServicer("ipam", database, checkpointer), reader())
    keys = list(wire.ok("ListSigningKeys", event_pb2.ListSigningKeysRequest()).keys)
    return keys, list(wire.ok("ListCheckpoints", event_pb2.ListCheckpointsRequest()).checkpoints)


def neighbours(rig: NeutronRig) -> None:
    """Others come and go beside a lease whose port is removed and made again: all is well."""
    theirs = rig.vm("10.1.0.9")
    rig.round()
    lease = rig.lease(address=ADDRESS, mac_address=MAC)
    del rig.neutron.ports[theirs["id"]]
    for port in rig.ports():
        del rig.neutron.ports[port["id"]]
    rig.round()
    rig.release(lease)
    rig.clock.advance(61)
    rig.settle()


def contest(rig: NeutronRig) -> None:
    """Two have an address for a while."""
    rig.lease(address=ADDRESS, mac_address=MAC)
    theirs = stolen(rig)
    del rig.neutron.ports[theirs["id"]]
    rig.round()


@pytest.fixture(scope="module", params=[neighbours, contest], ids=lambda story: story.__name__)
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """A signed log with each of these events."""
    return evidence(tmp_path_factory.mktemp("log"), request.param)


def test_the_logs_have_them(log: Evidence) -> None:
    """
    As they are they are whole; one passes, the other fails with its witnesses.
    """
    report = log.judge()
    types = {event_pb2.EventHeader.FromString(event.header).type for event in log.events}

    assert report.problems == ()
    assert report.judged_to == len(log.events)
    if "address.contested" in types:
        assert report.verdict is Verdict.FAIL
        assert "address.uncontested" in types
    else:
        assert report.verdict is Verdict.PASS
        assert types >= {"address.observed", "address.unobserved", "address.held_again"}


@pytest.mark.parametrize("how", EVENTS)
def test_none_can_be_touched(log: Evidence, how: str) -> None:
    """
    Every event removed, doubled, moved or altered by a bit: nothing passes, and least of all for a missing contest.
    """
    for index in range(len(log.events)):
        report = replace(log, events=EVENTS[how](log.events, index)).judge()
        assert report.verdict not in (Verdict.PASS, Verdict.TAINTED), index
        if how not in ("other body_digest", "other digest"):
            assert report.judged_to <= index + 1, index


def test_a_contest_cannot_be_written_out(log: Evidence) -> None:
    """
    Whoever hashes the log anew without one of its events fits no checkpoint.
    """
    for drop in range(len(log.events)):
        report = replace(log, events=rewritten(log.events, drop)).judge()
        assert report.verdict in (Verdict.UNKNOWN, Verdict.FAIL), drop
        assert report.judged_to <= drop, drop
