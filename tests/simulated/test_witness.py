# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import multiprocessing
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.kernel.errors import InvalidField, InvalidFields, NotFound
from services.lifecycle.ports import JobKind, Target
from services.simulated import control
from services.simulated.faults import FaultKind
from services.simulated.rack import PortWrite, Rack
from services.simulated.state import Vlans
from tests.simulated.conftest import ADDRESS, LEAF, PROVISIONING, SERVER, TARGET, TENANT, Bench, plug


def test_the_book_keeps_the_order_of_things(bench: Bench) -> None:
    """
    Changes stand in the book in the order and with the times at which they happened, whoever noticed them first.
    """
    bench.hardware.set_power(TARGET, on=True, request_id="1")
    bench.clock.move(1)
    bench.put(TENANT)
    bench.clock.move(60)
    assert bench.fabric.read((plug(LEAF),))[0].config == TENANT
    start = datetime(2026, 1, 1, tzinfo=UTC)
    book = control.witness(bench.rack, bench.clock.now(), server=SERVER)
    changes = [(line.cause, line.time - start, line.power) for line in book]
    assert changes == [
        (f"switch {LEAF.switch} {LEAF.port}", timedelta(seconds=3), "off"),
        ("power on", timedelta(seconds=5), "on"),
    ]


def test_who_is_exposed(bench: Bench) -> None:
    """
    Only a running system of somebody's is exposed: not a server that is off, and not our ramdisk.
    """
    bench.put(PROVISIONING)
    bench.job(JobKind.DEPLOY, "d")
    bench.clock.move(901)
    bench.power(on=False)
    bench.put(TENANT)
    bench.power(on=True)
    bench.clock.move(1)
    book = control.witness(bench.rack, bench.clock.now(), server=SERVER)
    exposed = [(line.cause, line.exposed) for line in book if line.exposed]
    assert exposed == [("power on", frozenset({200}))]
    assert {owner for _, owner in book[-1].disks.values()} == {"d"}


def test_buttons_and_disks(bench: Bench) -> None:
    """
    A hand can switch a server whatever the BMC does, and change a disk for a blank one with another serial number.
    """
    with pytest.raises(NotFound):
        control.press(bench.rack, ADDRESS, bench.clock.now(), on=True)
    bench.hardware.verify(TARGET)
    bench.inject("bmc-silent")
    assert control.press(bench.rack, ADDRESS, bench.clock.now(), on=True).power
    old = bench.serials()[0]
    machine = control.swap_disk(bench.rack, SERVER, old, bench.clock.now())
    assert old not in {disk.serial for disk in machine.disks}
    with pytest.raises(NotFound):
        control.swap_disk(bench.rack, SERVER, old, bench.clock.now())


def test_a_disk_moves_with_its_data(bench: Bench) -> None:
    """
    A disk that is plugged into another server is the last one there, as it was, and gone from where it was.
    """
    bench.put(PROVISIONING)
    bench.job(JobKind.DEPLOY, "d")
    bench.clock.move(901)
    other = Target("22222222-2222-4222-8222-222222222222", 1)
    bench.hardware.verify(other)
    now, serial = bench.clock.now(), bench.serials()[0]
    control.move_disk(bench.rack, SERVER, serial, other.server, now)
    assert serial not in bench.serials()
    last = control.witness(bench.rack, now)[-1]
    assert (last.server, last.disks[serial][1]) == (other.server, "d")
    assert list(last.disks)[-1] == serial
    with pytest.raises(NotFound):
        control.move_disk(bench.rack, SERVER, serial, other.server, now)
    with pytest.raises(InvalidField):
        control.move_disk(bench.rack, other.server, serial, other.server, now)


def test_a_server_that_was_in_use_before(bench: Bench) -> None:
    """
    A server may run somebody's system before anybody asked for one.
    """
    bench.hardware.verify(TARGET)
    control.occupy(bench.rack, SERVER, "them", bench.clock.now())
    assert bench.hardware.read_power(TARGET).power == "on"
    last = control.witness(bench.rack, bench.clock.now(), server=SERVER)[-1]
    assert (last.boot, {owner for _, owner in last.disks.values()}) == ("disk", {"them"})


def test_names(bench: Bench) -> None:
    """
    A fault may wait for a name; once taught whose it is, it strikes, and can be cleared by name or address.
    """
    injected = control.inject(bench.rack, "power-lies-off", bench.clock.now(), server="r11-01")
    assert not injected.known
    bench.power(on=True)
    assert bench.hardware.read_power(TARGET).power == "on"
    control.name_server(bench.rack, "r11-01", SERVER)
    assert bench.hardware.read_power(TARGET).power == "off"
    assert control.clear(bench.rack, server="r11-01") == 1


