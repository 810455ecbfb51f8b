# SPDX-License-Identifier: Apache-2.0
"""lifecycle, put together over whatever it stands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from google.longrunning import operations_pb2_grpc

from bms.lifecycle.v1 import audit_service_pb2_grpc, lifecycle_service_pb2_grpc
from services.lifecycle.audit_servicer import AuditServicer
from services.lifecycle.audits.stores import StoreClients
from services.lifecycle.audits.sweep import Pause
from services.lifecycle.bmc import RememberedCredentials
from services.lifecycle.brakes import Brakes
from services.lifecycle.clients.inventory import InventoryClient
from services.lifecycle.clients.ipam import IpamClient
from services.lifecycle.clients.network import NetworkClient
from services.lifecycle.config_drive import config_drive
from services.lifecycle.domain.brake import Policy
from services.lifecycle.domain.instance import Instance
from services.lifecycle.follower import Follower
from services.lifecycle.judging.bench import Bench, Listener
from services.lifecycle.judging.hearing import Hearing
from services.lifecycle.judging.sentence import Sentence
from services.lifecycle.judging.sources import IpamLog
from services.lifecycle.judging.sources import own as own_log
from services.lifecycle.logins import Logins
from services.lifecycle.observing.watch import Watch
from services.lifecycle.operations.beginning import Beginnings
from services.lifecycle.operations.checks import Checks
from services.lifecycle.operations.instances import InstanceVerbs
from services.lifecycle.operations.servers import ServerVerbs
from services.lifecycle.pace import Pace
from services.lifecycle.patrol import Patrol
from services.lifecycle.placement import Placement
from services.lifecycle.ports import Hardware, Holds
from services.lifecycle.servicer import LifecycleServicer
from services.lifecycle.steps.table import steps
from services.lifecycle.store import Store
from services.lifecycle.wire import operation_row
from services.lifecycle.worker import Worker
from services.runtime.compose import Ground, Served
from services.runtime.eventlog import EventLog
from services.runtime.loop import Loop
from services.runtime.operations import OperationsServicer, OperationStore, operation_name
from services.runtime.outbound import Peer


@dataclass(frozen=True, slots=True)
class Walks:
    """How walks run.

    Attributes:
        run: runs a walk, now or when there is room.
        slots: how many at a time.
        pace: how quickly they look again.
    """

    run: Callable[[Callable[[], None]], None]
    slots: int
    pace: Pace


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What was built.

    Attributes:
        drain: what ends the calls that wait.
        working, following, judging, listening: the loops; none has begun.
        to_logs: the channels of those that follow other services' logs. Their calls wait for news, and end when these
            are closed.
        watching: what observes the controller; None: the hardware has none that others use.
    """

    log: EventLog
    servicers: tuple[Served, ...]
    drain: tuple[Callable[[], None], ...]
    working: Loop
    following: Loop
    judging: Loop
    listening: Loop
    to_logs: tuple[Peer, ...]
    watching: Watch | None = None


def compose(
    base: Ground,
    hardware_of: Callable[[RememberedCredentials], Hardware],
    walks: Walks,
    brake: Policy,
    pause: Pause,
    watch: Callable[[Store], Watch] | None = None,
    nova_trait: str = "",
    holds: Holds | None = None,
) -> Lifecycle:
    """Builds it; nothing runs yet.

    Args:
        hardware_of: the servers' hardware, given who knows the logins of their BMCs.
        brake: how far it goes by itself with servers in use.
        pause: lets time pass between the two looks of an audit.
        watch: what observes the controller that the hardware is worked by, given where servers are kept.
        nova_trait: flavors that ask for it are deployed by Nova; empty: none is.
        holds: whom the hardware's controller holds servers for; None: it holds none.
    """
    database, clock, ids = base.database, base.clock, base.ids
    log, operations = EventLog(database, ids, chained=True), OperationStore()
    loops: list[Loop] = []

    def wake() -> None:
        for loop in loops:
            loop.wake()

    store = Store(log, operations, operation_row, wake)
    inventory, to_logs = InventoryClient(base.peer("inventory")), (base.peer("inventory"), base.peer("ipam"))
    networks, addresses = NetworkClient(base.peer("network")), IpamClient(base.peer("ipam"))
    logins = Logins(inventory.of, clock)
    hardware = hardware_of(logins)

    def drive(instance: Instance) -> bytes:
        sealed = database.read(lambda tx: store.user_data(tx, instance.name))
        user_data = base.vault.open(sealed, f"{instance.name}/user_data") if sealed else b""
        server = database.read(lambda tx: store.server(tx, instance.server))
        grouped = any(port.port_group for port in server.ports)
        modes = dict(inventory.server(server.uuid).card.port_groups) if grouped else {}
        return config_drive(instance, user_data, server.ports, modes)

    beginnings = Beginnings(ids, lambda uuid, project: operation_name("lifecycle", uuid, project))
    brakes = Brakes(brake)
    worker = Worker(
        database,
        store,
        steps(hardware, inventory, networks, addresses, drive, walks.pace.patrol),
        Placement(database, store, inventory, clock, ids, nova_trait),
        Patrol(hardware, networks, ids.uuid, brakes),
        clock,
        ids,
        walks.pace,
        run=walks.run,
        slots=walks.slots,
        news=wake,
    )
    working = Loop("worker", worker.tick, clock)
    loops.append(working)
    follower = Follower(database, store, InventoryClient(to_logs[0]), clock, ids, logins.forget)
    servicer = LifecycleServicer(
        database,
        base.writer,
        store,
        ServerVerbs(beginnings),
        InstanceVerbs(beginnings, base.vault.seal),
        Checks(inventory, networks, addresses),
        log,
        base.page_tokens,
        brakes,
        walks.pace.budget,
        hardware,
        moves_ports=hardware.moves_ports,
    )
    judge = Bench((Hearing("lifecycle", partial(own_log, log), database),), Sentence(database, store, ids, brakes))
    listener = Listener(Hearing("ipam", IpamLog(to_logs[1]), database))
    auditor = AuditServicer.build(
        database,
        store,
        StoreClients(base.peer("inventory"), base.peer("ipam"), base.peer("network")),
        networks,
        addresses,
        base.writer,
        base.page_tokens,
        clock,
        pause,
        hardware,
        holds,
    )
    return Lifecycle(
        log,
        (
            (lifecycle_service_pb2_grpc.add_LifecycleServiceServicer_to_server, servicer),
            (audit_service_pb2_grpc.add_AuditServiceServicer_to_server, auditor),
            (
                operations_pb2_grpc.add_OperationsServicer_to_server,
                OperationsServicer(database, operations, base.page_tokens),
            ),
        ),
        (log.drain, operations.news.drain),
        working,
        Loop("follower", follower.tick, clock),
        Loop("judge", judge.tick, clock),
        Loop("listener", listener.tick, clock),
        to_logs,
        watch(store) if watch is not None else None,
    )
