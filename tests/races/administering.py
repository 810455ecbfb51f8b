# SPDX-License-Identifier: Apache-2.0
"""Administrators: they lay the ground, bring servers in and take them out, set them aside, and lead them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bms.inventory.v1 import catalogue_pb2, server_pb2
from bms.ipam.v1 import prefix_pb2
from bms.lifecycle.v1 import server_status_pb2
from bms.network.v1 import network_pb2
from tests.races.calling import Caller, Refused
from tests.site.furnish import import_file

SERVERS = 5
_COMING = 2
"""How many more come and go."""
_COOL_DOWN = 1
_SUM = "sha256:" + "5f" * 32
_PRIVATE = {
    "provisioning": network_pb2.PORT_CLASS_PROVISIONING,
    "cleaning": network_pb2.PORT_CLASS_CLEANING,
    "rescue": network_pb2.PORT_CLASS_RESCUE,
}
_PREFIXES = {"blue": "10.{}.0.0/24", "green": "10.{}.16.0/24"}


def lay_ground(admin: Caller, projects: tuple[str, ...]) -> None:
    """Private networks, a flavor, an image and two networks of each project; and the small prefix of the first."""
    for name, kind in _PRIVATE.items():
        _network(admin, "site", name, kind)
    flavor = catalogue_pb2.CreateFlavorRequest(flavor_id="any", flavor=catalogue_pb2.Flavor(min_cpus=1))
    admin.call("inventory", "CreateFlavor", flavor)
    for number, project in enumerate(projects):
        image = catalogue_pb2.Image(
            source_uri="https://images.example.org/any.raw",
            checksum=_SUM,
            visibility=catalogue_pb2.Image.VISIBILITY_PUBLIC,
        )
        admin.call("inventory", "CreateImage", catalogue_pb2.CreateImageRequest(image_id=project, image=image))
        for colour, cidr in _PREFIXES.items():
            _network(admin, project, colour)
            _prefix(admin, project, colour, cidr.format(number + 1))
    _network(admin, projects[0], "small")
    _prefix(admin, projects[0], "small", "10.99.0.0/28")


def _network(admin: Caller, project: str, name: str, kind: Any = network_pb2.PORT_CLASS_TENANT) -> None:
    request = network_pb2.CreateNetworkRequest(
        parent=f"projects/{project}", network_id=name, network=network_pb2.Network(network_class=kind)
    )
    admin.call("network", "CreateNetwork", request)


def _prefix(admin: Caller, project: str, colour: str, cidr: str) -> None:
    prefix = prefix_pb2.Prefix(cidr=cidr, network=f"projects/{project}/networks/{colour}")
    prefix.cool_down.FromSeconds(_COOL_DOWN)
    request = prefix_pb2.CreatePrefixRequest(parent=f"projects/{project}", prefix_id=colour, prefix=prefix)
    admin.call("ipam", "CreatePrefix", request)


def bring_in(admin: Caller, first: int, count: int) -> list[str]:
    """Imports servers; answers their names."""
    request = server_pb2.ImportServersRequest(content=import_file(first, count), format=server_pb2.IMPORT_FORMAT_JSON)
    return [each.server for each in admin.call("inventory", "ImportServers", request).servers]


def statuses(admin: Caller) -> list[Any]:
    """Every server's status."""
    return admin.pages("lifecycle", "ListServerStatuses", server_status_pb2.ListServerStatusesRequest(), "statuses")


class Administrator:
    """One who cannot leave the fleet alone."""

    def __init__(self, caller: Caller) -> None:
        self._me = caller
        self._first = SERVERS + 1

    def live(self, goes_on: Callable[[], bool]) -> None:
        """Does this and that, until *goes_on* says no."""
        while goes_on():
            try:
                self._something()
            except Refused:
                # The book has it.
                continue

    def _something(self) -> None:
        me, roll = self._me, self._me.chance.random()
        found = statuses(me)
        if not found:
            return
        one = me.chance.choice(found)
        if roll < 0.1 and len(found) < SERVERS + _COMING:
            bring_in(me, self._first, 1)
            self._first += 1
        elif roll < 0.2 and len(found) > SERVERS - 1:
            me.call("inventory", "DeleteServer", server_pb2.DeleteServerRequest(name=one.server))
        elif roll < 0.35:
            request = server_status_pb2.QuarantineServerRequest(name=one.server, reason="rehearsal")
            me.call("lifecycle", "QuarantineServer", request)
        elif roll < 0.45:
            kept = server_status_pb2.SetMaintenanceRequest(name=one.server, reason="rehearsal")
            me.call("lifecycle", "SetMaintenance", kept)
            me.call("lifecycle", "ClearMaintenance", server_status_pb2.ClearMaintenanceRequest(name=one.server))
        else:
            mend(me, takes=roll > 0.9)


def mend(admin: Caller, *, takes: bool) -> None:
    """Provides what is new, and does for each server in quarantine what its diagnosis says.

    Args:
        takes: also from instances whose tenants did not delete them.
    """
    state = server_status_pb2.ServerStatus
    for status in statuses(admin):
        try:
            if status.maintenance:
                admin.call(
                    "lifecycle", "ClearMaintenance", server_status_pb2.ClearMaintenanceRequest(name=status.server)
                )
            if status.state == state.STATE_ENROLLED and not status.operation:
                admin.call("lifecycle", "ProvideServer", server_status_pb2.ProvideServerRequest(name=status.server))
            elif status.state == state.STATE_QUARANTINED:
                _recover(admin, status.server, takes=takes)
        except Refused:
            # The book has it; it has moved on meanwhile.
            continue


def _recover(admin: Caller, server: str, *, takes: bool) -> None:
    diagnosis = admin.call("lifecycle", "DiagnoseServer", server_status_pb2.DiagnoseServerRequest(name=server))
    take = any("--take-from-instance" in command for command in diagnosis.commands)
    if not any(command.startswith("bms server recover") for command in diagnosis.commands) or (take and not takes):
        return
    request = server_status_pb2.RecoverServerRequest(name=server, take_from_instance=take)
    admin.call("lifecycle", "RecoverServer", request)
