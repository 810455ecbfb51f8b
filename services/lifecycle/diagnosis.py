# SPDX-License-Identifier: Apache-2.0
"""Why a server does not move: what it is blocked on, since when, who must act, and the exact command."""

from __future__ import annotations

from datetime import datetime, timedelta

from bms.event.v1 import event_pb2
from bms.lifecycle.v1 import server_status_pb2
from services.kernel.names import INSTANCE, stable_uuid
from services.lifecycle import wire
from services.lifecycle.domain import remedies
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.lateness import sla_of
from services.lifecycle.domain.remedies import Budget
from services.lifecycle.domain.runbook import anchor, cure_text
from services.lifecycle.domain.server import Server
from services.lifecycle.domain.states import State
from services.lifecycle.domain.step import StepName
from services.lifecycle.domain.waits import BLOCKERS
from services.lifecycle.judging import docket
from services.lifecycle.operations.beginning import is_quarantining
from services.lifecycle.store import Store
from services.runtime.database import Transaction
from services.verifier.verdict import Verdict

CONTESTED = "ADDRESS_CONTESTED"
"""What is said of a server that nothing else is to be said of, while another has an address of it."""
_EFFECTS = 20
_FIRST = (
    *(StepName.DETACH_ALL, StepName.REGISTER_PORTS, StepName.CLOSE),
    *(StepName.CHANGE_LINKS, StepName.SETTLE_LINKS, StepName.RECABLE),
)


def diagnose(
    tx: Transaction, store: Store, uuid: str, now: datetime, budget: Budget
) -> server_status_pb2.DiagnoseServerResponse:
    """The diagnosis of a server as it stands."""
    server = store.server(tx, uuid)
    instance = store.find_instance(tx, server.instance)
    code, since = blocked_on(server, instance)
    answer = server_status_pb2.DiagnoseServerResponse(
        status=wire.status(server),
        blocked_on=code,
        since=wire.stamp(since),
        overdue_by=wire.span(server.overdue_by(now)),
        who_must_act="nobody",
        meaning="Nothing blocks it." if not code else "",
        last_effects=_effects(tx, server),
    )
    others = contested(tx, server)
    if others and not code:
        code = answer.blocked_on = CONTESTED
    blocker = BLOCKERS.get(code)
    if blocker is not None:
        limit = sla_of(server, code)
        late = now - (since + limit) if since is not None and limit is not None else None
        answer.MergeFrom(
            server_status_pb2.DiagnoseServerResponse(
                wait_limit=wire.span(limit),
                wait_overdue_by=wire.span(late) if late is not None and late > timedelta(0) else None,
                self_remedy=_self_remedy(server, budget),
                runbook=anchor(code),
            )
        )
        project, name = INSTANCE.parse(server.instance) if server.instance else ("", "")
        commands = blocker.commands
        if server.trouble is not None and server.trouble.code == code:
            # What repairs exactly this comes first.
            commands = (*server.trouble.commands, *(one for one in commands if one not in server.trouble.commands))
        answer.meaning, answer.who_must_act, answer.remedy = blocker.meaning, blocker.who, blocker.remedy
        if blocker.who == "nobody" and answer.HasField("wait_overdue_by"):
            # It should have passed by itself, and did not.
            answer.who_must_act = "administrator"
        answer.commands.extend(
            command.format(server=uuid, instance=name, project=project)
            for command in commands
            if _helps(command, server)
        )
        if server.trouble is not None and server.trouble.code != code:
            answer.meaning += f" Besides: {server.trouble.message}."
            also = (*server.trouble.commands, *BLOCKERS[server.trouble.code].commands)
            shown = [one.format(server=uuid, instance=name, project=project) for one in also if _helps(one, server)]
            answer.commands.extend(one for one in shown if one not in answer.commands)
        if server.state is State.QUARANTINED and server.intent is None and not server.isolated:
            answer.commands.append(f"bms server quarantine {uuid} --reason REASON")
    for stream, why in others:
        answer.meaning += f" {stream.rpartition('/')[2]}: {why}."
        answer.commands.append(f"bms event list --service ipam --stream {stream}")
    return answer


