# SPDX-License-Identifier: Apache-2.0
"""The hardware as Ironic keeps it; docs/decisions/0023-a-genuine-life-on-ironic.md says what becomes of each call.

A server is the node of the same UUID. What has to outlive this process stands in the node's ``extra.bms``: the job
that was asked for, how the node stood when it was, the reboots that were done. An act writes there first and asks
Ironic then, so whoever repeats it finds out what came of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from services.kernel.clock import Clock
from services.kernel.effect import effect
from services.kernel.errors import PeerUnavailable, WrongState
from services.kernel.events import PowerSeen
from services.lifecycle.backends import ironic_facts as facts
from services.lifecycle.backends import ironic_gates as gates
from services.lifecycle.backends import ironic_holds as holds
from services.lifecycle.backends import ironic_jobs as jobs
from services.lifecycle.backends.ironic_adopt import adopt
from services.lifecycle.backends.ironic_api import Deadline, IronicApi, Node, NoNode
from services.lifecycle.backends.ironic_console import close_console, open_console
from services.lifecycle.backends.ironic_describe import describe, unleased
from services.lifecycle.backends.ironic_gates import silent as _silent
from services.lifecycle.backends.ironic_roads import road
from services.lifecycle.backends.ironic_verbs import mark, unmark
from services.lifecycle.backends.neutron_ports import Ports
from services.lifecycle.bmc import Bmc, Credentials
from services.lifecycle.ports import (
    Booking,
    ConsoleSeen,
    ImageOrder,
    JobKind,
    JobOrder,
    JobPhase,
    JobReading,
    Marks,
    NotNow,
    ServerCard,
    Target,
)
from services.runtime.openstack import Refused

_REMEMBERED_REBOOTS = 16
_LOGIN_REFUSED = re.compile(r"(?i)\b40[13]\b|unauthori[sz]ed|access ?error|credential|password|invalid user")
_NO_MANAGEMENT = (400, 405, 501)
_CLEANING = ("cleaning", "clean wait", "clean hold")
"""Power is Ironic's own meanwhile. A clean that failed has ended."""

_POWER_CHANGED = "last_power_state_change"


