# SPDX-License-Identifier: Apache-2.0
"""Judges one service's log: that it is whole, and, stream by stream, that what it tells was right.

judge = Judge("lifecycle")
for key in keys: judge.key(key)                     # bms.event.v1.SigningKey
for signed in checkpoints: judge.checkpoint(signed) # before the events that they cover, or right after the last of them
for stored in events: judge.event(stored)           # bms.event.v1.StoredEvent, by rising position
report = judge.report()

What lies beyond the last checkpoint that fits is UNKNOWN, and so is everything after something that is missing or does
not fit, until the next full clean.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from bms.event.v1 import event_pb2
from services.verifier import chain
from services.verifier.address_trial import AddressTrial
from services.verifier.keys import Keys
from services.verifier.seen import Seen, micros
from services.verifier.server_trial import ServerTrial
from services.verifier.track import Edge, Track
from services.verifier.verdict import Finding, Report, Verdict, Witness

CHAINED = frozenset({"lifecycle", "ipam"})
"""The services whose streams are chains of hashes."""


class Trial(Protocol):
    """What hears a stream's events."""

    verdict: Verdict
    reason: str
    picture: Any

    def hear(self, seen: Seen) -> tuple[Finding, ...]:
        """Takes the next event; answers what is wrong with it."""
        ...

    def lose(self, reason: str) -> None:
        """Something is missing here."""
        ...


class NoTrial:
    """Of a stream that no invariant speaks of: only that nothing is missing."""

    def __init__(self) -> None:
        self.picture = None
        self.verdict = Verdict.PASS
        self.reason = ""

    def hear(self, seen: Seen) -> tuple[Finding, ...]:
        """Nothing can be wrong with it."""
        return ()

    def lose(self, reason: str) -> None:
        """See Trial."""
        self.verdict, self.reason = Verdict.UNKNOWN, reason


def trial_of(service: str, stream: str) -> Trial:
    """The trial that *stream* of *service* needs."""
    if service == "lifecycle" and stream.startswith("servers/"):
        return ServerTrial()
    if service == "ipam" and "/addresses/" in stream:
        return AddressTrial()
    return NoTrial()


