# SPDX-License-Identifier: Apache-2.0
"""Every reason why a server may stand still: what it means, who must act, how long it may last, the exact command.

docs/runbook.md is written from here, and diagnoses and errors lead there.
"""

from __future__ import annotations

from datetime import timedelta

from services.lifecycle.domain.blocker import Blocker, Cure, Kind
from services.lifecycle.domain.faults import FAULTS
from services.lifecycle.domain.waits_of_controllers import OF_CONTROLLERS
from services.lifecycle.domain.waits_of_others import OF_OTHERS

FAULT_SLA = timedelta(days=1)
"""How long a server may lie in quarantine before it is overdue, where its code does not say otherwise."""
STEP_SLA = timedelta(hours=1)
"""How long a step that is never given up may take, whatever it waits for, before it is overdue."""

_MINUTE = timedelta(minutes=1)
_RECOVER = ("bms server recover {server}",)
_LOOK = ("bms server show {server}", "bms event list --server {server}")
_K = Kind

_ALL = (
    # Waits: the worker looks again by itself.
    Blocker(
        "POWER_NOT_OFF",
        _K.WAIT,
        "Power off was asked for, and the BMC still reads on.",
        "nobody",
        "Wait; if it stays, look at the server's console.",
        _RECOVER,
        sla=2 * _MINUTE,
        cure=Cure.ASK_POWER,
    ),
    Blocker(
        "POWER_NOT_ON",
        _K.WAIT,
        "Power on was asked for, and the BMC still reads off.",
        "nobody",
        "Wait; if it stays, look at the server's console.",
        _RECOVER,
        sla=2 * _MINUTE,
        cure=Cure.ASK_POWER,
    ),
    Blocker(
        "POWER_UNKNOWN",
        _K.WAIT,
        "The BMC answers and cannot tell the power.",
        "administrator",
        "Look at the BMC itself.",
        sla=5 * _MINUTE,
    ),
    Blocker(
        "PORTS_NOT_SETTLED",
        _K.WAIT,
        "The fabric does not show yet what was asked of the ports.",
        "nobody",
        "Wait for the switch; if it stays, look at the switch and its port.",
        ("bms server port list {server}", *_RECOVER),
        sla=2 * _MINUTE,
        cure=Cure.REGISTER_PORTS,
    ),
    Blocker(
        "FABRIC_SILENT",
        _K.WAIT,
        "The switch or controller of a port does not answer.",
        "network administrator",
        "Bring the switch or controller back, or tell inventory where the port is plugged in now; nothing goes on"
        " before its ports were read.",
        ("bms server port list {server}", *_RECOVER),
        sla=5 * _MINUTE,
        cure=Cure.REGISTER_PORTS,
    ),
    Blocker(
        "JOB_RUNNING",
        _K.WAIT,
        "The controller is at work: inspecting, writing, erasing or booting.",
        "nobody",
        "Wait; the per cent tells how far it is.",
        sla=300 * _MINUTE,
    ),
    Blocker(
        "BMC_SILENT",
        _K.WAIT,
        "The server's BMC does not answer.",
        "administrator",
        "Bring the BMC or its network back. The server goes on by itself; one in quarantine is then led back to the"
        " pool.",
        (*_LOOK, *_RECOVER),
        sla=5 * _MINUTE,
        cure=Cure.RESET_BMC,
    ),
    Blocker(
        "INVENTORY_SILENT",
        _K.WAIT,
        "The inventory service does not answer.",
        "administrator",
        "Start the inventory service.",
        ("bms status",),
        sla=2 * _MINUTE,
    ),
    Blocker(
        "IPAM_SILENT",
        _K.WAIT,
        "The ipam service does not answer.",
        "administrator",
        "Start the ipam service.",
        ("bms status",),
        sla=2 * _MINUTE,
    ),
    Blocker(
        "NETWORK_SILENT",
        _K.WAIT,
        "The network service does not answer.",
        "administrator",
        "Start the network service.",
        ("bms status",),
        sla=2 * _MINUTE,
    ),
    Blocker(
        "PRIVATE_NETWORK_MISSING",
        _K.WAIT,
        "The site has no private network of the class that is needed.",
        "administrator",
        "Make it; the server goes on by itself.",
        (
            "bms network create cleaning --project site --class cleaning",
            "bms network create provisioning --project site --class provisioning",
            "bms network create rescue --project site --class rescue",
            *_RECOVER,
        ),
        sla=_MINUTE,
    ),
    Blocker(
        "RETRYING",
        _K.WAIT,
        "A step failed and is tried again.",
        "nobody",
        "Wait; the number of tries is bounded.",
        _LOOK,
        sla=_MINUTE,
    ),
    Blocker(
        "REFUSED_BY_PEER",
        _K.WAIT,
        "Another service refuses a step that cannot be given up.",
        "administrator",
        "Remove the cause that the reason names; the server goes on by itself.",
        _LOOK,
        sla=2 * _MINUTE,
        cure=Cure.REGISTER_PORTS,
    ),
    Blocker(
        "PORTS_LOST",
        _K.WAIT,
        "The instance runs, and a port of its server was found off its networks.",
        "network administrator",
        "Look at the switch and its controller. Nothing is taken from the tenant; a stop and start asks for them anew.",
        ("bms server port list {server}", "bms event list --server {server}"),
        sla=timedelta(0),
    ),
    Blocker(
        "PORTS_IN_DOUBT",
        _K.WAIT,
        "The instance runs, and how a port of its server is attached is not certain; as far as it shows, to nothing but"
        " its own networks.",
        "network administrator",
        "Look at the switch and its controller: the reason says what does not fit. Nothing is taken from the tenant; a"
        " stop and start asks for his networks anew.",
        ("bms server port list {server}", "bms event list --server {server}"),
        sla=timedelta(0),
    ),
    Blocker(
        "BRAKE_PULLED",
        _K.WAIT,
        "It should be set aside by itself, and the brake holds that: they would be too many, or all for one cause."
        " Where a verb failed, what it had changed is being put back.",
        "administrator",
        "Find out whether the readings are true. If they are, set the server aside by hand; if not, mend the cause."
        " Then release the brake.",
        (
            "bms brake show",
            "bms server port list {server}",
            "bms server quarantine {server} --reason REASON",
            "bms brake release --reason REASON",
        ),
        sla=timedelta(0),
    ),
    Blocker(
        "RECABLE",
        _K.WAIT,
        "The server is being moved to other switch ports: its ports were cut, inventory and network have the new links,"
        " and nothing is left on the old ones.",
        "administrator",
        "Move its cables as the reason says, then say so. If they went elsewhere, name the links they are at now.",
        (
            "bms server cabled {server}",
            "bms server port list {server}",
            "bms server move {server} --port PORT=SWITCH/PORT --reason REASON",
        ),
        sla=timedelta(hours=1),
    ),
    *OF_CONTROLLERS,
    *OF_OTHERS,
    *FAULTS,
    # Standing still without a wait or fault.
    Blocker(
        "ENROLLED",
        _K.REST,
        "It is registered and was never provided.",
        "administrator",
        "Provide it: every disk is erased.",
        ("bms server provide {server}",),
    ),
    Blocker(
        "MAINTENANCE",
        _K.REST,
        "An administrator set it into maintenance; it is not offered.",
        "administrator",
        "End maintenance when the work is done.",
        ("bms server maintenance unset {server}",),
    ),
    Blocker(
        "RETIRED",
        _K.REST,
        "An administrator retired it: it is offered to nobody.",
        "administrator",
        "Delete it when it leaves the site; or end its retirement and provide it.",
        ("bms server delete {server}", "bms server unretire {server}"),
    ),
    Blocker(
        "UNMANAGED",
        _K.REST,
        "It is only on record: it is never provided, cleaned or taken.",
        "nobody",
        "Nothing; or mark it as managed.",
        ("bms server set {server} --managed",),
    ),
    Blocker(
        "ADDRESS_CONTESTED",
        _K.REST,
        "The controller gave an address of it to another as well. It stays with its tenant: no port is where it should"
        " not be.",
        "administrator",
        "Take the address from the other, whom the event in the address's stream names; ipam sees that within a minute,"
        " and holds it for this server again.",
        ("bms event list --server {server}", "bms audit isolation --server {server}"),
    ),
    Blocker(
        "POWER_LOST",
        _K.REST,
        "The instance should run, and its server was found off: it was shut down from within, or lost its mains.",
        "tenant",
        "Nothing if it was shut down on purpose; else reboot it.",
        ("bms instance reboot {instance} --project {project}",),
    ),
)

BLOCKERS: dict[str, Blocker] = {blocker.code: blocker for blocker in _ALL}
"""Code -> what it means and what to do. A wait or fault whose code is not here is a defect; a test looks for them."""
