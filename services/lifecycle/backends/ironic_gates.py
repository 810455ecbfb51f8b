# SPDX-License-Identifier: Apache-2.0
"""What people or Ironic have marked a node with, or how it is set up, as it keeps a job of ours from starting."""

from __future__ import annotations

from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic_api import Deadline, IronicApi, Node
from services.lifecycle.backends.ironic_verbs import is_retired
from services.lifecycle.ports import JobKind, NotNow
from services.runtime.openstack import shown

REWIRING = "the bare metal manager corrects its ports"
"""The reason of a maintenance of ours, which lasts for a few requests; whoever finds it ends it."""

_UNDEPLOYS = ("deleted", "rebuild")


def out_of_maintenance(api: IronicApi, node: Node, deadline: Deadline) -> None:
    """Ends the maintenance that a failed clean left, or a crash of ours; one that a person set stays.

    Raises:
        PeerUnavailable: a person set it, or Ironic did, for a BMC that is silent.
    """
    if not node.data.get("maintenance"):
        return
    server, fault, reason = node.text("uuid"), node.text("fault"), node.text("maintenance_reason")
    if fault == "clean failure" or reason == REWIRING:
        api.call("DELETE", f"/nodes/{server}/maintenance", deadline)
        return
    if fault == "power failure":
        raise silent(server, reason)
    why = shown(f"{fault}: {reason}" if fault else reason) or "no reason is given"
    # Ironic keeps no name of who did it in the node; its history (`openstack baremetal node history list`) has some.
    msg = f"somebody set the node into maintenance in Ironic: {why}"
    raise NotNow("CONTROLLER_MAINTENANCE", msg, remedy="End its maintenance in Ironic.", peer="ironic", server=server)


def require_isolation(node: Node) -> None:
    """Refuses a node whose ports stay where they are plugged in, whatever anybody asks of Neutron.

    Neutron has nothing at its switch port then, which anywhere else is what quarantine looks like.

    Raises:
        NotNow: its network interface is ``flat``.
    """
    if node.text("network_interface") != "flat":
        return
    server = node.text("uuid")
    raise NotNow(
        "CONTROLLER_FLAT",
        "the node's network interface in Ironic is flat: all that it ever runs is on one network, apart from nobody",
        remedy=f"While nobody has it: openstack baremetal node set {server} --network-interface noop.",
        peer="ironic",
        server=server,
    )


def require_mover(node: Node, *, moves_ports: bool) -> None:
    """Refuses a node whose ports Ironic would move although we do, or would not although nobody else does.

    Args:
        moves_ports: lifecycle was told that Ironic moves ports.

    Raises:
        NotNow: its network interface is ``neutron`` or is not.
    """
    found = node.text("network_interface")
    if not found or (found == "neutron") is moves_ports:
        return
    server, wanted = node.text("uuid"), "neutron" if moves_ports else "noop"
    who = "Ironic moves ports (BMS_LIFECYCLE_NEUTRON_MODE=observed)" if moves_ports else "we move ports"
    raise NotNow(
        "CONTROLLER_MOVES_PORTS",
        f"the node's network interface in Ironic is {found}, and lifecycle was told that {who}",
        remedy=f"While nobody has it: openstack baremetal node set {server} --network-interface {wanted}.",
        peer="ironic",
        server=server,
    )


def check(node: Node, kind: JobKind, verb: str, *, moves_ports: bool = False) -> None:
    """Refuses, before it is asked, what Ironic would refuse *verb* for, and what would prove nothing.

    Args:
        moves_ports: lifecycle was told that Ironic moves ports.

    Raises:
        NotNow: the node is protected and would be undeployed, or is retired and would be offered, or is kept apart from
            nobody, or another moves its ports than was said.
    """
    require_isolation(node)
    require_mover(node, moves_ports=moves_ports)
    server = node.text("uuid")
    if verb in _UNDEPLOYS and node.data.get("protected"):
        why = shown(node.text("protected_reason")) or "no reason is given"
        raise NotNow(
            "CONTROLLER_PROTECTED",
            f"the node is protected in Ironic ({why}), and {kind.value} would undeploy it",
            remedy=f"Take the protection away: openstack baremetal node unset {server} --protected.",
            peer="ironic",
            server=server,
        )
    if kind is JobKind.CLEAN and node.data.get("retired") and not is_retired(node):
        why = shown(node.text("retired_reason")) or "no reason is given"
        raise NotNow(
            "CONTROLLER_RETIRED",
            f"the node is retired in Ironic ({why}), which then makes it available no more",
            remedy=f"Delete the server, or take the mark away: openstack baremetal node unset {server} --retired.",
            peer="ironic",
            server=server,
        )


def silent(server: str, text: str) -> PeerUnavailable:
    """The error of a BMC that Ironic has no answer of."""
    msg = f"the BMC of servers/{server} does not answer: {shown(text) or 'Ironic does not say why'}"
    return PeerUnavailable(msg, remedy="Look at the BMC and its login.", peer="bmc", server=server, reason="BMC_SILENT")
