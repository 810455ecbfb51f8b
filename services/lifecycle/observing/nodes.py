# SPDX-License-Identifier: Apache-2.0
"""What observing needs of a controller."""

from __future__ import annotations

from typing import Protocol

from services.lifecycle.domain.nodes import NodeSeen


class Nodes(Protocol):
    """The nodes of a controller, ours and others'. Every call is a fresh question.

    Raises:
        PeerUnavailable: it does not answer, or does not let us look.
    """

    def node(self, uuid: str) -> NodeSeen:
        """The node as it is now; `gone` if there is none."""
        ...

    def page(self, *, after: str, size: int, latest: bool) -> tuple[list[NodeSeen], bool]:
        """One page of all nodes, and whether there are more.

        Args:
            after: the UUID of the last node of the page before; "" for the first page.
            size: how many are wanted; the controller may give fewer.
            latest: those changed last come first, and those never changed at the end; else by UUID.
        """
        ...
