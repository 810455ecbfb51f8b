# SPDX-License-Identifier: Apache-2.0
"""The contract's messages to values, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from bms.network.v1 import attachment_pb2, leftover_pb2, network_pb2
from services.kernel.errors import InvalidField
from services.kernel.names import NETWORK, PORT, PROJECT, SERVER, new_id
from services.network.domain import (
    MAX_PORTS,
    MAX_SERVERS,
    Attachment,
    Link,
    Network,
    PortClass,
    Purpose,
    Reading,
    SwitchPort,
    Tag,
    Wish,
    check_vlan,
    check_wish,
)
from services.network.operations.leftovers import Leftover
from services.network.operations.networks import NewNetwork
from services.network.operations.store import Condition
from services.runtime.etags import etag
from services.runtime.filters import parse
from services.runtime.times import to_timestamp

_ALL = "projects/-"
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_MAX_TEXT = 255
_MAX_GROUP = 63

_CLASSES: dict[int, PortClass] = {
    network_pb2.PORT_CLASS_QUARANTINE: PortClass.QUARANTINE,
    network_pb2.PORT_CLASS_PROVISIONING: PortClass.PROVISIONING,
    network_pb2.PORT_CLASS_CLEANING: PortClass.CLEANING,
    network_pb2.PORT_CLASS_RESCUE: PortClass.RESCUE,
    network_pb2.PORT_CLASS_TENANT: PortClass.TENANT,
    network_pb2.PORT_CLASS_UNKNOWN: PortClass.UNKNOWN,
}
_NUMBERS: dict[PortClass, network_pb2.PortClass.ValueType] = {
    port_class: network_pb2.PortClass.Value(f"PORT_CLASS_{port_class.name}") for port_class in PortClass
}

_PURPOSES: dict[int, Purpose] = {
    attachment_pb2.WISH_PURPOSE_UNSPECIFIED: Purpose.STEP,
    attachment_pb2.WISH_PURPOSE_STEP: Purpose.STEP,
    attachment_pb2.WISH_PURPOSE_CUT: Purpose.CUT,
    attachment_pb2.WISH_PURPOSE_RESTORE: Purpose.RESTORE,
}

# -- requests ----------------------------------------------------------------------------------------------------------


def new_network(request: network_pb2.CreateNetworkRequest) -> NewNetwork:
    """The network that *request* asks for.

    Raises:
        InvalidField: a field is malformed.
    """
    (project,) = PROJECT.parse(request.parent, "parent")
    network_id = new_id(request.network_id, "network_id")
    given = request.network
    network_class = _CLASSES.get(given.network_class, PortClass.TENANT)
    if network_class in {PortClass.QUARANTINE, PortClass.UNKNOWN}:
        raise InvalidField(
            field="network.network_class",
            description=f"is {network_class}, which no network is",
            remedy="Choose TENANT, PROVISIONING, CLEANING or RESCUE.",
        )
    return NewNetwork(
        name=NETWORK.format(project, network_id),
        display_name=_text(given.display_name, "network.display_name", _MAX_TEXT),
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


def server_uuid(name: str) -> str:
    """The UUID in the name of a server.

    Raises:
        InvalidField: it is not of the form of a server's name.
    """
    return SERVER.parse(name, "server")[0]


def fence_of(fence: int) -> int:
    """*fence*, if it can be one.

    Raises:
        InvalidField: it is negative.
    """
    if fence < 0:
        raise InvalidField(field="fence", description="is negative", remedy="Give the number of the claim.")
    return fence


def looks(request: attachment_pb2.BatchReadServerPortsRequest) -> dict[str, int]:
    """The servers that *request* asks for, and the fence that it gives for each.

    Raises:
        InvalidField: one is malformed, or asked for twice, or there are too many.
    """
    if len(request.requests) > MAX_SERVERS:
        raise InvalidField(
            field="requests",
            description=f"has {len(request.requests)} items",
            remedy=f"Give at most {MAX_SERVERS}.",
        )
    _distinct([one.server for one in request.requests], "requests", "server")
    return {server_uuid(one.server): fence_of(one.fence) for one in request.requests}


def links(
    request: attachment_pb2.RegisterServerPortsRequest | attachment_pb2.ReadSwitchPortsRequest,
) -> list[Link]:
    """The ports that *request* tells of.

    Raises:
        InvalidField: one is malformed, or of another server, or two share a name, MAC address or switch port.
    """
    server = server_uuid(request.server)
    _at_most(len(request.links), "links")
    found = []
    for index, given in enumerate(request.links):
        where = f"links[{index}]"
        _own_port(given.port, server, f"{where}.port")
        if not _MAC.fullmatch(given.mac_address):
            raise InvalidField(
                field=f"{where}.mac_address",
                description=f"{given.mac_address[:40]!r} is not six pairs of lower-case hexadecimal digits with colons",
            )
        plug = SwitchPort(
            _text(given.switch_name, f"{where}.switch_name", _MAX_TEXT),
            _text(given.switch_port, f"{where}.switch_port", _MAX_TEXT),
        )
        group = _text(given.port_group, f"{where}.port_group", _MAX_GROUP)
        switch_id = _text(given.switch_id, f"{where}.switch_id", _MAX_GROUP)
        found.append(Link(given.port, given.mac_address, plug, group, switch_id))
    if isinstance(request, attachment_pb2.RegisterServerPortsRequest):
        _distinct([link.port for link in found], "links", "port")
        _distinct([link.mac_address for link in found], "links", "mac_address")
    _distinct([f"{link.plug.switch} {link.plug.port}" for link in found], "links", "switch_port")
    return found


def wishes(request: attachment_pb2.AttachPortsRequest) -> dict[str, Wish]:
    """What *request* asks of ports, by port.

    Raises:
        InvalidField: a wish is malformed or can be of no port, or two are of the same port.
    """
    server = server_uuid(request.server)
    _at_most(len(request.wishes), "wishes")
    found: dict[str, Wish] = {}
    for index, given in enumerate(request.wishes):
        where = f"wishes[{index}]"
        _own_port(given.port, server, f"{where}.port")
        port_class = _CLASSES.get(given.port_class, PortClass.UNKNOWN)
        if port_class is PortClass.UNKNOWN:
            raise InvalidField(
                field=f"{where}.port_class",
                description="is nothing that a port can be asked to be",
                remedy="Choose QUARANTINE, PROVISIONING, CLEANING, RESCUE or TENANT.",
            )
        for at, tag in enumerate(given.networks):
            NETWORK.parse(tag.network, f"{where}.networks[{at}].network")
        tags = tuple(sorted(Tag(tag.network, tag.vlan_tag) for tag in given.networks))
        wish = Wish(port_class, tags, _purpose(given.purpose, f"{where}.purpose"))
        check_wish(wish, where)
        found[given.port] = wish
    _distinct([given.port for given in request.wishes], "wishes", "port")
    return found


def _purpose(given: int, where: str) -> Purpose:
    purpose = _PURPOSES.get(given)
    if purpose is None:
        raise InvalidField(field=where, description=f"{given} is no purpose", remedy="Give STEP, CUT or RESTORE.")
    return purpose


def tenant(request: attachment_pb2.AttachPortsRequest, asked: dict[str, Wish]) -> str:
    """The id of the project that *request* is for; "" if it names none.

    Raises:
        InvalidField: it is malformed, or missing where a TENANT port is asked for.
    """
    given = request.project
    if given:
        return PROJECT.parse(given, "project")[0] if "/" in given else new_id(given, "project")
    if any(wish.port_class is PortClass.TENANT for wish in asked.values()):
        raise InvalidField(
            field="project",
            description="is missing, and a TENANT port is somebody's",
            remedy="Give the instance's project.",
        )
    return ""


# -- filters -----------------------------------------------------------------------------------------------------------


def network_conditions(text: str) -> list[Condition]:
    """The filter *text* of a listing of networks.

    Raises:
        InvalidField: it is none.
    """
    return _conditions(text, {"network_class": _class_value, "vlan_id": _number, "display_name": str})


def attachment_conditions(text: str) -> list[Condition]:
    """The filter *text* of a listing of attachments.

    Raises:
        InvalidField: it is none.
    """
    fields: dict[str, Callable[[str], str | int]] = {
        "server": lambda value: SERVER.parse(value, "filter")[0],
        "network": str,
        "switch_name": str,
        "settled": _flag,
    }
    return _conditions(text, fields)


def _conditions(text: str, fields: dict[str, Callable[[str], str | int]]) -> list[Condition]:
    return [Condition(term.field, term.op == "=", fields[term.field](term.value)) for term in parse(text, fields)]


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


def _flag(value: str) -> int:
    if value in {"true", "false"}:
        return int(value == "true")
    raise InvalidField(field="filter", description="compares settled with neither true nor false")


# -- responses ---------------------------------------------------------------------------------------------------------


def network_message(network: Network, ports: int) -> network_pb2.Network:
    """The contract's form of a network with *ports* ports on it."""
    return network_pb2.Network(
        name=network.name,
        display_name=network.display_name or NETWORK.parse(network.name)[1],
        network_class=_NUMBERS[network.network_class],
        vrf=network.vrf,
        vlan_id=network.segment.vlan,
        vni=network.segment.vni,
        create_time=to_timestamp(network.create_time),
        update_time=to_timestamp(network.update_time),
        etag=etag(network.version),
        attached_port_count=ports,
    )


