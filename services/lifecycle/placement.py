# SPDX-License-Identifier: Apache-2.0
"""Instances that hold no server: finding one, or letting go of what was reserved.

Inventory says who may take a server; lifecycle's own compare-and-set from available to reserved is the last gate.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from services.kernel.clock import Clock, Ids
from services.kernel.errors import BmsError, DeadlineExceeded, NotFound, PeerUnavailable, Stale, WrongState
from services.lifecycle.claims import Claim
from services.lifecycle.domain import walk
from services.lifecycle.domain.instance import REFUSALS, Instance, InstanceState
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.progress import Progress
from services.lifecycle.domain.server import Intent, Wait
from services.lifecycle.domain.states import State, Trigger
from services.lifecycle.peers import Inventory
from services.lifecycle.store import Store
from services.runtime.database import Database, Transaction

_log = structlog.get_logger("bms.placement")

_RETRY = timedelta(seconds=1)


@dataclass(slots=True)
class Placement:
    """Finds servers for instances.

    Attributes:
        nova_trait: flavors that ask for it are deployed by Nova; empty: none is.
    """

    database: Database
    store: Store
    inventory: Inventory
    clock: Clock
    ids: Ids
    nova_trait: str = ""

    def place(self, claim: Claim) -> None:
        """One look at an instance that holds no server."""
        now = self.clock.now()
        instance = self.database.read(lambda tx: self.store.find_instance(tx, claim.key))
        if instance is None or instance.fence != claim.fence:
            msg = f"the claim on {claim.key} was taken over"
            raise Stale(msg)
        if instance.state is InstanceState.DELETING:
            self._let_go(instance, claim, now)
        elif instance.state is InstanceState.PENDING:
            self._find(instance, claim, now)
        else:
            self._write(instance, claim, due=None)

    def _find(self, instance: Instance, claim: Claim, now: datetime) -> None:
        try:
            server = self.inventory.reserve(instance.name, instance.flavor, instance.image, _excluded(instance))
            kind = self._way(instance)
        except (PeerUnavailable, DeadlineExceeded) as error:
            self._wait(instance, claim, now, str(error))
            return
        except BmsError as error:
            if not instance.excluded or self._given_back(instance, claim, now):
                self._fail(instance, claim, now, error)
            return
        try:
            self.database.transact(
                lambda tx: self._take(tx, instance, claim, server, kind, self.clock.now()), label="reserve"
            )
        except (NotFound, WrongState) as error:
            # Our own gate refused: the set is given back and asked for again.
            _log.info("placement.refused", instance=instance.name, server=server, error=str(error))
            self.inventory.release_reservation(instance.name)
            refused = replace(instance, excluded=(*instance.excluded, f"servers/{server}"))
            self._write(refused, claim, due=now + _RETRY / 4)

    def _given_back(self, instance: Instance, claim: Claim, now: datetime) -> bool:
        """Whether inventory keeps nothing for an instance that lost what it was given; else it waits for that."""
        try:
            self.inventory.release_reservation(instance.name)
        except (PeerUnavailable, DeadlineExceeded) as error:
            self._wait(instance, claim, now, str(error))
            return False
        return True

    def _way(self, instance: Instance) -> IntentKind:
        """Who deploys *instance*: the controller itself, or Nova."""
        if self.nova_trait and self.nova_trait in self.inventory.flavor(instance.flavor).traits:
            return IntentKind.DEPLOY_NOVA
        return IntentKind.DEPLOY

    def _take(
        self, tx: Transaction, instance: Instance, claim: Claim, uuid: str, kind: IntentKind, now: datetime
    ) -> None:
        server = self.store.server(tx, uuid, lock=True)
        withheld = server.retired or (server.trouble is not None and server.trouble.withholds)
        if server.intent is not None or server.maintenance or withheld or server.state is not State.AVAILABLE:
            msg = f"{server.name} is {server.state.value}" + (" and at work" if server.intent else "")
            raise WrongState(msg, subject=server.name, state=server.state.value)
        intent = Intent(self.ids.uuid(), kind, instance.operation, instance.actor, instance.create_time, now)
        held = replace(server, instance=instance.name)
        placed = replace(instance, server=uuid, state=InstanceState.DEPLOYING, update_time=now)
        change = walk.begin(held, None, intent, now, trigger=Trigger.RESERVE)
        self.store.write_instance(tx, placed, due=None, fence=claim.fence, release=True)
        self.store.write(tx, change, now, due=now)

    def _let_go(self, instance: Instance, claim: Claim, now: datetime) -> None:
        """Deleted before it held a server: what may have been reserved for it is given back, and it goes."""
        try:
            self.inventory.release_reservation(instance.name)
        except (PeerUnavailable, DeadlineExceeded) as error:
            self._wait(instance, claim, now, str(error))
            return
        done = replace(_progress(instance, IntentKind.RELEASE), done=True, end_time=now)

        def go(tx: Transaction) -> None:
            self.store.delete_instance(tx, instance)
            if instance.operation:
                self.store.show_operation(tx, done, now)

        self.database.transact(go, label="instance.end")

    def _wait(self, instance: Instance, claim: Claim, now: datetime, reason: str) -> None:
        kind = IntentKind.RELEASE if instance.state is InstanceState.DELETING else IntentKind.DEPLOY
        waiting = replace(_progress(instance, kind), wait=Wait("INVENTORY_SILENT", reason, now, now + _RETRY))

        def write(tx: Transaction) -> None:
            self.store.write_instance(tx, instance, due=now + _RETRY, fence=claim.fence, release=True)
            if instance.operation:
                self.store.show_operation(tx, waiting, now)

        self.database.transact(write, label="placement.wait")

    def _fail(self, instance: Instance, claim: Claim, now: datetime, error: BmsError) -> None:
        failed = replace(instance, state=InstanceState.ERROR, error=str(error), operation="", update_time=now)
        ended = replace(_progress(instance, IntentKind.DEPLOY), done=True, end_time=now, error=error)

        def write(tx: Transaction) -> None:
            self.store.write_instance(tx, failed, due=None, fence=claim.fence, release=True)
            self.store.show_operation(tx, ended, now)

        self.database.transact(write, label="placement.fail")

    def _write(self, instance: Instance, claim: Claim, *, due: datetime | None) -> None:
        self.database.transact(
            lambda tx: self.store.write_instance(tx, instance, due=due, fence=claim.fence, release=True),
            label="placement",
        )


def _excluded(instance: Instance) -> tuple[str, ...]:
    """The servers that are not asked for again: what inventory thinks of them does not come right by itself."""
    refused = Counter(instance.excluded)
    return tuple(sorted(server for server, times in refused.items() if times >= REFUSALS))


def _progress(instance: Instance, kind: IntentKind) -> Progress:
    return Progress(instance.operation, kind, instance.name, instance.actor, instance.create_time)
