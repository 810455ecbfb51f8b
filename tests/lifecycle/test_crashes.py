# SPDX-License-Identifier: Apache-2.0
"""A process that is killed anywhere loses nothing and repeats nothing that matters."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Generator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from bms.lifecycle.v1 import clean_pb2, instance_pb2, server_move_pb2, server_power_pb2, server_status_pb2
from services.kernel.effect import observed
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.states import State
from services.lifecycle.ports import JobKind
from services.runtime.database import open_database
from tests.lifecycle.portrait import Portrait, assert_sound, portrait
from tests.lifecycle.rig import BLUE, GREEN, WEB, Crash, Rig, World
from tests.support.stores import _sqlite_copy
from tests.support.wire import admin

Point = tuple[str, str]


def counts(label: str, when: str, *, both: bool) -> bool:
    """Whether a kill here is another kill than at the point before.

    Reading changes nothing, and a kill between two statements of a transaction undoes it as one before it does. Between
    the end of an effect and the beginning of the next nothing happens either: *both* asks for it all the same.
    """
    if label.startswith("db.read") or label.endswith((".statement", ".commit")):
        return False
    return both or when == "after"


def points(rig: Rig, *, both: bool = False) -> list[Point]:
    """Where the process can be killed until *rig* has come to rest."""
    found: list[Point] = []
    with observed(lambda label, when: found.append((label, when))):
        rig.settle()
    return [point for point in found if counts(*point, both=both)]


class At:
    """Does something at the point with this number, once."""

    def __init__(self, number: int, act: Callable[[], object], *, both: bool = False) -> None:
        self._left = number
        self._act = act
        self._both = both

    def __call__(self, label: str, when: str) -> None:
        if not counts(label, when, both=self._both):
            return
        self._left -= 1
        if self._left == -1:
            self._act()


def kill() -> None:
    """The end of the process."""
    raise Crash


def provide(rig: Rig, uuid: str) -> None:
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())


def recover(rig: Rig, uuid: str) -> None:
    rig.ok(
        "RecoverServer",
        server_status_pb2.RecoverServerRequest(name=f"servers/{uuid}", take_from_instance=True),
        admin(),
    )


def quarantine(rig: Rig, uuid: str) -> None:
    request = server_status_pb2.QuarantineServerRequest(name=f"servers/{uuid}", reason="smoke")
    rig.ok("QuarantineServer", request, admin())


def clean(rig: Rig, uuid: str) -> None:
    step = clean_pb2.CleanStep(interface="raid", step="create_configuration")
    rig.ok("CleanServer", clean_pb2.CleanServerRequest(name=f"servers/{uuid}", steps=[step]), admin())


def power_on(rig: Rig, uuid: str) -> None:
    on = server_power_pb2.SetServerPowerRequest.POWER_ON
    rig.ok("SetServerPower", server_power_pb2.SetServerPowerRequest(name=f"servers/{uuid}", power=on), admin())


def power_reboot(rig: Rig, uuid: str) -> None:
    reboot_ = server_power_pb2.SetServerPowerRequest.POWER_REBOOT
    rig.ok("SetServerPower", server_power_pb2.SetServerPowerRequest(name=f"servers/{uuid}", power=reboot_), admin())


def move(rig: Rig, uuid: str) -> None:
    """Its first port goes to another switch, where its cable is already."""
    port = server_move_pb2.PortMove(port=rig.server(uuid).ports[0].name, switch_name="leaf2", switch_port="xe-9/0/0")
    request = server_move_pb2.MoveServerRequest(name=f"servers/{uuid}", ports=[port], reason="new rack", cabled=True)
    rig.ok("MoveServer", request, admin())


def create(rig: Rig, _uuid: str) -> None:
    rig.create(BLUE, GREEN)


def create_nova(rig: Rig, _uuid: str) -> None:
    rig.create(BLUE, GREEN, flavor="flavors/nova")


def lose_nova(rig: Rig, uuid: str) -> None:
    rig.hardware.machine(uuid).taken_by_then = True
    create_nova(rig, uuid)


def delete(rig: Rig, _uuid: str) -> None:
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))


def stop(rig: Rig, _uuid: str) -> None:
    rig.ok("StopInstance", instance_pb2.StopInstanceRequest(name=WEB))


def start(rig: Rig, _uuid: str) -> None:
    rig.ok("StartInstance", instance_pb2.StartInstanceRequest(name=WEB))


def reboot(rig: Rig, _uuid: str) -> None:
    rig.ok("RebootInstance", instance_pb2.RebootInstanceRequest(name=WEB))


def rebuild(rig: Rig, _uuid: str) -> None:
    rig.ok("RebuildInstance", instance_pb2.RebuildInstanceRequest(name=WEB, image="images/other"))


def rescue(rig: Rig, _uuid: str) -> None:
    rig.ok("RescueInstance", instance_pb2.RescueInstanceRequest(name=WEB))


def unrescue(rig: Rig, _uuid: str) -> None:
    rig.ok("UnrescueInstance", instance_pb2.UnrescueInstanceRequest(name=WEB))


def attach(rig: Rig, _uuid: str) -> None:
    network = instance_pb2.InstanceNetwork(network=GREEN)
    rig.ok("AttachNetwork", instance_pb2.AttachNetworkRequest(name=WEB, network=network))


def detach(rig: Rig, _uuid: str) -> None:
    rig.ok("DetachNetwork", instance_pb2.DetachNetworkRequest(name=WEB, network=BLUE))


def forget(rig: Rig, uuid: str) -> None:
    rig.inventory.tell(uuid, "server.deleting")
    rig.hear()


def exhausted(rig: Rig, uuid: str) -> None:
    rig.addresses.exhausted = {GREEN}
    create(rig, uuid)


def corrupt(rig: Rig, uuid: str) -> None:
    rig.hardware.machine(uuid).corrupt = True
    create(rig, uuid)


def write_fails(rig: Rig, uuid: str) -> None:
    rig.hardware.machine(uuid).fail_jobs[JobKind.DEPLOY] = 1
    create(rig, uuid)


def settled(*acts: Callable[[Rig, str], None]) -> Callable[[Rig], str]:
    """A server on which these were done, each to its end."""

    def made(rig: Rig) -> str:
        uuid = rig.register()
        for act in acts:
            act(rig, uuid)
            rig.settle()
        return uuid

    return made


def held(rig: Rig, _uuid: str) -> None:
    rig.create(BLUE)


@dataclass(frozen=True)
class Case:
    """A verb, and what was done before it."""

    before: Callable[[Rig], str]
    verb: Callable[[Rig, str], None]


CASES = {
    "provide": Case(settled(), provide),
    "create": Case(settled(provide), create),
    "create through Nova": Case(settled(provide), create_nova),
    "lose through Nova": Case(settled(provide), lose_nova),
    "delete": Case(settled(provide, create), delete),
    "stop": Case(settled(provide, held), stop),
    "start": Case(settled(provide, held, stop), start),
    "reboot": Case(settled(provide, held), reboot),
    "rebuild": Case(settled(provide, held), rebuild),
    "rescue": Case(settled(provide, held), rescue),
    "unrescue": Case(settled(provide, held, rescue), unrescue),
    "attach": Case(settled(provide, held), attach),
    "detach": Case(settled(provide, held), detach),
    "recover": Case(settled(provide, held, quarantine), recover),
    "quarantine": Case(settled(provide, held), quarantine),
    "clean": Case(settled(provide), clean),
    "clean enrolled": Case(settled(), clean),
    "clean in quarantine": Case(settled(provide, quarantine), clean),
    "power on": Case(settled(provide, quarantine), power_on),
    "power reboot": Case(settled(), power_reboot),
    "move": Case(settled(provide, create), move),
    "move stopped": Case(settled(provide, held, stop), move),
    "move free": Case(settled(provide), move),
    "move in quarantine": Case(settled(provide, held, quarantine), move),
    "delete in quarantine": Case(settled(provide, held, quarantine), delete),
    "forget": Case(settled(provide), forget),
    "undo": Case(settled(provide), exhausted),
    "corrupt": Case(settled(provide), corrupt),
    "retry": Case(settled(provide), write_fails),
}


class Prepared:
    """A state that was reached once and is gone on from many times.

    Args:
        world: in which; an ordinary one.
    """

    def __init__(self, folder: Path, case: Case, world: World | None = None) -> None:
        self._folder = folder
        self._file = folder / "prepared.sqlite"
        database = open_database(_sqlite_copy("services.lifecycle", self._file))
        rig = Rig(database, world=world)
        self.uuid = case.before(rig)
        self._world = rig.world
        database.close()
        self._count = 0

    def forks(self) -> Generator[Rig, None, None]:
        """Processes and worlds in this state, each closed when the next is asked for."""
        while True:
            self._count += 1
            path = self._folder / f"fork-{self._count}.sqlite"
            shutil.copyfile(self._file, path)
            database = open_database(f"sqlite:///{path}")
            try:
                yield Rig(database, world=deepcopy(self._world))
            finally:
                database.close()
                path.unlink()


QUICK = (
    "create",
    "lose through Nova",
    "clean in quarantine",
    "delete",
    "stop",
    "attach",
    "move",
    "forget",
    "delete in quarantine",
)


@pytest.mark.parametrize(
    ("name", "both"),
    [*((name, False) for name in QUICK), *(pytest.param(name, True, marks=pytest.mark.slow) for name in CASES)],
)
def test_a_kill_anywhere_changes_nothing(name: str, *, both: bool, tmp_path: Path) -> None:
    """
    Killed before and after every effect of a verb, then started again: the end is that of the undisturbed run, and so
    is the log, but for the looks after the takeover.
    """
    case = CASES[name]
    prepared = Prepared(tmp_path, case)
    forks = prepared.forks()
    rig = next(forks)
    case.verb(rig, prepared.uuid)
    found = points(rig, both=both)
    wanted = portrait(rig, prepared.uuid)
    assert wanted.resting
    assert_sound(rig, prepared.uuid)

    for number, point in enumerate(found):
        rig = next(forks)
        case.verb(rig, prepared.uuid)
        assert rig.killed_at(At(number, kill, both=both)), point
        rig.settle()
        assert portrait(rig, prepared.uuid) == wanted, (number, point)
        assert_sound(rig, prepared.uuid)
    forks.close()


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 30))])
def test_kills_upon_kills(seed: int, tmp_path: Path) -> None:
    """
    Killed at random again and again, also while it recovers, a server is given out and taken back all the same.
    """
    chance = random.Random(seed)
    database = open_database(_sqlite_copy("services.lifecycle", tmp_path / "one.sqlite"))
    rig = Rig(database)
    uuid = settled(provide)(rig)
    for verb in (create, stop, start, rebuild, delete):
        verb(rig, uuid)
        for _ in range(chance.randint(1, 5)):
            rig.killed_at(At(chance.randint(0, 12), kill, both=True))
        rig.settle()
        assert portrait(rig, uuid).resting
        assert_sound(rig, uuid)
    assert (rig.server(uuid).state, rig.instance()) == (State.AVAILABLE, None)
    database.close()


def some(quick: tuple[str, ...], *slow: str) -> list[object]:
    """Names of cases, some of them for long runs alone."""
    return [*quick, *(pytest.param(name, marks=pytest.mark.slow) for name in slow)]


@pytest.mark.parametrize(
    "name",
    some(("create", "stop", "attach"), "start", "reboot", "rebuild", "rescue", "unrescue", "detach", "undo", "retry"),
)
def test_a_deletion_may_come_at_any_moment(name: str, tmp_path: Path) -> None:
    """
    Deleted while the worker is inside any call of another verb: what that worker writes later is void, and the server
    goes back clean, with nothing leaked.
    """
    case = CASES[name]
    prepared = Prepared(tmp_path, case)
    forks = prepared.forks()
    rig = next(forks)
    case.verb(rig, prepared.uuid)
    for number, point in enumerate(points(rig)):
        rig = next(forks)
        case.verb(rig, prepared.uuid)
        with observed(At(number, partial(delete, rig, prepared.uuid))):
            rig.settle()
        rig.settle()
        left = portrait(rig, prepared.uuid)
        assert (left.state, left.resting, left.instance) == (State.AVAILABLE, True, None), (number, point)
        assert left.pool == (True, "", ""), (number, point)
        assert_sound(rig, prepared.uuid)
    forks.close()


@pytest.mark.parametrize(
    "name", some(("attach", "stop"), "provide", "create", "delete", "rebuild", "rescue", "detach", "start")
)
def test_an_administrator_may_set_aside_at_any_moment(name: str, tmp_path: Path) -> None:
    """
    Quarantined while the worker is inside any call: ports cut and seen, powered off, and nothing goes on; the tenant's
    deletion and a recovery then lead back into the pool, with nothing leaked.
    """
    case = CASES[name]
    prepared = Prepared(tmp_path, case)
    forks = prepared.forks()
    rig = next(forks)
    case.verb(rig, prepared.uuid)
    for number, point in enumerate(points(rig)):
        rig = next(forks)
        case.verb(rig, prepared.uuid)
        with observed(At(number, partial(quarantine, rig, prepared.uuid))):
            rig.settle()
        rig.settle()
        left = portrait(rig, prepared.uuid)
        assert (left.state, left.resting, left.isolated) == (State.QUARANTINED, True, True), (number, point)
        assert not left.on
        instance = rig.instance()
        if instance is not None and instance.state is not InstanceState.DELETING:
            delete(rig, prepared.uuid)
        rig.settle()
        recover(rig, prepared.uuid)
        rig.settle()
        left = portrait(rig, prepared.uuid)
        assert (left.state, left.resting, left.instance) == (State.AVAILABLE, True, None), (number, point)
        assert_sound(rig, prepared.uuid)
    forks.close()


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("name", ["stop", "attach"])
def test_a_kill_over_postgresql(name: str, make_url: Callable[[str], str]) -> None:
    """
    The same over PostgreSQL, whose connections die with the process.
    """
    case = CASES[name]
    wanted: Portrait | None = None
    found: list[Point] = [("", "")]
    number = -1  # the first run is the undisturbed one
    while number < len(found):
        database = open_database(make_url("services.lifecycle"))
        rig = Rig(database)
        uuid = case.before(rig)
        case.verb(rig, uuid)
        if wanted is None:
            found, wanted = points(rig), portrait(rig, uuid)
        else:
            assert rig.killed_at(At(number, kill)), found[number]
            rig.settle()
            assert portrait(rig, uuid) == wanted, (number, found[number])
        assert_sound(rig, uuid)
        database.close()
        number += 1
