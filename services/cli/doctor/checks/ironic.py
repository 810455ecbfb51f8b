# SPDX-License-Identifier: Apache-2.0
"""Ironic: whether we see its nodes, and whether they are as we need them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.cli.doctor.checks.endpoints import about, skew
from services.cli.doctor.facts import Facts, Node, NodePort
from services.cli.doctor.verdicts import (
    Check,
    Line,
    Said,
    Verdict,
    check,
    failed,
    passed,
    some,
    unless_seen,
    unseen,
    warned,
)

CONF = "ironic.conf"
ELEVATED = (
    Line(CONF, "DEFAULT", "rbac_service_role_elevated_access", "true"),
    Line(CONF, "DEFAULT", "rbac_service_project_name", "service"),
)
_MAKE_TEMPLATE = (
    "openstack baremetal deploy template create CUSTOM_BMS_HELD --steps "
    '\'[{"interface": "deploy", "step": "boot_instance", "args": {}, "priority": 0}]\''
)
_FREE = ("available", "manageable", "enroll", "active")
_BROKEN = (
    "clean failed",
    "deploy failed",
    "inspect failed",
    "rescue failed",
    "unrescue failed",
    "adopt failed",
    "error",
)


def _nodes(facts: Facts) -> Sequence[Node]:
    return (facts.ironic.nodes.value or ()) if facts.ironic else ()


def _named(nodes: Sequence[Node]) -> str:
    return some(node.shown for node in nodes)


@check(
    "IRONIC_NODES",
    "The login may list nodes, and sees those of every project.",
    "Nodes belong to the project that registered them. Let the services' role see all of them, and have the login in "
    "project service with role service (or give it a role in the system).",
    lines=ELEVATED,
    commands=("openstack role add --user bms --project service service", "openstack baremetal node list"),
)
def nodes(facts: Facts) -> Iterator[Said]:
    """The trap: who may see nothing is told that there is nothing."""
    found = facts.ironic
    if found is None or not found.endpoint.answers:
        return
    if found.nodes.value is None:
        # Roles are one cause of several: what Ironic said is shown, and the lines only where they would help.
        may_not = found.nodes.why.endswith(("(401)", "(403)"))
        text = f"it cannot list them: {found.nodes.why}"
        yield failed(text) if may_not else Said(Verdict.FAIL, text, lines=(), commands=())
        return
    count = len(found.nodes.value)
    offered = len(facts.placement.known.value or ()) if facts.placement else 0
    keystone = facts.keystone
    if not count and offered:
        yield failed(f"it sees no node, and Placement has {offered} providers: nodes are hidden from it")
    elif not count:
        yield warned("it sees no node: either there is none, or those of other projects are hidden from it")
    elif keystone and not keystone.system and {node.owner for node in found.nodes.value} <= {keystone.project_id}:
        text = f"it sees {count}, each of its own project: whether others are hidden from it"
        yield unseen(text)
    else:
        yield passed(f"it sees {count}")


@check(
    "IRONIC_CONDUCTORS",
    "A conductor is alive, and none is dead.",
    "Start it, or take a machine that is gone out of the list.",
    commands=("systemctl restart ironic-conductor", "openstack baremetal conductor list"),
)
def conductors(facts: Facts) -> Iterator[Said]:
    """Who does Ironic's work."""
    found = facts.ironic
    if found is None or not found.endpoint.answers:
        return
    yield from unless_seen(found.conductors)
    if found.conductors.value is not None:
        dead = [each.host for each in found.conductors.value if not each.alive]
        alive = [each for each in found.conductors.value if each.alive]
        if not alive:
            yield failed("none is alive: nothing that is asked of Ironic is done")
        elif dead:
            yield warned(f"{some(dead)} gives no sign of life: its nodes move to others, or stand still")
        else:
            yield passed(some(each.host for each in alive))


@check(
    "IRONIC_CONDUCTOR_CLOCK",
    "No conductor's clock is ahead of ours.",
    "Let both keep time by NTP.",
    commands=("chronyc tracking",),
)
def conductor_clock(facts: Facts) -> Iterator[Said]:
    """By their signs of life: those cannot come from the future."""
    for each in (facts.ironic.conductors.value or ()) if facts.ironic else ():
        if each.alive and each.ahead is not None:
            yield skew(each.ahead, 1.0, each.host) if each.ahead > 0 else passed("not ahead of ours", each.host)


@check(
    "IRONIC_DRIVERS",
    "Hardware type redfish or ipmi is enabled, by which we register servers.",
    "Enable it, with its interfaces, and restart the conductors.",
    lines=(
        Line(CONF, "DEFAULT", "enabled_hardware_types", "redfish,ipmi"),
        Line(CONF, "DEFAULT", "enabled_power_interfaces", "redfish,ipmitool"),
        Line(CONF, "DEFAULT", "enabled_management_interfaces", "redfish,ipmitool"),
    ),
)
def drivers(facts: Facts) -> Iterator[Said]:
    """What the conductors have."""
    found = facts.ironic
    if found is None or not found.endpoint.answers:
        return
    if found.drivers.value is not None:
        names = {each.name for each in found.drivers.value}
    elif found.conductors.value is not None:
        names = {name for each in found.conductors.value for name in each.drivers}
    else:
        yield unseen(found.drivers.why)
        return
    if not names:
        yield failed("there is none")
    elif names & {"redfish", "ipmi"}:
        yield passed(", ".join(sorted(names)))
    else:
        yield failed(f"there are only {', '.join(sorted(names))}")


