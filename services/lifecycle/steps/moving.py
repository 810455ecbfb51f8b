# SPDX-License-Identifier: Apache-2.0
"""Steps of a server that is moved to other switch ports: inventory's links, what is left on the old, the cables."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.errors import BmsError, DeadlineExceeded, PeerUnavailable, Stale
from services.kernel.events import Event, Evidence, PortSeen
from services.lifecycle.domain.moving import cables, left_places, plugged, told
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Port, PortClass, Power, Server
from services.lifecycle.domain.states import State
from services.lifecycle.peers import Inventory, Networks, PlaceReading
from services.lifecycle.steps.attaching import AttachingSteps, port_seen
from services.lifecycle.steps.identity import call_id
from services.lifecycle.steps.outcomes import Context, Done, Failed, Outcome, Waiting


@dataclass(frozen=True, slots=True)
class MovingSteps:
    """change_links, settle_links, recable."""

    attaching: AttachingSteps
    inventory: Inventory
    networks: Networks

    def change_links(self, ctx: Context) -> Outcome:
        """Inventory has the new links; what was read on the old ones says nothing any more."""
        server, moves = ctx.server, ctx.intent.moves
        if server.state is State.ACTIVE and server.power is not Power.OFF:
            return Failed(server, "POWER_ON_UNPLANNED", f"its power reads {server.power.value} before it is moved")
        try:
            etag = self.inventory.server(server.uuid).etag
            identity = call_id(ctx.intent, server.fence, server.uuid, etag)
            self.inventory.relink(server.uuid, moves, etag, identity)
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "INVENTORY_SILENT", str(error))
        except Stale as error:
            # Somebody else changed the server's record between our reading and our writing.
            return Waiting(server, "RETRYING", str(error))
        except BmsError as error:
            return Failed(server, "PEER_REFUSED", f"inventory refuses the new links: {error}", cause=error)
        moved = replace(server, ports=plugged(server.ports, moves), isolated=False)
        seen = Evidence(ports=tuple(PortSeen(move.port, PortClass.UNKNOWN.value) for move in moves))
        facts = told(server, moves)
        return Done(moved, (note(server, moved, "port.moved", ctx.now, evidence=seen, facts=facts),))

    def settle_links(self, ctx: Context) -> Outcome:
        """All ports in quarantine on their new links, and nothing of the server on the old ones, read back."""
        settled = self.attaching.attach(ctx)
        if not isinstance(settled, Done):
            return settled
        server = settled.server
        places = left_places(server)
        try:
            found = self.networks.look_at(server.uuid, places) if places else ()
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "NETWORK_SILENT", str(error), instance=settled.instance)
        except BmsError as error:
            return Waiting(server, "REFUSED_BY_PEER", f"network refuses: {error}", instance=settled.instance)
        for place, one in zip(places, found, strict=True):
            if one.holder:
                continue
            where, seen = f"{place.switch_name} {place.switch_port}, where {place.name} was", one.reading
            if seen.port_class is PortClass.UNKNOWN:
                reason = f"{where}, cannot be read: {seen.detail}"
                return Waiting(server, "FABRIC_SILENT", reason, instance=settled.instance)
            if seen.port_class is not PortClass.QUARANTINE:
                reason = f"{where}, reads {seen.port_class.value}; it has to be cut there"
                return Waiting(server, "PORTS_NOT_SETTLED", reason, instance=settled.instance)
        left = _left(ctx, server, tuple(zip(places, found, strict=True)))
        return replace(settled, events=(left, *settled.events))

    def recable(self, ctx: Context) -> Outcome:
        """Somebody said that the cables are where they shall be."""
        if ctx.intent.cabled:
            return Done(ctx.server)
        return Waiting(ctx.server, "RECABLE", f"cables to be moved: {cables(ctx.intent.moves)}")


def _left(ctx: Context, server: Server, found: tuple[tuple[Port, PlaceReading], ...]) -> Event:
    """What was read of the places that were left; of one that is another port's by now nothing is said but whose."""
    read = [port_seen(one.reading) for _, one in found if not one.holder]
    rest = {move.port for move in ctx.intent.moves} - {seen.port for seen in read}
    evidence = Evidence(ports=(*read, *(PortSeen(port, PortClass.UNKNOWN.value) for port in sorted(rest))))
    facts = {f"{place.switch_name} {place.switch_port}": one.holder or "empty" for place, one in found}
    return note(ctx.server, server, "port.left_observed", ctx.now, evidence=evidence, facts=facts)
