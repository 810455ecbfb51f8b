# SPDX-License-Identifier: Apache-2.0
"""Which ports of Neutron's Nova or Ironic is given, and what is said where they cannot be had."""

from __future__ import annotations

from typing import Any

import pytest

from services.kernel.errors import PeerUnavailable, WrongState
from services.lifecycle.backends.neutron_ports import LeasePort, NeutronPorts
from services.lifecycle.ports import NotNow
from services.runtime.neutron import LEASE, Neutron
from services.runtime.openstack import Answer

FIRST, SECOND = "projects/demo/leases/l1", "projects/demo/leases/l2"


class Ports:
    """A Neutron that answers one listing after the other."""

    def __init__(self, *answers: Answer | PeerUnavailable) -> None:
        self.answers = list(answers)

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> Answer:
        """See `Transport.send`."""
        answer = self.answers.pop(0)
        if isinstance(answer, PeerUnavailable):
            raise answer
        return answer


def listed(ident: str, **more: Any) -> Answer:
    """A listing of one port."""
    return Answer(200, {"ports": [{"id": ident, "mac_address": f"52:54:00:00:00:{ident}", "tags": [LEASE], **more}]})


def asked(*answers: Answer | PeerUnavailable, leases: tuple[str, ...] = (FIRST, SECOND)) -> list[LeasePort]:
    """The ports of a booking's leases, of a Neutron that answers so."""
    neutron = Neutron(Ports(*answers), "own")
    return NeutronPorts(lambda: neutron).of("projects/demo/instances/web", leases)


def test_each_lease_has_its_port_in_their_order() -> None:
    """
    The order is that of the instance's networks.
    """
    assert asked(listed("p1"), listed("p2")) == [
        LeasePort("p1", "52:54:00:00:00:p1"), LeasePort("p2", "52:54:00:00:00:p2"),
    ]  # fmt: skip


@pytest.mark.parametrize(("answers", "leases"), [((Answer(200, {"ports": []}),), (FIRST,)), ((), ())])
def test_without_a_port_nobody_is_asked(answers: tuple[Answer, ...], leases: tuple[str, ...]) -> None:
    """
    Nova's driver fails without any; what would help is said.
    """
    with pytest.raises(WrongState) as refused:
        asked(*answers, leases=leases)
    assert refused.value.remedy


def test_somebody_elses_port_of_that_name_is_none() -> None:
    """
    A name proves nothing, the mark is ours.
    """
    with pytest.raises(WrongState):
        asked(listed("p1", tags=[]), leases=(FIRST,))


@pytest.mark.parametrize("answer", [PeerUnavailable("away"), Answer(503, {}), Answer(400, {"NeutronError": {}})])
def test_a_silent_neutron_is_no_silent_bmc(answer: Answer | PeerUnavailable) -> None:
    """
    The wait says that a controller is silent.
    """
    with pytest.raises(NotNow, match="Neutron") as refused:
        asked(answer)
    assert refused.value.code == "CONTROLLER_SILENT"
