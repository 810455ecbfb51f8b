# SPDX-License-Identifier: Apache-2.0
"""Contrail: whether our networks and servers' switch ports are there, and the private ones are private."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from services.cli.doctor.checks.contrail import OURS, where_it_answers
from services.cli.doctor.contrail_facts import PRIVATE, Contrail, OurNetwork
from services.cli.doctor.verdicts import Check, Line, Said, check, failed, passed, some, unless_seen, unseen, warned

_MAKE = "bms --as site network create NAME --class CLASS --vlan VLAN"


def _private(found: Contrail) -> list[OurNetwork]:
    return [one for one in found.networks.value or () if one.port_class in PRIVATE and one.uuid]


@check(
    "CONTRAIL_LINKS",
    "Contrail has the switch ports that servers are plugged into, and their switches are in a fabric.",
    "Onboard the switch, or correct what inventory says of the port: a switch is Contrail's physical router, a port "
    "its physical interface.",
    commands=("bms server show SERVER", "bms server import FILE"),
)
@where_it_answers
def links(found: Contrail) -> Iterator[Said]:
    """By name."""
    yield from unless_seen(found.plugs)
    plugs = found.plugs.value
    if plugs is None:
        return
    strange = sorted({one.switch for one in plugs if not one.router})
    absent = [f"{one.port} on {one.switch} (of {one.shown})" for one in plugs if one.router and not one.there]
    loose = sorted({one.switch for one in plugs if one.router and not one.fabric})
    if strange:
        of = sorted({one.shown for one in plugs if not one.router})
        yield failed(f"it has no physical router {some(strange)}, where {some(of)} are plugged in")
    if absent:
        yield failed(f"it has no physical interface {some(absent)}")
    if loose:
        yield warned(f"{some(loose)} is in no fabric: its ports count as the default fabric's")
    if not plugs:
        yield unseen("no server is registered with a switch port")
    elif not (strange or absent or loose):
        yield passed(f"{len(plugs)} ports of {len({one.server for one in plugs})} servers")


@check(
    "CONTRAIL_NETWORKS",
    "Each of our networks is in Contrail, has a subnet, and there is one to provision and one to clean on.",
    "Make what is missing.",
    commands=(_MAKE, "bms --as site prefix create --network NAME CIDR"),
)
@where_it_answers
def networks(found: Contrail) -> Iterator[Said]:
    """By what was made for them."""
    yield from unless_seen(found.networks)
    if found.networks.value is None:
        return
    ours = found.networks.value
    gone = [one.name for one in ours if not one.uuid]
    bare = [one.name for one in ours if one.uuid and not one.subnets]
    lacks = [kind for kind in PRIVATE if kind not in {one.port_class for one in ours}]
    if gone:
        yield failed(f"Contrail has nothing under {some(gone)}: ports cannot be attached")
    if needed := [kind for kind in lacks if kind != "rescue"]:
        yield failed(f"there is no network for {' and '.join(needed)}: servers wait for it for ever")
    elif lacks:
        yield warned("there is no network for rescue: servers cannot be rescued")
    if bare:
        yield warned(f"{some(bare)} has no subnet: nobody gets an address there")
    if not (gone or lacks or bare):
        yield passed(f"{len(ours)} networks")


@check(
    "CONTRAIL_PRIVATE",
    "Nobody reaches the networks for provisioning, cleaning and rescue from elsewhere: they are shared with nobody, "
    "joined to none, in a project of the site's, and no other network of ours is the same one.",
    "Take back the sharing, policy, router, route target or floating addresses of that network; or name its project.",
    lines=(Line(OURS, "", "BMS_NETWORK_CONTRAIL_PRIVATE_PROJECTS", "UUID"),),
)
@where_it_answers
def private(found: Contrail) -> Iterator[Said]:
    """By its rights, and what refers to it."""
    for one in _private(found):
        same = [other.name for other in found.networks.value or () if other.uuid == one.uuid and other.name != one.name]
        if one.open:
            yield failed(f"{one.name} ({one.uuid}) {one.open}", one.port_class, lines=())
        elif same:
            yield failed(f"{one.name} and {some(same)} are one virtual network ({one.uuid})", one.port_class, lines=())
        elif not found.trusted:
            yield unseen(
                f"whose project {one.project} is (network's settings are not in this environment)", one.port_class
            )
        elif one.project not in found.trusted:
            lines = (Line(OURS, "", "BMS_NETWORK_CONTRAIL_PRIVATE_PROJECTS", one.project),)
            yield failed(
                f"{one.name} belongs to project {one.project}, none of the site's", one.port_class, lines=lines
            )
        else:
            yield passed(f"{one.name} is the site's alone", one.port_class)


@check(
    "CONTRAIL_VLANS",
    "On a fabric of enterprise style every network has a VLAN that no other has.",
    "Give it one: make it with --vlan, or set the annotation bms-vlan of one that others made. One VLAN at most may be "
    "that of networks without.",
    lines=(Line(OURS, "", "BMS_NETWORK_CONTRAIL_NATIVE_VLAN", "4094"),),
    commands=(_MAKE,),
)
@where_it_answers
def vlans(found: Contrail) -> Iterator[Said]:
    """There a network keeps one VLAN, and a VLAN one network."""
    yield from unless_seen(found.fabrics)
    if found.fabrics.value is None or found.networks.value is None:
        return
    if not found.enterprise:
        yield passed(f"no fabric of enterprise style among {len(found.fabrics.value)}")
        return
    used: dict[int, list[OurNetwork]] = {}
    for one in found.networks.value:
        if one.uuid:
            used.setdefault(one.vlan or found.native_vlan, []).append(one)
    twice = {vlan: those for vlan, those in used.items() if len({one.uuid for one in those}) > 1}
    for vlan, those in sorted(twice.items()):
        names = some(f"{one.name}{'' if one.vlan else ' (which has none of its own)'}" for one in those)
        yield failed(f"VLAN {vlan} is that of {names}: {some(sorted(found.enterprise))} refuses all but one", f"{vlan}")
    if not twice:
        yield passed(f"{len(used)} VLANs on {some(sorted(found.enterprise))}")


@check(
    "CONTRAIL_BOOT_ADDRESSES",
    "Each server that boots from a private network has an address there: ipam keeps one for its MAC address, and "
    "Contrail answers its DHCP.",
    "Lease one for each server, once: it stays the server's. Or have a DHCP server of your own on that network, make "
    "its prefix with BMS_IPAM_CONTRAIL_DHCP=0, and let Contrail stay silent there.",
    lines=(Line("environment of ipam", "", "BMS_IPAM_CONTRAIL_DHCP", "1"),),
    commands=("bms --as site lease boot NETWORK",),
)
@where_it_answers
def boot_addresses(found: Contrail) -> Iterator[Said]:
    """By the addresses that are noted for the ports that servers boot by."""
    if found.plugs.value is None:
        return
    boots = [one for one in found.plugs.value if one.boots]
    for one in _private(found):
        without = [each for each in boots if each.mac not in one.macs]
        if not one.subnets:
            continue
        if not one.dhcp:
            yield unseen(f"who answers DHCP on {one.name}, where Contrail does not", one.port_class)
        elif without:
            commands = (f"bms --as site lease boot {one.name.rpartition('/')[2]}",)
            text = f"{some(each.shown for each in without)} would get no address on {one.name}"
            yield replace(warned(text, one.port_class, lines=()), commands=commands)
        elif boots:
            yield passed(f"{len(boots)} ports have one on {one.name}", one.port_class)


@check(
    "CONTRAIL_QUOTA",
    "The project of the login may have as many addresses, interfaces and networks as it likes: each lease of each "
    "tenant is one of its instance-ips.",
    "Raise the project's quota, or take it away (-1).",
    commands=("openstack --os-cloud CLOUD token issue -f value -c project_id",),
)
@where_it_answers
def quota(found: Contrail) -> Iterator[Said]:
    """Limits alone: how many there are of each, Contrail does not tell."""
    yield from unless_seen(found.limits)
    for what, limit in (found.limits.value or {}).items():
        if limit < 0:
            yield passed("unlimited", what)
        else:
            yield warned(f"{limit} at most, for all tenants together", what)


CHECKS: tuple[Check, ...] = (links, networks, private, vlans, boot_addresses, quota)
