# SPDX-License-Identifier: Apache-2.0
"""Every way that one server and its instance can go: tables, plans, walk and verbs as they are, the world as a choice.

A place is a server and an instance with times and names left out. From each lead: what the step at work may answer
(done, failed, begun anew, its time up), every verb that anybody may call, and what lifecycle begins by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.kernel.calls import Call, Caller, Role
from services.kernel.errors import AlreadyExists, BmsError, NotFound, WrongState
from services.kernel.events import DiskSeen, Event, Head
from services.lifecycle.domain import holding, walk
from services.lifecycle.domain.forced import ForcedAction, ForcedKind
from services.lifecycle.domain.instance import Instance, InstanceState, NetworkWish
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.moving import NewLink, plugged
from services.lifecycle.domain.progress import Progress
from services.lifecycle.domain.server import TAKEN, Intent, Lease, Port, PortClass, Power, Server, Tag, isolated
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.domain.step import StepName
from services.lifecycle.domain.walk import Change
from services.lifecycle.operations.adopting import Adopting
from services.lifecycle.operations.beginning import Beginnings
from services.lifecycle.operations.cleaning import Cleaning
from services.lifecycle.operations.following import close, enroll
from services.lifecycle.operations.forcing import ForcedVerbs
from services.lifecycle.operations.instances import InstanceVerbs
from services.lifecycle.operations.moving import Moving
from services.lifecycle.operations.powering import POWERS, Powering
from services.lifecycle.operations.servers import ServerVerbs
from services.lifecycle.ports import CleanStep
from services.lifecycle.steps.addresses import with_leases
from tests.lifecycle.rig import BLUE, GREEN, WEB
from tests.support.clocks import START, SequentialIds

UUID = "00000001-0000-4000-8000-000000000000"
_N = StepName
_PORTS = tuple(
    Port(
        f"servers/{UUID}/ports/p{index}", f"0c:c4:7a:00:00:0{index}", "leaf1", f"xe-0/0/{index}", pxe_enabled=not index
    )
    for index in range(2)
)
FRESH = Server(UUID, "r1", START, ports=_PORTS)


@dataclass(frozen=True)
class Place:
    """Where a server and its instance are; ``instance`` None: there is none, or it holds no server."""

    server: Server
    instance: Instance | None = None

    @property
    def key(self) -> str:
        """What tells it from other places."""
        server, instance = self.server, self.instance
        intent = server.intent and replace(
            server.intent, id="", operation="o" * bool(server.intent.operation), actor="", create_time=START,
            step_since=START, warnings=(), request_id="", tried=(), cure="", forced="f" * bool(server.intent.forced),
            moves=tuple(replace(one, left=()) for one in server.intent.moves),
        )  # fmt: skip
        plain = replace(
            server, state_since=START, power_time=None, intent=intent, wait=None, reported=None, head=Head(), version=0,
            fence=0, fault=server.fault and "F", fault_message="", disks=(), facts=None,
            clean_time=server.clean_time and START, tainted_since=None, tainted_by="",
            ports=tuple(replace(port, read_time=None) for port in server.ports),
        )  # fmt: skip
        held = instance and replace(
            instance, error="", update_time=START, create_time=START, operation="o" * bool(instance.operation),
            actor="", version=0, interfaces=tuple(replace(face, address="") for face in instance.interfaces),
        )  # fmt: skip
        return repr((plain, held))

    @property
    def connected(self) -> bool:
        """Whether a port is, or may be, on a network."""
        return self.server.connected

    def __str__(self) -> str:
        intent = self.server.intent
        step = f"{intent.kind.value}/{intent.step.name.value}#{intent.attempt}" if intent else "at rest"
        held = f", instance {self.instance.state.value}" if self.instance else ""
        return f"{self.server.state.value}, {step}{held}{', connected' if self.connected else ''}"


@dataclass
class OneBook:
    """The tables, with one server and one instance in them."""

    place: Place

    def server(self, uuid: str) -> Server:
        if self.place.server.closed:
            msg = "closed"
            raise NotFound(msg)
        return self.place.server

    def find_server(self, uuid: str) -> Server | None:
        return self.place.server

    def instance(self, name: str) -> Instance:
        if self.place.instance is None:
            msg = "no instance"
            raise NotFound(msg)
        return self.place.instance

    def find_instance(self, name: str) -> Instance | None:
        return self.place.instance if name else None

    def insert_server(self, server: Server, events: Sequence[Event]) -> None:
        self.place = Place(server)

    def write(self, change: Change, now: datetime, *, due: datetime | None) -> Change:
        self.place = written(self.place, change)
        return change

    def insert_instance(self, instance: Instance, user_data: bytes | None, due: datetime | None) -> None:
        if self.place.instance is not None:
            msg = "there is one"
            raise AlreadyExists(msg)
        self.place = Place(self.place.server, instance)

    def write_instance(self, instance: Instance, *, due: datetime | None, user_data: bytes | None = None) -> Instance:
        self.place = Place(self.place.server, instance)
        return instance

    def begin_operation(self, progress: Progress, now: datetime) -> None:
        """It is not the operations that are explored."""

    def show_operation(self, progress: Progress, now: datetime) -> None:
        """It is not the operations that are explored."""


def written(before: Place, change: Change) -> Place:
    """The place after *change* was committed."""
    instance = None if change.ended else (change.instance or before.instance)
    if instance is not None and not instance.server:
        instance = None  # it failed, and holds nothing; its project deletes it
    return Place(change.server, instance)


_IDS = SequentialIds("model")
CALL = Call(Caller("admin", frozenset({Role.ADMIN})), "", "", START)
OTHER = replace(CALL, caller=Caller("other", frozenset({Role.ADMIN})))
_BEGINNINGS = Beginnings(_IDS, lambda uuid, project: f"operations/{uuid}")
SERVERS, INSTANCES = ServerVerbs(_BEGINNINGS), InstanceVerbs(_BEGINNINGS, lambda plain, _context: plain)
CLEANING, POWERING, MOVING = Cleaning(_BEGINNINGS), Powering(_BEGINNINGS), Moving(_BEGINNINGS)
FORCED, ADOPTING = ForcedVerbs(_BEGINNINGS), Adopting(_BEGINNINGS, lambda plain, _context: plain)
Verb = Callable[[OneBook], object]


class OneForced:
    """The forced actions, of which one at a time is asked for."""

    def action(self, name: str) -> ForcedAction:
        raise NotImplementedError

    def pending(self, server: str, kind: ForcedKind) -> list[ForcedAction]:
        return []

    def insert(self, action: ForcedAction) -> None:
        """It is approved at once."""

    def save(self, action: ForcedAction) -> ForcedAction:
        return action


def forced(kind: ForcedKind) -> Verb:
    """Asked for by one administrator and approved by another."""

    def verb(books: OneBook) -> None:
        table = OneForced()
        FORCED.approve(books, table, OTHER, FORCED.request(books, table, CALL, UUID, kind, "smoke"))

    return verb


def adopt(books: OneBook) -> None:
    """A server in use is taken over."""
    wanted = Instance(WEB, "demo", "flavors/f", "", (NetworkWish(BLUE, ("10.0.0.1",)),), START, START)
    ADOPTING.adopt(books, CALL, UUID, wanted, b"")


def create(books: OneBook, kind: IntentKind = IntentKind.DEPLOY) -> None:
    """The last gate of a placement, as placement.py has it."""
    server = books.server(UUID)
    if server.state is not State.AVAILABLE or server.intent is not None or books.place.instance is not None:
        msg = "not to be taken"
        raise NotFound(msg)
    instance = Instance(
        WEB, "demo", "flavors/f", "images/i", (NetworkWish(BLUE),), START, START, server=UUID, operation="o",
        state=InstanceState.DEPLOYING,
    )  # fmt: skip
    intent = Intent("d", kind, "o", "tenant", START, START)
    change = walk.begin(replace(server, instance=WEB), None, intent, START, trigger=Trigger.RESERVE)
    books.place = Place(change.server, instance)


def replug(books: OneBook) -> None:
    """Inventory has its second port plugged in elsewhere."""
    server = books.server(UUID)
    first, second = _PORTS
    enroll(books, replace(FRESH, ports=(first, replace(second, switch_port="xe-9/9/9"))), "r")
    if books.place.server == server:
        msg = "nothing to learn, or not now"
        raise WrongState(msg)


def switching(kind: IntentKind) -> Verb:
    """An administrator's switch."""
    return lambda books: POWERING.switch(books, CALL, UUID, kind)


