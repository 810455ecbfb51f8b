# SPDX-License-Identifier: Apache-2.0
"""What every object of the VNC API has: a type, names, a parent, properties, references, and who refers to it."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

_ROOT = ""
_CONFIG = "global-system-config"
PARENTS = {
    "domain": _ROOT, "project": "domain", "virtual-network": "project", "network-ipam": "project",
    "virtual-machine-interface": "project", "security-group": "project", "routing-instance": "virtual-network",
    "instance-ip": _ROOT, "virtual-machine": _ROOT, "global-system-config": _ROOT, "fabric": _CONFIG,
    "physical-router": _CONFIG, "physical-interface": "physical-router", "logical-interface": "physical-interface",
    "virtual-port-group": "fabric", "node": _CONFIG, "port": "node", "port-group": "node", "tag": _ROOT,
    "network-policy": "project", "logical-router": "project",
}  # fmt: skip
"""The types that are here, and the type of each one's parent."""

_RELAXED = {("virtual-port-group", "physical-interface"), ("virtual-port-group", "virtual-machine-interface")}
"""From what to what a reference keeps nobody from deleting: it just goes."""
_NEED_ATTR = {
    ("virtual-network", "network_ipam_refs"), ("virtual-machine-interface", "virtual_port_group_refs"),
}  # fmt: skip
_NEVER = ("fq_name", "uuid", "parent_type", "parent_uuid", "name", "href", "parent_href")
_PROPERTIES = {
    "instance-ip": {
        "instance_ip_address", "instance_ip_family", "instance_ip_mode", "subnet_uuid", "instance_ip_secondary",
    },
    "virtual-network": {
        "virtual_network_properties", "address_allocation_mode", "is_shared", "router_external", "provider_properties",
        "virtual_network_category", "port_security_enabled", "virtual_network_network_id",
    },
    "virtual-machine-interface": {
        "virtual_machine_interface_mac_addresses", "virtual_machine_interface_bindings", "port_security_enabled",
        "virtual_machine_interface_device_owner", "virtual_machine_interface_properties",
        "virtual_machine_interface_dhcp_option_list", "virtual_machine_interface_disable_policy",
    },
    "node": {"node_type", "hostname", "ip_address", "mac_address", "disk_partition", "interface_name", "bms_info"},
    "port": {"bms_port_info", "esxi_port_info", "port_group_uuid"},
    "port-group": {"bms_port_group_info"},
}  # fmt: skip
"""The properties that types are known to have; any other of these types is dropped without a word."""
_GROUP_INFO = {"standalone_ports_supported", "node_uuid", "properties", "address", "mode"}
"""What `bms_port_group_info` takes, and nothing else."""
_COMMON = {"display_name", "id_perms", "perms2", "annotations"}


