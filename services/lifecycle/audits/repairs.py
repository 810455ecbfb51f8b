# SPDX-License-Identifier: Apache-2.0
"""Giving back what leaked, where that harms nobody.

Inventory is told again how a server stands: a report says no more than lifecycle's row does, and an older one changes
nothing. An address goes into its cool-down only if each server on which its owner ever ended is read off its network
now, or is another instance's by now, which it became only clean; and only under a fence from before the owner was seen
to be gone: if it came back meanwhile, and asked for its address, ipam refuses the older fence. What a controller
holds for nobody is let go under a claim on the server: releases.py; what is left at other controllers
is removed by network and ipam: leftovers.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from services.kernel.calls import Call
from services.kernel.errors import Busy, Stale, WrongState
from services.kernel.events import AddressSeen, Evidence
from services.kernel.names import LEASE, stable_uuid
from services.lifecycle.audits import rows
from services.lifecycle.audits.leaks import Kind, Leak
from services.lifecycle.audits.leftovers import Removals
from services.lifecycle.audits.releases import Releases
from services.lifecycle.audits.remedies import REMEDIES
from services.lifecycle.audits.seen import LeaseSeen, ServerRow
from services.lifecycle.audits.stores import Stores
from services.lifecycle.audits.sweep import Sweep
from services.lifecycle.audits.telling import Repair, told
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.server import Lease, PortClass, Server
from services.lifecycle.domain.walk import Change
from services.lifecycle.peers import Addresses, DetachProof, Networks, Reading
from services.lifecycle.steps.attaching import port_seen
from services.lifecycle.store import Store
from services.runtime.database import Database, Transaction
from services.runtime.times import to_micros

_SKEW = timedelta(minutes=1)
"""How far the clocks of two processes may be apart."""

_Readings = Mapping[str, tuple[Reading, ...]]


@dataclass(frozen=True, slots=True)
class Repairs:
    """Repairs leaks, one at a time."""

    database: Database
    store: Store
    sweep: Sweep
    stores: Stores
    networks: Networks
    addresses: Addresses
    removals: Removals
    releases: Releases | None = None

    def repair(self, call: Call, kind: Kind, resource: str, etag: str) -> Repair:
        """Does what has to be asked of other services; `record` then commits the rest with the answer.

        Raises:
            Busy: somebody is at work there.
            NotFound: it is no leak.
            Stale: it is not as *etag* says.
            WrongState: it cannot be shown that the repair is safe.
        """
        book, leak = self.sweep.again(kind, resource)
        if etag and etag != leak.etag:
            msg = f"{resource} has changed since it was looked at: its etag is {leak.etag}"
            raise Stale(msg, remedy="Audit again.", name=resource)
        if not leak.repairable:
            msg = f"{resource} cannot be repaired by itself: {leak.why}"
            raise WrongState(msg, remedy=REMEDIES[kind].text, subject=resource, kind=kind.value)
        if kind is Kind.LEASE_OF_ENDED_OWNER:
            return self._lease(call, leak)
        if kind is Kind.NODE_HOLD_OF_NOBODY and self.releases is not None:
            return self.releases.release(call, leak)
        if book in self.removals.sources:
            return self.removals.remove(call, book, leak)
        return Repair(leak, leak.server, "inventory is told again how the server stands", tell=True)

    def record(self, tx: Transaction, call: Call, repair: Repair) -> None:
        """Commits the end of a repair, with its event.

        Raises:
            Busy: somebody is at work on the server.
            WrongState: another repair told inventory so a moment ago.
        """
        if not repair.server:
            return
        server = self.store.server(tx, repair.server, lock=True)
        if repair.tell:
            if server.intent is not None or server.wanted_report() != server.reported:
                msg = f"{server.name} is at work"
                raise Busy(msg, remedy="Audit again when it is at rest.", name=server.name)
            server = replace(server, reported=None)
        event = told(server, repair.leak, call, "audit.repaired", repair.done, repair.evidence)
        held = repair.fence is not None
        self.store.write(tx, Change(server, (event,)), call.now, due=call.now, fence=repair.fence, release=held)

    # -- addresses

    def _lease(self, call: Call, leak: Leak) -> Repair:
        (project, _) = LEASE.parse(leak.resource, "resource")
        lease = self.stores.lease(leak.resource)
        ended_on = self.database.read(lambda tx: rows.ended_on(tx, leak.owner))
        known = self.database.read(lambda tx: rows.servers(tx, ended_on))
        readings = {uuid: self._readings(uuid, known.get(uuid)) for uuid in ended_on}
        if lease is None:
            msg = f"{leak.resource} is gone"
            raise Stale(msg, remedy="Audit again.", name=leak.resource)
        for uuid in ended_on:
            _off(known[uuid].server, readings[uuid], lease)
        proof = _proof(known[ended_on[0]].server, readings)
        if not call.validate_only:
            self.database.transact(lambda tx: self._ask(tx, call, leak), label="audit.repair_requested")
            fence = max(to_micros(call.now - _SKEW), 1)
            given = Lease(lease.name, lease.network, lease.vrf, lease.address, 0, "", lease.epoch)
            identity = stable_uuid("audit", call.request_id or call.correlation, lease.name)
            try:
                cooling = self.addresses.release(given, proof, fence, identity)
            except Stale as error:
                msg = f"ipam heard of {leak.owner} from a worker less than a minute ago, or of another epoch: {error}"
                raise Busy(msg, remedy="Audit again in a minute.", name=leak.resource) from error
            free = cooling.free_time
        else:
            free = None
        seen = AddressSeen(lease.name, lease.vrf, lease.address, lease.epoch, "cooling", free)
        # The owner's project may read the event; what another instance's ports are on by now is not for it.
        free_servers = [uuid for uuid in ended_on if not known[uuid].server.instance]
        ports = tuple(port_seen(reading) for uuid in free_servers for reading in readings[uuid])
        return Repair(
            leak,
            ended_on[0],
            f"{lease.address} of projects/{project} rests, and is free afterwards",
            Evidence(ports=ports, addresses=(seen,)),
        )

    def _readings(self, uuid: str, row: ServerRow | None) -> tuple[Reading, ...]:
        if row is None or row.server.closed:
            msg = f"servers/{uuid}, on which the owner ended, is gone: its ports cannot be read"
            raise WrongState(msg, remedy="Register it again under its UUID, then repair.", subject=f"servers/{uuid}")
        if row.server.intent is not None:
            msg = f"{row.server.name} is at work"
            raise Busy(msg, remedy="Audit again when it is at rest.", name=row.server.name)
        # No fence: this is a look, and takes nothing from whoever works there.
        return self.networks.read(uuid, 0)

    def _ask(self, tx: Transaction, call: Call, leak: Leak) -> None:
        """Records what is about to be asked of ipam, if the owner is still gone."""
        instance = rows.instances(tx, {leak.owner}).get(leak.owner)
        back = instance is not None and instance.instance.state is not InstanceState.ERROR
        if back or rows.holders(tx, {leak.owner}) or rows.keeper(tx, leak.resource) is not None:
            msg = f"{leak.owner} is there again"
            raise Busy(msg, remedy="Nothing needs to be done: the instance holds its address.", name=leak.owner)
        server = self.store.server(tx, leak.server, lock=True)
        event = told(server, leak, call, "audit.repair_requested", leak.why, None)
        self.store.write(tx, Change(server, (event,)), call.now, due=call.now)


def _off(server: Server, readings: tuple[Reading, ...], lease: LeaseSeen) -> None:
    """Refuses unless *readings* show that nobody on *server* can use the address of *lease*."""
    if not readings:
        msg = f"network knows no port of {server.name}: nothing shows that it is off {lease.network}"
        raise WrongState(msg, remedy="Provide or recover the server, then repair.", subject=server.name)
    for reading in readings:
        if reading.port_class is PortClass.UNKNOWN:
            msg = f"{reading.port} cannot be read: {reading.detail}"
            raise WrongState(msg, remedy="Bring the switch back, then repair.", subject=server.name)
        if not server.instance and any(tag.network == lease.network for tag in reading.networks):
            msg = f"{reading.port} is on {lease.network}"
            raise WrongState(
                msg, remedy=f"Take it off first: bms server quarantine {server.uuid}.", subject=server.name
            )


def _proof(server: Server, readings: _Readings) -> DetachProof:
    """Over everything that was read; the time is the earliest, so that no reading is said to be younger than it is."""
    every = [reading for seen in readings.values() for reading in seen]
    digest = hashlib.sha256(b"".join(reading.digest for reading in every)).digest()
    return DetachProof(server.name, min(reading.read_time for reading in every), digest)