def move(books: OneBook) -> None:
    """Its second port goes to where inventory may have it as well, or back."""
    port = next(port for port in books.server(UUID).ports if port.name == _PORTS[1].name)
    there = "xe-9/9/9" if port.switch_port == _PORTS[1].switch_port else _PORTS[1].switch_port
    MOVING.move(books, CALL, UUID, [NewLink(port.name, "leaf1", there)], "smoke", cabled=False)


def move_dark(books: OneBook) -> None:
    """The same of a server that was read off though its instance runs: its tenant shut it down from within."""
    place = books.place
    if place.server.state is not State.ACTIVE or place.server.intent is not None:
        msg = "not running"
        raise WrongState(msg)
    books.place = Place(replace(place.server, power=Power.OFF), place.instance)
    move(books)


VERBS: dict[str, Verb] = {
    "provide": lambda books: SERVERS.provide(books, CALL, UUID),
    "recover": lambda books: SERVERS.recover(books, CALL, UUID, take=False),
    "take": lambda books: SERVERS.recover(books, CALL, UUID, take=True),
    "clean": lambda books: CLEANING.clean(books, CALL, UUID, (CleanStep("raid", "create_configuration"),)),
    **{kind.value: switching(kind) for kind in POWERS},
    "quarantine": lambda books: SERVERS.quarantine(books, CALL, UUID, "smoke"),
    "delete": lambda books: INSTANCES.delete(books, CALL, WEB),
    "rebuild": lambda books: INSTANCES.rebuild(books, CALL, WEB, "", b""),
    "attach": lambda books: INSTANCES.attach_network(books, CALL, WEB, NetworkWish(GREEN)),
    "detach": lambda books: INSTANCES.detach_network(books, CALL, WEB, BLUE),
    "detach green": lambda books: INSTANCES.detach_network(books, CALL, WEB, GREEN),
    "stop": lambda books: INSTANCES.simple(books, CALL, WEB, IntentKind.STOP),
    "start": lambda books: INSTANCES.simple(books, CALL, WEB, IntentKind.START),
    "reboot": lambda books: INSTANCES.simple(books, CALL, WEB, IntentKind.REBOOT),
    "rescue": lambda books: INSTANCES.simple(books, CALL, WEB, IntentKind.RESCUE),
    "unrescue": lambda books: INSTANCES.simple(books, CALL, WEB, IntentKind.UNRESCUE),
    "create": create,
    "create through Nova": lambda books: create(books, IntentKind.DEPLOY_NOVA),
    "adopt": adopt,
    **{f"force {kind.value}": forced(kind) for kind in ForcedKind},
    "close": lambda books: close(books, UUID, Intent("c", IntentKind.CLOSE, "", "inventory", START, START)),
    "replug": replug,
    "move": move,
    "move shut down": move_dark,
    "cabled": lambda books: MOVING.confirm(books, CALL, UUID),
}
"""What anybody may ask for; refused by an error where it is not possible."""


