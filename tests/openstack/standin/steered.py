# SPDX-License-Identifier: Apache-2.0
"""Interfaces of a genuine Ironic whose outcomes a test steers, node by node, while it runs.

The wheel is ``extra.steer`` of the node, which the API changes in every state: a word for each of power, deploy, clean,
teardown, inspect, rescue, unrescue. The words:

- ``ok``, or none: it goes well;
- ``fail``: it fails, and says that it was told to; a node that waits fails too;
- ``sleep:N``: the conductor's worker is busy for N seconds first;
- ``wait``: the node goes to the operation's waiting state and stays there until somebody ends that;
- ``wait:N``: it goes on by itself after N seconds.

``extra.steer.power_state`` is what the BMC says of the power, as if somebody had pressed the button.

Networks and power move as with a ramdisk; see `ramdisk`. Loaded by Ironic in an environment of its own.
"""

from __future__ import annotations

import hashlib
import io
import time

import ramdisk
from ironic import objects
from ironic.common import exception, image_service, states
from ironic.conductor import periodics, utils
from ironic.drivers import base, redfish
from ironic.drivers.modules import fake, inspect_utils
from oslo_utils import timeutils, uuidutils

WAITS = {
    states.DEPLOYWAIT: "deploy",
    states.CLEANWAIT: "clean",
    states.RESCUEWAIT: "rescue",
    states.INSPECTWAIT: "inspect",
}


SIZE = 100 * 2**30
"""Bytes of the only disk."""


def _serial(node) -> str:
    return f"S{node.uuid[:8]}"


def _wheel(node):
    return node.extra.get("steer") or {}


def _word(node, what) -> tuple[str, float]:
    word, _, seconds = str(_wheel(node).get(what, "ok")).partition(":")
    return word, float(seconds or 0)


def _told(task, what, error=exception.IronicException) -> bool:
    """Whether the operation has to wait."""
    word, seconds = _word(task.node, what)
    if word == "fail":
        msg = f"{what} was told to fail"
        raise error(msg)
    if word == "sleep":
        time.sleep(seconds)
    return word == "wait"


class SteeredPower(fake.FakePower):
    def get_power_state(self, task):
        _told(task, "power")
        return _wheel(task.node).get("power_state") or task.node.power_state or states.POWER_OFF

    def set_power_state(self, task, power_state, timeout=None):
        _told(task, "power")
        wheel = dict(_wheel(task.node))
        if wheel.pop("power_state", None):
            task.node.extra = {**task.node.extra, "steer": wheel}
        super().set_power_state(task, power_state, timeout)
        if power_state == states.SOFT_POWER_OFF:
            task.node.power_state = states.POWER_OFF

    def reboot(self, task, timeout=None):
        _told(task, "power")
        task.node.power_state = states.POWER_ON


class SteeredDeploy(ramdisk.StandInDeploy, fake.FakeDeploy):
    """Both bases: the first knows the order of things, hardware type fake-hardware takes none but its own kind."""

    @base.deploy_step(priority=100)
    def deploy(self, task):
        return states.DEPLOYWAIT if _told(task, "deploy", exception.InstanceDeployFailure) else None

    @base.deploy_step(priority=80)
    def write_image(self, task):
        """There is no disk to write to; an image of Glance's is fetched all the same, and its checksum told."""
        info = task.node.instance_info
        source, algorithm = info.get("image_source", ""), info.get("image_os_hash_algo") or "sha512"
        if not uuidutils.is_uuid_like(source):
            return
        content = io.BytesIO()
        image_service.get_image_service(source, context=task.context).download(source, content)
        checksum = f"{algorithm}:{hashlib.new(algorithm, content.getvalue()).hexdigest()}"
        ramdisk.tell(task, "bms_image", {"disk": _serial(task.node), "checksum": checksum})

    def tear_down(self, task):
        _told(task, "teardown")
        done = super().tear_down(task)
        # A deploy that failed left its ports there.
        task.driver.network.remove_provisioning_network(task)
        return done

    @base.clean_step(priority=10, abortable=True)
    def erase_devices(self, task):
        waits = _told(task, "clean", exception.NodeCleaningFailure)
        now = timeutils.utcnow(with_timezone=True).isoformat()
        erased = {
            "serial": _serial(task.node), "size_bytes": SIZE, "method": "overwrite", "start_time": now,
            "end_time": now, "sample_sha256": hashlib.sha256(bytes(4096)).hexdigest(),
        }  # fmt: skip
        ramdisk.tell(task, "bms_erased", {"disks": [erased]})
        return states.CLEANWAIT if waits else None

    @periodics.node_periodic(
        purpose="moving on nodes that were told to wait",
        spacing=1,
        filters={"provision_state_in": list(WAITS)},
        predicate_extra_fields=["provision_state", "deploy_interface"],
        predicate=lambda node: node.deploy_interface == "bms-steered",
    )
    def move_on(self, task, manager, context):
        what = WAITS.get(task.node.provision_state)
        if what is None:
            return
        word, seconds = _word(task.node, what)
        since = timeutils.normalize_time(task.node.provision_updated_at)
        if word == "wait" and (not seconds or timeutils.delta_seconds(since, timeutils.utcnow()) < seconds):
            return
        if word == "fail":
            _fail_waiting(task, what)
        elif what in ("deploy", "clean"):
            utils.notify_conductor_resume_operation(task, what)
        elif what == "inspect":
            _inspected(task)
            task.process_event("done")
        else:
            task.process_event("resume")
            task.process_event("done")


