# SPDX-License-Identifier: Apache-2.0
"""Ironic's hardware, of which Nova deploys those servers that an order books; docs/decisions/0048 says why and how.

Nova is the holder and nothing more: its driver sets the node's ``instance_uuid`` and has Ironic write the image. Power,
rebuild and rescue go to Ironic as ever, and Nova follows. A trait of flavor and node names a deploy template that
leaves out the step which would boot the image while the ports are still where it was written.

What has to outlive this process stands in the node's ``extra.bms.nova``, written before Nova is asked: the request, the
project and, once it is known, Nova's server. That one is deleted when the server is offered again, and not before: so
long Placement keeps it from others, also while it is cleaned.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from services.kernel.clock import Clock
from services.kernel.errors import WrongState
from services.lifecycle.backends import ironic_facts as facts
from services.lifecycle.backends import ironic_gates as gates
from services.lifecycle.backends import ironic_holds as holds
from services.lifecycle.backends.ironic import IronicHardware, asking
from services.lifecycle.backends.ironic_api import Deadline, IronicApi, Node, NoNode
from services.lifecycle.backends.ironic_jobs import BOOT, SWITCH, begun, stand, without
from services.lifecycle.backends.neutron_ports import LeasePort, Ports
from services.lifecycle.backends.nova_servers import REQUEST, Booked, NovaServers
from services.lifecycle.backends.nova_user_data import user_data
from services.lifecycle.bmc import Credentials
from services.lifecycle.domain.server import TAKEN
from services.lifecycle.ports import Booking, ImageOrder, JobKind, JobOrder, JobPhase, JobReading, NotNow, Target
from services.runtime.openstack import Refused

_BUSY = "CONTROLLER_BUSY"
_MOST_USER_DATA = 65535
"""Bytes in base64: what Nova's column takes."""


@dataclass(frozen=True, slots=True)
class Note:
    """What stands in ``extra.bms.nova``: the job's request id, the project, Nova's server once it is known."""

    request: str
    project: str
    server: str = ""

    @classmethod
    def of(cls, node: Node) -> Note | None:
        """The one of *node*; None if Nova was not asked for it, or its server is gone."""
        found = node.ours.get("nova")
        if not isinstance(found, dict):
            return None
        return cls(str(found.get("request", "")), str(found.get("project", "")), str(found.get("server", "")))


