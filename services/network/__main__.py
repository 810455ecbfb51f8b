# SPDX-License-Identifier: Apache-2.0
"""network as a process: ``python -m services.network``.

Its settings: services/runtime/settings.py, and settings.py here. Its fabric is that of the simulated rack,
``rack.sqlite`` in the data directory, or a Neutron.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from services.access import RULES
from services.kernel.clock import Clock
from services.kernel.errors import BmsError
from services.network.backends.neutron import NeutronFabric
from services.network.backends.neutron_networks import NeutronNetworks
from services.network.backends.neutron_observed import ObservedNeutron
from services.network.backends.simulated import SimulatedFabric
from services.network.compose import compose
from services.network.domain import PortClass
from services.network.ports import Controller, Fabric
from services.network.settings import NeutronSettings
from services.network.settings import read as read_neutron
from services.runtime.foundation import lay
from services.runtime.interceptors import interceptors
from services.runtime.neutron import open_neutron
from services.runtime.notary import Notary
from services.runtime.server import build_server, serve
from services.runtime.settings import Settings
from services.simulated.rack import Rack

_log = structlog.get_logger("bms.network")


@contextmanager
def _backend(
    settings: Settings, neutron: NeutronSettings | None, clock: Clock
) -> Iterator[tuple[Fabric, Controller | None]]:
    if neutron is None:
        rack = Rack(settings.data.data_dir / "rack.sqlite")
        try:
            yield SimulatedFabric(rack, clock), None
        finally:
            rack.close()
        return
    api = open_neutron(neutron.cloud, neutron.seconds, setting="BMS_NETWORK_NEUTRON_CLOUD")
    groups = {
        port_class: ids
        for port_class in PortClass
        for ids in [neutron.private_groups if port_class.private else neutron.tenant_groups]
        if ids is not None and (port_class.private or port_class is PortClass.TENANT)
    }
    networks = NeutronNetworks(api, neutron.physical_network, neutron.private_projects)
    flips = NeutronFabric(api, clock, groups, neutron.dhcp_options)
    yield ObservedNeutron(api, flips) if neutron.observed else flips, networks


def run(settings: Settings, neutron: NeutronSettings | None) -> None:
    """Serves until told to stop."""
    base = lay(settings)
    try:
        with _backend(settings, neutron, base.clock) as (fabric, controller):
            parts = compose(base, fabric, controller)
            notary = Notary(base, parts.log)
            bound = build_server(
                settings.server,
                [*parts.servicers, notary.served],
                interceptors(base.tokens, RULES, clock=base.clock, ids=base.ids, metrics=base.metrics),
                metrics=base.metrics,
            )
            parts.log.start_sealer()
            notary.start()
            try:
                serve(bound, drain=parts.drain)
            finally:
                notary.stop()
    finally:
        base.database.close()


def main() -> None:
    """The process's beginning: says in one line why it cannot begin."""
    try:
        run(Settings.read("network", os.environ), read_neutron(os.environ))
    except BmsError as error:
        _log.critical("network.failed", reason=error.reason, error=str(error), remedy=error.remedy)
        sys.exit(1)


if __name__ == "__main__":
    main()
