# SPDX-License-Identifier: Apache-2.0
"""Servers as people think of them: inventory's record and lifecycle's state as one thing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from services.cli.failures import BadUsage, CliError
from services.cli.screen import age, as_dict, short, word
from services.cli.selector import Selector, Term, parse_selector, quote
from services.cli.session import PAGE, Session

if TYPE_CHECKING:
    from bms.inventory.v1.server_pb2 import Server
    from bms.lifecycle.v1.server_status_pb2 import ServerStatus

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_FEW = 8
"""Up to this many servers are asked about one by one; more are taken from the list of all."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One server. `status` is None until lifecycle has heard of it."""

    server: Server
    status: ServerStatus | None

    @property
    def name(self) -> str:
        """``servers/{uuid}``."""
        return self.server.name

    @property
    def label(self) -> str:
        """The name people use."""
        return self.server.display_name or short(self.server.name)

    @property
    def state(self) -> str:
        """``available``, ``quarantined`` ...; empty while lifecycle knows nothing."""
        from bms.lifecycle.v1.server_status_pb2 import ServerStatus

        return word(ServerStatus.State, self.status.state, "STATE_") if self.status else ""

    @property
    def power(self) -> str:
        """``on``, ``off``, ``unknown``; empty if it was never read."""
        from bms.lifecycle.v1.server_status_pb2 import ServerStatus

        return word(ServerStatus.Power, self.status.power, "POWER_") if self.status else ""

    @property
    def waits(self) -> str:
        """What it waits for and since when, or why it is set aside; empty if nothing holds it up."""
        if self.status is None:
            return ""
        if self.status.wait.code:
            return f"{self.status.wait.code} {age(self.status.wait.since)}".strip()
        return self.status.fault

    def as_data(self) -> dict[str, object]:
        """For programs: inventory's record, with lifecycle's below ``status``."""
        return {**as_dict(self.server), "status": as_dict(self.status) if self.status else None}

    def matches(self, term: Term) -> bool:
        """Whether *term* of a selector holds."""
        status = self.status
        found = {
            "state": self.state,
            "power": self.power,
            "instance": status.instance if status else "",
            "wait": status.wait.code if status else "",
            "fault": status.fault if status else "",
            "maintenance": str(bool(status and status.maintenance)).lower(),
            "isolated": str(bool(status and status.isolated)).lower(),
        }[term.field]
        same = found.lower() == term.value.lower() or (term.field == "instance" and short(found) == term.value)
        return same is not term.negated


def load(session: Session, selector: Selector, *, with_status: bool = True) -> list[Machine]:
    """All servers that *selector* selects, by the names people use."""
    from bms.inventory.v1.server_pb2 import ListServersRequest

    servers = session.pages(session.inventory.ListServers, ListServersRequest(filter=selector.inventory), "servers")
    machines = join(session, servers) if with_status or selector.status else [Machine(each, None) for each in servers]
    return [each for each in machines if all(each.matches(term) for term in selector.status)]


def join(session: Session, servers: Sequence[Server]) -> list[Machine]:
    """*servers* with their states."""
    import grpc

    from bms.lifecycle.v1.server_status_pb2 import GetServerStatusRequest, ListServerStatusesRequest

    statuses: dict[str, ServerStatus] = {}
    if 0 < len(servers) <= _FEW:
        for server in servers:
            try:
                found = session.lifecycle.GetServerStatus(GetServerStatusRequest(name=f"{server.name}/status"))
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                continue  # registered a moment ago: lifecycle has not heard of it yet
            statuses[server.name] = found
    elif servers:
        request = ListServerStatusesRequest(page_size=PAGE)
        for status in session.pages(session.lifecycle.ListServerStatuses, request, "statuses"):
            statuses[status.server] = status
    machines = [Machine(server, statuses.get(server.name)) for server in servers]
    return sorted(machines, key=lambda each: _natural(each.label))


def find(session: Session, name: str) -> Server:
    """The server called *name*: by UUID, resource name, or the name people use.

    Raises:
        CliError: there is none.
    """
    from bms.inventory.v1.server_pb2 import GetServerRequest, ListServersRequest

    if name.startswith("servers/") or _UUID.fullmatch(name):
        return session.inventory.GetServer(GetServerRequest(name=f"servers/{name.removeprefix('servers/').lower()}"))
    answer = session.inventory.ListServers(ListServersRequest(filter=f"display_name = {quote(name)}", page_size=2))
    if not answer.servers:
        raise CliError(
            f"there is no server {name!r}", reason="NOT_FOUND", remedy="`bms server list` shows what there is."
        )
    return answer.servers[0]


def targets(session: Session, names: Sequence[str], selector: str) -> list[Server]:
    """The servers that a verb is meant for: those named, or those selected.

    Raises:
        BadUsage: neither, or both.
        CliError: one does not exist, or none is selected.
    """
    if bool(names) == bool(selector):
        raise BadUsage("which servers?", remedy="Name them, or select them: --selector rack=R12,class=gold.")
    if names:
        return [find(session, name) for name in dict.fromkeys(names)]
    found = [each.server for each in load(session, parse_selector(selector), with_status=False)]
    if not found:
        raise CliError(
            f"no server has {selector}",
            reason="NOTHING_SELECTED",
            remedy="`bms server list -o wide` shows what there is.",
        )
    return found


def complete_server(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of servers that begin so, for the shell."""
    return complete("server", incomplete)


def complete(kind: str, incomplete: str) -> list[str]:
    """Names of a *kind* that begin so; none if the services do not answer at once, so that nobody is held up."""
    import os

    from services.cli.options import Given

    session = Session(Given(request_timeout=1.0), dict(os.environ))
    try:
        names = _names(session, kind)
    except Exception:  # noqa: BLE001 -- whatever it is, a shell that completes is no place to tell it
        return []
    finally:
        session.close()
    return [name for name in names if name.startswith(incomplete)]


def _names(session: Session, kind: str) -> list[str]:
    if kind == "server":
        return [each.label for each in load(session, Selector(), with_status=False)]
    if kind == "flavor":
        from bms.inventory.v1.catalogue_pb2 import ListFlavorsRequest

        return [short(each.name) for each in session.inventory.ListFlavors(ListFlavorsRequest(page_size=PAGE)).flavors]
    if kind == "image":
        from bms.inventory.v1.catalogue_pb2 import ListImagesRequest

        return [short(each.name) for each in session.inventory.ListImages(ListImagesRequest(page_size=PAGE)).images]
    from bms.lifecycle.v1.instance_pb2 import ListInstancesRequest

    request = ListInstancesRequest(parent=session.parent, page_size=PAGE)
    return [short(each.name) for each in session.lifecycle.ListInstances(request).instances]


def _natural(text: str) -> list[tuple[int, str]]:
    """Sorts r2 before r10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text) if part]
