# SPDX-License-Identifier: Apache-2.0
"""Tagged networks on a port: a trunk of Neutron's, whose parent is the untagged network's port."""

from __future__ import annotations

from collections.abc import Mapping

from services.runtime.neutron import Neutron, Resource


def keep_trunk(api: Neutron, parent: Resource, wanted: Mapping[int, str]) -> None:
    """Makes the subports of *parent*'s trunk those of *wanted*, by tag; makes the trunk if there is none.

    Raises:
        Refused: Neutron will not.
        PeerUnavailable: it does not answer.
    """
    details = parent.get("trunk_details")
    if not details:
        if parent["binding:host_id"]:
            # Most plugins take no trunk on a port that is bound.
            api.update("ports", str(parent["id"]), {"binding:host_id": "", "binding:profile": {}})
        api.create("trunks", {"port_id": parent["id"], "sub_ports": [_sub(tag, port) for tag, port in wanted.items()]})
        return
    there = {int(sub["segmentation_id"]): str(sub["port_id"]) for sub in details["sub_ports"]}
    path = f"/trunks/{details['trunk_id']}"
    gone = [port for tag, port in there.items() if wanted.get(tag) != port]
    if gone:
        api.call("PUT", f"{path}/remove_subports", {"sub_ports": [{"port_id": port} for port in gone]})
    fresh = [_sub(tag, port) for tag, port in wanted.items() if there.get(tag) != port]
    if fresh:
        api.call("PUT", f"{path}/add_subports", {"sub_ports": fresh})


def cut_trunk(api: Neutron, parent: Resource) -> None:
    """Removes *parent*'s trunk; its subports stay as ports, for whoever cuts those."""
    api.delete("trunks", str(parent["trunk_details"]["trunk_id"]))


def _sub(tag: int, port: str) -> dict[str, object]:
    return {"port_id": port, "segmentation_id": tag, "segmentation_type": "vlan"}
