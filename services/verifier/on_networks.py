# SPDX-License-Identifier: Apache-2.0
"""I1: each port is in one class at a time, and the server in one world; I3: a tenant's world opens only in his hold."""

from __future__ import annotations

from collections.abc import Iterator

from bms.event.v1 import event_pb2
from services.verifier.fresh import DIGEST
from services.verifier.picture import PRIVATE, QUARANTINE, TENANT, TENANTS_RUN, UNKNOWN, Picture, Port
from services.verifier.seen import Seen, first_of
from services.verifier.verdict import Finding, Witness


def read_as_asked(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """I1, at a reading: every port is as it was read before, or as it was asked to be since."""
    for reading in seen.ports:
        if not reading.read_time:
            continue
        port = picture.ports.get(reading.port)
        if reading.port_class == UNKNOWN:
            if port is not None and port.witness is not None and (strange := _strange(port, reading.networks)):
                msg = f"{reading.port} may have been on {strange}, which nobody had asked for"
                return Finding("I1", msg, (port.witness, seen.witness))
            continue
        if port is None or port.witness is None:
            # Nothing is known of it yet; but what nobody holds belongs on no tenant's network.
            if reading.port_class == TENANT and not body.instance:
                msg = f"{reading.port} was read on a tenant's network though nobody holds the server"
                return Finding("I1", msg, (seen.witness, seen.witness))
            continue
        if reading.port_class == QUARANTINE:
            continue  # a port that lost its network, or a controller that says so, exposes nobody
        networks = reading.networks
        if reading.port_class == port.observed and (port.observed != TENANT or networks <= port.networks):
            continue
        if any(_came_true(reading.port_class, networks, port, one.port_class, one.networks) for one in port.asked):
            continue
        msg = f"{reading.port} was {port.observed} and then read {reading.port_class}, which nobody had asked for"
        return Finding("I1", msg, (port.witness, seen.witness))
    return None


def _strange(port: Port, networks: frozenset[str]) -> str:
    """One of *networks* that *port* was neither read on nor asked onto; "" if there is none."""
    known = port.networks.union(*(one.networks for one in port.asked))
    return min(networks - known, default="")


def _came_true(port_class: str, networks: frozenset[str], port: Port, asked: str, wanted: frozenset[str]) -> bool:
    """Whether a reading is what was asked for, whole or half-way."""
    if port_class == asked:
        return asked != TENANT or networks <= wanted | port.networks
    return port_class == port.observed == TENANT and networks <= wanted | port.networks


def one_world(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """I1, at a request: nothing else of the server may be in another tenant's networks, or in a private one."""
    for wish in seen.ports:
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
    wish = first_of(seen, TENANTS_RUN)
    if wish is None:
        return None
    before = _before(picture, seen)
    if not body.instance or body.instance != picture.held:
        holder = picture.held or "nobody"
        msg = f"{wish.port} was asked onto the networks of {body.instance or 'nobody'}, and {holder} held the server"
        return Finding("I3", msg, (before, seen.witness))
    if wish.port_class != TENANT:
        return None
    if any(port.observed == TENANT for port in picture.ports.values()):
        return None  # one more network of a server that is on its tenant's already
    if picture.off is None:
        asked = picture.power_asked or before
        return Finding("I3", f"{wish.port} left quarantine without power having been read off", (asked, seen.witness))
    if picture.image is None:
        return Finding(
            "I3", f"{wish.port} was asked onto a tenant's network before the image was verified", (before, seen.witness)
        )
    return None


def moved_when_cut(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """I1, when a port is plugged in elsewhere: it was read in quarantine where it was; I3: off, if it is a tenant's."""
    for one in seen.ports:
        port = picture.ports.get(one.port)
        if port is not None and not port.quarantined and port.moved is None:
            msg = f"{one.port} was plugged in elsewhere before it was read in quarantine where it was"
            witness = port.asked[-1].witness if port.asked else port.witness
            return Finding("I1", msg, (witness or seen.witness, seen.witness))
    if seen.after == "active" and picture.off is None:
        asked = picture.power_asked or _before(picture, seen)
        msg = f"the server of {body.instance} was moved to other switch ports without power having been read off"
        return Finding("I3", msg, (asked, seen.witness))
    return None


def nothing_left(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> Finding | None:
    """I1, at a request: a port that was plugged in elsewhere was read in quarantine there, and what it left, empty."""
    wish = first_of(seen, (TENANT,))
    if wish is None:
        return None
    for name, port in picture.ports.items():
        if port.moved is not None:
            msg = f"{wish.port} was asked onto a tenant's network before {name} was read where it is plugged in now"
            return Finding("I1", msg, (port.moved, seen.witness))
        if port.left is not None:
            msg = f"{wish.port} was asked onto a tenant's network before what {name} left was read empty"
            return Finding("I1", msg, (port.left, seen.witness))
    return None


def left_empty(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> Finding | None:
    """I5: what a port left is read afresh; I1: and nothing of the server is there."""
    for one in seen.ports:
        if one.port_class == UNKNOWN:
            continue  # somebody else's by now
        if len(one.reading_digest) != DIGEST or not one.read_time:
            msg = f"what {one.port} left was observed without citing a reading"
            return Finding("I5", msg, (seen.witness, seen.witness))
        if one.port_class != QUARANTINE:
            port = picture.ports.get(one.port)
            since = port.left if port is not None else None
            return Finding("I1", f"what {one.port} left reads {one.port_class}", (since or seen.witness, seen.witness))
    return None


def private(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> Finding | None:
    """I3, at a request: a tenant's system never runs on a network of the administrator's; cleaning is I4's."""
    wish = first_of(seen, ("provisioning", "rescue"))
    if wish is None or picture.off is not None or picture.tenants_system is None:
        return None
    msg = f"{wish.port} was asked onto {wish.port_class} though what a tenant left on the disks may run"
    return Finding("I3", msg, (picture.tenants_system, seen.witness))


def written_for_the_holder(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """I3, when an image is to be written: for whom holds the server, and off his networks."""
    if not body.instance or body.instance != picture.held:
        msg = (
            f"an image was asked to be written for {body.instance or 'nobody'}, and {picture.held or 'nobody'} held it"
        )
        return Finding("I3", msg, (_before(picture, seen), seen.witness))
    for name, port in picture.ports.items():
        if port.may_be(TENANT):
            witness = port.asked[-1].witness if port.asked else port.witness
            msg = f"an image was asked to be written while {name} may be on a tenant's network"
            return Finding("I3", msg, (witness or seen.witness, seen.witness))
    return None


def _before(picture: Picture, seen: Seen) -> Witness:
    """The event since which the server is held, or free, or soiled."""
    return picture.hold or picture.soiled or (picture.clean.witness if picture.clean else None) or seen.witness
