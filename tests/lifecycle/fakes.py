# SPDX-License-Identifier: Apache-2.0
"""The world around lifecycle, with state: hardware, fabric, addresses, inventory. Each call is an effect point.

Faults are set as plain attributes. What the world looks like is asked of the fakes, never of lifecycle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from services.kernel.clock import Clock
from services.kernel.effect import effect
from services.kernel.errors import (
    AlreadyExists,
    BmsError,
    ConsoleNotOffered,
    Exhausted,
    NotFound,
    PeerUnavailable,
    Stale,
    WrongState,
)
from services.kernel.events import DiskSeen, ImageSeen, PowerSeen
from services.lifecycle.bmc import Bmc
from services.lifecycle.domain.server import Lease, Move, Port, PortClass, Report, Tag
from services.lifecycle.peers import (
    Cooling,
    DetachProof,
    FlavorCard,
    Heard,
    PlaceReading,
    PortWish,
    Purpose,
    Reading,
    Registered,
)
from services.lifecycle.ports import (
    Booking,
    ConsoleSeen,
    HardwareFacts,
    ImageOrder,
    JobKind,
    JobOrder,
    JobPhase,
    JobReading,
    Marks,
    NotNow,
    ServerCard,
    TakenElsewhere,
    Target,
)

SHA = "sha256:" + "ab" * 32
KNOWN_STEPS = ("create_configuration", "erase_devices", "factory_reset")
"""The clean steps that the fake driver has."""


@dataclass
class Machine:
    """One server's hardware."""

    on: bool = False
    disks: dict[str, str] = field(default_factory=lambda: {"disk-1": "", "disk-2": ""})
    jobs: dict[str, tuple[JobOrder, JobReading]] = field(default_factory=dict)
    silent: bool = False
    hangs: bool = False
    resets: int = 0
    login_refused: bool = False
    stuck_on: bool = False
    fail_jobs: dict[JobKind, int] = field(default_factory=dict)
    corrupt: bool = False
    extra_disk: str = ""
    left_disk: str = ""
    twin: str = ""
    console: str = ""
    marks: Marks = field(default_factory=Marks)
    ran: list[tuple[str, str]] = field(default_factory=list)
    slow: bool = False
    taken: bool = False
    taken_by_then: bool = False
    holders: tuple[str, ...] = ()
    held_for: str = ""
    used: bool = False
    card: tuple[ServerCard, str] | None = None
    unadoptable: bool = False
    adopted_with: ImageOrder | None = None


_RUNS_ON = {
    JobKind.CLEAN: PortClass.CLEANING,
    JobKind.MANUAL_CLEAN: PortClass.CLEANING,
    JobKind.DEPLOY: PortClass.PROVISIONING,
    JobKind.RESCUE: PortClass.RESCUE,
}