def test_faults_end(bench: Bench) -> None:
    """
    A fault for a time is over when it has passed, and is no longer listed.
    """
    control.inject(bench.rack, "power-lies-off", bench.clock.now(), server=ADDRESS, lasting=30)
    bench.power(on=True)
    assert bench.hardware.read_power(TARGET).power == "off"
    bench.clock.move(30)
    assert bench.hardware.read_power(TARGET).power == "on"
    assert control.list_faults(bench.rack, bench.clock.now()) == []


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("kind", {"kind": "gremlins", "server": "a"}),
        ("server", {"kind": "bmc-silent", "switch": "leaf1"}),
        ("server", {"kind": "bmc-silent"}),
        ("switch", {"kind": "switch-lies", "server": "a"}),
        ("count", {"kind": "bmc-silent", "server": "a", "count": 0}),
    ],
)
def test_faults_that_make_no_sense(bench: Bench, field: str, arguments: dict[str, str]) -> None:
    """
    An unknown fault, one that befalls nothing or the wrong thing, or a count of nothing is refused by field.
    """
    with pytest.raises(InvalidField) as caught:
        control.inject(bench.rack, now=bench.clock.now(), **arguments)  # type: ignore[arg-type]  # that is the test
    assert caught.value.facts["field"] == field


def test_a_file_of_faults_is_taken_whole(bench: Bench, tmp_path: Path) -> None:
    """
    Every line of a fault file takes effect, or none does; malformed lines are all told.
    """
    file = tmp_path / "faults.yaml"
    file.write_text(
        "faults:\n- {kind: bmc-silent, server: a, count: 2}\n- {kind: switch-lags, switch: l, seconds: 3, for: 9}\n"
    )
    assert len(control.inject_file(bench.rack, file, bench.clock.now())) == 2
    file.write_text("faults:\n- {kind: bmc-silent, server: b}\n- {kind: gremlins, server: b}\n")
    with pytest.raises(InvalidField):
        control.inject_file(bench.rack, file, bench.clock.now())
    assert len(control.list_faults(bench.rack, bench.clock.now())) == 2
    file.write_text("faults:\n- 7\n- {kind: x, seconds: soon}\n")
    with pytest.raises(InvalidFields) as caught:
        control.inject_file(bench.rack, file, bench.clock.now())
    assert [violation.field for violation in caught.value.violations] == ["faults[0]", "faults[1]"]


@pytest.mark.parametrize("arguments", [{"profile": "slow"}, {"speed": 0.0}, {"speed": 20000.0}])
def test_settings_are_checked(bench: Bench, arguments: dict[str, float]) -> None:
    """
    Only known profiles, and speeds from 1 to 10,000.
    """
    with pytest.raises(InvalidField):
        control.set_settings(bench.rack, **arguments)  # type: ignore[arg-type]  # that is the test
    assert control.settings(bench.rack) == control.Settings("genuine", 1.0, network_needed=True)


def _toggle(path: Path, own: str, rounds: int) -> None:
    rack = Rack(path)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(rounds):
        now += timedelta(seconds=1)
        rack.set_power(own, f"{own}:443", now, on=number % 2 == 0)
        rack.write_ports("shared", (PortWrite("leaf", own, Vlans(number + 1), "m"),), now)
        rack.read_power(own, f"{own}:443", now)
    rack.close()


def test_two_processes_share_a_rack(tmp_path: Path) -> None:
    """
    Processes that write to one rack at once lose nothing: every change of each is in the book.
    """
    path = tmp_path / "rack.db"
    rounds = 200
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_toggle, args=(path, own, rounds)) for own in ("a", "b")]
    rack = Rack(path)
    control.set_settings(rack, profile="instant")
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    book = control.witness(rack, datetime(2027, 1, 1, tzinfo=UTC))
    assert [sum(line.server == own for line in book) for own in ("a", "b", "shared")] == [rounds, rounds, 2 * rounds]
    rack.close()


def test_a_call_costs_little(tmp_path: Path) -> None:
    """
    With nothing to wait for, a round of calls costs well under a millisecond of processor time.
    """
    bench = Bench(tmp_path / "rack.db", profile="instant")
    bench.put(PROVISIONING)
    rounds = 200
    before = time.process_time()
    for number in range(rounds):
        bench.hardware.set_power(TARGET, on=number % 2 == 0, request_id=str(number))
        bench.hardware.read_power(TARGET)
        bench.fabric.read((plug(LEAF),))
        bench.job(JobKind.DEPLOY, str(number))
        bench.hardware.read_job(TARGET, request_id=str(number))
    per_call = (time.process_time() - before) / rounds / 5
    bench.rack.close()
    assert per_call < 0.0015


def test_the_example_of_faults_is_in_order(bench: Bench) -> None:
    """
    The fault file that comes with the rack is taken, and names every kind but the one that happens at once.
    """
    file = Path(control.__file__).parent / "data" / "faults.yaml"
    kinds = {
        injected.fault.kind for injected in control.inject_file(bench.rack, file, bench.clock.now()) if injected.fault
    }
    assert kinds == set(FaultKind) - {FaultKind.DISK_APPEARS}


def _open(path: Path, rounds: int) -> None:
    for _ in range(rounds):
        Rack(path).close()


def test_processes_may_start_together(tmp_path: Path) -> None:
    """
    A file that several processes open and close in the same moments, new or not, is there for all of them.
    """
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open, args=(tmp_path / "rack.db", 30)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
