# SPDX-License-Identifier: Apache-2.0
"""What belongs to one server of the site only: its name, MAC addresses, BMC and the switch ports it is plugged into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from services.inventory.domain.server import ServerSpec
from services.kernel.errors import AlreadyExists, BmsError

Kind = Literal["name", "mac", "bmc", "link"]

_WORDS: dict[Kind, str] = {
    "name": "the name",
    "mac": "the MAC address",
    "bmc": "the BMC address",
    "link": "the switch port",
}


class Key(NamedTuple):
    """One such thing; ``value`` is canonical: equal things have equal values."""

    kind: Kind
    value: str

    @property
    def words(self) -> str:
        """How to speak of it: ``the MAC address 52:54:00:00:00:01``."""
        return f"{_WORDS[self.kind]} {self.value.replace(chr(31), ' ')}"


class Owner(NamedTuple):
    """Whose it is."""

    uuid: str
    display_name: str


def keyed(spec: ServerSpec) -> Iterator[tuple[str, Key]]:
    """Every key of *spec*, with the path of the field that holds it."""
    yield "display_name", Key("name", spec.display_name)
    if spec.bmc.address:
        host = f"[{spec.bmc.address}]" if ":" in spec.bmc.address else spec.bmc.address
        yield "bmc.address", Key("bmc", f"{host}:{spec.bmc.real_port}")
    for at, port in enumerate(spec.ports):
        yield f"ports[{at}].mac_address", Key("mac", port.mac_address)
        if port.switch_name and port.switch_port:
            yield f"ports[{at}].switch_port", link_key(port.switch_name, port.switch_port)


def link_key(switch_name: str, switch_port: str) -> Key:
    """The key of a switch port."""
    # A unit separator cannot be part of either, so that "a b"/"c" and "a"/"b c" differ.
    return Key("link", f"{switch_name}{chr(31)}{switch_port}")


def keys(spec: ServerSpec) -> set[Key]:
    """Every key of *spec*."""
    return {key for _, key in keyed(spec)}


def taken(key: Key, owner: Owner) -> BmsError:
    """The refusal of a key that another server has."""
    return AlreadyExists(
        f"{key.words} belongs to server {owner.display_name} (servers/{owner.uuid})",
        remedy=f"Look at servers/{owner.uuid}; change or delete it, or give another value.",
        kind=key.kind,
        value=key.value.replace(chr(31), " "),
        server=f"servers/{owner.uuid}",
        display_name=owner.display_name,
    )
