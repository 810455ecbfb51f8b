# SPDX-License-Identifier: Apache-2.0
"""network as a process: ``python -m services.network``.

Its settings: services/runtime/settings.py, and settings.py here. Its fabric is that of the simulated rack,
``rack.sqlite`` in the data directory, a Neutron or a Contrail.
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
from services.network.backends.contrail import ContrailFabric
from services.network.backends.contrail_leftovers import ContrailLeftovers
from services.network.backends.contrail_mirror import ContrailMirror
from services.network.backends.contrail_networks import ContrailNetworks
from services.network.backends.neutron import NeutronFabric
from services.network.backends.neutron_leftovers import NeutronLeftovers
from services.network.backends.neutron_networks import NeutronNetworks
from services.network.backends.neutron_observed import ObservedNeutron
from services.network.backends.simulated import SimulatedFabric
from services.network.compose import compose
from services.network.domain.networks import PortClass
from services.network.ports import Controller, Fabric, Leftovers, Mirror
from services.network.settings import ContrailSettings, NeutronSettings
from services.network.settings import read as read_controller
from services.runtime.contrail_http import open_contrail
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
    settings: Settings, told: NeutronSettings | ContrailSettings | None, clock: Clock
) -> Iterator[tuple[Fabric, Controller | None, Mirror | None, Leftovers | None]]:
    if told is None:
        rack = Rack(settings.data.data_dir / "rack.sqlite")
        try:
            yield SimulatedFabric(rack, clock), None, None, None
        finally:
            rack.close()
        return
    groups = {
        port_class: ids
        for port_class in PortClass
        for ids in [told.private_groups if port_class.private else told.tenant_groups]
        if ids is not None and (port_class.private or port_class is PortClass.TENANT)
    }
    if isinstance(told, ContrailSettings):
        contrail = open_contrail(told.access, setting="BMS_NETWORK_CONTRAIL_CLOUD")
        fabric = ContrailFabric(contrail, clock, told.native_vlan, groups, told.dhcp_options)
        networks = ContrailNetworks(contrail, told.native_vlan, told.private_projects)
        yield fabric, networks, ContrailMirror(contrail), ContrailLeftovers(contrail)
        return
    api = open_neutron(told.cloud, told.seconds, setting="BMS_NETWORK_NEUTRON_CLOUD")
    flips = NeutronFabric(api, clock, groups, told.dhcp_options)
    moved = ObservedNeutron(api, flips) if told.observed else flips
    yield moved, NeutronNetworks(api, told.physical_network, told.private_projects), None, NeutronLeftovers(api)


def run(settings: Settings, controller: NeutronSettings | ContrailSettings | None) -> None:
    """Serves until told to stop."""
    base = lay(settings)
    try:
        with _backend(settings, controller, base.clock) as (fabric, networks, mirror, leftovers):
            parts = compose(base, fabric, networks, mirror, leftovers)
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
        run(Settings.read("network", os.environ), read_controller(os.environ))
    except BmsError as error:
        _log.critical("network.failed", reason=error.reason, error=str(error), remedy=error.remedy)
        sys.exit(1)


if __name__ == "__main__":
    main()
