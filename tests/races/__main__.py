# SPDX-License-Identifier: Apache-2.0
"""One caller as a process of its own: ``python -m tests.races KIND PROJECT NUMBER SEED FOLDER``.

It works until there is a file ``over`` in the folder, gives back what it holds, asks once more what was answered, and
leaves what it saw as ``<kind>-<number>.json``.
"""

from __future__ import annotations

import random
import sys
import traceback
from pathlib import Path

from tests.races.administering import Administrator
from tests.races.calling import Caller, Place
from tests.races.leasing import Leaser
from tests.races.tenants import Tenant

_TWICE = 0.4


def main(kind: str, project: str, number: str, seed: str, folder: Path) -> None:
    """Works, and tells."""
    chance = random.Random(f"{seed}/{kind}-{number}")
    caller = Caller(Place.read(folder / "place.json"), project if kind != "admin" else "admin", chance, _TWICE)
    over = folder / "over"
    try:
        if kind == "admin":
            Administrator(caller).live(lambda: not over.exists())
        else:
            someone = (Tenant if kind == "tenant" else Leaser)(caller, project, int(number))
            someone.live(lambda: not over.exists())
            someone.leave()
        caller.again()
    except Exception:  # noqa: BLE001 -- told to the parent, who judges
        caller.book.wrong.append(traceback.format_exc())
    caller.book.write(folder / f"{kind}-{number}.json")


if __name__ == "__main__":
    _kind, _project, _number, _seed, _folder = sys.argv[1:]
    main(_kind, _project, _number, _seed, Path(_folder))
