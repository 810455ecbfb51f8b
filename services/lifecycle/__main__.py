# SPDX-License-Identifier: Apache-2.0
"""lifecycle as a process: ``python -m services.lifecycle``.

Its settings: services/runtime/settings.py, and settings.py here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import structlog

from services.access import RULES
from services.kernel.errors import BmsError
from services.lifecycle.audits.sweep import Settling
from services.lifecycle.backends.simulated import SimulatedHardware
from services.lifecycle.bmc import RememberedCredentials
from services.lifecycle.compose import Walks, compose
from services.lifecycle.observing.watch import Watch, watch
from services.lifecycle.ports import Hardware, Holds
from services.lifecycle.settings import LifecycleSettings
from services.lifecycle.store import Store
from services.runtime.foundation import Foundation, lay
from services.runtime.interceptors import interceptors
from services.runtime.loop import Pool
from services.runtime.notary import Notary
from services.runtime.server import build_server, serve
from services.runtime.settings import Settings
from services.simulated.rack import Rack

if TYPE_CHECKING:
    from services.lifecycle.backends.ironic_api import IronicApi
    from services.lifecycle.backends.neutron_ports import Ports
    from services.lifecycle.backends.nova_servers import NovaServers

_log = structlog.get_logger("bms.lifecycle")


def run(settings: Settings, own: LifecycleSettings) -> None:
    """Serves until told to stop."""
    base = lay(settings)
    try:
        _run(base, own)
    finally:
        base.database.close()


def _run(base: Foundation, own: LifecycleSettings) -> None:
    hardware_of, close_hardware, observing, holds = _hardware(base, own)
    pool, settling = Pool(own.workers), Settling()
    walks, trait = Walks(pool.run, own.workers, own.pace), own.nova.trait if own.nova.cloud else ""
    parts = compose(base, hardware_of, walks, own.brake, settling.pause, observing, trait, holds)
    notary = Notary(base, parts.log)
    bound = build_server(
        base.settings.server,
        [*parts.servicers, notary.served],
        interceptors(base.tokens, RULES, clock=base.clock, ids=base.ids, metrics=base.metrics),
        metrics=base.metrics,
    )
    parts.log.start_sealer()
    notary.start()
    parts.working.start()
    parts.following.start()
    parts.judging.start()
    parts.listening.start()
    if parts.watching is not None:
        parts.watching.start()
    try:
        serve(bound, drain=(*parts.drain, settling.drain))
    finally:
        # First of all: their calls wait for news.
        for peer in parts.to_logs:
            peer.close()
        if parts.watching is not None:
            parts.watching.stop()
        parts.following.stop()
        parts.listening.stop()
        parts.judging.stop()
        parts.working.stop()
        pool.stop()
        # Now that nobody writes any more: everything committed is covered by a checkpoint.
        notary.stop()
        close_hardware()


def _hardware(
    base: Foundation, own: LifecycleSettings
) -> tuple[
    Callable[[RememberedCredentials], Hardware], Callable[[], None], Callable[[Store], Watch] | None, Holds | None
]:
    """The settings' backend, once somebody knows its logins; how it is closed, what observes it, and its holds."""
    if own.backend == "ironic":
        from services.lifecycle.backends.ironic import IronicHardware
        from services.lifecycle.backends.ironic_api import IronicApi
        from services.lifecycle.backends.ironic_held import IronicHolds
        from services.lifecycle.backends.ironic_listing import IronicNodes

        api = IronicApi(cloud=own.ironic.cloud, endpoint=own.ironic.endpoint)
        ca, nodes, nova, vifs = own.ironic.redfish_ca, IronicNodes(api, base.clock), _nova(own), _vifs(own)
        return (
            _through_nova(base, own, api, nova)
            if nova is not None
            else lambda known: IronicHardware(api, known, base.clock, redfish_ca=ca, vifs=vifs),
            lambda: None,
            lambda store: watch(base.database, store, nodes, base.clock, own.observing, nova),
            IronicHolds(api),
        )
    rack = Rack(base.settings.data.data_dir / "rack.sqlite")
    return lambda credentials: SimulatedHardware(rack, credentials, base.clock), rack.close, None, None


def _nova(own: LifecycleSettings) -> NovaServers | None:
    """The Nova that the settings name; None if they name none."""
    if not own.nova.cloud:
        return None
    from services.lifecycle.backends.nova_cloud import nova_servers

    return nova_servers(own.nova.cloud)


def _through_nova(
    base: Foundation, own: LifecycleSettings, api: IronicApi, nova: NovaServers
) -> Callable[[RememberedCredentials], Hardware]:
    """The hardware where Nova deploys some of the servers."""
    from services.lifecycle.backends.nova import NovaHardware
    from services.lifecycle.backends.nova_cloud import SETTING

    ports = _ports(own.nova.cloud, SETTING)
    trait, ca, moves = own.nova.trait, own.ironic.redfish_ca, bool(own.neutron_cloud)
    return lambda known: NovaHardware(
        api, known, base.clock, nova, ports, trait=trait, redfish_ca=ca, moves_ports=moves
    )


def _vifs(own: LifecycleSettings) -> Ports | None:
    """The ports of leases, where Ironic moves ports; None where we do."""
    return _ports(own.neutron_cloud, "BMS_LIFECYCLE_NEUTRON_CLOUD") if own.neutron_cloud else None


def _ports(cloud: str, setting: str) -> Ports:
    from services.lifecycle.backends.neutron_ports import NeutronPorts
    from services.runtime.neutron import open_neutron

    return NeutronPorts(cache(lambda: open_neutron(cloud, setting=setting)))


def main() -> None:
    """The process's beginning: says in one line why it cannot begin."""
    try:
        run(Settings.read("lifecycle", os.environ), LifecycleSettings.read(os.environ))
    except BmsError as error:
        _log.critical("lifecycle.failed", reason=error.reason, error=str(error), remedy=error.remedy)
        sys.exit(1)


if __name__ == "__main__":
    main()
