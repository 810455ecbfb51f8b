# SPDX-License-Identifier: Apache-2.0
"""The simulated rack of a data directory, as a person before it sees it: the one module that knows the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from services.simulated import control
from services.simulated.rack import Rack

FILE = "rack.sqlite"


@contextmanager
def open_rack(directory: Path) -> Iterator[Rack]:
    """The rack whose file is in *directory*; made if there is none."""
    rack = Rack(directory / FILE)
    try:
        yield rack
    finally:
        rack.close()


def set_pace(rack: Rack, profile: str, speed: float | None) -> None:
    """Chooses how long things take; what is not given stays."""
    control.set_settings(rack, profile=profile, speed=speed)


def plant(rack: Rack, path: Path, now: datetime) -> list[str]:
    """Puts the faults of a file in place; answers a line about each."""
    return [str(planted) for planted in control.inject_file(rack, path, now)]
