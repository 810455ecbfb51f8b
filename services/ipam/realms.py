# SPDX-License-Identifier: Apache-2.0
"""Prefixes, where a controller has their ranges too: found there or made, and told apart from what is not ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from services.ipam.domain.holding import Realm
from services.ipam.domain.prefixes import Prefix
from services.ipam.operations.ports import AddressPlane, Store
from services.ipam.operations.prefixes import NewPrefix
from services.kernel.effect import effect
from services.kernel.errors import PeerUnavailable, WrongState
from services.runtime.database import Database, Transaction

_log = structlog.get_logger("bms.ipam")


class Realms:
    """What the controller calls the ranges of prefixes.

    Args:
        store: makes the store of a transaction.
    """

    def __init__(self, database: Database, store: Callable[[Transaction], Store], plane: AddressPlane) -> None:
        self._database = database
        self._store = store
        self._plane = plane

    def of(self, prefix: Prefix, *, anew: bool = False) -> str:
        """The range of *prefix*; one that is not known yet is looked for, and made if there is none.

        Args:
            anew: what was known has gone.

        Raises:
            BmsError: the controller has no such network, another gateway, or will not.
        """
        if prefix.realm and not anew:
            return prefix.realm
        realm = self.survey(prefix.network, prefix)
        if realm is None:
            realm = self.make(prefix)
        found = realm.ref
        self._database.transact(lambda tx: self._store(tx).set_realm(prefix.uid, found), label="ipam.set_realm")
        return found

    def survey(self, network: str, wanted: Prefix | NewPrefix) -> Realm | None:
        """The range as it is there; None if it is not.

        Raises:
            WrongState: it has another gateway.
        """
        with effect("plane.survey"):
            realm = self._plane.survey(network, wanted.cidr)
        if realm is not None and isinstance(wanted, Prefix):
            require_gateway(realm, wanted)
        return realm

    def make(self, prefix: Prefix) -> Realm:
        """Makes the range."""
        with effect("plane.make"):
            realm = self._plane.make(prefix)
        _log.info("realm.made", prefix=prefix.name, realm=realm.shown)
        return realm

    def forget(self, prefix: Prefix) -> None:
        """Removes what was made for *prefix*, as far as nobody else uses it; what remains is told."""
        if not prefix.realm:
            return
        try:
            with effect("plane.forget"):
                remains = not self._plane.forget(prefix)
        except PeerUnavailable as error:
            _log.warning("realm.remains", prefix=prefix.name, realm=prefix.realm, error=str(error))
            return
        if remains:
            _log.info("realm.remains", prefix=prefix.name, realm=prefix.realm, error="others use it")


def agreed(new: NewPrefix, realm: Realm | None) -> NewPrefix:
    """*new* with what it leaves open taken from the range that is there.

    Raises:
        WrongState: both name a gateway, and not the same.
    """
    if realm is None:
        return new
    if new.gateway_given:
        require_gateway(realm, new)
    tuning = new.tuning
    return replace(
        new,
        gateway=realm.gateway,
        tuning=replace(
            tuning,
            dns_servers=tuning.dns_servers or realm.dns_servers,
            pools=tuning.pools or realm.pools,
        ),
        realm=realm.ref,
    )


def require_gateway(realm: Realm, wanted: Prefix | NewPrefix) -> None:
    """Refuses a prefix whose gateway is another than the controller's: hosts would be told the one or the other.

    Raises:
        WrongState: it is.
    """
    if realm.gateway == wanted.gateway:
        return
    there, here = (str(gateway) if gateway is not None else "none" for gateway in (realm.gateway, wanted.gateway))
    msg = f"{realm.shown} has the gateway {there}, and the prefix {here}"
    raise WrongState(
        msg,
        remedy=f"Make the prefix with the gateway {there}, or leave it out; or change it at the controller.",
        subject=realm.shown,
        gateway=there,
        given=here,
    )
