# SPDX-License-Identifier: Apache-2.0
"""Neutron: what keeps servers apart."""

from __future__ import annotations

from collections.abc import Iterator

from services.cli.doctor.checks.endpoints import about
from services.cli.doctor.facts import STEPS, Facts, Network, Neutron, Private
from services.cli.doctor.verdicts import Check, Line, Said, check, failed, passed, some, unless_seen, unseen, warned

CONF = "ironic.conf"
_SETTING = {step: f"{step}_network" for step in STEPS}
_WITHOUT = {"binding": "ports cannot be bound", "port-security": "ports cannot be opened to bare metal",
            "provider": "segments cannot be read back"}  # fmt: skip
_MOVING = ("cleaning", "clean wait", "deploying", "wait call-back", "rescuing", "rescue wait", "rescue", "unrescuing",
           "inspecting", "inspect wait", "deleting", "servicing", "service wait")  # fmt: skip


def _found(facts: Facts) -> Neutron | None:
    return facts.neutron if facts.neutron and facts.neutron.endpoint.answers else None


@check(
    "NEUTRON_EXTENSIONS",
    "Neutron has the extensions that we use: binding, port-security, provider; and trunk, for several networks on one "
    "port.",
    "Load what brings them.",
    lines=(
        Line("ml2_conf.ini", "ml2", "extension_drivers", "port_security"),
        Line("neutron.conf", "DEFAULT", "service_plugins", "router,trunk"),
    ),
    commands=("openstack extension list --network",),
)
def extensions(facts: Facts) -> Iterator[Said]:
    """By alias."""
    found = _found(facts)
    if found is None:
        return
    yield from unless_seen(found.extensions)
    has = found.extensions.value
    if has is None:
        return
    lacks = [alias for alias in _WITHOUT if alias not in has]
    if lacks:
        yield failed("; ".join(f"no {alias}: {_WITHOUT[alias]}" for alias in lacks))
    if "trunk" not in has:
        lines = (Line("neutron.conf", "DEFAULT", "service_plugins", "router,trunk"),)
        yield warned("no trunk: a server port comes onto one network alone", lines=lines)
    if not lacks and "trunk" in has:
        yield passed(f"binding, port-security, provider, trunk among {len(has)}")


@check(
    "NEUTRON_BINDING",
    "A driver of ML2 binds ports of bare metal.",
    "Load the driver of your switches. Neutron does not list drivers: an agent of theirs, or a port that is bound, "
    "shows one.",
    lines=(Line("ml2_conf.ini", "ml2", "mechanism_drivers", "baremetal,openvswitch"),),
    commands=("openstack network agent list", "openstack port show PORT -c binding_vif_type"),
)
def binding(facts: Facts) -> Iterator[Said]:
    """Seen by what it did."""
    found = _found(facts)
    if found is None:
        return
    agents = [each for each in found.agents.value or () if each.kind == "Baremetal Node"]
    ports = [each for each in found.ports.value or () if each.vnic == "baremetal" and each.linked]
    # Without a switch port in its profile a port cannot be bound yet: Ironic asks for that on the way, on purpose.
    unbound = [each for each in ports if each.vif == "binding_failed"]
    bound = [each for each in ports if each.vif not in ("binding_failed", "unbound")]
    dead = [each.host for each in agents if not each.alive]
    if unbound:
        yield failed(f"it binds no {some(each.id for each in unbound)}")
    elif bound:
        yield passed(f"{len(bound)} ports of bare metal are bound")
    elif dead:
        yield warned(f"the agent of {some(dead)} gives no sign of life")
    elif agents:
        yield passed(f"agents of {some(each.host for each in agents)}")
    else:
        yield unseen("no port of bare metal is bound now, and no agent tells of a driver")


@check(
    "NEUTRON_PRIVATE_NETWORKS",
    "The networks on which Ironic cleans, provisions and rescues exist, once each, are up and have a subnet.",
    "Make them, in a project of the administrator's, and name them by UUID: names need not be unique. Tell the doctor "
    "which they are if it does not find them: --cleaning-network and its kin.",
    lines=tuple(Line(CONF, "neutron", _SETTING[step], "UUID") for step in STEPS),
    commands=("openstack network create --project service --no-share --internal cleaning",),
)
def private(facts: Facts) -> Iterator[Said]:
    """Which they are only ironic.conf tells."""
    found = _found(facts)
    if found is None:
        return
    yield from unless_seen(found.private)
    for each in found.private.value or ():
        lines = (Line(CONF, "neutron", _SETTING[each.step], each.found[0].id if len(each.found) == 1 else "UUID"),)
        if not each.found and each.source == "guess":
            yield unseen(f"none has a common name, and only {CONF} says which it is", each.step)
        elif not each.found:
            yield failed(f"there is no network {each.named!r}", each.step, lines=lines)
        elif len(each.found) > 1:
            text = f"{len(each.found)} networks are called {each.named!r}: Ironic refuses to choose"
            yield failed(text, each.step, lines=lines)
        elif not each.found[0].up or not each.found[0].subnets:
            what = "is down" if not each.found[0].up else "has no subnet"
            yield failed(f"{_shown(each)} {what}", each.step)
        else:
            yield passed(_shown(each), each.step)


def _shown(each: Private) -> str:
    guessed = f" (by its name: only {CONF} tells)" if each.source == "guess" else ""
    return f"{each.found[0].name} {each.found[0].id}{guessed}"


def _singles(facts: Facts) -> Iterator[tuple[str, Network]]:
    found = _found(facts)
    for each in (found.private.value or ()) if found else ():
        if len(each.found) == 1:
            yield each.step, each.found[0]


