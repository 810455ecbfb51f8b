# SPDX-License-Identifier: Apache-2.0
"""Steps that tell inventory how a server stands, and the one that closes a server's log."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.errors import BmsError, DeadlineExceeded, NotFound, PeerUnavailable, Stale, WrongState
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.server import Server
from services.lifecycle.peers import Inventory, Networks
from services.lifecycle.ports import Hardware, Target
from services.lifecycle.steps.attaching import cut_as_known
from services.lifecycle.steps.identity import call_id
from services.lifecycle.steps.outcomes import Context, Done, Outcome, Waiting


@dataclass(frozen=True, slots=True)
class EndingSteps:
    """report, close."""

    inventory: Inventory
    networks: Networks
    hardware: Hardware

    def report(self, ctx: Context) -> Outcome:
        """Inventory knows how the server stands."""
        return tell(ctx.server, self.inventory)

    def close(self, ctx: Context) -> Outcome:
        """The server's ports and hardware are forgotten, its log is closed, and inventory lets its row go."""
        server, intent = ctx.server, ctx.intent
        try:
            if not intent.acted:
                try:
                    self.networks.register(server.uuid, (), server.fence, call_id(intent, server.fence, server.uuid))
                except WrongState as error:
                    # Moved behind our back, or never read: cut there first, so that network may let go.
                    cut_as_known(self.networks, ctx)
                    return Waiting(server, "PORTS_NOT_SETTLED", str(error))
                except NotFound:
                    pass  # network never heard of a server that was never provided
                self.hardware.forget(Target(server.uuid, server.fence))
                acted = replace(server, intent=replace(intent, acted=True), closed=True)
                event = note(server, acted, "server.closed", ctx.now)
                return Waiting(acted, "INVENTORY_SILENT", "telling inventory", (event,), at_once=True)
            self.inventory.report(server.uuid, server.version, server.wanted_report(), None, (), closed=True)
        except (PeerUnavailable, DeadlineExceeded) as error:
            return Waiting(server, "INVENTORY_SILENT" if intent.acted else "NETWORK_SILENT", str(error))
        except (Stale, NotFound):
            if not intent.acted:
                raise
        except BmsError as error:
            return Waiting(server, "REFUSED_BY_PEER", str(error))
        return Done(server)


def tell(server: Server, inventory: Inventory) -> Outcome:
    """Reports *server* as it stands now."""
    report = server.wanted_report()
    try:
        inventory.report(server.uuid, server.version, report, server.facts, server.disks, closed=False)
    except (PeerUnavailable, DeadlineExceeded) as error:
        return Waiting(server, "INVENTORY_SILENT", str(error))
    except Stale:
        raise
    except BmsError as error:
        return Waiting(server, "REFUSED_BY_PEER", f"inventory refuses the report: {error}")
    return Done(replace(server, reported=report, facts=None))