def contested(tx: Transaction, server: Server) -> list[tuple[str, str]]:
    """The streams of those of the server's addresses that another has as well, and what the verifier says of each."""
    found = []
    for lease in server.leases:
        stream = f"vrfs/{stable_uuid('vrf', lease.vrf)}/addresses/{lease.address}"
        last = docket.trial(tx, stream)
        if last is not None and last.verdict is Verdict.FAIL:
            found.append((stream, last.reason))
    return found


def _self_remedy(server: Server, budget: Budget) -> server_status_pb2.SelfRemedy | None:
    """What runs by itself against what *server* waits for; None if nothing does."""
    code = server.wait.code if server.wait is not None and server.intent is not None else ""
    cure = remedies.cure_for(server, code) if code else None
    if cure is None or not budget.of(cure):
        return None
    tried = remedies.tried(server, code)
    attempts = tried.attempts if tried else 0
    return server_status_pb2.SelfRemedy(
        description=cure_text(cure),
        attempts=attempts,
        budget=budget.of(cure),
        left=max(0, budget.of(cure) - attempts),
        last_time=wire.stamp(tried.last if tried else None),
        next_time=wire.stamp(remedies.next_try(server, budget)),
    )


def _helps(command: str, server: Server) -> bool:
    """Whether *command* is one for *server* as it stands."""
    if command.startswith("bms server recover"):
        # It leads out of quarantine alone, once every port was read there; a server that only waits goes on by itself.
        cutting = not server.isolated and (server.intent is None or is_quarantining(server))
        return server.state is State.QUARANTINED and not cutting
    _, _, network_class = command.partition(" --class ")
    return not network_class or server.wait is None or server.wait.reason.endswith(network_class)


def blocked_on(server: Server, instance: Instance | None) -> tuple[str, datetime | None]:
    """The code of what blocks *server*, and since when; "" if nothing does."""
    if server.wait is not None and server.state is not State.QUARANTINED:
        return server.wait.code, server.wait.since
    if server.state is State.QUARANTINED:
        if server.wait is not None and server.intent is not None and server.intent.step.name in _FIRST:
            # Before all else its ports are cut: nothing leads out until they were read. Nor out of a log being closed.
            return server.wait.code, server.wait.since
        if instance is not None and instance.state is InstanceState.ERROR:
            return "INSTANCE_FAILED", server.state_since
        code = server.fault or (server.wait.code if server.wait else "")
        # Nothing was wrong with it: administrators had it released by force. It stays until one leads it out.
        return code or ("BY_ADMINISTRATOR" if server.intent is None else ""), server.state_since
    if server.unmanaged:
        return "UNMANAGED", server.state_since
    if server.retired and not server.instance and server.intent is None:
        return "RETIRED", server.state_since
    if server.state is State.ENROLLED and server.intent is None:
        return "ENROLLED", server.state_since
    if server.maintenance:
        return "MAINTENANCE", server.state_since
    if server.trouble is not None:
        return server.trouble.code, server.trouble.since
    return "", None


def _effects(tx: Transaction, server: Server) -> list[server_status_pb2.PastEffect]:
    rows = tx.all(
        "SELECT header, body, sequence FROM events WHERE stream = ? ORDER BY sequence DESC LIMIT ?",
        (server.name, _EFFECTS),
    )
    effects = []
    for row in rows:
        header = event_pb2.EventHeader.FromString(bytes(row["header"]))
        body = event_pb2.EventBody.FromString(bytes(row["body"]))
        message = body.message or body.reason or _seen(body) or _told(body)
        effects.append(
            server_status_pb2.PastEffect(time=header.time, type=header.type, message=message, sequence=row["sequence"])
        )
    return effects


def _told(body: event_pb2.EventBody) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(body.facts.items()))


def _seen(body: event_pb2.EventBody) -> str:
    """What the evidence shows, in a few words."""
    seen = body.evidence
    parts = []
    if seen.HasField("power"):
        parts.append(f"power {seen.power.power}")
    parts += [
        f"{port.port.rpartition('/')[2]} {port.port_class}"
        + "".join(f" {name.rpartition('/')[2]}" for name in port.networks)
        for port in seen.ports
    ]
    if seen.disks:
        parts.append(f"{len(seen.disks)} disks")
    if seen.HasField("image"):
        parts.append(seen.image.image)
    parts += [f"{address.address} {address.state}" for address in seen.addresses]
    return ", ".join(parts)
