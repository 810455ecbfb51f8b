# SPDX-License-Identifier: Apache-2.0
"""A sound Contrail, and one for each fault that the doctor finds there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.cli.doctor.contrail_facts import ApiServer, Contrail, OurNetwork, Plug, Project
from services.cli.doctor.facts import Endpoint, Seen
from services.cli.doctor.verdicts import Verdict

F, W, U = Verdict.FAIL, Verdict.WARN, Verdict.UNKNOWN
FIRST = Endpoint("https://ctl1:8082", tls=True, days=200, skew=0.4)
SECOND = replace(FIRST, url="https://ctl2:8082")
MAC = "52:54:00:00:00:01"
SERVER = ApiServer(FIRST, Seen("rbac"), Seen(True), Seen("one"))


def network(port_class: str, number: int, **other: Any) -> OurNetwork:
    """A network of ours, sound but for what is *other*."""
    project = "site" if port_class != "tenant" else "t1"
    name = f"projects/{project}/networks/{port_class}"
    macs = frozenset({MAC}) if project == "site" else frozenset[str]()
    return replace(OurNetwork(name, port_class, f"vn{number}", project, 100 + number, macs=macs), **other)


NETWORKS = tuple(network(kind, at) for at, kind in enumerate(("provisioning", "cleaning", "rescue", "tenant")))
PLUG = Plug("servers/s1", "r1", MAC, "leaf1", "xe-0/0/1", fabric="fab1")
SOUND = Contrail(
    (SERVER, replace(SERVER, endpoint=SECOND)), ("network", "ipam"),
    projects=Seen((Project("BMS_NETWORK_CONTRAIL_PROJECT", "default-domain:bms"),)),
    fabrics=Seen(frozenset({"fab1", "default-fabric"})), enterprise=frozenset({"fab1"}), networks=Seen(NETWORKS),
    plugs=Seen((PLUG,)), limits=Seen({"instance_ip": -1}), trusted=frozenset({"site"}),
)  # fmt: skip


def at_first(**other: Any) -> Contrail:
    """A sound Contrail, but for its first API server."""
    return replace(SOUND, servers=(replace(SERVER, **other), SOUND.servers[1]))


def plug(**other: Any) -> Contrail:
    """A sound Contrail, but for what is known of one port of a server."""
    return replace(SOUND, plugs=Seen((replace(PLUG, **other),)))


def but(at: int, **other: Any) -> Contrail:
    """A sound Contrail, but for one of our networks."""
    return replace(SOUND, networks=Seen((*NETWORKS[:at], replace(NETWORKS[at], **other), *NETWORKS[at + 1 :])))


NO_RIGHT = "our login may not (403)"
REFUSED = "our login is refused (401)"
AWAY = replace(FIRST, why="nobody listens there (connection refused)", kind="silent")
FAULTS: list[tuple[str, Verdict, str, Contrail]] = [
    ("CONTRAIL_SETTINGS", F, "is missing", replace(SOUND, faults=(("BMS_IPAM_CONTRAIL_URLS", "is missing"),))),
    ("CONTRAIL_SETTINGS", W, "addresses are not kept", replace(SOUND, settings=("network",))),
    ("CONTRAIL_SETTINGS", W, "ports are not moved", replace(SOUND, settings=("ipam",))),
    ("CONTRAIL_SETTINGS", U, "not in this environment", replace(SOUND, settings=())),
    ("CONTRAIL_ANSWERS", F, "nobody listens", at_first(endpoint=AWAY)),
    ("CONTRAIL_TLS", F, "in clear", at_first(endpoint=Endpoint("http://ctl1:8082", skew=0.1))),
    ("CONTRAIL_CLOCK", F, "50.0 s ahead", at_first(endpoint=replace(FIRST, skew=50.0))),
    ("CONTRAIL_LOGIN", F, "is refused", at_first(site=Seen(None, REFUSED), admin=Seen(None, REFUSED))),
    ("CONTRAIL_LOGIN", F, "refuses the login", at_first(site=Seen(None, "Keystone refuses the login"))),
    ("CONTRAIL_LOGIN", U, "status 500", at_first(site=Seen(None, "status 500"))),
    ("CONTRAIL_TOKEN", F, "BMS_IPAM_CONTRAIL_CLOUD names none", replace(SOUND, tokenless=("BMS_IPAM_CONTRAIL_CLOUD",))),
    ("CONTRAIL_TOKEN", U, "not in this environment", replace(SOUND, settings=())),
    ("CONTRAIL_ADMIN", F, "has not the role", at_first(admin=Seen(False))),
    ("CONTRAIL_ADMIN", U, "status 500", at_first(admin=Seen(None, "status 500"))),
    ("CONTRAIL_MODE", W, "whoever reaches it", at_first(mode=Seen("no-auth"))),
    ("CONTRAIL_MODE", U, "(403)", at_first(mode=Seen(None, NO_RIGHT))),
    ("CONTRAIL_ONE", F, "there are 2: https://ctl1:8082; https://ctl2:8082", at_first(site=Seen("another"))),
    ("CONTRAIL_ONE", U, "none shows", replace(SOUND, servers=(replace(SERVER, site=Seen(None, NO_RIGHT)),))),
    ("CONTRAIL_PROJECTS", F, "there is no default-domain:x",
     replace(SOUND, projects=Seen((Project("BMS_IPAM_CONTRAIL_PROJECT", "default-domain:x", False),)))),
    ("CONTRAIL_PROJECTS", U, "no API server", replace(SOUND, projects=Seen(None, "no API server shows everything"))),
    ("CONTRAIL_LINKS", F, "no physical router leaf1, where r1", plug(router=False, there=False)),
    ("CONTRAIL_LINKS", F, "no physical interface xe-0/0/1 on leaf1 (of r1)", plug(there=False)),
    ("CONTRAIL_LINKS", W, "leaf1 is in no fabric", plug(fabric="")),
    ("CONTRAIL_LINKS", U, "no server", replace(SOUND, plugs=Seen(()))),
    ("CONTRAIL_LINKS", U, "inventory", replace(SOUND, plugs=Seen(None, "inventory: no answer"))),
    ("CONTRAIL_NETWORKS", F, "nothing under projects/site/networks/cleaning", but(1, uuid="")),
    ("CONTRAIL_NETWORKS", F, "no network for cleaning", replace(SOUND, networks=Seen((NETWORKS[0], *NETWORKS[2:])))),
    ("CONTRAIL_NETWORKS", W, "for rescue", replace(SOUND, networks=Seen(NETWORKS[:2]))),
    ("CONTRAIL_NETWORKS", W, "networks/provisioning has no subnet", but(0, subnets=0)),
    ("CONTRAIL_PRIVATE", F, "is shared with others", but(0, open="is shared with others")),
    ("CONTRAIL_PRIVATE", F, "are one virtual network", but(0, uuid="vn1")),
    ("CONTRAIL_PRIVATE", F, "are one virtual network", but(3, uuid="vn1")),
    ("CONTRAIL_PRIVATE", F, "belongs to project t9", but(2, project="t9")),
    ("CONTRAIL_PRIVATE", U, "not in this environment", replace(SOUND, trusted=frozenset())),
    ("CONTRAIL_VLANS", F, "VLAN 100 is that of", but(1, vlan=100)),
    ("CONTRAIL_VLANS", F, "VLAN 4094 is that of",
     replace(SOUND, networks=Seen(tuple(replace(one, vlan=0) for one in NETWORKS)))),
    ("CONTRAIL_BOOT_ADDRESSES", W, "r1 would get no address on projects/site", but(2, macs=frozenset())),
    ("CONTRAIL_QUOTA", W, "500 at most", replace(SOUND, limits=Seen({"instance_ip": 500}))),
    ("CONTRAIL_QUOTA", U, "for no project", replace(SOUND, limits=Seen(None, "our login is for no project"))),
    ("CONTRAIL_BOOT_ADDRESSES", U, "who answers DHCP", but(2, dhcp=0)),
]  # fmt: skip
