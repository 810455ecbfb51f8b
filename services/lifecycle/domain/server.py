# SPDX-License-Identifier: Apache-2.0
"""A server as lifecycle knows it: one frozen value, changed by replacing.

Facts beside the state (power, port classes, instance, maintenance, isolation) are not states.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.kernel.events import DiskSeen, Head
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.nodes import Policy, Trouble
from services.lifecycle.domain.plans import percent, plan_of
from services.lifecycle.domain.states import LIMITS, State, Trigger, after
from services.lifecycle.domain.step import Step, StepName
from services.lifecycle.ports import CleanStep, HardwareFacts, Marks

TAKEN = "TAKEN_ELSEWHERE"
"""The fault of a server that somebody else took in its controller: nothing of ours is done to it until it is back."""


class Power(StrEnum):
    """A server's power, as last read."""

    NEVER = ""
    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class PortClass(StrEnum):
    """What a port may do; the words of bms.network.v1."""

    QUARANTINE = "quarantine"
    PROVISIONING = "provisioning"
    CLEANING = "cleaning"
    RESCUE = "rescue"
    TENANT = "tenant"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """A network on a port: ``vlan_tag`` 0 is untagged."""

    network: str
    vlan_tag: int = 0


@dataclass(frozen=True, slots=True)
class Oddity:
    """What was last read of a port that is no class, or that puts isolation at stake.

    Attributes:
        networks: that it is or may be on, as far as they are known by name.
        breach: why isolation is at stake, whoever has the server; empty if it is not.
        detail: what is strange, for people.
        opened: the port is where it was read to be, and its network is not private any more.
    """

    networks: tuple[Tag, ...]
    breach: str
    detail: str
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """One port: where it is plugged in, what was asked of it, what was read back.

    Attributes:
        name: ``servers/{uuid}/ports/{port}``.
        observed: the class last read back; UNKNOWN before the first reading.
        networks: what was read back with it.
        read_time: when.
        odd: what was read since that is no class, or puts isolation at stake; None: nothing.
        requested: while a change is out, the class asked for; None when settled. The port then counts as both.
        wanted: the networks asked for with it.
        switch_id: the switch's MAC address or datapath id, for controllers that know it by that.
    """

    name: str
    mac_address: str
    switch_name: str
    switch_port: str
    pxe_enabled: bool = False
    port_group: str = ""
    observed: PortClass = PortClass.UNKNOWN
    networks: tuple[Tag, ...] = ()
    read_time: datetime | None = None
    requested: PortClass | None = None
    wanted: tuple[Tag, ...] = ()
    switch_id: str = ""
    odd: Oddity | None = None

    @property
    def linked(self) -> bool:
        """Whether it is plugged in, as far as anybody said."""
        return bool(self.switch_name and self.switch_port)


@dataclass(frozen=True, slots=True)
class Lease:
    """An address the server holds for an instance, as ipam granted it."""

    name: str
    network: str
    vrf: str
    address: str
    prefix_length: int
    gateway: str
    epoch: int
    dns_servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """What a server waits for.

    Attributes:
        code: registered in domain/waits.py.
        next_try: None: until something else happens.
        alarmed: it was told that something here lasts longer than it may.
    """

    code: str
    reason: str
    since: datetime
    next_try: datetime | None = None
    deadline: datetime | None = None
    alarmed: bool = False


@dataclass(frozen=True, slots=True)
class Tried:
    """How often a wait's or fault's own remedy was tried in the present step, and when last."""

    code: str
    attempts: int
    last: datetime


@dataclass(frozen=True, slots=True)
class Move:
    """A port that is plugged in elsewhere from now on.

    Attributes:
        port: its name.
        left: where it was plugged in, switch and port, each to be read empty in the end.
    """

    port: str
    switch_name: str
    switch_port: str
    switch_id: str = ""
    left: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Intent:
    """What somebody wants done, and how far it is.

    Attributes:
        id: a UUID; with the step's name and attempt it makes the request ids of every act.
        kind: which plan.
        operation: the operation's name; "" for what lifecycle does by itself.
        actor: who asked.
        create_time: when.
        index: the step at work, an index into the plan.
        step_since: when that step was entered.
        attempt: how often the step was begun, from 1.
        acted: whether the step's act was sent.
        within: per cent of the step that is done.
        network: for ATTACH and DETACH: the network's name.
        request_id: the caller's idempotency key, for the record.
        warnings: what went other than asked for, though it ended well.
        tried: which remedies were tried by themselves in this step.
        cure: the code whose remedy the next look at the step shall apply; "" for none.
        forced: the forced action that allows it, `servers/{uuid}/forcedActions/{uuid}`; "" for what needs none.
        steps: of a manual clean: what to run.
        moves: of a server that is moved: its new links.
        cabled: somebody said that the cables are there.
    """

    id: str
    kind: IntentKind
    operation: str
    actor: str
    create_time: datetime
    step_since: datetime
    index: int = 0
    attempt: int = 1
    acted: bool = False
    within: int = 0
    network: str = ""
    request_id: str = ""
    warnings: tuple[str, ...] = ()
    tried: tuple[Tried, ...] = ()
    cure: str = ""
    forced: str = ""
    steps: tuple[CleanStep, ...] = ()
    moves: tuple[Move, ...] = ()
    cabled: bool = False

    @property
    def step(self) -> Step:
        """The step at work."""
        return plan_of(self.kind)[self.index]

    @property
    def is_last(self) -> bool:
        """Whether no step follows."""
        return self.index + 1 >= len(plan_of(self.kind))

    @property
    def percent(self) -> int:
        """How far the whole plan is, 0 to 100."""
        return percent(self.kind, self.index, self.within)


