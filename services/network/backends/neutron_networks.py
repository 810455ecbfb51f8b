# SPDX-License-Identifier: Apache-2.0
"""Networks by Neutron: made there with ours, or taken over from those that others made."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable, Mapping

from services.kernel.errors import (
    AlreadyExists,
    Exhausted,
    InvalidField,
    IsolationImpossible,
    NotFound,
    PeerUnavailable,
    StillInUse,
)
from services.kernel.names import NETWORK
from services.network.domain.networks import PortClass, Segment
from services.network.domain.wishes import Wish
from services.runtime.neutron import Neutron, Resource, age, find_network, is_ours, network_tag
from services.runtime.openstack import Refused

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOT_YET = Segment("")
_SHARED_BY_ALL = ("flat", "local", None, "")
_ROUTERS = (
    "network:router_interface", "network:router_interface_distributed", "network:ha_router_replicated_interface",
    "network:router_gateway",
)  # fmt: skip
"""Who owns the ports by which routers are in a network."""


class NeutronNetworks:
    """`services.network.ports.Controller` over one Neutron; may be called from any thread.

    Args:
        physical_network: on which our networks are made, as VLANs that may be asked for; empty: Neutron chooses all.
        private_projects: ids of the projects whose networks may be of a private class, beside that of our login.
    """

    def __init__(self, api: Neutron, physical_network: str = "", private_projects: Iterable[str] = ()) -> None:
        self._api = api
        self._physical = physical_network
        self._private = frozenset(private_projects)
        self._making = threading.Lock()

    def make(self, name: str, display_name: str, network_class: PortClass, vlan: int, *, dry: bool) -> Segment:
        """See `Controller.make`. One that we made is found again by its mark, so that nothing is made twice."""
        _, ident = NETWORK.parse(name)
        try:
            # Here one after the other; what another replica makes meanwhile is seen right after.
            with self._making:
                found = find_network(self._api, name)
                if found is None and _UUID.fullmatch(ident):
                    msg = f"Neutron has no network {ident} that project {NETWORK.parse(name)[0]} may use"
                    raise NotFound(msg, remedy="openstack network show, and look at project and shared.", name=name)
                if found is not None:
                    self._require_fit(found, name, network_class, vlan)
                    return _segment(found)
                self._require_choice(vlan)
                if network_class.private:
                    self._require_private(self._api.project(NETWORK.parse(name)[0]), network_class)
                if dry:
                    return _NOT_YET
                made = self._made(name, display_name, vlan)
                try:
                    self._require_fit(made, name, network_class, vlan)
                except (InvalidField, IsolationImpossible):
                    self._api.delete("networks", str(made["id"]))
                    raise
                return _segment(made)
        except Refused as error:
            raise _told(error, vlan) from None

    def remove(self, name: str) -> None:
        """See `Controller.remove`."""
        try:
            found = find_network(self._api, name)
            if found is not None and is_ours(found, network_tag(name)):
                self._api.delete("networks", str(found["id"]))
        except Refused as error:
            if error.status != 409:
                raise _told(error, 0) from None
            msg = f"{name} is in use in Neutron: {error.text}"
            raise StillInUse(msg, remedy="openstack port list --network shows by what.", name=name) from None

    def refusal(self, wishes: Collection[Wish]) -> str:
        """See `Controller.refusal`. Neutron is asked only if there is a tag, or a private network is wished for."""
        if why := self._opened_now(wishes):
            return why
        tagged = [wish for wish in wishes if any(tag.vlan_tag for tag in wish.tags)]
        if any(all(tag.vlan_tag for tag in wish.tags) for wish in tagged):
            return "a trunk of Neutron's has an untagged network, and a port was asked to have tagged ones alone"
        if tagged and "trunk" not in self._api.extensions():
            return "this Neutron has no trunks, so a port is on one network, untagged"
        return ""

    def opened(self, fabric_ids: Collection[str]) -> Mapping[str, str]:
        """See `Controller.opened`. Three requests: the networks, who else they are given to, and routers in them."""
        idents = sorted(fabric_ids)
        found: dict[str, str] = {}
        try:
            routers = self._api.every("ports", network_id=idents, device_owner=list(_ROUTERS))
            given = self._given(idents)
            for network in self._api.every("networks", id=idents):
                ident = str(network["id"])
                if network["shared"]:
                    found[ident] = "is shared with every project"
                elif network.get("router:external"):
                    found[ident] = "is an external network"
                elif others := sorted(given.get(ident, ())):
                    found[ident] = f"is given to {', '.join(others)} by an RBAC policy"
                elif router := next((one for one in routers if one["network_id"] == ident), None):
                    found[ident] = f"can be reached by router {router['device_id']}"
        except Refused as error:
            raise _told(error, 0) from None
        return found

    # ------------------------------------------------------------------------------------------------------------------

    def _opened_now(self, wishes: Collection[Wish]) -> str:
        """Why none may be attached to a private network that is wished for; empty if nothing speaks against it."""
        names = sorted({tag.network for wish in wishes if wish.port_class.private for tag in wish.tags})
        found = {name: network for name in names if (network := find_network(self._api, name)) is not None}
        opened = self.opened({str(network["id"]) for network in found.values()}) if found else {}
        which = next((name for name, network in found.items() if network["id"] in opened), "")
        return f"{which} is the site's alone, and {opened[found[which]['id']]}" if which else ""

    def _given(self, networks: list[str]) -> dict[str, set[str]]:
        """The projects, or ``*``, that others than its own may use each of *networks* by."""
        try:
            policies = self._api.every("rbac-policies", object_type="network", object_id=networks)
        except Refused as error:
            if error.status != 404:
                raise
            return {}  # this Neutron has none
        found: dict[str, set[str]] = {}
        for one in policies:
            target = str(one.get("target_tenant") or one.get("target_project") or "")
            if target not in (self._api.own_project, *self._private):
                found.setdefault(str(one["object_id"]), set()).add(target)
        return found

    def _made(self, name: str, display_name: str, vlan: int) -> Resource:
        project, ident = NETWORK.parse(name)
        tag = network_tag(name)
        body: dict[str, object] = {
            "name": display_name or ident, "description": tag, "project_id": self._api.project(project),
            "shared": False,
        }  # fmt: skip
        if self._physical:
            body |= {"provider:network_type": "vlan", "provider:physical_network": self._physical}
        if vlan:
            body["provider:segmentation_id"] = vlan
        made = self._api.create("networks", body)
        self._api.mark("networks", str(made["id"]), tag)
        first = find_network(self._api, name) or made
        if first["id"] != made["id"] and age(first) < age(made):
            # Another replica was asked the same in the same moment: everybody finds the older one.
            self._api.delete("networks", str(made["id"]))
            return first
        return made

    def _require_choice(self, vlan: int) -> None:
        if vlan and not self._physical:
            raise InvalidField(
                field="network.vlan_id",
                description="is chosen by Neutron on this site",
                remedy="Leave it out, or have BMS_NETWORK_NEUTRON_PHYSICAL_NETWORK set.",
            )

    def _require_private(self, project: str, network_class: PortClass) -> None:
        if project != self._api.own_project and project not in self._private:
            raise InvalidField(
                field="network_id",
                description=f"belongs to project {project}, and a {network_class} network is the site's alone",
                remedy="Take one of the site's, or name its project in BMS_NETWORK_NEUTRON_PRIVATE_PROJECTS.",
            )

    def _require_fit(self, found: Resource, name: str, network_class: PortClass, vlan: int) -> None:
        """Refuses a network that no port of ours may be on, whoever made it."""
        kind = found.get("provider:network_type")
        if found.get("router:external"):
            raise InvalidField(
                field="network_id",
                description="is an external network",
                remedy="Take one that leads to such a network by a router.",
            )
        if "provider:network_type" not in found:
            msg = "Neutron does not show our login what networks are made of"
            raise PeerUnavailable(msg, remedy="Give the login role admin.", peer="neutron")
        if found.get("segments") or kind in _SHARED_BY_ALL:
            what = "has several segments" if found.get("segments") else f"is of type {kind}"
            msg = f"Neutron's network {found['id']} {what}: it keeps nobody on it apart from others"
            raise IsolationImpossible(
                msg,
                remedy="Take a network of a type that has a segment of its own, such as vlan or vxlan.",
                subject=name,
                network_type=str(kind),
            )
        if network_class.private and found["shared"]:
            raise InvalidField(
                field="network_id",
                description=f"is shared with every project, and a {network_class} network is the site's alone",
                remedy="openstack network set --no-share, or take another one.",
            )
        if network_class.private:
            self._require_private(str(found["project_id"]), network_class)
        if vlan and vlan != _segment(found).vlan:
            raise InvalidField(
                field="network.vlan_id",
                description=f"is {vlan}, and Neutron's network {found['id']} has {_segment(found).vlan or 'none'}",
                remedy="Leave it out.",
            )


def _segment(found: Resource) -> Segment:
    number = int(found.get("provider:segmentation_id") or 0)
    vlan = found["provider:network_type"] == "vlan"
    return Segment(str(found["id"]), number if vlan else 0, 0 if vlan else number)


def _told(error: Refused, vlan: int) -> AlreadyExists | Exhausted | PeerUnavailable:
    if error.kind == "VlanIdInUse":
        msg = f"VLAN {vlan} belongs to another network of Neutron's"
        return AlreadyExists(msg, remedy="Choose another VLAN, or none.", vlan_id=str(vlan))
    if error.kind == "OverQuota":
        msg = f"Neutron's quota is used up: {error.text}"
        return Exhausted(msg, remedy="openstack quota set --networks, or remove a network that is not used.")
    msg = f"Neutron refuses ({error.kind or error.status}): {error.text}"
    return PeerUnavailable(msg, remedy="Mend that in Neutron, then send the same request again.", peer="neutron")
