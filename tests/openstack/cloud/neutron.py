# SPDX-License-Identifier: Apache-2.0
"""Neutron with ML2 over VLANs, and the stand-in for a switch's plugin."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from tests.openstack.cloud.parts import announce, write_ini
from tests.openstack.cloud.place import Place, Unit
from tests.openstack.cloud.settings import client, database, served, shared

REQUIREMENTS = ("neutron>=29,<30",)
PHYSICAL_NETWORK = "physnet1"
TENANT_VLANS = "physnet1:200:399"
"""Those below are the provider's; see `furnish`."""


def configure(place: Place) -> None:
    """Writes its configuration."""
    etc = place.etc("neutron")
    paste = shutil.copy(place.programs.parent / "etc" / "neutron" / "api-paste.ini", etc)
    write_ini(
        etc / "neutron.conf",
        {
            "DEFAULT": {
                "transport_url": place.messaging, "core_plugin": "ml2", "service_plugins": "trunk",
                "auth_strategy": "keystone", "api_paste_config": paste, "state_path": place.state("neutron"),
                "notify_nova_on_port_status_changes": True, "notify_nova_on_port_data_changes": True,
                "dhcp_agent_notification": False, "rpc_workers": 1, "rpc_state_report_workers": 0,
            },
            "database": database(place, "neutron"),
            "ml2": {
                "type_drivers": "flat,vlan,local", "tenant_network_types": "vlan",
                "mechanism_drivers": "bms-standin", "extension_drivers": "port_security",
            },
            "ml2_type_flat": {"flat_networks": "*"},
            "ml2_type_vlan": {"network_vlan_ranges": TENANT_VLANS},
            "nova": client(place, "nova"),
            "placement": client(place, "placement"),
            **shared(place, "neutron"),
        },
    )  # fmt: skip


def schema(place: Place) -> Sequence[Sequence[str]]:
    """The commands that make its tables."""
    return [[place.program("neutron-db-manage"), "--config-file", _config(place), "upgrade", "head"]]


def units(place: Place) -> Sequence[Unit]:
    """Its API, and the server that agents would talk to."""
    points = {"neutron.ml2.mechanism_drivers": {"bms-standin": "switch:StandInSwitch"}}
    found = announce(place.state("neutron") / "site", points)
    stand_in = {"PYTHONPATH": found, "BMS_STANDIN_JOURNAL": str(place.journal)}
    environ = {
        **stand_in, "OS_NEUTRON_CONFIG_DIR": str(place.etc("neutron")), "OS_NEUTRON_CONFIG_FILES": "neutron.conf",
    }  # fmt: skip
    rpc = [place.program("neutron-rpc-server"), "--config-file", _config(place)]
    return [
        served(place, "neutron", "neutron", "neutron.wsgi.api:application", environ),
        Unit("neutron-rpc", rpc, stand_in),
    ]


def _config(place: Place) -> str:
    return str(place.etc("neutron") / "neutron.conf")
