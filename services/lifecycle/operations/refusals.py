# SPDX-License-Identifier: Apache-2.0
"""What several verbs on servers refuse, in the same words and with the same way out."""

from __future__ import annotations

from services.kernel.errors import WrongState
from services.lifecycle.domain.server import Server


def no_maintenance(server: Server) -> None:
    """Refuses to begin anything on a server that an administrator set into maintenance.

    Raises:
        WrongState: with how to end it.
    """
    if server.maintenance:
        msg = f"{server.name} is in maintenance: {server.maintenance_reason}"
        raise _wrong(server, msg, f"End maintenance first: bms server maintenance unset {server.uuid}.")


def not_held(server: Server, remedy: str = "") -> None:
    """Refuses what would take a server from its instance, or touch what an address still stands for.

    Args:
        remedy: what its tenant can do instead; empty: he gives it back.

    Raises:
        WrongState: an instance holds it, or it still holds addresses.
    """
    if server.instance:
        msg = f"{server.name} is held by {server.instance}"
        raise WrongState(
            msg,
            remedy=remedy or f"Let its project give it back first: bms instance delete {server.instance}.",
            subject=server.name,
            instance=server.instance,
        )
    if server.leases:
        msg = f"{server.name} still holds {', '.join(lease.address for lease in server.leases)}"
        raise _wrong(server, msg, f"See what that waits for: bms server diagnose {server.uuid}.")


def not_retired(server: Server) -> None:
    """Refuses to bring a server that is on its way out of the site into use.

    Raises:
        WrongState: with how to end that.
    """
    if server.retired:
        msg = f"{server.name} is retired: {server.retired_reason}"
        raise _wrong(server, msg, f"End its retirement first: bms server unretire {server.uuid}.")


def managed(server: Server) -> None:
    """Refuses to do anything to a server that is only on record.

    Raises:
        WrongState: with how to change that.
    """
    if server.unmanaged:
        msg = f"{server.name} is only on record: it is unmanaged, or of another node type than baremetal"
        raise _wrong(
            server, msg, f"Mark it as managed baremetal in inventory first: bms server set {server.uuid} --managed."
        )


def _wrong(server: Server, message: str, remedy: str) -> WrongState:
    return WrongState(message, remedy=remedy, subject=server.name, state=server.state.value)
