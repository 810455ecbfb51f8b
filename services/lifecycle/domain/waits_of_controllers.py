# SPDX-License-Identifier: Apache-2.0
"""What a server waits for where a controller of the site's (Ironic) works the hardware for us; see waits.py."""

from __future__ import annotations

from datetime import timedelta

from services.lifecycle.domain.blocker import Blocker, Kind

_MINUTE = timedelta(minutes=1)
_SHOW = "openstack baremetal node show {server} --fields "
_LOOK = "bms server show {server}"

OF_CONTROLLERS = (
    Blocker(
        "CONTROLLER_BUSY",
        Kind.WAIT,
        "The controller (Ironic) is at something else with the server, or somebody else holds its lock.",
        "nobody",
        "Wait; if it stays, see what Ironic is doing with the node and which conductor holds it.",
        (_SHOW + "provision_state target_provision_state target_power_state reservation last_error", _LOOK),
        sla=10 * _MINUTE,
    ),
    Blocker(
        "CONTROLLER_SILENT",
        Kind.WAIT,
        "The controller (Ironic) does not answer, refuses our login, or no conductor of it takes the server.",
        "administrator",
        "Bring Ironic back, or mend the login that lifecycle's settings name; the server goes on by itself.",
        ("openstack baremetal conductor list", _LOOK),
        sla=5 * _MINUTE,
    ),
    Blocker(
        "CONTROLLER_FLAT",
        Kind.WAIT,
        "The server's node has network interface flat in the controller (Ironic), which keeps it apart from nobody.",
        "administrator",
        "While nobody has the server, give its node an interface that isolates; no job starts before that.",
        (_SHOW + "network_interface", "openstack baremetal node set {server} --network-interface noop"),
        sla=5 * _MINUTE,
    ),
    Blocker(
        "CONTROLLER_MOVES_PORTS",
        Kind.WAIT,
        "The server's node has network interface neutron in the controller (Ironic), which then moves its ports, and "
        "lifecycle was told that we do; or another interface, and it was told that Ironic does.",
        "administrator",
        "While nobody has the server, give its node the interface that BMS_LIFECYCLE_NEUTRON_MODE says: noop for flip, "
        "neutron for observed. No job starts before that.",
        (_SHOW + "network_interface", "openstack baremetal node set {server} --network-interface noop"),
        sla=5 * _MINUTE,
    ),
    Blocker(
        "CONTROLLER_MAINTENANCE",
        Kind.WAIT,
        "Somebody else set the server's node into maintenance in the controller (Ironic); the reason says why.",
        "administrator",
        "When that work is done, end the maintenance there; the server goes on by itself.",
        (
            _SHOW + "maintenance maintenance_reason fault",
            "openstack baremetal node maintenance unset {server}",
        ),
        sla=5 * _MINUTE,
    ),
    Blocker(
        "CONTROLLER_PROTECTED",
        Kind.WAIT,
        "The server's node is protected in the controller (Ironic), which then neither undeploys nor rebuilds it.",
        "administrator",
        "Find out who protected it; take the protection away, and the server goes on by itself.",
        (_SHOW + "protected protected_reason", "openstack baremetal node unset {server} --protected"),
        sla=5 * _MINUTE,
    ),
    Blocker(
        "CONTROLLER_RETIRED",
        Kind.WAIT,
        "The server's node is marked as retired in the controller (Ironic), which then never offers it again.",
        "administrator",
        "Delete the server if it leaves the site; else take the mark away, and the server goes on by itself.",
        (_SHOW + "retired retired_reason", "openstack baremetal node unset {server} --retired"),
        sla=5 * _MINUTE,
    ),
)
"""Codes that hardware backends give by `services.lifecycle.ports.NotNow`."""