class FakeHardware:
    """BMCs and what they do; jobs end at once unless slow.

    With a fabric that it moves ports on, a job lasts one look longer: it is on its network until then, and a clean is
    not any more when it has ended.
    """

    def __init__(self, clock: Clock) -> None:
        self.fabric: FakeNetworks | None = None
        self.unplugged = False
        self._looked: set[str] = set()
        self.machines: dict[str, Machine] = {}
        self.history: list[tuple[str, str]] = []
        self.deaf = False
        self.undescribable = False
        self._clock = clock

    @property
    def moves_ports(self) -> bool:
        return self.fabric is not None

    def machine(self, server: str) -> Machine:
        return self.machines.setdefault(server, Machine())

    def _answering(self, target: Target) -> Machine:
        machine = self.machine(target.server)
        if machine.silent or machine.hangs:
            msg = "the BMC does not answer"
            raise PeerUnavailable(msg)
        return machine

    def verify(self, target: Target) -> None:
        with effect("bmc.verify"):
            self._refuse_others(target)
            if self._answering(target).login_refused:
                msg = "the BMC refuses the login"
                raise WrongState(msg)

    def check_offer(self, target: Target, booking: Booking) -> None:
        with effect("controller.check_offer"):
            assert self._refuse_others(target).holders == (), "offered while it is held"

    def reserve(self, target: Target, instance: str, *, request_id: str) -> str:
        with effect("controller.reserve"):
            machine = self._refuse_others(target)
            assert machine.holders in ((), (request_id,)), "held twice over"
            machine.holders, machine.held_for = (request_id,), instance
            return request_id

    def unreserve(self, target: Target) -> None:
        with effect("controller.unreserve"):
            if machine := self.machines.get(target.server):
                machine.holders, machine.held_for = (), ""

    def _refuse_others(self, target: Target) -> Machine:
        machine = self.machine(target.server)
        if self.deaf:
            msg = "the controller does not answer"
            raise NotNow("CONTROLLER_SILENT", msg)
        if machine.taken:
            msg = "the controller holds it for somebody else"
            raise TakenElsewhere(msg)
        return machine

    def describe(self, target: Target, card: ServerCard, *, project: str) -> None:
        with effect("controller.describe"):
            if self.undescribable:
                msg = "the controller is at something else"
                raise NotNow("CONTROLLER_BUSY", msg)
            self.machine(target.server).card = (card, project)

    def adopt(self, target: Target, image: ImageOrder | None, *, project: str) -> None:
        with effect("controller.adopt"):
            machine = self._answering(target)
            if machine.unadoptable:
                msg = "the controller cannot adopt it"
                raise WrongState(msg)
            machine.adopted_with = image

    def read_power(self, target: Target) -> PowerSeen:
        with effect("bmc.read_power"):
            machine = self._answering(target)
            now = self._clock.now()
            return PowerSeen("on" if machine.on else "off", now, hashlib.sha256(f"{now}{machine.on}".encode()).digest())

    def set_power(self, target: Target, *, on: bool, request_id: str) -> PowerSeen:
        with effect("bmc.set_power"):
            machine = self._answering(target)
            machine.on = on or machine.stuck_on
            self.history.append((target.server, "on" if machine.on else "off"))
        return self.read_power(target)

    def reboot(self, target: Target, *, request_id: str) -> None:
        with effect("bmc.reboot"):
            machine = self._answering(target)
            if request_id not in machine.jobs:
                machine.jobs[request_id] = (JobOrder(JobKind.RESCUE), JobReading(JobPhase.PASSED))
                self.history.append((target.server, "reboot"))
            machine.on = True

    def reset_bmc(self, target: Target) -> None:
        with effect("bmc.reset"):
            machine = self.machine(target.server)
            machine.resets += 1
            machine.hangs = False
            self._answering(target)

    def start_job(self, target: Target, order: JobOrder, *, request_id: str) -> None:
        with effect(f"bmc.start_{order.kind.value}"):
            machine = self._answering(target)
            if request_id in machine.jobs:
                return
            if order.booking is not None:
                if machine.taken_by_then:
                    machine.taken, machine.taken_by_then = True, False
                self._refuse_others(target)
                assert machine.holders == (), "booked while it is held"
                machine.holders, machine.held_for = (request_id,), order.booking.instance
            self.history.append((target.server, order.kind.value))
            if self.fabric is not None and order.kind in _RUNS_ON and not self.unplugged:
                self.fabric.moved(target.server, _RUNS_ON[order.kind])
            machine.on = order.kind is not JobKind.INSPECT
            outcome = self._outcome(machine, order)
            hold = request_id if order.booking is not None else ""
            machine.jobs[request_id] = (order, replace(outcome, hold=hold))

    def _outcome(self, machine: Machine, order: JobOrder) -> JobReading:
        left = machine.fail_jobs.get(order.kind, 0)
        if left:
            machine.fail_jobs[order.kind] = left - 1
            return JobReading(JobPhase.FAILED, message=f"{order.kind.value} failed on the hardware")
        now = self._clock.now()
        if order.kind is JobKind.INSPECT:
            disks = tuple(DiskSeen(serial, 10**12) for serial in sorted(machine.disks))
            return JobReading(JobPhase.PASSED, facts=HardwareFacts(cpus=16, memory_mb=65536), disks=disks)
        if order.kind is JobKind.CLEAN:
            if machine.extra_disk:
                machine.disks[machine.extra_disk] = "somebody's"
            erased = [serial for serial in machine.disks if serial != machine.left_disk]
            twins = (DiskSeen(machine.twin, 10**12),) if machine.twin else ()
            for serial in erased:
                machine.disks[serial] = ""
            return JobReading(
                JobPhase.PASSED,
                disks=(
                    *(DiskSeen(serial, 10**12, "nvme_format", now, now, b"\0" * 32) for serial in sorted(erased)),
                    *twins,
                ),
            )
        if order.kind is JobKind.DEPLOY and order.image is not None:
            root = min(machine.disks)
            machine.disks[root] = order.image.image
            actual = "sha256:" + "00" * 32 if machine.corrupt else order.image.checksum
            named = (machine.twin,) if machine.twin else ()
            there = tuple(DiskSeen(serial, 10**12) for serial in sorted((*machine.disks, *named)))
            seen = ImageSeen(order.image.image, order.image.checksum, actual, root)
            return JobReading(JobPhase.PASSED, image=seen, disks=there)
        if order.kind is JobKind.MANUAL_CLEAN:
            for step in order.steps:
                if step.step not in KNOWN_STEPS:
                    return JobReading(JobPhase.FAILED, message=f"no step {step.label}")
                machine.ran.append((step.label, step.args))
                machine.disks |= dict.fromkeys(machine.disks, "") if step.step == "erase_devices" else {}
        return JobReading(JobPhase.PASSED)

    def read_job(self, target: Target, *, request_id: str) -> JobReading:
        with effect("bmc.read_job"):
            machine = self._answering(target)
            known = machine.jobs.get(request_id)
            if known is None:
                return JobReading(JobPhase.ABSENT)
            if self.fabric is not None and not machine.slow and known[1].phase is JobPhase.PASSED:
                if request_id not in self._looked:
                    self._looked.add(request_id)
                    return JobReading(JobPhase.RUNNING, percent=50, stage="at work")
                if _RUNS_ON.get(known[0].kind) is PortClass.CLEANING:
                    self.fabric.moved(target.server, PortClass.QUARANTINE)
            return JobReading(JobPhase.RUNNING, percent=50, stage="at work") if machine.slow else known[1]

    def mark(self, target: Target, marks: Marks) -> None:
        with effect("controller.mark"):
            self._answering(target).marks = marks

    def console(self, target: Target) -> ConsoleSeen:
        with effect("controller.console"):
            machine = self._answering(target)
            if not machine.console:
                msg = "there is none"
                raise ConsoleNotOffered(msg, remedy="Give it one.")
            return ConsoleSeen("socat", machine.console)

    def forget(self, target: Target) -> None:
        with effect("bmc.forget"):
            self.machines.pop(target.server, None)


