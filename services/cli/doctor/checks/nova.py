# SPDX-License-Identifier: Apache-2.0
"""Nova: whether what it sells is there."""

from __future__ import annotations

from collections.abc import Iterator

from services.cli.doctor.checks.endpoints import about, skew
from services.cli.doctor.checks.placement import custom
from services.cli.doctor.facts import Facts, Flavor
from services.cli.doctor.verdicts import Check, Line, Said, check, failed, passed, some, unless_seen, unseen, warned

_ZERO = ("VCPU", "MEMORY_MB", "DISK_GB")


@check(
    "NOVA_COMPUTE",
    "A nova-compute is up and enabled.",
    "Start it with Ironic's driver, enable it, and have its cell know it.",
    lines=(Line("nova.conf", "DEFAULT", "compute_driver", "ironic.IronicDriver"),),
    commands=("openstack compute service list", "nova-manage cell_v2 discover_hosts --by-service"),
)
def compute(facts: Facts) -> Iterator[Said]:
    """Who talks to Ironic for Nova."""
    found = facts.nova
    if found is None or not found.endpoint.answers:
        return
    yield from unless_seen(found.services)
    if found.services.value is None:
        return
    all_of = [each for each in found.services.value if each.binary == "nova-compute"]
    good = [each for each in all_of if each.up and each.enabled]
    if not good:
        yield failed("none is up and enabled: Nova gives out no server")
    elif down := [each for each in found.services.value if not each.up]:
        yield warned(f"down: {some(f'{each.binary} on {each.host}' for each in down)}")
    else:
        yield passed(some(each.host for each in good))


@check(
    "NOVA_COMPUTE_CLOCK",
    "No service of Nova's has a clock ahead of ours.",
    "Let both keep time by NTP.",
    commands=("chronyc tracking",),
)
def clock(facts: Facts) -> Iterator[Said]:
    """By their signs of life."""
    for each in (facts.nova.services.value or ()) if facts.nova else ():
        if each.up and each.ahead is not None and each.binary == "nova-compute":
            yield skew(each.ahead, 1.0, each.host) if each.ahead > 0 else passed("not ahead of ours", each.host)


@check(
    "NOVA_FLAVORS",
    "Each flavor of bare metal asks for a resource class that nodes have, and for nothing else.",
    "Correct the flavor, or the class of the nodes.",
    commands=(
        "openstack flavor set FLAVOR --property resources:CUSTOM_CLASS=1 --property resources:VCPU=0",
        "openstack flavor set FLAVOR --property resources:MEMORY_MB=0 --property resources:DISK_GB=0",
        "openstack baremetal node set NODE --resource-class CLASS",
    ),
)
def flavors(facts: Facts) -> Iterator[Said]:
    """By class."""
    found = facts.nova
    if found is None or not found.endpoint.answers:
        return
    yield from unless_seen(found.flavors)
    if found.flavors.value is None:
        return
    ours = [each for each in found.flavors.value if _classes(each)]
    if not ours:
        yield warned("no flavor asks for a resource class: none of Nova's gives bare metal")
        return
    nodes = facts.ironic.nodes.value if facts.ironic else None
    if not nodes:
        yield unseen("which classes there are: no node of Ironic's is seen")
        return
    there = {custom(node.resource_class) for node in nodes if node.resource_class}
    for each in ours:
        lacks = _classes(each) - there
        virtual = [name for name in _ZERO if each.resources.get(name) != "0"]
        if lacks:
            yield warned(f"no node is of {some(sorted(lacks))}", each.name)
        elif virtual:
            yield warned(f"it asks for {', '.join(virtual)} besides, which no node offers", each.name)
        else:
            yield passed(some(sorted(_classes(each))), each.name)


def _classes(flavor: Flavor) -> set[str]:
    return {name for name, amount in flavor.resources.items() if name.startswith("CUSTOM_") and amount != "0"}


CHECKS: tuple[Check, ...] = (*about("nova", "Nova"), compute, clock, flavors)
