# SPDX-License-Identifier: Apache-2.0
"""A controller that is opened when it is first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from services.kernel.errors import InvalidField, PeerUnavailable

T = TypeVar("T")


class Opening(Generic[T]):
    """The controller *peer*, opened when it is first needed.

    Args:
        opens: opens it.
    """

    def __init__(self, peer: str, opens: Callable[[], T]) -> None:
        self._peer = peer
        self._opens = opens
        self._making = threading.Lock()
        self._made: T | None = None

    def api(self) -> T:
        """It.

        Raises:
            PeerUnavailable: it cannot be opened now.
        """
        with self._making:
            if self._made is None:
                try:
                    self._made = self._opens()
                except InvalidField as error:
                    # What is wrong is a setting of ours, and nothing that a caller gave.
                    raise PeerUnavailable(str(error), remedy=error.remedy, peer=self._peer) from None
            return self._made
