# SPDX-License-Identifier: Apache-2.0
"""A fleet of the rack is looked at with logins that are remembered, and worked on with fresh ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.simulated import SimulatedHardware
from services.lifecycle.bmc import Bmc
from services.lifecycle.logins import Logins
from services.simulated import control
from services.simulated.rack import Rack
from tests.simulated.conftest import ADDRESS, SERVER, TARGET, HandClock, OneLogin


class Site:
    """A rack, and how often inventory was asked."""

    def __init__(self, path: Path) -> None:
        self.rack, self.clock, self.asked = Rack(path), HandClock(), 0
        control.set_settings(self.rack, profile="instant")
        self.logins = Logins(self.ask, self.clock)
        self.hardware = SimulatedHardware(self.rack, self.logins, self.clock)

    def ask(self, server: str) -> Bmc:
        self.asked += 1
        return OneLogin().of(server)

    def look(self) -> None:
        self.clock.move(900)
        self.hardware.read_power(TARGET)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "rack.db")


def test_inventory_is_not_asked_at_every_look(site: Site) -> None:
    """
    Within half a day the first answer does, until inventory tells that the server changed.
    """
    for _ in range(4):
        site.look()
    assert site.asked == 1
    site.logins.forget(SERVER)
    site.look()
    assert site.asked == 2


def test_what_a_bmc_refused_is_not_tried_again(site: Site) -> None:
    """
    A login that was changed at the BMC and in inventory: one look fails, the next one asks.
    """
    site.look()
    control.inject(site.rack, "bmc-bad-login", site.clock.now(), server=ADDRESS, count=1)
    with pytest.raises(PeerUnavailable):
        site.look()
    site.look()
    assert site.asked == 2


def test_work_begins_with_the_login_as_it_is_now(site: Site) -> None:
    """
    An act is no look: its login is asked for, whatever is remembered.
    """
    site.look()
    site.clock.move(60)
    site.hardware.set_power(TARGET, on=True, request_id="p")
    site.clock.move(60)
    site.hardware.verify(TARGET)
    assert site.asked == 3
