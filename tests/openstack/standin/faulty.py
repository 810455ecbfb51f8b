# SPDX-License-Identifier: Apache-2.0
"""Redfish servers without a BMC: what a ramdisk does is done to files, and how each thing goes a file says.

The wheel of `steered` is here not with the node but in ``$BMS_STANDIN_WHEELS/<port of the BMC>.json``: it can be turned
before Ironic knows the node, and while a conductor holds it. Images are written and disks erased as with `ramdisk`, so
that what goes well leaves its evidence. Loaded by Ironic in an environment of its own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import ramdisk
import steered
from ironic.common import exception, states
from ironic.drivers import base
from ironic.drivers.modules import fake


def _wheel(node):
    port = urlsplit(node.driver_info.get("redfish_address") or "").port
    try:
        return json.loads((Path(os.environ["BMS_STANDIN_WHEELS"]) / f"{port}.json").read_text())
    except FileNotFoundError:
        return {}


steered._wheel = _wheel


class FaultyDeploy(ramdisk.StandInDeploy):
    @base.deploy_step(priority=80)
    def write_image(self, task):
        if steered._told(task, "deploy", exception.InstanceDeployFailure):
            return states.DEPLOYWAIT
        return super().write_image(task)

    @base.clean_step(priority=10)
    def erase_devices(self, task):
        if steered._told(task, "clean", exception.NodeCleaningFailure):
            return states.CLEANWAIT
        return super().erase_devices(task)

    def tear_down(self, task):
        steered._told(task, "teardown")
        return super().tear_down(task)


for _kind, _ours in (
    ("deploy", FaultyDeploy),
    ("power", steered.SteeredPower),
    ("inspect", steered.SteeredInspect),
    ("management", fake.FakeManagement),
):
    steered._offer(_kind, _ours)
