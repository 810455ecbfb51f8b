# SPDX-License-Identifier: Apache-2.0
"""Networks that a controller makes: it is asked before our transaction, and nothing of it is asked within one.

A process that ends between the two leaves a network of the controller's that bears our mark: the same CreateNetwork
takes it, the same DeleteNetwork goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from bms.network.v1 import network_pb2
from services.kernel.calls import Call
from services.kernel.errors import AlreadyExists, Forbidden, WrongState
from services.kernel.names import SERVER
from services.network.domain.wishes import Wish
from services.network.operations.networks import Networks, NewNetwork
from services.network.operations.store import Store
from services.network.ports import Controller
from services.network.wire import networks as network_wire
from services.runtime import etags
from services.runtime.database import Database, Transaction
from services.runtime.writing import Writer


class Controlled:
    """The verbs of networks over a controller.

    Args:
        store_of: the store of a transaction.
    """

    def __init__(
        self,
        database: Database,
        writer: Writer,
        networks: Networks,
        controller: Controller,
        store_of: Callable[[Transaction], Store],
    ) -> None:
        self._database = database
        self._writer = writer
        self._networks = networks
        self._controller = controller
        self._store_of = store_of

    def create(self, call: Call, request: network_pb2.CreateNetworkRequest, new: NewNetwork) -> network_pb2.Network:
        """Makes a network there, then here; see `Controller.make` and `Networks.create_on` for what is raised."""
        before = self._writer.earlier(call, request)
        if before is not None:
            return cast("network_pb2.Network", before)
        self._database.read(lambda tx: self._networks.check(self._store_of(tx), call, new))
        segment = self._controller.make(new.name, new.display_name, new.network_class, new.vlan, dry=call.validate_only)

        def verb(tx: Transaction) -> network_pb2.Network:
            return network_wire.network_message(self._networks.create_on(self._store_of(tx), call, new, segment), 0)

        try:
            return self._writer.once(call, request, verb)
        except (AlreadyExists, Forbidden):
            # Somebody was faster. What he has is not ours to take away; what nobody has, is.
            if not call.validate_only and not self._known(new.name, segment.fabric_id):
                self._controller.remove(new.name)
            raise

    def remove(self, call: Call, request: network_pb2.DeleteNetworkRequest, name: str) -> None:
        """Removes the network there, if it may be removed here; the caller removes the row.

        In this order, because only the controller can tell whether others are on the network. Whoever asks for a port
        on it in between asks in vain, and DeleteNetwork is refused until that wish is taken back.
        """
        if self._writer.earlier(call, request) is not None:
            return

        def checked(tx: Transaction) -> None:
            store = self._store_of(tx)
            network, _ = self._networks.get(store, name)
            etags.check(request.etag, network.version, name)
            self._networks.check_deletable(store, call, name)

        self._database.read(checked)
        if not call.validate_only:
            self._controller.remove(name)

    def check(self, server: str, asked: Mapping[str, Wish]) -> None:
        """Refuses wishes that this controller can never carry out.

        Raises:
            WrongState: there are some.
        """
        why = self._controller.refusal(list(asked.values()))
        if why:
            raise WrongState(
                f"no port of servers/{server} can be that: {why}",
                remedy="Ask for other networks, or have the controller's administrator enable it.",
                subject=SERVER.format(server),
            )

    def _known(self, name: str, fabric_id: str) -> bool:
        def found(tx: Transaction) -> bool:
            store = self._store_of(tx)
            return store.network(name) is not None or bool(store.networks_on([fabric_id]))

        return self._database.read(found)
