# SPDX-License-Identifier: Apache-2.0
"""The trial of one server's stream: every event is held against I1 to I6, and taken into the picture; I8 taints."""

from __future__ import annotations

from collections.abc import Callable

from bms.event.v1 import event_pb2
from services.verifier.between_tenants import cleaned_between, given_back_in_order
from services.verifier.following import follow
from services.verifier.fresh import newest_claim, quarantine_first, read_afresh
from services.verifier.on_networks import (
    left_empty,
    moved_when_cut,
    nothing_left,
    one_world,
    only_in_the_hold,
    private,
    read_as_asked,
    written_for_the_holder,
)
from services.verifier.picture import Picture
from services.verifier.seen import Seen
from services.verifier.verdict import Finding, Verdict, worst

Check = Callable[[Picture, Seen, event_pb2.EventBody], Finding | None]

_ON: dict[str, tuple[Check, ...]] = {
    "port.attach_requested": (
        *(one_world, quarantine_first, cleaned_between, only_in_the_hold, given_back_in_order, private, nothing_left),
    ),
    "image.write_requested": (cleaned_between, written_for_the_holder, quarantine_first),
    "rescue.requested": (quarantine_first,),
    "inspection.requested": (quarantine_first,),
    "clean.requested": (quarantine_first,),
    "manual_clean.requested": (quarantine_first,),
    "power.requested": (quarantine_first,),
    "port.attach_observed": (read_afresh, read_as_asked, given_back_in_order),
    "port.detach_observed": (read_afresh, read_as_asked),
    "port.moved": (moved_when_cut,),
    "port.left_observed": (left_empty,),
    "power.observed": (read_afresh,),
    "server.patrolled": (read_as_asked,),
    "server.taken_over": (read_as_asked,),
    "address.cooling": (read_as_asked, given_back_in_order),
    "address.withdrawn": (given_back_in_order,),
    "instance.ended": (given_back_in_order,),
    "server.state_changed": (given_back_in_order, quarantine_first),
}
"""Event type -> what it is held against; `newest_claim` besides, wherever the claim is another than before."""
_FORCED = frozenset({"power.attested", "clean.skipped", "address.forced_free"})
_NO_FORCE = frozenset({"forced.requested", "forced.withdrawn", "forced.expired"})


class ServerTrial:
    """One server's stream, event by event, in order.

    Attributes:
        verdict: what holds since the last event; from best to worst, a worse one stays until the next full clean.
        reason: why it is not PASS.
    """

    __slots__ = ("picture", "reason", "verdict")

    def __init__(self) -> None:
        self.picture = Picture()
        self.verdict = Verdict.PASS
        self.reason = ""

    def hear(self, seen: Seen) -> tuple[Finding, ...]:
        """Takes the next event; answers what is wrong with it."""
        body = seen.body
        if body is None:
            self.lose("the body of an event is withheld from whoever asks")
            return ()
        picture = self.picture
        kind = seen.type
        found: tuple[Finding, ...] = ()
        fence = body.cause.fence
        if fence != picture.fence:
            found = newest_claim(picture, seen, fence)
        for check in _ON.get(kind, ()):
            finding = check(picture, seen, body)
            if finding is not None:
                found = (*found, finding)
        before = picture.clean
        follow(picture, seen, body)
        if (kind == "clean.passed" and picture.clean is not None and picture.clean is not before) or (
            kind == "server.adopted"
        ):
            self.verdict, self.reason = Verdict.PASS, ""
        if kind == "server.adopt_requested":
            self._worsen(Verdict.UNKNOWN, "it was in use before anybody looked; its evidence begins when it is adopted")
        if kind == "guest.observed" and body.facts["state"] != "deploying":
            self._worsen(Verdict.UNKNOWN, "somebody used it through Nova; what he did there is in no log of ours")
        if kind in _FORCED or (kind[:7] == "forced." and kind not in _NO_FORCE):
            self._worsen(Verdict.TAINTED, f"administrators forced it: {body.reason or kind}")
        if found and self.verdict is not Verdict.UNKNOWN:
            # What follows a gap is not judged: what the verifier believes of the server may be wrong.
            self._worsen(Verdict.FAIL, found[0].message)
            return found
        return ()

    def lose(self, reason: str) -> None:
        """Something is missing here: nothing is known until the next full clean, nor what was known before."""
        self.picture = Picture()
        self._worsen(Verdict.UNKNOWN, reason)

    def _worsen(self, verdict: Verdict, reason: str) -> None:
        if worst(verdict, self.verdict) is not self.verdict:
            self.verdict, self.reason = verdict, reason
