# SPDX-License-Identifier: Apache-2.0
"""The rack's own account: who saw whose network with whose data, whatever any log says."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

import orjson

from services.simulated import control
from services.simulated.control import Witnessed
from services.simulated.rack import Rack


class Account:
    """What the rack saw, judged.

    Args:
        vlans: VLAN -> the project of its network; "" for the site's private ones.
        images: image -> the instance it was made for.
        powered: servers whose power was moved or lied about by a fault.
        tainted: server -> from when on administrators answered for it, and from when on they did so no more.
    """

    def __init__(
        self,
        rack: Rack,
        now: datetime,
        vlans: Mapping[int, str],
        images: Mapping[str, str],
        powered: set[str],
        tainted: Mapping[str, Sequence[tuple[datetime, bool]]],
    ) -> None:
        self._vlans = vlans
        self._images = images
        self._powered = powered
        self._tainted = tainted
        with rack.file.reading() as tx:
            self._owners = _owners(tx, images)
        self._book = control.witness(rack, now)
        self.lines = len(self._book)

    def wrongs(self) -> list[str]:
        """Every line that must not be; empty if the rack saw nothing wrong.

        Disks that are plugged in where a tenant's system was laid, whether it is still there or was taken out: whoever
        did so brought them to him. Nobody looks into a server that a tenant uses, and the clean pass after him must
        cover them too.
        """
        found: list[str] = []
        before: dict[str, Witnessed] = {}
        held: set[str] = set()
        brought: dict[str, set[str]] = {}
        for line in self._book:
            if line.server:
                last = before.get(line.server)
                his = brought.setdefault(line.server, set())
                if line.cause.startswith("clean "):
                    # Whatever was brought to him is to be erased with the rest.
                    held.discard(line.server)
                    his.clear()
                if last is not None and line.server in held:
                    his |= line.disks.keys() - last.disks.keys()
                if line.boot == "disk" or (self._is_laid(line, his) and not (last and self._is_laid(last, his))):
                    held.add(line.server)
                wrong = self._judge(line, last, his)
                found += [f"{line.time} servers/{line.server} {line.cause}: {what}" for what in wrong]
                before[line.server] = line
        return found

    def _is_laid(self, line: Witnessed, brought: set[str]) -> bool:
        """Whether a tenant's system lies on it that was not *brought*."""
        return bool(self._owners_of(line, brought) - {"unknown"})

    def _waived(self, line: Witnessed) -> bool:
        """Whether two administrators answer for what lies on its disks."""
        turns = [tainted for time, tainted in self._tainted.get(f"servers/{line.server}", ()) if time <= line.time]
        return bool(turns) and turns[-1]

    def _owners_of(self, line: Witnessed, but: set[str]) -> set[str]:
        """Whose data lies on its disks, *but* for some."""
        return {
            self._owners.get(owner, owner)
            for serial, (content, owner) in line.disks.items()
            if content != "blank" and serial not in but
        }

    def _judge(self, line: Witnessed, before: Witnessed | None, brought: set[str]) -> list[str]:
        if not line.exposed:
            return []
        wrong = []
        owners = self._owners_of(line, brought)
        reached = {self._vlans.get(vlan, "nobody's") for vlan in line.exposed}
        projects = reached - {""}
        if len(projects) > 1:
            wrong.append(f"it is on networks of {sorted(projects)} at once")
        running = {owner.split("/")[1] for owner in owners if owner.startswith("projects/")}
        # Whoever plugs another's disk into a tenant's server, and takes his out, has that run there.
        only_brought = not owners and bool(brought & line.disks.keys())
        if projects and line.boot == "disk" and running != projects and not only_brought:
            wrong.append(f"{sorted(owners)} runs on networks of {sorted(projects)}")
        if "" in reached and line.boot == "disk" and f"servers/{line.server}" not in self._powered:
            wrong.append(f"{sorted(owners)} runs on a private network")
        if before is not None and before.boot not in ("disk", "rescue") and not self._waived(line):
            # As it was before the system that runs now could write to it.
            there = self._owners_of(before, brought)
            if len(there) > 1:
                wrong.append(f"it started with data of {sorted(there)}")
        return wrong


def _owners(tx: sqlite3.Connection, images: Mapping[str, str]) -> dict[str, str]:
    """Request id of a deploy -> the instance whose image it wrote."""
    owners = {}
    for request_id, wanted in tx.execute("SELECT request_id, wanted FROM jobs WHERE kind = 'deploy'").fetchall():
        image = orjson.loads(wanted)[1]
        owners[request_id] = images.get(image, image)
    return owners
