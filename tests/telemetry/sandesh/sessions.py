# SPDX-License-Identifier: Apache-2.0
"""Sessions in any state, and what they ask to be done, in short words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from telemetry.sandesh.actions import Action, Connect, SetTimer, Write
from telemetry.sandesh.decode import Decoded, decode
from telemetry.sandesh.header import Identity
from telemetry.sandesh.messages import IRONIC_NODE_INFO
from telemetry.sandesh.session import ClientSession
from telemetry.sandesh.settings import Address, GeneratorSettings
from telemetry.sandesh.states import State
from telemetry.sandesh.watermarks import MIB
from tests.telemetry.sandesh.vectors import BY_NAME

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
A, B, C = (Address(f"10.0.0.{number}") for number in (1, 2, 3))
ME = BY_NAME["22-ctrl-c2s-no-uves"].sender
THEM = Identity("analytics-1", "contrail-collector", "Analytics", "0")
ACCEPTED = BY_NAME["24-ctrl-s2c-empty"].frame
REFUSED = BY_NAME["26-ctrl-s2c-fail"].frame


def session(*collectors: Address, **settings: Any) -> ClientSession:
    return ClientSession(
        GeneratorSettings(identity=ME, collectors=collectors or (A, B), pid=4242, **settings),
        (IRONIC_NODE_INFO,),
        chance=lambda: 1.0,
    )


def bring(to: State, *collectors: Address, now: int = NOW, **settings: Any) -> ClientSession:
    """A session in a state, by the shortest way."""
    found = session(*collectors, **settings)
    if to is State.STOPPED:
        return found
    found.start(now)
    if to is State.IDLE:
        found.connect_failed(found.attempt, now)
    if to in {State.CLIENT_INIT, State.ESTABLISHED}:
        found.connected(found.attempt, now)
    if to is State.ESTABLISHED:
        found.received(found.attempt, ACCEPTED, now)
    assert found.state is to
    return found


def sent(actions: Iterable[Action]) -> list[Decoded]:
    return [decode(action.data) for action in actions if isinstance(action, Write)]


def names(actions: Iterable[Action]) -> list[str]:
    return [message.body.name for message in sent(actions)]


def kinds(actions: Iterable[Action]) -> list[type[Action]]:
    return [type(action) for action in actions]


def timer(actions: Iterable[Action]) -> SetTimer:
    (found,) = [action for action in actions if isinstance(action, SetTimer)]
    return found


def target(actions: Iterable[Action]) -> Address:
    (found,) = [action.address for action in actions if isinstance(action, Connect)]
    return found


def overflow(found: ClientSession, now: int) -> list[Action]:
    return found.uve(IRONIC_NODE_INFO, {"name": "n"}, now, 51 * MIB)
