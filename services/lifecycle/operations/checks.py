# SPDX-License-Identifier: Apache-2.0
"""What is checked before a verb's transaction: the form of what is asked for, and what other services say of it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.kernel.errors import InvalidField, WrongState
from services.kernel.names import FLAVOR, IMAGE, NETWORK
from services.lifecycle.domain.guests import GUEST_ID
from services.lifecycle.domain.instance import Instance, NetworkWish
from services.lifecycle.domain.moving import NewLink, link_taken, plugged
from services.lifecycle.domain.server import Move, PortClass, Server
from services.lifecycle.peers import Addresses, Inventory, Networks

MAX_NETWORKS = 16
"""How many networks an instance may be on."""

_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_SSH_KEY = re.compile(r"(ssh-(rsa|ed25519|dss)|ecdsa-sha2-nistp\d+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/]+=*( .*)?")
_MAX_USER_DATA = 64 * 1024
_MAX_KEYS = 64
_MAX_LABELS, _MAX_LABEL_KEY, _MAX_LABEL_VALUE = 64, 63, 256
_MAX_REASON = 1000


def check_instance(instance: Instance, user_data: bytes) -> None:
    """The form of what a tenant asks for; every malformed field has its own refusal."""
    if GUEST_ID.fullmatch(instance.name.rpartition("/")[2]):
        what = "is of the form by which servers that others made in Nova are shown"
        raise InvalidField("instance_id", what, remedy="Choose another id.")
    FLAVOR.parse(instance.flavor, "instance.flavor")
    IMAGE.parse(instance.image, "instance.image")
    if not instance.networks:
        raise InvalidField("instance.networks", "names no network", remedy="Name at least one network.")
    if len(instance.networks) > MAX_NETWORKS:
        raise InvalidField("instance.networks", f"names more than {MAX_NETWORKS} networks", remedy="Name fewer.")
    seen: set[str] = set()
    for index, wish in enumerate(instance.networks):
        check_wish(wish, f"instance.networks[{index}]")
        if wish.network in seen:
            raise InvalidField(
                f"instance.networks[{index}].network", f"{wish.network} is named twice", remedy="Name it once."
            )
        seen.add(wish.network)
    if not _HOSTNAME.fullmatch(instance.hostname):
        raise InvalidField(
            "instance.hostname",
            f"{instance.hostname[:80]!r} is no host name",
            remedy="Give 1 to 63 letters, digits and '-'.",
        )
    if len(instance.ssh_public_keys) > _MAX_KEYS:
        raise InvalidField("instance.ssh_public_keys", f"holds more than {_MAX_KEYS} keys", remedy="Give fewer.")
    for index, key in enumerate(instance.ssh_public_keys):
        if not _SSH_KEY.fullmatch(key.strip()) or "\n" in key.strip():
            raise InvalidField(
                f"instance.ssh_public_keys[{index}]",
                "is no OpenSSH public key",
                remedy="Give the one line of a .pub file: type, key, comment.",
            )
    _check_labels(instance.labels)
    check_user_data(user_data, "instance.user_data")


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > _MAX_LABELS:
        raise InvalidField("instance.labels", f"holds more than {_MAX_LABELS} labels", remedy="Give fewer.")
    if any(not 0 < len(key) <= _MAX_LABEL_KEY or len(value) > _MAX_LABEL_VALUE for key, value in labels.items()):
        what = f"holds a key that is not 1 to {_MAX_LABEL_KEY} characters, or a value of more than {_MAX_LABEL_VALUE}"
        raise InvalidField("instance.labels", what, remedy="Shorten it.")


def check_user_data(user_data: bytes, field: str) -> None:
    """The size of what a tenant's server boots with."""
    if len(user_data) > _MAX_USER_DATA:
        raise InvalidField(field, "is larger than 64 KiB", remedy="Let it fetch the rest by itself.")


def check_wish(wish: NetworkWish, field: str) -> None:
    """The form of one network."""
    NETWORK.parse(wish.network, f"{field}.network")
    if wish.vlan_tag and not 2 <= wish.vlan_tag <= 4094:
        raise InvalidField(
            f"{field}.vlan_tag", f"{wish.vlan_tag} is not 2 to 4094", remedy="Give 0 for untagged, or 2 to 4094."
        )
    versions: set[int] = set()
    for index, address in enumerate(wish.fixed_addresses):
        at = f"{field}.fixed_addresses[{index}]"
        try:
            version = ipaddress.ip_address(address).version
        except ValueError:
            shown = address[:60]
            raise InvalidField(at, f"{shown!r} is no IP address", remedy="Give it without a prefix length.") from None
        if version in versions:
            raise InvalidField(at, f"is a second IPv{version} address", remedy="Give at most one of each IP version.")
        versions.add(version)


def short_enough(text: str, field: str) -> None:
    """The form of a reason that an administrator gives."""
    if len(text) > _MAX_REASON:
        raise InvalidField(field, f"is longer than {_MAX_REASON} characters", remedy="Say it shorter.")


@dataclass(frozen=True, slots=True)
class Checks:
    """What other services are asked before a verb is recorded."""

    inventory: Inventory
    networks: Networks
    addresses: Addresses

    def instance(self, instance: Instance) -> None:
        """Flavor and image exist for the project, and every network is one it can lease on."""
        self.inventory.flavor_exists(instance.flavor)
        self.image(instance.image, instance.project)
        for index, wish in enumerate(instance.networks):
            self.network(wish, instance.project, f"instance.networks[{index}]")

    def links(self, server: Server, moves: tuple[Move, ...]) -> None:
        """Inventory can have the new links, and the fabric tells that nothing is on them.

        Raises:
            WrongState: another port has one, it cannot be read, or something is on it.
        """
        self.inventory.relink(server.uuid, moves, "", "", check=True)
        own = {port.name for port in server.ports}
        named = {move.port: move for move in moves}
        here = {(port.switch_name, port.switch_port) for port in server.ports}
        there = (port for port in plugged(server.ports, moves) if port.name in named)
        places = tuple(port for port in there if (port.switch_name, port.switch_port) not in here)
        for place, seen in zip(places, self.networks.look_at(server.uuid, places) if places else (), strict=True):
            link, found = named[place.name], seen.reading
            if seen.holder and seen.holder not in own:
                raise link_taken(seen.holder, NewLink(place.name, link.switch_name, link.switch_port))
            if found.port_class is not PortClass.QUARANTINE:
                where = f"{link.switch_name} {link.switch_port}"
                on = ", ".join(tag.network for tag in found.networks) or found.detail or found.port_class.value
                silent = found.port_class is PortClass.UNKNOWN
                raise WrongState(
                    f"{where} cannot be read: {found.detail}" if silent else f"something is on {where} already: {on}",
                    remedy="See that switch and port are spelled as the fabric has them, and nobody else is there.",
                    subject=place.name,
                    switch_name=link.switch_name,
                    switch_port=link.switch_port,
                )

    def image(self, image: str, project: str) -> None:
        """The project may use the image."""
        self.inventory.image(image, project)

    def network(self, wish: NetworkWish, project: str, field: str) -> None:
        """The project may use the network, and it has addresses to give."""
        self.networks.usable(wish.network, project)
        if not self.addresses.serves(wish.network, project):
            network = wish.network.rpartition("/")[2]
            msg = f"{wish.network} has no prefix, so no address can be leased on it"
            raise WrongState(
                msg,
                remedy=f"Make one: bms prefix create NAME --project {project} --network {network} --cidr CIDR.",
                subject=wish.network,
                field=field,
            )