@check(
    "IRONIC_INTERFACES",
    "The drivers that we use can boot, deploy, inspect and rescue, and can put ports on networks of Neutron's.",
    "Enable the interfaces, and restart the conductors. `noop` and `no-...` do nothing; `fake` pretends.",
    lines=(
        Line(CONF, "DEFAULT", "enabled_network_interfaces", "neutron,noop"),
        Line(CONF, "DEFAULT", "default_network_interface", "neutron"),
        Line(CONF, "DEFAULT", "enabled_rescue_interfaces", "agent,no-rescue"),
        Line(CONF, "DEFAULT", "enabled_inspect_interfaces", "redfish,agent,no-inspect"),
    ),
)
def interfaces(facts: Facts) -> Iterator[Said]:
    """Only the system's people are shown these."""
    found = facts.ironic
    if found is None or not found.endpoint.answers:
        return
    yield from unless_seen(found.drivers)
    for each in found.drivers.value or ():
        if each.name not in ("redfish", "ipmi"):
            continue
        lacks = [kind for kind in ("rescue", "inspect") if not set(each.enabled.get(kind, ())) - {f"no-{kind}", "fake"}]
        fake = [kind for kind in ("deploy", "power", "boot", "management") if each.default.get(kind) == "fake"]
        network = set(each.enabled.get("network", ()))
        if fake:
            yield failed(f"{some(fake)}: `fake` is the default; nothing is really done", each.name)
        elif "neutron" not in network and facts.neutron is not None:
            lines = (Line(CONF, "DEFAULT", "enabled_network_interfaces", ",".join(sorted({*network, "neutron"}))),)
            yield warned(f"network has {', '.join(sorted(network)) or 'nothing'}, not neutron", each.name, lines=lines)
        elif lacks:
            yield warned(f"it cannot {' nor '.join(lacks)}", each.name)
        else:
            yield passed(
                f"network by {each.default.get('network', '?')}, deploy by {each.default.get('deploy')}", each.name
            )


@check(
    "IRONIC_NODE_NETWORK",
    "Nodes use network interface neutron, so that Ironic moves their ports between networks; or noop, if another "
    "fabric does.",
    "Set it, on nodes that nobody uses. `flat` leaves every port where it is plugged in: cleaning, provisioning and "
    "tenants share one network, and nothing isolates them.",
    lines=(Line(CONF, "DEFAULT", "default_network_interface", "neutron"),),
    commands=("openstack baremetal node set NODE --network-interface neutron",),
)
def node_network(facts: Facts) -> Iterator[Said]:
    """What isolates them."""
    found = _nodes(facts)
    kinds = {
        kind: [node for node in found if node.network == kind] for kind in sorted({node.network for node in found})
    }
    for kind, those in kinds.items():
        which = f"{len(those)} ({_named(those)})"
        if kind == "neutron":
            yield passed(f"{len(those)} nodes", kind)
        elif kind == "flat":
            yield failed(f"{which}: it cannot isolate tenants from each other", kind)
        elif kind == "noop":
            yield warned(f"{which}: Ironic moves no ports; only another fabric of ours isolates", kind)
        else:
            yield warned(f"{which}: we do not know what it does", kind)


@check(
    "IRONIC_NODE_CLEANING",
    "Nodes are cleaned between tenants whoever gives them back.",
    "Let nodes follow the site's setting, and set that.",
    lines=(Line(CONF, "conductor", "automated_clean", "true"),),
    commands=("openstack baremetal node unset NODE --automated-clean",),
)
def node_cleaning(facts: Facts) -> Iterator[Said]:
    """Ours are cleaned because we ask; those that Nova gives away, by this alone."""
    found = _nodes(facts)
    off = [node for node in found if node.automated_clean is False]
    told = [node for node in found if node.automated_clean is True]
    if off:
        yield warned(f"it is off on {_named(off)}: given back through Nova, their disks are not erased")
    elif found and len(told) == len(found):
        yield passed(f"it is on for each of {len(found)}")
    elif found:
        yield unseen(
            f"{len(found) - len(told)} of {len(found)} nodes follow [conductor] automated_clean, which no API tells"
        )