@dataclass
class _FabricPort:
    server: str
    port_class: PortClass = PortClass.QUARANTINE
    networks: tuple[Tag, ...] = ()
    plug: tuple[str, str] = ("", "")
    asked: int = 1
    wish: tuple[PortClass, tuple[Tag, ...]] = (PortClass.QUARANTINE, ())
    seen: PortClass | None = None

    @property
    def may_go(self) -> bool:
        """Whether network lets it be forgotten, or be plugged in elsewhere."""
        return not self.asked or self.seen is PortClass.QUARANTINE or (self.asked == 1 and self.seen is None)


class FakeNetworks:
    """Network and the fabric behind it: a wish takes effect at once unless told otherwise; fences are checked."""

    def __init__(self, clock: Clock) -> None:
        self.ports: dict[str, _FabricPort] = {}
        self.fences: dict[str, int] = {}
        self.private_networks = {
            PortClass.PROVISIONING: "projects/site/networks/provisioning",
            PortClass.CLEANING: "projects/site/networks/cleaning",
            PortClass.RESCUE: "projects/site/networks/rescue",
        }
        self.tenant_networks: set[str] = set()
        self.found: dict[str, tuple[PortClass, tuple[Tag, ...]]] = {}
        self.silent = False
        self.refuses_writes: BmsError | None = None
        self.deaf: set[str] = set()
        self.unreadable: set[str] = set()
        self.dead_switches: set[str] = set()
        self.left: dict[tuple[str, str], PortClass] = {}
        self.shows: dict[tuple[str, str], PortClass] = {}
        self.history: list[tuple[str, PortClass]] = []
        self.observes = False
        self._clock = clock

    def moved(self, server: str, to: PortClass) -> None:
        """The controller moves the server's boot port by itself."""
        boot = min(name for name, port in self.ports.items() if port.server == server)
        port, network = self.ports[boot], self.private_networks.get(to)
        if (port.port_class in _RUNS_ON.values()) or to is not PortClass.QUARANTINE:
            port.port_class, port.networks = to, (Tag(network),) if network else ()
            self.history.append((boot, to))

    def usable(self, network: str, project: str) -> None:
        with effect("network.get"):
            self._answer()
            if network not in self.tenant_networks or not network.startswith(f"projects/{project}/"):
                msg = f"{network} does not exist"
                raise NotFound(msg)

    def private(self, port_class: PortClass) -> str:
        self._answer()
        return self.private_networks.get(port_class, "")

    def register(
        self, server: str, ports: tuple[Port, ...], fence: int, request_id: str, *, as_found: bool = False
    ) -> None:
        with effect("network.register"):
            self._fenced(server, fence)
            after = {port.name: (port.switch_name, port.switch_port) for port in ports}
            gone = {
                name: port
                for name, port in self.ports.items()
                if port.server == server and after.get(name) != port.plug
            }
            for name, known in gone.items():
                if not known.may_go:
                    msg = f"{name} was not seen in quarantine at {' '.join(known.plug)}, where it was plugged in"
                    raise WrongState(msg)
            self.left |= {known.plug: known.port_class for known in gone.values()}
            self.found |= {name: (port.port_class, port.networks) for name, port in gone.items() if not ports}
            self.ports = {name: port for name, port in self.ports.items() if name not in gone}
            for port in ports:
                here = self.found.get(port.name, (PortClass.QUARANTINE, ())) if as_found else (PortClass.QUARANTINE, ())
                fresh = _FabricPort(server, *here, plug=after[port.name], asked=0 if as_found else 1)
                self.ports.setdefault(port.name, fresh)

    def attach(self, server: str, wishes: tuple[PortWish, ...], project: str, fence: int, request_id: str) -> None:
        with effect("network.attach"):
            self._fenced(server, fence)
            if self.refuses_writes is not None:
                raise self.refuses_writes
            for wish in wishes:
                if wish.port not in self.ports:
                    msg = f"{wish.port} is not registered"
                    raise NotFound(msg)
                port = self.ports[wish.port]
                if not port.asked or port.wish != (wish.port_class, wish.networks):
                    port.asked, port.seen = max(port.asked, 1) + 1, None
                    port.wish = wish.port_class, wish.networks
                if wish.port in self.deaf or (self.observes and wish.purpose is Purpose.STEP):
                    continue
                if (port.port_class, port.networks) != (wish.port_class, wish.networks):
                    self.history.append((wish.port, wish.port_class))
                port.port_class, port.networks = wish.port_class, wish.networks

    def read(self, server: str, fence: int) -> tuple[Reading, ...]:
        with effect("network.read"):
            self._fenced(server, fence)
            return self._read(server)

    def _read(self, server: str) -> tuple[Reading, ...]:
        now = self._clock.now()
        for name, port in self.ports.items():
            if port.server == server and not self._is_silent(name):
                port.seen = port.port_class
        return tuple(
            Reading(name, PortClass.UNKNOWN, (), now, b"", "the switch does not answer")
            if self._is_silent(name)
            else Reading(
                name, port.port_class, port.networks, now, hashlib.sha256(f"{now}{name}{port}".encode()).digest()
            )
            for name, port in sorted(self.ports.items())
            if port.server == server
        )

    def look(self, servers: Mapping[str, int]) -> dict[str, tuple[Reading, ...]]:
        with effect("network.look"):
            self._answer()
            return {
                server: self._read(server)
                for server, fence in servers.items()
                if not fence or fence >= self.fences.get(server, 0)
            }

    def look_at(self, server: str, places: tuple[Port, ...]) -> tuple[PlaceReading, ...]:
        with effect("network.look_at"):
            self._answer()
            return tuple(self._at(place) for place in places)

    def _at(self, place: Port) -> PlaceReading:
        now, where = self._clock.now(), (place.switch_name, place.switch_port)
        holder = next((name for name, port in self.ports.items() if port.plug == where), "")
        there = self.ports[holder].port_class if holder else self.left.get(where, PortClass.QUARANTINE)
        seen = self.shows.get(where, there)
        if place.switch_name in self.dead_switches:
            return PlaceReading(
                holder, Reading(place.name, PortClass.UNKNOWN, (), now, b"", "the switch does not answer")
            )
        digest = hashlib.sha256(f"{now}{where}{seen}".encode()).digest()
        return PlaceReading(holder, Reading(place.name, seen, (), now, digest))

    def _is_silent(self, name: str) -> bool:
        return name in self.unreadable or self.ports[name].plug[0] in self.dead_switches

    def _answer(self) -> None:
        if self.silent:
            msg = "network does not answer"
            raise PeerUnavailable(msg)

    def _fenced(self, server: str, fence: int) -> None:
        self._answer()
        if not fence:
            return  # a mere look
        if fence < self.fences.get(server, 0):
            msg = "an older fence"
            raise Stale(msg)
        self.fences[server] = fence


