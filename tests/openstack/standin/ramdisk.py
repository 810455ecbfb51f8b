# SPDX-License-Identifier: Apache-2.0
"""A deploy interface for a genuine Ironic, standing in for the one thing that the bed has none of: a ramdisk.

Everything else is Ironic's own: API, conductor, locks, state machine, step engine, Redfish power, management and
inspection, and the steps that move networks and boot the instance. What a ramdisk would do to disks is done to files:
``$BMS_STANDIN_DISKS/<port of the BMC>/<serial>``. Like a hardware manager of ours in the ramdisk, it tells which disks
it erased and what it read back from the disk it wrote, under the id of the job that asked for it.

Loaded by Ironic in an environment of its own; nothing of ours can be imported here.
"""

from __future__ import annotations

import hashlib
import os
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from ironic.common import exception, states
from ironic.conductor import utils
from ironic.drivers import base, redfish
from ironic.drivers.modules import agent_base

BLOCK = 4096


def _disks(task) -> list[Path]:
    port = urlsplit(task.node.driver_info["redfish_address"]).port
    return sorted(Path(os.environ["BMS_STANDIN_DISKS"], str(port)).iterdir())


def _request(task) -> str:
    return str(((task.node.extra.get("bms") or {}).get("job") or {}).get("id", ""))


def tell(task, key, value) -> None:
    """Keeps what the ramdisk says with the node, under the id of the job that it is said of."""
    task.node.set_driver_internal_info(key, {"request": _request(task), **value})
    task.node.save()


class StandInDeploy(agent_base.AgentOobStepsMixin, base.DeployInterface):
    """What the agent's deploy interface does, in its order, without an agent."""

    def get_properties(self):
        return {}

    def validate(self, task):
        pass

    def prepare(self, task):
        if task.node.provision_state == states.DEPLOYING:
            utils.node_power_action(task, states.POWER_OFF)
            task.driver.network.unconfigure_tenant_networks(task)
            task.driver.network.add_provisioning_network(task)
            utils.node_power_action(task, states.POWER_ON)

    @base.deploy_step(priority=100)
    def deploy(self, task):
        """The ramdisk runs."""

    @base.deploy_step(priority=80)
    def write_image(self, task):
        info, root = task.node.instance_info, _disks(task)[0]
        with urllib.request.urlopen(info["image_source"], timeout=10) as source:
            content = source.read()
        root.write_bytes(content)
        found = hashlib.new(info["image_os_hash_algo"], root.read_bytes()).hexdigest()
        tell(task, "bms_image", {"disk": root.name, "checksum": f"{info['image_os_hash_algo']}:{found}"})
        if found != info["image_os_hash_value"]:
            msg = "the image's checksum is another"
            raise exception.InstanceDeployFailure(msg)

    @base.deploy_step(priority=40)
    def tear_down_agent(self, task):
        utils.node_power_action(task, states.POWER_OFF)

    def tear_down(self, task):
        utils.node_power_action(task, states.POWER_OFF)
        task.driver.network.unconfigure_tenant_networks(task)
        return states.DELETED

    def clean_up(self, task):
        pass

    def take_over(self, task):
        pass

    def prepare_cleaning(self, task):
        task.driver.network.add_cleaning_network(task)
        utils.node_power_action(task, states.POWER_ON)

    def tear_down_cleaning(self, task):
        utils.node_power_action(task, states.POWER_OFF)
        task.driver.network.remove_cleaning_network(task)

    @base.clean_step(priority=10)
    def erase_devices(self, task):
        erased = []
        for disk in _disks(task):
            if disk.name.endswith(".broken"):
                msg = f"disk {disk.stem} reports an error"
                raise exception.NodeCleaningFailure(msg)
            start, size = datetime.now(UTC), disk.stat().st_size
            disk.write_bytes(bytes(size))
            sample = hashlib.sha256(disk.read_bytes()[:BLOCK]).hexdigest()
            erased.append(
                {
                    "serial": disk.name,
                    "size_bytes": size,
                    "method": "overwrite",
                    "start_time": start.isoformat(),
                    "end_time": datetime.now(UTC).isoformat(),
                    "sample_sha256": sample,
                }
            )
        tell(task, "bms_erased", {"disks": erased})


# Ironic's own hardware type takes the interface, so that the product names the driver it would name anywhere.
_others = redfish.RedfishHardware.supported_deploy_interfaces.fget
redfish.RedfishHardware.supported_deploy_interfaces = property(lambda self: [StandInDeploy, *_others(self)])
