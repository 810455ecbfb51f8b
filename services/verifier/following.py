# SPDX-License-Identifier: Apache-2.0
"""Takes an event into the picture of its server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from bms.event.v1 import event_pb2
from services.verifier.picture import QUARANTINE, TENANT, TENANTS_RUN, UNKNOWN, Asked, Clean, Pass, Picture, Port
from services.verifier.seen import Seen, micros
from services.verifier.verdict import Witness

SKEW = 5_000_000
"""How far the clocks of a site may be apart, in microseconds: 5 s."""

CLEAN_WAIVED = frozenset({"available", "skip_clean"})
"""Kinds of forced actions after which a server is given out though no pass cleaned it."""

PORTS_ASKED = frozenset({"port.attach_requested", "port.detach_requested"})
SETTLING = frozenset({"port.attach_observed", "port.detach_observed"})

LEFT = "port.left_observed"
"""What is read where a port is plugged in no more says nothing of where it is."""

_MAY_RUN_CLEAN = frozenset({"cleaning", "provisioning"})
_INSIDE = frozenset({"provisioning", "switching", "rebuilding", "rescuing", "releasing", "detaching", "cleaning"})
_INSIDE_STEPS = frozenset({"attach_tenant", "attach_provisioning", "attach_cleaning", "attach_rescue", "power_on"})


def follow(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    """Takes *seen* in."""
    picture.state = seen.after
    kind = seen.type
    if kind in PORTS_ASKED:
        _ask(picture, seen, body)
    elif kind != LEFT:
        if seen.ports:
            _look_at_ports(picture, seen, body)
        if seen.power is not None:
            _look_at_power(picture, seen, seen.power)
    take = _TAKES.get(kind)
    if take is not None:
        take(picture, seen, body)


def _ask(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    """From now on each port counts as both what it was and what it is asked to be."""
    for wish in seen.ports:
        port = _port(picture, wish.port)
        networks = wish.networks
        port.asked.append(Asked(wish.port_class, networks, body.instance, seen.witness))
        if wish.port_class in TENANTS_RUN:
            use(picture, seen, body.instance)


def use(picture: Picture, seen: Seen, instance: str) -> None:
    """An instance's image or network comes onto what the last clean pass left."""
    clean = picture.clean
    if clean is not None and not clean.used_by:
        picture.clean = Clean(clean.witness, clean.covered, instance, seen.witness)


def _look_at_power(picture: Picture, seen: Seen, power: event_pb2.PowerReading) -> None:
    """Takes a reading of power in; one that cannot be told says nothing: it is what it was."""
    picture.power_time = micros(power.read_time)
    if power.power == "off":
        picture.off = seen.witness
    elif power.power == "on":
        picture.off = None
        _may_have_run(picture, seen)


