# SPDX-License-Identifier: Apache-2.0
"""The verb that takes a server in use over as an instance."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.calls import Call
from services.kernel.errors import InvalidField, WrongState
from services.lifecycle.domain import walk
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.progress import Progress
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.operations.beginning import Beginnings, not_at_work
from services.lifecycle.operations.books import Books
from services.lifecycle.operations.instances import Seal
from services.lifecycle.operations.refusals import not_retired


def check_fixed(instance: Instance) -> None:
    """Refuses networks without an address that the server has there: nobody gives it another.

    Raises:
        InvalidField: one has none.
    """
    for index, wish in enumerate(instance.networks):
        if not wish.fixed_addresses:
            raise InvalidField(
                f"instance.networks[{index}].fixed_addresses",
                "is missing, and a server that is adopted keeps the addresses it has",
                remedy="Give the addresses that the server has on this network.",
                network=wish.network,
            )


@dataclass(frozen=True, slots=True)
class Adopting:
    """What an administrator asks of a server in use."""

    beginnings: Beginnings
    seal: Seal

    def adopt(self, books: Books, call: Call, uuid: str, wanted: Instance, user_data: bytes) -> Progress:
        """enrolled -> adopting, for a new instance; refused for what could never be given back clean."""
        server = books.server(uuid)
        if server.state is not State.ENROLLED:
            msg = f"{server.name} is {server.state.value}, and only an enrolled server is adopted"
            raise WrongState(
                msg,
                remedy="Adopt a server before it is provided; one that lifecycle led elsewhere is not as it was found.",
                subject=server.name,
                state=server.state.value,
            )
        if server.unmanaged:
            msg = f"{server.name} is only on record: given back, it could not be cleaned"
            raise WrongState(
                msg,
                remedy=f"Mark it as managed baremetal in inventory first: bms server set {uuid} --managed.",
                subject=server.name,
                state=server.state.value,
            )
        if server.maintenance:
            msg = f"{server.name} is in maintenance: {server.maintenance_reason}"
            raise WrongState(
                msg,
                remedy=f"End maintenance first: bms server maintenance unset {uuid}.",
                subject=server.name,
                state=server.state.value,
            )
        not_retired(server)
        not_at_work(server)
        operation = self.beginnings.operation(call, wanted.project)
        instance = replace(
            wanted, state=InstanceState.DEPLOYING, server=uuid, operation=operation, actor=call.caller.subject,
            create_time=call.now, update_time=call.now,
        )  # fmt: skip
        sealed = self.seal(user_data, f"{wanted.name}/user_data") if user_data else None
        books.insert_instance(instance, sealed, None)
        held = replace(server, instance=instance.name)
        intent = self.beginnings.intent(call, IntentKind.ADOPT, operation)
        change = walk.begin(held, None, intent, call.now, trigger=Trigger.ADOPT)
        progress = self.beginnings.commit(books, call, change, "server.adopt_requested")
        return replace(progress, login_address=instance.networks[0].fixed_addresses[0])
