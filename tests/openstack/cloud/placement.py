# SPDX-License-Identifier: Apache-2.0
"""Placement."""

from __future__ import annotations

from collections.abc import Sequence

from tests.openstack.cloud.parts import write_ini
from tests.openstack.cloud.place import Place, Unit
from tests.openstack.cloud.settings import database, served, shared

REQUIREMENTS = ("openstack-placement>=16,<17",)


def configure(place: Place) -> None:
    """Writes its configuration."""
    write_ini(
        place.etc("placement") / "placement.conf",
        {
            "DEFAULT": {},
            "api": {"auth_strategy": "keystone"},
            "placement_database": database(place, "placement"),
            "keystone_authtoken": shared(place, "placement")["keystone_authtoken"],
        },
    )


def schema(place: Place) -> Sequence[Sequence[str]]:
    """The commands that make its tables."""
    config = str(place.etc("placement") / "placement.conf")
    return [[place.program("placement-manage"), "--config-file", config, "db", "sync"]]


def units(place: Place) -> Sequence[Unit]:
    """Its API."""
    environ = {"OS_PLACEMENT_CONFIG_DIR": str(place.etc("placement"))}
    return [served(place, "placement", "placement", "placement.wsgi.api:application", environ)]
