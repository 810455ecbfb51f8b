# SPDX-License-Identifier: Apache-2.0
"""What to do about a leak, by its kind. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.names import INSTANCE
from services.lifecycle.audits.leaks import Kind, Leak


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do, and the commands that do it.

    Attributes:
        commands: with ``{server}`` (UUID), ``{instance}`` and ``{project}`` to be filled in; one that needs what is not
            known is left out.
    """

    text: str
    commands: tuple[str, ...] = ()


_REPAIR = ("bms audit leaks --repair",)
_LOOK = ("bms server diagnose {server}", "bms event list --server {server}")
_SET_ASIDE = ("bms server quarantine {server} --reason leak", "bms server recover {server}")
_DELETE = ("bms instance delete {instance} --project {project}",)

REMEDIES: dict[Kind, Remedy] = {
    Kind.LEASE_OF_ENDED_OWNER: Remedy(
        "Repair it: the server is read back off the network, then the address goes into its cool-down.", _REPAIR
    ),
    Kind.LEASE_OF_UNKNOWN_OWNER: Remedy(
        "Find out who leased it: nothing here proves that nobody uses the address.",
        ("bms lease list --all --owner projects/{project}/instances/{instance}",),
    ),
    Kind.LEASE_NOT_KEPT: Remedy(
        "It goes into its cool-down when the instance is deleted, or its network is attached and detached again.",
        ("bms instance show {instance} --project {project}",),
    ),
    Kind.LEASE_LOST: Remedy(
        "Take the server off its networks: somebody else may get, or have, the same address.", _SET_ASIDE
    ),
    Kind.RESERVATION_OF_NOBODY: Remedy("Repair it: inventory is told again that the server is available.", _REPAIR),
    Kind.RESERVATION_ELSEWHERE: Remedy("Repair it: inventory is told again that the server is available.", _REPAIR),
    Kind.HELD_NOT_RESERVED: Remedy("Repair it: inventory is told again who holds the server.", _REPAIR),
    Kind.OFFER_DIFFERS: Remedy("Repair it: inventory is told again how the server stands.", _REPAIR),
    Kind.SERVER_NOT_FOLLOWED: Remedy(
        "See whether lifecycle follows inventory's log: the deletion of a server at work holds it up.",
        ("bms status", "bms event list --server {server}"),
    ),
    Kind.SERVER_NOT_RECORDED: Remedy(
        "Register the server again under its UUID: inventory has lost it, perhaps to a restored backup.", _LOOK
    ),
    Kind.PORT_OF_UNKNOWN_SERVER: Remedy(
        "Register the server again under its UUID, then delete it: its ports are forgotten once read in quarantine.",
    ),
    Kind.PORT_NOT_IN_QUARANTINE: Remedy(
        "Set the server aside, and lead it back to the pool: it is cleaned.", _SET_ASIDE
    ),
    Kind.PORT_DIFFERS: Remedy(
        "Stop and start the instance: its ports are brought to quarantine and back, and read.",
        ("bms instance stop {instance} --project {project}", "bms instance start {instance} --project {project}"),
    ),
    Kind.PORT_UNKNOWN_TO_NETWORK: Remedy(
        "Set the server aside, and lead it back: its ports are registered.", _SET_ASIDE
    ),
    Kind.OPERATION_OF_NOBODY: Remedy("Look at what it is about, and ask for it again; nothing waits for it.", _LOOK),
    Kind.INSTANCE_STRANDED: Remedy("Delete the instance; its server, if it holds one, is given back.", _DELETE),
    Kind.HOLD_ONE_SIDED: Remedy("Set the server aside; if the instance is left, its project deletes it.", _SET_ASIDE),
    Kind.INTENT_ASLEEP: Remedy("Ask for something else: quarantine takes over whatever was being done.", _SET_ASIDE),
    Kind.CLAIM_ABANDONED: Remedy("See that a lifecycle process runs and reaches its database.", ("bms status",)),
    Kind.NODE_HOLD_OF_NOBODY: Remedy("Repair it: the controller is told to hold the server for nobody.", _REPAIR),
    Kind.NODE_HOLD_USED: Remedy(
        "Set the server aside, and lead it back to the pool: it is cleaned, and its hold goes.", _SET_ASIDE
    ),
    Kind.NODE_HOLD_OF_UNKNOWN_SERVER: Remedy(
        "If no other manager works this controller: register the server again under its UUID, then delete it.",
        ("openstack baremetal node show {server}",),
    ),
    Kind.NODE_HOLD_LOST: Remedy(
        "Find out who took it away; a server in use is given to nobody, and is held again with its next instance.",
        ("openstack baremetal node show {server}",),
    ),
    Kind.NODE_HELD_ELSEWHERE: Remedy(
        "Find out who holds it before anything is done to the server: two may take it for theirs.",
        ("openstack baremetal node show {server}", "bms server diagnose {server}"),
    ),
    Kind.FABRIC_LEFTOVER: Remedy("Repair it: it is removed from the fabric's controller.", _REPAIR),
    Kind.FABRIC_LEFTOVER_OF_STRANGER: Remedy(
        "Remove it at the fabric's controller, if no other manager works there: it is of no server that we ever had.",
    ),
    Kind.ADDRESS_LEFTOVER: Remedy("Repair it: it is removed from the controller, and its address rests.", _REPAIR),
    Kind.ADDRESS_LEFTOVER_IN_DOUBT: Remedy(
        "Find out who uses the address; remove it at the controller if nobody does. ipam gives it to nobody meanwhile.",
    ),
}
"""Every kind has one."""


def commands(leak: Leak) -> tuple[str, ...]:
    """The commands for *leak*, filled in."""
    about = next((name for name in (leak.owner, leak.resource) if "/instances/" in name), "")
    project, instance = INSTANCE.parse(about) if about else ("", "")
    given = {"server": leak.server, "project": project, "instance": instance}
    return tuple(
        command.format(**given)
        for command in REMEDIES[leak.kind].commands
        if all(value or f"{{{name}}}" not in command for name, value in given.items())
    )
