# SPDX-License-Identifier: Apache-2.0
"""Trying a grant again until addresses were made for it, and until whoever is in its way has done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from services.ipam.operations.choosing import Contended, NeedsAddresses
from services.ipam.operations.ports import Store
from services.ipam.operations.prefixes import extend
from services.kernel.errors import Busy
from services.runtime.database import Database, Transaction

T = TypeVar("T")

_TRIES = 100
"""Each try that fails has made addresses or waited for another caller: so many in a row are not to be expected."""


class Patience:
    """Tries again.

    Args:
        store: makes the store of a transaction.
    """

    def __init__(self, database: Database, store: Callable[[Transaction], Store]) -> None:
        self._database = database
        self._store = store

    def grant(self, network: str, attempt: Callable[[bool], T]) -> T:
        """What *attempt*, a transaction, answers; it is told whether to wait for others this time.

        Raises:
            Busy: there were too many others.
        """
        patient = False
        for _ in range(_TRIES):
            try:
                return attempt(patient)
            except NeedsAddresses as need:
                self._extend(need)
            except Contended:
                patient = True
        msg = f"too many others want addresses of {network} at this moment"
        raise Busy(msg, remedy="Try again.", network=network)

    def _extend(self, need: NeedsAddresses) -> None:
        self._database.transact(lambda tx: extend(self._store(tx), need.uid, need.frontier), label="ipam.extend")
