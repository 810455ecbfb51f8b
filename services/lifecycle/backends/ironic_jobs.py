# SPDX-License-Identifier: Apache-2.0
"""One job of a node: how it is asked of Ironic, what is noted of it, and what it reads as afterwards.

The note stands in the node's ``extra.bms.job`` before Ironic is asked: the job's id and kind, and how the node stood.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from services.kernel.errors import WrongState
from services.lifecycle.backends import ironic_facts as facts
from services.lifecycle.backends.ironic_api import INVENTORY, Deadline, IronicApi, Node, NoNode, needs
from services.lifecycle.backends.ironic_describe import unleased
from services.lifecycle.backends.ironic_roads import phase
from services.lifecycle.backends.ironic_verbs import clean_steps, is_retired, without_args
from services.lifecycle.backends.ironic_vifs import keep_vifs
from services.lifecycle.backends.neutron_ports import Ports
from services.lifecycle.ports import JobKind, JobOrder, JobPhase, JobReading
from services.runtime.openstack import Refused

_AGAIN = timedelta(seconds=1)
"""Between two looks at a job: Ironic's own agents report every few seconds, and each look is a call to its API."""

# The last step of a deploy would boot the tenant's image while the ports are still where the image was written. Left
# out, the deploy ends with the image written and the server off; lifecycle moves the ports and switches it on. Where
# Ironic moves the ports, the step before would bring the server onto the tenant's network straight from ours.
BOOT, SWITCH = "boot_instance", "switch_to_tenant_network"


def is_started(node: Node, request_id: str) -> bool:
    """Whether the job of *request_id* needs nobody to start it any more."""
    job = node.ours.get("job") or {}
    return job.get("id") == request_id and bool(job.get("refused") or begun(node, job))


def start(
    api: IronicApi, vifs: Ports | None, node: Node, order: JobOrder, request_id: str, verb: str, deadline: Deadline
) -> None:
    """Notes the job with *node*, then asks Ironic for it by *verb*; what Ironic refuses is noted as well.

    Args:
        vifs: see `services.lifecycle.backends.ironic.IronicHardware`.
    """
    server = node.text("uuid")
    job: dict[str, object] = {"id": request_id, "kind": order.kind.value, "seen": stand(node)}
    fields: dict[str, object] = {}
    more: dict[str, object] = {}
    if order.kind is JobKind.CLEAN:
        fields["/automated_clean"] = True
    if order.kind is JobKind.MANUAL_CLEAN:
        more = clean_steps(order)
    if order.kind is JobKind.DEPLOY and order.image is not None:
        job |= {"image": order.image.image, "checksum": order.image.checksum}
        left_out = (BOOT,) if vifs is None else (BOOT, SWITCH)
        fields |= {f"/instance_info/{key}": value for key, value in facts.image(order.image).items()}
        try:
            more = {"deploy_steps": without(left_out), "configdrive": _config_drive(order.config_drive)}
        except UnicodeDecodeError:
            refused = "Ironic takes user data that is text, and this is not"
            note_refusal(api, node, order, request_id, refused, deadline)
            return
        if vifs is not None:
            try:
                keep_vifs(api, server, vifs.of(order.instance, order.leases), deadline)
            except WrongState as error:
                note_refusal(api, node, order, request_id, f"{error}. {error.remedy}", deadline)
                return
    if order.kind is JobKind.RESCUE:
        # Ironic wants one; the rescue system is entered with the instance's keys.
        more = {"rescue_password": secrets.token_urlsafe(24)}
    kept, ended = node.ours, list[dict[str, object]]()
    if order.kind in (JobKind.CLEAN, JobKind.INSPECT):
        kept, ended = unleased(node)
    api.patch(server, {**fields, "/extra/bms": {**kept, "job": job}}, deadline, also=ended)
    try:
        api.provision(server, verb, deadline, **more)
    except Refused as error:
        if error.status >= 500:
            raise
        refused = f"Ironic refuses to {order.kind.value} ({error.status}): {error.text}".removesuffix(": ")
        now = api.node(server, deadline)
        if begun(now, job):
            # It was taken, and only the answer got lost: asked for anew, it is refused for being under way.
            return
        note_refusal(api, node, order, request_id, refused, deadline)


