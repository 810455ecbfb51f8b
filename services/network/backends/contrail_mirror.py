# SPDX-License-Identifier: Apache-2.0
"""Servers and their ports shown in Contrail, as objects `node` and `port`: to its users, and to its device manager.

The node has the server's UUID. What others made under it, or what the node says of itself, stays; of BMCs nothing is
told, since Contrail shows `bms_info` with its password to whoever may read the node.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from services.network.backends.contrail_reading import ids
from services.network.backends.contrail_words import MARK, machine_uuid
from services.network.domain.attachments import Link
from services.runtime.contrail import CONFIG, Contrail, Resource, chosen, interface_name, listed, pairs_of
from services.runtime.openstack import Refused

_log = structlog.get_logger("bms.network")
_NODE, _PORT, _INTERFACE, _MACHINE = "node", "port", "physical-interface", "virtual-machine"


class ContrailMirror:
    """`services.network.ports.Mirror` over one Contrail; may be called from any thread."""

    def __init__(self, api: Contrail) -> None:
        self._api = api

    def show(self, server: str, links: Sequence[Link]) -> None:
        """See `Mirror.show`."""
        try:
            self._show(server, {chosen(_PORT, link.port): link for link in links})
        except Refused as error:
            # Nothing that we do depends on it, and a server is not kept out for it.
            _log.warning("mirror.refused", server=server, status=error.status, text=error.text)

    def _show(self, server: str, wanted: dict[str, Link]) -> None:
        node = self._api.get(_NODE, server, "annotations")
        there = self._api.every(_PORT, fields=("physical_interface_back_refs",), parent_id=[server]) if node else []
        known = {str(one["uuid"]): one for one in there}
        for ident, one in known.items():
            if ident not in wanted and pairs_of(one, "annotations").get(MARK) == server:
                self._remove(one)
        if not wanted:
            if node and pairs_of(node, "annotations").get(MARK) == server:
                self._api.delete(_NODE, server)
            self._api.delete(_MACHINE, machine_uuid(server))
            return
        if node is None:
            node = self._api.create(_NODE, _node(server))
        addresses = {info.get("address", "").lower() for one in there for info in [one.get("bms_port_info") or {}]}
        for ident, link in wanted.items():
            info = _info(server, link)
            if ident in known:
                if known[ident].get("bms_port_info") != info:
                    self._api.update(_PORT, ident, {"bms_port_info": info})
            elif link.mac_address not in addresses:
                body = {
                    "uuid": ident,
                    "fq_name": [*node["fq_name"], link.port.rpartition("/")[2]],
                    "parent_type": _NODE,
                    "bms_port_info": info,
                    "annotations": listed({MARK: server}),
                }
                self._api.create(_PORT, body)

    def _remove(self, port: Resource) -> None:
        """Deletes a port of ours. Contrail has the switch port point to it by itself, and deletes none that is so."""
        for interface in sorted(ids(port, "physical_interface_back_refs")):
            self._api.remove_ref(_INTERFACE, interface, _PORT, str(port["uuid"]))
        self._api.delete(_PORT, str(port["uuid"]))


def _node(server: str) -> Resource:
    return {
        "uuid": server,
        "fq_name": [CONFIG, server],
        "parent_type": CONFIG.removeprefix("default-"),
        "node_type": "baremetal",
        "annotations": listed({MARK: server}),
    }


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
