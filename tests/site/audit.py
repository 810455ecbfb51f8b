# SPDX-License-Identifier: Apache-2.0
"""What must hold on a site at rest, whatever happened before: nothing held, nothing lost, nothing twice."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass

from bms.event.v1 import event_pb2
from bms.inventory.v1 import server_pb2
from bms.ipam.v1 import lease_pb2
from bms.lifecycle.v1 import server_status_pb2
from bms.network.v1 import attachment_pb2, network_pb2
from bms.telemetry.v1 import telemetry_pb2
from services.kernel.chain import body_digest, digest
from tests.site.client import Client, wait_for
from tests.site.furnish import statuses_of
from tests.site.rig import CALL_SECONDS, Site

CHAINED = ("lifecycle", "ipam")
LOGS = ("inventory", *CHAINED, "network")
_EVENT_ID = re.compile(r"<event_id[^>]*>([^<]+)</event_id>")


@dataclass(frozen=True, slots=True)
class Logs:
    """Every event of every log, by service."""

    events: dict[str, list[event_pb2.StoredEvent]]

    def identities(self) -> Counter[tuple[str, int, bytes]]:
        """Each event's service, position and body's digest."""
        return Counter(
            (service, event.position, event.body_digest) for service, events in self.events.items() for event in events
        )

    def ids(self) -> Counter[str]:
        """Each event's id."""
        return Counter(_header(event).id for events in self.events.values() for event in events)


def at_rest(admin: Client, servers: list[str], seconds: float = 120.0) -> None:
    """Waits until all of *servers* are available again."""
    wanted = set(servers)

    def available() -> bool:
        found = {
            status.server
            for status in statuses_of(admin)
            if status.state == server_status_pb2.ServerStatus.STATE_AVAILABLE and not status.operation
        }
        return wanted <= found

    def told() -> bool:
        rows = admin.pages("inventory", "ListServers", server_pb2.ListServersRequest(), "servers")
        return wanted <= {row.name for row in rows if row.pool.available}

    wait_for("every server is available", available, seconds, every=0.3)
    wait_for("inventory has heard of it", told, 30, every=0.3)


def nothing_is_held(admin: Client, servers: list[str], instances: int) -> None:
    """No reservation, no lease but resting ones, every port in quarantine, nobody on any server."""
    for status in statuses_of(admin):
        assert not status.instance, status
        assert status.isolated, status
        assert not status.fault, status
    rows = admin.pages("inventory", "ListServers", server_pb2.ListServersRequest(), "servers")
    assert sorted(servers) == sorted(row.name for row in rows)
    assert not [row for row in rows if row.pool.reserved_by]
    leases = admin.pages("ipam", "ListLeases", lease_pb2.ListLeasesRequest(parent="projects/-"), "leases")
    assert {lease_pb2.AddressLease.STATE_COOLING} == {lease.state for lease in leases}
    assert instances == len(leases), [lease.owner for lease in leases]
    ports = admin.pages("network", "ListPortAttachments", attachment_pb2.ListPortAttachmentsRequest(), "attachments")
    assert len(ports) == 2 * len(servers)
    for port in ports:
        assert port.settled, port
        assert port.observed.port_class == network_pb2.PORT_CLASS_QUARANTINE, port


def read_logs(site: Site) -> Logs:
    """All four logs, with the bytes as they are stored."""
    found: dict[str, list[event_pb2.StoredEvent]] = {}
    for service in LOGS:
        method = site.channel(service).unary_unary(
            f"/bms.{service}.v1.{service.capitalize()}Service/ListEvents",
            request_serializer=event_pb2.ListEventsRequest.SerializeToString,
            response_deserializer=event_pb2.ListStoredEventsResponse.FromString,
        )
        events = found.setdefault(service, [])
        after = 0
        while True:
            answer = method(
                event_pb2.ListEventsRequest(after=after, page_size=1000),
                metadata=site.metadata("admin"),
                timeout=CALL_SECONDS,
            )
            events += answer.events
            if not answer.events:
                break
            after = answer.next_after
    return Logs(found)


def logs_are_whole(logs: Logs) -> None:
    """Positions are dense, each stream's sequence has no gap and no fork, chains verify, no id comes twice."""
    assert not [identity for identity, count in logs.ids().items() if count > 1]
    for service, events in logs.events.items():
        assert [event.position for event in events] == list(range(1, len(events) + 1)), service
        heads: dict[str, tuple[int, bytes]] = defaultdict(lambda: (0, b""))
        for event in events:
            header = _header(event)
            sequence, previous = heads[header.stream]
            assert header.sequence == sequence + 1, (service, header)
            assert event.body_digest == body_digest(event.body), (service, header)
            if service in CHAINED:
                assert event.previous == previous, (service, header)
                assert event.digest == digest(previous, event.header, event.body_digest), (service, header)
            heads[header.stream] = (header.sequence, event.digest)


def telemetry_has_all(admin: Client, logs: Logs, seconds: float = 60.0) -> None:
    """Telemetry keeps exactly the events of the logs, and its analytics store one message of each."""
    ends = {service: len(events) for service, events in logs.events.items()}

    def caught_up() -> bool:
        answer = admin.call("telemetry", "GetPipelineStatus", telemetry_pb2.GetPipelineStatusRequest())
        return all(log.position >= ends.get(log.service, 0) for log in answer.logs)

    wait_for("telemetry has read the logs", caught_up, seconds, every=0.3)
    kept = Counter(
        (sourced.service, sourced.event.position, sourced.event.body_digest)
        for sourced in admin.pages("telemetry", "QueryEvents", telemetry_pb2.QueryEventsRequest(), "events")
    )
    assert logs.identities() == kept
    messages = admin.pages(
        "telemetry",
        "ListSandeshMessages",
        telemetry_pb2.ListSandeshMessagesRequest(message_type="BmsLifecycleEventLog"),
        "messages",
    )
    told: Counter[str] = Counter()
    for message in messages:
        told.update(_EVENT_ID.findall(message.xml))
    assert logs.ids() == told


def _header(event: event_pb2.StoredEvent) -> event_pb2.EventHeader:
    return event_pb2.EventHeader.FromString(event.header)
