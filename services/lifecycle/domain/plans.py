# SPDX-License-Identifier: Apache-2.0
"""What each intent does, step by step, and where a step that fails leads.

An API call records an intent; the worker walks its plan. The order of the steps is the product's promise (design of
deploy and release): power off observed, then ports, then addresses, then cleaning.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.states import Trigger
from services.lifecycle.domain.step import OnFailure, Step, StepName

_MINUTE = timedelta(minutes=1)
_N, _F = StepName, OnFailure


def _power_off(*, enter: Trigger | None = None, fails: OnFailure = _F.QUARANTINE) -> Step:
    return Step(_N.POWER_OFF, "power off, read back from the BMC", 5 * _MINUTE, enter=enter, on_failure=fails)


def _detach_all(*, enter: Trigger | None = None) -> Step:
    # Taking a server off its networks is never given up: it is tried again for ever, under an alarm.
    return Step(_N.DETACH_ALL, "all ports to quarantine, read back from the fabric", None, enter=enter)


_REPORT = Step(_N.REPORT, "tell inventory", None, weight=1, on_failure=_F.STAY)


def _clean(*, enter: Trigger) -> tuple[Step, ...]:
    return (
        Step(_N.ATTACH_CLEANING, "boot port to the private cleaning network, read back", 5 * _MINUTE, enter=enter),
        # So that pools show what it is doing for the hours that follow.
        _REPORT,
        Step(_N.CLEAN, "erase every inspected disk", timedelta(hours=5), weight=60, erases=True),
        _power_off(),
        _detach_all(),
    )


_AVAILABLE = Step(
    _N.REPORT, "tell inventory that it is available", None, weight=1, enter=Trigger.CLEANED, on_failure=_F.STAY
)
_UNRESERVE = Step(_N.UNRESERVE_NODE, "its controller holds it for nobody", None, weight=1)
_OFFERED = (_UNRESERVE, _AVAILABLE)


def _reserve(fails: OnFailure) -> Step:
    # Before anything is done to it, so that whoever was second leaves no trace of having been there.
    return Step(_N.RESERVE_NODE, "its controller holds it for the instance", 10 * _MINUTE, weight=1, on_failure=fails)


_BOOK = Step(_N.BOOK_SERVER, "Nova has it deployed, and so holds it", 10 * _MINUTE, weight=1)


def _image(*, enter: Trigger | None = None, booked: bool = False) -> tuple[Step, ...]:
    # What was booked cannot be begun anew: a deployment that fails has ended the booking.
    retries, what = 0 if booked else 2, "write the image and verify its checksum on the disk"
    return (
        Step(
            _N.ATTACH_PROVISIONING, "boot port to the private provisioning network, read back", 5 * _MINUTE, enter=enter
        ),
        *((_BOOK,) if booked else ()),
        Step(_N.WRITE_IMAGE, what, 60 * _MINUTE, weight=60, retries=retries),
        _power_off(),
        _detach_all(enter=Trigger.IMAGED),
    )


def _to_tenant(*, enter: Trigger | None = None, last: Trigger | None = None) -> tuple[Step, ...]:
    return (
        Step(_N.ATTACH_TENANT, "ports to the tenant's networks, read back", 5 * _MINUTE, enter=enter),
        Step(_N.POWER_ON, "power on, read back from the BMC", 5 * _MINUTE),
        Step(_N.REPORT, "tell inventory", None, weight=1, enter=last, on_failure=_F.STAY),
    )


_REBOOT = Step(_N.REBOOT, "one power cycle, read back from the BMC", 10 * _MINUTE, on_failure=_F.STAY)
_LOGIN = Step(_N.VERIFY_BMC, "prove that the BMC answers and takes the login", 10 * _MINUTE, on_failure=_F.STAY)

_ONBOARD = (
    Step(_N.VERIFY_BMC, "prove that the BMC answers and takes the login", 10 * _MINUTE),
    Step(_N.REGISTER_PORTS, "every port to quarantine, read back from the fabric", None),
)


def _inspect(enter: Trigger) -> tuple[Step, ...]:
    return (
        Step(_N.INSPECT, "inspect cores, memory, ports and disks", 30 * _MINUTE, weight=10, enter=enter),
        # Whatever inspecting left running, the disks' old system perhaps, does not come onto the cleaning network.
        _power_off(),
    )


# What the steps do is known to the driver alone, so its disks may be others afterwards, and hold anything.
_MANUAL = (
    _power_off(),
    Step(_N.ATTACH_CLEANING, "boot port to the private cleaning network, read back", 5 * _MINUTE),
    _REPORT,
    Step(_N.RUN_STEPS, "run the clean steps that were asked for, which may erase disks", timedelta(hours=5), weight=40,
         erases=True),
    _power_off(),
    _detach_all(),
)  # fmt: skip

# Addresses before disks: an instance's hold has ended when the tenant's deletion has.
_GIVE_BACK = (
    _power_off(fails=_F.SILENT),
    _detach_all(enter=Trigger.POWERED_OFF),
    Step(_N.COOL_ADDRESSES, "its addresses into cool-down", None),
    Step(_N.END_INSTANCE, "end the instance", None, weight=1),
)


def _to_new_links(fails: OnFailure) -> tuple[Step, ...]:
    """From read in quarantine where its ports were, to read there where they are."""
    return (
        _detach_all(),
        Step(_N.CHANGE_LINKS, "inventory has the new links", 10 * _MINUTE, weight=1, on_failure=fails),
        # Not given up, as no detach is: a new link that cannot be read is corrected by asking for another.
        Step(_N.SETTLE_LINKS, "all ports to quarantine on their new links, and nothing on the old, read back", None),
        Step(_N.RECABLE, "wait until somebody says that the cables are moved, unless he has", None, weight=1),
    )


_NOT_OFFERED = Step(_N.REPORT, "tell inventory that it is not offered", None, weight=1, on_failure=_F.STAY)
_OFFERED_AGAIN = replace(_AVAILABLE, enter=None)

_PLANS: dict[IntentKind, tuple[Step, ...]] = {
    IntentKind.PROVIDE: (*_ONBOARD, *_inspect(Trigger.VERIFIED), *_clean(enter=Trigger.INSPECTED), *_OFFERED),
    IntentKind.RECOVER: (
        *_ONBOARD,
        _power_off(),
        Step(_N.COOL_ADDRESSES, "addresses it still held into cool-down", None),
        Step(_N.END_INSTANCE, "end the instance that held it", None, weight=1),
        *_inspect(Trigger.VERIFIED),
        *_clean(enter=Trigger.INSPECTED),
        *_OFFERED,
    ),
    # Not offered before anything is done, and cleaned like any other before it is offered again.
    IntentKind.CLEAN: (
        _NOT_OFFERED,
        *_MANUAL,
        *_inspect(Trigger.INSPECT),
        *_clean(enter=Trigger.INSPECTED),
        *_OFFERED,
    ),
    IntentKind.CLEAN_ENROLLED: (*_ONBOARD, *_MANUAL, replace(_REPORT, enter=Trigger.KEPT)),
    IntentKind.CLEAN_QUARANTINED: (*_ONBOARD, *_MANUAL, replace(_REPORT, enter=Trigger.QUARANTINE)),
    # By administrators, on what nobody holds: whatever becomes of it, the server is where it was.
    IntentKind.SWITCH_ON: (
        _LOGIN,
        Step(_N.SWITCH_ON, "power on, read back from the BMC", 5 * _MINUTE, on_failure=_F.STAY),
    ),
    IntentKind.SWITCH_OFF: (_LOGIN, _power_off(fails=_F.STAY)),
    IntentKind.SWITCH_REBOOT: (_LOGIN, _REBOOT),
    IntentKind.DEPLOY: (
        _reserve(_F.UNDO),
        Step(_N.LEASE_ADDRESSES, "lease its addresses", 10 * _MINUTE, on_failure=_F.UNDO),
        *_image(enter=Trigger.PROVISION),
        *_to_tenant(last=Trigger.SWITCHED),
    ),
    # Nova holds a server by deploying it, and not before; it wants to be given the ports, and so the addresses, first.
    IntentKind.DEPLOY_NOVA: (
        Step(_N.CHECK_OFFER, "its controllers offer it", 10 * _MINUTE, weight=1, on_failure=_F.UNDO),
        Step(_N.LEASE_ADDRESSES, "lease its addresses", 10 * _MINUTE, on_failure=_F.UNDO),
        *_image(enter=Trigger.PROVISION, booked=True),
        *_to_tenant(last=Trigger.SWITCHED),
    ),
    # Somebody was quicker after its ports had been moved for the instance: all of that goes back before another server
    # is sought. Of the server itself nothing is asked, as with STAND_BACK.
    IntentKind.PLACE_ANEW: (
        _detach_all(),
        Step(_N.COOL_ADDRESSES, "addresses into cool-down", None),
        # What Nova was asked for counts against the tenant's quota, and shall not stand beside the next one.
        _UNRESERVE,
        Step(_N.END_INSTANCE, "let the instance seek another server", None, weight=1),
        _REPORT,
    ),
    IntentKind.UNDO: (
        Step(_N.COOL_ADDRESSES, "addresses into cool-down", None),
        _UNRESERVE,
        Step(_N.END_INSTANCE, "let the instance go", None, weight=1),
        replace(_AVAILABLE, enter=Trigger.UNRESERVE),
    ),
    IntentKind.REBUILD: (
        _power_off(),
        _detach_all(),
        *_image(),
        *_to_tenant(last=Trigger.SWITCHED),
    ),
    IntentKind.RESCUE: (
        _power_off(),
        _detach_all(),
        Step(_N.ATTACH_RESCUE, "boot port to the rescue network, read back", 5 * _MINUTE),
        Step(_N.BOOT_RESCUE, "start the rescue system", 20 * _MINUTE, weight=40),
        Step(_N.REPORT, "tell inventory", None, weight=1, enter=Trigger.BOOTED, on_failure=_F.STAY),
    ),
    IntentKind.UNRESCUE: (
        _power_off(),
        _detach_all(enter=Trigger.UNRESCUE),
        *_to_tenant(last=Trigger.SWITCHED),
    ),
    IntentKind.STOP: (_power_off(fails=_F.STAY), _detach_all()),
    # A server found on while its ports are in quarantine is powered off before they return.
    IntentKind.START: (_power_off(fails=_F.STAY), *_to_tenant()),
    IntentKind.REBOOT: (_REBOOT,),
    IntentKind.ATTACH: (
        Step(_N.LEASE_ADDRESSES, "lease its address", 10 * _MINUTE, on_failure=_F.STAY),
        Step(_N.ATTACH_TENANT, "port to the tenant's network, read back", 5 * _MINUTE),
    ),
    # A running instance that is on no network at all: it is powered off before its ports return from quarantine.
    IntentKind.ATTACH_RESTART: (
        Step(_N.LEASE_ADDRESSES, "lease its address", 10 * _MINUTE, on_failure=_F.STAY),
        _power_off(fails=_F.STAY),
        Step(_N.ATTACH_TENANT, "port to the tenant's network, read back", 5 * _MINUTE),
        Step(_N.POWER_ON, "power on, read back from the BMC", 5 * _MINUTE),
    ),
    IntentKind.DETACH: (
        Step(_N.DETACH_NETWORK, "port off the network, read back from the fabric", None),
        Step(_N.COOL_ADDRESSES, "its address into cool-down", None),
    ),
    # A start that the brake holds: stopped as it was, ports first.
    IntentKind.PUT_BACK: (_detach_all(), Step(StepName.POWER_OFF, "power off, when the BMC answers", None)),
    # A free server whose ports were plugged in elsewhere: not taken by anybody before they were read there.
    IntentKind.REPLUG: (
        _NOT_OFFERED,
        _detach_all(),
        _OFFERED_AGAIN,
    ),
    # An instance's server to other switch ports. Powered off once more before its ports return: people were at it.
    IntentKind.MOVE: (
        _power_off(fails=_F.STAY),
        *_to_new_links(_F.QUARANTINE),
        _power_off(),
        *_to_tenant(),
    ),
    # Of one that was shut down from within: it is off afterwards, too.
    IntentKind.MOVE_QUIET: (
        _power_off(fails=_F.STAY),
        *_to_new_links(_F.QUARANTINE),
        _power_off(),
        Step(_N.ATTACH_TENANT, "ports to the tenant's networks, read back", 5 * _MINUTE),
    ),
    IntentKind.MOVE_STOPPED: (_power_off(fails=_F.STAY), *_to_new_links(_F.QUARANTINE)),
    IntentKind.MOVE_FREE: (
        _NOT_OFFERED,
        *_to_new_links(_F.STAY),
        _OFFERED_AGAIN,
    ),
    # Enrolled, or in quarantine, where it stays.
    IntentKind.MOVE_ASIDE: _to_new_links(_F.STAY),
    # Somebody else's by now: nothing is asked of it or of the fabric.
    IntentKind.STAND_BACK: (_NOT_OFFERED,),
    IntentKind.RELEASE: (*_GIVE_BACK, *_clean(enter=Trigger.DETACHED), *_OFFERED),
    # Adopted, or forced into the pool: nobody inspected it yet.
    IntentKind.RELEASE_FOUND: (*_GIVE_BACK, *_inspect(Trigger.INSPECT), *_clean(enter=Trigger.INSPECTED), *_OFFERED),
    # The BMC is silent, or the server is in quarantine already: ports are cut first, the tenant's deletion ends,
    # addresses are kept until power off was read, and an administrator leads out of quarantine.
    IntentKind.RELEASE_SILENT: (
        _detach_all(),
        # While it is known whose they are: a lease may have been granted to a worker that never came to say so.
        Step(_N.COUNT_ADDRESSES, "find every address the instance holds", None, weight=1),
        Step(
            _N.END_INSTANCE,
            "end the instance, with a warning if power off was not read",
            None,
            enter=Trigger.QUARANTINE,
        ),
        _REPORT,
        Step(_N.POWER_OFF, "wait until power off can be read", None),
        Step(_N.COOL_ADDRESSES, "its addresses into cool-down", None),
    ),
    IntentKind.QUARANTINE: (
        _detach_all(),
        _REPORT,
        Step(_N.POWER_OFF, "power off, when the BMC answers", None),
    ),
    # Nothing is asked of the server or of the fabric: it is in use.
    IntentKind.ADOPT: (
        # First, so that inventory refuses to delete it from here on.
        Step(_N.REPORT, "tell inventory whose it will be", None, weight=1, on_failure=_F.STAY),
        Step(_N.VERIFY_BMC, "prove that the BMC answers and takes the login", 10 * _MINUTE, on_failure=_F.LEAVE),
        _reserve(_F.LEAVE),
        Step(_N.FIND_PORTS, "read every port on exactly the networks named", 10 * _MINUTE, on_failure=_F.LEAVE),
        Step(_N.LEASE_ADDRESSES, "lease the addresses it has", 10 * _MINUTE, on_failure=_F.LEAVE),
        Step(_N.TAKE_OVER, "read ports and power: its evidence begins", 10 * _MINUTE, on_failure=_F.LEAVE),
        Step(_N.REPORT, "tell inventory", None, weight=1, enter=Trigger.ADOPTED, on_failure=_F.STAY),
    ),
    IntentKind.UNADOPT: (
        Step(_N.WITHDRAW_ADDRESSES, "addresses it was leased into cool-down", None),
        _UNRESERVE,
        Step(_N.FORGET_PORTS, "let network and inventory forget what was found", None),
        Step(_N.END_INSTANCE, "let the instance go", None, weight=1),
        Step(_N.REPORT, "tell inventory", None, weight=1, enter=Trigger.LEAVE, on_failure=_F.STAY),
    ),
    # Two administrators answer for what cannot be read: addresses go first, ports and power follow when they answer.
    IntentKind.FORCE_RELEASE: (
        Step(_N.FORCE_ADDRESSES, "its addresses into cool-down, without proof", None),
        Step(_N.END_INSTANCE, "end the instance that held it", None, weight=1),
        _REPORT,
        _detach_all(),
        Step(_N.POWER_OFF, "power off, when the BMC answers", None),
    ),
    IntentKind.FORCE_AVAILABLE: (
        Step(_N.REGISTER_PORTS, "every port to quarantine, read back from the fabric", None),
        _power_off(),
        _UNRESERVE,
        replace(_AVAILABLE, enter=Trigger.FORCE),
    ),
    IntentKind.SKIP_CLEAN: (_power_off(), _detach_all(), *_OFFERED),
    IntentKind.ATTEST: (Step(_N.COOL_ADDRESSES, "its addresses into cool-down", None),),
    IntentKind.CLOSE: (
        # Left out where no port is, or may be, on a network: what was never provided is not touched.
        _detach_all(),
        Step(_N.CLOSE, "forget its ports and hardware, close its log, tell inventory", None),
    ),
}


def plan_of(kind: IntentKind) -> tuple[Step, ...]:
    """The steps of *kind*, in order."""
    return _PLANS[kind]


def percent(kind: IntentKind, index: int, within: int) -> int:
    """How far a plan is, 0 to 100, when step *index* is *within* per cent done."""
    plan = _PLANS[kind]
    total = sum(step.weight for step in plan)
    done = sum(step.weight for step in plan[:index])
    now = plan[index].weight * min(max(within, 0), 100) / 100 if index < len(plan) else 0
    return min(100, int(100 * (done + now) / total))
