# SPDX-License-Identifier: Apache-2.0
"""Prefixes on the wire."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from bms.ipam.v1 import prefix_pb2
from services.ipam.domain.addresses import (
    Network,
    Version,
    address_of,
    parse_address,
    parse_domain,
    parse_network,
)
from services.ipam.domain.prefixes import (
    DEFAULT_COOL_DOWN,
    MAX_COOL_DOWN,
    MAX_DNS_SERVERS,
    MAX_STICKY,
    NO_GATEWAY,
    Prefix,
    Range,
    Tuning,
    gateway_of,
    ranges_of,
)
from services.ipam.operations.ports import Usage
from services.ipam.operations.prefixes import NewPrefix
from services.kernel.errors import InvalidField
from services.kernel.names import NETWORK, PREFIX, PROJECT, new_id
from services.runtime.etags import etag
from services.runtime.masks import merged
from services.runtime.times import to_micros, to_timestamp

_OF_ADDRESSES = ("network", "gateway", "pools", "reserved", "dns_servers", "domain", "sticky_time")
_FIXED = ("cidr", "vrf", "network", "gateway", "container", "parent_prefix")
"""What of a prefix never changes."""

_MANY = 2**63 - 1


def part_of(request: prefix_pb2.CreatePrefixRequest) -> tuple[str, str, int] | None:
    """The project, container and length of the next free range that *request* asks for; None if it names its range.

    Raises:
        InvalidField: it says so by halves.
    """
    if not request.prefix_length:
        return None
    (project,) = PROJECT.parse(request.parent, "parent")
    if request.prefix.cidr:
        raise InvalidField("prefix_length", "is given beside prefix.cidr", remedy="Give one of the two.")
    if not request.prefix.parent_prefix:
        raise InvalidField(
            "prefix.parent_prefix",
            "is not given: prefix_length asks for a part of it",
            remedy="Name the container, or give prefix.cidr in place of prefix_length.",
        )
    PREFIX.parse(request.prefix.parent_prefix, "prefix.parent_prefix")
    return project, request.prefix.parent_prefix, request.prefix_length


def new_prefix(request: prefix_pb2.CreatePrefixRequest, chosen: Network | None = None) -> NewPrefix:
    """The prefix that *request* asks for.

    Args:
        chosen: its range, where the request does not name it.

    Raises:
        InvalidField: a field is malformed.
    """
    (project,) = PROJECT.parse(request.parent, "parent")
    given = request.prefix
    if not (chosen or given.cidr):
        raise InvalidField(
            "prefix.cidr",
            "is not given",
            remedy="Give a range such as 10.1.0.0/24, or a parent_prefix and the prefix_length of a part of it.",
        )
    cidr = chosen or parse_network(given.cidr, "prefix.cidr")
    if given.parent_prefix:
        PREFIX.parse(given.parent_prefix, "prefix.parent_prefix")
    if given.container:
        _require_bare(given)
    elif not given.network:
        raise InvalidField(
            "prefix.network", "is not given", remedy="Name the network that it serves, or make it a container."
        )
    else:
        NETWORK.parse(given.network, "prefix.network")
    return NewPrefix(
        project=project,
        prefix_id=new_id(request.prefix_id, "prefix_id"),
        cidr=cidr,
        vrf=new_id(given.vrf, "prefix.vrf") if given.vrf else "",
        network=given.network,
        gateway=None if given.container else gateway_of(cidr, given.gateway, "prefix.gateway"),
        tuning=_tuning(given, cidr),
        gateway_given=bool(given.gateway),
        container=given.container,
        parent=given.parent_prefix,
    )


def _require_bare(container: prefix_pb2.Prefix) -> None:
    """Refuses a container with what only those who give addresses have."""
    given = {field.name for field, _ in container.ListFields()}
    for name in _OF_ADDRESSES:
        if name in given:
            raise InvalidField(
                f"prefix.{name}", "is not for a container", remedy="Give it to the prefixes that are made of it."
            )
    if not container.vrf and not container.parent_prefix:
        raise InvalidField("prefix.vrf", "is not given", remedy="Name the address space of the container.")


def changed_tuning(prefix: Prefix, request: prefix_pb2.UpdatePrefixRequest) -> Tuning:
    """What *request* makes of what may be changed of *prefix*.

    Raises:
        InvalidField: a field is malformed, or cannot be changed.
        InvalidFields: the mask names no field of a prefix.
    """
    stored = prefix_message(prefix, Usage())
    wanted = merged(stored, request.prefix, request.update_mask.paths)
    for name in _FIXED:
        given = getattr(wanted, name)
        if given != getattr(stored, name):
            raise InvalidField(
                f"prefix.{name}",
                f"cannot be changed from {getattr(stored, name)}",
                remedy="Leave it out, or make another prefix.",
                given=str(given)[:60],
            )
    if prefix.container:
        wanted.ClearField("gateway")
        _require_bare(wanted)
    return _tuning(wanted, prefix.cidr)


def _tuning(given: prefix_pb2.Prefix, cidr: Network) -> Tuning:
    if len(given.dns_servers) > MAX_DNS_SERVERS:
        raise InvalidField(
            "prefix.dns_servers", f"has {len(given.dns_servers)} servers", remedy=f"Give at most {MAX_DNS_SERVERS}."
        )
    return Tuning(
        pools=ranges_of(cidr, [(pool.start, pool.end) for pool in given.pools], "prefix.pools"),
        reserved=ranges_of(cidr, [(one.start, one.end) for one in given.reserved], "prefix.reserved"),
        dns_servers=tuple(
            parse_address(server, f"prefix.dns_servers[{index}]") for index, server in enumerate(given.dns_servers)
        ),
        cool_down=_span(given.cool_down, "prefix.cool_down", MAX_COOL_DOWN)
        if given.HasField("cool_down")
        else DEFAULT_COOL_DOWN,
        shared=given.shared,
        sticky=_span(given.sticky_time, "prefix.sticky_time", MAX_STICKY),
        domain=parse_domain(given.domain, "prefix.domain"),
    )


def prefix_message(prefix: Prefix, usage: Usage) -> prefix_pb2.Prefix:
    """*prefix* as the contract has it."""
    tuning = prefix.tuning
    cool_down = Duration()
    cool_down.FromTimedelta(tuning.cool_down)
    sticky = Duration()
    sticky.FromTimedelta(tuning.sticky)
    capacity = prefix.capacity
    return prefix_pb2.Prefix(
        name=prefix.name,
        cidr=str(prefix.cidr),
        vrf=prefix.vrf,
        network=prefix.network,
        gateway=NO_GATEWAY if prefix.gateway is None else str(prefix.gateway),
        pools=[_range_message(pool, prefix.version) for pool in prefix.pools],
        reserved=[_range_message(one, prefix.version) for one in tuning.reserved],
        shared=tuning.shared,
        dns_servers=[str(server) for server in prefix.dns_servers],
        cool_down=cool_down,
        sticky_time=sticky if tuning.sticky else None,
        domain=tuning.domain,
        ip_version=prefix.version,
        leased_count=usage.leased,
        cooling_count=usage.cooling,
        container=prefix.container,
        parent_prefix=prefix.parent,
        child_count=usage.children,
        capacity=min(capacity, _MANY),
        free_count=min(max(capacity - usage.taken, 0), _MANY),
        create_time=to_timestamp(prefix.create_time),
        update_time=to_timestamp(prefix.update_time),
        etag=etag(version_of(prefix)),
    )


def _range_message(one: Range, version: Version) -> prefix_pb2.AddressRange:
    return prefix_pb2.AddressRange(start=str(address_of(one.first, version)), end=str(address_of(one.last, version)))


def version_of(prefix: Prefix) -> int:
    """What the etag of *prefix* says: a prefix made again under the same name has another."""
    return to_micros(prefix.update_time)


def _span(given: Duration, field: str, longest: timedelta) -> timedelta:
    span: timedelta = given.ToTimedelta()
    if timedelta() <= span <= longest:
        return span
    raise InvalidField(
        field,
        "is negative" if span < timedelta() else f"is longer than {longest.days} days",
        remedy=f"Give a duration from 0 s to {int(longest.total_seconds())} s.",
        given=f"{given.seconds}s",
    )
