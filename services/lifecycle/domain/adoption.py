# SPDX-License-Identifier: Apache-2.0
"""Whether a server in use is what it is said to be: on exactly the networks named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.lifecycle.domain.instance import NetworkWish
from services.lifecycle.domain.server import Port, PortClass, Tag


def disagreement(ports: Sequence[Port], named: Sequence[NetworkWish], details: Mapping[str, str]) -> str:
    """What *ports*, as they were read, show otherwise than *named*: a sentence with what was read; "" if nothing.

    Every network named lies on one port, or on the members of one group alike; no port is on anything else. A port
    without any network agrees with everything.

    Args:
        details: what network said of a port's reading.
    """
    wanted = {Tag(wish.network, wish.vlan_tag) for wish in named}
    where: dict[Tag, list[Port]] = {}
    for port in ports:
        if not port.linked or port.observed is PortClass.QUARANTINE:
            continue
        if port.observed is not PortClass.TENANT:
            more = f": {details[port.name]}" if details.get(port.name) else ""
            return f"{_plug(port)} reads {port.observed.value}{more}"
        if strange := sorted(set(port.networks) - wanted):
            return f"{_plug(port)} reads on {_said(strange[0])}, which was not named"
        for tag in port.networks:
            where.setdefault(tag, []).append(port)
    for tag in sorted(wanted):
        found = where.get(tag, [])
        if not found:
            return f"no port reads on {_said(tag)}"
        groups = {port.port_group for port in found}
        if len(found) > 1 and (len(groups) > 1 or "" in groups):
            return f"{' and '.join(_plug(port) for port in found)} both read on {_said(tag)}, and are no port group"
    return _split(ports)


def _split(ports: Sequence[Port]) -> str:
    """What members of a group read otherwise than each other; "" if they agree."""
    groups: dict[str, Port] = {}
    for port in ports:
        if port.linked and port.port_group:
            first = groups.setdefault(port.port_group, port)
            if set(first.networks) != set(port.networks):
                return f"{_plug(first)} and {_plug(port)} of {port.port_group} read on different networks"
    return ""


def _plug(port: Port) -> str:
    return f"{port.name.rpartition('/')[2]} at {port.switch_name} {port.switch_port}"


def _said(tag: Tag) -> str:
    return f"{tag.network} with tag {tag.vlan_tag}" if tag.vlan_tag else tag.network