def attached(ports: Iterable[Attachment]) -> attachment_pb2.AttachPortsResponse:
    """All ports of a server, as they are then."""
    return attachment_pb2.AttachPortsResponse(attachments=[attachment_message(one) for one in ports])


def attachment_message(attachment: Attachment) -> attachment_pb2.PortAttachment:
    """The contract's form of a port."""
    link, seen = attachment.link, attachment.observed
    return attachment_pb2.PortAttachment(
        name=link.port,
        link=attachment_pb2.PortLink(
            port=link.port,
            mac_address=link.mac_address,
            switch_name=link.plug.switch,
            switch_port=link.plug.port,
            port_group=link.port_group,
            switch_id=link.switch_id,
        ),
        requested=attachment_pb2.PortWish(
            port=link.port,
            port_class=_NUMBERS[attachment.wish.port_class],
            networks=_tags(attachment.wish.tags),
            purpose=attachment_pb2.WishPurpose.Value(f"WISH_PURPOSE_{attachment.wish.purpose.name}"),
        )
        if attachment.asked
        else None,
        request_time=to_timestamp(attachment.request_time),
        observed=reading_message(link.port, seen) if seen else None,
        settled=attachment.settled,
    )


def reading_message(port: str, reading: Reading) -> attachment_pb2.PortReading:
    """The contract's form of what was read of *port*."""
    return attachment_pb2.PortReading(
        port=port,
        port_class=_NUMBERS[reading.port_class],
        networks=_tags(reading.tags),
        read_time=to_timestamp(reading.read_time),
        reading_digest=reading.digest,
        detail=reading.detail,
        security_groups=reading.setup.security_groups,
        dhcp_options=reading.setup.dhcp_options,
        breach=reading.breach,
    )


