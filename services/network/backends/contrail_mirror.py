# SPDX-License-Identifier: Apache-2.0
"""Servers, their ports and port groups shown in Contrail: to its users, and to its device manager.

The node has the server's UUID. What others made under it, or what the node says of itself, stays; of BMCs nothing is
told, since Contrail shows `bms_info` with its password to whoever may read the node.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import structlog

from services.network.backends.contrail_reading import ids
from services.network.backends.contrail_shown import GROUP, NODE, PORT, group_uuid, is_shown, take_down
from services.network.backends.contrail_words import MARK, UNIT, machine_uuid
from services.network.domain.attachments import Link
from services.runtime.contrail import CONFIG, Contrail, Resource, chosen, interface_name, listed
from services.runtime.openstack import Refused

_log = structlog.get_logger("bms.network")
_MACHINE = "virtual-machine"


class ContrailMirror:
    """`services.network.ports.Mirror` over one Contrail; may be called from any thread."""

    def __init__(self, api: Contrail) -> None:
        self._api = api

    def show(self, server: str, links: Sequence[Link]) -> None:
        """See `Mirror.show`."""
        try:
            self._show(server, {chosen(PORT, link.port): link for link in links})
        except Refused as error:
            _told(server, error)

    def _show(self, server: str, wanted: Mapping[str, Link]) -> None:
        node = self._api.get(NODE, server, "annotations")
        ports = self._below(PORT, server) if node else {}
        groups = self._below(GROUP, server) if node else {}
        ours = {ident for ident, one in ports.items() if ident in wanted or is_shown(PORT, one)}
        theirs = {_address(one) for ident, one in ports.items() if ident not in ours}
        links = {ident: link for ident, link in wanted.items() if ident in ours or link.mac_address not in theirs}
        bonds = _bonds(server, wanted, links)
        self._take_down(server, GROUP, [one for one in groups if one not in bonds and is_shown(GROUP, groups[one])])
        self._take_down(server, PORT, ours - set(wanted))
        if not wanted:
            if node and is_shown(NODE, node):
                self._take_down(server, NODE, [server])
            self._api.delete(_MACHINE, machine_uuid(server))
            return
        if node is None:
            node = self._api.create(NODE, _node(server))
        for ident, link in links.items():
            if ident not in ports:
                self._api.create(PORT, _port(server, node, ident, link))
            elif ports[ident].get("bms_port_info") != _info(server, link):
                self._api.update(PORT, ident, {"bms_port_info": _info(server, link)})
        for ident, members in bonds.items():
            group = groups.get(ident) or self._api.create(GROUP, _group(server, node, ident, members))
            self._have_members(group, set(members))

    def _below(self, kind: str, server: str) -> dict[str, Resource]:
        return {str(one["uuid"]): one for one in self._api.every(kind, parent_id=[server])}

    def _have_members(self, group: Resource, members: Collection[str]) -> None:
        """Has *group* refer to *members* alone; what others wrote since it was read is not written over."""
        ident, there = str(group["uuid"]), ids(group, "port_refs")
        for port in sorted(there - set(members)):
            self._api.remove_ref(GROUP, ident, PORT, port)
        for port in sorted(set(members) - there):
            self._api.add_ref(GROUP, ident, PORT, port)

    def _take_down(self, server: str, kind: str, idents: Collection[str]) -> None:
        """Deletes what it can: one that is refused keeps no other. `ContrailLeftovers` finds it."""
        for ident in sorted(idents):
            try:
                take_down(self._api, kind, ident)
            except Refused as error:
                _told(server, error)


def _told(server: str, error: Refused) -> None:
    # Nothing that we do depends on it, and a server is not kept out for it.
    _log.warning("mirror.refused", server=server, status=error.status, text=error.text)


def _bonds(server: str, wanted: Mapping[str, Link], links: Mapping[str, Link]) -> dict[str, dict[str, Link]]:
    """The port groups to be shown, by uuid, each with its ports.

    Args:
        links: those of *wanted* that are shown by ports of ours. Who described the others describes their groups: a
            reference of ours would keep him from deleting his port.
    """
    groups: dict[str, dict[str, Link]] = defaultdict(dict)
    for ident, link in wanted.items():
        if link.port_group:
            groups[group_uuid(server, link.port_group)][ident] = link
    return {ident: members for ident, members in groups.items() if members.keys() <= links.keys()}


def _address(port: Resource) -> str:
    return str((port.get("bms_port_info") or {}).get("address") or "").lower()


def _node(server: str) -> Resource:
    return {
        "uuid": server,
        "fq_name": [CONFIG, server],
        "parent_type": CONFIG.removeprefix("default-"),
        "node_type": "baremetal",
        "annotations": listed({MARK: server}),
    }


def _port(server: str, node: Resource, ident: str, link: Link) -> Resource:
    return {
        "uuid": ident,
        "fq_name": _port_names(node, link),
        "parent_type": NODE,
        "bms_port_info": _info(server, link),
        "annotations": listed({MARK: server}),
    }


def _group(server: str, node: Resource, ident: str, members: Mapping[str, Link]) -> Resource:
    label = next(iter(members.values())).port_group
    return {
        "uuid": ident,
        # Not the label: a node profile makes a group of that name, and labels may have what names may not.
        "fq_name": [*node["fq_name"], f"bms-{ident}"],
        "parent_type": NODE,
        "display_name": label,
        "bms_port_group_info": {"node_uuid": server},
        "port_refs": [{"to": _port_names(node, link), "uuid": port} for port, link in members.items()],
        "annotations": listed({MARK: server, UNIT: label}),
    }


def _port_names(node: Resource, link: Link) -> list[str]:
    return [*node["fq_name"], link.port.rpartition("/")[2]]


def _info(server: str, link: Link) -> Resource:
    return {
        "address": link.mac_address,
        "node_uuid": server,
        "local_link_connection": {
            "switch_info": link.plug.switch,
            "port_id": interface_name(link.plug.port),
            "switch_id": link.switch_id or link.plug.switch,
        },
    }