class NovaHardware(IronicHardware):
    """`services.lifecycle.ports.Hardware` over Ironic and Nova; may be called from any thread.

    Args:
        trait: the deploy template's name, and the trait by which flavors ask for it.
        moves_ports: see `Hardware.moves_ports`.
    """

    def __init__(
        self, api: IronicApi, credentials: Credentials, clock: Clock, nova: NovaServers, ports: Ports, *,
        trait: str, redfish_ca: str = "", moves_ports: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(api, credentials, clock, redfish_ca=redfish_ca, vifs=ports if moves_ports else None)
        self._nova = nova
        self._ports = ports
        self._trait = trait

    def check_offer(self, target: Target, booking: Booking) -> None:
        """See `Hardware.check_offer`: Ironic, Placement, the quota of the tenant, and the template."""
        with asking("check_offer", target) as deadline:
            node = self._api.settled(target.server, deadline)
            holds.refuse_others(node)
            holds.refuse_used(node)
            if node.text(holds.HOLDER) or Note.of(node) is not None:
                # Ours, of a hold that was not given back: a database that was restored has forgotten it.
                self._leave(node, deadline)
                holds.let_go(self._api, target.server, deadline)
            self._check_template(deadline)
            self._nova.check_quota(booking.project, booking.flavor)
            if why := self._nova.not_offered(target.server, self._trait):
                raise NotNow(_BUSY, why, remedy="Wait: Nova looks every minute.", peer="nova", server=target.server)

    def unreserve(self, target: Target) -> None:
        """See `Hardware.unreserve`."""
        with asking("unreserve", target) as deadline:
            try:
                node = self._api.settled(target.server, deadline)
            except NoNode:
                return
            if Note.of(node) is not None:
                self._leave(node, deadline)
            holds.let_go(self._api, target.server, deadline)

    def _is_started(self, node: Node, request_id: str) -> bool:
        """See `IronicHardware._is_started`. What Nova was asked for is its to start, which takes it a while."""
        note = Note.of(node)
        return (note is not None and note.request == request_id) or super()._is_started(node, request_id)

    def _before_on(self, node: Node, deadline: Deadline) -> None:
        """See `IronicHardware._before_on`. Nova is told of a server that is off while it takes it for running.

        So it is after a deployment that left out booting; its own look at powers would stop it, perhaps just after it
        was switched on, and would not follow what Ironic tells of it.
        """
        note, server = Note.of(node), node.text("uuid")
        if note is None or not note.server or node.text("power_state") != "power off":
            return
        asked = False
        while (found := self._nova.get(note.server)) is not None and found.status == "ACTIVE":
            if not asked:
                self._nova.stop(note.server)
                asked = True
            if not deadline.pause():
                msg = f"Nova still takes its server {note.server} for running, which is off"
                raise NotNow(_BUSY, msg, remedy="Wait, or look at the server in Nova.", peer="nova", server=server)

    def start_job(self, target: Target, order: JobOrder, *, request_id: str) -> None:
        """See `Hardware.start_job`; TakenElsewhere if somebody has the node before Nova was asked."""
        if order.booking is None or order.image is None:
            super().start_job(target, order, request_id=request_id)
            return
        with asking("start_job", target) as deadline:
            node = self._api.settled(target.server, deadline)
            note, job = Note.of(node), node.ours.get("job") or {}
            if note is not None and note.request == request_id:
                if job.get("refused") or note.server:
                    return
                if (found := self._nova.find(note.project, request_id)) is not None:
                    self._hold(node, replace(note, server=found.id), order.booking, deadline)
                    return
            elif note is not None:
                self._leave(node, deadline)
                node = self._api.settled(target.server, deadline)
            gates.out_of_maintenance(self._api, node, deadline)
            gates.check(node, JobKind.DEPLOY, "active", moves_ports=self.moves_ports)
            holds.refuse_others(node)
            if node.state != "available":
                msg = f"Ironic shows the node {node.state}; Nova can have it once it is available"
                raise NotNow(_BUSY, msg, peer="ironic", server=target.server)
            self._book(node, order.booking, order.image, order.config_drive, request_id, deadline)

    def _read(self, node: Node, request_id: str, deadline: Deadline) -> JobReading:
        """The job of *request_id*, which may be Nova's."""
        note, job = Note.of(node), node.ours.get("job") or {}
        if note is None or note.request != request_id or job.get("id") != request_id:
            return super()._read(node, request_id, deadline)
        if refused := job.get("refused"):
            return JobReading(JobPhase.FAILED, reason="REFUSED", message=str(refused))
        if not note.server:
            return JobReading(JobPhase.ABSENT)
        server = self._nova.get(note.server)
        if server is None or server.deleting:
            gone = f"Nova's server {note.server} was deleted meanwhile"
            return JobReading(JobPhase.FAILED, reason="NOVA_SERVER_GONE", message=gone)
        hold = note.server if node.text(holds.HOLDER) == note.server else ""
        if server.status == "ERROR":
            reason = TAKEN if node.text(holds.HOLDER) and not hold else "NOVA_FAILED"
            return JobReading(JobPhase.FAILED, reason=reason, message=self._why_not(server, node))
        percent, stage = facts.progress(node)
        if server.status == "ACTIVE" and node.state == "active":
            written = facts.written(node, job)
            return JobReading(JobPhase.PASSED, 100, node.state, hold=hold, image=written)
        if begun(node, job) and node.state in ("deploy failed", "error"):
            return JobReading(JobPhase.FAILED, hold=hold, reason="IRONIC_FAILED", message=_why(server, node))
        return JobReading(JobPhase.RUNNING, percent, stage if hold else f"Nova: {server.status}", hold=hold)

    # ------------------------------------------------------------------------------------------------------------------

    def _book(
        self, node: Node, booking: Booking, image: ImageOrder, drive: bytes, request_id: str, deadline: Deadline
    ) -> None:
        server = node.text("uuid")
        note = Note(request_id, booking.project)
        job: dict[str, object] = {"id": request_id, "kind": JobKind.DEPLOY.value, "seen": stand(node)}
        job |= {"image": image.image, "checksum": image.checksum, "flavor": booking.flavor}
        try:
            wanted = _server(node, booking, drive, request_id, self._ports.of(booking.instance, booking.leases))
        except WrongState as error:
            self._note(node, note, {**job, "refused": str(error)}, deadline)
            return
        # Whoever deletes Nova's server, or has it fail, has Ironic clean: never is it offered there as it is.
        self._note(node, note, job, deadline, {"/automated_clean": True})
        try:
            ident = self._nova.boot(booking.project, wanted)
        except Refused as error:
            self._note(node, note, {**job, "refused": f"Nova refuses ({error.status}): {error.text}"}, deadline)
            return
        self._hold(self._api.node(server, deadline), replace(note, server=ident), booking, deadline)

    def _note(
        self, node: Node, note: Note, job: dict[str, object], deadline: Deadline, more: dict[str, object] | None = None
    ) -> None:
        kept = {**node.ours, "job": job, "nova": asdict(note)}
        self._api.patch(node.text("uuid"), {**(more or {}), "/extra/bms": kept}, deadline)

    def _hold(self, node: Node, note: Note, booking: Booking, deadline: Deadline) -> None:
        """Notes whose server Nova's is, so that the node is known for ours once Nova's driver holds it."""
        hold = {"id": note.server, "instance": booking.instance}
        kept = {**node.ours, "nova": asdict(note), "hold": hold}
        self._api.patch(node.text("uuid"), {"/extra/bms": kept}, deadline)

    def _leave(self, node: Node, deadline: Deadline) -> None:
        """Has Nova's server of *node* deleted, if there is one, and waits until it is.

        Raises:
            NotNow: it is not gone yet.
        """
        note, server = Note.of(node), node.text("uuid")
        if note is None:
            return
        found = self._nova.get(note.server) if note.server else self._nova.find(note.project, note.request)
        if found is not None:
            if node.text(holds.HOLDER) == found.id and node.state != "available":
                # Nova has Ironic undeploy what it deployed; here the ports are not on the cleaning network. A node that
                # others were quicker to take is theirs, and cleaned after them.
                self._api.patch(server, {"/automated_clean": False}, deadline)
            if not found.deleting:
                self._nova.delete(found.id)
            while self._nova.get(found.id) is not None:
                if not deadline.pause():
                    msg = f"Nova is still deleting its server {found.id}"
                    raise NotNow(_BUSY, msg, remedy="Wait, or look at the server in Nova.", peer="nova", server=server)
            node = self._api.settled(server, deadline)
        kept = {key: value for key, value in node.ours.items() if key != "nova"}
        if found is not None and (kept.get("hold") or {}).get("id") == found.id and not node.text(holds.HOLDER):
            kept.pop("hold")
        self._api.patch(server, {"/extra/bms": kept}, deadline)

    def _why_not(self, server: Booked, node: Node) -> str:
        """Why Nova's server failed; "no valid host" is put into words, since it was asked for one host alone."""
        said = _why(server, node)
        if "no valid host" not in said.lower():
            return said
        flavor = (node.ours.get("job") or {}).get("flavor")
        unfit = f"Placement offers it, so Nova's flavor asks for what it has not: openstack flavor show {flavor}"
        return f"{said}; {self._nova.not_offered(node.text('uuid'), self._trait) or unfit}"

    def _check_template(self, deadline: Deadline) -> None:
        try:
            found = self._api.get(f"/deploy_templates/{self._trait}", deadline)
        except NoNode:
            found = {}
        steps = found.get("steps") or []
        left_out = {one.get("step") for one in steps if one.get("interface") == "deploy" and one.get("priority") == 0}
        wanted = (BOOT, SWITCH) if self.moves_ports else (BOOT,)
        if left_out.issuperset(wanted):
            return
        names = " and ".join(f"deploy.{step}" for step in wanted)
        msg = f"Ironic shows our login no deploy template {self._trait} that leaves out {names}"
        remedy = (
            f"As administrator of the system: openstack baremetal deploy template create {self._trait} --steps "
            f"'{json.dumps(without(wanted))}'; and let our login read it."
        )
        raise WrongState(msg, remedy=remedy, subject=self._trait)


def _server(node: Node, booking: Booking, drive: bytes, request_id: str, ports: list[LeasePort]) -> dict[str, object]:
    """What Nova is asked for; it holds secrets.

    Raises:
        WrongState: it would not take it.
    """
    document: dict[str, Any] = json.loads(drive or b"{}")
    meta = document.get("meta_data") or {}
    keys = [str(key) for key in (meta.get("public_keys") or {}).values()]
    data = user_data(keys, base64.b64decode(document.get("user_data") or ""))
    name = booking.instance.rsplit("/", 1)[-1]
    wanted: dict[str, object] = {
        "name": name,
        "flavorRef": booking.flavor,
        "imageRef": booking.image,
        "networks": [{"port": port.id} for port in ports],
        "config_drive": True,
        "hypervisor_hostname": node.text("uuid"),
        "metadata": {REQUEST: request_id, "bms_instance": booking.instance},
    }
    if host := str(meta.get("hostname") or "").partition(".")[0]:
        wanted["hostname"] = host
    if data:
        encoded = base64.b64encode(data).decode()
        if len(encoded) > _MOST_USER_DATA:
            msg = f"Nova takes {_MOST_USER_DATA} bytes of user data in base64, and these are {len(encoded)}"
            raise WrongState(msg, remedy="Shorten the user data, or have them fetched.", subject=booking.instance)
        wanted["user_data"] = encoded
    return wanted


def _why(server: Booked, node: Node) -> str:
    said = server.fault or f"Nova shows its server {server.status}"
    return f"{said}; Ironic: {node.error}" if node.error else said
