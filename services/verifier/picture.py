# SPDX-License-Identifier: Apache-2.0
"""What the events of a server's stream say about it: facts, folded event by event; no judgement.

The invariants look at the picture as it was before an event, and at the event; then following.py takes the event in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.verifier.verdict import Witness

TENANT, QUARANTINE, UNKNOWN = "tenant", "quarantine", "unknown"
PRIVATE = frozenset({"provisioning", "cleaning", "rescue"})
TENANTS_RUN = frozenset({TENANT, "rescue"})
"""Where a tenant's system runs: his networks, and where his rescue system is."""


@dataclass(slots=True)
class Asked:
    """What was asked of a port, and may have come true: in which class, on which networks, for which instance."""

    port_class: str
    networks: frozenset[str]
    instance: str
    witness: Witness


@dataclass(slots=True)
class Port:
    """One port: what was read of it last, and everything asked of it since it was last read settled.

    Attributes:
        observed: its class, UNKNOWN before the first reading.
        instance: for whom it was on a tenant's network.
        read_time: of the last reading, in microseconds.
        witness: the event that cites the last reading.
        moved: the event in which it was plugged in elsewhere, until it was read in quarantine there.
        left: the same, until what it left was read empty.
    """

    observed: str = UNKNOWN
    networks: frozenset[str] = frozenset()
    instance: str = ""
    read_time: int = 0
    witness: Witness | None = None
    asked: list[Asked] = field(default_factory=list)
    moved: Witness | None = None
    left: Witness | None = None

    def may_be(self, port_class: str) -> bool:
        """Whether it counts as *port_class*: read so, or asked to be so since."""
        return self.observed == port_class or any(one.port_class == port_class for one in self.asked)

    @property
    def quarantined(self) -> bool:
        """Whether it was read in quarantine, and nothing else was asked of it since."""
        if self.observed != QUARANTINE:
            return False
        for one in self.asked:  # noqa: SIM110 -- judged at most events: a generator costs more than what it walks over
            if one.port_class != QUARANTINE:
                return False
        return True


@dataclass(slots=True)
class Clean:
    """A pass that erased every inspected disk.

    Attributes:
        covered: serial numbers of the disks it erased.
        used_by: the instance whose image or network came on it; "" while nobody's did.
        use: the event in which it did.
    """

    witness: Witness
    covered: frozenset[str] = frozenset()
    used_by: str = ""
    use: Witness | None = None


@dataclass(slots=True)
class Pass:
    """A cleaning that was begun.

    Attributes:
        detached: all ports were read off tenants' networks before it began.
    """

    witness: Witness
    detached: bool


@dataclass(slots=True)
class Picture:
    """A server as its events show it.

    Attributes:
        held: the instance that holds it, and since which event.
        off: the event in which power was last read off, with nothing since that may have powered it on.
        power_time: when power was last read, in microseconds.
        power_asked: the last event that asked for power, or for work that a controller changes it for.
        writing: the image that was last asked to be written for the holder.
        image: the event in which it was verified on the disk.
        inspected: the disks that the last inspection found, as `following.disks` names them.
        cleaning: the clean pass under way.
        detach_time: when the last port was read off a tenant's or the rescue network, in microseconds; no erasure of a
            disk that counts began before.
        clean: the last full pass, if nothing voided it.
        soiled: the event that voided it, or that showed it to be incomplete.
        flaw: what was wrong with it, a sentence.
        leases: addresses held: lease -> the event that says so.
        lease_networks: what each of them is for: lease -> network, "" where its event does not say.
        failed: a failure inside a deploy or release after which quarantine was not read back yet.
        adopted: the instance whose hold began with an adoption.
        waived: what two administrators forced aside, in the words of a forced action's kind; "" once it was used.
        waiver: the event in which they did.
        fence: the greatest seen, and the event that showed it first.
    """

    state: str = ""
    ports: dict[str, Port] = field(default_factory=dict)
    held: str = ""
    hold: Witness | None = None
    off: Witness | None = None
    power_time: int = 0
    power_asked: Witness | None = None
    writing: str = ""
    image: Witness | None = None
    inspected: frozenset[str] = frozenset()
    detach_time: int = 0
    cleaning: Pass | None = None
    clean: Clean | None = None
    soiled: Witness | None = None
    flaw: str = ""
    leases: dict[str, Witness] = field(default_factory=dict)
    lease_networks: dict[str, str] = field(default_factory=dict)
    failed: Witness | None = None
    adopted: str = ""
    waived: str = ""
    waiver: Witness | None = None
    fence: int = 0
    fenced: Witness | None = None

    @property
    def isolated(self) -> bool:
        """Whether every port was read in quarantine, with nothing else out."""
        return self.loose is None

    @property
    def loose(self) -> tuple[str, Witness | None] | None:
        """A port that was not read in quarantine, or of which something else was asked since; None if none is."""
        for name, port in self.ports.items():
            if not port.quarantined:
                return name, port.asked[-1].witness if port.asked else port.witness
        return None

    @property
    def tenants_system(self) -> Witness | None:
        """The event since which a system other than the administrator's may be on the disks; None if it is clean."""
        if self.clean is None:
            return self.soiled
        return self.clean.use

    @property
    def last_hold(self) -> Witness | None:
        """The event in which an earlier hold used what the last clean pass left; None if none did."""
        clean = self.clean
        if clean is None or clean.use is None:
            return None
        return clean.use if self.hold is None or clean.use.sequence < self.hold.sequence else None
