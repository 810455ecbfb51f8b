# SPDX-License-Identifier: Apache-2.0
"""What somebody made in Nova, past us, on a server of ours: shown as an instance of his project, and never acted on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from services.lifecycle.domain.instance import Instance, InstanceState, Interface

PREFIX = "nova-"
"""What the ids of such instances begin with; Nova's own id follows."""
GUEST_ID = re.compile(PREFIX + r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Ids that no instance of ours may have."""

_STATES = {
    "BUILD": InstanceState.DEPLOYING,
    "REBUILD": InstanceState.DEPLOYING,
    "SHUTOFF": InstanceState.STOPPED,
    "RESCUE": InstanceState.RESCUED,
    "ERROR": InstanceState.ERROR,
    "DELETED": InstanceState.DELETING,
}


@dataclass(frozen=True, slots=True)
class Guest:
    """A server of Nova's.

    Attributes:
        holder: Nova's id.
        project: Keystone's id of its project.
        server: the UUID of the server of ours that it is on.
        status: Nova's word.
        flavor, image: Nova's name and Glance's id; for people.
        addresses: address and MAC address of each interface, as Nova shows them.
    """

    holder: str
    project: str
    server: str
    display_name: str
    status: str
    create_time: datetime
    flavor: str = ""
    image: str = ""
    addresses: tuple[tuple[str, str], ...] = ()
    fault: str = ""
    deleting: bool = False

    @property
    def name(self) -> str:
        """Its name as an instance."""
        return f"projects/{self.project}/instances/{PREFIX}{self.holder}"

    def shown(self, now: datetime) -> Instance:
        """It as an instance, changed at *now*."""
        state = (
            InstanceState.DELETING
            if self.deleting or self.status.endswith("_DELETED")
            else _STATES.get(self.status, InstanceState.ACTIVE)
        )
        made = ", ".join(
            part
            for part in (
                f"made in Nova as {self.display_name}",
                self.flavor and f"flavor {self.flavor}",
                self.image and f"image {self.image}",
            )
            if part
        )
        return Instance(
            name=self.name,
            project=self.project,
            flavor="",
            image="",
            networks=(),
            create_time=self.create_time,
            update_time=now,
            state=state,
            server=self.server,
            interfaces=tuple(Interface("", mac_address=mac, address=address) for address, mac in self.addresses),
            error=self.fault,
            site_note=f"{made}; it is changed there",
        )
