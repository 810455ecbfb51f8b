# SPDX-License-Identifier: Apache-2.0
"""Nova with one compute service, whose hypervisor is Ironic."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from tests.openstack.cloud.parts import run, write_ini
from tests.openstack.cloud.place import Place, Unit
from tests.openstack.cloud.settings import client, database, login, served, shared

REQUIREMENTS = ("nova>=34,<35",)
DEBIAN = {"/usr/bin/genisoimage": "genisoimage"}
"""It packs config drives."""

_TEMPLATE = "{scheme}://{username}:{password}@{hostname}:{port}/"
"""Cells are kept as templates: rows know no port and no password, and a kept schema fits every cloud."""


def configure(place: Place) -> None:
    """Writes its configuration."""
    etc, state = place.etc("nova"), place.state("nova")
    (state / "instances").mkdir(exist_ok=True)
    paste = shutil.copy(place.programs.parent / "etc" / "nova" / "api-paste.ini", etc)
    write_ini(
        etc / "nova.conf",
        {
            "DEFAULT": {
                "transport_url": place.messaging, "my_ip": "127.0.0.1", "host": "cloud", "state_path": state,
                "instances_path": state / "instances", "compute_driver": "ironic.IronicDriver",
                # A node that appears or becomes free is offered within seconds.
                "update_resources_interval": 5, "periodic_fuzzy_delay": 0,
                # Ironic tells it of each change. Its own look, as seldom as by default, stops what it finds off in the
                # very moment in which somebody switches it on.
                "sync_power_state_interval": 600,
                "reserved_host_memory_mb": 0, "mkisofs_cmd": "genisoimage",
            },
            "database": database(place, "nova"),
            "api_database": database(place, "nova_api"),
            "api": {"auth_strategy": "keystone"},
            "wsgi": {"api_paste_config": paste},
            "vnc": {"enabled": False},
            "scheduler": {"discover_hosts_in_cells_interval": 5, "workers": 1},
            "conductor": {"workers": 1},
            "notifications": {"notification_format": "versioned", "notify_on_state_change": "vm_and_task_state"},
            "glance": {"endpoint_override": place.url("glance")},
            "service_user": {"send_service_user_token": True, **login(place, "nova")},
            "placement": client(place, "placement"),
            "neutron": client(place, "nova"),
            "ironic": {**client(place, "nova"), "api_max_retries": 60, "api_retry_interval": 1},
            **shared(place, "nova"),
        },
    )  # fmt: skip


def schema(place: Place) -> Sequence[Sequence[str]]:
    """The commands that make its tables and its cells."""
    manage = _manage(place)
    return [
        [*manage, "api_db", "sync"],
        [*manage, "cell_v2", "map_cell0", "--database_connection", f"{_TEMPLATE}nova_cell0"],
        [*manage, "cell_v2", "create_cell", "--name", "cell1",
         "--database_connection", f"{_TEMPLATE}nova", "--transport-url", _TEMPLATE],
        [*manage, "db", "sync"],
    ]  # fmt: skip


def units(place: Place) -> Sequence[Unit]:
    """Its API, conductor and scheduler; the compute service comes last, see `compute`."""
    environ = {"OS_NOVA_CONFIG_DIR": str(place.etc("nova"))}
    return [
        served(place, "nova", "nova", "nova.wsgi.osapi_compute:application", environ),
        *(
            Unit(f"nova-{part}", [place.program(f"nova-{part}"), *_config(place)])
            for part in ("conductor", "scheduler")
        ),
    ]


def compute(place: Place) -> Sequence[Unit]:
    """The compute service; it wants Ironic."""
    return [Unit("nova-compute", [place.program("nova-compute"), *_config(place)])]


def map_host(place: Place) -> None:
    """Has the cell know its compute service."""
    run(place.home, [*_manage(place), "cell_v2", "discover_hosts", "--by-service"], "nova discover_hosts")


def _manage(place: Place) -> list[str]:
    return [place.program("nova-manage"), *_config(place)]


def _config(place: Place) -> list[str]:
    return ["--config-file", str(place.etc("nova") / "nova.conf")]
