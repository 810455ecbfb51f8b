# SPDX-License-Identifier: Apache-2.0
"""What must hold when everything has come to rest: nothing held, nothing lost, nothing twice, nothing seen."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from google.longrunning import operations_pb2

from bms.event.v1 import event_pb2
from bms.inventory.v1 import server_pb2
from bms.ipam.v1 import lease_pb2
from bms.lifecycle.v1 import instance_pb2
from bms.network.v1 import attachment_pb2, network_pb2
from tests.simulation.admins import statuses
from tests.simulation.people import Person
from tests.simulation.site import SERVICES
from tests.site.audit import Logs, logs_are_whole


def read_logs(admin: Person) -> Logs:
    """All four logs, with the bytes as they are stored."""
    found: dict[str, list[event_pb2.StoredEvent]] = {}
    for service in SERVICES:
        method = admin.site.fabric.channel(service, "auditor").unary_unary(
            f"/bms.{service}.v1.{service.capitalize()}Service/ListEvents",
            event_pb2.ListEventsRequest.SerializeToString,
            event_pb2.ListStoredEventsResponse.FromString,
        )
        events = found.setdefault(service, [])
        after = 0
        while True:
            request = event_pb2.ListEventsRequest(after=after, page_size=1000)
            answer = method(request, metadata=(("authorization", "Bearer admin"),))
            events += answer.events
            if not answer.events:
                break
            after = answer.next_after
    return Logs(found)


def digest(logs: Logs) -> str:
    """SHA-256 over every byte of every event, by service and position."""
    whole = hashlib.sha256()
    for service in SERVICES:
        for event in logs.events[service]:
            whole.update(event.SerializeToString())
    return whole.hexdigest()


def whole(logs: Logs) -> list[str]:
    """What is wrong with the logs themselves."""
    try:
        logs_are_whole(logs)
    except AssertionError as error:
        return [f"the logs are not whole: {error}"]
    return []


def held(admin: Person, servers: int) -> list[str]:
    """What is still held though nobody is there: addresses, reservations, attachments, operations, instances."""
    wrong = []
    found = statuses(admin)
    if len(found) != servers:
        wrong.append(f"{len(found)} servers of {servers}")
    for status in found:
        if status.instance:
            wrong.append(f"{status.server} is held by {status.instance}")
        if not status.isolated:
            wrong.append(f"{status.server} is not isolated")
        if status.fault:
            wrong.append(f"{status.server} has a fault: {status.fault}")
    rows = admin.pages("inventory", "ListServers", server_pb2.ListServersRequest(), "servers")
    wrong += [f"{row.name} is reserved by {row.pool.reserved_by}" for row in rows if row.pool.reserved_by]
    wrong += [f"{row.name} is not offered" for row in rows if not row.pool.available]
    leases = admin.pages("ipam", "ListLeases", lease_pb2.ListLeasesRequest(parent="projects/-"), "leases")
    wrong += [
        f"{lease.name} is still leased to {lease.owner.resource}"
        for lease in leases
        if lease.state == lease_pb2.AddressLease.STATE_LEASED
    ]
    ports = admin.pages("network", "ListPortAttachments", attachment_pb2.ListPortAttachmentsRequest(), "attachments")
    wrong += [
        f"{port.name} is not settled in quarantine"
        for port in ports
        if not port.settled or port.observed.port_class != network_pb2.PORT_CLASS_QUARANTINE
    ]
    if len(ports) != 2 * servers:
        wrong.append(f"{len(ports)} attachments of {2 * servers} ports")
    instances = admin.pages(
        "lifecycle", "ListInstances", instance_pb2.ListInstancesRequest(parent="projects/-"), "instances"
    )
    wrong += [f"{one.name} is still there" for one in instances]
    return wrong


def unended(admin: Person) -> list[str]:
    """Operations that have not ended."""
    request = operations_pb2.ListOperationsRequest(name="projects/-", filter="done = false")
    return [f"{one.name} has not ended" for one in admin.pages("operations", "ListOperations", request, "operations")]


def telemetry_has(logs: Logs, kept: Counter[tuple[str, int, bytes]], told: Counter[str]) -> list[str]:
    """How telemetry's store of events, and analytics' store of their object logs, differ from the logs."""
    wrong = []
    pairs: tuple[tuple[str, Counter[Any], Counter[Any]], ...] = (
        ("telemetry", logs.identities(), kept),
        ("analytics", logs.ids(), told),
    )
    for what, wanted, found in pairs:
        missing, more = wanted - found, found - wanted
        if missing:
            wrong.append(f"{what} lacks {missing.total()} events, such as {next(iter(missing))}")
        if more:
            wrong.append(f"{what} has {more.total()} events too many, such as {next(iter(more))}")
    return wrong


def projects_of(admin: Person) -> dict[int, str]:
    """VLAN -> the project of its network; "" for the private ones."""
    networks: list[Any] = admin.pages(
        "network", "ListNetworks", network_pb2.ListNetworksRequest(parent="projects/-"), "networks"
    )
    return {
        network.vlan_id: network.name.split("/")[1] if network.network_class == network_pb2.PORT_CLASS_TENANT else ""
        for network in networks
    }
