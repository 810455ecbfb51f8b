# SPDX-License-Identifier: Apache-2.0
"""What was seen of a site, before anybody judges it. Probes write these, checks read them; no secret is ever in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from services.cli.doctor.contrail_facts import Contrail

T_co = TypeVar("T_co", covariant=True)

SECTIONS = ("services", "keystone", "ironic", "neutron", "contrail", "placement", "nova", "glance", "rabbitmq")
"""What can be examined, in the order in which it is shown."""

CATALOGUE = {
    "ironic": "baremetal", "neutron": "network", "placement": "placement", "nova": "compute", "glance": "image",
}  # fmt: skip
"""The type by which Keystone's catalogue knows a section's service."""

NEEDED = {"ironic": "1.69", "nova": "2.61", "placement": "1.4", "glance": "2.7"}
"""The version of each API without which we do not work."""

WANTED = {"ironic": "1.81"}
"""The version with which all of ours works, where it is another."""

STEPS = ("cleaning", "provisioning", "rescuing")
"""Ironic's private networks."""


@dataclass(frozen=True, slots=True)
class Seen(Generic[T_co]):
    """What was asked for; or None, and why it could not be seen."""

    value: T_co | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How an address answered.

    Attributes:
        url: or ``host:port``.
        why: why there was no answer that could be used; empty if there was.
        kind: of *why*: silent, distrusted, refused, slow, broken, absent; empty if it answered.
        tls: whether it is asked over TLS.
        local: whether it is on this machine.
        verified: whether its certificate is verified.
        days: that its certificate is still valid; None if not known.
        skew: its clock less ours, in seconds; None if it did not tell.
        slack: by how much that may be wrong.
        least, most: the versions it speaks; empty if it did not tell.
    """

    url: str
    why: str = ""
    kind: str = ""
    tls: bool = False
    local: bool = False
    verified: bool = True
    days: float | None = None
    skew: float | None = None
    slack: float = 1.0
    least: str = ""
    most: str = ""

    @property
    def answers(self) -> bool:
        """Whether it did."""
        return not self.why


@dataclass(frozen=True, slots=True)
class Service:
    """One of our five.

    Attributes:
        health: in a word.
        lacks: methods of its contract that it does not have.
        login: whether our token is taken, or why not.
        newest: seconds since its newest checkpoint by our clock; negative if that is in the future.
        reads: of telemetry: whether it reaches the log of each service.
    """

    name: str
    endpoint: Endpoint
    health: str = ""
    lacks: Seen[tuple[str, ...]] = Seen()
    login: Seen[bool] = Seen()
    newest: Seen[float] = Seen()
    reads: Seen[Mapping[str, bool]] = Seen()


@dataclass(frozen=True, slots=True)
class Keystone:
    """The login and what it may do.

    Attributes:
        cloud: of clouds.yaml.
        user, project: their names.
        system: whether the token is for the system.
        catalogue: URL by type.
        wanted: types that the settings in the environment name, with the setting.
        settings: which cloud each of these settings names.
    """

    endpoint: Endpoint
    cloud: str
    user: str = ""
    project: str = ""
    project_id: str = ""
    system: bool = False
    roles: tuple[str, ...] = ()
    catalogue: Mapping[str, str] = field(default_factory=dict)
    wanted: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Node:
    """A node of Ironic's; fields are those of its API."""

    uuid: str
    name: str
    driver: str = "redfish"
    state: str = "available"
    power: str = "power off"
    network: str = "neutron"
    resource_class: str = "bm"
    automated_clean: bool | None = None
    maintenance: bool = False
    fault: str = ""
    owner: str = ""
    instance: str = ""
    rescue: str = "agent"
    networks: Mapping[str, str] = field(default_factory=dict)
    """Its own private networks, by step: what ``driver_info`` says."""

    @property
    def shown(self) -> str:
        """How people call it."""
        return self.name or self.uuid


@dataclass(frozen=True, slots=True)
class NodePort:
    """A port of a node, as Ironic knows it.

    Attributes:
        linked: whether it says where it is plugged in.
    """

    uuid: str
    node: str
    linked: bool = True


@dataclass(frozen=True, slots=True)
class Conductor:
    """A process of Ironic's that does the work.

    Attributes:
        ahead: seconds by which its last sign of life is in our future; negative if it is in our past.
    """

    host: str
    alive: bool = True
    drivers: tuple[str, ...] = ()
    ahead: float | None = None


