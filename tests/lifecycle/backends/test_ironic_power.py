# SPDX-License-Identifier: Apache-2.0
"""Power over Ironic: "off" is what the BMC said in this very call, or it is not known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic import IronicHardware
from tests.lifecycle.backends.fake_ironic import Fake
from tests.lifecycle.backends.ironic_rig import SERVER, TARGET

# Of the SDK and what it stands on, none of it ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


def test_off_is_asked_for_again_and_on_is_not(fake: Fake, hardware: IronicHardware) -> None:
    """
    "Off" is an answer of the BMC in this call; no reading can switch a server on.
    """
    node = fake.add(SERVER, "available")
    off = hardware.read_power(TARGET)
    assert [body for _, _, body in fake.asked] == [{"target": "power off"}]

    fake.asked.clear()
    node["power_state"] = "power on"
    on = hardware.read_power(TARGET)

    assert (off.power, on.power) == ("off", "on")
    assert off.digest != on.digest
    assert off.read_time < on.read_time
    assert len(off.digest) == 32
    assert fake.asked == []


@pytest.mark.parametrize("state", ["clean failed", "deploy failed", "manageable"])
def test_off_is_known_after_a_failure(fake: Fake, hardware: IronicHardware, state: str) -> None:
    """
    A clean that failed has ended: the BMC can be asked, or the server would stay in quarantine for ever.
    """
    fake.add(SERVER, state, power_state="power off", maintenance=True, fault="clean failure")

    assert hardware.read_power(TARGET).power == "off"


def test_a_server_found_on_is_read_as_on(fake: Fake, hardware: IronicHardware) -> None:
    """
    Switched on behind Ironic's back, it is on, though Ironic shows "off", and though asking switches it off.
    """
    fake.add(SERVER, "available", power_state="power off")
    fake.power = "power on"

    assert [hardware.read_power(TARGET).power for _ in range(2)] == ["on", "off"]


def test_a_wish_is_a_reading(fake: Fake, hardware: IronicHardware) -> None:
    """
    The conductor asked the BMC for it, and so what it shows then is fresh; a reading of "off" is a wish of its own.
    """
    fake.add(SERVER, "active", power_state="power off")
    fake.power = "power on"
    seen = [hardware.set_power(TARGET, on=on, request_id="p") for on in (False, True, False)]
    wishes = [len(fake.asked)]
    seen.append(hardware.read_power(TARGET))
    wishes.append(len(fake.asked))

    assert [each.power for each in seen] == ["off", "on", "off", "off"]
    assert wishes == [3, 4]


@pytest.mark.parametrize("on", [True, False])
def test_a_wish_that_takes_longer_than_a_call_proves_nothing(fake: Fake, hardware: IronicHardware, on: bool) -> None:
    """
    While Ironic is still on its way there, or somebody else holds the node, power is not known.
    """
    there = "power on" if on else "power off"
    fake.add(SERVER, "active", power_state=there, target_power_state=there, reservation="other")

    assert hardware.set_power(TARGET, on=on, request_id="p").power == "unknown"


def test_a_server_that_comes_back_on_after_the_wish_reads_on(fake: Fake, hardware: IronicHardware) -> None:
    """
    What was asked for is proven only while Ironic shows it.
    """
    node = fake.add(SERVER, "active", power_state="power on")
    hardware.set_power(TARGET, on=False, request_id="p")
    node["power_state"] = "power on"

    assert hardware.read_power(TARGET).power == "on"


@pytest.mark.parametrize(
    ("row", "power"),
    [
        ({"power_state": None}, "unknown"),
        ({"power_state": "power off", "provision_state": "cleaning"}, "unknown"),
        ({"power_state": "power off", "reservation": "other"}, "unknown"),
        ({"power_state": "power on", "target_power_state": "power on"}, "unknown"),
        ({"power_state": "power on", "target_power_state": "power off"}, "on"),
    ],
)
def test_what_cannot_be_asked_is_not_known(
    fake: Fake, hardware: IronicHardware, row: dict[str, str | None], power: str
) -> None:
    """
    Where Ironic holds the node, its row proves no "off", and no "on" that is still to come.
    """
    fake.add(SERVER, "active", **row) if "provision_state" not in row else fake.add(
        SERVER, "cleaning", power_state="power off"
    )

    assert hardware.read_power(TARGET).power == power
    assert fake.asked == []


def test_a_silent_bmc_is_no_reading(fake: Fake, hardware: IronicHardware) -> None:
    """
    Neither asking for power nor reading "off" succeeds while the BMC does not answer; nor once Ironic gave it up.
    """
    node = fake.add(SERVER, "active")
    fake.bmc = "silent"
    calls: tuple[Callable[[], object], ...] = (
        lambda: hardware.read_power(TARGET),
        lambda: hardware.set_power(TARGET, on=False, request_id="p"),
        lambda: hardware.set_power(TARGET, on=True, request_id="q"),
    )
    for call in calls:
        with pytest.raises(PeerUnavailable, match="does not answer"):
            call()
    node |= {"maintenance": True, "fault": "power failure", "power_state": None}
    with pytest.raises(PeerUnavailable, match="does not answer"):
        hardware.read_power(TARGET)


def test_one_reboot_for_a_request(fake: Fake, hardware: IronicHardware) -> None:
    """
    A repeated request reboots nothing.
    """
    fake.add(SERVER, "active")
    for request_id in ("r1", "r1", "r2"):
        hardware.reboot(TARGET, request_id=request_id)

    assert [body["target"] for _, path, body in fake.asked if path.endswith("/states/power")] == ["rebooting"] * 2


def test_switching_on_ends_a_rescue(fake: Fake, hardware: IronicHardware) -> None:
    """
    A rescued node switched on would boot the rescue system again.
    """
    fake.add(SERVER, "rescue")
    hardware.set_power(TARGET, on=True, request_id="p")

    assert fake.verbs() == ["unrescue"]
