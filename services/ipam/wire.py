# SPDX-License-Identifier: Apache-2.0
"""The contract's messages to values, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from bms.ipam.v1 import lease_pb2, prefix_pb2
from services.ipam.domain.addresses import (
    Address,
    Network,
    Version,
    address_of,
    key,
    parse_address,
    parse_domain,
    parse_host_name,
    parse_mac,
    parse_network,
)
from services.ipam.domain.leases import Kind, Lease, LeaseState, Owner
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
from services.ipam.operations.ports import Condition, Usage
from services.ipam.operations.prefixes import NewPrefix
from services.ipam.operations.wishes import Detached, Waived, Wanted
from services.kernel.errors import InvalidField
from services.kernel.names import FORCED_ACTION, LEASE, NETWORK, PREFIX, PROJECT, SERVER, new_id
from services.runtime.etags import etag
from services.runtime.filters import Term, parse
from services.runtime.masks import merged
from services.runtime.times import to_micros

_ALL = "projects/-"
_MAX_RESOURCE = 255
_MAX_INTERFACE = 255
_DIGEST = 32
_FIXED = ("cidr", "vrf", "network", "gateway")
"""What of a prefix never changes."""

_MANY = 2**63 - 1

_KINDS = {
    lease_pb2.Owner.KIND_BARE_METAL_INSTANCE: Kind.BARE_METAL_INSTANCE,
    lease_pb2.Owner.KIND_VIRTUAL_MACHINE: Kind.VIRTUAL_MACHINE,
}
_KIND_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_STATE_NUMBERS = {
    LeaseState.LEASED: lease_pb2.AddressLease.STATE_LEASED,
    LeaseState.COOLING: lease_pb2.AddressLease.STATE_COOLING,
    LeaseState.FREED: lease_pb2.AddressLease.STATE_FREED,
}


def project_of(parent: str) -> str:
    """The project of a listing's *parent*; "" for all."""
    return "" if parent == _ALL else PROJECT.parse(parent, "parent")[0]


def new_prefix(request: prefix_pb2.CreatePrefixRequest) -> NewPrefix:
    """The prefix that *request* asks for.

    Raises:
        InvalidField: a field is malformed.
    """
    (project,) = PROJECT.parse(request.parent, "parent")
    given = request.prefix
    cidr = parse_network(given.cidr, "prefix.cidr")
    NETWORK.parse(given.network, "prefix.network")
    return NewPrefix(
        project=project,
        prefix_id=new_id(request.prefix_id, "prefix_id"),
        cidr=cidr,
        vrf=new_id(given.vrf, "prefix.vrf") if given.vrf else "",
        network=given.network,
        gateway=gateway_of(cidr, given.gateway, "prefix.gateway"),
        tuning=_tuning(given, cidr),
        gateway_given=bool(given.gateway),
    )


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
                given=given[:60],
            )
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
        capacity=min(capacity, _MANY),
        free_count=min(max(capacity - usage.taken, 0), _MANY),
        create_time=_stamp(prefix.create_time),
        update_time=_stamp(prefix.update_time),
        etag=etag(version_of(prefix)),
    )


def _range_message(one: Range, version: Version) -> prefix_pb2.AddressRange:
    return prefix_pb2.AddressRange(start=str(address_of(one.first, version)), end=str(address_of(one.last, version)))


def version_of(prefix: Prefix) -> int:
    """What the etag of *prefix* says: a prefix made again under the same name has another."""
    return to_micros(prefix.update_time)


def wanted_of_each_version(
    request: lease_pb2.LeaseAddressesRequest,
) -> tuple[Wanted, Mapping[Version, Address]]:
    """What *request* asks for of each IP version, and the very addresses it names.

    Raises:
        InvalidField: a field is malformed.
    """
    found: dict[Version, Address] = {}
    for index, text in enumerate(request.addresses):
        address = parse_address(text, f"addresses[{index}]")
        if address.version in found:
            raise InvalidField(
                f"addresses[{index}]",
                f"{address} is a second IPv{address.version} address",
                remedy="Give at most one of each IP version.",
                given=str(address),
            )
        found[address.version] = address
    return wanted(request), found


def wanted(request: lease_pb2.LeaseAddressRequest | lease_pb2.LeaseAddressesRequest) -> Wanted:
    """The address that *request* asks for; one for several versions names neither address nor version.

    Raises:
        InvalidField: a field is malformed.
    """
    single = request if isinstance(request, lease_pb2.LeaseAddressRequest) else lease_pb2.LeaseAddressRequest()
    (project,) = PROJECT.parse(request.parent, "parent")
    NETWORK.parse(request.network, "network")
    owner = request.owner
    if owner.kind not in _KINDS:
        raise InvalidField("owner.kind", "is not given", remedy="Say what kind of owner it is.")
    versions: dict[int, Version | None] = {0: None, 4: 4, 6: 6}
    if single.ip_version not in versions:
        raise InvalidField(
            "ip_version",
            f"{single.ip_version} is no IP version",
            remedy="Give 4, 6 or 0.",
            given=str(single.ip_version),
        )
    return Wanted(
        project=project,
        network=request.network,
        owner=Owner(
            kind=_KINDS[owner.kind],
            resource=_readable(owner.resource, "owner.resource", _MAX_RESOURCE),
            interface=_readable(owner.interface, "owner.interface", _MAX_INTERFACE),
            mac_address=parse_mac(owner.mac_address, "owner.mac_address"),
        ),
        address=parse_address(single.address, "address") if single.address else None,
        version=versions[single.ip_version],
        fence=fence(request.fence),
        host_name=parse_host_name(request.host_name, "host_name"),
    )