def verbs(place: Place) -> Iterator[tuple[str, Place]]:
    """Every verb that is not refused at *place*, and where it leads."""
    for name, verb in VERBS.items():
        books = OneBook(place)
        try:
            verb(books)
        except BmsError:
            continue
        yield name, books.place


def done(place: Place) -> Place:
    """The step at work was observed to have ended well."""
    server, instance = happened(place)
    if server.task.step.name is _N.END_INSTANCE:
        ended = walk.end_instance(server, instance, START)
        left = None if ended.ended else ended.instance
        following = walk.advance(ended.server, left, (), START)
        return written(Place(ended.server, left), following)
    try:
        return written(place, walk.advance(server, instance, (), START))
    except BmsError:
        # The next step cannot even be asked for.
        return failed(Place(server, instance))


def failed(place: Place, reason: str = "STEP_OVERDUE") -> Place:
    """The step at work cannot be, or its time is up, or its remedies are spent."""
    change = walk.fail(place.server, place.instance, (), START, reason, "because", new_id=_IDS.uuid)
    return written(place, change)


def held(place: Place) -> Place:
    """The step at work cannot be, and the brake holds that the server is set aside."""
    assert place.instance is not None
    fallen = holding.Fallen(place.server, place.instance, (), "STEP_OVERDUE", "because")
    return written(place, holding.held(fallen, (), START, START, new_id=_IDS.uuid))


def answers(place: Place) -> Iterator[tuple[str, Place]]:
    """What the step at work may answer, and where that leads; a wait leads nowhere else."""
    if place.server.intent is None:
        return
    step = place.server.intent.step
    yield "done", done(place)
    if not step.may_fail:
        return
    yield "failed", failed(place)
    if step.name in (_N.CHECK_OFFER, _N.BOOK_SERVER, _N.RESERVE_NODE, _N.VERIFY_BMC):
        yield "taken", failed(place, TAKEN)
    if holding.is_in_use(place.server, place.instance):
        yield "held", held(place)
    if place.server.intent.attempt <= step.retries:
        yield "again", written(place, walk.again(place.server, place.instance, (), START, "JOB_LOST", ""))