class Judge:
    """Judges one log; its public fields are for services/verifier/cut.py.

    Args:
        service: whose.
        trusted: public keys (32 bytes each) from elsewhere, one of which must be the log's first or vouch for it; None
            believes the keys that come with the log, which proves only that it agrees with itself.
        stream: only this stream is given, and a proof of where it ended instead of the whole log.
    """

    def __init__(self, service: str, *, trusted: frozenset[bytes] | None = None, stream: str = "") -> None:
        self.service = service
        self._chained = service in CHAINED
        self.stream = stream
        self.keys = Keys(service, trusted)
        self.tracks: dict[str, Track] = {}
        self.heads = chain.Heads()
        self.position = 0
        self.running = chain.START
        self.judged_to = 0
        self.number = 0
        self.last_checkpoint = b""
        self._waiting: deque[event_pb2.SignedCheckpoint] = deque()
        self._next: float = inf
        self._proof: event_pb2.StreamProof | None = None
        self._events = 0
        self._beyond: dict[str, Edge] = {}
        self._problems: list[Finding] = []
        self.whole = True

    def key(self, key: event_pb2.SigningKey) -> None:
        """Takes a signing key, by rising from_number, before the checkpoints it signed."""
        if problem := self.keys.take(key):
            self._break(problem, self._here("key"))

    def checkpoint(self, signed: event_pb2.SignedCheckpoint) -> None:
        """Takes a checkpoint, by rising number."""
        self._waiting.append(signed)
        self._check()

    def proof(self, proof: event_pb2.StreamProof) -> None:
        """Takes the proof of where the one stream ended; before its events."""
        try:
            checkpoint = event_pb2.Checkpoint.FromString(proof.checkpoint.checkpoint)
        except DecodeError:
            self._break("what should be the proof's checkpoint is none", self._here("proof"))
            return
        problem = self.keys.verify(proof.checkpoint, checkpoint)
        if not problem and chain.root_of(proof, checkpoint.streams) != checkpoint.heads_root:
            problem = f"the proof of {proof.stream} does not lead to the root of its checkpoint"
        if not problem and proof.stream != self.stream:
            problem = f"the proof is of {proof.stream}, not of {self.stream}"
        if problem:
            self._break(problem, self._here("proof"))
        else:
            self._proof = proof

    def event(self, stored: event_pb2.StoredEvent) -> None:
        """Takes an event."""
        self._events += 1
        position = stored.position
        try:
            seen = Seen(stored)
        except DecodeError:
            self._break(f"what stands at position {position} is no event", Witness("", position, 0, "", 0))
            return
        if position != self.position + 1 and not self.stream:
            self._break(f"after position {self.position} stands position {position}", seen.witness)
        self.position = position
        stream = seen.stream
        track = self.tracks.get(stream)
        if track is None:
            track = self.tracks[stream] = Track(stream, trial_of(self.service, stream))
        if self.stream:
            self._take_proven(stored, seen, track)
            return
        if stream not in self._beyond:
            self._beyond[stream] = Edge(seen.sequence, seen.time, track.end)
        digest = track.take(stored, seen, chained=self._chained)
        if self.whole:
            self.running = chain.running_digest(self.running, position, digest)
            self.heads.put(stream, seen.sequence, digest)
            if position >= self._next:
                self._check()

    def report(self) -> Report:
        """What was found so far."""
        problems = list(self._problems)
        if self._waiting and self.whole:
            # The first that waits was read already; what comes behind it may be anything.
            next_ = event_pb2.Checkpoint.FromString(self._waiting[0].checkpoint)
            msg = f"the log ends at position {self.position}, and a checkpoint covers it up to {next_.position}"
            problems.append(Finding("LOG", msg, (self._here("checkpoint"), self._here("checkpoint"))))
        beyond = self._beyond
        if self.stream:
            reached = self._proof.sequence if self._proof is not None else 0
            track = self.tracks.get(self.stream)
            if track is None or track.sequence < reached:
                ends = track.sequence if track else 0
                msg = f"{self.stream} ends at {ends}, and a checkpoint covers it up to {reached}"
                problems.append(Finding("LOG", msg, (self._here("proof"), self._here("proof"))))
                beyond = {self.stream: Edge(1)}
        return Report(
            service=self.service,
            judged_to=self.judged_to,
            events=self._events,
            streams={name: track.report(beyond.get(name)) for name, track in self.tracks.items()},
            problems=tuple(problems),
        )

    def _check(self) -> None:
        """Compares with the checkpoints that end here."""
        self._next = inf
        while self._waiting and self.whole:
            signed = self._waiting[0]
            try:
                checkpoint = event_pb2.Checkpoint.FromString(signed.checkpoint)
            except DecodeError:
                self._break("what should be a checkpoint is none", self._here("checkpoint"))
                return
            if checkpoint.position > self.position:
                self._next = checkpoint.position
                return
            self._waiting.popleft()
            if problem := self._wrong(signed, checkpoint):
                at = Witness("", checkpoint.position, checkpoint.number, "checkpoint", micros(checkpoint.time))
                self._break(problem, at)
                return
            self.number = checkpoint.number
            self.last_checkpoint = chain.checkpoint_digest(signed.checkpoint)
            self.judged_to = checkpoint.position
            self._beyond.clear()

    def _wrong(self, signed: event_pb2.SignedCheckpoint, checkpoint: event_pb2.Checkpoint) -> str:
        number = checkpoint.number
        if checkpoint.service != self.service:
            return f"checkpoint {number} is of {checkpoint.service}"
        if number != self.number + 1:
            return f"after checkpoint {self.number} comes checkpoint {number}"
        if checkpoint.previous != self.last_checkpoint:
            return f"checkpoint {number} follows another than the one before it here"
        if checkpoint.position != self.position:
            return f"checkpoint {number} ends at position {checkpoint.position}, which is passed already"
        if problem := self.keys.verify(signed, checkpoint):
            return problem
        if checkpoint.running_digest != self.running:
            return f"the log up to position {self.position} is not what checkpoint {number} covers"
        if checkpoint.streams != len(self.heads) or checkpoint.heads_root != self.heads.root():
            return f"the ends of the streams at position {self.position} are not those that checkpoint {number} covers"
        return ""

    def _take_proven(self, stored: event_pb2.StoredEvent, seen: Seen, track: Track) -> None:
        """Takes an event of the one stream, up to where its proof reaches."""
        edge = Edge(seen.sequence, seen.time, track.end)
        digest = track.take(stored, seen, chained=self._chained)
        proof = self._proof
        if proof is None or seen.sequence > proof.sequence:
            self._beyond.setdefault(seen.stream, edge)
        elif seen.sequence == proof.sequence:
            if digest == proof.digest:
                self.judged_to = seen.position
            else:
                self._break(f"{seen.stream} at {seen.sequence} is not what its checkpoint covers", seen.witness)
                self._beyond[seen.stream] = Edge(1)

    def _break(self, message: str, at: Witness) -> None:
        """From the last good checkpoint on, nothing of this log is known."""
        self._problems.append(Finding("LOG", message, (at, at)))
        self.whole = False

    def _here(self, what: str) -> Witness:
        return Witness("", self.position, 0, what, 0)
