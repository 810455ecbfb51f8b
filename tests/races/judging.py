# SPDX-License-Identifier: Apache-2.0
"""What must hold once the load is over and everything has come to rest."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc
import psycopg
from google.longrunning import operations_pb2

from bms.event.v1 import event_pb2
from bms.ipam.v1 import lease_pb2
from bms.lifecycle.v1 import audit_service_pb2, instance_pb2, server_status_pb2
from bms.network.v1 import network_pb2
from services.lifecycle.claims import next_due
from services.runtime.database import Database, open_database
from services.simulated.rack import Rack
from services.verifier.judge import Judge
from services.verifier.verdict import Verdict
from tests.races.administering import mend, statuses
from tests.races.calling import Caller, Refused
from tests.races.rig import PROJECTS, Site
from tests.simulation.witness import Account
from tests.site.audit import CHAINED, LOGS, Logs, logs_are_whole

REST_SECONDS = 240.0
_ROUNDS = 4
_STATE = server_status_pb2.ServerStatus
_EMPTY = {
    "lifecycle": (
        ("an instance is left", "SELECT name FROM instances"),
        ("an operation has not ended", "SELECT name FROM operations WHERE done = 0"),
        ("a server is held", "SELECT uuid FROM servers WHERE instance <> ''"),
        ("a server is not isolated", "SELECT uuid FROM servers WHERE closed = 0 AND isolated = 0"),
        ("an event has no position", "SELECT id FROM events WHERE position IS NULL"),
        ("positions have a hole", "SELECT 1 FROM events HAVING count(*) <> coalesce(max(position), 0)"),
    ),
    "inventory": (
        ("a server is reserved", "SELECT uuid FROM servers WHERE reserved_by <> '' AND delete_time IS NULL"),
        ("an event has no position", "SELECT id FROM events WHERE position IS NULL"),
        ("an operation has not ended", "SELECT name FROM operations WHERE done = 0"),
        ("positions have a hole", "SELECT 1 FROM events HAVING count(*) <> coalesce(max(position), 0)"),
    ),
    "ipam": (
        ("an event has no position", "SELECT id FROM events WHERE position IS NULL"),
        ("positions have a hole", "SELECT 1 FROM events HAVING count(*) <> coalesce(max(position), 0)"),
    ),
    "network": (
        ("a port is not in quarantine", "SELECT port FROM ports WHERE seen_class <> 'quarantine' OR settled = 0"),
        ("an event has no position", "SELECT id FROM events WHERE position IS NULL"),
        ("positions have a hole", "SELECT 1 FROM events HAVING count(*) <> coalesce(max(position), 0)"),
    ),
}


class Bench:
    """Brings *site* to rest and judges it.

    Attributes:
        wrong: what must not be.
        repaired: what the audit of leaks found and repaired.
    """

    def __init__(self, site: Site, admin: Caller) -> None:
        self.wrong: list[str] = []
        self.repaired: list[str] = []
        self._site = site
        self._admin = admin

    def judge(self, acked: dict[str, tuple[str, str]]) -> None:
        """All of it, *acked* being the answered request ids of all callers."""
        if not self._wait("everything comes to rest", self._at_rest):
            self.wrong.append(f"it does not come to rest: {self._standing()}")
        self._audit()
        self._wait("rest after repairs", self._at_rest)
        logs = self._quiet_logs()
        for service, events in logs[0].events.items():
            # One that patrols may add something between the two looks.
            pairs = zip(events, logs[1].events[service], strict=False)
            if any(one.SerializeToString() != other.SerializeToString() for one, other in pairs):
                self.wrong.append(f"two replicas tell different logs of {service}")
        try:
            logs_are_whole(logs[0])
        except AssertionError as error:
            self.wrong.append(f"the logs are not whole: {error}"[:2000])
        for service in CHAINED:
            self._verify(service, logs[0].events[service])
        self._stores()
        self._once(acked, logs[0])
        self._witness()
        self._said()

    # -- rest

    def _wait(self, what: str, reached: Callable[[], bool], seconds: float = REST_SECONDS) -> bool:
        until = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > until:
                return False
            time.sleep(0.3)
        return True

    def _at_rest(self) -> bool:
        """Deletes what tenants left, mends what is broken; answers whether nothing is left to do."""
        admin, still = self._admin, True
        listed = instance_pb2.ListInstancesRequest(parent="projects/-")
        for one in admin.pages("lifecycle", "ListInstances", listed, "instances"):
            still = False
            try:
                admin.call("lifecycle", "DeleteInstance", instance_pb2.DeleteInstanceRequest(name=one.name))
            except Refused:
                # It is being deleted.
                continue
        for lease in self._leases():
            if lease.owner.kind == lease_pb2.Owner.KIND_VIRTUAL_MACHINE:
                still = False
                try:
                    request = lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch)
                    admin.call("ipam", "ReleaseLease", request)
                except Refused:
                    # Somebody's late call did so.
                    continue
        mend(admin, takes=True)
        found = statuses(admin)
        still &= all(
            one.state == _STATE.STATE_AVAILABLE and not (one.operation or one.maintenance or one.HasField("wait"))
            for one in found
        )
        return still and not self._unended() and not self._asked_of_inventory()

    def _asked_of_inventory(self) -> bool:
        """Whether a deletion has not ended: inventory ends it when lifecycle has let the server go."""
        with psycopg.connect(self._site.urls["inventory"], autocommit=True) as connection:
            return connection.execute("SELECT 1 FROM operations WHERE done = 0").fetchone() is not None

    def _unended(self) -> list[Any]:
        request = operations_pb2.ListOperationsRequest(name="projects/-", filter="done = false")
        return self._admin.pages("operations", "ListOperations", request, "operations")

    def _leases(self) -> list[Any]:
        request = lease_pb2.ListLeasesRequest(parent="projects/-")
        found = self._admin.pages("ipam", "ListLeases", request, "leases")
        return [lease for lease in found if lease.state == lease_pb2.AddressLease.STATE_LEASED]

    def _standing(self) -> str:
        lines = [f"{one.name} of {one.metadata}" for one in self._unended()]
        lines += [
            f"{one.server} {_STATE.State.Name(one.state)} {one.operation} {one.instance} {one.wait} {one.fault}"
            for one in statuses(self._admin)
            if one.state != _STATE.STATE_AVAILABLE or one.operation or one.HasField("wait")
        ]
        return "; ".join(lines)[:4000]

    # -- leaks

    def _audit(self) -> None:
        """Repairs what may be repaired; what is left after that is wrong."""
        for _ in range(_ROUNDS):
            found = self._leaks()
            if not found:
                return
            for leak in found:
                if leak.repairable:
                    request = audit_service_pb2.RepairLeakRequest(
                        kind=leak.kind, resource=leak.resource, etag=leak.etag
                    )
                    try:
                        self._admin.call("audit", "RepairLeak", request)
                    except Refused:
                        # It has changed meanwhile; the next round tells.
                        continue
                    self.repaired.append(_line(leak))
        self.wrong += [f"leaked: {_line(leak)}: {leak.why}" for leak in self._leaks()]

    def _leaks(self) -> list[Any]:
        return self._admin.pages("audit", "AuditLeaks", audit_service_pb2.AuditLeaksRequest(), "leaks")

    # -- logs

    def _quiet_logs(self) -> list[Logs]:
        """The logs as two replicas of each service tell them, taken while the chained ones stand still."""
        for _ in range(_ROUNDS):
            if not self._wait("checkpoints cover the logs", self._covered, 30):
                self.wrong.append("no checkpoint covers the logs to their end")
            found = [self._logs(number) for number in (0, 1)]
            if all(len(found[0].events[service]) == len(found[1].events[service]) for service in CHAINED):
                break
        return found

    def _covered(self) -> bool:
        """Whether the newest checkpoint of each chained log covers everything in it."""
        for service in CHAINED:
            with psycopg.connect(self._site.urls[service], autocommit=True) as connection:
                row = connection.execute("SELECT max(coalesce(position, 1 << 60)) FROM events").fetchone()
            signed = self._all(service, "ListCheckpoints", event_pb2.ListCheckpointsRequest(), "checkpoints")
            position = event_pb2.Checkpoint.FromString(signed[-1].checkpoint).position if signed else 0
            if row is None or row[0] != position:
                return False
        return True

    def _verify(self, service: str, events: list[event_pb2.StoredEvent]) -> None:
        court = Judge(service)
        for key in self._all(service, "ListSigningKeys", event_pb2.ListSigningKeysRequest(), "keys"):
            court.key(key)
        for signed in self._all(service, "ListCheckpoints", event_pb2.ListCheckpointsRequest(), "checkpoints"):
            court.checkpoint(signed)
        for event in events:
            court.event(event)
        report = court.report()
        self.wrong += [f"{service}: {problem}" for problem in report.problems]
        for name, stream in report.streams.items():
            for interval in stream.intervals:
                if interval.verdict is not Verdict.PASS:
                    why = "; ".join(f"{one.invariant} {one.message} {one.witnesses}" for one in interval.findings)
                    span = f"{interval.first} to {interval.last}"
                    self.wrong.append(f"{name} {span}: {interval.verdict} {interval.reason} {why}"[:2000])

    def _logs(self, number: int) -> Logs:
        """All logs as replica *number* of each service tells them."""
        found: dict[str, list[event_pb2.StoredEvent]] = {}
        metadata = (("authorization", f"Bearer {self._site.data.token_file('admin').read_text().strip()}"),)
        for service in LOGS:
            with grpc.insecure_channel(self._site.of(service)[number].address) as channel:
                method = channel.unary_unary(
                    f"/bms.{service}.v1.{service.capitalize()}Service/ListEvents",
                    request_serializer=event_pb2.ListEventsRequest.SerializeToString,
                    response_deserializer=event_pb2.ListStoredEventsResponse.FromString,
                )
                events = found.setdefault(service, [])
                after = 0
                while True:
                    request = event_pb2.ListEventsRequest(after=after, page_size=500)
                    answer = method(request, metadata=metadata, timeout=30)
                    events += answer.events
                    if not answer.events:
                        break
                    after = answer.next_after
        return Logs(found)

    def _all(self, service: str, method: str, request: Any, field: str) -> list[Any]:
        found: list[Any] = []
        while True:
            answer = self._admin.call(f"events of {service}", method, request)
            found += getattr(answer, field)
            if answer.next_after == request.after:
                return found
            request.after = answer.next_after

    # -- effects

    def _once(self, acked: dict[str, tuple[str, str]], logs: Logs) -> None:
        """No request id led to two operations, or to two leases; and every operation that was answered is there."""
        operations: dict[str, set[str]] = defaultdict(set)
        leased: Counter[str] = Counter()
        for service in CHAINED:
            for event in logs.events[service]:
                body = event_pb2.EventBody.FromString(event.body)
                if body.cause.request_id not in acked:
                    continue
                if service == "lifecycle":
                    operations[body.cause.request_id].add(body.cause.operation)
                else:
                    leased[f"{event_pb2.EventHeader.FromString(event.header).type} {body.cause.request_id}"] += 1
        for request_id, found in operations.items():
            if len(found - {""}) > 1:
                self.wrong.append(f"request {request_id} {acked[request_id]} led to {sorted(found)}")
        self.wrong += [f"{what}: {count} times" for what, count in leased.items() if count > 1]
        with psycopg.connect(self._site.urls["lifecycle"], autocommit=True) as connection:
            known = {row[0] for row in connection.execute("SELECT name FROM operations").fetchall()}
        for request_id, (method, name) in acked.items():
            if "operations/lifecycle-" in name and name not in known:
                self.wrong.append(f"{method} {request_id} was answered with {name}, which nobody knows")

    def _stores(self) -> None:
        """What the tables themselves say."""
        for service, questions in _EMPTY.items():
            with psycopg.connect(self._site.urls[service], autocommit=True) as connection:
                for what, question in questions:
                    rows = connection.execute(question.encode()).fetchall()
                    if rows:
                        self.wrong.append(f"{service}: {what}: {len(rows)}, such as {rows[0][0]}")
        self.wrong += [f"{lease.name} is still leased to {lease.owner.resource}" for lease in self._leases()]
        database: Database = open_database(self._site.urls["lifecycle"])
        try:
            if (due := database.read(next_due)) is None:
                self.wrong.append("no server is ever looked at again")
            elif due < time.time() * 1e6 - 60e6:
                self.wrong.append("a server is overdue by more than a minute")
        finally:
            database.close()

    def _witness(self) -> None:
        """What the rack saw."""
        networks = self._admin.pages(
            "network", "ListNetworks", network_pb2.ListNetworksRequest(parent="projects/-"), "networks"
        )
        tenants = network_pb2.PORT_CLASS_TENANT
        vlans = {one.vlan_id: one.name.split("/")[1] if one.network_class == tenants else "" for one in networks}
        rack = Rack(self._site.data.path / "rack.sqlite")
        try:
            images = {f"images/{project}": f"projects/{project}/any" for project in PROJECTS}
            # Of a server that was deleted the rack has forgotten which job wrote what.
            there = [one.server for one in statuses(self._admin)]
            seen = Account(rack, datetime.now(UTC), vlans, images, set(), {}).wrongs()
            self.wrong += [line for line in seen if any(server in line for server in there)]
        finally:
            rack.close()

    def _said(self) -> None:
        """Nothing that any replica logged as a defect."""
        for one in self._site.replicas:
            for line in one.log.read_text(errors="replace").splitlines():
                try:
                    level = json.loads(line).get("level", "")
                except ValueError:
                    level = "error" if "Traceback" in line else ""
                if level in ("error", "critical") or '"INTERNAL"' in line:
                    self.wrong.append(f"{one.name} logged {line[:3000]}")


def _line(leak: Any) -> str:
    return f"{audit_service_pb2.Leak.Kind.Name(leak.kind)} {leak.resource}"
