# SPDX-License-Identifier: Apache-2.0
"""What administrators do: lay the ground, bring servers in, mend what is broken, and lead servers out of quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bms.inventory.v1 import catalogue_pb2, server_pb2
from bms.ipam.v1 import prefix_pb2
from bms.lifecycle.v1 import server_status_pb2
from bms.network.v1 import network_pb2
from services.simulated import control
from tests.simulation.people import Person, Refused
from tests.simulation.site import Site
from tests.site.furnish import import_file

_PRIVATE = {
    "provisioning": network_pb2.PORT_CLASS_PROVISIONING,
    "cleaning": network_pb2.PORT_CLASS_CLEANING,
    "rescue": network_pb2.PORT_CLASS_RESCUE,
}
_STATUS = server_status_pb2.ServerStatus


def lay_ground(admin: Person, projects: int, cool_down: int) -> None:
    """Private networks, a flavor, and two networks with a prefix for each project."""
    for name, kind in _PRIVATE.items():
        made = network_pb2.Network(network_class=kind)
        request = network_pb2.CreateNetworkRequest(parent="projects/site", network_id=name, network=made)
        admin.call("network", "CreateNetwork", request)
    flavor = catalogue_pb2.CreateFlavorRequest(flavor_id="any", flavor=catalogue_pb2.Flavor(min_cpus=1))
    admin.call("inventory", "CreateFlavor", flavor)
    for number in range(projects):
        for place, colour in enumerate(("blue", "green")):
            parent = f"projects/t{number}"
            admin.call("network", "CreateNetwork", network_pb2.CreateNetworkRequest(parent=parent, network_id=colour))
            prefix = prefix_pb2.Prefix(cidr=f"10.{number}.{place * 16}.0/20", network=f"{parent}/networks/{colour}")
            prefix.cool_down.FromSeconds(cool_down)
            admin.call(
                "ipam", "CreatePrefix", prefix_pb2.CreatePrefixRequest(parent=parent, prefix_id=colour, prefix=prefix)
            )


def bring_in(admin: Person, count: int) -> list[str]:
    """Imports servers; answers their names, once lifecycle has heard of them all."""
    names: list[str] = []
    for first in range(1, count + 1, 500):
        content = import_file(first, min(500, count + 1 - first))
        request = server_pb2.ImportServersRequest(content=content, format=server_pb2.IMPORT_FORMAT_JSON)
        names += [each.server for each in admin.call("inventory", "ImportServers", request).servers]
    while len(statuses(admin)) < count:
        admin.sim.sleep(1)
    return names


def provide(admin: Person, servers: Sequence[str]) -> None:
    """Asks for every server to be made available."""
    for server in servers:
        try:
            admin.call("lifecycle", "ProvideServer", server_status_pb2.ProvideServerRequest(name=server))
        except Refused as refused:
            # Our first answer was lost, or somebody has set it aside meanwhile.
            if refused.reason not in ("WRONG_STATE", "BUSY"):
                raise


def statuses(admin: Person, filter_: str = "") -> list[Any]:
    """Every server's status."""
    request = server_status_pb2.ListServerStatusesRequest(filter=filter_)
    return admin.pages("lifecycle", "ListServerStatuses", request, "statuses")


class Mender:
    """Looks after servers in quarantine: mends what is broken, and does what the diagnosis says."""

    def __init__(self, person: Person, site: Site) -> None:
        self._me = person
        self._site = site
        self.recovered = 0

    def watch(self, every: float) -> None:
        """Looks again and again."""
        while True:
            self._me.sim.sleep(every * (0.5 + self._me.chance.random()))
            self.round()

    def round(self, *, takes: bool = False) -> None:
        """One look at each server in quarantine.

        Args:
            takes: also from instances whose tenants did not delete them.
        """
        for status in statuses(self._me, "state = quarantined"):
            self._help(status.server, takes)

    def _help(self, server: str, takes: bool) -> None:
        me = self._me
        try:
            diagnosis = me.call("lifecycle", "DiagnoseServer", server_status_pb2.DiagnoseServerRequest(name=server))
        except Refused:
            return
        control.clear(self._site.rack, server=server.removeprefix("servers/"))
        if any(port.port_class != "quarantine" for port in diagnosis.status.ports):
            # All switches: the diagnosis names ports, not switches.
            for fault in control.list_faults(self._site.rack, me.sim.now()):
                if fault.kind.of_switch:
                    control.clear(self._site.rack, id=fault.id)
        take = any("--take-from-instance" in command for command in diagnosis.commands)
        if not any(command.startswith("bms server recover") for command in diagnosis.commands) or (take and not takes):
            return
        try:
            me.call(
                "lifecycle",
                "RecoverServer",
                server_status_pb2.RecoverServerRequest(name=server, take_from_instance=take),
            )
            self.recovered += 1
        except Refused as refused:
            if refused.reason not in ("WRONG_STATE", "BUSY"):
                raise


class Operator:
    """Sets servers aside now and then, and into maintenance for a while."""

    def __init__(self, person: Person, servers: Sequence[str]) -> None:
        self._me = person
        self._servers = servers

    def work(self, every: float) -> None:
        """Goes on until the weather clears."""
        me = self._me
        while True:
            me.sim.sleep(me.chance.expovariate(1 / every))
            if not me.site.weather.has("operator"):
                return
            server = me.chance.choice(self._servers)
            try:
                if me.chance.random() < 0.6:
                    request = server_status_pb2.QuarantineServerRequest(name=server, reason="rehearsal")
                    me.call("lifecycle", "QuarantineServer", request)
                else:
                    maintained = server_status_pb2.SetMaintenanceRequest(name=server, reason="rehearsal")
                    me.call("lifecycle", "SetMaintenance", maintained)
                    me.sim.sleep(me.chance.expovariate(1 / every))
                    me.call("lifecycle", "ClearMaintenance", server_status_pb2.ClearMaintenanceRequest(name=server))
            except Refused as refused:
                if refused.reason not in ("WRONG_STATE", "BUSY", "STALE"):
                    raise


def available(admin: Person) -> bool:
    """Whether every server is at rest in the pool."""
    return all(
        status.state == _STATUS.STATE_AVAILABLE
        and not (status.operation or status.maintenance or status.HasField("wait"))
        for status in statuses(admin)
    )
