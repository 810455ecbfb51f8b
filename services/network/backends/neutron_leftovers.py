# SPDX-License-Identifier: Apache-2.0
"""What of ours is in Neutron: the ports that network made because there were none. Those of leases are ipam's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID

from services.kernel.errors import PeerUnavailable
from services.network.backends.neutron_found import told
from services.network.backends.neutron_trunks import off_trunk, without_trunk
from services.network.ports import Marked
from services.runtime.neutron import LEASE, PORT, Neutron, Resource, is_ours
from services.runtime.openstack import Refused

_WAYS = ("tags", "description")
"""By the tag, then by the description: that of those alone that never got a tag."""
_NAME = "bms-"
_SAYS = ("binding:host_id", "binding:profile", "device_owner", "fixed_ips")
"""What else has to be as it was judged."""


class NeutronLeftovers:
    """`services.network.ports.Leftovers` over one Neutron; may be called from any thread."""

    def __init__(self, api: Neutron) -> None:
        self._api = api

    def page(self, after: str, size: int) -> tuple[list[Marked], str]:
        """See `Leftovers.page`."""
        way, _, marker = after.partition(" ") if after else (_WAYS[0], "", "")
        if way not in _WAYS:
            way, marker = _WAYS[0], ""
        with _refusals(listing=bool(marker)):
            ports, following = self._api.page("ports", marker, size, **{way: PORT})
            found = [self._marked(port) for port in ports if way == "tags" or PORT not in (port.get("tags") or ())]
        onward = f"{way} {following}" if following else f"{_WAYS[1]} " if way == _WAYS[0] else ""
        return [one for one in found if one is not None], onward

    def marked(self, ident: str) -> Marked | None:
        """See `Leftovers.marked`."""
        with _refusals():
            port = self._api.get("ports", ident)
            return self._marked(port) if port is not None else None

    def remove(self, marked: Marked) -> bool:
        """See `Leftovers.remove`. What hangs on its trunk stays, as ports of their own; so does what it hangs on."""
        with _refusals():
            port = self._api.get("ports", marked.ident)
            if port is None or self._marked(port) != marked:
                return False
            without_trunk(self._api, port)
            off_trunk(self._api, port)
            self._api.delete("ports", marked.ident)
        return True

    def _marked(self, port: Resource) -> Marked | None:
        """*port*, if it is ours, says whose it is, and nobody put it to another use.

        Tenants may write all our words on ports of theirs; but not into the project of our login, where ours are.
        """
        name, device = str(port.get("name") or ""), str(port.get("device_id") or "")
        server = name.removeprefix(_NAME) if name.startswith(_NAME) else device
        if not is_ours(port, PORT) or is_ours(port, LEASE) or not _is_uuid(server) or device not in ("", server):
            return None
        if port["project_id"] != self._api.own_project:
            return None
        if str(port.get("device_owner") or "") not in ("", "baremetal:none", "trunk:subport"):
            return None
        says = tuple(port.get(word) for word in _SAYS)
        ident, mac, network = (str(port[word]) for word in ("id", "mac_address", "network_id"))
        return Marked(ident, "port", server, mac, network, _created(port), repr(says))


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _created(port: Resource) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(port.get("created_at") or ""))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@contextmanager
def _refusals(*, listing: bool = False) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        if listing and error.status in (400, 404):
            # The port after which to go on went meanwhile.
            msg = "the listing of Neutron's ports has to begin anew"
            raise PeerUnavailable(msg, remedy="Begin again without a page token.", peer="neutron") from None
        raise told(error) from None
