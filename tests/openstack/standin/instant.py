# SPDX-License-Identifier: Apache-2.0
"""Hardware of a genuine Ironic that takes no time, and a record of every request to its API, for benchmarks.

``$BMS_STANDIN_REQUESTS`` names the file that gets a line for each request. Loaded by Ironic in an environment of its
own.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import ramdisk
import steered
from ironic.api import app
from ironic.drivers import base
from ironic.drivers.modules import fake


def _disk(task) -> str:
    return f"S{task.node.uuid[:8]}"


class InstantDeploy(steered.SteeredDeploy):
    """Tells what a ramdisk with our hardware manager tells, of a disk that nobody has."""

    @base.deploy_step(priority=100)
    def deploy(self, task):
        """The ramdisk runs."""

    @base.deploy_step(priority=80)
    def write_image(self, task):
        info = task.node.instance_info
        checksum = f"{info['image_os_hash_algo']}:{info['image_os_hash_value']}"
        ramdisk.tell(task, "bms_image", {"disk": _disk(task), "checksum": checksum})

    @base.clean_step(priority=10)
    def erase_devices(self, task):
        now = datetime.now(UTC).isoformat()
        disk = {
            "serial": _disk(task), "size_bytes": 100 * 2**30, "method": "overwrite", "start_time": now,
            "end_time": now, "sample_sha256": "00" * 32,
        }  # fmt: skip
        ramdisk.tell(task, "bms_erased", {"disks": [disk]})


class InstantInspect(steered.SteeredInspect, fake.FakeInspect):
    """As steered, which takes no time unless it is told to."""


def _recorded(serve):
    def answer(self, environ, start_response):
        with Path(os.environ["BMS_STANDIN_REQUESTS"]).open("a", encoding="utf-8") as file:
            file.write(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}\n")
        return serve(self, environ, start_response)

    return answer


app.VersionSelectorApplication.__call__ = _recorded(app.VersionSelectorApplication.__call__)
