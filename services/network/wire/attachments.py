# SPDX-License-Identifier: Apache-2.0
"""Ports of servers on the wire: where they are plugged in, what they are asked to be, and what was read of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from bms.network.v1 import attachment_pb2
from services.kernel.errors import InvalidField
from services.kernel.names import NETWORK, PORT, PROJECT, SERVER, new_id
from services.network.domain.attachments import MAX_PORTS, MAX_SERVERS, Attachment, Link, Reading
from services.network.domain.networks import PortClass
from services.network.domain.switch_ports import SwitchPort
from services.network.domain.wishes import Purpose, Tag, Wish, check_wish
from services.network.operations.store import Condition
from services.network.wire.fields import CLASS_NUMBERS, CLASSES, MAX_TEXT, conditions, printable
from services.runtime.times import to_timestamp

_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_MAX_GROUP = 63

_PURPOSES: dict[int, Purpose] = {
    attachment_pb2.WISH_PURPOSE_UNSPECIFIED: Purpose.STEP,
    attachment_pb2.WISH_PURPOSE_STEP: Purpose.STEP,
    attachment_pb2.WISH_PURPOSE_CUT: Purpose.CUT,
    attachment_pb2.WISH_PURPOSE_RESTORE: Purpose.RESTORE,
}


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
            printable(given.switch_name, f"{where}.switch_name", MAX_TEXT),
            printable(given.switch_port, f"{where}.switch_port", MAX_TEXT),
        )
        group = printable(given.port_group, f"{where}.port_group", _MAX_GROUP)
        switch_id = printable(given.switch_id, f"{where}.switch_id", _MAX_GROUP)
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
        port_class = CLASSES.get(given.port_class, PortClass.UNKNOWN)
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
    return conditions(text, fields)


def _flag(value: str) -> int:
    if value in {"true", "false"}:
        return int(value == "true")
    raise InvalidField(field="filter", description="compares settled with neither true nor false")


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
            port_class=CLASS_NUMBERS[attachment.wish.port_class],
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
        port_class=CLASS_NUMBERS[reading.port_class],
        networks=_tags(reading.tags),
        read_time=to_timestamp(reading.read_time),
        reading_digest=reading.digest,
        detail=reading.detail,
        security_groups=reading.setup.security_groups,
        dhcp_options=reading.setup.dhcp_options,
        breach=reading.breach,
    )


def _tags(tags: Iterable[Tag]) -> list[attachment_pb2.NetworkTag]:
    return [attachment_pb2.NetworkTag(network=tag.network, vlan_tag=tag.vlan_tag) for tag in tags]


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
