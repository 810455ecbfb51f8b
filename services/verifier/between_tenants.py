# SPDX-License-Identifier: Apache-2.0
"""I2: between any two instances on a server lies a clean pass over every disk; I4: the order of giving back."""

from __future__ import annotations

from bms.event.v1 import event_pb2
from services.verifier.picture import TENANT, Picture
from services.verifier.seen import Seen
from services.verifier.verdict import Finding


def cleaned_between(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """I2, before a tenant's image is written, and before his or the rescue network is asked for."""
    if seen.type == "port.attach_requested" and all(
        wish.port_class not in (TENANT, "rescue") for wish in body.evidence.ports
    ):
        return None
    clean = picture.clean
    if clean is None:
        why = picture.flaw or "it was never cleaned"
        return Finding(
            "I2",
            f"the server came to {body.instance or 'nobody'} unclean: {why}",
            (picture.soiled or seen.witness, seen.witness),
        )
    if clean.used_by not in ("", body.instance):
        msg = f"the server came to {body.instance} with no clean pass after {clean.used_by}"
        return Finding("I2", msg, (clean.use or clean.witness, seen.witness))
    return None


def given_back_in_order(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """I4: power off, detach, cool-down, cleaning, clean, available, each observed; or cut off, then quarantined."""
    check = _CHECKS.get(seen.type)
    return check(picture, seen, body) if check else None


def _addresses(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """Addresses rest only once the server is off their network; all of them, only once it is off."""
    out = next((port for port in picture.ports.values() if port.asked), None)
    if seen.after == "active":  # one network was detached from a running instance
        if out is not None:
            return Finding(
                "I4", "an address was given up while a port was still changing", (out.asked[-1].witness, seen.witness)
            )
        return None
    leased = next(
        (picture.leases[one.lease] for one in body.evidence.addresses if one.lease in picture.leases), seen.witness
    )
    if picture.off is None:
        return Finding("I4", "an address was given up before power was read off", (leased, seen.witness))
    if (bad := _not_isolated(picture, seen, "an address was given up")) is not None:
        return bad
    return None


def _not_isolated(picture: Picture, seen: Seen, what: str) -> Finding | None:
    for name, port in picture.ports.items():
        if not port.quarantined:
            witness = port.asked[-1].witness if port.asked else port.witness
            return Finding(
                "I4", f"{what} before {name} was read in quarantine", (witness or seen.witness, seen.witness)
            )
    return None


def _ended(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> Finding | None:
    return _not_isolated(picture, seen, "the instance was ended")


def _attaching(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    if all(wish.port_class != "cleaning" for wish in body.evidence.ports):
        return None
    if picture.off is None:
        return Finding(
            "I4",
            "the cleaning network was asked for before power was read off",
            (picture.hold or picture.soiled or seen.witness, seen.witness),
        )
    if (bad := _not_isolated(picture, seen, "the cleaning network was asked for")) is not None:
        return bad
    if picture.held:
        return Finding(
            "I4",
            f"the cleaning network was asked for while {picture.held} held the server",
            (picture.hold or seen.witness, seen.witness),
        )
    return None


def _attached(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    if picture.leases and any(reading.port_class == "cleaning" for reading in body.evidence.ports):
        lease, witness = next(iter(picture.leases.items()))
        return Finding(
            "I4",
            f"the server was on the cleaning network while it still had the address of {lease}",
            (witness, seen.witness),
        )
    return None


def _moved(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> Finding | None:
    if seen.after == "detaching" and picture.off is None:
        return Finding(
            "I4", "its ports were taken off as if power had been read off", (picture.hold or seen.witness, seen.witness)
        )
    if seen.after != "available":
        return None
    clean = picture.clean
    if clean is None:
        return Finding(
            "I4",
            f"it was made available unclean: {picture.flaw or 'it was never cleaned'}",
            (picture.soiled or seen.witness, seen.witness),
        )
    if clean.used_by:
        return Finding(
            "I4",
            f"it was made available with no clean pass after {clean.used_by}",
            (clean.use or clean.witness, seen.witness),
        )
    if picture.off is None:
        return Finding("I4", "it was made available before power was read off", (clean.witness, seen.witness))
    if picture.leases:
        lease, witness = next(iter(picture.leases.items()))
        return Finding(
            "I4", f"it was made available while it still had the address of {lease}", (witness, seen.witness)
        )
    return _not_isolated(picture, seen, "it was made available")


_CHECKS = {
    "address.cooling": _addresses,
    "instance.ended": _ended,
    "port.attach_requested": _attaching,
    "port.attach_observed": _attached,
    "server.state_changed": _moved,
}
