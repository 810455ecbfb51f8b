# SPDX-License-Identifier: Apache-2.0
"""Steps on addresses: leased before the tenant's networks are touched, given back once the server is off them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.kernel.errors import BmsError, DeadlineExceeded, PeerUnavailable, Stale
from services.kernel.events import AddressSeen, Event, Evidence
from services.lifecycle.domain.instance import Instance, Interface, NetworkWish, mac_address_on
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.notes import note, project_of
from services.lifecycle.domain.server import Lease, PortClass, Server
from services.lifecycle.peers import Addresses, Cooling, DetachProof, Networks, Reading
from services.lifecycle.steps.attaching import port_seen
from services.lifecycle.steps.identity import call_id
from services.lifecycle.steps.outcomes import Context, Done, Failed, Outcome, Waiting


@dataclass(frozen=True, slots=True)
class AddressSteps:
    """lease_addresses, count_addresses, cool_addresses, withdraw_addresses, force_addresses."""

    addresses: Addresses
    networks: Networks

    def lease_addresses(self, ctx: Context) -> Outcome:
        """Of each network that the instance is on and has no address of yet, one of each IP version that it has."""
        server, instance = ctx.server, ctx.instance
        if instance is None:
            return Done(server)
        events: list[Event] = []
        for wish in instance.networks:
            if any(lease.network == wish.network for lease in server.leases):
                continue
            # A controller that keeps addresses binds the very port that has the address, which it knows by this.
            mac = mac_address_on(instance, wish.network, server.ports)
            try:
                leases = self._leased(ctx, instance, wish, mac)
            except (PeerUnavailable, DeadlineExceeded) as error:
                return Waiting(server, "IPAM_SILENT", str(error), tuple(events), instance)
            except Stale:
                raise
            except BmsError as error:
                return Failed(
                    server,
                    "PEER_REFUSED",
                    f"ipam refuses {wish.network}: {error}",
                    tuple(events),
                    instance,
                    cause=error,
                )
            leased = replace(server, leases=(*server.leases, *leases))
            seen = tuple(
                AddressSeen(one.name, one.vrf, one.address, one.epoch, "leased", network=one.network) for one in leases
            )
            events.append(note(server, leased, "address.leased", ctx.now, evidence=Evidence(addresses=seen)))
            server, instance = leased, with_leases(instance, wish, leases)
        return Done(server, tuple(events), instance)

    def _leased(self, ctx: Context, instance: Instance, wish: NetworkWish, mac: str) -> tuple[Lease, ...]:
        project, owner, network, fence = instance.project, instance.name, wish.network, ctx.server.fence
        if ctx.intent.kind is IntentKind.ADOPT:
            # It keeps the addresses that it has: nobody would tell it of another.
            return tuple(
                self.addresses.lease(
                    project, owner, network, address, mac, fence, call_id(ctx.intent, fence, network, mac, address)
                )
                for address in wish.fixed_addresses
            )
        return self.addresses.lease_each(
            project, owner, network, wish.fixed_addresses, mac, fence, call_id(ctx.intent, fence, network, mac)
        )

    def count_addresses(self, ctx: Context) -> Outcome:
        """The server's leases are all that its instance holds, as ipam has it."""
        server = ctx.server
        if not server.instance:
            return Done(server)
        try:
            held = self.addresses.held_by(project_of(server.instance), server.instance)
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "IPAM_SILENT", str(error))
        except BmsError as error:
            return Waiting(server, "REFUSED_BY_PEER", f"ipam refuses: {error}")
        known = {lease.name for lease in server.leases}
        return Done(replace(server, leases=(*server.leases, *(lease for lease in held if lease.name not in known))))

    def cool_addresses(self, ctx: Context) -> Outcome:
        """Every address that must go into its cool-down does: all, or, for a detached network, that network's."""
        server = ctx.server
        owner, project = server.instance, project_of(server.instance)
        try:
            held = {lease.name: lease for lease in server.leases}
            if owner:
                # What was leased by a worker that died before it could say so is given back as well.
                held |= {lease.name: lease for lease in self.addresses.held_by(project, owner)}
            if ctx.intent.kind is IntentKind.DETACH:
                held = {name: lease for name, lease in held.items() if lease.network == ctx.intent.network}
            if not held:
                return Done(server, (), _without(ctx.instance, ctx.intent.network))
            try:
                readings = self.networks.read(server.uuid, server.fence)
            except (PeerUnavailable, DeadlineExceeded) as error:
                return Waiting(server, "NETWORK_SILENT", str(error))
            if still := _still_on(readings, ctx.intent.network if ctx.intent.kind is IntentKind.DETACH else ""):
                return Waiting(server, "PORTS_NOT_SETTLED", f"addresses are kept: {still}")
            proof = _proof(server, readings, ctx)
            cooled = [
                self.addresses.release(lease, proof, server.fence, call_id(ctx.intent, server.fence, lease.name))
                for lease in held.values()
            ]
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "IPAM_SILENT", str(error))
        except Stale:
            raise
        except BmsError as error:
            return Waiting(server, "REFUSED_BY_PEER", f"ipam refuses: {error}")
        left = replace(server, leases=tuple(lease for lease in server.leases if lease.name not in held))
        evidence = Evidence(
            ports=tuple(port_seen(reading) for reading in readings), addresses=tuple(_cooled(one) for one in cooled)
        )
        event = note(server, left, "address.cooling", ctx.now, evidence=evidence)
        return Done(left, (event,), _without(ctx.instance, ctx.intent.network))

    def withdraw_addresses(self, ctx: Context) -> Outcome:
        """What an adoption that failed had leased rests: the server never was the instance's."""
        return self._unproven(ctx, ctx.server.name, "address.withdrawn")

    def force_addresses(self, ctx: Context) -> Outcome:
        """Every address rests though nobody could read that the server is off its networks."""
        return self._unproven(ctx, ctx.intent.forced, "address.forced_free")

    def _unproven(self, ctx: Context, allowed_by: str, type_: str) -> Outcome:
        server = ctx.server
        try:
            held = {lease.name: lease for lease in server.leases}
            if server.instance:
                project = project_of(server.instance)
                held |= {lease.name: lease for lease in self.addresses.held_by(project, server.instance)}
            cooled = [
                self.addresses.release_unproven(
                    lease, allowed_by, server.fence, call_id(ctx.intent, server.fence, lease.name)
                )
                for lease in held.values()
            ]
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "IPAM_SILENT", str(error))
        except Stale:
            raise
        except BmsError as error:
            return Waiting(server, "REFUSED_BY_PEER", f"ipam refuses: {error}")
        left = replace(server, leases=())
        if not cooled:
            return Done(left)
        evidence = Evidence(addresses=tuple(_cooled(one) for one in cooled))
        event = note(server, left, type_, ctx.now, evidence=evidence, facts={"without_proof": allowed_by})
        return Done(left, (event,))


