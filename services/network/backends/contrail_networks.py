# SPDX-License-Identifier: Apache-2.0
"""Networks by Contrail: made there with ours, or taken over from those that others made."""

from __future__ import annotations

import re
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
from services.runtime.contrail import (
    EXISTS,
    QUOTA,
    REFERRED,
    Contrail,
    Resource,
    dashed,
    find_network,
    listed,
    network_label,
    network_uuid,
)
from services.runtime.contrail_networks import BACK_REFS, LEADS_IN, NATIVE_VLAN, VLAN, open_to_others, vlan_of
from services.runtime.openstack import Refused

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOT_YET = Segment("")
_SYSTEM = ("ip-fabric", "__link_local__", "default-virtual-network", "dci-network")
"""Networks that every Contrail has for itself; they join others."""
_FIELDS = (
    "display_name", "is_shared", "router_external", "annotations", "virtual_network_properties",
    "virtual_network_network_id", *LEADS_IN,
)  # fmt: skip


class ContrailNetworks:
    """`services.network.ports.Controller` over one Contrail; may be called from any thread.

    Args:
        native_vlan: of untagged frames, where a network has no VLAN of its own.
        private_projects: ids of the projects whose networks may be of a private class, beside the one that is ours.
    """

    def __init__(self, api: Contrail, native_vlan: int = NATIVE_VLAN, private_projects: Iterable[str] = ()) -> None:
        self._api = api
        self._native = native_vlan
        self._private = frozenset(dashed(ident) for ident in private_projects)

    def make(self, name: str, display_name: str, network_class: PortClass, vlan: int, *, dry: bool) -> Segment:
        """See `Controller.make`. One that we made has a uuid of its name's, so that nothing is made twice."""
        project, ident = NETWORK.parse(name)
        try:
            found = find_network(self._api, name, *_FIELDS)
            if found is None and _UUID.fullmatch(ident):
                msg = f"Contrail has no network {ident} that project {project} may use"
                raise NotFound(msg, remedy="Look at its project, and at whom it is shared with.", name=name)
            if found is not None:
                self._require_fit(found, name, network_class, vlan)
                return _segment(found)
            within = self._api.project(project)
            if within is None:
                msg = f"Contrail has no project for {project}"
                remedy = "Let Contrail learn it of Keystone, or look at the setting BMS_NETWORK_CONTRAIL_PROJECT."
                raise NotFound(msg, remedy=remedy, name=name)
            if network_class.private:
                self._require_private(str(within["uuid"]), network_class)
            if dry:
                return _NOT_YET
            body = {
                "uuid": network_uuid(name),
                "fq_name": [*within["fq_name"], network_label(name)],
                "parent_type": "project",
                "display_name": display_name or ident,
                "is_shared": False,
                **({"annotations": listed({VLAN: str(vlan)})} if vlan else {}),
            }
            made = self._api.create("virtual-network", body)
            self._require_fit(made, name, network_class, vlan)
            return _segment(made)
        except Refused as error:
            raise _told(error) from None

    def remove(self, name: str) -> None:
        """See `Controller.remove`."""
        try:
            self._api.delete("virtual-network", network_uuid(name))
        except Refused as error:
            if error.kind != REFERRED:
                raise _told(error) from None
            msg = f"{name} is in use in Contrail: {error.text}"
            raise StillInUse(msg, remedy="Remove what refers to it.", name=name) from None

    def refusal(self, wishes: Collection[Wish]) -> str:
        """See `Controller.refusal`. Contrail is asked only where there are tags beside an untagged network."""
        for wish in wishes:
            tags = {tag.vlan_tag for tag in wish.tags}
            untagged = next((tag.network for tag in wish.tags if not tag.vlan_tag), "")
            if not untagged or len(tags) == 1:
                continue
            try:
                found = find_network(self._api, untagged, "annotations")
            except Refused as error:
                raise _told(error) from None
            vlan = (vlan_of(found) if found else 0) or self._native
            if vlan in tags:
                return f"{vlan} is the VLAN of its untagged frames, those of {untagged}, and was asked for as a tag too"
        return ""

    def opened(self, fabric_ids: Collection[str]) -> Mapping[str, str]:
        """See `Controller.opened`. One request: all that opens a network is a property or reference of its own."""
        try:
            found = self._api.every("virtual-network", fields=BACK_REFS, obj_uuids=sorted(fabric_ids))
        except Refused as error:
            raise _told(error) from None
        return {str(one["uuid"]): why for one in found if (why := open_to_others(one))}

    # ------------------------------------------------------------------------------------------------------------------

    def _require_private(self, project: str, network_class: PortClass) -> None:
        ours = self._api.project("")
        if project not in self._private and (ours is None or project != ours["uuid"]):
            raise InvalidField(
                field="network_id",
                description=f"belongs to project {project}, and a {network_class} network is the site's alone",
                remedy="Take one of the site's, or name its project in BMS_NETWORK_CONTRAIL_PRIVATE_PROJECTS.",
            )

    def _require_fit(self, found: Resource, name: str, network_class: PortClass, vlan: int) -> None:
        """Refuses a network that no port of ours may be on, whoever made it."""
        if found["fq_name"][-1] in _SYSTEM:
            msg = f"Contrail's network {found['fq_name'][-1]} joins others: it keeps nobody on it apart"
            raise IsolationImpossible(msg, remedy="Take a network of a project's.", subject=name)
        if found.get("router_external"):
            raise InvalidField(
                field="network_id",
                description="is an external network",
                remedy="Take one that leads to such a network by a router.",
            )
        if network_class.private:
            self._require_private(str(found["parent_uuid"]), network_class)
            if why := open_to_others(found):
                raise InvalidField(
                    field="network_id",
                    description=f"{why}, and a {network_class} network is the site's alone",
                    remedy="Mend that in Contrail, or take another one.",
                )
        own = vlan_of(found)
        if vlan and vlan != own:
            raise InvalidField(
                field="network.vlan_id",
                description=f"is {vlan}, and Contrail's network {found['uuid']} has {own or 'none'}",
                remedy=f"Leave it out, or set the annotation {VLAN} of the network.",
            )


def _segment(found: Resource) -> Segment:
    configured = (found.get("virtual_network_properties") or {}).get("vxlan_network_identifier")
    vni = int(configured or found.get("virtual_network_network_id") or 0)
    return Segment(str(found["uuid"]), vlan_of(found), vni)


def _told(error: Refused) -> AlreadyExists | Exhausted | PeerUnavailable:
    if error.kind == EXISTS:
        msg = f"Contrail has another network of that name: {error.text}"
        return AlreadyExists(msg, remedy="Choose another id, or take it over by its uuid.")
    if error.kind == QUOTA:
        msg = f"Contrail's quota is used up: {error.text}"
        return Exhausted(msg, remedy="Raise the project's quota, or remove a network that is not used.")
    msg = f"Contrail refuses ({error.status}): {error.text}"
    return PeerUnavailable(msg, remedy="Mend that in Contrail, then send the same request again.", peer="contrail")
