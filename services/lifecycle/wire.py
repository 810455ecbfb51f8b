# SPDX-License-Identifier: Apache-2.0
"""bms.lifecycle.v1 to and from the domain, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from bms.lifecycle.v1 import instance_pb2, operation_pb2, server_status_pb2
from services.kernel.names import INSTANCE, SERVER_STATUS
from services.lifecycle.domain.instance import Instance, InstanceState, NetworkWish
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.plans import plan_of
from services.lifecycle.domain.progress import OF_SERVERS, Progress
from services.lifecycle.domain.server import Port, Power, Server, Wait
from services.lifecycle.domain.states import LIMITS, State
from services.runtime.etags import etag
from services.runtime.operations import OperationRow
from services.runtime.status import to_status

STATES = {state: server_status_pb2.ServerStatus.State.Value(f"STATE_{state.name}") for state in State}
"""Every state has its number in the contract; a test holds both to each other."""

_POWERS = {
    Power.NEVER: server_status_pb2.ServerStatus.POWER_UNSPECIFIED,
    Power.ON: server_status_pb2.ServerStatus.POWER_ON,
    Power.OFF: server_status_pb2.ServerStatus.POWER_OFF,
    Power.UNKNOWN: server_status_pb2.ServerStatus.POWER_UNKNOWN,
}
_INSTANCE_STATES = {state: instance_pb2.Instance.State.Value(f"STATE_{state.name}") for state in InstanceState}


def stamp(moment: datetime | None) -> Timestamp | None:
    """*moment* as a Timestamp; None stays None, which leaves a field absent."""
    if moment is None:
        return None
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def span(length: timedelta | None) -> Duration | None:
    """*length* as a Duration; None stays None."""
    if length is None:
        return None
    made = Duration()
    made.FromTimedelta(length)
    return made


def status(server: Server) -> server_status_pb2.ServerStatus:
    """Where a server is in its life."""
    return server_status_pb2.ServerStatus(
        name=SERVER_STATUS.format(server.uuid),
        server=server.name,
        display_name=server.display_name,
        state=STATES[server.state],
        state_since=stamp(server.state_since),
        state_limit=span(LIMITS.get(server.state)),
        power=_POWERS[server.power],
        power_time=stamp(server.power_time),
        instance=server.instance,
        operation=server.intent.operation if server.intent else "",
        wait=wait(server.wait),
        ports=[_port(port) for port in server.ports],
        isolated=server.isolated,
        maintenance=server.maintenance,
        maintenance_reason=server.maintenance_reason,
        fault=server.fault,
        fault_message=server.fault_message,
        state_version=server.version,
        unmanaged=server.unmanaged,
        clean_time=stamp(server.clean_time),
        disk_count=len(server.disks),
        etag=etag(server.version),
        tainted_since=stamp(server.tainted_since),
        tainted_by=server.tainted_by,
        retired=server.retired,
        retired_reason=server.retired_reason,
    )


def wait(found: Wait | None) -> server_status_pb2.Wait | None:
    """What a server waits for; None if it does not."""
    if found is None:
        return None
    return server_status_pb2.Wait(
        code=found.code,
        reason=found.reason,
        since=stamp(found.since),
        next_try=stamp(found.next_try),
        deadline=stamp(found.deadline),
    )


def _port(port: Port) -> server_status_pb2.PortState:
    return server_status_pb2.PortState(
        port=port.name,
        port_class=port.observed.value,
        requested_class=port.requested.value if port.requested else "",
        networks=[tag.network for tag in port.networks],
        read_time=stamp(port.read_time),
    )


def instance(found: Instance) -> instance_pb2.Instance:
    """An instance, without its user data."""
    return instance_pb2.Instance(
        name=found.name,
        flavor=found.flavor,
        image=found.image,
        networks=[
            instance_pb2.InstanceNetwork(
                network=wish.network, fixed_addresses=wish.fixed_addresses, vlan_tag=wish.vlan_tag
            )
            for wish in found.networks
        ],
        hostname=found.hostname,
        ssh_public_keys=found.ssh_public_keys,
        labels=found.labels,
        state=_INSTANCE_STATES[found.state],
        server=f"servers/{found.server}" if found.server else "",
        interfaces=[
            instance_pb2.InstanceInterface(
                network=face.network,
                port=face.port,
                mac_address=face.mac_address,
                vlan_tag=face.vlan_tag,
                address=face.address,
                prefix_length=face.prefix_length,
                gateway=face.gateway,
                lease=face.lease,
                connected=face.connected,
            )
            for face in found.interfaces
        ],
        login_address=found.login_address,
        error=found.error,
        operation=found.operation,
        create_time=stamp(found.create_time),
        update_time=stamp(found.update_time),
        etag=etag(found.version),
        site_note=found.site_note,
        protected=found.protected,
        protected_reason=found.protected_reason,
    )


def wanted_instance(
    request: instance_pb2.CreateInstanceRequest | instance_pb2.AdoptServerRequest, project: str, now: datetime
) -> Instance:
    """The instance that is asked for."""
    asked = request.instance
    return Instance(
        name=INSTANCE.format(project, request.instance_id),
        project=project,
        flavor=asked.flavor,
        image=asked.image,
        networks=tuple(wish(network) for network in asked.networks),
        create_time=now,
        update_time=now,
        hostname=asked.hostname or request.instance_id.replace(".", "-").replace("_", "-"),
        ssh_public_keys=tuple(asked.ssh_public_keys),
        labels=dict(asked.labels),
    )


def wish(network: instance_pb2.InstanceNetwork) -> NetworkWish:
    """A network an instance shall be on."""
    return NetworkWish(network.network, tuple(network.fixed_addresses), network.vlan_tag)


def metadata(progress: Progress) -> operation_pb2.OperationMetadata:
    """How an operation stands."""
    intent, server = progress.intent, progress.server
    planning = not progress.name
    shown = operation_pb2.OperationMetadata(
        verb=progress.kind.verb,
        target=progress.target,
        server=server.name if server else "",
        actor=progress.actor,
        create_time=stamp(progress.create_time),
        end_time=stamp(progress.end_time),
        wait=wait(progress.wait),
        warnings=progress.warnings,
        login_address=progress.login_address,
        plan=_plan(progress),
    )
    if planning:
        return shown
    if progress.done:
        # Of one that failed: how far it had come.
        shown.percent = (intent.percent if intent else 0) if progress.error else 100
        shown.stage = intent.step.name.value if intent and progress.error else ""
    elif intent is not None:
        shown.stage = intent.step.name.value
        shown.percent = intent.percent
        shown.stage_since.FromDatetime(intent.step_since)
        if intent.step.limit is not None:
            shown.stage_limit.FromTimedelta(intent.step.limit)
    else:
        shown.stage = "find_server" if progress.kind not in OF_SERVERS else ""
    return shown


def _plan(progress: Progress) -> tuple[operation_pb2.PlanStep, ...]:
    kind = progress.intent.kind if progress.intent else progress.kind
    disks = tuple(disk.serial for disk in progress.server.disks) if progress.server else ()
    done = progress.intent.index if progress.intent else 0
    return _steps(kind, disks, done, progress.done and progress.error is None)


@lru_cache(maxsize=1024)
def _steps(kind: IntentKind, disks: tuple[str, ...], done: int, finished: bool) -> tuple[operation_pb2.PlanStep, ...]:
    """The steps of a plan; made once, since an operation is written at every step and look. Nobody changes them."""
    return tuple(
        operation_pb2.PlanStep(
            step=step.name.value,
            description=step.description,
            limit=span(step.limit),
            erases=step.erases,
            disks=disks if step.erases else [],
            done=finished or index < done,
        )
        for index, step in enumerate(plan_of(kind))
    )


def operation_row(progress: Progress, now: datetime) -> OperationRow:
    """An operation as it is stored: metadata, and, when it is done, what it leaves or why it failed."""
    packed = AnyMessage()
    packed.Pack(metadata(progress))
    response: bytes | None = None
    if progress.done and progress.error is None:
        answer: Message = Empty()
        if isinstance(progress.answer, Instance):
            answer = instance(progress.answer)
        elif isinstance(progress.answer, Server):
            answer = status(progress.answer)
        holder = AnyMessage()
        holder.Pack(answer)
        response = holder.SerializeToString()
    return OperationRow(
        name=progress.name,
        project="" if progress.kind in OF_SERVERS else INSTANCE.parse(progress.target)[0],
        subject=progress.target,
        done=progress.done,
        metadata=packed.SerializeToString(),
        response=response,
        error=to_status(progress.error).SerializeToString() if progress.error else None,
        create_time=progress.create_time,
        update_time=now,
    )


def statuses(servers: Sequence[Server]) -> list[server_status_pb2.ServerStatus]:
    """Where servers are in their lives."""
    return [status(server) for server in servers]
