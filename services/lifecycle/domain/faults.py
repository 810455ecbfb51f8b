# SPDX-License-Identifier: Apache-2.0
"""Why a server lies in quarantine until somebody leads it out; see waits.py."""

from __future__ import annotations

from services.lifecycle.domain.blocker import Blocker, Cure, Kind

_RECOVER = ("bms server recover {server}",)
_LOOK = ("bms server show {server}", "bms event list --server {server}")

FAULTS = (
    Blocker(
        "BMC_LOGIN_REFUSED",
        Kind.FAULT,
        "The BMC answers and refuses the stored login.",
        "administrator",
        "Store the right login, then lead the server out of quarantine.",
        ("bms server set {server} --bmc-username USER --bmc-password-file FILE", *_RECOVER),
    ),
    Blocker(
        "INSPECTION_FAILED",
        Kind.FAULT,
        "Inspecting the hardware failed.",
        "administrator",
        "Look at the reason, mend the hardware, recover.",
        _RECOVER,
    ),
    Blocker(
        "NO_DISKS",
        Kind.FAULT,
        "Inspection found no disk.",
        "administrator",
        "Mend the hardware, recover.",
        _RECOVER,
    ),
    Blocker(
        "NO_PORTS",
        Kind.FAULT,
        "No port of the server is plugged in, as far as inventory knows.",
        "administrator",
        "Name the switch and switch port of at least one port, then recover.",
        ("bms server show {server}", *_RECOVER),
    ),
    Blocker(
        "IMAGE_WRITE_FAILED",
        Kind.FAULT,
        "Writing the image failed, more often than may be tried again.",
        "administrator",
        "Recover the server; the tenant deletes his instance and makes it anew.",
        _RECOVER,
    ),
    Blocker(
        "IMAGE_CORRUPT",
        Kind.FAULT,
        "What was read back from the disk is not the image.",
        "administrator",
        "Look at the image's source and checksum, then recover.",
        ("bms image list", *_RECOVER),
    ),
    Blocker(
        "DISK_ERASE_FAILED",
        Kind.FAULT,
        "A disk could not be erased.",
        "administrator",
        "Replace the disk, then recover: everything is inspected and erased anew.",
        _RECOVER,
    ),
    Blocker(
        "CLEAN_STEP_FAILED",
        Kind.FAULT,
        "A clean step that an administrator had run by hand failed.",
        "administrator",
        "Look at the reason: the driver may not know the step, or its arguments. Run it again, or recover: everything"
        " is inspected and erased anew.",
        (*_LOOK, *_RECOVER),
    ),
    Blocker(
        "TAKEN_ELSEWHERE",
        Kind.FAULT,
        "Somebody else took the server in its controller (Ironic, Nova), or used it there since it was last cleaned for"
        " us. Nothing was done to it.",
        "administrator",
        "Find out who has it. When it was given back, recover: everything is inspected and erased anew.",
        ("openstack baremetal node show {server} --fields instance_uuid provision_state lessee extra", *_RECOVER),
    ),
    Blocker(
        "CLEAN_INCOMPLETE",
        Kind.FAULT,
        "The clean pass did not cover every inspected disk.",
        "administrator",
        "Look for a disk that went missing, then recover.",
        _RECOVER,
    ),
    Blocker(
        "ISOLATION_VIOLATED",
        Kind.FAULT,
        "The verifier found an invariant of isolation broken in the server's log.",
        "administrator",
        "Look at the finding and its two witness events, find the cause, then recover: everything is inspected and"
        " erased anew.",
        ("bms audit isolation --server {server}", *_RECOVER),
    ),
    Blocker(
        "DISK_APPEARED",
        Kind.FAULT,
        "A clean pass, or a deploy, met a disk that inspection had not found.",
        "administrator",
        "Find out whose disk it is, then recover: everything is inspected and erased anew.",
        _RECOVER,
    ),
    Blocker(
        "DISK_WITHOUT_NAME",
        Kind.FAULT,
        "Inspection found a disk without a serial number: that it was erased could not be shown.",
        "administrator",
        "Replace the disk, or have its controller tell the serial number; then recover.",
        _RECOVER,
    ),
    Blocker(
        "RESCUE_FAILED",
        Kind.FAULT,
        "The rescue system did not start.",
        "administrator",
        "Recover the server; the tenant's disk is lost.",
        _RECOVER,
    ),
    Blocker(
        "NO_NETWORK",
        Kind.FAULT,
        "The server found no network to boot from.",
        "network administrator",
        "Look at its boot port and switch port, then recover.",
        ("bms server port list {server}", *_RECOVER),
    ),
    Blocker(
        "JOB_LOST",
        Kind.FAULT,
        "The controller forgot the work it was given.",
        "administrator",
        "Recover.",
        _RECOVER,
        cure=Cure.BEGIN_ANEW,
    ),
    Blocker(
        "STEP_OVERDUE",
        Kind.FAULT,
        "A step took longer than it may.",
        "administrator",
        "Look at what it waited for, mend that, recover.",
        (*_LOOK, *_RECOVER),
    ),
    Blocker(
        "BY_ADMINISTRATOR",
        Kind.FAULT,
        "An administrator set it aside.",
        "administrator",
        "When its cause is gone, recover.",
        _RECOVER,
    ),
    Blocker(
        "POWER_ON_UNPLANNED",
        Kind.FAULT,
        "It was found powered on though it should have been off: its clean pass no longer counts.",
        "administrator",
        "Find out who powered it on, then recover: it is cleaned anew.",
        _RECOVER,
    ),
    Blocker(
        "PORTS_MOVED_UNPLANNED",
        Kind.FAULT,
        "A port was found on a network that nobody here asked for.",
        "network administrator",
        "Find out who configured the switch, then recover.",
        ("bms server port list {server}", *_RECOVER),
    ),
    Blocker(
        "NETWORK_OPENED",
        Kind.FAULT,
        "A private network that the server was on can be seen, joined or reached by tenants.",
        "network administrator",
        "Take back in the controller what the reason names: sharing, a policy, a route target, a router. Find out who"
        " joined the network meanwhile, then recover.",
        ("bms network list", *_RECOVER),
    ),
    Blocker(
        "PORTS_UNSEEN",
        Kind.FAULT,
        "A job was over, and its server's boot port was never read on the private network that it was to run on.",
        "network administrator",
        "See which networks the controller (Ironic) uses for that job and whether network has them in that class; then "
        "recover.",
        ("bms network list", *_RECOVER),
    ),
    Blocker(
        "PEER_REFUSED",
        Kind.FAULT,
        "Another service refused a step.",
        "administrator",
        "Look at the message, remove the cause, recover.",
        (*_LOOK, *_RECOVER),
    ),
    Blocker(
        "INSTANCE_FAILED",
        Kind.FAULT,
        "Its instance failed and holds it until its project deletes it.",
        "tenant",
        "The tenant deletes the instance, or an administrator takes the server back.",
        ("bms instance delete {instance} --project {project}", "bms server recover {server} --take-from-instance"),
    ),
    Blocker(
        "NOT_AS_NAMED",
        Kind.FAULT,
        "A server to be adopted is on other networks than were named; it was left as it was.",
        "administrator",
        "Name the networks that it reads on, or correct the switch; then adopt it again.",
        ("bms server port list {server}",),
    ),
)
"""The reasons that a fault may have, in the order in which docs/runbook.md has them."""