def with_leases(instance: Instance, wish: NetworkWish, leases: Sequence[Lease]) -> Instance:
    """*instance* with the interfaces that *leases*, of one network, are for."""
    faces = [
        Interface(
            network=wish.network, vlan_tag=wish.vlan_tag, address=lease.address, prefix_length=lease.prefix_length,
            gateway=lease.gateway, lease=lease.name, dns_servers=lease.dns_servers,
        )
        for lease in leases
    ]  # fmt: skip
    others = tuple(one for one in instance.interfaces if one.network != wish.network)
    return replace(instance, interfaces=(*others, *faces))


def _without(instance: Instance | None, network: str) -> Instance | None:
    """*instance* without *network*, when that is what was detached."""
    if instance is None or not network:
        return instance
    return replace(
        instance,
        networks=tuple(wish for wish in instance.networks if wish.network != network),
        interfaces=tuple(face for face in instance.interfaces if face.network != network),
    )


def _still_on(readings: tuple[Reading, ...], network: str) -> str:
    """What still speaks against giving addresses back; "" if nothing does."""
    for reading in readings:
        if reading.port_class is PortClass.UNKNOWN:
            return f"{reading.port} cannot be read"
        if network and any(tag.network == network for tag in reading.networks):
            return f"{reading.port} is still on {network}"
        if not network and reading.port_class is PortClass.TENANT:
            return f"{reading.port} is still on a tenant's network"
    return ""


def _proof(server: Server, readings: tuple[Reading, ...], ctx: Context) -> DetachProof:
    digest = hashlib.sha256(b"".join(reading.digest for reading in readings)).digest()
    return DetachProof(server.name, max((reading.read_time for reading in readings), default=ctx.now), digest)


def _cooled(cooling: Cooling) -> AddressSeen:
    return AddressSeen(cooling.lease, cooling.vrf, cooling.address, cooling.epoch, "cooling", cooling.free_time)