@dataclass(frozen=True, slots=True)
class Report:
    """What inventory should know of a server: the pool row's content."""

    available: bool
    reason: str
    held_by: str


@dataclass(frozen=True, slots=True)
class Server:
    """A server's whole life as it stands.

    Attributes:
        uuid: one identity everywhere.
        version: rises with each change; every write is a compare-and-set on it.
        fence: the number of the last claim; raised by each.
        head: the end of its event chain.
        disks: the disks as last inspected.
        clean_time: when the last clean pass over all of them ended; None before the first and once voided.
        isolated: every port was read back in quarantine after the last change.
        leases: addresses held for the instance, or still held after it ended with a silent BMC.
        facts: what inspection found and inventory has not been told yet.
        reported: what inventory was told last.
        closed: its log is closed and inventory has let it go; only the chain's end is kept.
        tainted_since: when a forced action made its evidence a matter of trust; None if none did since the last full
            clean pass.
        tainted_by: that action's name.
        retired: on its way out of the site: offered to nobody.
        protected: the instance that holds it is; kept here for the flag of its controller.
        marked: the flags that its controller was last told to show.
        holder_told: the project that its controller was last told to show as its holder; "" for nobody.
        card_changed: inventory's record of it changed since its controller was told.
        trouble: what its controller shows though nobody here asked for it; None: nothing that is known.
    """

    uuid: str
    display_name: str
    state_since: datetime
    state: State = State.ENROLLED
    power: Power = Power.NEVER
    power_time: datetime | None = None
    ports: tuple[Port, ...] = ()
    disks: tuple[DiskSeen, ...] = ()
    clean_time: datetime | None = None
    isolated: bool = False
    instance: str = ""
    leases: tuple[Lease, ...] = ()
    maintenance: bool = False
    maintenance_reason: str = ""
    retired: bool = False
    retired_reason: str = ""
    protected: bool = False
    protected_reason: str = ""
    marked: Marks = field(default_factory=Marks)
    holder_told: str = ""
    card_changed: bool = False
    fault: str = ""
    fault_message: str = ""
    unmanaged: bool = False
    intent: Intent | None = None
    wait: Wait | None = None
    facts: HardwareFacts | None = None
    reported: Report | None = None
    closed: bool = False
    tainted_since: datetime | None = None
    tainted_by: str = ""
    trouble: Trouble | None = None
    version: int = 0
    fence: int = 0
    head: Head = field(default_factory=Head)

    @property
    def name(self) -> str:
        """``servers/{uuid}``."""
        return f"servers/{self.uuid}"

    @property
    def task(self) -> Intent:
        """Its intent, where there must be one."""
        if self.intent is None:
            msg = f"{self.name} has no intent"
            raise AssertionError(msg)
        return self.intent

    @property
    def linked_ports(self) -> tuple[Port, ...]:
        """The ports that are plugged in."""
        return tuple(port for port in self.ports if port.linked)

    @property
    def boot_ports(self) -> tuple[Port, ...]:
        """The ports it boots from: those with PXE, else the first that is plugged in."""
        linked = self.linked_ports
        return tuple(port for port in linked if port.pxe_enabled) or linked[:1]

    @property
    def connected(self) -> bool:
        """Whether a port that is plugged in is, or may be, on a network: it counts as both while a change is out."""
        quiet = (PortClass.QUARANTINE, PortClass.UNKNOWN)
        return any(
            port.observed not in quiet or port.requested not in (None, PortClass.QUARANTINE) or port.odd is not None
            for port in self.linked_ports
        )

    @property
    def taken_elsewhere(self) -> bool:
        """Whether it is somebody else's, as far as its controller told: it is set aside, and not touched."""
        if self.trouble is not None and self.trouble.policy is Policy.LEAVE:
            return True
        return self.state is State.QUARANTINED and self.fault == TAKEN

    @property
    def state_deadline(self) -> datetime | None:
        """When it should have left its state; None if it may stay."""
        limit = LIMITS.get(self.state)
        return self.state_since + limit if limit else None

    def overdue_by(self, now: datetime) -> timedelta | None:
        """By how much the limit of its state is exceeded; None if it is not."""
        deadline = self.state_deadline
        return now - deadline if deadline and now > deadline else None

    def moved(self, trigger: Trigger, now: datetime) -> Server:
        """The server after *trigger*.

        Raises:
            WrongState: *trigger* cannot happen in its state.
        """
        target = after(self.state, trigger)
        if target is self.state:
            return self
        return replace(self, state=target, state_since=now)

    def wanted_report(self) -> Report:
        """What inventory should hold of it now."""
        if self.instance:
            return Report(available=False, reason="IN_USE", held_by=self.instance)
        if self.maintenance:
            return Report(available=False, reason="MAINTENANCE", held_by="")
        if self.retired:
            return Report(available=False, reason="RETIRED", held_by="")
        if self.state is State.AVAILABLE and self.trouble is not None and self.trouble.withholds:
            return Report(available=False, reason=self.trouble.code, held_by="")
        # While the last step tells inventory so, it is available already.
        intent = self.intent
        if self.state is State.AVAILABLE and (
            intent is None or (intent.is_last and intent.step.name is StepName.REPORT)
        ):
            return Report(available=True, reason="", held_by="")
        if intent is not None and intent.kind in (IntentKind.REPLUG, IntentKind.MOVE_FREE):
            return Report(available=False, reason="PORTS_CHANGED", held_by="")
        return Report(available=False, reason=TAKEN if self.taken_elsewhere else self.state.value.upper(), held_by="")


def isolated(ports: tuple[Port, ...]) -> bool:
    """Whether every port that is plugged in was read back in quarantine, with no change out."""
    return all(
        port.observed is PortClass.QUARANTINE and port.requested is None and port.odd is None
        for port in ports
        if port.linked
    )