class FakeAddresses:
    """ipam: one lease for each owner, network and IP version, epochs, cool-down; it insists on proof of detachment.

    Attributes:
        dual: networks with addresses of both versions; all others have IPv4 alone.
    """

    def __init__(self, clock: Clock, networks: FakeNetworks) -> None:
        self.leases: dict[str, tuple[Lease, str, str]] = {}
        self.cooling: dict[str, str] = {}
        self.exhausted: set[str] = set()
        self.dual: set[str] = set()
        self.unproven: list[tuple[str, str]] = []
        self.silent = False
        self._networks = networks
        self._clock = clock
        self._count = 0

    def serves(self, network: str, project: str) -> bool:
        return network in self._networks.tenant_networks

    def lease(
        self, project: str, owner: str, network: str, address: str, mac_address: str, fence: int, request_id: str
    ) -> Lease:
        with effect("ipam.lease"):
            self._answer()
            if network in self.exhausted:
                msg = f"{network} has no address left"
                raise Exhausted(msg)
            return self._granted(project, owner, network, address)

    def lease_each(
        self,
        project: str,
        owner: str,
        network: str,
        addresses: Sequence[str],
        mac_address: str,
        fence: int,
        request_id: str,
    ) -> tuple[Lease, ...]:
        with effect("ipam.lease"):
            self._answer()
            wanted = {":" in address: address for address in addresses}
            before = dict(self.leases)
            try:
                return tuple(
                    self._granted(project, owner, network, wanted.get(six, "::" if six else ""))
                    for six in (False, True)[: 1 + (network in self.dual)]
                )
            except (AlreadyExists, Exhausted):
                self.leases = before
                raise

    def _granted(self, project: str, owner: str, network: str, address: str) -> Lease:
        """*address*, or any of its version where it is ``::`` or nothing."""
        if network in self.exhausted:
            msg = f"{network} has no address left"
            raise Exhausted(msg)
        six, held = ":" in address, [lease for lease, _, state in self.leases.values() if state == "leased"]
        for lease in held:
            if (self.leases[lease.name][1], lease.network, ":" in lease.address) == (owner, network, six):
                return lease
        if address in {lease.address for lease in held}:
            msg = f"{address} is taken"
            raise AlreadyExists(msg)
        self._count += 1
        name = f"projects/{project}/leases/{self._count:08d}-0000-4000-8000-000000000000"
        if six:
            shown = address if address != "::" else f"2001:db8::{self._count}"
            made = Lease(name, network, "vrf", shown, 64, "2001:db8::1:0:0:1", 1)
        else:
            made = Lease(name, network, "vrf", address or f"10.0.0.{self._count}", 24, "10.0.0.254", 1)
        self.leases[name] = (made, owner, "leased")
        return made

    def held_by(self, project: str, owner: str) -> tuple[Lease, ...]:
        with effect("ipam.list"):
            self._answer()
            return tuple(
                lease for lease, holder, state in self.leases.values() if holder == owner and state == "leased"
            )

    def release(self, lease: Lease, proof: DetachProof, fence: int, request_id: str) -> Cooling:
        with effect("ipam.release"):
            self._answer()
            assert proof.digest
            kept, owner, _ = self.leases[lease.name]
            self.leases[lease.name] = (kept, owner, "cooling")
            return Cooling(lease.name, lease.vrf, lease.address, lease.epoch, self._clock.now() + timedelta(minutes=10))

    def release_unproven(self, lease: Lease, allowed_by: str, fence: int, request_id: str) -> Cooling:
        with effect("ipam.release_unproven"):
            self._answer()
            kept, owner, _ = self.leases[lease.name]
            self.leases[lease.name] = (kept, owner, "cooling")
            self.unproven.append((kept.address, allowed_by))
            return Cooling(lease.name, lease.vrf, lease.address, lease.epoch, self._clock.now() + timedelta(minutes=10))

    def _answer(self) -> None:
        if self.silent:
            msg = "ipam does not answer"
            raise PeerUnavailable(msg)


