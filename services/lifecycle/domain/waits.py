# SPDX-License-Identifier: Apache-2.0
"""Every reason why a server may stand still: what it means, who must act, and the exact command."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Blocker:
    """One wait or fault.

    Attributes:
        code: UPPER_SNAKE.
        meaning: what it means, a sentence.
        who: nobody, administrator, tenant or network administrator.
        remedy: what to do, a sentence.
        commands: the exact commands; ``{server}`` stands for the server's id, ``{instance}`` and ``{project}`` for
            those of its instance.
    """

    code: str
    meaning: str
    who: str
    remedy: str
    commands: tuple[str, ...] = ()


_RECOVER = ("bms server recover {server}",)
_LOOK = ("bms server show {server}", "bms event list --server {server}")

_ALL = (
    # Waits: the worker looks again by itself.
    Blocker(
        "POWER_NOT_OFF",
        "Power off was asked for, and the BMC still reads on.",
        "nobody",
        "Wait; if it stays, look at the server's console.",
    ),
    Blocker(
        "POWER_NOT_ON",
        "Power on was asked for, and the BMC still reads off.",
        "nobody",
        "Wait; if it stays, look at the server's console.",
    ),
    Blocker("POWER_UNKNOWN", "The BMC answers and cannot tell the power.", "administrator", "Look at the BMC itself."),
    Blocker(
        "PORTS_NOT_SETTLED",
        "The fabric does not show yet what was asked of the ports.",
        "nobody",
        "Wait for the switch; if it stays, look at the switch and its port.",
        ("bms server port list {server}",),
    ),
    Blocker(
        "FABRIC_SILENT",
        "The switch or controller of a port does not answer.",
        "network administrator",
        "Bring the switch or controller back; nothing goes on before its ports were read.",
        ("bms server port list {server}",),
    ),
    Blocker(
        "JOB_RUNNING",
        "The controller is at work: inspecting, writing, erasing or booting.",
        "nobody",
        "Wait; the per cent tells how far it is.",
    ),
    Blocker(
        "BMC_SILENT",
        "The server's BMC does not answer.",
        "administrator",
        "Bring the BMC or its network back. The server goes on by itself; one in quarantine is then led back to the"
        " pool.",
        (*_LOOK, *_RECOVER),
    ),
    Blocker(
        "INVENTORY_SILENT",
        "The inventory service does not answer.",
        "administrator",
        "Start the inventory service.",
        ("bms status",),
    ),
    Blocker(
        "IPAM_SILENT", "The ipam service does not answer.", "administrator", "Start the ipam service.", ("bms status",)
    ),
    Blocker(
        "NETWORK_SILENT",
        "The network service does not answer.",
        "administrator",
        "Start the network service.",
        ("bms status",),
    ),
    Blocker(
        "PRIVATE_NETWORK_MISSING",
        "The site has no private network of the class that is needed.",
        "administrator",
        "Make it; the server goes on by itself.",
        (
            "bms network create cleaning --project site --class cleaning",
            "bms network create provisioning --project site --class provisioning",
            "bms network create rescue --project site --class rescue",
        ),
    ),
    Blocker("RETRYING", "A step failed and is tried again.", "nobody", "Wait; the number of tries is bounded.", _LOOK),
    Blocker(
        "REFUSED_BY_PEER",
        "Another service refuses a step that cannot be given up.",
        "administrator",
        "Remove the cause that the reason names; the server goes on by itself.",
        _LOOK,
    ),
    # Faults: the server is in quarantine until somebody leads it out.
    Blocker(
        "BMC_LOGIN_REFUSED",
        "The BMC answers and refuses the stored login.",
        "administrator",
        "Store the right login, then lead the server out of quarantine.",
        ("bms server set {server} --bmc-username USER --bmc-password-file FILE", *_RECOVER),
    ),
    Blocker(
        "INSPECTION_FAILED",
        "Inspecting the hardware failed.",
        "administrator",
        "Look at the reason, mend the hardware, recover.",
        _RECOVER,
    ),
    Blocker("NO_DISKS", "Inspection found no disk.", "administrator", "Mend the hardware, recover.", _RECOVER),
    Blocker(
        "NO_PORTS",
        "No port of the server is plugged in, as far as inventory knows.",
        "administrator",
        "Name the switch and switch port of at least one port, then recover.",
        ("bms server show {server}", *_RECOVER),
    ),
    Blocker(
        "IMAGE_WRITE_FAILED",
        "Writing the image failed, more often than may be tried again.",
        "administrator",
        "Recover the server; the tenant deletes his instance and makes it anew.",
        _RECOVER,
    ),
    Blocker(
        "IMAGE_CORRUPT",
        "What was read back from the disk is not the image.",
        "administrator",
        "Look at the image's source and checksum, then recover.",
        ("bms image list", *_RECOVER),
    ),
    Blocker(
        "DISK_ERASE_FAILED",
        "A disk could not be erased.",
        "administrator",
        "Replace the disk, then recover: everything is inspected and erased anew.",
        _RECOVER,
    ),
    Blocker(
        "CLEAN_INCOMPLETE",
        "The clean pass did not cover every inspected disk.",
        "administrator",
        "Look for a disk that went missing, then recover.",
        _RECOVER,
    ),
    Blocker(
        "DISK_APPEARED",
        "The clean pass met a disk that inspection had not found.",
        "administrator",
        "Find out whose disk it is, then recover: everything is inspected and erased anew.",
        _RECOVER,
    ),
    Blocker(
        "RESCUE_FAILED",
        "The rescue system did not start.",
        "administrator",
        "Recover the server; the tenant's disk is lost.",
        _RECOVER,
    ),
    Blocker(
        "NO_NETWORK",
        "The server found no network to boot from.",
        "network administrator",
        "Look at its boot port and switch port, then recover.",
        ("bms server port list {server}", *_RECOVER),
    ),
    Blocker("JOB_LOST", "The controller forgot the work it was given.", "administrator", "Recover.", _RECOVER),
    Blocker(
        "STEP_OVERDUE",
        "A step took longer than it may.",
        "administrator",
        "Look at what it waited for, mend that, recover.",
        (*_LOOK, *_RECOVER),
    ),
    Blocker(
        "BY_ADMINISTRATOR",
        "An administrator set it aside.",
        "administrator",
        "When its cause is gone, recover.",
        _RECOVER,
    ),
    Blocker(
        "POWER_ON_UNPLANNED",
        "It was found powered on though it should have been off: its clean pass no longer counts.",
        "administrator",
        "Find out who powered it on, then recover: it is cleaned anew.",
        _RECOVER,
    ),
    Blocker(
        "PORTS_MOVED_UNPLANNED",
        "A port was found on a network though it should have been in quarantine.",
        "network administrator",
        "Find out who configured the switch, then recover.",
        ("bms server port list {server}", *_RECOVER),
    ),
    Blocker(
        "PEER_REFUSED",
        "Another service refused a step.",
        "administrator",
        "Look at the message, remove the cause, recover.",
        (*_LOOK, *_RECOVER),
    ),
    # Standing still without a wait or fault.
    Blocker(
        "ENROLLED",
        "It is registered and was never provided.",
        "administrator",
        "Provide it: every disk is erased.",
        ("bms server provide {server}",),
    ),
    Blocker(
        "MAINTENANCE",
        "An administrator set it into maintenance; it is not offered.",
        "administrator",
        "End maintenance when the work is done.",
        ("bms server maintenance unset {server}",),
    ),
    Blocker(
        "UNMANAGED",
        "It is only on record: it is never provided, cleaned or taken.",
        "nobody",
        "Nothing; or mark it as managed.",
        ("bms server set {server} --managed",),
    ),
    Blocker(
        "INSTANCE_FAILED",
        "Its instance failed and holds it until its project deletes it.",
        "tenant",
        "The tenant deletes the instance, or an administrator takes the server back.",
        ("bms instance delete {instance} --project {project}", "bms server recover {server} --take-from-instance"),
    ),
)

BLOCKERS: dict[str, Blocker] = {blocker.code: blocker for blocker in _ALL}
"""Code -> what it means and what to do. A wait or fault whose code is not here is a defect; a test looks for them."""