@dataclass(frozen=True, slots=True)
class Driver:
    """A hardware type: its enabled interfaces, and the default one, by kind."""

    name: str
    enabled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allocation:
    """A node that somebody holds in Ironic."""

    uuid: str
    state: str = "active"
    node: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A deploy template, and the steps of the deploy interface that it leaves out."""

    name: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ironic:
    """Ironic and its nodes."""

    endpoint: Endpoint
    nodes: Seen[tuple[Node, ...]] = Seen()
    ports: Seen[tuple[NodePort, ...]] = Seen()
    conductors: Seen[tuple[Conductor, ...]] = Seen()
    drivers: Seen[tuple[Driver, ...]] = Seen()
    allocations: Seen[tuple[Allocation, ...]] = Seen()
    templates: Seen[tuple[Template, ...]] = Seen()


@dataclass(frozen=True, slots=True)
class Network:
    """A network of Neutron's.

    Attributes:
        owner: id of its project.
        owner_name: its name; the id where that could not be seen.
        segment: type, physical network and number; empty if not shown.
    """

    id: str
    name: str
    owner: str = ""
    owner_name: str = ""
    shared: bool = False
    external: bool = False
    up: bool = True
    subnets: int = 1
    segment: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """A port of Neutron's."""

    id: str
    network: str = ""
    device: str = ""
    device_owner: str = ""
    host: str = ""
    vnic: str = "normal"
    vif: str = "unbound"
    linked: bool = False


@dataclass(frozen=True, slots=True)
class Private:
    """One of Ironic's private networks.

    Attributes:
        step: cleaning, provisioning or rescuing.
        named: what it was looked for by.
        source: who said so: option, nodes, or guess (a common name).
        found: those of that name or id.
    """

    step: str
    named: str
    source: str
    found: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent of Neutron's."""

    kind: str
    host: str
    alive: bool = True


@dataclass(frozen=True, slots=True)
class Quota:
    """What a project may have of something; limit -1 is as much as it likes."""

    what: str
    limit: int
    used: int


@dataclass(frozen=True, slots=True)
class Neutron:
    """Neutron, as far as bare metal goes.

    Attributes:
        shares: ids of networks that a policy opens to others.
        ports: those that Ironic or a bare metal server has, and all on the private networks.
        quotas: of the login's project.
    """

    endpoint: Endpoint
    extensions: Seen[frozenset[str]] = Seen()
    agents: Seen[tuple[Agent, ...]] = Seen()
    private: Seen[tuple[Private, ...]] = Seen()
    shares: Seen[frozenset[str]] = Seen()
    ports: Seen[tuple[Port, ...]] = Seen()
    quotas: Seen[tuple[Quota, ...]] = Seen()
    system_projects: frozenset[str] = frozenset()
    """Ids of projects that are no tenant's."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A resource provider of Placement's: by class, how much it has free."""

    uuid: str
    classes: Mapping[str, int] = field(default_factory=dict)
    reserved: bool = False
    consumers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """What Nova may be given.

    Attributes:
        known: ids of all providers.
        looked: those of nodes that were looked at, which is not all of them on a large site.
    """

    endpoint: Endpoint
    known: Seen[frozenset[str]] = Seen()
    looked: Seen[tuple[Provider, ...]] = Seen()


@dataclass(frozen=True, slots=True)
class Flavor:
    """A flavor of Nova's; its extra specs that ask for resources."""

    name: str
    resources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Compute:
    """A service of Nova's."""

    binary: str
    host: str
    up: bool = True
    enabled: bool = True
    ahead: float | None = None


@dataclass(frozen=True, slots=True)
class Nova:
    """Nova: its flavors and its compute services."""

    endpoint: Endpoint
    flavors: Seen[tuple[Flavor, ...]] = Seen()
    services: Seen[tuple[Compute, ...]] = Seen()


@dataclass(frozen=True, slots=True)
class Glance:
    """Glance: how images get in, and how they are known.

    Attributes:
        stores: ids; none if it has but one, which has no name.
        default: the default store's id.
        algorithm: of the newest image's hash; empty if there is no image.
        usage: of the login's project.
    """

    endpoint: Endpoint
    methods: Seen[tuple[str, ...]] = Seen()
    stores: Seen[tuple[str, ...]] = Seen()
    default: str = ""
    algorithm: Seen[str] = Seen()
    usage: Seen[tuple[Quota, ...]] = Seen()


@dataclass(frozen=True, slots=True)
class Rabbitmq:
    """The broker that Ironic tells of its nodes.

    Attributes:
        exchange: whether exchange ``ironic`` is there.
        heard: the type of the message that a harmless change brought; "" if none came in time.
    """

    endpoint: Endpoint
    login: Seen[bool] = Seen()
    exchange: Seen[bool] = Seen()
    heard: Seen[str] = Seen()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was seen; None for what was not looked at."""

    services: tuple[Service, ...] | None = None
    keystone: Keystone | None = None
    ironic: Ironic | None = None
    neutron: Neutron | None = None
    contrail: Contrail | None = None
    placement: Placement | None = None
    nova: Nova | None = None
    glance: Glance | None = None
    rabbitmq: Rabbitmq | None = None
