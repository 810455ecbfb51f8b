# SPDX-License-Identifier: Apache-2.0
"""Ironic: alone as in the bed of one process, or with Keystone, Neutron and Glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.openstack.cloud.parts import announce, write_ini
from tests.openstack.cloud.place import Place, Unit
from tests.openstack.cloud.settings import client, database, served, shared

REQUIREMENTS = ("ironic>=39,<40", "sushy-tools>=2.2,<3", "bcrypt>=4")

ABSENT = {
    "bios": "no-bios", "console": "no-console", "firmware": "no-firmware", "raid": "no-raid", "storage": "noop",
    "vendor": "no-vendor",
}  # fmt: skip
"""Kinds of interfaces that no rung has anything for."""


def settings(
    folder: Path, *, hardware: str, interfaces: Mapping[str, str], **options: object
) -> dict[str, dict[str, object]]:
    """What every rung's configuration has.

    Args:
        folder: where it keeps what it keeps.
        hardware: the hardware types, by commas.
        interfaces: by kind, by commas.
        options: more of section DEFAULT.
    """
    return {
        "DEFAULT": {
            "my_ip": "127.0.0.1", "state_path": folder, "tempdir": folder, "enabled_hardware_types": hardware,
            **{f"enabled_{kind}_interfaces": names for kind, names in {**ABSENT, **interfaces}.items()}, **options,
        },
        "inventory": {"data_backend": "database"},
        "deploy": {"http_root": folder / "http", "http_url": "http://127.0.0.1:1"},
    }  # fmt: skip


def configure(place: Place) -> None:
    """Writes the configuration of the rung with everything."""
    state = place.state("ironic")
    # A hardware type starts only with a default of its own kind, which no node here uses: hence "fake".
    interfaces = {
        "boot": "fake,redfish-virtual-media", "deploy": "fake,bms-steered", "inspect": "fake,bms-steered,redfish",
        "management": "fake,redfish", "network": "neutron,noop", "power": "fake,bms-steered,redfish",
        "rescue": "fake,bms-steered,no-rescue",
    }  # fmt: skip
    base = settings(
        state, hardware="fake-hardware,redfish", interfaces=interfaces, auth_strategy="keystone", host="cloud",
        rpc_transport="oslo", transport_url=place.messaging, notification_level="debug",
        default_network_interface="neutron",
        # Nova's user sees nodes that an administrator registered.
        rbac_service_role_elevated_access=True, rbac_service_project_name="service",
    )  # fmt: skip
    networks = {f"{kind}_network": kind for kind in ("cleaning", "provisioning", "rescuing", "inspection")}
    write_ini(
        place.etc("ironic") / "ironic.conf",
        {
            **base,
            "database": database(place, "ironic"),
            "conductor": {
                "automated_clean": True, "heartbeat_interval": 5, "sync_power_state_interval": 10,
                "power_failure_recovery_interval": 15, "check_provision_state_interval": 5,
                "check_allocations_interval": 5,
            },
            **{name: client(place, "ironic") for name in ("service_catalog", "glance", "nova")},
            "neutron": {**client(place, "ironic"), **networks, "port_setup_delay": 0},
            **shared(place, "ironic"),
        },
    )  # fmt: skip


def schema(place: Place) -> Sequence[Sequence[str]]:
    """The commands that make its tables."""
    return [[place.program("ironic-dbsync"), "--config-file", _config(place), "upgrade"]]


def units(place: Place) -> Sequence[Unit]:
    """Its API and its conductor."""
    kinds = {kind: f"steered:Steered{kind.title()}" for kind in ("power", "deploy", "inspect", "rescue")}
    points = {f"ironic.hardware.interfaces.{kind}": {"bms-steered": at} for kind, at in kinds.items()}
    stand_in = {"PYTHONPATH": announce(place.state("ironic") / "site", points)}
    conductor = [place.program("ironic-conductor"), "--config-file", _config(place)]
    return [
        served(place, "ironic", "ironic", "ironic.wsgi:application", stand_in, "--config-file", _config(place)),
        Unit("ironic-conductor", conductor, stand_in),
    ]


def _config(place: Place) -> str:
    return str(place.etc("ironic") / "ironic.conf")