class IronicHardware:
    """`services.lifecycle.ports.Hardware` over Ironic; may be called from any thread.

    Args:
        redfish_ca: see `ironic_facts.login`.
        vifs: the ports of leases, if Ironic moves ports (nodes have network interface ``neutron``); None: we do.
    """

    def __init__(
        self, api: IronicApi, credentials: Credentials, clock: Clock, *, redfish_ca: str = "", vifs: Ports | None = None
    ) -> None:
        self._api = api
        self._credentials = credentials
        self._clock = clock
        self._redfish_ca = redfish_ca
        self._vifs = vifs

    @property
    def moves_ports(self) -> bool:
        """See `Hardware.moves_ports`."""
        return self._vifs is not None

    def verify(self, target: Target) -> None:
        """See `Hardware.verify`. A node that Ironic does not have is made."""
        bmc = self._credentials.of(target.server)
        with asking("verify", target) as deadline:
            try:
                node = self._api.settled(target.server, deadline)
            except NoNode:
                self._make(target.server, bmc, deadline)
                node = self._api.node(target.server, deadline)
            holds.refuse_others(node)
            if node.state not in ("enroll", "verifying"):
                if login := self._login(bmc):
                    self._api.patch(target.server, login, deadline, secret=True)
                self._prove(node, bmc, deadline)
                return
            if node.state == "enroll" and node.ours.get("verify") in (None, node.moved):
                kept = {"/extra/bms": {**node.ours, "verify": node.moved}}
                self._api.patch(target.server, {**self._login(bmc), **kept}, deadline, secret=True)
                self._api.provision(target.server, "manage", deadline)
                node = self._api.node(target.server, deadline)
            while node.state == "verifying" and deadline.pause():
                node = self._api.node(target.server, deadline)
            if node.state == "verifying":
                msg = "Ironic is still asking the BMC"
                raise PeerUnavailable(msg, peer="bmc", server=target.server)
            if node.state == "enroll":
                left = {key: value for key, value in node.ours.items() if key != "verify"}
                self._api.patch(target.server, {"/extra/bms": left}, deadline)
                raise _refusal(target.server, bmc, node.error)

    def check_offer(self, target: Target, booking: Booking) -> None:
        """See `Hardware.check_offer`. Without Nova nobody books."""
        msg = f"{booking.instance} cannot be deployed through Nova: lifecycle was told of none"
        raise WrongState(msg, remedy="Set BMS_LIFECYCLE_NOVA_CLOUD.", subject=booking.instance)

    def reserve(self, target: Target, instance: str, *, request_id: str) -> str:
        """See `Hardware.reserve`: ``instance_uuid`` is set, which Nova and allocations set as well."""
        with asking("reserve", target) as deadline:
            return holds.take(self._api, target.server, instance, request_id, deadline)

    def unreserve(self, target: Target) -> None:
        """See `Hardware.unreserve`. After an undeploy Ironic has let go by itself."""
        with asking("unreserve", target) as deadline:
            holds.let_go(self._api, target.server, deadline)

    def describe(self, target: Target, card: ServerCard, *, project: str) -> None:
        """See `Hardware.describe`. A server whose node Ironic has not is described when it is verified."""
        with asking("describe", target) as deadline:
            describe(self._api, target.server, card, project, deadline)

    def adopt(self, target: Target, image: ImageOrder | None, *, project: str) -> None:
        """See `Hardware.adopt`."""
        with asking("adopt", target) as deadline:
            adopt(self._api, target.server, image, deadline)

    def read_power(self, target: Target) -> PowerSeen:
        """See `Hardware.read_power`.

        Ironic shows what it last knew. "Off" proves something and so is only answered once the conductor has asked the
        BMC again, which Ironic does for nothing but a wish for the same; a server that it then found on is answered as
        on, and is switched off by that. "On" is answered as shown: to ask for it could switch a server on.
        """
        with asking("read_power", target) as deadline:
            node = self._api.settled(target.server, deadline)
            if node.text("fault") == "power failure":
                raise _silent(target.server, node.text("maintenance_reason"))
            if node.text("power_state") == "power off" and not node.busy and node.state not in _CLEANING:
                changed = node.internal.get(_POWER_CHANGED)
                node = self._asked(target.server, "power off", deadline)
                if node.internal.get(_POWER_CHANGED) != changed:
                    # The conductor had something to switch off: it was on, whatever Ironic had shown.
                    return self._seen("on", node)
                return self._off(node)
            # Off and not asked for again: not known.
            return self._on(node)

    def set_power(self, target: Target, *, on: bool, request_id: str) -> PowerSeen:
        """See `Hardware.set_power`. A rescued node is switched on by ending its rescue.

        The conductor asks the BMC for what is wished, so what it shows afterwards is as fresh as the wish.
        """
        with asking("set_power", target) as deadline:
            if not on:
                return self._off(self._asked(target.server, "power off", deadline))
            node = self._api.settled(target.server, deadline)
            self._before_on(node, deadline)
            if node.state in ("rescue", "unrescue failed"):
                self._api.provision(target.server, "unrescue", deadline)
                return self._on(self._api.settled(target.server, deadline))
            return self._on(self._asked(target.server, "power on", deadline))

    def reboot(self, target: Target, *, request_id: str) -> None:
        """See `Hardware.reboot`. That a noted wish got lost is seen by Ironic's power not having moved."""
        with asking("reboot", target) as deadline:
            node = self._api.settled(target.server, deadline)
            done = list(node.ours.get("reboots") or [])
            last, changed = node.ours.get("rebooting") or {}, node.internal.get(_POWER_CHANGED)
            lost = last == {"id": request_id, "seen": changed} and not node.busy
            if request_id in done and not lost:
                return
            noted = {
                "reboots": [*(one for one in done if one != request_id), request_id][-_REMEMBERED_REBOOTS:],
                "rebooting": {"id": request_id, "seen": changed},
            }
            self._api.patch(target.server, {"/extra/bms": {**node.ours, **noted}}, deadline)
            self._api.power(target.server, "rebooting", deadline)

    def reset_bmc(self, target: Target) -> None:
        """See `Hardware.reset_bmc`. Ironic has no call for it that holds for its plain drivers, and so never can."""
        msg = "Ironic restarts no BMC"
        raise WrongState(msg, remedy="Restart it by hand.", subject=f"servers/{target.server}")

    def start_job(self, target: Target, order: JobOrder, *, request_id: str) -> None:
        """See `Hardware.start_job`. PeerUnavailable also while Ironic is led to where the job may start."""
        with asking("start_job", target) as deadline:
            while True:
                node = self._api.settled(
                    target.server, deadline, enough=lambda node: self._is_started(node, request_id)
                )
                if self._is_started(node, request_id):
                    return
                gates.out_of_maintenance(self._api, node, deadline)
                way = road(order.kind, node.state)
                node = close_console(self._api, node, order, deadline)
                node = unmark(self._api, node, order, way.verb, deadline)
                gates.check(node, order.kind, way.verb, moves_ports=self.moves_ports)
                if way.blocked:
                    jobs.note_refusal(self._api, node, order, request_id, way.blocked, deadline)
                    return
                if way.starts:
                    jobs.start(self._api, self._vifs, node, order, request_id, way.verb, deadline)
                    return
                if way.verb:
                    if way.verb == "deleted":
                        # Undeploying would clean, and here the ports are not on the cleaning network.
                        self._api.patch(target.server, {"/automated_clean": False}, deadline)
                    self._api.lead(node, way.verb, deadline)
                if not deadline.pause():
                    msg = f"Ironic shows the node {node.state}; the {order.kind.value} starts when it is through"
                    raise NotNow("CONTROLLER_BUSY", msg, peer="ironic", server=target.server)

    def read_job(self, target: Target, *, request_id: str) -> JobReading:
        """See `Hardware.read_job`."""
        with asking("read_job", target) as deadline:
            try:
                node = self._api.node(target.server, deadline)
            except NoNode:
                return JobReading(JobPhase.ABSENT)
            return self._read(node, request_id, deadline)

    def mark(self, target: Target, marks: Marks) -> None:
        """See `Hardware.mark`."""
        with asking("mark", target) as deadline:
            try:
                mark(self._api, target.server, marks, deadline)
            except NoNode:
                return

    def console(self, target: Target) -> ConsoleSeen:
        """See `Hardware.console`."""
        with asking("console", target) as deadline:
            return open_console(self._api, target.server, deadline)

    def forget(self, target: Target) -> None:
        """See `Hardware.forget`. A node that we made goes; one that was there before is left without our notes."""
        with asking("forget", target) as deadline:
            try:
                node = self._api.settled(target.server, deadline)
                if road(JobKind.CLEAN, node.state).verb == "abort":
                    self._api.provision(target.server, "abort", deadline)
                    node = self._api.settled(target.server, deadline)
                if node.ours.get("made"):
                    reason = {"reason": "it leaves the care of the bare metal manager"}
                    self._api.call("PUT", f"/nodes/{target.server}/maintenance", deadline, reason)
                    self._api.call("DELETE", f"/nodes/{target.server}", deadline)
                elif node.ours:
                    # Before our notes go: without them nobody could tell whose the hold was.
                    holds.let_go(self._api, target.server, deadline)
                    self._api.patch(target.server, {"/extra/bms": {}}, deadline, also=unleased(node)[1])
            except NoNode:
                return

    # ------------------------------------------------------------------------------------------------------------------

    def _login(self, bmc: Bmc) -> dict[str, object]:
        if bmc.kept:
            # What the node has is used as it is: Ironic shows it to nobody, and we have no other.
            return {}
        return {f"/driver_info/{key}": value for key, value in facts.login(bmc, self._redfish_ca).items()}

    def _make(self, server: str, bmc: Bmc, deadline: Deadline) -> None:
        if bmc.kept:
            msg = f"Ironic has no node {server}, though it is said to keep the login of its BMC"
            remedy = f"Give address and login: bms server set {server} --bmc-here --bmc-address ADDRESS ..."
            raise WrongState(msg, remedy=remedy, subject=f"servers/{server}", reason="BMC_LOGIN_REFUSED")
        body = {
            "uuid": server,
            "driver": bmc.driver,
            "driver_info": facts.login(bmc, self._redfish_ca),
            "extra": {"bms": {"made": True}},
        }
        self._api.call("POST", "/nodes", deadline, body, secret=True)

    def _prove(self, node: Node, bmc: Bmc, deadline: Deadline) -> None:
        """Asks the BMC of a node that was verified before: its boot device can be read without changing anything."""
        server = node.text("uuid")
        try:
            self._api.call("GET", f"/nodes/{server}/management/boot_device", deadline)
        except Refused as error:
            if error.status in _NO_MANAGEMENT and not _LOGIN_REFUSED.search(error.text):
                # Its driver cannot; what is left is what Ironic knows of its power.
                if node.text("power_state"):
                    return
                raise _silent(server, error.text) from None
            raise _refusal(server, bmc, error.text) from None

    def _is_started(self, node: Node, request_id: str) -> bool:
        """Whether the job of *request_id* needs nobody to start it any more."""
        return jobs.is_started(node, request_id)

    def _read(self, node: Node, request_id: str, deadline: Deadline) -> JobReading:
        """The job of *request_id* as *node* shows it."""
        return jobs.read(self._api, node, request_id, deadline)

    def _before_on(self, node: Node, deadline: Deadline) -> None:
        """What others have to be told before *node* is switched on; nobody, where there is Ironic alone."""

    def _asked(self, server: str, wish: str, deadline: Deadline) -> Node:
        """The node after the conductor asked its BMC for *wish*; still busy if that takes longer than a call may."""
        self._api.power(server, wish, deadline)
        node = self._api.settled(server, deadline, at_work=True)
        if node.text("last_error") and not node.busy:
            raise _silent(server, node.error)
        return node

    def _off(self, node: Node) -> PowerSeen:
        """What a node shows whose BMC was asked for "off"; "on" holds until off was seen."""
        if node.text("power_state") == "power off" and not node.busy and node.state not in _CLEANING:
            return self._seen("off", node)
        return self._on(node)

    def _on(self, node: Node) -> PowerSeen:
        """What a node shows of "on"; one that is coming on is not known."""
        on = node.text("power_state") == "power on" and node.text("target_power_state") != "power on"
        return self._seen("on" if on else "unknown", node)

    def _seen(self, power: str, node: Node) -> PowerSeen:
        return PowerSeen(power, self._clock.now(), node.digest)


