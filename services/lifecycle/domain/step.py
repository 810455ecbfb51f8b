# SPDX-License-Identifier: Apache-2.0
"""What a step of a plan is: plans.py puts them together, services/lifecycle/steps has the code of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from services.lifecycle.domain.states import Trigger


class StepName(StrEnum):
    """One step; its code is in services/lifecycle/steps."""

    VERIFY_BMC = "verify_bmc"
    REGISTER_PORTS = "register_ports"
    FIND_PORTS = "find_ports"
    TAKE_OVER = "take_over"
    CHECK_OFFER = "check_offer"
    RESERVE_NODE = "reserve_node"
    BOOK_SERVER = "book_server"
    UNRESERVE_NODE = "unreserve_node"
    FORGET_PORTS = "forget_ports"
    POWER_OFF = "power_off"
    POWER_ON = "power_on"
    REBOOT = "reboot"
    SWITCH_ON = "switch_on"
    INSPECT = "inspect"
    LEASE_ADDRESSES = "lease_addresses"
    COUNT_ADDRESSES = "count_addresses"
    COOL_ADDRESSES = "cool_addresses"
    WITHDRAW_ADDRESSES = "withdraw_addresses"
    FORCE_ADDRESSES = "force_addresses"
    ATTACH_PROVISIONING = "attach_provisioning"
    ATTACH_CLEANING = "attach_cleaning"
    ATTACH_RESCUE = "attach_rescue"
    ATTACH_TENANT = "attach_tenant"
    DETACH_ALL = "detach_all"
    DETACH_NETWORK = "detach_network"
    CHANGE_LINKS = "change_links"
    SETTLE_LINKS = "settle_links"
    RECABLE = "recable"
    WRITE_IMAGE = "write_image"
    BOOT_RESCUE = "boot_rescue"
    CLEAN = "clean"
    RUN_STEPS = "run_steps"
    END_INSTANCE = "end_instance"
    REPORT = "report"
    CLOSE = "close"


class OnFailure(StrEnum):
    """Where a step that fails leads."""

    QUARANTINE = "quarantine"
    """All ports to quarantine, before anything else."""
    STAY = "stay"
    """Nothing was changed: the operation fails, the server stays what it was."""
    UNDO = "undo"
    """Nothing was done to the server: leases are given back and it is available again."""
    LEAVE = "leave"
    """Nothing was touched: what was leased is withdrawn, and the server is enrolled as it was."""
    ELSEWHERE = "elsewhere"
    """Somebody else has the server: nothing is asked of it or its ports, it is set aside, its instance placed anew."""
    SILENT = "silent"
    """Release with a BMC that does not answer: ports first, then quarantine."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan.

    Attributes:
        name: which code runs.
        limit: how long it may take, from entering it; None waits for ever, under an alarm.
        weight: its share of the operation's per cent.
        enter: the trigger that entering this step is, if it changes the server's state.
        on_failure: where its failure leads.
        retries: how often a failure that says so may be tried again from its start.
        description: what it does, for people.
        erases: whether it erases disks.
    """

    name: StepName
    description: str
    limit: timedelta | None
    weight: int = 5
    enter: Trigger | None = None
    on_failure: OnFailure = OnFailure.QUARANTINE
    retries: int = 0
    erases: bool = False

    @property
    def may_fail(self) -> bool:
        """Whether it may fail: what has no limit is tried for ever under the alarm, but for ports nobody plugged in."""
        return self.limit is not None or self.name is StepName.REGISTER_PORTS
