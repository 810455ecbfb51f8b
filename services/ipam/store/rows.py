# SPDX-License-Identifier: Apache-2.0
"""One row to its value, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from services.ipam.domain.addresses import Address, address_of, from_key, key
from services.ipam.domain.allocation import Frontier
from services.ipam.domain.leases import AddressRow, AddressState, Kind, Lease, LeaseState, Owner
from services.ipam.domain.prefixes import Prefix, Range, Tuning
from services.ipam.operations.ports import Condition
from services.kernel.events import Head
from services.runtime.database import Row
from services.runtime.times import from_micros, to_micros

NEVER = 2**63 - 1
"""``free_at`` of an address that does not become free by itself."""

_MICROSECOND = timedelta(microseconds=1)

TUNING_COLUMNS = ("pools", "reserved", "dns_servers", "cool_down", "shared", "sticky", "domain")
PREFIX_COLUMNS = (
    f"name, uid, project, cidr, ip_version, vrf, network, first, last, gateway, {', '.join(TUNING_COLUMNS)},"
    " create_time, update_time, realm, container, parent, parent_uid, depth, next_address, made"
)
LEASE_COLUMNS = (
    "name, project, vrf, address, prefix_length, gateway, dns_servers, prefix, prefix_uid, network, kind, resource,"
    " interface, ip_version, mac_address, epoch, state, create_time, free_at, pending, hold, settle_at,"
    " keep_until, host_name, domain"
)
ADDRESS_COLUMNS = "vrf, address, state, free_at, epoch, lease, sequence, digest"

_PREFIX_FACTS = tuple(column for column in PREFIX_COLUMNS.split(", ") if column not in {"next_address", "made"})

_COLUMNS = {"owner": "resource", "parent_prefix": "parent"}
"""The columns of fields that have another name."""


def marks(columns: str) -> str:
    """As many placeholders as there are *columns*."""
    return ", ".join("?" * (columns.count(",") + 1))


def where_of(conditions: Sequence[Condition]) -> tuple[str, tuple[str | int, ...]]:
    """The conditions of a listing as SQL that begins with AND, and its parameters. Their fields were checked before."""
    sql = "".join(f" AND {_COLUMNS.get(one.field, one.field)} {'=' if one.equal else '<>'} ?" for one in conditions)
    return sql, tuple(int(one.value) if one.field == "ip_version" else one.value for one in conditions)


def prefix_values(prefix: Prefix, frontier: Frontier) -> tuple[object, ...]:
    """The values of `PREFIX_COLUMNS`."""
    return (
        prefix.name,
        prefix.uid,
        prefix.project,
        str(prefix.cidr),
        prefix.version,
        prefix.vrf,
        prefix.network,
        key(prefix.cidr.network_address),
        key(prefix.cidr.broadcast_address),
        _text(prefix.gateway),
        *tuning_values(prefix.tuning),
        to_micros(prefix.create_time),
        to_micros(prefix.update_time),
        prefix.realm,
        int(prefix.container),
        prefix.parent,
        prefix.parent_uid,
        prefix.depth,
        *frontier_values(prefix, frontier),
    )


def tuning_values(tuning: Tuning) -> tuple[object, ...]:
    """The values of `TUNING_COLUMNS`."""
    return (
        _ranges_text(tuning.pools),
        _ranges_text(tuning.reserved),
        json.dumps([str(server) for server in tuning.dns_servers]),
        tuning.cool_down // _MICROSECOND,
        int(tuning.shared),
        tuning.sticky // _MICROSECOND,
        tuning.domain,
    )


def frontier_values(prefix: Prefix, frontier: Frontier) -> tuple[str, int]:
    """The values of ``next_address, made``."""
    return "" if frontier.next is None else key(address_of(frontier.next, prefix.version)), frontier.made


def prefix_of(row: Row) -> Prefix:
    """The prefix of a row of `PREFIX_COLUMNS`."""
    return _prefix(*(row[column] for column in _PREFIX_FACTS))


@lru_cache(maxsize=1024)
def _prefix(*facts: Any) -> Prefix:
    """A prefix seldom changes but for its frontier, and every grant reads it: it is parsed once."""
    row = dict(zip(_PREFIX_FACTS, facts, strict=True))
    return Prefix(
        name=row["name"],
        uid=row["uid"],
        project=row["project"],
        cidr=ip_network(row["cidr"]),
        vrf=row["vrf"],
        network=row["network"],
        gateway=_address(row["gateway"]),
        tuning=Tuning(
            pools=_ranges(row["pools"]),
            reserved=_ranges(row["reserved"]),
            dns_servers=tuple(ip_address(server) for server in json.loads(row["dns_servers"])),
            cool_down=timedelta(microseconds=row["cool_down"]),
            shared=bool(row["shared"]),
            sticky=timedelta(microseconds=row["sticky"]),
            domain=row["domain"],
        ),
        create_time=from_micros(row["create_time"]),
        update_time=from_micros(row["update_time"]),
        realm=row["realm"],
        container=bool(row["container"]),
        parent=row["parent"],
        parent_uid=row["parent_uid"],
        depth=row["depth"],
    )


def frontier_of(row: Row) -> Frontier:
    """The frontier of the same row."""
    following = row["next_address"]
    return Frontier(int(from_key(following)) if following else None, row["made"])


def lease_values(lease: Lease) -> tuple[object, ...]:
    """The values of `LEASE_COLUMNS`."""
    owner = lease.owner
    return (
        lease.name,
        lease.project,
        lease.vrf,
        key(lease.address),
        lease.prefix_length,
        _text(lease.gateway),
        json.dumps([str(server) for server in lease.dns_servers]),
        lease.prefix,
        lease.prefix_uid,
        lease.network,
        owner.kind.value,
        owner.resource,
        owner.interface,
        lease.address.version,
        owner.mac_address,
        lease.epoch,
        lease.state.value,
        to_micros(lease.create_time),
        _micros(lease.free_time),
        int(lease.pending),
        lease.hold,
        _micros(lease.settle_time),
        _micros(lease.keep_time),
        lease.host_name,
        lease.domain,
    )


def lease_of(row: Row) -> Lease:
    """The lease of a row of `LEASE_COLUMNS`."""
    return Lease(
        name=row["name"],
        project=row["project"],
        vrf=row["vrf"],
        address=from_key(row["address"]),
        prefix_length=row["prefix_length"],
        gateway=_address(row["gateway"]),
        dns_servers=tuple(ip_address(server) for server in json.loads(row["dns_servers"])),
        prefix=row["prefix"],
        prefix_uid=row["prefix_uid"],
        network=row["network"],
        owner=Owner(Kind(row["kind"]), row["resource"], row["interface"], row["mac_address"]),
        epoch=row["epoch"],
        state=LeaseState(row["state"]),
        create_time=from_micros(row["create_time"]),
        free_time=_moment(row["free_at"]),
        pending=bool(row["pending"]),
        hold=row["hold"],
        settle_time=_moment(row["settle_at"]),
        keep_time=_moment(row["keep_until"]),
        host_name=row["host_name"],
        domain=row["domain"],
    )


def address_row_of(row: Row) -> AddressRow:
    """The address of a row of `ADDRESS_COLUMNS`."""
    free_at = row["free_at"]
    return AddressRow(
        vrf=row["vrf"],
        address=from_key(row["address"]),
        state=AddressState(row["state"]),
        epoch=row["epoch"],
        lease=row["lease"],
        free_time=None if free_at in (0, NEVER) else from_micros(free_at),
        head=Head(row["sequence"], bytes(row["digest"] or b"")),
    )


def free_at_of(row: AddressRow) -> int:
    """The value of ``free_at``."""
    if row.state is AddressState.FREE:
        return _micros(row.free_time) or 0
    if row.state is AddressState.COOLING and row.free_time is not None:
        return to_micros(row.free_time)
    return NEVER


def _ranges_text(ranges: Sequence[Range]) -> str:
    return json.dumps([[f"{one.first:x}", f"{one.last:x}"] for one in ranges])


def _ranges(text: str) -> tuple[Range, ...]:
    return tuple(Range(int(first, 16), int(last, 16)) for first, last in json.loads(text))


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _text(address: Address | None) -> str:
    return "" if address is None else str(address)


def _address(text: str) -> Address | None:
    return ip_address(text) if text else None