@check(
    "NEUTRON_PRIVATE",
    "None of them is shared, external, a tenant's, or has ports of others' servers or routers on it.",
    "Take it back, or make another that is the administrator's alone: whoever is on it reaches servers whose disks "
    "hold somebody's data.",
    lines=tuple(Line(CONF, "neutron", _SETTING[step], "UUID of a private network") for step in STEPS),
    commands=(
        "openstack network set --no-share --internal NETWORK",
        "openstack network rbac list --type network",
        "openstack port list --network NETWORK",
    ),
)
def isolated(facts: Facts) -> Iterator[Said]:
    """Who else is on it."""
    found = _found(facts)
    for step, network in _singles(facts):
        assert found is not None
        against = []
        if network.shared:
            against.append("is shared with every project")
        elif network.id in (found.shares.value or ()):
            against.append("is opened to others by a policy (rbac)")
        if network.external:
            against.append("is external")
        if found.system_projects and network.owner not in found.system_projects:
            against.append(
                f"belongs to project {network.owner_name or network.owner}, which is not the administrator's"
            )
        strangers = [
            each
            for each in found.ports.value or ()
            if each.network == network.id and each.device_owner.startswith(("compute:", "network:router"))
        ]
        if strangers:
            against.append(f"has ports of others: {some(f'{each.device_owner} {each.id}' for each in strangers)}")
        if against:
            yield failed(f"{network.name} {', '.join(against)}", step)
        elif found.shares.value is None:
            yield unseen(f"whether a policy opens {network.name} to others ({found.shares.why})", step)
        else:
            yield passed(f"{network.name} is {network.owner_name or network.owner}'s alone", step)


@check(
    "NEUTRON_DISTINCT",
    "They are three networks of three segments: what a port may reach differs by what is done to its server.",
    "Make one for each.",
    lines=tuple(Line(CONF, "neutron", _SETTING[step], f"UUID of a network for {step} alone") for step in STEPS),
)
def distinct(facts: Facts) -> Iterator[Said]:
    """By id, and by segment."""
    seen: dict[str, str] = {}
    same = []
    singles = list(_singles(facts))
    for step, network in singles:
        for key in filter(None, (network.id, network.segment)):
            if key in seen and f"{seen[key]} and {step}" not in same:
                same.append(f"{seen[key]} and {step}")
            seen.setdefault(key, step)
    if same:
        yield failed(f"{'; '.join(same)} are one network")
    elif len(singles) == len(STEPS):
        yield passed("; ".join(f"{step} {network.segment or network.id}" for step, network in singles))
    elif singles:
        yield unseen(f"only {', '.join(step for step, _ in singles)} could be told")


@check(
    "NEUTRON_QUOTA",
    "The login's project may have as many ports as its servers need.",
    "Raise the quota of the project in which Ironic's services make ports.",
    lines=(Line("neutron.conf", "quotas", "quota_port", "-1"),),
    commands=("openstack quota set --ports -1 --networks -1 --subnets -1 service",),
)
def quota(facts: Facts) -> Iterator[Said]:
    """While a server is cleaned each of its ports needs one."""
    found = _found(facts)
    if found is None:
        return
    yield from unless_seen(found.quotas)
    needed = len((facts.ironic.ports.value or ()) if facts.ironic else ())
    for each in found.quotas.value or ():
        free = each.limit - each.used
        wanted = needed if each.what == "port" else 1
        if each.limit < 0:
            yield passed("unlimited", each.what)
        elif free <= 0:
            yield failed(f"all {each.limit} are used", each.what)
        elif free < wanted:
            yield warned(f"{free} of {each.limit} are left; cleaning all servers at once takes {wanted}", each.what)
        else:
            yield passed(f"{each.used} of {each.limit} are used", each.what)


@check(
    "NEUTRON_ORPHANS",
    "No port is left of a server that is gone, or of an operation that has ended.",
    "Delete it, once you know that nothing uses it.",
    commands=("openstack port delete PORT",),
)
def orphans(facts: Facts) -> Iterator[Said]:
    """Ports of Ironic's own whose node is unknown, or has nothing under way."""
    found = _found(facts)
    if found is None or facts.ironic is None or facts.ironic.nodes.value is None:
        return
    yield from unless_seen(found.ports)
    if found.ports.value is None:
        return
    nodes = {node.uuid: node for node in facts.ironic.nodes.value}
    private = {network.id for _, network in _singles(facts)}
    lost, idle = [], []
    for port in found.ports.value:
        node = nodes.get(port.host) or nodes.get(port.device)
        of_ironic = port.device_owner.startswith("baremetal:")
        if (of_ironic or port.vnic == "baremetal") and (port.host or port.device) and node is None:
            # Between asking and binding, Nova's port of a server bears the name of no node.
            if of_ironic or port.host:
                lost.append(port.id)
        elif of_ironic and node is not None and port.network in private and node.state not in _MOVING:
            idle.append(f"{port.id} ({node.shown}, {node.state})")
    if lost and not nodes:
        yield unseen("no node is seen to which they could belong")
    elif lost or idle:
        parts = ([f"of no known node: {some(lost)}"] if lost else []) + ([f"left over: {some(idle)}"] if idle else [])
        yield warned("; ".join(parts))
    else:
        yield passed(f"{len(found.ports.value)} ports of bare metal")


CHECKS: tuple[Check, ...] = (
    *about("neutron", "Neutron"), extensions, binding, private, isolated, distinct, quota, orphans,
)  # fmt: skip