def leftover_message(leftover: Leftover) -> leftover_pb2.Leftover:
    """The contract's form of what is left over at the controller."""
    marked = leftover.marked
    return leftover_pb2.Leftover(
        name=leftover.name,
        kind=marked.kind,
        server=SERVER.format(marked.server),
        why=leftover.why,
        create_time=to_timestamp(marked.create_time) if marked.create_time else None,
        removable=leftover.removable,
        etag=leftover.etag,
    )


def _tags(tags: Iterable[Tag]) -> list[attachment_pb2.NetworkTag]:
    return [attachment_pb2.NetworkTag(network=tag.network, vlan_tag=tag.vlan_tag) for tag in tags]


# ----------------------------------------------------------------------------------------------------------------------


def _own_port(port: str, server: str, where: str) -> None:
    if PORT.parse(port, where)[0] != server:
        raise InvalidField(field=where, description=f"is not a port of servers/{server}", given=port)


def _at_most(number: int, where: str) -> None:
    if number > MAX_PORTS:
        raise InvalidField(field=where, description=f"has {number} items", remedy=f"Give at most {MAX_PORTS}.")


def _distinct(values: Sequence[str], where: str, what: str) -> None:
    first: dict[str, int] = {}
    for index, value in enumerate(values):
        if value in first:
            raise InvalidField(
                field=f"{where}[{index}].{what}", description=f"is the same as that of {where}[{first[value]}]"
            )
        first[value] = index


def _text(text: str, where: str, longest: int) -> str:
    if len(text) > longest:
        raise InvalidField(field=where, description=f"has {len(text)} characters", remedy=f"Give at most {longest}.")
    if not text.isprintable():
        raise InvalidField(field=where, description="has characters that cannot be printed", remedy="Leave them out.")
    return text