@check(
    "IRONIC_NODE_PORTS",
    "Every node has ports, and each says which switch port it is plugged into.",
    "Declare it: Neutron's driver finds the switch port by it.",
    commands=("openstack baremetal port set PORT --local-connection switch_id=MAC --local-connection port_id=NAME",),
)
def node_ports(facts: Facts) -> Iterator[Said]:
    """Only what Neutron is to bind."""
    found = facts.ironic
    if found is None or not _nodes(facts):
        return
    yield from unless_seen(found.ports)
    if found.ports.value is None:
        return
    by_node: dict[str, list[NodePort]] = {}
    for port in found.ports.value:
        by_node.setdefault(port.node, []).append(port)
    ours = [node for node in _nodes(facts) if node.network == "neutron"]
    none = [node for node in ours if node.uuid not in by_node]
    loose = [node for node in ours if any(not port.linked for port in by_node.get(node.uuid, ()))]
    if loose:
        yield failed(f"a port of {_named(loose)} does not say where it is plugged in: it cannot be bound")
    if none:
        yield warned(f"{_named(none)} has no port: it comes onto no network")
    if not loose and not none:
        yield passed(f"{len(found.ports.value)} ports")


@check(
    "IRONIC_NODE_CLASS",
    "Every node has a resource class: flavors ask for it, and Nova places by nothing else.",
    "Set it.",
    commands=("openstack baremetal node set NODE --resource-class CLASS",),
)
def node_class(facts: Facts) -> Iterator[Said]:
    """By node."""
    found = _nodes(facts)
    none = [node for node in found if not node.resource_class]
    if none:
        yield warned(f"{_named(none)} has none")
    elif found:
        yield passed(some(sorted({node.resource_class for node in found})))


@check(
    "IRONIC_NODE_STATE",
    "No node stands in a failed state, in maintenance by a fault, or without known power.",
    "Look at its last error, mend it, and lead it back.",
    commands=(
        "openstack baremetal node show NODE -f value -c last_error",
        "openstack baremetal node maintenance unset NODE",
        "openstack baremetal node manage NODE",
    ),
)
def node_state(facts: Facts) -> Iterator[Said]:
    """What somebody has to look at."""
    found = _nodes(facts)
    broken = [node for node in found if node.state in _BROKEN]
    fault = [node for node in found if node.fault and node not in broken]
    dark = [
        node
        for node in found
        if not node.power and node.state in _FREE and node not in fault and node.state != "enroll"
    ]
    if broken:
        yield warned(
            ", ".join(f"{node.shown}: {node.state}" for node in broken[:5]) + ("" if len(broken) < 6 else " ...")
        )
    if fault:
        yield warned(
            ", ".join(f"{node.shown}: {node.fault}" for node in fault[:5]) + ("" if len(fault) < 6 else " ...")
        )
    if dark:
        yield warned(f"the power of {_named(dark)} is not known: it can be given to nobody")
    if found and not (broken or fault or dark):
        yield passed(f"{len(found)} nodes")


@check(
    "IRONIC_DEPLOY_TEMPLATE",
    "A deploy template, which has a trait's name, leaves out the step that boots what was written: Nova deploys for us "
    "with it, and the server's ports are moved before it runs.",
    "As administrator of the system make it, let the services' login read it, and give nodes and flavors its trait "
    "(BMS_LIFECYCLE_NOVA_TRAIT). Where Ironic moves the ports, it leaves out switch_to_tenant_network as well.",
    lines=ELEVATED,
    commands=(_MAKE_TEMPLATE,),
)
def deploy_template(facts: Facts) -> Iterator[Said]:
    """Where the settings name a Nova that deploys."""
    found = facts.ironic
    named = facts.keystone.settings if facts.keystone else {}
    if found is None or not found.endpoint.answers or "BMS_LIFECYCLE_NOVA_CLOUD" not in named:
        return
    yield from unless_seen(found.templates)
    if found.templates.value is None:
        return
    fit = [each.name for each in found.templates.value if "boot_instance" in each.left_out]
    if fit:
        yield passed(some(sorted(fit)))
    else:
        count = len(found.templates.value)
        yield failed(f"none of the {count} that our login is shown does: what Nova deploys would boot on our network")


@check(
    "IRONIC_ALLOCATIONS",
    "No allocation holds a node for nobody.",
    "Delete it, once you know that nobody waits for it.",
    commands=("openstack baremetal allocation delete UUID",),
)
def allocations(facts: Facts) -> Iterator[Said]:
    """Those that failed, and those whose node knows nothing of them."""
    found = facts.ironic
    if found is None or not found.endpoint.answers:
        return
    yield from unless_seen(found.allocations)
    if found.allocations.value is None or found.nodes.value is None:
        return
    # A node that is held bears the allocation's id as its instance.
    held = {node.instance for node in found.nodes.value}
    failed_ones = [each.uuid for each in found.allocations.value if each.state == "error"]
    lost = [each.uuid for each in found.allocations.value if each.state == "active" and each.uuid not in held]
    if failed_ones or lost:
        parts = ([f"failed: {some(failed_ones)}"] if failed_ones else []) + (
            [f"of no node: {some(lost)}"] if lost else []
        )
        yield warned("; ".join(parts))
    else:
        yield passed(f"{len(found.allocations.value)} allocations")


CHECKS: tuple[Check, ...] = (
    *about("ironic", "Ironic"), nodes, conductors, conductor_clock, drivers, interfaces, node_network, node_cleaning,
    node_ports, node_class, node_state, deploy_template, allocations,
)  # fmt: skip
