# SPDX-License-Identifier: Apache-2.0
"""A running cloud for tests: one that `make openstack-up` left is taken and left; else one is brought up and ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.openstack.cloud import furnish, running
from tests.openstack.cloud.place import Place


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running cloud.

    Attributes:
        place: its folder, ports and passwords.
    """

    place: Place

    def connect(self, who: str = "admin", **auth: str) -> Any:
        """A connection of the SDK as *who* of clouds.yaml; *auth* in place of what is there."""
        return furnish.connect(self.place, who, **auth)

    def steer(self, node: str, wheel: Mapping[str, str]) -> None:
        """Has the operations of *node* end as *wheel* says from now on; see tests/openstack/standin/steered.py."""
        patch = [{"op": "add", "path": "/extra/steer", "value": dict(wheel)}]
        self.connect().baremetal.patch_node(node, patch)


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """A cloud with nodes that are available."""
    with pytest.MonkeyPatch.context() as patch:
        # Nothing on the loopback is asked for through a proxy.
        patch.setenv("no_proxy", "127.0.0.1")
        patch.setenv("NO_PROXY", "127.0.0.1")
        was_up = any(row["up"] for row in running.status())
        place = running.up()
        try:
            yield Cloud(place)
        finally:
            if not was_up:
                running.down()
