# SPDX-License-Identifier: Apache-2.0
"""I5: what was observed was read afresh, under the newest claim; I6: after a failure comes quarantine first."""

from __future__ import annotations

from bms.event.v1 import event_pb2
from services.verifier.following import SKEW
from services.verifier.picture import UNKNOWN, Picture
from services.verifier.seen import Seen, micros
from services.verifier.verdict import Finding

DIGEST = 32
"""The length of what a reading is cited by."""


def newest_claim(picture: Picture, seen: Seen, fence: int) -> tuple[Finding, ...]:
    """I5: nothing is recorded under a claim that another had taken over; a newer one is taken in."""
    if fence > picture.fence:
        picture.fence, picture.fenced = fence, seen.witness
    elif 0 < fence < picture.fence:
        msg = f"it was done under claim {fence}, after claim {picture.fence} had taken over"
        return (Finding("I5", msg, (picture.fenced or seen.witness, seen.witness)),)
    return ()


def read_afresh(picture: Picture, seen: Seen, _body: event_pb2.EventBody) -> Finding | None:
    """I5: an ``*_observed`` event cites readings with time and digest, made after what they answer to."""
    if seen.type == "power.observed":
        power = seen.power
        time = micros(power.read_time) if power is not None else 0
        if power is None or len(power.reading_digest) != DIGEST or not time:
            return Finding("I5", "power was observed without citing a reading", (seen.witness, seen.witness))
        if time < picture.power_time:
            return Finding("I5", "power was observed by a reading older than the last", (seen.witness, seen.witness))
        if picture.power_asked is not None and time < picture.power_asked.time - SKEW:
            msg = "power was observed by a reading from before it was asked for"
            return Finding("I5", msg, (picture.power_asked, seen.witness))
        return None
    if not seen.ports and picture.ports:
        return Finding("I5", "ports were observed without citing a reading", (seen.witness, seen.witness))
    for reading in seen.ports:
        if reading.port_class == UNKNOWN:
            return Finding(
                "I5", f"{reading.port} was observed though it could not be read", (seen.witness, seen.witness)
            )
        if len(reading.reading_digest) != DIGEST or not reading.read_time:
            return Finding("I5", f"{reading.port} was observed without citing a reading", (seen.witness, seen.witness))
        port = picture.ports.get(reading.port)
        if port is None:
            continue
        time = reading.read_time
        if time < port.read_time:
            return Finding(
                "I5",
                f"{reading.port} was observed by a reading older than the last",
                (port.witness or seen.witness, seen.witness),
            )
        if port.asked and time < port.asked[-1].witness.time - SKEW:
            return Finding(
                "I5",
                f"{reading.port} was observed by a reading from before it was asked for",
                (port.asked[-1].witness, seen.witness),
            )
    return None


_GOING_ON = {
    "port.attach_requested": "a network was asked for",
    "image.write_requested": "an image was asked to be written",
    "rescue.requested": "a rescue system was asked for",
    "inspection.requested": "inspection was asked for",
    "clean.requested": "cleaning was asked for",
    "manual_clean.requested": "clean steps were asked for",
    "power.requested": "power was asked for",
}


def quarantine_first(picture: Picture, seen: Seen, body: event_pb2.EventBody) -> Finding | None:
    """I6: after a failure inside a deploy or release, every port is read in quarantine before anything else happens.

    Nothing leaves quarantine before that either, however it came there.
    """
    if seen.type == "server.state_changed" and seen.after == "quarantined":
        return None
    if picture.failed is not None:
        what = _GOING_ON.get(seen.type) or f"it became {seen.after}"
        if seen.type == "power.requested" and body.facts["power"] == "off":
            return None
        msg = f"{what} after a failure, before every port was read in quarantine"
        return Finding("I6", msg, (picture.failed, seen.witness))
    if seen.type == "server.state_changed" and seen.before == "quarantined" and picture.loose is not None:
        name, witness = picture.loose
        msg = f"it became {seen.after} before {name} was read in quarantine"
        return Finding("I6", msg, (witness or seen.witness, seen.witness))
    return None
