# SPDX-License-Identifier: Apache-2.0
# The verbs that no test calls are left to the generated class, which refuses them.
# mypy: disable-error-code="abstract"
"""`bms audit leaks`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from bms.lifecycle.v1 import audit_service_pb2, audit_service_pb2_grpc
from bms.lifecycle.v1.audit_service_pb2 import Leak
from services.cli.supervise.plan import SERVICES
from services.kernel.errors import BmsError, PeerUnavailable, WrongState
from tests.cli.conftest import Shell
from tests.cli.fakes.answers import refuse

LEASE = "projects/demo/leases/00000001-0000-4000-8000-000000000000"
PORT = "servers/00000001-0000-4000-8000-000000000000/ports/0c0000000001"


class Audits(audit_service_pb2_grpc.AuditServiceServicer):
    """What leaked: a leak a part; repaired ones are gone."""

    def __init__(self) -> None:
        self.leaks: dict[str, Leak] = {}
        self.audited: list[audit_service_pb2.AuditLeaksRequest] = []
        self.repaired: list[audit_service_pb2.RepairLeakRequest] = []
        self.refusal: BmsError | None = None
        self.away = ""

    def AuditLeaks(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the contract's name
        self.audited.append(request)
        parts = [*self.leaks.values(), None]
        place = int(request.page_token or 0)
        leak, following = parts[place], place + 1
        if self.away and leak is None:
            refuse(context, PeerUnavailable(self.away, peer="ironic"))
        return audit_service_pb2.AuditLeaksResponse(
            leaks=[leak] if leak else [],
            book="leases",
            examined_count=3,
            next_page_token=str(following) if following < len(parts) else "",
        )

    def RepairLeak(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the contract's name
        self.repaired.append(request)
        if self.refusal is not None:
            refuse(context, self.refusal)
        leak = self.leaks[request.resource]
        if not request.validate_only:
            del self.leaks[request.resource]
        return audit_service_pb2.RepairLeakResponse(leak=leak, done="it rests")


@pytest.fixture
def audits() -> Audits:
    return Audits()


@pytest.fixture
def bms(offline: Shell, audits: Audits) -> Iterator[Shell]:
    """A shell with the audits behind it."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    audit_service_pb2_grpc.add_AuditServiceServicer_to_server(audits, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    offline.data.write_endpoints(dict.fromkeys(SERVICES, f"127.0.0.1:{port}"))
    yield offline
    server.stop(0).wait()


@pytest.fixture
def leaking(audits: Audits) -> Audits:
    """Two leaks, one of which may be repaired."""
    audits.leaks[LEASE] = Leak(
        kind=Leak.KIND_LEASE_OF_ENDED_OWNER, resource=LEASE, why="it ended", remedy="Repair it.",
        commands=["bms audit leaks --repair"], repairable=True, etag='"a"',
    )  # fmt: skip
    audits.leaks[PORT] = Leak(
        kind=Leak.KIND_PORT_NOT_IN_QUARANTINE, resource=PORT, why="it is tenant", remedy="Set it aside.",
        commands=["bms server quarantine x"],
    )  # fmt: skip
    return audits


def test_no_leaks(bms: Shell) -> None:
    """
    Nothing found is said, and the exit code is 0.
    """
    said = bms("audit leaks")

    assert (said.code, said.out) == (0, "")
    assert "No leaks" in said.err
    assert json.loads(bms("audit", "leaks", "-o", "json").out) == []


def test_leaks_of_all_parts_are_told(bms: Shell, leaking: Audits) -> None:
    """
    Each with its kind, both sides and what to do; exit code 1.
    """
    said = bms("audit leaks --settle 3")

    assert said.code == 1
    kinds = [line.split()[0] for line in said.out.splitlines()]
    assert kinds == ["KIND", "lease_of_ended_owner", "port_not_in_quarantine"]
    assert "bms server quarantine x" in said.err
    assert [request.settle.seconds for request in leaking.audited] == [3, 3, 3]
    found = json.loads(bms("audit", "leaks", "-o", "json", "--book", "ports").out)
    assert {request.book for request in leaking.audited[3:]} == {"ports"}
    assert [one["resource"] for one in found] == [LEASE, PORT]


def test_what_may_be_repaired_is(bms: Shell, leaking: Audits) -> None:
    """
    Those that may be, after asking; the others stay, and so does the exit code.
    """
    said = bms("audit leaks --repair --yes")

    assert said.code == 1
    assert list(leaking.leaks) == [PORT]
    (request,) = leaking.repaired
    assert (request.resource, request.etag, bool(request.request_id)) == (LEASE, '"a"', True)
    outcomes = [line.split()[2] for line in said.out.splitlines()]
    assert outcomes == ["OUTCOME", "repaired", "left"]
    del leaking.leaks[PORT]
    assert bms("audit leaks").code == 0


def test_nothing_is_repaired_unasked(bms: Shell, leaking: Audits) -> None:
    """
    Without anybody to ask, and without --yes, nothing is done; rehearsed, all is checked.
    """
    assert bms("audit leaks --repair").code == 2
    assert not leaking.repaired
    said = bms("audit leaks --repair --dry-run")
    assert "would be repaired" in said.out
    assert set(leaking.leaks) == {LEASE, PORT}


def test_a_repair_that_is_refused_says_why(bms: Shell, leaking: Audits) -> None:
    """
    One refusal ends nothing; it stands in its row.
    """
    leaking.refusal = WrongState("its port is on the network", subject=LEASE)

    said = bms("audit leaks --repair --yes")

    assert said.code == 1
    assert "its port is on the network" in said.out


def test_two_leaks_of_one_server_are_repaired_in_one_go(bms: Shell, leaking: Audits) -> None:
    """
    The first repair is an event of the server; the second is not held to how the server stood before.
    """
    server = PORT.partition("/ports/")[0]
    leaking.leaks[LEASE].server = server
    del leaking.leaks[PORT]
    leaking.leaks[server] = Leak(
        kind=Leak.KIND_RESERVATION_OF_NOBODY, resource=server, server=server, repairable=True, etag='"b"'
    )

    assert bms("audit leaks --repair --yes").code == 0
    assert [request.etag for request in leaking.repaired] == ['"a"', ""]


@pytest.mark.parametrize("options", ["", "--repair --yes"], ids=["audit", "repair"])
def test_what_could_not_be_looked_at_is_said(bms: Shell, leaking: Audits, options: str) -> None:
    """
    What was found before a controller kept silent is told, or repaired, and it is an error, not a clean bill.
    """
    leaking.away = "Ironic does not answer"

    said = bms(f"audit leaks {options}")

    assert said.code not in (0, 1)
    assert LEASE in said.out
    assert "Ironic does not answer" in said.err
    assert [each.resource for each in leaking.repaired] == ([LEASE] if options else [])
    leaking.leaks.clear()
    said = bms(f"audit leaks {options}")
    assert said.code not in (0, 1)
    assert "No leaks" not in said.out + said.err
