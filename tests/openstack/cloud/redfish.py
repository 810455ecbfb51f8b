# SPDX-License-Identifier: Apache-2.0
"""The BMCs of those nodes that have one."""

from __future__ import annotations

from collections.abc import Sequence

from tests.openstack.cloud.bmc import certify, configure_bmc
from tests.openstack.cloud.place import REDFISH_NODES, Place, Unit


def configure(place: Place) -> None:
    """Makes their certificate."""
    if not place.ca.exists():
        certify(place.ca.parent, days=365)


def units(place: Place) -> Sequence[Unit]:
    """A process each."""
    found = []
    for number in range(1, REDFISH_NODES + 1):
        name = f"bmc{number}"
        argv, environ = configure_bmc(
            place.state(name), place.programs, number, place.ports[name], place.secrets["bmc"], place.ca.parent
        )
        found.append(Unit(name, argv, environ, port=place.ports[name]))
    return found