class Fault(Exception):
    """An answer that is none: its status, and its text as the server writes it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


@dataclass
class Thing:
    """One object.

    Attributes:
        body: its properties, and its references as uuid and attr.
        parent: the uuid of its parent; "" for none.
        tenant: who owns it.
        shares: with whom else, as `perms2` shows it.
    """

    kind: str
    uuid: str
    fq_name: list[str]
    parent: str
    body: dict[str, Any] = field(default_factory=dict)
    tenant: str = "cloud-admin"
    shares: list[dict[str, Any]] = field(default_factory=list)
    created: str = ""
    changed: str = ""


def words(path: str) -> list[str]:
    """The parts of a path, without its query."""
    return [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]


def pairs_of(bindings: Any) -> dict[str, str]:
    """A list of keys and values as a dictionary."""
    return {pair["key"]: pair["value"] for pair in (bindings or {}).get("key_value_pair") or ()}


class Objects:
    """All objects of one server.

    Attributes:
        things: by uuid.
        home: what hrefs begin with.
    """

    def __init__(self, home: str) -> None:
        self.home = home
        self.things: dict[str, Thing] = {}
        self._moments = itertools.count(1)
        config = self.shaped("global-system-config", {"fq_name": ["default-global-system-config"]})
        domain = self.shaped("domain", {"fq_name": ["default-domain"]})
        for thing in (config, domain):
            self.keep(thing)
        for kind, names in (
            ("project", ["default-domain", "default-project"]),
            ("network-ipam", ["default-domain", "default-project", "default-network-ipam"]),
            ("virtual-network", ["default-domain", "default-project", "ip-fabric"]),
            ("fabric", ["default-global-system-config", "default-fabric"]),
        ):
            self.keep(self.shaped(kind, {"fq_name": names}))

    def knows(self, kind: str) -> bool:
        """Whether there is such a type."""
        return kind in PARENTS

    def of(self, kind: str) -> Iterator[Thing]:
        """All of *kind*, by their names as the server sorts them."""
        found = [thing for thing in self.things.values() if thing.kind == kind]
        return iter(sorted(found, key=lambda thing: ":".join([*thing.fq_name, thing.uuid])))

    def get(self, kind: str, ident: str) -> Thing:
        """One of *kind*."""
        found = self.things.get(ident)
        if found is None or found.kind != kind:
            raise Fault(404, f"No {kind} object found for id {ident}")
        return found

    def by_name(self, kind: str, fq_name: list[str]) -> Thing | None:
        """One of *kind* by its full name."""
        return next((one for one in self.things.values() if (one.kind, one.fq_name) == (kind, fq_name)), None)

    def shaped(self, kind: str, given: dict[str, Any]) -> Thing:
        """A new object as *given*, checked and not kept yet."""
        fq_name = given.get("fq_name")
        if not fq_name:
            raise Fault(400, "Bad Request, no fq_name")
        if ":" in fq_name[-1]:
            raise Fault(400, "Bad Request, name has one of invalid chars {':'}")
        ident = given.get("uuid") or str(uuid.uuid4())
        try:
            uuid.UUID(ident)
        except ValueError:
            raise Fault(500, "ValueError: badly formed hexadecimal UUID string") from None
        parent = self._parent(kind, given, fq_name)
        if ident in self.things:
            other = self.things[ident]
            raise Fault(409, f"{other.fq_name} already exists with uuid: {ident}")
        there = self.by_name(kind, fq_name)
        if there is not None:
            raise Fault(409, f"{fq_name} already exists with uuid: {there.uuid}")
        thing = Thing(kind, ident, fq_name, parent.uuid if parent else "")
        # A project that was given the uuid of Keystone's owns what is in it.
        if parent is not None and parent.kind == "project" and parent.tenant != "cloud-admin":
            thing.tenant = parent.tenant
        elif kind == "project" and "uuid" in given:
            thing.tenant = ident.replace("-", "")
        thing.body = self.changes(kind, given, thing)
        thing.body.setdefault("display_name", fq_name[-1])
        return thing

    def changes(self, kind: str, given: dict[str, Any], making: Thing | None = None) -> dict[str, Any]:
        """What of *given* is kept: known properties, and references by uuid and attr."""
        known = _PROPERTIES.get(kind)
        kept: dict[str, Any] = {}
        for name, value in given.items():
            if name in _NEVER or name in ("perms2", "id_perms"):
                continue
            if name.endswith("_refs"):
                kept[name] = [self._ref(kind, name, ref, given, making) for ref in value or ()]
            elif known is None or name in known | _COMMON:
                kept[name] = value
        group = kept.get("bms_port_group_info") or {}
        if strange := sorted(set(group) - _GROUP_INFO):
            what = f"class <class 'vnc_api.gen.resource_xsd.BaremetalPortGroupInfo'> does not have field {strange[0]}"
            where = f"Error validating property bms_port_group_info value {group}"
            raise Fault(400, f"Bad property in create: {where} {what}")
        info = kept.get("bms_info") or {}
        if "type" in info:
            raise Fault(400, "Bad property in create: Error validating property bms_info: does not have field type")
        if kept.get("instance_ip_mode") not in (None, "active-active", "active-standby"):
            allowed = "value must be one of ['active-active', 'active-standby']"
            raise Fault(400, f"Bad property in create: Error validating property instance_ip_mode: {allowed}")
        return kept

    def keep(self, thing: Thing) -> None:
        """From now on it is there."""
        self.touch(thing)
        thing.created = thing.changed
        self.things[thing.uuid] = thing

    def touch(self, thing: Thing) -> None:
        """It was changed at this moment."""
        thing.changed = f"2026-01-01T00:00:00.{next(self._moments):06d}"

    def remove(self, thing: Thing) -> None:
        """It is gone, and with it the references that do not mind."""
        del self.things[thing.uuid]
        name = thing.kind.replace("-", "_") + "_refs"
        for other in self.things.values():
            if name in other.body:
                other.body[name] = [ref for ref in other.body[name] if ref["uuid"] != thing.uuid]

    def check_deletable(self, thing: Thing) -> None:
        """Refuses while there are children, or others that refer to it."""
        children = [one for one in self.things.values() if one.parent == thing.uuid and one.kind != "routing-instance"]
        if children:
            raise Fault(409, f"Delete when children still present: {[self.href(one) for one in children]}")
        refer = [one for one, _ in self.referring(thing) if (one.kind, thing.kind) not in _RELAXED]
        if refer:
            raise Fault(409, f"Delete when resource still referred: {[self.href(one) for one in refer]}")

    def referring(self, thing: Thing) -> Iterator[tuple[Thing, Any]]:
        """Who refers to it, by uuid, and the attr of each reference."""
        name = thing.kind.replace("-", "_") + "_refs"
        for other in sorted(self.things.values(), key=lambda one: one.uuid):
            for ref in other.body.get(name) or ():
                if ref["uuid"] == thing.uuid:
                    yield other, ref["attr"]

    def href(self, thing: Thing) -> str:
        """Where it is."""
        return f"{self.home}/{thing.kind}/{thing.uuid}"

    def brief(self, thing: Thing) -> dict[str, Any]:
        """What the answer to its creation says."""
        shown = {
            "name": thing.fq_name[-1], "fq_name": thing.fq_name, "uuid": thing.uuid, "href": self.href(thing)
        }  # fmt: skip
        if thing.parent:
            parent = self.things[thing.parent]
            shown |= {"parent_type": parent.kind, "parent_uuid": parent.uuid, "parent_href": self.href(parent)}
        return shown

    def _parent(self, kind: str, given: dict[str, Any], fq_name: list[str]) -> Thing | None:
        parent_kind = given.get("parent_type") or PARENTS[kind]
        if not parent_kind:
            return None
        if ident := given.get("parent_uuid"):
            return self.get(parent_kind, ident)
        found = self.by_name(parent_kind, fq_name[:-1])
        if found is None:
            raise Fault(400, f"Parent {fq_name[:-1]} type {parent_kind} does not exist")
        return found

    def _ref(
        self, of: str, name: str, ref: dict[str, Any], given: dict[str, Any], making: Thing | None
    ) -> dict[str, Any]:
        kind = name.removesuffix("_refs").replace("_", "-")
        if (of, name) in _NEED_ATTR and "attr" not in ref:
            raise Fault(400, f"Bad reference in create: Error validating reference {name} value {ref} 'attr'")
        if "to" not in ref:
            raise Fault(500, "KeyError: 'to'")
        found = self.by_name(kind, ref["to"])
        if found is None:
            if making is None:
                raise Fault(404, f"Name {ref['to']} not found")
            shown = {**given, **_fresh(making), "display_name": making.fq_name[-1]}
            raise Fault(400, f"Unknown reference in resource create {shown}.")
        return {"uuid": found.uuid, "attr": ref.get("attr")}


def perms_of(thing: Thing) -> dict[str, Any]:
    """Who may do what with it, and when it was made."""
    number = uuid.UUID(thing.uuid).int
    id_perms = _fresh(thing)["id_perms"] | {
        "uuid": {"uuid_mslong": number >> 64, "uuid_lslong": number & (2**64 - 1)},
        "created": thing.created, "last_modified": thing.changed,
    }  # fmt: skip
    return {"perms2": _fresh(thing)["perms2"], "id_perms": id_perms}


def _fresh(thing: Thing) -> dict[str, Any]:
    everybody = 7 if thing.body.get("is_shared") else 0
    permissions = {
        "owner": "cloud-admin", "owner_access": 7, "group": "cloud-admin-group", "group_access": 7, "other_access": 7,
    }  # fmt: skip
    return {
        "id_perms": {
            "permissions": permissions, "uuid": None, "enable": True, "created": None, "last_modified": None,
            "description": None, "user_visible": True, "creator": None,
        },
        "perms2": {"owner": thing.tenant, "owner_access": 7, "global_access": everybody, "share": thing.shares},
    }  # fmt: skip
