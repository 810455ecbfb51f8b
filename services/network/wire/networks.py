# SPDX-License-Identifier: Apache-2.0
"""Networks on the wire."""

from __future__ import annotations

from bms.network.v1 import network_pb2
from services.kernel.errors import InvalidField
from services.kernel.names import NETWORK, PROJECT, new_id
from services.network.domain.networks import Network, PortClass, check_vlan
from services.network.operations.networks import NewNetwork
from services.network.operations.store import Condition
from services.network.wire.fields import CLASS_NUMBERS, CLASSES, MAX_TEXT, conditions, printable
from services.runtime.etags import etag
from services.runtime.times import to_timestamp

_ALL = "projects/-"


def new_network(request: network_pb2.CreateNetworkRequest) -> NewNetwork:
    """The network that *request* asks for.

    Raises:
        InvalidField: a field is malformed.
    """
    (project,) = PROJECT.parse(request.parent, "parent")
    network_id = new_id(request.network_id, "network_id")
    given = request.network
    network_class = CLASSES.get(given.network_class, PortClass.TENANT)
    if network_class in {PortClass.QUARANTINE, PortClass.UNKNOWN}:
        raise InvalidField(
            field="network.network_class",
            description=f"is {network_class}, which no network is",
            remedy="Choose TENANT, PROVISIONING, CLEANING or RESCUE.",
        )
    return NewNetwork(
        name=NETWORK.format(project, network_id),
        display_name=printable(given.display_name, "network.display_name", MAX_TEXT),
        network_class=network_class,
        vlan=check_vlan(given.vlan_id, "network.vlan_id") if given.vlan_id else 0,
    )


def network_name(name: str) -> str:
    """*name*, if it is of the form of a network's.

    Raises:
        InvalidField: it is not.
    """
    NETWORK.parse(name)
    return name


def project_of(parent: str) -> str:
    """The project of a listing's *parent*; "" for all.

    Raises:
        InvalidField: it is not of the form of a project's name.
    """
    return "" if parent == _ALL else PROJECT.parse(parent, "parent")[0]


def network_conditions(text: str) -> list[Condition]:
    """The filter *text* of a listing of networks.

    Raises:
        InvalidField: it is none.
    """
    return conditions(text, {"network_class": _class_value, "vlan_id": _number, "display_name": str})


def network_message(network: Network, ports: int) -> network_pb2.Network:
    """The contract's form of a network with *ports* ports on it."""
    return network_pb2.Network(
        name=network.name,
        display_name=network.display_name or NETWORK.parse(network.name)[1],
        network_class=CLASS_NUMBERS[network.network_class],
        vrf=network.vrf,
        vlan_id=network.segment.vlan,
        vni=network.segment.vni,
        create_time=to_timestamp(network.create_time),
        update_time=to_timestamp(network.update_time),
        etag=etag(network.version),
        attached_port_count=ports,
    )


def _class_value(value: str) -> str:
    name = value.upper().removeprefix("PORT_CLASS_")
    if name in PortClass.__members__:
        return PortClass[name].value
    known = ", ".join(f"PORT_CLASS_{one.name}" for one in PortClass)
    raise InvalidField(field="filter", description="has an unknown network_class", remedy=f"Give one of {known}.")


def _number(value: str) -> int:
    if value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    raise InvalidField(field="filter", description="compares a number with what is none")
