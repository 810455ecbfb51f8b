# SPDX-License-Identifier: Apache-2.0
"""What the fabric is to be told of ports, as it is recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.network.domain.attachments import Attachment
from services.network.domain.networks import Network
from services.network.domain.switch_ports import config_of
from services.network.domain.wishes import Purpose
from services.network.operations.store import Store
from services.network.ports import PortOrder


@dataclass(frozen=True, slots=True)
class Sending:
    """What is to be written to the fabric for some ports, and the count of wishes of each that it follows from."""

    orders: tuple[PortOrder, ...]
    asked: Mapping[str, int]


def sending(store: Store, server: str, ports: Sequence[str]) -> Sending:
    """What the fabric should be told of *ports*, and of the members of their groups, as it is recorded now."""
    meant = _meant(store.attachments(server), ports)
    return sending_of(meant, store.networks_named({tag.network for one in meant for tag in one.wish.tags}))


def asked_of(store: Store, server: str, ports: Sequence[str]) -> Mapping[str, int]:
    """The `Sending.asked` of *ports* as it is recorded now; one statement."""
    return {one.link.port: one.asked for one in _meant(store.attachments(server), ports)}


def asked_of_each(store: Store, ports: Mapping[str, Collection[str]]) -> dict[str, Mapping[str, int]]:
    """As `asked_of` of the ports of several servers; one statement."""
    found = by_server(store.attachments_of(sorted(ports)))
    return {
        server: {one.link.port: one.asked for one in _meant(found.get(server, ()), those)}
        for server, those in ports.items()
    }


def by_server(attachments: Iterable[Attachment]) -> dict[str, list[Attachment]]:
    """*attachments* of several servers, apart."""
    found: dict[str, list[Attachment]] = {}
    for one in attachments:
        found.setdefault(one.server, []).append(one)
    return found


def _meant(attachments: Sequence[Attachment], ports: Collection[str]) -> list[Attachment]:
    """Those of *ports* and of the members of their groups that were asked anything."""
    groups = {one.link.port_group for one in attachments if one.link.port in ports} - {""}
    return [one for one in attachments if one.asked and (one.link.port in ports or one.link.port_group in groups)]


def sending_of(meant: Sequence[Attachment], networks: Mapping[str, Network]) -> Sending:
    """What the fabric is to be told of *meant*; *networks* by name."""
    known = {name: network.segment.fabric_id for name, network in networks.items()}
    orders = tuple(
        PortOrder(
            one.link.plug,
            config_of(one.wish, known),
            one.link.mac_address,
            one.link.port_group,
            one.wish.port_class,
            one.link.switch_id,
            acts=one.wish.purpose is not Purpose.STEP,
        )
        for one in meant
    )
    return Sending(orders, {one.link.port: one.asked for one in meant})
