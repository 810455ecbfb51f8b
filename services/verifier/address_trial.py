# SPDX-License-Identifier: Apache-2.0
"""The trial of one address's stream, I7: one owner and epoch at a time, and free only after its cool-down."""

from __future__ import annotations

from dataclasses import dataclass

from bms.event.v1 import event_pb2
from services.verifier.seen import Seen, micros
from services.verifier.verdict import Finding, Verdict, Witness

_FREE, _LEASED, _COOLING = "free", "leased", "cooling"


@dataclass(slots=True)
class Address:
    """An address as its events show it.

    Attributes:
        epoch: how often it was granted.
        lease: of the last grant.
        free_time: when a cooling one becomes free, in microseconds.
        witness: the event that made it what it is.
    """

    state: str = _FREE
    epoch: int = 0
    lease: str = ""
    free_time: int = 0
    witness: Witness | None = None


class AddressTrial:
    """One address's stream, event by event, in order; see `services.verifier.server_trial.ServerTrial`."""

    __slots__ = ("picture", "reason", "verdict")

    def __init__(self) -> None:
        self.picture = Address()
        self.verdict = Verdict.PASS
        self.reason = ""

    def hear(self, seen: Seen) -> tuple[Finding, ...]:
        """Takes the next event; answers what is wrong with it."""
        body = seen.body
        if body is None:
            self.lose("the body of an event is withheld from whoever asks")
            return ()
        reading = body.evidence.addresses[0] if body.evidence.addresses else event_pb2.AddressReading()
        message = self._wrong(seen, reading)
        earlier = self.picture.witness or seen.witness
        self._follow(seen, reading)
        if seen.type == "address.forced_free" and self.verdict is Verdict.PASS:
            self.verdict, self.reason = Verdict.TAINTED, "administrators gave it back by force"
        elif seen.type == "address.leased" and not message and self.verdict is not Verdict.UNKNOWN:
            self.verdict, self.reason = Verdict.PASS, ""  # whatever was wrong ended with the grant before
        if not message or self.verdict is Verdict.UNKNOWN:
            return ()
        self.verdict, self.reason = Verdict.FAIL, message
        return (Finding("I7", message, (earlier, seen.witness)),)

    def lose(self, reason: str) -> None:
        """Something is missing here: nothing is known of the address from now on."""
        if self.verdict is not Verdict.FAIL:
            self.verdict, self.reason = Verdict.UNKNOWN, reason

    def _wrong(self, seen: Seen, reading: event_pb2.AddressReading) -> str:
        """What is wrong with an event; "" if nothing is."""
        now = self.picture
        if not reading.address or not seen.stream.endswith(f"/addresses/{reading.address}"):
            return f"{seen.type} cites no lease of this address"
        same = reading.lease == now.lease and reading.epoch == now.epoch
        match seen.type:
            case "address.leased":
                if now.state == _LEASED:
                    return f"it was granted to {reading.lease} while {now.lease} held it"
                if now.state == _COOLING and seen.time < now.free_time:
                    return f"it was granted to {reading.lease} before its cool-down had ended"
                if reading.epoch != now.epoch + 1:
                    return f"it was granted with epoch {reading.epoch} after epoch {now.epoch}"
            case "address.cooling" | "address.forced_free" | "address.withdrawn":
                if now.state == _FREE or not same:
                    return self._not_his(reading, "gave it up")
                if seen.type != "address.forced_free" and micros(reading.free_time) <= seen.time:
                    return "it was given up without a cool-down"
            case "address.freed":
                if now.state != _COOLING or not same:
                    return "it became free without having been in its cool-down"
                if seen.time < now.free_time:
                    return "it became free before its cool-down had ended"
            case "address.mac_changed":
                if now.state != _LEASED or not same:
                    return self._not_his(reading, "changed it")
        return ""

    def _not_his(self, reading: event_pb2.AddressReading, did: str) -> str:
        now = self.picture
        held = f"{now.lease} of epoch {now.epoch}" if now.lease else "nobody"
        return f"{reading.lease} of epoch {reading.epoch} {did}, and {held} had it"

    def _follow(self, seen: Seen, reading: event_pb2.AddressReading) -> None:
        now = self.picture
        match seen.type:
            case "address.leased":
                now.state, now.epoch, now.lease, now.free_time = _LEASED, reading.epoch, reading.lease, 0
            case "address.cooling" | "address.forced_free" | "address.withdrawn":
                now.state, now.free_time = _COOLING, micros(reading.free_time)
            case "address.freed":
                now.state, now.free_time = _FREE, 0
            case _:
                return
        now.witness = seen.witness
