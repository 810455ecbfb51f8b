# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from services.kernel.errors import PeerUnavailable
from services.network.domain.switch_ports import PortConfig, SwitchPort
from services.network.ports import PortOrder
from services.simulated import control
from services.simulated.state import Vlans
from tests.simulated.conftest import LEAF, PROVISIONING, QUARANTINE, SERVER, TENANT, Bench, plug


def test_a_port_nobody_touched_is_in_quarantine(bench: Bench) -> None:
    """
    A port that was never written to carries no traffic, and says so with a digest.
    """
    (fact,) = bench.fabric.read((plug(LEAF),))
    assert (fact.config, len(fact.digest), fact.read_time) == (QUARANTINE, 32, bench.clock.now())


def test_a_write_takes_effect_later(bench: Bench) -> None:
    """
    What is written is in force after the profile's time; the same written again meanwhile does not put it off.
    """
    config = PortConfig("100", frozenset({(7, "300"), (8, "301")}))
    order = (PortOrder(LEAF, config, "0c:c4:7a:00:00:01"),)
    bench.fabric.write(SERVER, order, request_id="1")
    bench.clock.move(1.9)
    bench.fabric.write(SERVER, order, request_id="1")
    assert bench.fabric.read((plug(LEAF),))[0].config == QUARANTINE
    bench.clock.move(0.2)
    assert bench.fabric.read((plug(LEAF),))[0].config == config


def test_the_last_write_wins(bench: Bench) -> None:
    """
    A write that has not taken effect yet is replaced by the next, also by one that goes back to what is in force.
    """
    bench.put(PROVISIONING)
    for config in (TENANT, PROVISIONING):
        bench.fabric.write(SERVER, (PortOrder(LEAF, config, "m"),), request_id="x")
    bench.clock.move(10)
    assert bench.fabric.read((plug(LEAF),))[0].config == PROVISIONING


@pytest.mark.parametrize("port", ["", LEAF.port])
def test_lag(bench: Bench, port: str) -> None:
    """
    A lagging switch, or port, takes so much longer.
    """
    bench.inject_switch("switch-lags", port=port, seconds=30)
    bench.put(TENANT)
    assert bench.fabric.read((plug(LEAF),))[0].config == QUARANTINE
    bench.clock.move(28)
    assert bench.fabric.read((plug(LEAF),))[0].config == TENANT


def test_lies(bench: Bench) -> None:
    """
    A lying switch takes a configuration and does nothing, for ever; once mended it obeys the next write.
    """
    bench.inject_switch("switch-lies")
    bench.put(TENANT)
    bench.clock.move(10000)
    assert bench.fabric.read((plug(LEAF),))[0].config == QUARANTINE
    (state,) = control.switch_ports(bench.rack, bench.clock.now())
    assert (state.written, state.actual) == (Vlans(200), Vlans())
    control.clear(bench.rack, switch=LEAF.switch)
    bench.put(TENANT)
    assert bench.fabric.read((plug(LEAF),))[0].config == TENANT


def test_unreadable(bench: Bench) -> None:
    """
    A port that cannot be read has no configuration and no digest, and says why; another switch answers.
    """
    bench.inject_switch("switch-read-fails", count=1)
    silent, other = bench.fabric.read((plug(LEAF), plug(SwitchPort("leaf2", "xe-0/0/1"))))
    assert (silent.config, silent.digest, silent.detail) == (None, b"", "leaf1 does not answer")
    assert other.config == QUARANTINE
    assert bench.fabric.read((plug(LEAF),))[0].config == QUARANTINE


def test_unwritable(bench: Bench) -> None:
    """
    A failed write names the port; what goes elsewhere in the same call is written all the same.
    """
    bench.inject_switch("switch-write-fails", port=LEAF.port)
    other = SwitchPort("leaf2", "xe-0/0/1")
    orders = (PortOrder(LEAF, TENANT, "a"), PortOrder(other, TENANT, "b"))
    with pytest.raises(PeerUnavailable) as caught:
        bench.fabric.write(SERVER, orders, request_id="1")
    assert caught.value.facts["ports"] == "leaf1 xe-0/0/1"
    bench.clock.move(3)
    assert [fact.config for fact in bench.fabric.read((plug(LEAF), plug(other)))] == [QUARANTINE, TENANT]


def test_what_a_hand_configured_is_read(bench: Bench) -> None:
    """
    A port configured by hand, past everybody, is read as it is.
    """
    control.configure_port(bench.rack, LEAF.switch, LEAF.port, Vlans(999), bench.clock.now())
    assert bench.fabric.read((plug(LEAF),))[0].config == PortConfig("999")