@contextmanager
def asking(what: str, target: Target) -> Iterator[Deadline]:
    """One call: its deadline, its effect point, and Ironic's refusals in the words of the port."""
    try:
        with effect(f"hardware.{what}"):
            yield Deadline()
    except NoNode:
        msg = f"Ironic has no node {target.server}"
        remedy = "Provide the server: that brings it into Ironic."
        raise NotNow("REFUSED_BY_PEER", msg, remedy=remedy, peer="ironic", server=target.server) from None
    except Refused as error:
        msg = f"Ironic refuses ({error.status}): {error.text}".removesuffix(": ")
        code = "CONTROLLER_SILENT" if error.status >= 500 else "REFUSED_BY_PEER"
        raise NotNow(code, msg, remedy="Look at the node in Ironic.", peer="ironic", server=target.server) from None


def _refusal(server: str, bmc: Bmc, text: str) -> WrongState | PeerUnavailable:
    """What a failed verification means: Ironic tells a refused login from silence by its words alone."""
    said = text.replace(bmc.password, "***") if bmc.password else text
    if not _LOGIN_REFUSED.search(said):
        return _silent(server, said)
    msg = f"the BMC of servers/{server} refuses the login"
    return WrongState(
        msg,
        remedy="Store the right login with bms server set, then verify again.",
        subject=f"servers/{server}",
        reason="BMC_LOGIN_REFUSED",
    )
