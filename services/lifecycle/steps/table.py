# SPDX-License-Identifier: Apache-2.0
"""Which code runs for which step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from services.lifecycle.domain.step import StepName
from services.lifecycle.peers import Addresses, Inventory, Networks
from services.lifecycle.ports import Hardware
from services.lifecycle.steps.addresses import AddressSteps
from services.lifecycle.steps.adopting import AdoptingSteps
from services.lifecycle.steps.attaching import AttachingSteps
from services.lifecycle.steps.booking import BookingSteps
from services.lifecycle.steps.ending import EndingSteps
from services.lifecycle.steps.jobs import ConfigDrive, JobSteps
from services.lifecycle.steps.meanwhile import MeanwhileSteps
from services.lifecycle.steps.moving import MovingSteps
from services.lifecycle.steps.outcomes import Context, Outcome
from services.lifecycle.steps.power import PowerSteps
from services.lifecycle.steps.reserving import ReservingSteps

StepTable = Mapping[StepName, Callable[[Context], Outcome]]
"""Every step but END_INSTANCE, which reads nothing of the world and is domain/walk.py's own."""


def steps(
    hardware: Hardware,
    inventory: Inventory,
    networks: Networks,
    addresses: Addresses,
    config_drive: ConfigDrive,
    look_every: timedelta = timedelta(minutes=15),
) -> StepTable:
    """The steps over these ports; *look_every*: how often a server's ports are read while a job runs on it."""
    power, attaching = PowerSteps(hardware), AttachingSteps(networks, inventory, hardware, look_every)
    jobs, address = JobSteps(hardware, inventory, config_drive, attaching), AddressSteps(addresses, networks)
    ending, adopting = EndingSteps(inventory, networks, hardware), AdoptingSteps(networks, inventory, hardware)
    booking = BookingSteps(hardware, inventory, config_drive)
    moving = MovingSteps(attaching, inventory, networks)
    meanwhile, reserving = MeanwhileSteps(attaching, inventory, hardware), ReservingSteps(hardware)
    return {
        StepName.VERIFY_BMC: power.verify_bmc,
        StepName.POWER_OFF: power.power_off,
        StepName.POWER_ON: power.power_on,
        StepName.SWITCH_ON: power.power_on,
        StepName.REBOOT: power.reboot,
        StepName.REGISTER_PORTS: attaching.register_ports,
        StepName.ATTACH_PROVISIONING: attaching.attach,
        StepName.ATTACH_CLEANING: attaching.attach,
        StepName.ATTACH_RESCUE: attaching.attach,
        StepName.ATTACH_TENANT: attaching.attach,
        StepName.DETACH_ALL: meanwhile.detach_all,
        StepName.DETACH_NETWORK: attaching.attach,
        StepName.CHANGE_LINKS: moving.change_links,
        StepName.SETTLE_LINKS: moving.settle_links,
        StepName.RECABLE: moving.recable,
        StepName.CHECK_OFFER: booking.check_offer,
        StepName.RESERVE_NODE: reserving.reserve_node,
        StepName.UNRESERVE_NODE: reserving.unreserve_node,
        StepName.INSPECT: jobs.inspect,
        StepName.BOOK_SERVER: booking.book_server,
        StepName.WRITE_IMAGE: jobs.write_image,
        StepName.CLEAN: jobs.clean,
        StepName.RUN_STEPS: jobs.run_steps,
        StepName.BOOT_RESCUE: jobs.boot_rescue,
        StepName.LEASE_ADDRESSES: address.lease_addresses,
        StepName.COUNT_ADDRESSES: address.count_addresses,
        StepName.COOL_ADDRESSES: address.cool_addresses,
        StepName.WITHDRAW_ADDRESSES: address.withdraw_addresses,
        StepName.FORCE_ADDRESSES: address.force_addresses,
        StepName.FIND_PORTS: adopting.find_ports,
        StepName.TAKE_OVER: adopting.take_over,
        StepName.FORGET_PORTS: adopting.forget_ports,
        StepName.REPORT: ending.report,
        StepName.CLOSE: ending.close,
    }
