# SPDX-License-Identifier: Apache-2.0
"""The simulated rack as the two backends use it: hardware behind BMCs, ports of switches.

It keeps no secret: whatever login is shown to a BMC is taken, unless a fault says otherwise, and config drives do not
come here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from services.kernel.errors import PeerUnavailable, WrongState
from services.simulated.faults import Fault, FaultKind, every, look, mend, strike, targets_of
from services.simulated.file import Connection, RackFile
from services.simulated.passing import book, end_job, has_network, interrupted, no_network, power_changed, settle
from services.simulated.profiles import PROFILES, micros
from services.simulated.state import (
    Boot,
    Job,
    Machine,
    Phase,
    PowerWish,
    Vlans,
    Wanted,
    Work,
    find_job,
    find_machine,
    find_port,
    machine_of,
    new_machine,
    ports_of,
    save_job,
    save_machine,
    save_port,
    setting,
)

REMEMBERED_REBOOTS = 16

_STAGES = {
    Work.INSPECT: ("booting the ramdisk", "reading the hardware"),
    Work.CLEAN: ("booting the ramdisk", "erasing disks", "erasing disks", "erasing disks", "sampling blocks"),
    Work.MANUAL_CLEAN: ("booting the ramdisk", "running clean steps"),
    Work.DEPLOY: (
        "booting the ramdisk",
        "writing the image",
        "writing the image",
        "verifying the image",
        "writing the config drive",
    ),
    Work.RESCUE: ("booting the rescue system", "waiting for its network"),
}


@dataclass(frozen=True, slots=True)
class PowerAnswer:
    """What a BMC says about the power, with the SHA-256 over its raw answer."""

    on: bool
    digest: bytes


@dataclass(frozen=True, slots=True)
class PortWrite:
    """A configuration to be written to one switch port, and whose MAC address is plugged in there."""

    switch: str
    port: str
    vlans: Vlans
    mac: str


@dataclass(frozen=True, slots=True)
class PortAnswer:
    """What a switch says about one port: ``vlans`` None and ``detail`` set if it says nothing."""

    vlans: Vlans | None
    digest: bytes = b""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """A job and how far it is: percent 0 to 100, and a word for what it is doing."""

    job: Job
    machine: Machine
    percent: int
    stage: str


class Rack:
    """The rack of one file. Every method takes the moment at which it is called; see `services.simulated.passing`."""

    def __init__(self, path: Path) -> None:
        self.file = RackFile(path)

    def close(self) -> None:
        """Closes the file."""
        self.file.close()

    # -- hardware ------------------------------------------------------------------------------------------------------

    def verify(self, server: str, bmc: str, now: datetime) -> None:
        """Answers if the BMC does and takes the login.

        Raises:
            PeerUnavailable: it does not answer.
            WrongState: it refuses the login.
        """
        _, faults = self._meet(server, bmc, micros(now), login=False)
        if fault := faults.get(FaultKind.BMC_BAD_LOGIN):
            self._struck(fault)
            msg = f"the BMC of servers/{server} refuses the login"
            raise WrongState(
                msg,
                remedy="Store the right login with bms server set, then verify again.",
                subject=f"servers/{server}",
                reason="BMC_LOGIN_REFUSED",
            )

    def is_taken(self, server: str, bmc: str, now: datetime) -> bool:
        """Whether others took the server, as far as its controller tells; no BMC is asked."""
        with self.file.reading() as tx:
            fault = look(tx, targets_of(bmc, server), micros(now)).get(FaultKind.TAKEN_BY_OTHERS)
        if fault is not None:
            self._struck(fault)
        return fault is not None

    def read_power(self, server: str, bmc: str, now: datetime) -> PowerAnswer:
        """The power as the BMC tells it.

        Raises:
            PeerUnavailable: the BMC does not answer, or refuses the login.
        """
        at = micros(now)
        machine, faults = self._meet(server, bmc, at)
        on = machine.power
        if fault := faults.get(FaultKind.POWER_LIES_OFF):
            self._struck(fault)
            on = False
        raw = f'{{"Bmc":"{bmc}","PowerState":"{"On" if on else "Off"}","Read":{at}}}'
        return PowerAnswer(on, hashlib.sha256(raw.encode()).digest())

    def set_power(self, server: str, bmc: str, now: datetime, *, on: bool) -> None:
        """Asks for power on or off; asking for what is, or is on its way, changes nothing.

        Raises:
            PeerUnavailable: the BMC does not answer, or refuses the login.
        """
        at = micros(now)
        machine, faults = self._meet(server, bmc, at)
        wish = PowerWish.ON if on else PowerWish.OFF
        # That it will come on by itself is known to nobody, so asking again for what is changes nothing about it.
        unasked = (PowerWish.NONE,) if on else (PowerWish.NONE, PowerWish.RETURN)
        if machine.power_wish is wish or (machine.power is on and machine.power_wish in unasked):
            return
        if not on and (fault := faults.get(FaultKind.POWER_STUCK_ON)):
            self._struck(fault)
            return
        with self.file.writing() as tx:
            machine = self._settled(tx, server, bmc, at)
            if machine.power is on:
                # It is as asked already, and whatever was on its way to change that is called off.
                save_machine(tx, replace(machine, power_wish=PowerWish.NONE, power_due=None))
            else:
                self._wish(tx, machine, wish, at)

    def reboot(self, server: str, bmc: str, now: datetime, *, request_id: str) -> None:
        """Asks for a power cycle, once per *request_id*.

        Raises:
            PeerUnavailable: the BMC does not answer, or refuses the login.
        """
        at = micros(now)
        self._meet(server, bmc, at)
        with self.file.writing() as tx:
            machine = self._settled(tx, server, bmc, at)
            if request_id in machine.reboots:
                return
            machine = replace(machine, reboots=(*machine.reboots, request_id)[-REMEMBERED_REBOOTS:])
            self._wish(tx, machine, PowerWish.CYCLE, at)

    def reset_bmc(self, server: str, bmc: str, now: datetime) -> None:
        """Restarts the BMC: one that hung answers again. The machine behind it does not notice.

        Raises:
            PeerUnavailable: it is silent for another reason.
        """
        with self.file.writing() as tx:
            for fault in every(tx, targets_of(bmc, server), micros(now)):
                if fault.kind is FaultKind.BMC_HANGS:
                    mend(tx, fault)
        self._meet(server, bmc, micros(now), login=False)

    def start_job(self, server: str, bmc: str, now: datetime, kind: Work, wanted: Wanted, *, request_id: str) -> None:
        """Starts a job unless one of this *request_id* is known; ends another that runs. The ramdisk boots at once.

        Raises:
            PeerUnavailable: the BMC does not answer, or refuses the login.
        """
        at = micros(now)
        self._meet(server, bmc, at)
        with self.file.writing() as tx:
            machine = self._settled(tx, server, bmc, at)
            if find_job(tx, request_id) is not None:
                return
            machine = interrupted(tx, machine, at)
            job = Job(request_id, bmc, kind, at, at + _duration(tx, kind), wanted=wanted)
            ports = ports_of(tx, server)
            if kind is not Work.INSPECT and not has_network(tx, ports):
                save_job(tx, replace(job, due=at, phase=Phase.FAILED, outcome=no_network(kind)))
                save_machine(tx, machine)
                return
            machine = replace(
                machine,
                power=True,
                boot=Boot.RAMDISK,
                power_wish=PowerWish.NONE,
                power_due=None,
                job=request_id,
                job_due=job.due,
            )
            save_job(tx, job)
            save_machine(tx, machine)
            book(tx, machine, server, ports, f"{kind} {request_id}", at)
            if job.due <= at:
                ended = end_job(tx, machine, ports, at)
                if ended is not machine:
                    book(tx, ended, server, ports, f"job {request_id}", at)

    def read_job(self, server: str, bmc: str, now: datetime, *, request_id: str) -> JobAnswer | None:
        """The job of *request_id* as it is now; None if there is none.

        Raises:
            PeerUnavailable: the BMC does not answer, or refuses the login.
        """
        at = micros(now)
        machine, _ = self._meet(server, bmc, at)
        with self.file.reading() as tx:
            job = find_job(tx, request_id)
        if job is None:
            return None
        percent, stage = _progress(job, at)
        return JobAnswer(job, machine, percent, stage)

    def forget(self, server: str, now: datetime) -> None:
        """Ends the job of *server* and forgets whose machine it is. Nothing is erased or switched off by that."""
        at = micros(now)
        with self.file.writing() as tx:
            machine = settle(tx, server, machine_of(tx, server), at)
            if machine is None:
                return
            machine = interrupted(tx, machine, at)
            tx.execute("DELETE FROM jobs WHERE bmc = ?", (machine.bmc,))
            save_machine(tx, replace(machine, server=""))

    # -- switches ------------------------------------------------------------------------------------------------------

    def write_ports(self, server: str, writes: tuple[PortWrite, ...], now: datetime) -> None:
        """Asks for configurations; every port that can be written is, even where another one fails.

        Raises:
            PeerUnavailable: a switch does not take the configuration; it names the ports.
        """
        at = micros(now)
        failed = []
        with self.file.writing() as tx:
            machine = settle(tx, server, machine_of(tx, server), at)
            changed = False
            for write in writes:
                faults = look(tx, (write.switch, f"{write.switch}/{write.port}"), at)
                if fault := faults.get(FaultKind.SWITCH_WRITE_FAILS):
                    strike(tx, fault)
                    failed.append(f"{write.switch} {write.port}")
                    continue
                changed |= self._write_port(tx, server, write, faults, at)
            if changed:
                book(tx, machine, server, ports_of(tx, server), "switch write", at)
        if failed:
            msg = f"no answer to a write to {', '.join(failed)}"
            raise PeerUnavailable(
                msg, remedy="Repeat the call; look at the switch if it lasts.", peer="fabric", ports=", ".join(failed)
            )

    def read_ports(self, ports: tuple[tuple[str, str], ...], now: datetime) -> tuple[PortAnswer, ...]:
        """Each of *ports* (switch, port) as it is configured now."""
        at = micros(now)
        answers = []
        for switch, port in ports:
            with self.file.reading() as tx:
                state = find_port(tx, switch, port)
                faults = look(tx, (switch, f"{switch}/{port}"), at)
            if fault := faults.get(FaultKind.SWITCH_READ_FAILS):
                self._struck(fault)
                answers.append(PortAnswer(None, detail=f"{switch} does not answer"))
                continue
            if state.effective_at is not None and state.effective_at <= at:
                with self.file.writing() as tx:
                    settle(tx, state.server, machine_of(tx, state.server), at)
                    state = find_port(tx, switch, port)
            raw = f'{{"switch":"{switch}","port":"{port}","vlans":{state.actual.text()},"read":{at}}}'
            answers.append(PortAnswer(state.actual, hashlib.sha256(raw.encode()).digest()))
        return tuple(answers)

    # ------------------------------------------------------------------------------------------------------------------

    def _meet(self, server: str, bmc: str, at: int, *, login: bool = True) -> tuple[Machine, dict[FaultKind, Fault]]:
        """The machine behind *bmc* as it is, and what is wrong with it; *login*: a refused one counts as silence."""
        with self.file.reading() as tx:
            machine = find_machine(tx, bmc)
            faults = look(tx, targets_of(bmc, server), at)
        silent = faults.get(FaultKind.BMC_SILENT) or faults.get(FaultKind.BMC_HANGS)
        refused = faults.get(FaultKind.BMC_BAD_LOGIN) if login else None
        if fault := silent or refused:
            self._struck(fault)
            reason = "BMC_SILENT" if silent else "BMC_LOGIN_REFUSED"
            what = "does not answer" if silent else "refuses the login"
            msg = f"the BMC of servers/{server} {what}"
            raise PeerUnavailable(
                msg, remedy="Look at the BMC and its login.", peer="bmc", server=server, reason=reason
            )
        if machine is None or machine.server != server or machine.due(at):
            with self.file.writing() as tx:
                machine = self._settled(tx, server, bmc, at)
        return machine, faults

    def _settled(self, tx: Connection, server: str, bmc: str, at: int) -> Machine:
        machine = find_machine(tx, bmc)
        if machine is None or machine.server != server:
            machine = new_machine(bmc, server) if machine is None else replace(machine, server=server)
            # A BMC that was given to another machine, as far as we are told.
            tx.execute("UPDATE machines SET server = '' WHERE server = ? AND bmc <> ?", (server, bmc))
            save_machine(tx, machine)
        settled = settle(tx, server, machine, at)
        assert settled is not None
        return settled

    def _wish(self, tx: Connection, machine: Machine, wish: PowerWish, at: int) -> None:
        due = at + _duration(tx, "power")
        machine = replace(machine, power_wish=wish, power_due=due)
        if due > at:
            save_machine(tx, machine)
            return
        machine = power_changed(tx, machine, at)
        book(tx, machine, machine.server, ports_of(tx, machine.server), f"power {wish}", at)

    def _write_port(
        self, tx: Connection, server: str, write: PortWrite, faults: dict[FaultKind, Fault], at: int
    ) -> bool:
        """Writes one port; answers whether what is in force changed at once."""
        before = find_port(tx, write.switch, write.port)
        state = replace(before, server=server, mac=write.mac, written=write.vlans)
        if fault := faults.get(FaultKind.SWITCH_LIES):
            strike(tx, fault)
            save_port(tx, replace(state, effective_at=None))
            return False
        if write.vlans == before.actual:
            save_port(tx, replace(state, effective_at=None))
            return before.server != server
        if before.effective_at is not None and before.written == write.vlans:
            save_port(tx, state)
            return False
        delay = _duration(tx, "switch")
        if fault := faults.get(FaultKind.SWITCH_LAGS):
            strike(tx, fault)
            delay += int(fault.seconds * 1_000_000)
        if delay:
            save_port(tx, replace(state, effective_at=at + delay))
            return False
        save_port(tx, replace(state, actual=write.vlans, effective_at=None))
        return True

    def _struck(self, fault: Fault) -> None:
        with self.file.writing() as tx:
            strike(tx, fault)


def _duration(tx: Connection, what: str) -> int:
    return PROFILES[setting(tx, "profile", "demo")].of(what, float(setting(tx, "speed", "1")))


def _progress(job: Job, at: int) -> tuple[int, str]:
    if job.phase is not Phase.RUNNING:
        return 100 if job.phase is Phase.PASSED else 0, job.phase.value
    share = 0.99 if at >= job.due else max(0.0, (at - job.started) / (job.due - job.started))
    stages = _STAGES[job.kind]
    return int(share * 100), stages[min(int(share * len(stages)), len(stages) - 1)]
