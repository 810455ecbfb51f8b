# SPDX-License-Identifier: Apache-2.0
"""The keys that sign a log's checkpoints, each endorsed by the one before."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bms.event.v1 import event_pb2
from services.verifier.chain import key_id, key_statement, signed_bytes


class Keys:
    """The keys of one log, in the order of their use.

    Args:
        trusted: see `services.verifier.judge.Judge`.
    """

    def __init__(self, service: str, trusted: frozenset[bytes] | None) -> None:
        self._service = service
        self._trusted = trusted
        self.known: list[event_pb2.SigningKey] = []

    def take(self, key: event_pb2.SigningKey) -> str:
        """Takes the next key; answers what is wrong with it, "" if nothing is."""
        if key.service != self._service or (self.known and key.log != self.known[-1].log):
            return f"key {key.key_id} is of another log"
        if key.key_id != key_id(key.public_key):
            return f"key {key.key_id} is called other than it hashes to"
        if self.known and key.from_number <= self.known[-1].from_number:
            return f"key {key.key_id} signs from checkpoint {key.from_number}, before the key it follows"
        if not self._vouched(key):
            return f"nothing that is trusted vouches for key {key.key_id}"
        self.known.append(key)
        return ""

    def verify(self, signed: event_pb2.SignedCheckpoint, checkpoint: event_pb2.Checkpoint) -> str:
        """Whether *signed* was signed by the log's key of that time; answers what is wrong, "" if nothing is."""
        number = checkpoint.number
        key = next((one for one in reversed(self.known) if one.from_number <= number), None)
        if key is None:
            return f"no key is known that signs checkpoint {number}"
        if not key.key_id == signed.key_id == checkpoint.key_id:
            return f"checkpoint {number} is signed with key {signed.key_id}, and {key.key_id} signs at that time"
        if checkpoint.log != key.log:
            return f"checkpoint {number} is of another log than its key"
        if not _signed_by(key.public_key, signed.signature, signed_bytes(signed.checkpoint)):
            return f"the signature of checkpoint {number} is not its key's"
        return ""

    def _vouched(self, key: event_pb2.SigningKey) -> bool:
        if self._trusted is not None and key.public_key in self._trusted:
            return True
        if not self.known:
            return self._trusted is None
        return _signed_by(self.known[-1].public_key, key.endorsement, key_statement(key))


def _signed_by(public_key: bytes, signature: bytes, data: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
