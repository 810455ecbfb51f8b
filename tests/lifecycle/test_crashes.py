# SPDX-License-Identifier: Apache-2.0
"""A process that is killed anywhere loses nothing and repeats nothing that matters."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.effect import observed
from services.lifecycle.domain.states import State
from services.lifecycle.ports import JobKind
from services.runtime.database import open_database
from tests.lifecycle.portrait import Portrait, assert_sound, comparable, portrait
from tests.lifecycle.rig import BLUE, GREEN, WEB, Crash, Rig, World
from tests.support.stores import MakeDatabase, _sqlite_copy
from tests.support.wire import admin

Point = tuple[str, str]


def points(rig: Rig, *, all_of_them: bool = False) -> list[Point]:
    """Where the process can be killed until *rig* has come to rest.

    Reading changes nothing, and a kill between two statements of a transaction undoes it as one before it does: these
    points are left out unless *all_of_them*.
    """
    found: list[Point] = []
    with observed(lambda label, when: found.append((label, when))):
        rig.settle()
    return found if all_of_them else [point for point in found if counts(point[0])]


def counts(label: str) -> bool:
    return not (label.startswith("db.read") or label.endswith((".statement", ".commit")))


class KillAt:
    """Kills at the point with this number."""

    def __init__(self, number: int, *, all_of_them: bool = False) -> None:
        self.left = number
        self.all = all_of_them

    def __call__(self, label: str, _when: str) -> None:
        if not self.all and not counts(label):
            return
        self.left -= 1
        if self.left == -1:
            raise Crash(label)


class Instead:
    """At the point with this number, somebody else does something."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.left = number
        self.act = act

    def __call__(self, label: str, _when: str) -> None:
        if not counts(label):
            return
        self.left -= 1
        if self.left == -1:
            self.act()


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


def create(rig: Rig, _uuid: str) -> None:
    rig.create(BLUE, GREEN)


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
    "delete in quarantine": Case(settled(provide, held, quarantine), delete),
    "forget": Case(settled(provide), forget),
    "undo": Case(settled(provide), exhausted),
    "corrupt": Case(settled(provide), corrupt),
    "retry": Case(settled(provide), write_fails),
}


class Prepared:
    """A state that was reached once and is gone on from many times."""

    def __init__(self, folder: Path, case: Case) -> None:
        self._folder = folder
        self._file = folder / "prepared.sqlite"
        database = open_database(_sqlite_copy("services.lifecycle", self._file))
        rig = Rig(database)
        self.uuid = case.before(rig)
        self._world = rig.world
        database.close()
        self._count = 0

    def forks(self) -> Iterator[Rig]:
        """Processes and worlds in this state, each closed when the next is asked for."""
        while True:
            self._count += 1
            path = self._folder / f"fork-{self._count}.sqlite"
            shutil.copyfile(self._file, path)
            database = open_database(f"sqlite:///{path}")
            yield Rig(database, world=deepcopy(self._world))
            database.close()
            path.unlink()


@pytest.mark.parametrize("name", CASES)
def test_a_kill_anywhere_changes_nothing(name: str, tmp_path: Path) -> None:
    """
    Killed before and after every effect of a verb, then started again: the end is that of the undisturbed run, and so is
    the log, but for the looks after the takeover.
    """
    case = CASES[name]
    prepared = Prepared(tmp_path, case)
    forks = prepared.forks()
    rig = next(forks)
    case.verb(rig, prepared.uuid)
    found = points(rig)
    wanted = comparable(portrait(rig, prepared.uuid))
    assert wanted.resting
    assert_sound(rig, prepared.uuid)

    for number, point in enumerate(found):
        rig = next(forks)
        case.verb(rig, prepared.uuid)
        assert rig.killed_at(KillAt(number)), point
        rig.settle()
        assert comparable(portrait(rig, prepared.uuid)) == wanted, (number, point)
        assert_sound(rig, prepared.uuid)
    forks.close()  # type: ignore[attr-defined]