def _fail_waiting(task, what) -> None:
    message = f"{what} was told to fail while it waited"
    if what == "clean":
        utils.cleaning_error_handler(task, message)
    elif what == "deploy":
        utils.deploying_error_handler(task, message, message)
    else:
        task.node.last_error = message
        task.process_event("fail")


def _inspected(task) -> None:
    node = task.node
    ports = objects.Port.list_by_node_id(task.context, node.id)
    found = _wheel(node).get("inventory") or {
        "cpu": {"count": 8, "architecture": "x86_64", "model_name": "steered"},
        "memory": {"physical_mb": 16384},
        "bmc_address": "127.0.0.1",
        "boot": {"current_boot_mode": "uefi"},
        "disks": [{"name": "/dev/sda", "size": SIZE, "serial": _serial(node)}],
        "system_vendor": {"manufacturer": "steered", "product_name": "fake", "serial_number": node.uuid[:8]},
        "interfaces": [
            {"name": f"eth{at}", "mac_address": port.address, "lldp": [], "has_carrier": True}
            for at, port in enumerate(ports)
        ],
    }
    node.properties = {
        **node.properties,
        "cpus": found["cpu"]["count"],
        "cpu_arch": found["cpu"]["architecture"],
        "memory_mb": found["memory"]["physical_mb"],
        "local_gb": 100,
    }
    node.save()
    macs = [one["mac_address"] for one in found.get("interfaces", []) if one.get("mac_address")]
    inspect_utils.create_ports_if_not_exist(task, macs=macs)
    inspect_utils.store_inspection_data(node, found, {}, task.context)


class SteeredInspect(fake.FakeInspect):
    def inspect_hardware(self, task):
        if _told(task, "inspect", exception.HardwareInspectionFailure):
            return states.INSPECTWAIT
        _inspected(task)
        return states.MANAGEABLE

    def abort(self, task):
        return None


class SteeredRescue(fake.FakeRescue):
    """Switches and moves ports as the agent's does, in its order, without a ramdisk."""

    def rescue(self, task):
        waits = _told(task, "rescue")
        utils.node_power_action(task, states.POWER_OFF)
        task.driver.network.unconfigure_tenant_networks(task)
        task.driver.network.add_rescuing_network(task)
        utils.node_power_action(task, states.POWER_ON)
        return states.RESCUEWAIT if waits else states.RESCUE

    def unrescue(self, task):
        _told(task, "unrescue")
        utils.node_power_action(task, states.POWER_OFF)
        self.clean_up(task)
        task.driver.network.configure_tenant_networks(task)
        utils.node_power_action(task, states.POWER_ON)
        return states.ACTIVE

    def clean_up(self, task):
        utils.remove_node_rescue_password(task.node, save=True)
        task.driver.network.remove_rescuing_network(task)


def _offer(kind, ours) -> None:
    # Ironic's own hardware type takes them, so that the product names the driver it would name anywhere.
    others = getattr(redfish.RedfishHardware, f"supported_{kind}_interfaces").fget
    setattr(redfish.RedfishHardware, f"supported_{kind}_interfaces", property(lambda self: [ours, *others(self)]))


_offer("deploy", SteeredDeploy)
_offer("rescue", SteeredRescue)
