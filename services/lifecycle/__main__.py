# SPDX-License-Identifier: Apache-2.0
"""lifecycle as a process: ``python -m services.lifecycle``.

Its settings: services/runtime/settings.py, and settings.py here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

import structlog
from google.longrunning import operations_pb2_grpc

from bms.lifecycle.v1 import audit_service_pb2_grpc, lifecycle_service_pb2_grpc
from services.access import RULES
from services.kernel.errors import BmsError
from services.lifecycle.audit_servicer import AuditServicer
from services.lifecycle.audits.stores import StoreClients
from services.lifecycle.audits.sweep import Settling
from services.lifecycle.backends.simulated import SimulatedHardware
from services.lifecycle.brakes import Brakes
from services.lifecycle.clients import InventoryClient, IpamClient, NetworkClient
from services.lifecycle.config_drive import config_drive
from services.lifecycle.domain.instance import Instance
from services.lifecycle.follower import Follower
from services.lifecycle.judging.bench import Bench
from services.lifecycle.judging.hearing import Hearing
from services.lifecycle.judging.sentence import Sentence
from services.lifecycle.judging.sources import IpamLog
from services.lifecycle.judging.sources import own as own_log
from services.lifecycle.loop import Loop, Pool
from services.lifecycle.operations.beginning import Beginnings
from services.lifecycle.operations.checks import Checks
from services.lifecycle.operations.instances import InstanceVerbs
from services.lifecycle.operations.servers import ServerVerbs
from services.lifecycle.patrol import Patrol
from services.lifecycle.placement import Placement
from services.lifecycle.ports import Credentials, Hardware
from services.lifecycle.servicer import LifecycleServicer
from services.lifecycle.settings import LifecycleSettings
from services.lifecycle.steps.table import steps
from services.lifecycle.store import Store
from services.lifecycle.wire import operation_row
from services.lifecycle.worker import Worker
from services.runtime.eventlog import EventLog
from services.runtime.foundation import Foundation, lay
from services.runtime.interceptors import interceptors
from services.runtime.notary import Notary
from services.runtime.operations import OperationsServicer, OperationStore, operation_name
from services.runtime.server import build_server, serve
from services.runtime.settings import Settings
from services.simulated.rack import Rack

_log = structlog.get_logger("bms.lifecycle")


def run(settings: Settings, own: LifecycleSettings) -> None:
    """Serves until told to stop."""
    base = lay(settings)
    try:
        _run(base, own)
    finally:
        base.database.close()


def _run(base: Foundation, own: LifecycleSettings) -> None:
    settings, database = base.settings, base.database
    log = EventLog(database, base.ids, chained=True)
    notary = Notary(base, log)
    operations = OperationStore()
    wakes: list[Loop] = []

    def wake() -> None:
        for loop in wakes:
            loop.wake()

    store = Store(log, operations, operation_row, wake)
    inventory = InventoryClient(base.peer("inventory"))
    # A channel of its own, closed first at the end: its call waits for news.
    to_log = base.peer("inventory")
    networks, addresses = NetworkClient(base.peer("network")), IpamClient(base.peer("ipam"))
    hardware, close_hardware = _hardware(base, own, inventory)

    def drive(instance: Instance) -> bytes:
        sealed = database.read(lambda tx: store.user_data(tx, instance.name))
        user_data = base.vault.open(sealed, f"{instance.name}/user_data") if sealed else b""
        return config_drive(instance, user_data)

    beginnings = Beginnings(base.ids, lambda uuid, project: operation_name("lifecycle", uuid, project))
    pool, brakes = Pool(own.workers), Brakes(own.brake)
    worker = Worker(
        database,
        store,
        steps(hardware, inventory, networks, addresses, drive),
        Placement(database, store, inventory, base.clock, base.ids),
        Patrol(hardware, networks, base.ids.uuid, brakes),
        base.clock,
        base.ids,
        own.pace,
        run=pool.run,
        slots=own.workers,
        news=wake,
    )
    working = Loop("worker", worker.tick, base.clock)
    wakes.append(working)
    following = Loop(
        "follower", Follower(database, store, InventoryClient(to_log), base.clock, base.ids).tick, base.clock
    )
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
        own.pace.budget,
    )
    judge = Bench(
        (
            Hearing("lifecycle", partial(own_log, log), database),
            Hearing("ipam", IpamLog(base.peer("ipam")), database),
        ),
        Sentence(database, store, base.ids, brakes),
    )
    judging = Loop("judge", judge.tick, base.clock)
    settling = Settling()
    auditor = AuditServicer.build(
        database,
        store,
        StoreClients(base.peer("inventory"), base.peer("ipam"), base.peer("network")),
        networks,
        addresses,
        base.writer,
        base.page_tokens,
        base.clock,
        settling.pause,
    )
    bound = build_server(
        settings.server,
        [
            (lifecycle_service_pb2_grpc.add_LifecycleServiceServicer_to_server, servicer),
            (audit_service_pb2_grpc.add_AuditServiceServicer_to_server, auditor),
            (
                operations_pb2_grpc.add_OperationsServicer_to_server,
                OperationsServicer(database, operations, base.page_tokens),
            ),
            notary.served,
        ],
        interceptors(base.tokens, RULES, clock=base.clock, ids=base.ids, metrics=base.metrics),
        metrics=base.metrics,
    )
    log.start_sealer()
    notary.start()
    working.start()
    following.start()
    judging.start()
    try:
        serve(bound, drain=(log.drain, operations.news.drain, settling.drain))
    finally:
        to_log.close()
        following.stop()
        judging.stop()
        working.stop()
        pool.stop()
        # Now that nobody writes any more: everything committed is covered by a checkpoint.
        notary.stop()
        close_hardware()


def _hardware(
    base: Foundation, own: LifecycleSettings, credentials: Credentials
) -> tuple[Hardware, Callable[[], None]]:
    """The backend that the settings name, and how it is closed."""
    if own.backend == "ironic":
        from services.lifecycle.backends.ironic import IronicHardware
        from services.lifecycle.backends.ironic_api import IronicApi

        api = IronicApi(cloud=own.ironic.cloud, endpoint=own.ironic.endpoint)
        return IronicHardware(api, credentials, base.clock, redfish_ca=own.ironic.redfish_ca), lambda: None
    rack = Rack(base.settings.data.data_dir / "rack.sqlite")
    return SimulatedHardware(rack, credentials, base.clock), rack.close


def main() -> None:
    """The process's beginning: says in one line why it cannot begin."""
    try:
        run(Settings.read("lifecycle", os.environ), LifecycleSettings.read(os.environ))
    except BmsError as error:
        _log.critical("lifecycle.failed", reason=error.reason, error=str(error), remedy=error.remedy)
        sys.exit(1)


if __name__ == "__main__":
    main()
