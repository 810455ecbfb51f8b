# SPDX-License-Identifier: Apache-2.0
"""What breaks in the rack by itself."""

from __future__ import annotations

from services.kernel.errors import BmsError
from services.simulated import control
from services.simulated.faults import FaultKind
from services.simulated.rack import Rack
from tests.simulation.engine import Simulation
from tests.simulation.weather import Weather

_K = FaultKind
KINDS: dict[str, tuple[FaultKind, ...]] = {
    "bmc": (_K.BMC_SILENT, _K.BMC_SILENT, _K.BMC_BAD_LOGIN),
    "power": (_K.POWER_STUCK_ON, _K.POWER_RETURNS, _K.POWER_LIES_OFF),
    "switch": (_K.SWITCH_LAGS, _K.SWITCH_LIES, _K.SWITCH_READ_FAILS, _K.SWITCH_WRITE_FAILS),
    "jobs": (_K.IMAGE_WRITE_FAILS, _K.IMAGE_CORRUPT, _K.INSPECT_FAILS, _K.RESCUE_FAILS, _K.JOB_HANGS),
    "disks": (_K.DISK_ERASE_FAILS, _K.DISK_APPEARS),
    "moves": (),
    "others": (_K.TAKEN_BY_OTHERS,),
}
"""Class of faults -> what befalls servers and switches."""


class Gremlin:
    """Breaks something every now and then.

    Attributes:
        powered: servers whose power somebody or something else than the product moved, or lied about.
    """

    def __init__(self, sim: Simulation, weather: Weather, rack: Rack, servers: list[str]) -> None:
        self._sim = sim
        self._weather = weather
        self._rack = rack
        self._servers = servers
        self.powered: set[str] = set()
        self._moved: set[str] = set()

    def work(self, every: float) -> None:
        """Goes on until the weather clears.

        Args:
            every: seconds between two faults, on average.
        """
        kinds = [name for name in KINDS if self._weather.has(name)]
        while kinds:
            self._sim.sleep(self._weather.uniform(0, 2 * every))
            if self._weather.over:
                return
            self._break(self._weather.one_of(kinds))

    def _break(self, name: str) -> None:
        weather, now = self._weather, self._sim.now()
        self._weather.count(name)
        server = weather.one_of(self._servers)
        try:
            if name == "moves":
                self._move(server, weather.one_of(self._servers))
                return
            if name in ("power", "disks") and weather.happens(0.3):
                self._by_hand(name, server)
                return
            kind = weather.one_of(KINDS[name])
            count = 1 + int(weather.uniform(0, 4)) if weather.happens(0.7) else None
            lasting = weather.uniform(1, 1500)
            if kind.of_switch:
                switch, port = self._plug()
                if switch:
                    where = "" if weather.happens(0.3) else port
                    seconds = weather.uniform(1, 120) if kind is _K.SWITCH_LAGS else None
                    control.inject(
                        self._rack, kind, now, switch=switch, port=where, seconds=seconds, count=count, lasting=lasting
                    )
                return
            seconds = weather.uniform(0.1, 200) if kind is _K.POWER_RETURNS else None
            control.inject(self._rack, kind, now, server=server, seconds=seconds, count=count, lasting=lasting)
            if name == "power":
                self.powered.add(server)
        except BmsError:
            pass  # its BMC was never called: it cannot be broken yet

    def _by_hand(self, name: str, server: str) -> None:
        """A button is pressed, or a disk is replaced."""
        now = self._sim.now()
        machine = control.server(self._rack, server, now)
        if name == "power":
            self.powered.add(server)
            control.press(self._rack, server, now, on=not machine.power)
        elif machine.disks:
            control.swap_disk(self._rack, server, self._weather.one_of(machine.disks).serial, now)

    def _move(self, source: str, target: str) -> None:
        """A disk goes to another server with all that is on it; each once, and no server is left without one.

        One that came back with other data on it before anybody looked would be taken for what it was.
        """
        now = self._sim.now()
        disks = control.server(self._rack, source, now).disks
        there = [disk.serial for disk in disks if disk.serial not in self._moved]
        if source != target and there and len(disks) > 1:
            serial = self._weather.one_of(there)
            control.move_disk(self._rack, source, serial, target, now)
            self._moved.add(serial)

    def _plug(self) -> tuple[str, str]:
        ports = control.switch_ports(self._rack, self._sim.now())
        if not ports:
            return "", ""
        chosen = self._weather.one_of(ports)
        return chosen.switch, chosen.port
