# SPDX-License-Identifier: Apache-2.0
"""I1: each port is in one class at a time, and the server in one world; I3: a tenant's world opens only in his hold."""

from __future__ import annotations

from collections.abc import Iterator

from bms.event.v1 import event_pb2
from services.verifier.picture import PRIVATE, TENANT, UNKNOWN, Picture, Port
from services.verifier.seen import Seen
from services.verifier.verdict import Finding, Witness


def read_as_asked(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """I1, at a reading: every port is as it was read before, or as it was asked to be since."""
    for reading in body.evidence.ports:
        if not reading.HasField("read_time") or reading.port_class == UNKNOWN:
            continue
        port = picture.ports.get(reading.port)
        if port is None or port.witness is None:
            # Nothing is known of it yet; but what nobody holds belongs on no tenant's network.
            if reading.port_class == TENANT and not body.instance:
                msg = f"{reading.port} was read on a tenant's network though nobody holds the server"
                return Finding("I1", msg, (seen.witness, seen.witness))
            continue
        networks = frozenset(reading.networks)
        if reading.port_class == port.observed and (port.observed != TENANT or networks <= port.networks):
            continue
        if any(_came_true(reading.port_class, networks, port, one.port_class, one.networks) for one in port.asked):
            continue
        msg = f"{reading.port} was {port.observed} and then read {reading.port_class}, which nobody had asked for"
        return Finding("I1", msg, (port.witness, seen.witness))
    return None


def _came_true(port_class: str, networks: frozenset[str], port: Port, asked: str, wanted: frozenset[str]) -> bool:
    """Whether a reading is what was asked for, whole or half-way."""
    if port_class == asked:
        return asked != TENANT or networks <= wanted | port.networks
    return port_class == port.observed == TENANT and networks <= wanted | port.networks


def one_world(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """I1, at a request: nothing else of the server may be in another tenant's networks, or in a private one."""
    for wish in body.evidence.ports:
        if wish.port_class != TENANT and wish.port_class not in PRIVATE:
            continue
        wanted = _world(wish.port_class, body.instance)
        for name, port in picture.ports.items():
            for world, witness in _worlds(port):
                if world != wanted:
                    msg = f"{wish.port} was asked onto {wanted} while {name} may be on {world}"
                    return Finding("I1", msg, (witness or seen.witness, seen.witness))
    return None


def _worlds(port: Port) -> Iterator[tuple[str, Witness | None]]:
    if port.observed == TENANT or port.observed in PRIVATE:
        yield _world(port.observed, port.instance), port.witness
    for one in port.asked:
        if one.port_class == TENANT or one.port_class in PRIVATE:
            yield _world(one.port_class, one.instance), one.witness


def _world(port_class: str, instance: str) -> str:
    """``tenant projects/{project}``, or the private class."""
    return f"tenant {'/'.join(instance.split('/')[:2])}" if port_class == TENANT else port_class


def only_in_the_hold(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """I3, at a request: the instance holds the server; and it comes from quarantine off and with a verified image."""
    wish = next((one for one in body.evidence.ports if one.port_class == TENANT), None)
    if wish is None:
        return None
    before = picture.hold or picture.soiled or (picture.clean.witness if picture.clean else None) or seen.witness
    if not body.instance:
        return Finding(
            "I3",
            f"{wish.port} was asked onto a tenant's network though nobody holds the server",
            (before, seen.witness),
        )
    if body.instance != picture.held:
        holder = picture.held or "nobody"
        msg = f"{wish.port} was asked onto the networks of {body.instance}, and {holder} held the server"
        return Finding("I3", msg, (before, seen.witness))
    if any(port.observed == TENANT for port in picture.ports.values()):
        return None  # one more network of a server that is on its tenant's already
    if picture.off is None:
        return Finding("I3", f"{wish.port} left quarantine without power having been read off", (before, seen.witness))
    if picture.image is None:
        return Finding(
            "I3", f"{wish.port} was asked onto a tenant's network before the image was verified", (before, seen.witness)
        )
    return None
