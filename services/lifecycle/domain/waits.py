# SPDX-License-Identifier: Apache-2.0
"""Every reason why a server may stand still: what it means, who must act, how long it may last, the exact command.

docs/runbook.md is written from here, and diagnoses and errors lead there.
"""

from __future__ import annotations

from datetime import timedelta

from services.lifecycle.domain.blocker import Blocker, Cure, Kind
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
    *OF_CONTROLLERS,
    *OF_OTHERS,
    # Faults: the server is in quarantine until somebody leads it out.
    Blocker(
        "BMC_LOGIN_REFUSED",
        _K.FAULT,
        "The BMC answers and refuses the stored login.",
        "administrator",
        "Store the right login, then lead the server out of quarantine.",
        ("bms server set {server} --bmc-username USER --bmc-password-file FILE", *_RECOVER),
    ),
    Blocker(
        "INSPECTION_FAILED",
        _K.FAULT,
        "Inspecting the hardware failed.",
        "administrator",
        "Look at the reason, mend the hardware, recover.",
        _RECOVER,
    ),
    Blocker(
        "NO_DISKS",
        _K.FAULT,
        "Inspection found no disk.",
        "administrator",
        "Mend the hardware, recover.",
        _RECOVER,
    ),
    Blocker(
        "NO_PORTS",
        _K.FAULT,
        "No port of the server is plugged in, as far as inventory knows.",
        "administrator",
        "Name the switch and switch port of at least one port, then recover.",
        ("bms server show {server}", *_RECOVER),
    ),
    Blocker(
        "IMAGE_WRITE_FAILED",
        _K.FAULT,
        "Writing the image failed, more often than may be tried again.",
        "administrator",
        "Recover the server; the tenant deletes his instance and makes it anew.",
        _RECOVER,
    ),
    Blocker(
        "IMAGE_CORRUPT",
        _K.FAULT,
        "What was read back from the disk is not the image.",
        "administrator",
        "Look at the image's source and checksum, then recover.",
        ("bms image list", *_RECOVER),
    ),
    Blocker(
        "DISK_ERASE_FAILED",
        _K.FAULT,
        "A disk could not be erased.",
        "administrator",
        "Replace the disk, then recover: everything is inspected and erased anew.",
        _RECOVER,
    ),
    Blocker(
        "CLEAN_STEP_FAILED",
        _K.FAULT,
        "A clean step that an administrator had run by hand failed.",
        "administrator",
        "Look at the reason: the driver may not know the step, or its arguments. Run it again, or recover: everything"
        " is inspected and erased anew.",
        (*_LOOK, *_RECOVER),
    ),
    Blocker(
        "TAKEN_ELSEWHERE",
        _K.FAULT,
        "Somebody else took the server in its controller (Ironic, Nova), or used it there since it was last cleaned for"
        " us. Nothing was done to it.",
        "administrator",
        "Find out who has it. When it was given back, recover: everything is inspected and erased anew.",
        ("openstack baremetal node show {server} --fields instance_uuid provision_state lessee extra", *_RECOVER),
    ),
    Blocker(
        "CLEAN_INCOMPLETE",
        _K.FAULT,
        "The clean pass did not cover every inspected disk.",
        "administrator",
        "Look for a disk that went missing, then recover.",
        _RECOVER,
    ),
    Blocker(
        "ISOLATION_VIOLATED",
        _K.FAULT,
        "The verifier found an invariant of isolation broken in the server's log.",
        "administrator",
        "Look at the finding and its two witness events, find the cause, then recover: everything is inspected and"
        " erased anew.",
        ("bms audit isolation --server {server}", *_RECOVER),
    ),
    Blocker(
        "DISK_APPEARED",
        _K.FAULT,
        "A clean pass, or a deploy, met a disk that inspection had not found.",
        "administrator",
        "Find out whose disk it is, then recover: everything is inspected and erased anew.",
        _RECOVER,
    ),
    Blocker(
        "DISK_WITHOUT_NAME",
        _K.FAULT,
        "Inspection found a disk without a serial number: that it was erased could not be shown.",
        "administrator",
        "Replace the disk, or have its controller tell the serial number; then recover.",
        _RECOVER,
    ),
    Blocker(
        "RESCUE_FAILED",
        _K.FAULT,
        "The rescue system did not start.",
        "administrator",
        "Recover the server; the tenant's disk is lost.",
        _RECOVER,
    ),
    Blocker(
        "NO_NETWORK",
        _K.FAULT,
        "The server found no network to boot from.",
        "network administrator",
        "Look at its boot port and switch port, then recover.",
        ("bms server port list {server}", *_RECOVER),
    ),
    Blocker(
        "JOB_LOST",
        _K.FAULT,
        "The controller forgot the work it was given.",
        "administrator",
        "Recover.",
        _RECOVER,
        cure=Cure.BEGIN_ANEW,
    ),
    Blocker(
        "STEP_OVERDUE",
        _K.FAULT,
        "A step took longer than it may.",
        "administrator",
        "Look at what it waited for, mend that, recover.",
        (*_LOOK, *_RECOVER),
    ),
    Blocker(
        "BY_ADMINISTRATOR",
        _K.FAULT,
        "An administrator set it aside.",
        "administrator",
        "When its cause is gone, recover.",
        _RECOVER,
    ),
    Blocker(
        "POWER_ON_UNPLANNED",
        _K.FAULT,
        "It was found powered on though it should have been off: its clean pass no longer counts.",
        "administrator",
        "Find out who powered it on, then recover: it is cleaned anew.",
        _RECOVER,
    ),
    Blocker(
        "PORTS_MOVED_UNPLANNED",
        _K.FAULT,
        "A port was found on a network that nobody here asked for.",
        "network administrator",
        "Find out who configured the switch, then recover.",
        ("bms server port list {server}", *_RECOVER),
    ),
    Blocker(
        "PORTS_UNSEEN",
        _K.FAULT,
        "A job was over, and its server's boot port was never read on the private network that it was to run on.",
        "network administrator",
        "See which networks the controller (Ironic) uses for that job and whether network has them in that class; then "
        "recover.",
        ("bms network list", *_RECOVER),
    ),
    Blocker(
        "PEER_REFUSED",
        _K.FAULT,
        "Another service refused a step.",
        "administrator",
        "Look at the message, remove the cause, recover.",
        (*_LOOK, *_RECOVER),
    ),
    Blocker(
        "INSTANCE_FAILED",
        _K.FAULT,
        "Its instance failed and holds it until its project deletes it.",
        "tenant",
        "The tenant deletes the instance, or an administrator takes the server back.",
        ("bms instance delete {instance} --project {project}", "bms server recover {server} --take-from-instance"),
    ),
    Blocker(
        "NOT_AS_NAMED",
        _K.FAULT,
        "A server to be adopted is on other networks than were named; it was left as it was.",
        "administrator",
        "Name the networks that it reads on, or correct the switch; then adopt it again.",
        ("bms server port list {server}",),
    ),
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