def note_refusal(
    api: IronicApi, node: Node, order: JobOrder, request_id: str, refused: str, deadline: Deadline
) -> None:
    """Notes with *node* that the job cannot be done there, and why: its reading is FAILED."""
    job = {"id": request_id, "kind": order.kind.value, "seen": stand(node), "refused": refused}
    api.patch(node.text("uuid"), {"/extra/bms": {**node.ours, "job": job}}, deadline)


def read(api: IronicApi, node: Node, request_id: str, deadline: Deadline) -> JobReading:
    """The job of *request_id* as *node* shows it."""
    job = node.ours.get("job") or {}
    if job.get("id") != request_id:
        return JobReading(JobPhase.ABSENT)
    if refused := job.get("refused"):
        return JobReading(JobPhase.FAILED, reason="REFUSED", message=str(refused))
    if not begun(node, job):
        return JobReading(JobPhase.ABSENT)
    kind = JobKind(job["kind"])
    kept = kind is JobKind.CLEAN and node.state == "manageable" and is_retired(node)
    stands = JobPhase.PASSED if kept else phase(kind, node.state)
    percent, stage = facts.progress(node)
    if stands is JobPhase.FAILED:
        error = without_args(node.error) if kind is JobKind.MANUAL_CLEAN else node.error
        message = error or f"Ironic shows the node {node.state}"
        return JobReading(stands, stage=stage, reason="IRONIC_FAILED", message=message)
    if stands is JobPhase.PASSED:
        return _passed(api, node, kind, job, deadline)
    return JobReading(stands, percent, stage, again=_AGAIN)


def _passed(api: IronicApi, node: Node, kind: JobKind, job: dict[str, Any], deadline: Deadline) -> JobReading:
    if kind is JobKind.CLEAN:
        return JobReading(JobPhase.PASSED, 100, node.state, disks=facts.erased(node, job["id"]))
    if kind is JobKind.DEPLOY:
        return JobReading(JobPhase.PASSED, 100, node.state, image=facts.written(node, job))
    if kind in (JobKind.RESCUE, JobKind.MANUAL_CLEAN):
        return JobReading(JobPhase.PASSED, 100, node.state)
    if missing := needs(api.version(deadline), INVENTORY, "an inventory, which names every disk,"):
        return JobReading(JobPhase.FAILED, reason="INSPECTION_FAILED", message=missing)
    try:
        raw = api.call("GET", f"/nodes/{node.text('uuid')}/inventory", deadline)
    except NoNode:
        # As on Ironic 21.4, whose API has a place for it, and whose inspection by Redfish leaves it empty.
        message = (
            "Ironic kept no inventory of what it inspected: this inspect interface, of this release, names no disk"
        )
        return JobReading(JobPhase.FAILED, reason="INSPECTION_FAILED", message=message)
    inventory = json.loads(raw).get("inventory") or {}
    found = facts.disks(inventory)
    if any(not disk.serial for disk in found):
        message = "a disk tells neither serial number nor WWN, so nothing could prove that it was erased"
        return JobReading(JobPhase.FAILED, reason="DISK_WITHOUT_NAME", message=message)
    return JobReading(
        JobPhase.PASSED, 100, node.state, facts=facts.hardware(node, inventory), disks=found
    )  # fmt: skip


def without(steps: Iterable[str]) -> list[dict[str, object]]:
    """What has Ironic leave these steps of its deploy interface out of a deploy: its ``deploy_steps``."""
    return [{"interface": "deploy", "step": step, "args": {}, "priority": 0} for step in steps]


def stand(node: Node) -> list[str]:
    """How a node stands, so that it can be told later whether anything happened since."""
    return [node.state, node.moved, node.text("inspection_finished_at")]


def begun(node: Node, job: dict[str, Any]) -> bool:
    """Whether the job was begun after it was noted: asking Ironic for it moves the node at once."""
    return job.get("seen") != stand(node)


def _config_drive(document: bytes) -> dict[str, object]:
    """Our secret document as Ironic takes it: user data as text."""
    found: dict[str, Any] = json.loads(document or b"{}")
    data = base64.b64decode(found.pop("user_data", "") or "")
    return {**found, "user_data": data.decode()} if data else found
