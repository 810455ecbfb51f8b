# SPDX-License-Identifier: Apache-2.0
"""The objects that show a server to Contrail's users: `node`, and below it `port` and `port-group`.

A `port-group` refers to its `port`s, and Contrail has its switch ports refer to them by itself; what is referred to,
and a node with something below it, is not deleted. So groups go first, then ports, then the node.
"""

from __future__ import annotations

from services.kernel.names import PORT as PORT_NAME
from services.kernel.names import SERVER
from services.network.backends.contrail_reading import ids
from services.network.backends.contrail_words import MARK, UNIT
from services.runtime.contrail import Contrail, Resource, chosen, pairs_of

NODE, PORT, GROUP = "node", "port", "port-group"
INTERFACE = "physical-interface"


def group_uuid(server: str, label: str) -> str:
    """The UUID of the `port-group` that shows a server's port group."""
    return chosen(GROUP, f"{SERVER.format(server)} {label}")


def is_shown(kind: str, thing: Resource) -> bool:
    """Whether *thing*, a node, port or port group with its annotations, is one that network made."""
    pairs, ident = pairs_of(thing, "annotations"), str(thing["uuid"])
    server = pairs.get(MARK, "")
    if kind == NODE:
        return ident == server
    if kind == PORT:
        return ident == chosen(PORT, port_shown(server, thing))
    return ident == group_uuid(server, pairs.get(UNIT, ""))


def port_shown(server: str, port: Resource) -> str:
    """The name of the server's port that a `port` of ours shows."""
    return PORT_NAME.format(server, str(port["fq_name"][-1]))


def take_down(api: Contrail, kind: str, ident: str) -> None:
    """Deletes a node, port or port group of ours, having taken it out of switch ports and groups of ours.

    Raises:
        Refused: others refer to it, or made something below it.
        PeerUnavailable: Contrail does not answer.
    """
    if kind == PORT:
        port = api.get(PORT, ident, "physical_interface_back_refs", "port_group_back_refs") or {}
        for interface in sorted(ids(port, "physical_interface_back_refs")):
            api.remove_ref(INTERFACE, interface, PORT, ident)
        for group in sorted(ids(port, "port_group_back_refs")):
            found = api.get(GROUP, group, "annotations")
            if found is not None and is_shown(GROUP, found):
                api.remove_ref(GROUP, group, PORT, ident)
    api.delete(kind, ident)
