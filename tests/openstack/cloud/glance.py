# SPDX-License-Identifier: Apache-2.0
"""Glance, with images in files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from tests.openstack.cloud.parts import write_ini
from tests.openstack.cloud.place import Place, Unit
from tests.openstack.cloud.settings import database, served, shared

REQUIREMENTS = ("glance>=33,<34",)


def configure(place: Place) -> None:
    """Writes its configuration."""
    etc, state = place.etc("glance"), place.state("glance")
    for name in ("images", "staging", "tasks"):
        (state / name).mkdir(exist_ok=True)
    paste = shutil.copy(place.programs.parent / "etc" / "glance" / "glance-api-paste.ini", etc)
    write_ini(
        etc / "glance-api.conf",
        {
            "DEFAULT": {"transport_url": place.messaging, "enabled_backends": "file:file"},
            "database": database(place, "glance"),
            "glance_store": {"default_backend": "file"},
            "file": {"filesystem_store_datadir": state / "images"},
            "os_glance_staging_store": {"filesystem_store_datadir": state / "staging"},
            "os_glance_tasks_store": {"filesystem_store_datadir": state / "tasks"},
            "paste_deploy": {"flavor": "keystone", "config_file": paste},
            **shared(place, "glance"),
        },
    )


def schema(place: Place) -> Sequence[Sequence[str]]:
    """The commands that make its tables."""
    return [[place.program("glance-manage"), "--config-file", str(place.etc("glance") / "glance-api.conf"), "db_sync"]]


def units(place: Place) -> Sequence[Unit]:
    """Its API."""
    environ = {"OS_GLANCE_CONFIG_DIR": str(place.etc("glance"))}
    return [served(place, "glance", "glance", "glance.wsgi.api:application", environ)]
