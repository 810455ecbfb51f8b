# SPDX-License-Identifier: Apache-2.0
"""I2: between any two instances on a server lies a clean pass over every disk; I4: the order of giving back."""

from __future__ import annotations

from bms.event.v1 import event_pb2
from services.verifier.following import CLEAN_WAIVED
from services.verifier.picture import TENANTS_RUN, Picture
from services.verifier.seen import Seen, first_of
from services.verifier.verdict import Finding


def cleaned_between(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """I2, before a tenant's image is written, and before his or the rescue network is asked for."""
    if seen.type == "port.attach_requested" and first_of(seen, TENANTS_RUN) is None:
        return None
    clean = picture.clean
    if clean is None:
        why = picture.flaw or "it was never cleaned"
        return Finding(
            "I2",
            f"the server came to {body.instance or 'nobody'} unclean: {why}",
            (picture.soiled or seen.witness, seen.witness),
        )
    if clean.used_by not in ("", body.instance) or picture.last_hold is not None:
        msg = f"the server came to {body.instance or 'nobody'} with no clean pass after {clean.used_by}"
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
        return _still_on(picture, seen, body)
    leased = next(
        (picture.leases[one.lease] for one in body.evidence.addresses if one.lease in picture.leases), seen.witness
    )
    if picture.off is None:
        return Finding("I4", "an address was given up before power was read off", (leased, seen.witness))
    if (bad := _not_isolated(picture, seen, "an address was given up")) is not None:
        return bad
    return None


def _still_on(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """An instance has an address in each of its networks: none may be left without one while a port is on it."""
    kept = picture.leases.keys() - {one.lease for one in body.evidence.addresses}
    on = {network: port.witness for port in picture.ports.values() for network in port.networks}
    if all(picture.lease_networks.get(lease) for lease in picture.leases):
        on = {network: on[network] for network in on.keys() - {picture.lease_networks[lease] for lease in kept}}
    elif len(on) <= len(kept):
        # A log from before an address said what it is for: then a network had one.
        return None
    if not on:
        return None
    witness = max((one for one in on.values() if one is not None), key=lambda one: one.sequence, default=seen.witness)
    msg = f"an address was given up while its port was on {', '.join(sorted(on))}"
    return Finding("I4", msg, (witness, seen.witness))


def _withdrawn(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """What was leased for an adoption that failed needs no proof: nothing of the server was touched."""
    if seen.after == "adopting":
        return None
    leased = next((picture.leases[one.lease] for one in body.evidence.addresses if one.lease in picture.leases), None)
    return Finding("I4", "an address was withdrawn outside an adoption", (leased or seen.witness, seen.witness))


def _not_isolated(picture: Picture, seen: Seen, what: str) -> Finding | None:
    if (loose := picture.loose) is None:
        return None
    name, witness = loose
    return Finding("I4", f"{what} before {name} was read in quarantine", (witness or seen.witness, seen.witness))


def _ended(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> Finding | None:
    if picture.waived == "release":
        return None
    if (bad := _not_isolated(picture, seen, "the instance was ended")) is not None:
        return bad
    if picture.off is None and seen.after != "quarantined":
        msg = "the instance was ended before power was read off, and the server was not set aside"
        return Finding("I4", msg, (picture.power_asked or picture.hold or seen.witness, seen.witness))
    return None


def _attaching(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> Finding | None:
    if first_of(seen, ("cleaning",)) is None:
        return None
    if picture.off is None:
        return Finding(
            "I4",
            "the cleaning network was asked for before power was read off",
            (picture.power_asked or picture.hold or picture.soiled or seen.witness, seen.witness),
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


def _attached(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> Finding | None:
    if picture.leases and first_of(seen, ("cleaning",)) is not None:
        lease, witness = next(iter(picture.leases.items()))
        return Finding(
            "I4",
            f"the server was on the cleaning network while it still had the address of {lease}",
            (witness, seen.witness),
        )
    return None


def _moved(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    if seen.after == "detaching" and picture.off is None:
        before = picture.power_asked or picture.hold or seen.witness
        return Finding("I4", "its ports were taken off as if power had been read off", (before, seen.witness))
    if seen.after == "reserved" and picture.held not in ("", body.instance):
        msg = f"it was made reserved for {body.instance} while {picture.held} held it"
        return Finding("I4", msg, (picture.hold or seen.witness, seen.witness))
    # Again when it is taken: whatever happened in between, and however it came to be available.
    return _free(picture, seen) if seen.after in ("available", "reserved") else None


def _free(picture: Picture, seen: Seen) -> Finding | None:
    """What a server must be that nobody holds: clean, off, without an address, off all networks."""
    clean, made = picture.clean, f"it was made {seen.after}"
    if picture.waived not in CLEAN_WAIVED:
        if clean is None:
            msg = f"{made} unclean: {picture.flaw or 'it was never cleaned'}"
            return Finding("I4", msg, (picture.soiled or seen.witness, seen.witness))
        if clean.used_by:
            msg = f"{made} with no clean pass after {clean.used_by}"
            return Finding("I4", msg, (clean.use or clean.witness, seen.witness))
    if picture.off is None:
        witness = picture.power_asked or (clean.witness if clean else seen.witness)
        return Finding("I4", f"{made} before power was read off", (witness, seen.witness))
    if picture.leases:
        lease, witness = next(iter(picture.leases.items()))
        return Finding("I4", f"{made} while it still had the address of {lease}", (witness, seen.witness))
    return _not_isolated(picture, seen, made)


_CHECKS = {
    "address.cooling": _addresses,
    "address.withdrawn": _withdrawn,
    "instance.ended": _ended,
    "port.attach_requested": _attaching,
    "port.attach_observed": _attached,
    "server.state_changed": _moved,
}