def happened(place: Place) -> tuple[Server, Instance | None]:
    """The world after the step at work did what it is for."""
    server, instance, intent = place.server, place.instance, place.server.task
    name = intent.step.name
    server = _WORLD.get(name, _nothing)(server, instance)
    if name is _N.LEASE_ADDRESSES and instance is not None:
        for wish in instance.networks:
            if all(lease.network != wish.network for lease in server.leases):
                lease = Lease(f"leases/{wish.network}", wish.network, "vrf", "10.0.0.1", 24, "10.0.0.254", 1)
                server, instance = replace(server, leases=(*server.leases, lease)), with_leases(instance, wish, [lease])
    if name in (_N.FORCE_ADDRESSES, _N.WITHDRAW_ADDRESSES):
        server = replace(server, leases=())
    if name is _N.COOL_ADDRESSES:
        kept = tuple(one for one in server.leases if intent.kind is IntentKind.DETACH and one.network != intent.network)
        server = replace(server, leases=kept)
        if instance is not None and intent.kind is IntentKind.DETACH:
            left = tuple(wish for wish in instance.networks if wish.network != intent.network)
            faces = tuple(face for face in instance.interfaces if face.network != intent.network)
            instance = replace(instance, networks=left, interfaces=faces)
    return server, instance


def _nothing(server: Server, _: Instance | None) -> Server:
    return server


def _power(power: Power) -> Callable[[Server, Instance | None], Server]:
    return lambda server, _: replace(server, power=power)


def _moved(server: Server, _: Instance | None) -> Server:
    ports = tuple(
        replace(port, observed=port.requested, networks=port.wanted, requested=None, wanted=(), read_time=START)
        if port.requested is not None
        else replace(port, read_time=START)
        for port in server.ports
    )
    return replace(server, ports=ports, isolated=isolated(ports))


def _found(server: Server, instance: Instance | None) -> Server:
    """A server in use was found on the networks it was said to be on, and running."""
    tags = tuple(Tag(wish.network) for wish in instance.networks) if instance else ()
    first, *rest = server.ports
    used = replace(first, observed=PortClass.TENANT, networks=tags, read_time=START)
    ports = (used, *(replace(port, observed=PortClass.QUARANTINE, read_time=START) for port in rest))
    return replace(server, ports=ports, isolated=False, power=Power.ON)


_WORLD: dict[StepName, Callable[[Server, Instance | None], Server]] = {
    _N.POWER_OFF: _power(Power.OFF),
    _N.POWER_ON: _power(Power.ON),
    _N.REBOOT: _power(Power.ON),
    _N.SWITCH_ON: _power(Power.ON),
    _N.CLEAN: lambda server, _: replace(server, clean_time=START, power=Power.ON),
    _N.RUN_STEPS: _power(Power.ON),
    _N.WRITE_IMAGE: lambda server, _: replace(server, clean_time=None, power=Power.ON),
    _N.BOOT_RESCUE: _power(Power.ON),
    _N.INSPECT: lambda server, _: replace(server, disks=(DiskSeen("d", 1),), clean_time=None),
    _N.CLOSE: lambda server, _: replace(server, closed=True),
    **dict.fromkeys(
        (
            _N.REGISTER_PORTS,
            _N.ATTACH_PROVISIONING,
            _N.ATTACH_CLEANING,
            _N.ATTACH_RESCUE,
            _N.ATTACH_TENANT,
            _N.DETACH_ALL,
            _N.DETACH_NETWORK,
            _N.SETTLE_LINKS,
        ),
        _moved,
    ),
    _N.CHANGE_LINKS: lambda server, _: replace(server, ports=plugged(server.ports, server.task.moves), isolated=False),
    _N.FIND_PORTS: _found,
    _N.FORGET_PORTS: lambda server, _: replace(server, ports=_PORTS, isolated=False),
}


BY_ITSELF = ("done", "failed", "taken", "held", "again")
"""What the worker goes by without anybody."""


@dataclass
class Model:
    """Everything that was reached.

    Attributes:
        places: key -> place.
        edges: key -> (what, key) for all that leads on.
        raised: what should have led somewhere and raised instead: a defect each.
    """

    places: dict[str, Place] = field(default_factory=dict)
    edges: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def explore(self, *starts: Place) -> None:
        """Adds all that can be reached from *starts*."""
        todo = [start for start in starts if start.key not in self.places]
        self.places |= {start.key: start for start in todo}
        while todo:
            place = todo.pop()
            leads = self.edges.setdefault(place.key, [])
            for what, following in (*answers(place), *verbs(place)):
                key = following.key
                leads.append((what, key))
                if key not in self.places:
                    self.places[key] = following
                    todo.append(following)

    def by_itself(self, key: str) -> list[str]:
        """Where the worker goes from there, without anybody; what the brake holds where it is, waits."""
        return [to for what, to in self.edges[key] if what in BY_ITSELF and (what, to) != ("held", key)]
