# SPDX-License-Identifier: Apache-2.0
"""Tagged networks on a port: a trunk of Neutron's, whose parent is the untagged network's port."""

from __future__ import annotations

from collections.abc import Mapping

from services.network.backends.neutron_reading import is_bound
from services.runtime.neutron import PORT, Neutron, Resource, is_ours, trunk_above
from services.runtime.openstack import Refused

UNBOUND: Mapping[str, object] = {"binding:host_id": "", "binding:profile": {}}
"""What a port is told that is to be bound nowhere."""
_STUCK = ("TrunkInErrorState", "TrunkDisabled")
"""What Neutron says of trunks that it will not change as they are."""


def keep_trunk(api: Neutron, parent: Resource, wanted: Mapping[int, str]) -> None:
    """Makes the subports of *parent*'s trunk those of *wanted*, by tag; makes the trunk if there is none.

    Raises:
        Refused: Neutron will not.
        PeerUnavailable: it does not answer.
    """
    details = parent.get("trunk_details")
    if details:
        try:
            _change(api, details, wanted)
        except Refused as error:
            if error.kind not in _STUCK:
                raise
            parent, details = without_trunk(api, parent), None
    if not details:
        if parent["binding:host_id"]:
            # Most plugins take no trunk on a port that is bound.
            api.update("ports", str(parent["id"]), UNBOUND)
        api.create("trunks", {"port_id": parent["id"], "sub_ports": [_sub(tag, port) for tag, port in wanted.items()]})


def without_trunk(api: Neutron, parent: Resource) -> Resource:
    """*parent*, bound nowhere and with its trunk removed if it had one; its subports stay as ports.

    See `keep_trunk` for what is raised.
    """
    details = parent.get("trunk_details")
    if not details:
        return parent
    # First, because most plugins let no trunk go off a port that is bound; and a port that is not is cut for certain.
    freed = api.update("ports", str(parent["id"]), UNBOUND) if is_bound(parent) else parent
    try:
        api.delete("trunks", str(details["trunk_id"]))
    except Refused as error:
        if error.kind not in _STUCK:
            raise
        api.update("trunks", str(details["trunk_id"]), {"admin_state_up": True})
        api.delete("trunks", str(details["trunk_id"]))
    return {**freed, "trunk_details": None}


def off_trunk(api: Neutron, port: Resource) -> None:
    """Takes *port* off the trunk that it is a subport of, if there is one; the trunk and its other subports stay.

    See `keep_trunk` for what is raised.
    """
    above = trunk_above(api, str(port["id"]))
    if above is not None:
        api.call("PUT", f"/trunks/{above['id']}/remove_subports", {"sub_ports": [{"port_id": port["id"]}]})


def fit_for_trunk(api: Neutron, port: Resource, parent: Resource) -> str:
    """The id of *port*, bound nowhere, so that *parent*'s trunk can take it, if it does not have it already.

    See `keep_trunk` for what is raised.
    """
    held = (parent.get("trunk_details") or {}).get("sub_ports", ())
    if all(sub["port_id"] != port["id"] for sub in held):
        changes = dict(UNBOUND) if is_bound(port) else {}
        if port.get("device_id") and is_ours(port, PORT):
            changes["device_id"] = ""
        if changes:
            api.update("ports", str(port["id"]), changes)
    return str(port["id"])


def _change(api: Neutron, details: Mapping[str, object], wanted: Mapping[int, str]) -> None:
    subs = details["sub_ports"]
    assert isinstance(subs, list)
    there = {int(sub["segmentation_id"]): str(sub["port_id"]) for sub in subs}
    path = f"/trunks/{details['trunk_id']}"
    gone = [port for tag, port in there.items() if wanted.get(tag) != port]
    if gone:
        api.call("PUT", f"{path}/remove_subports", {"sub_ports": [{"port_id": port} for port in gone]})
    fresh = [_sub(tag, port) for tag, port in wanted.items() if there.get(tag) != port]
    if fresh:
        api.call("PUT", f"{path}/add_subports", {"sub_ports": fresh})


def _sub(tag: int, port: str) -> dict[str, object]:
    return {"port_id": port, "segmentation_id": tag, "segmentation_type": "vlan"}
