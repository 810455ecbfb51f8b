# SPDX-License-Identifier: Apache-2.0
"""By which ports a server boots, as lifecycle chooses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bms.inventory.v1.server_pb2 import Port, Server


def plugged(server: Server) -> list[Port]:
    """The ports that are plugged into a switch, by name."""
    return sorted((port for port in server.ports if port.switch_name and port.switch_port), key=lambda port: port.name)


def boot_ports(server: Server) -> list[Port]:
    """Those of them by which it boots: that say so, else the first."""
    linked = plugged(server)
    return [port for port in linked if port.pxe_enabled] or linked[:1]