def fence(given: int) -> int:
    """The fence *given*.

    Raises:
        InvalidField: it is negative.
    """
    if given < 0:
        raise InvalidField("fence", "is negative", remedy="Give the claim's fence, or none.", given=str(given))
    return given


def detached(request: lease_pb2.ReleaseLeaseRequest) -> Detached | Waived | None:
    """The proof that *request* gives, or what it gives instead; None if it gives neither.

    Raises:
        InvalidField: it is none, or both are given.
    """
    if request.without_proof:
        if request.HasField("detach"):
            raise InvalidField("without_proof", "is given beside a proof", remedy="Give one of the two.")
        forced = "/forcedActions/" in request.without_proof
        (FORCED_ACTION if forced else SERVER).parse(request.without_proof, "without_proof")
        return Waived(request.without_proof, forced)
    if not request.HasField("detach"):
        return None
    proof = request.detach
    SERVER.parse(proof.server, "detach.server")
    if len(proof.reading_digest) != _DIGEST:
        raise InvalidField(
            "detach.reading_digest",
            f"has {len(proof.reading_digest)} bytes",
            remedy=f"Give the {_DIGEST} bytes of the reading's SHA-256.",
        )
    return Detached(proof.server, proof.read_time.ToDatetime(tzinfo=UTC), proof.reading_digest)


def lease_message(lease: Lease) -> lease_pb2.AddressLease:
    """*lease* as the contract has it."""
    owner = lease.owner
    return lease_pb2.AddressLease(
        name=lease.name,
        vrf=lease.vrf,
        address=str(lease.address),
        prefix_length=lease.prefix_length,
        gateway="" if lease.gateway is None else str(lease.gateway),
        dns_servers=[str(server) for server in lease.dns_servers],
        prefix=lease.prefix,
        network=lease.network,
        owner=lease_pb2.Owner(
            kind=_KIND_NUMBERS[owner.kind],
            resource=owner.resource,
            interface=owner.interface,
            mac_address=owner.mac_address,
        ),
        epoch=lease.epoch,
        state=_STATE_NUMBERS[lease.state],
        create_time=_stamp(lease.create_time),
        free_time=None if lease.free_time is None else _stamp(lease.free_time),
        keep_time=None if lease.keep_time is None else _stamp(lease.keep_time),
        host_name=lease.host_name,
        fqdn=lease.fqdn,
        reverse_name=lease.address.reverse_pointer,
    )


def leases_message(leases: Sequence[Lease]) -> lease_pb2.LeaseAddressesResponse:
    """The leases of an interface as the contract has them."""
    return lease_pb2.LeaseAddressesResponse(leases=[lease_message(lease) for lease in leases])


def lease_name(name: str) -> str:
    """*name*, if it is of the form of a lease's.

    Raises:
        InvalidField: it is not.
    """
    LEASE.parse(name)
    return name


def prefix_name(name: str, field: str = "name") -> str:
    """*name*, if it is of the form of a prefix's.

    Raises:
        InvalidField: it is not.
    """
    PREFIX.parse(name, field)
    return name


def prefix_conditions(text: str) -> list[Condition]:
    """The filter *text* of a listing of prefixes.

    Raises:
        InvalidField: it is none.
    """
    return _conditions(text, {"network": str, "vrf": str, "ip_version": _version})


def lease_conditions(text: str) -> list[Condition]:
    """The filter *text* of a listing of leases.

    Raises:
        InvalidField: it is none.
    """
    return _conditions(
        text,
        {
            "network": str,
            "prefix": str,
            "vrf": str,
            "address": lambda value: key(parse_address(value, "filter")),
            "owner": str,
            "mac_address": lambda value: parse_mac(value, "filter"),
            "host_name": lambda value: parse_host_name(value, "filter"),
            "state": _state,
        },
    )


def _conditions(text: str, fields: dict[str, Callable[[str], str]]) -> list[Condition]:
    terms: Sequence[Term] = parse(text, fields)
    return [Condition(term.field, term.op == "=", fields[term.field](term.value)) for term in terms]


def _version(value: str) -> str:
    if value in {"4", "6"}:
        return value
    raise InvalidField("filter", "has an ip_version that is neither 4 nor 6", remedy="Give ip_version = 4 or 6.")


def _state(value: str) -> str:
    plain = value.upper().removeprefix("STATE_")
    if plain in LeaseState.__members__:
        return LeaseState[plain].value
    known = ", ".join(f"STATE_{state}" for state in LeaseState.__members__)
    raise InvalidField("filter", "has an unknown state", remedy=f"Give one of {known}.", supported=known)


def _readable(text: str, field: str, longest: int) -> str:
    if len(text) > longest:
        raise InvalidField(field, f"has {len(text)} characters", remedy=f"Give at most {longest}.")
    if not text.isprintable():
        raise InvalidField(field, "has characters that cannot be printed", remedy="Leave them out.")
    return text


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


def _stamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