HELD = "CUSTOM_BMS_HELD"
FLAVORS = {
    "flavors/any": FlavorCard("flavors/any"),
    "flavors/nova": FlavorCard("flavors/nova", frozenset({HELD}), "f-1"),
}


class FakeInventory:
    """Inventory: servers, the pool row, reservations keyed by holder, a log of its own."""

    def __init__(self) -> None:
        self.servers: dict[str, Registered] = {}
        self.pool: dict[str, Report] = {}
        self.versions: dict[str, int] = {}
        self.reserved: dict[str, str] = {}
        self.facts: dict[str, HardwareFacts] = {}
        self.closed: set[str] = set()
        self.log: list[Heard] = []
        self.images = {"images/debian": SHA, "images/other": SHA}
        self.in_glance = "g-1"
        self.refuses_links: BmsError | None = None
        self.silent = False

    def register(self, registered: Registered) -> None:
        self.servers[registered.uuid] = registered
        self.pool[registered.uuid] = Report(available=False, reason="ENROLLED", held_by="")
        self.tell(registered.uuid, "server.created")

    def tell(self, uuid: str, type_: str) -> None:
        self.log.append(Heard(len(self.log) + 1, f"servers/{uuid}", type_))

    def server(self, uuid: str) -> Registered:
        with effect("inventory.get"):
            self._answer()
            if uuid not in self.servers:
                msg = f"servers/{uuid} does not exist"
                raise NotFound(msg)
            return self.servers[uuid]

    def of(self, server: str) -> Bmc:
        return Bmc("10.9.0.1", 0, "redfish", "u", "p")

    def credentials(self, uuid: str) -> Bmc:
        return self.of(uuid)

    def flavor_exists(self, flavor: str) -> None:
        self.flavor(flavor)

    def flavor(self, flavor: str) -> FlavorCard:
        with effect("inventory.flavor"):
            self._answer()
            if flavor not in FLAVORS:
                msg = f"{flavor} does not exist"
                raise NotFound(msg)
            return FLAVORS[flavor]

    def image(self, image: str, project: str) -> ImageOrder:
        with effect("inventory.image"):
            self._answer()
            if image not in self.images:
                msg = f"{image} does not exist"
                raise NotFound(msg)
            return ImageOrder(image, "https://images.example.org/x", self.images[image], glance_id=self.in_glance)

    def reserve(self, holder: str, flavor: str, image: str, excluded: tuple[str, ...]) -> str:
        with effect("inventory.reserve"):
            self._answer()
            if holder in self.reserved and f"servers/{self.reserved[holder]}" not in excluded:
                return self.reserved[holder]
            self.reserved.pop(holder, None)
            for uuid, row in sorted(self.pool.items()):
                if row.available and uuid not in self.reserved.values() and f"servers/{uuid}" not in excluded:
                    self.reserved[holder] = uuid
                    return uuid
            msg = "no server would do"
            raise Exhausted(msg)

    def release_reservation(self, holder: str) -> None:
        with effect("inventory.release"):
            self._answer()
            self.reserved.pop(holder, None)

    def report(
        self,
        server: str,
        version: int,
        report: Report,
        facts: HardwareFacts | None,
        disks: tuple[DiskSeen, ...],
        *,
        closed: bool,
    ) -> None:
        with effect("inventory.report"):
            self._answer()
            if server not in self.servers:
                msg = f"servers/{server} does not exist"
                raise NotFound(msg)
            if version <= self.versions.get(server, 0):
                return
            self.versions[server] = version
            self.pool[server] = report
            if facts is not None:
                self.facts[server] = facts
            if report.available:
                self.reserved = {holder: uuid for holder, uuid in self.reserved.items() if uuid != server}
            if closed:
                self.closed.add(server)
                self.servers.pop(server)
                self.pool.pop(server)

    def relink(self, server: str, moves: tuple[Move, ...], etag: str, request_id: str, *, check: bool = False) -> None:
        with effect("inventory.relink"):
            self._answer()
            if self.refuses_links is not None and not check:
                raise self.refuses_links
            known = self.servers[server]
            if etag and etag != known.etag:
                msg = "another etag"
                raise Stale(msg)
            wanted = {move.port: move for move in moves}
            others = [port for uuid, one in self.servers.items() if uuid != server for port in one.ports]
            for port in others:
                if any((port.switch_name, port.switch_port) == (one.switch_name, one.switch_port) for one in moves):
                    msg = f"{port.switch_name} {port.switch_port} is where {port.name} is plugged in"
                    raise WrongState(msg, remedy="Name another switch port.", subject=port.name)
            ports = tuple(
                replace(
                    port,
                    switch_name=wanted[port.name].switch_name,
                    switch_port=wanted[port.name].switch_port,
                    switch_id=wanted[port.name].switch_id,
                )
                if port.name in wanted
                else port
                for port in known.ports
            )
            if check or ports == known.ports:
                return
            self.servers[server] = replace(known, ports=ports, etag=f"{known.etag}+")
            self.tell(server, "server.updated")

    def events(self, after: int, wait: int) -> tuple[tuple[Heard, ...], int]:
        self._answer()
        found = tuple(event for event in self.log if event.position > after)
        return found, found[-1].position if found else after

    def _answer(self) -> None:
        if self.silent:
            msg = "inventory does not answer"
            raise PeerUnavailable(msg)


def plugged(uuid: str, count: int = 2) -> tuple[Port, ...]:
    """Ports of a server that are plugged in; the first boots."""
    return tuple(
        replace(
            Port(
                f"servers/{uuid}/ports/0cc47a0000{index:02x}",
                f"0c:c4:7a:00:00:{index:02x}",
                "leaf1",
                f"xe-0/0/{uuid[:4]}{index}",
            ),
            pxe_enabled=index == 0,
        )
        for index in range(count)
    )
