# SPDX-License-Identifier: Apache-2.0
"""What is left when everything has come to rest, and what its log must look like: to hold two runs to each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from services.kernel.chain import body_digest, digest
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.states import State
from tests.lifecycle.rig import WEB, Rig
from tests.support.clocks import START
from tests.support.judging import findings, stored_events

_LOOKS = frozenset({"server.taken_over", "server.patrolled", "server.waiting", "server.overdue", "remedy.tried"})
"""Events that tell of somebody looking, of which there are more after a crash."""


@dataclass(frozen=True)
class Portrait:
    """The world and lifecycle's books, as far as they do not depend on when and by whom."""

    state: str
    power: str
    ports: tuple[tuple[str, str, tuple[str, ...], bool], ...]
    isolated: bool
    fault: str
    resting: bool
    instance: Instance | None
    disks: dict[str, str]
    on: bool
    fabric: tuple[tuple[str, str, tuple[str, ...]], ...]
    leases: tuple[tuple[str, str, str], ...]
    held: tuple[str, ...]
    pool: tuple[bool, str, str] | None
    reserved: dict[str, str]
    jobs: tuple[str, ...]
    events: tuple[str, ...]


def portrait(rig: Rig, uuid: str) -> Portrait:
    """How *rig* stands."""
    server, machine = rig.server(uuid), rig.hardware.machine(uuid)
    instance, pool = rig.instance(), rig.inventory.pool.get(uuid)
    if instance is not None:
        instance = replace(instance, version=0, fence=0, operation="", create_time=START, update_time=START)
    return Portrait(
        state=server.state.value,
        power=server.power.value,
        ports=tuple(
            (port.name, port.observed.value, tuple(tag.network for tag in port.networks), port.requested is None)
            for port in server.ports
        ),
        isolated=server.isolated,
        fault=server.fault,
        resting=server.intent is None,
        instance=instance,
        disks=dict(machine.disks),
        on=machine.on,
        fabric=tuple(
            (name, port.port_class.value, tuple(tag.network for tag in port.networks))
            for name, port in sorted(rig.networks.ports.items())
        ),
        leases=tuple(sorted((lease.network, owner, state) for lease, owner, state in rig.addresses.leases.values())),
        held=tuple(sorted(lease.network for lease in server.leases)),
        pool=(pool.available, pool.reason, pool.held_by) if pool else None,
        reserved=dict(rig.inventory.reserved),
        jobs=tuple(act for server_, act in rig.hardware.history if act not in ("on", "off")),
        events=tuple(type_ for type_ in rig.types(uuid) if type_ not in _LOOKS),
    )


def assert_sound(rig: Rig, uuid: str) -> None:
    """The log has no hole, what was asked of the fabric was seen, and nothing is held by nobody."""
    previous = b""
    events = rig.events(f"servers/{uuid}")
    rows = rig.log.list(after=0, limit=1000, wait=0, stream=f"servers/{uuid}").events
    assert [event.header.sequence for event in events] == list(range(1, len(rows) + 1))
    for row in rows:
        assert row.previous == previous
        assert row.digest == digest(previous, row.header, body_digest(row.body))
        previous = row.digest
    server, instance = rig.server(uuid), rig.instance()
    assert (server.head.sequence, server.head.digest) == (len(rows), previous)
    asked = [event.header.type for event in events if event.header.type.startswith("port.")]
    for before, after in pairwise((*asked, "end")):
        if before.endswith("_requested"):
            # Asked for and seen, unless a verb that took over asked for something else.
            assert after != "end"
    assert findings("lifecycle", stored_events(rig.database, rig.log)) == []
    assert all(port.requested is None for port in server.ports)
    leased = {lease.name for lease, _, state in rig.addresses.leases.values() if state == "leased"}
    assert leased == {lease.name for lease in server.leases}
    if server.state is State.AVAILABLE:
        machine = rig.hardware.machine(uuid)
        # What two administrators had offered without a clean pass says so.
        assert set(machine.disks.values()) <= {""} or server.tainted_by
        assert not machine.on
        assert leased == set()
        assert server.instance == ""
        assert rig.inventory.reserved == {}
        assert server.isolated
        assert not machine.holders, "its controller holds it for nobody who wants it"
    if server.state is State.ACTIVE:
        assert len(rig.hardware.machine(uuid).holders) == 1
    assert server.instance == ("" if instance is None or not instance.server else WEB)