def _look_at_ports(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    settling = seen.type in SETTLING
    ports = picture.ports
    was_on = _on_tenants(ports)
    for reading in seen.ports:
        observed = reading.port_class
        if observed == UNKNOWN or not reading.read_time:
            continue
        port = _port(picture, reading.port)
        if observed == QUARANTINE:
            _lose_network(port)
        port.observed, port.networks = observed, reading.networks
        port.instance = body.instance if observed == TENANT else ""
        port.read_time, port.witness = reading.read_time, seen.witness
        if settling and port.asked:
            last = port.asked[-1]
            if last.port_class == observed and (observed != TENANT or last.networks == port.networks):
                port.asked.clear()
                port.moved = None if observed == QUARANTINE else port.moved
        if observed in TENANTS_RUN and not port.asked:
            use(picture, seen, body.instance)
    if was_on and not _on_tenants(ports):
        picture.detach_time = max((port.read_time for port in ports.values()), default=0)
    if settling and picture.failed is not None and picture.isolated:
        picture.failed = None


def _on_tenants(ports: Mapping[str, Port]) -> bool:
    """Whether any may be on a tenant's network, or where a tenant's rescue system runs."""
    for port in ports.values():
        if port.observed in TENANTS_RUN:
            return True
        for one in port.asked:
            if one.port_class in TENANTS_RUN:
                return True
    return False


def _port(picture: Picture, name: str) -> Port:
    port = picture.ports.get(name)
    if port is None:
        port = picture.ports[name] = Port()
    return port


def _lose_network(port: Port) -> None:
    """A port that is read in quarantine without having been asked there may be back where it was at any time."""
    if port.witness is None or port.observed in (QUARANTINE, UNKNOWN):
        return
    if not any(one.port_class == QUARANTINE for one in port.asked):
        port.asked.insert(0, Asked(port.observed, port.networks, port.instance, port.witness))


def _may_have_run(picture: Picture, seen: Seen) -> None:
    """Power on outside cleaning and provisioning voids a clean pass that nobody used yet."""
    clean = picture.clean
    if clean is not None and not clean.used_by and seen.after not in _MAY_RUN_CLEAN:
        picture.clean, picture.soiled = None, seen.witness
        picture.flaw = "it was powered on after its last clean pass"


def _power_requested(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    picture.power_asked = seen.witness
    if body.facts["power"] != "off":
        picture.off = None
        _may_have_run(picture, seen)


def _powered_by_controller(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> None:
    picture.off, picture.power_asked = None, seen.witness


def disks(found: Sequence[event_pb2.DiskReading]) -> list[str]:
    """A name for each disk: its serial number, told apart from others of the same."""
    seen: Counter[str] = Counter()
    names = []
    for disk in found:
        seen[disk.serial] += 1
        names.append(disk.serial if seen[disk.serial] == 1 else f"{disk.serial} (no. {seen[disk.serial]})")
    return names


def _inspected(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    picture.inspected = frozenset(disks(body.evidence.disks))
    clean = picture.clean
    if clean is not None and not picture.inspected <= clean.covered:
        picture.clean, picture.soiled = None, seen.witness
        picture.flaw = "inspection found a disk that the last clean pass did not cover"


def _clean_requested(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> None:
    picture.off, picture.power_asked = None, seen.witness
    ports = picture.ports
    detached = bool(ports) and not _on_tenants(ports)
    picture.cleaning = Pass(seen.witness, detached)
    picture.clean, picture.soiled, picture.flaw = None, seen.witness, "its last clean pass did not end"


def _clean_passed(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    flaw = _flaw(picture, body)
    picture.cleaning = None
    if flaw:
        picture.clean, picture.soiled, picture.flaw = None, seen.witness, flaw
        return
    covered = frozenset(disks(body.evidence.disks))
    picture.clean, picture.soiled, picture.flaw = Clean(seen.witness, covered), None, ""
    picture.waived, picture.waiver = "", None


def _flaw(picture: Picture, body: event_pb2.EventBody) -> str:
    """What is wrong with a clean pass; "" if nothing is."""
    begun = picture.cleaning
    if begun is None:
        return "its last clean pass ended without having begun"
    if not begun.detached:
        return "its last clean pass began while a port may have been on a tenant's network"
    for disk in body.evidence.disks:
        if not (disk.method and disk.HasField("end_time") and disk.HasField("start_time")):
            return f"its last clean pass left disk {disk.serial} unerased"
        if micros(disk.start_time) < picture.detach_time - SKEW or micros(disk.end_time) < micros(disk.start_time):
            return f"the erasure of disk {disk.serial} began before the server was off its tenant's networks"
        if micros(disk.start_time) < begun.witness.time - SKEW:
            return f"the erasure of disk {disk.serial} began before the pass it is told of"
    covered = set(disks(body.evidence.disks))
    if not picture.inspected:
        return "no disk was ever found by inspection"
    if missing := sorted(picture.inspected - covered):
        return f"its last clean pass did not cover disk {', '.join(missing)}"
    if strange := sorted(covered - picture.inspected):
        return f"its last clean pass met disk {', '.join(strange)}, which inspection had not found"
    return ""


def _write_requested(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    picture.off = picture.image = None
    picture.power_asked = seen.witness
    picture.writing = body.facts["image"] if body.instance == picture.held else ""
    use(picture, seen, body.instance)


def _verified(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    image = body.evidence.image
    sound = image.expected_checksum and image.expected_checksum == image.actual_checksum
    meant = image.image and image.image == picture.writing and body.instance == picture.held
    picture.image = seen.witness if sound and meant else None
    clean = picture.clean
    if seen.after != "provisioning" or clean is None:
        return  # what a tenant plugs in later is his
    if strange := sorted(frozenset(disks(body.evidence.disks)) - clean.covered):
        picture.clean, picture.soiled = None, seen.witness
        picture.flaw = f"disk {', '.join(strange)} was there, which the last clean pass did not cover"


def _leased(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    for address in body.evidence.addresses:
        picture.leases[address.lease] = seen.witness
        picture.lease_networks[address.lease] = address.network


def _plugged_elsewhere(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> None:
    """Nothing is known of a port that is plugged in elsewhere, but when it was read last."""
    for one in seen.ports:
        read = _port(picture, one.port).read_time
        picture.ports[one.port] = Port(read_time=read, moved=seen.witness, left=seen.witness)


def _left_behind(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> None:
    for one in seen.ports:
        if one.port_class in (QUARANTINE, UNKNOWN):
            _port(picture, one.port).left = None


def _given_back(picture: Picture, _seen: Seen, body: event_pb2.EventBody) -> None:
    for address in body.evidence.addresses:
        picture.leases.pop(address.lease, None)
        picture.lease_networks.pop(address.lease, None)


def _moved(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    if seen.after == "reserved" and body.instance:
        _hold(picture, body.instance, seen.witness)
    elif seen.after == "available":
        _hold(picture, "", None)
        if picture.waived in CLEAN_WAIVED and picture.waiver is not None:
            # Two administrators answer for what lies on its disks; the verdict is tainted from there.
            picture.clean, picture.soiled, picture.flaw = Clean(picture.waiver, picture.inspected), None, ""
        picture.waived, picture.waiver = "", None


def _hold(picture: Picture, instance: str, since: Witness | None) -> None:
    picture.held, picture.hold = instance, since
    for port in picture.ports.values():
        port.left = None  # the clean pass between two holds saw to it that nobody's system is on it
    picture.writing, picture.image, picture.adopted = "", None, ""


def _ended(picture: Picture, _seen: Seen, _body: event_pb2.EventBody) -> None:
    _hold(picture, "", None)
    if picture.waived == "release":
        picture.waived, picture.waiver = "", None


def _adopted(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    """A tenant's server is taken over as it is found: his disks, his image, his networks."""
    _hold(picture, body.instance, seen.witness)
    picture.adopted, picture.image = body.instance, seen.witness
    picture.clean = Clean(seen.witness, frozenset(), body.instance, seen.witness)


def _failed(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    if picture.state in _INSIDE or body.cause.step in _INSIDE_STEPS:
        picture.failed = seen.witness


def _forced(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> None:
    picture.waived, picture.waiver = body.facts["kind"], seen.witness


def _attested(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> None:
    """Two administrators say that it is off; the verdict is tainted from here."""
    picture.off = seen.witness


def _closed(picture: Picture, _seen: Seen, _body: event_pb2.EventBody) -> None:
    picture.ports.clear()


_TAKES: dict[str, Callable[[Picture, Seen, event_pb2.EventBody], None]] = {
    "power.requested": _power_requested,
    "inspection.requested": _powered_by_controller,
    "rescue.requested": _powered_by_controller,
    "manual_clean.requested": _powered_by_controller,
    "disks.inspected": _inspected,
    "clean.requested": _clean_requested,
    "clean.passed": _clean_passed,
    "image.write_requested": _write_requested,
    "image.verified": _verified,
    "address.leased": _leased,
    "address.cooling": _given_back,
    "address.forced_free": _given_back,
    "address.withdrawn": _given_back,
    "port.moved": _plugged_elsewhere,
    LEFT: _left_behind,
    "instance.ended": _ended,
    "adoption.undone": _ended,
    "forced.approved": _forced,
    "server.state_changed": _moved,
    "server.adopted": _adopted,
    "server.failed": _failed,
    "server.closed": _closed,
    "power.attested": _attested,
}
