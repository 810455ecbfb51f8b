# SPDX-License-Identifier: Apache-2.0
"""Which processes a cloud has: a file each with its id and when it began, since ids are used again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.openstack.cloud.parts import answers, listens, start
from tests.openstack.cloud.place import Place, Unit

GRACE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One process that was started.

    Attributes:
        process: None if it is there no more.
    """

    name: str
    pid: int
    process: psutil.Process | None

    def family(self) -> list[psutil.Process]:
        """It and what it started."""
        if self.process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self.process, *self.process.children(recursive=True)]
        return []


def entries(home: Path) -> list[Entry]:
    """Every process that the cloud in *home* was left with, by name."""
    return [_read(path) for path in sorted((home / "run").glob("*.json"))]


def launch(place: Place, unit: Unit) -> bool:
    """Starts *unit* unless it runs; answers whether it did."""
    path = place.home / "run" / f"{unit.name}.json"
    if path.exists() and _read(path).process is not None:
        return False
    process = start(place.home, place.log(unit.name), unit.argv, unit.environ, stays=True)
    began = psutil.Process(process.pid).create_time()
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"pid": process.pid, "began": began}))
    return True


def await_ready(place: Place, units: Sequence[Unit]) -> None:
    """Waits until each of *units* shows that it is ready."""
    for unit in units:
        if unit.url:
            answers(unit.url, place.log(unit.name))
        elif unit.port:
            listens(unit.port, place.log(unit.name))


def finish(home: Path, found: Sequence[Entry]) -> None:
    """Ends the processes *found* and theirs, and waits until they are gone; asks first, all at once."""
    families = [process for entry in found for process in entry.family()]
    for entry in found:
        if entry.process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                entry.process.terminate()
    _, alive = psutil.wait_procs(families, timeout=GRACE_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(alive, timeout=GRACE_SECONDS)
    assert not alive, f"these do not end: {alive}"
    for entry in found:
        (home / "run" / f"{entry.name}.json").unlink(missing_ok=True)


def _read(path: Path) -> Entry:
    kept = json.loads(path.read_text())
    try:
        process = psutil.Process(kept["pid"])
        # A tick of the kernel's clock is what both are exact to.
        same = abs(process.create_time() - kept["began"]) < 0.05 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        same = False
    return Entry(path.stem, kept["pid"], process if same else None)
