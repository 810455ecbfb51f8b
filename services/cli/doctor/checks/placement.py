# SPDX-License-Identifier: Apache-2.0
"""Placement: whether Nova knows the nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.cli.doctor.checks.endpoints import about
from services.cli.doctor.facts import Facts, Node, Placement
from services.cli.doctor.verdicts import Check, Line, Said, check, failed, passed, some, unless_seen, warned

_IN_NOVA = ("available", "active", "deploying", "wait call-back", "cleaning", "clean wait", "deleting")


def custom(resource_class: str) -> str:
    """What Placement calls a resource class of Ironic's."""
    return "CUSTOM_" + re.sub(r"[^A-Z0-9_]", "_", resource_class.upper())


def _both(facts: Facts) -> tuple[Placement, dict[str, Node]] | None:
    placement, ironic = facts.placement, facts.ironic
    if placement is None or not placement.endpoint.answers or ironic is None or ironic.nodes.value is None:
        return None
    return placement, {node.uuid: node for node in ironic.nodes.value}


@check(
    "PLACEMENT_NODES",
    "Every node that may be given away is a resource provider.",
    "Let nova-compute manage Ironic, see its nodes, and wait for its next look.",
    lines=(
        Line("nova.conf", "DEFAULT", "compute_driver", "ironic.IronicDriver"),
        Line("nova.conf", "DEFAULT", "update_resources_interval", "10"),
        Line("ironic.conf", "DEFAULT", "rbac_service_role_elevated_access", "true"),
    ),
    commands=("nova-manage cell_v2 discover_hosts --by-service",),
)
def nodes(facts: Facts) -> Iterator[Said]:
    """By UUID, which is the node's."""
    both = _both(facts)
    if both is None:
        return
    placement, known = both
    yield from unless_seen(placement.known)
    if placement.known.value is None:
        return
    lost = [node for node in known.values() if node.state in _IN_NOVA and node.uuid not in placement.known.value]
    if lost:
        yield failed(f"Nova does not know {some(node.shown for node in lost)}")
    else:
        yield passed(f"{len(placement.known.value & set(known))} nodes")


@check(
    "PLACEMENT_CLASSES",
    "Each offers one of its node's resource class, and nothing that is held for nobody.",
    "Set the node's resource class; give Nova time for a look after a change. What is allocated to nobody is deleted.",
    commands=(
        "openstack resource provider inventory list NODE",
        "openstack resource provider show NODE --allocations",
        "openstack resource provider allocation delete CONSUMER",
    ),
)
def classes(facts: Facts) -> Iterator[Said]:
    """Of those that were looked at."""
    both = _both(facts)
    if both is None:
        return
    placement, known = both
    yield from unless_seen(placement.looked)
    wrong, held, waiting = [], [], []
    looked = [each for each in placement.looked.value or () if each.uuid in known]
    for each in looked:
        node = known[each.uuid]
        if node.resource_class and custom(node.resource_class) not in each.classes:
            wrong.append(f"{node.shown} offers {some(sorted(each.classes)) or 'nothing'}")
        elif each.consumers and not node.instance and node.state == "available":
            held.append(f"{node.shown} for {some(each.consumers)}")
        elif each.reserved and node.state == "available" and not node.maintenance:
            waiting.append(node.shown)
    if wrong:
        yield failed(f"not its node's class: {some(wrong)}")
    if held:
        yield warned(f"held for no server: {some(held)}")
    if waiting:
        yield warned(f"available in Ironic and still reserved: {some(waiting)}; Nova offers it after its next look")
    if looked and not (wrong or held or waiting):
        yield passed(f"{len(looked)} looked at")


CHECKS: tuple[Check, ...] = (*about("placement", "Placement"), nodes, classes)
