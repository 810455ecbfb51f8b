# SPDX-License-Identifier: Apache-2.0
"""Asks Neutron, and Keystone whose its networks are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from services.cli.doctor.facts import (
    STEPS,
    Agent,
    Endpoint,
    Keystone,
    Network,
    Neutron,
    Node,
    Port,
    Private,
    Quota,
    Seen,
)
from services.cli.doctor.probes.http import Answer, Api, endpoint, pages, readable

_COMMON = {
    "cleaning": ("cleaning", "bm-cleaning", "ironic-cleaning"),
    "provisioning": ("provisioning", "bm-provisioning", "ironic-provisioning"),
    "rescuing": ("rescuing", "rescue", "ironic-rescuing", "ironic-rescue"),
}
"""Names that people give them, in the order in which they are looked for."""

_SYSTEM = ("admin", "service", "services")
_PORT = (
    "id", "network_id", "device_id", "device_owner", "binding:host_id", "binding:vnic_type", "binding:vif_type",
    "binding:profile",
)  # fmt: skip
_HOSTS = 50
"""So many nodes are named in one request."""

_COUNTED = ("port", "network", "subnet")


def look(
    api: Api | Endpoint,
    keystone: Keystone | None,
    nodes: Sequence[Node],
    named: Mapping[str, str],
    trusted: frozenset[str] = frozenset(),
) -> Neutron:
    """What is seen of Neutron.

    Args:
        named: the private networks, by step, as far as the line names them.
        trusted: ids of projects whose networks may be such, beside the cloud's own.
    """
    if isinstance(api, Endpoint):
        return Neutron(api)
    found = endpoint(api, "/", _versions)
    if not found.answers:
        return Neutron(found)
    networks = pages(api.rows("/v2.0/networks?limit=1000", "networks"), _network)
    private = (
        Seen(_private(networks.value, nodes, named))
        if networks.value
        else Seen(None, networks.why or "this login sees no network")
    )
    chosen = [each.id for one in private.value or () for each in one.found]
    owners = _owners(api, keystone, {each.owner for one in private.value or () for each in one.found})
    system = (
        {owner for owner, name in owners.items() if name in _SYSTEM}
        | trusted
        | ({keystone.project_id} if keystone and keystone.project_id else set())
    )
    return Neutron(
        found,
        extensions=api.see("/v2.0/extensions", lambda body: frozenset(each["alias"] for each in body["extensions"])),
        agents=pages(
            api.rows("/v2.0/agents", "agents"),
            lambda row: Agent(row["agent_type"], row.get("host") or "", bool(row["alive"])),
        ),
        private=_with_owners(private, owners),
        shares=_shares(api, chosen),
        ports=_ports(api, chosen, [node.uuid for node in nodes]),
        quotas=_quotas(api, keystone),
        # Without Keystone's names nobody can be told to be a tenant.
        system_projects=frozenset(system) if owners or trusted else frozenset(),
    )


def _versions(answer: Answer) -> tuple[str, str]:
    (first, *_) = answer.body["versions"]
    return "", str(first["id"]).removeprefix("v")


def _network(row: Mapping[str, Any]) -> Network:
    segment = [row.get(f"provider:{key}") for key in ("network_type", "physical_network", "segmentation_id")]
    # Networks without a number, as flat ones, share a segment where they share the wire.
    known = segment[0] and (segment[2] is not None or segment[1])
    return Network(
        id=row["id"],
        name=row.get("name") or "",
        owner=row.get("project_id") or row.get("tenant_id") or "",
        shared=bool(row.get("shared")),
        external=bool(row.get("router:external")),
        up=bool(row.get("admin_state_up", True)),
        subnets=len(row.get("subnets") or ()),
        segment="/".join(str(part) for part in segment if part is not None) if known else "",
    )


def _private(networks: Sequence[Network], nodes: Sequence[Node], named: Mapping[str, str]) -> tuple[Private, ...]:
    found = []
    for step in STEPS:
        told = sorted({node.networks[step] for node in nodes if step in node.networks})
        if step in named:
            found.append(_called(step, named[step], "option", networks))
        elif told:
            found += [_called(step, each, "nodes", networks) for each in told]
        else:
            names = {network.name for network in networks}
            name = next((each for each in _COMMON[step] if each in names), "")
            found.append(_called(step, name, "guess", networks))
    return tuple(found)


def _called(step: str, name: str, source: str, networks: Sequence[Network]) -> Private:
    by_id = tuple(each for each in networks if each.id == name)
    return Private(step, name, source, by_id or tuple(each for each in networks if name and each.name == name))


def _owners(api: Api, keystone: Keystone | None, projects: set[str]) -> dict[str, str]:
    """The projects' names, where the login may see them."""
    if keystone is None:
        return {}
    asks = replace_url(api, keystone.endpoint.url)
    found = {}
    for project in sorted(projects - {""}):
        name = asks.see(f"/projects/{quote(project)}", lambda body: str(body["project"]["name"])).value
        if name:
            found[project] = name
    return found


def replace_url(api: Api, url: str) -> Api:
    """The same way to another service of the cloud, Keystone's third version."""
    return replace(api, url=url if url.endswith("/v3") else f"{url}/v3")


def _with_owners(private: Seen[tuple[Private, ...]], owners: Mapping[str, str]) -> Seen[tuple[Private, ...]]:
    if private.value is None:
        return private
    return Seen(
        tuple(
            replace(one, found=tuple(replace(each, owner_name=owners.get(each.owner, "")) for each in one.found))
            for one in private.value
        )
    )


def _shares(api: Api, networks: Sequence[str]) -> Seen[frozenset[str]]:
    rows = api.rows("/v2.0/rbac-policies?object_type=network", "rbac_policies")
    if rows.value is None:
        return Seen(None, rows.why)
    listed = rows.value
    return readable(lambda: frozenset(row["object_id"] for row in listed) & frozenset(networks))


def _ports(api: Api, networks: Sequence[str], nodes: Sequence[str]) -> Seen[tuple[Port, ...]]:
    fields = "&".join(f"fields={each}" for each in _PORT)
    found: dict[str, Port] = {}
    asked = ["device_owner=baremetal:none", *(f"network_id={each}" for each in networks)]
    # The host of a port of bare metal is its node.
    asked += [
        "&".join(f"binding:host_id={each}" for each in nodes[at : at + _HOSTS]) for at in range(0, len(nodes), _HOSTS)
    ]
    for which in asked:
        rows = pages(api.rows(f"/v2.0/ports?{which}&limit=1000&{fields}", "ports"), _port)
        if rows.value is None:
            return rows
        found.update({port.id: port for port in rows.value})
    return Seen(tuple(found.values()))


def _port(row: Mapping[str, Any]) -> Port:
    return Port(
        id=row["id"],
        network=row.get("network_id") or "",
        device=row.get("device_id") or "",
        device_owner=row.get("device_owner") or "",
        host=row.get("binding:host_id") or "",
        vnic=row.get("binding:vnic_type") or "",
        vif=row.get("binding:vif_type") or "",
        linked=bool((row.get("binding:profile") or {}).get("local_link_information")),
    )


def _quotas(api: Api, keystone: Keystone | None) -> Seen[tuple[Quota, ...]]:
    if keystone is None or not keystone.project_id:
        return Seen(None, "the login is for no project")
    return api.see(
        f"/v2.0/quotas/{keystone.project_id}/details.json",
        lambda body: tuple(
            Quota(what, int(body["quota"][what]["limit"]), int(body["quota"][what]["used"])) for what in _COUNTED
        ),
    )
