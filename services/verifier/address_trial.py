# SPDX-License-Identifier: Apache-2.0
"""The trial of one address's stream, I7: one owner and epoch at a time, and free only after its cool-down.

Others count as owners too: those to whom a controller beside ipam gave the address (docs/decisions/0044, 0053).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bms.event.v1 import event_pb2
from services.verifier.seen import Seen, micros
from services.verifier.verdict import Finding, Verdict, Witness

_FREE, _LEASED, _COOLING, _EXTERNAL = "free", "leased", "cooling", "external"
_OURS = frozenset({_LEASED, _COOLING})
_NOBODY = "nobody"
"""The holder where a controller calls an address taken and shows nobody who has it."""

_MOVES = frozenset(
    f"address.{what}"
    for what in ("leased", "cooling", "forced_free", "withdrawn", "freed", "observed", "unobserved")
)  # fmt: skip
"""The events that make the address what it is."""

_FORCED = "administrators gave it back by force"
_ANOTHER = "another was given it"


def _who(facts: Mapping[str, str]) -> str:
    """Who the other is, as far as the event says: of another project's no more than what the controller calls it."""
    told = [facts[name] for name in ("holder_kind", "holder_device", "holder") if facts.get(name)]
    return f" ({' '.join(told)})" if told else ""


@dataclass(slots=True)
class Address:
    """An address as its events show it.

    Attributes:
        epoch: how often it was granted.
        lease: of the last grant.
        free_time: when a cooling one becomes free, in microseconds.
        witness: the event that made it what it is.
        other: the event that showed that somebody else has it; None once he was seen to have it no more.
        contested: what is said of two who have it, while they do.
        forced: administrators gave it back by force, and nobody was granted it since.
    """

    state: str = _FREE
    epoch: int = 0
    lease: str = ""
    free_time: int = 0
    witness: Witness | None = None
    other: Witness | None = None
    contested: str = ""
    forced: bool = False


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
        others = body.facts["holder"] != _NOBODY if "holder" in body.facts else True
        message = self._wrong(seen, reading, body.facts, others=others)
        earlier = self.picture.witness or seen.witness
        if seen.type == "address.leased" and self.picture.other is not None:
            earlier = self.picture.other
        lifted = self._follow(seen, reading, message, others=others)
        if seen.type == "address.forced_free" and self.verdict is Verdict.PASS:
            self.verdict, self.reason = Verdict.TAINTED, _FORCED
        elif not message and self.verdict is not Verdict.UNKNOWN:
            if seen.type == "address.leased":
                self.verdict, self.reason = Verdict.PASS, ""  # whatever was wrong ended with the grant before
            elif lifted and self.reason == lifted:
                forced = self.picture.forced
                self.verdict, self.reason = (Verdict.TAINTED, _FORCED) if forced else (Verdict.PASS, "")
        if not message or self.verdict is Verdict.UNKNOWN:
            return ()
        if self.verdict is not Verdict.FAIL or message != self.picture.contested:
            # That two have it may end; what else was wrong before lasts until the next grant.
            self.verdict, self.reason = Verdict.FAIL, message
        return (Finding("I7", message, (earlier, seen.witness)),)

    def lose(self, reason: str) -> None:
        """Something is missing here: nothing is known of the address from now on."""
        if self.verdict is not Verdict.FAIL:
            self.verdict, self.reason = Verdict.UNKNOWN, reason

    def _wrong(self, seen: Seen, reading: event_pb2.AddressReading, facts: Mapping[str, str], *, others: bool) -> str:
        """What is wrong with an event; "" if nothing is."""
        now = self.picture
        if not reading.address or not seen.stream.endswith(f"/addresses/{reading.address}"):
            return f"{seen.type} cites no lease of this address"
        same = reading.lease == now.lease and reading.epoch == now.epoch
        rests = now.state == _COOLING and seen.time < now.free_time
        match seen.type:
            case "address.leased":
                return self._wrongly_granted(reading, rests=rests)
            case "address.cooling" | "address.forced_free" | "address.withdrawn":
                if now.state not in _OURS or not same:
                    return self._not_his(reading, "gave it up")
                if seen.type != "address.forced_free" and micros(reading.free_time) <= seen.time:
                    return "it was given up without a cool-down"
            case "address.freed":
                if now.state != _COOLING or not same:
                    return "it became free without having been in its cool-down"
                if rests:
                    return "it became free before its cool-down had ended"
            case "address.mac_changed":
                if now.state != _LEASED or not same:
                    return self._not_his(reading, "changed it")
            case "address.held" | "address.held_again":
                if now.state not in _OURS or not same:
                    return self._not_his(reading, "is kept it for")
            case "address.contested":
                if now.state not in _OURS or not same:
                    return self._not_his(reading, "is said to have it beside another")
                if others and (now.state == _LEASED or rests):
                    return f"{_ANOTHER}{_who(facts)} {self._whose()}"
            case "address.observed":
                if now.state == _LEASED or rests:
                    return f"{_ANOTHER}{_who(facts)} {self._whose()}"
            case "address.unobserved":
                if now.state == _LEASED or rests:
                    return f"it was called free {self._whose()}"
        return ""

    def _wrongly_granted(self, reading: event_pb2.AddressReading, *, rests: bool) -> str:
        now = self.picture
        if now.state == _LEASED:
            return f"it was granted to {reading.lease} while {now.lease} held it"
        if rests:
            return f"it was granted to {reading.lease} before its cool-down had ended"
        if now.other is not None:
            return f"it was granted to {reading.lease} while another had it"
        if reading.epoch != now.epoch + 1:
            return f"it was granted with epoch {reading.epoch} after epoch {now.epoch}"
        return ""

    def _whose(self) -> str:
        now = self.picture
        if now.state == _LEASED:
            return f"while {now.lease} held it"
        return f"before the cool-down of {now.lease} had ended"

    def _not_his(self, reading: event_pb2.AddressReading, did: str) -> str:
        now = self.picture
        held = f"{now.lease} of epoch {now.epoch}" if now.lease else "nobody"
        return f"{reading.lease} of epoch {reading.epoch} {did}, and {held} had it"

    def _follow(self, seen: Seen, reading: event_pb2.AddressReading, message: str, *, others: bool) -> str:
        """Takes the event in; answers what was said of two who had the address, if they no longer do."""
        now = self.picture
        contested = now.contested
        match seen.type:
            case "address.leased":
                now.state, now.epoch, now.lease, now.free_time = _LEASED, reading.epoch, reading.lease, 0
                now.contested, now.forced = "", False
            case "address.cooling" | "address.forced_free" | "address.withdrawn":
                now.state, now.free_time = _COOLING, micros(reading.free_time)
                now.forced = now.forced or seen.type == "address.forced_free"
            case "address.freed":
                now.state, now.free_time, now.contested = _FREE, 0, ""
            case "address.observed":
                now.state, now.free_time, now.other = _EXTERNAL, 0, seen.witness if others else None
            case "address.unobserved":
                now.state, now.free_time, now.other = _FREE, 0, None
            case "address.contested":
                now.other = seen.witness if others else None
                now.contested = message if message.startswith(_ANOTHER) else ""
            case "address.uncontested":
                now.other, now.contested = None, ""
        if seen.type in _MOVES:
            now.witness = seen.witness
        return contested if not now.contested else ""
