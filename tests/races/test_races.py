# SPDX-License-Identifier: Apache-2.0
"""Replicas of each service race for the same servers and addresses, and are killed, stopped and cut off meanwhile."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.races.administering import SERVERS, bring_in, lay_ground, mend, statuses
from tests.races.calling import Caller
from tests.races.judging import Bench
from tests.races.reaping import Reaper
from tests.races.rig import PROJECTS, Site, running

pytestmark = pytest.mark.races

SEED = os.environ.get("BMS_RACES_SEED", "1")
"""Another seed asks and kills in another order; the same one does not do the same again."""
MINUTES = float(os.environ.get("BMS_RACES_MINUTES") or 1.2)
"""How long the load lasts; below 1.2 nobody is stopped for longer than a claim holds."""

_CALLERS = (
    *(("tenant", project) for project in (*PROJECTS, PROJECTS[0])),
    *[("lease", PROJECTS[0])] * 3,
    ("admin", ""),
)
_LEAVE_SECONDS = 240.0
_SETTINGS = {"BMS_LIFECYCLE_POLL_SECONDS": "0.5", "BMS_LIFECYCLE_PATROL_SECONDS": "5"}


@pytest.mark.timeout(600 + 60 * MINUTES)
def test_replicas_race_and_nothing_is_lost(tmp_path: Path, postgres_server: str) -> None:
    """
    However replicas race, die, sleep through their claims and lose their connections: no caller ever sees a defect, no
    request is done twice, the logs prove that every tenant was alone, and at the end nothing is held by nobody.
    """
    sys.stdout.write(f"\nseed {SEED}, {MINUTES:g} minutes, in {tmp_path}\n")
    with running(tmp_path, postgres_server, _SETTINGS) as site:
        admin = Caller(site.place, "admin", random.Random(f"{SEED}/ground"))
        lay_ground(admin, PROJECTS)
        bring_in(admin, 1, SERVERS)
        until = time.monotonic() + 60
        while len(statuses(admin)) < SERVERS:
            assert time.monotonic() < until, "lifecycle does not hear of the servers"
            time.sleep(0.1)
        mend(admin, takes=False)

        reaper = Reaper(site, SEED)
        books = _play(site, reaper)

        bench = Bench(site, admin)
        bench.judge({key: value for book in books for key, value in book["acked"].items()})
        counts: Counter[str] = sum((Counter(book["counts"]) for book in books), Counter())
        for title, told in (("callers", counts), ("reaper", reaper.counts)):
            sys.stdout.write(f"{title}: {json.dumps(dict(sorted(told.items())), indent=1)}\n")
        sys.stdout.write(f"repaired: {bench.repaired}\n")
        wrong = [line for book in books for line in book["wrong"]] + bench.wrong + admin.book.wrong
        assert not wrong, "\n".join(wrong[:60])
        assert counts["asked again"], "nobody was answered"
        assert counts["CreateInstance"], "nobody was given a server"


def _play(site: Site, reaper: Reaper) -> list[dict[str, Any]]:
    """The load, disturbed; answers what each caller saw."""
    site.write_place()
    callers = {}
    for number, (kind, project) in enumerate(_CALLERS):
        argv = [sys.executable, "-m", "tests.races", kind, project, str(number), SEED, str(site.folder)]
        path = {**os.environ, "PYTHONPATH": os.pathsep.join([".", "protos"])}
        callers[f"{kind}-{number}"] = subprocess.Popen(argv, env=path, stdin=subprocess.DEVNULL)
    try:
        reaper.work(60 * MINUTES)
        (site.folder / "over").touch()
        for process in callers.values():
            process.wait(_LEAVE_SECONDS)
    finally:
        for process in callers.values():
            if process.poll() is None:
                process.kill()
                process.wait(10)
    return [json.loads((site.folder / f"{name}.json").read_text()) for name in callers]
