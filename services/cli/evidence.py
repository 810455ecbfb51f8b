# SPDX-License-Identifier: Apache-2.0
"""What proves a log, as its service gives it: keys, checkpoints or one stream's proof, and the events they cover.

Everything is verified here, on the caller's side; a service is asked for bytes and believed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from services.cli.failures import CliError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from bms.event.v1.event_pb2 import Checkpoint, SignedCheckpoint, StoredEvent
    from services.cli.session import Session
    from services.verifier.judge import Judge

LOGS = ("lifecycle", "ipam")
"""The logs that are chains: what was done to servers, and who had which address."""
_PAGE = 1000

Tell = Callable[[int], None]
"""Told how many more events were read."""


def evidence(
    session: Session, service: str, stream: str, tell: Tell, earlier: Judge | None = None
) -> Iterator[Message]:
    """The log of *service* up to its newest checkpoint, or of one *stream*, in the order in which it is judged.

    Keys come first; each checkpoint, or the stream's proof, comes before the events that it covers.

    Args:
        earlier: who judged a first part of the whole log: only what follows is asked for.
    """
    from bms.event.v1.event_pb2 import GetStreamProofRequest, ListCheckpointsRequest

    # The end first: a key that signs from now on is then among those that are asked for after it.
    if stream:
        proof = session.log(service).GetStreamProof(GetStreamProofRequest(stream=stream))
        yield from _keys(session, service)
        yield proof
        yield from _events(session, service, stream, _checkpoint(proof.checkpoint).position, tell)
        return
    newest = session.log(service).ListCheckpoints(ListCheckpointsRequest(newest=True)).checkpoints
    last = _checkpoint(newest[0]).position if newest else 0
    known = earlier.keys.known[-1].from_number if earlier is not None and earlier.keys.known else 0
    yield from _keys(session, service, known)
    checkpoints = _checkpoints(session, service, last, earlier.number if earlier is not None else 0)
    covered = after = earlier.position if earlier is not None else 0
    for event in _events(session, service, "", last, tell, after):
        while covered < event.position and (signed := next(checkpoints, None)) is not None:
            covered = _checkpoint(signed).position
            yield signed
        yield event


def judged(session: Session, service: str, stream: str, trusted: frozenset[bytes] | None, tell: Tell) -> Judge:
    """The log, or one stream of it, judged."""
    from services.verifier.judge import Judge

    judge = Judge(service, trusted=trusted, stream=stream)
    for message in evidence(session, service, stream, tell):
        give(judge, message)
    return judge


def give(judge: Judge, message: Message) -> None:
    """Gives *judge* one piece of evidence."""
    from bms.event.v1.event_pb2 import SignedCheckpoint, SigningKey, StoredEvent, StreamProof

    match message:
        case StoredEvent():
            judge.event(message)
        case SignedCheckpoint():
            judge.checkpoint(message)
        case StreamProof():
            judge.proof(message)
        case SigningKey():
            judge.key(message)


def trusted_keys(path: Path | None) -> frozenset[bytes] | None:
    """The public keys in a file: PEM, or 64 hexadecimal digits a line, as `bms checkpoint keys` shows them.

    Raises:
        CliError: there is none.
    """
    if path is None:
        return None
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    remedy = "Give PEM, or the PUBLIC KEY of `bms checkpoint keys`, one a line."
    try:
        text = path.read_text(encoding="ascii")
        if "-----BEGIN" not in text:
            found = frozenset(bytes.fromhex(line) for line in text.split())
        else:
            end = "-----END PUBLIC KEY-----"
            blocks = [
                f"{block[block.index('-----BEGIN') :]}{end}\n" for block in text.split(end) if "-----BEGIN" in block
            ]
            keys = [load_pem_public_key(block.encode()) for block in blocks]
            found = frozenset(key.public_bytes_raw() for key in keys if isinstance(key, Ed25519PublicKey))
    except (OSError, ValueError) as error:
        raise CliError(f"{path}: {error}", reason="NO_KEY", remedy=remedy) from None
    if not found or any(len(key) != 32 for key in found):
        raise CliError(f"{path} holds no Ed25519 public key", reason="NO_KEY", remedy=remedy)
    return found


def _checkpoint(signed: SignedCheckpoint) -> Checkpoint:
    from bms.event.v1.event_pb2 import Checkpoint

    return Checkpoint.FromString(signed.checkpoint)


def _keys(session: Session, service: str, after: int = 0) -> Iterator[Message]:
    from bms.event.v1.event_pb2 import ListSigningKeysRequest

    request = ListSigningKeysRequest(page_size=_PAGE, after=after)
    while True:
        answer = session.log(service).ListSigningKeys(request)
        yield from answer.keys
        if len(answer.keys) < _PAGE:
            return
        request.after = answer.next_after


def _checkpoints(session: Session, service: str, last: int, after: int) -> Iterator[SignedCheckpoint]:
    """The checkpoints after number *after*, up to the one that covers position *last*."""
    from bms.event.v1.event_pb2 import ListCheckpointsRequest

    request = ListCheckpointsRequest(page_size=_PAGE, after=after)
    while True:
        answer = session.log(service).ListCheckpoints(request)
        for signed in answer.checkpoints:
            if _checkpoint(signed).position > last:
                return
            yield signed
        if len(answer.checkpoints) < _PAGE:
            return
        request.after = answer.next_after


def _events(
    session: Session, service: str, stream: str, last: int, tell: Tell, after: int = 0
) -> Iterator[StoredEvent]:
    """The events after position *after* up to position *last*, as the bytes that were hashed."""
    from bms.event.v1.event_pb2 import ListEventsRequest, ListStoredEventsResponse

    # Event's twin: parsed as Event and serialised again, the bytes need not be the same.
    method = session.channel(service).unary_unary(
        f"/bms.{service}.v1.{service.capitalize()}Service/ListEvents",
        request_serializer=ListEventsRequest.SerializeToString,
        response_deserializer=ListStoredEventsResponse.FromString,
    )
    request = ListEventsRequest(page_size=_PAGE, stream=stream, after=after)
    while request.after < last:
        answer = method(request)
        found = [event for event in answer.events if event.position <= last]
        yield from found
        tell(len(found))
        if answer.next_after <= request.after:
            return
        request.after = answer.next_after
