# SPDX-License-Identifier: Apache-2.0
"""What is found wrong with an address of a server: which findings take the server from its tenant, and which do not."""

from __future__ import annotations

import pytest

from services.kernel.names import stable_uuid
from services.lifecycle.brakes import Brakes
from services.lifecycle.domain.states import State
from services.lifecycle.judging import docket
from services.lifecycle.judging.docket import Violation
from services.lifecycle.judging.sentence import Sentence
from services.verifier.verdict import Finding, Witness
from tests.lifecycle.rig import BLUE, Rig
from tests.support.judging import stored_events


@pytest.fixture
def database_kind() -> str:
    """One will do: rows are read and written as everywhere."""
    return "sqlite"


@pytest.mark.parametrize(
    ("later", "state", "event"),
    [
        ("address.contested", State.ACTIVE, "address.contested"),
        ("address.leased", State.QUARANTINED, "server.violated"),
    ],
)
def test_what_others_do_at_a_controller_takes_nobodys_server(rig: Rig, later: str, state: State, event: str) -> None:
    """
    That a controller gave the address to another as well is told in the server's log, and its tenant keeps it; what
    our own ipam did wrong sets it aside.
    """
    uuid = rig.active(BLUE)
    lease = rig.server(uuid).leases[0]
    stream = f"vrfs/{stable_uuid('vrf', lease.vrf)}/addresses/{lease.address}"
    first, second = Witness("a", 1, 1, "address.leased", 1), Witness("b", 2, 2, later, 2)
    violation = Violation(stream, 2, Finding("I7", "another was given it", (first, second)))
    rig.database.transact(lambda tx: docket.keep_violations(tx, [violation]), label="test")
    assert Sentence(rig.database, rig.store, rig.ids, Brakes()).pass_on(rig.clock.now()) == 1
    rig.settle()

    server = rig.server(uuid)
    assert server.state is state
    stored_events(rig.database, rig.log)
    told = [each for each in rig.events(f"servers/{uuid}") if each.header.type == event]
    assert [dict(each.body.facts)["stream"] for each in told] == [stream]
    assert rig.database.read(lambda tx: docket.violations(tx, 10)) == []
