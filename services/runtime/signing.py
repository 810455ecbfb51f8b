# SPDX-License-Identifier: Apache-2.0
"""The keys that checkpoints are signed with: Ed25519, one private key a file that only we may read.

Beside the key's file ``x.key`` a rotation puts the next key, ``x.key.next``. The service takes it into use with its
next checkpoint, endorsed by the key before, and then lets it replace that key's file. Where the files cannot be written
both stay, and which of the two is the log's key is told by the log.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.kernel.chain import framed
from services.kernel.errors import WrongState
from services.runtime.logs import register_secret
from services.runtime.secrets import UnsafeFile, private_file, random_file, write_private
from services.runtime.times import to_micros

_CHECKPOINT = b"bms.event.v1.checkpoint\x00"
_KEY = b"bms.event.v1.key\x00"
_SIZE = 32


def checkpoint_bytes(checkpoint: bytes) -> bytes:
    """What is signed of a serialised Checkpoint, and hashed."""
    return _CHECKPOINT + checkpoint


def checkpoint_digest(checkpoint: bytes) -> bytes:
    """The digest of a serialised Checkpoint, 32 bytes."""
    return hashlib.sha256(checkpoint_bytes(checkpoint)).digest()


def statement(service: str, log: str, from_number: int, create_time: datetime, public_key: bytes) -> bytes:
    """What the key before signs of a new one."""
    numbers = from_number.to_bytes(8, "big") + to_micros(create_time).to_bytes(8, "big")
    return _KEY + framed(service) + framed(log) + numbers + public_key


def key_id(public_key: bytes) -> str:
    """How a key is named: 16 hexadecimal digits."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def is_signed(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether *signature* is that of *data* by *public_key* (32 bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except InvalidSignature:
        return False
    return True


class Signer:
    """A private key.

    Attributes:
        public_key: 32 bytes.
        id: see `key_id`.
    """

    def __init__(self, seed: bytes) -> None:
        for form in (seed.hex(), base64.b64encode(seed).decode(), base64.urlsafe_b64encode(seed).decode()):
            register_secret(form)
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()
        self.id = key_id(self.public_key)

    def sign(self, data: bytes) -> bytes:
        """The signature over *data*, 64 bytes."""
        return self._key.sign(data)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who signs next.

    Attributes:
        signer: the key.
        fresh: the log does not know it yet.
        endorser: the key before, which speaks for a fresh one; None for a log's first key, or if that key was lost.
    """

    signer: Signer
    fresh: bool = False
    endorser: Signer | None = None


class KeyFiles:
    """The private keys of one service.

    Args:
        path: the key's file; 32 bytes, mode 0600.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = path.with_name(f"{path.name}.next")
        self._read: dict[Path, tuple[tuple[int, int, int], Signer]] = {}

    def choose(self, known: str) -> Chosen:
        """Who signs the next checkpoint of a log whose newest key is *known* (a key id; "" for a log without one).

        A log without a key gets the file's, which is made if it is not there.

        Raises:
            UnsafeFile: others may read a file, or it holds no key.
            WrongState: neither file holds the log's key.
        """
        if not known:
            self._make()
        present, coming = self._signer(self._path), self._signer(self._next)
        if coming is not None and coming.id == known:
            self.promote()  # the process ended, or could not write, after it had taken the key into use
            return Chosen(coming)
        if coming is not None:
            endorsed = present is not None and present.id == known
            return Chosen(coming, fresh=True, endorser=present if endorsed else None)
        if present is not None and known in ("", present.id):
            return Chosen(present, fresh=not known)
        msg = f"{self._path.name} does not hold the key {known} that signs this log"
        raise WrongState(
            msg,
            remedy="Restore that file (replicas share one: BMS_SIGNING_KEY_FILE). If the key is lost: "
            "`python -m services.runtime.logadmin rotate-key SERVICE`.",
            subject=self._path.name,
            key=known,
        )

    def rotate(self) -> str:
        """Makes the next key, which the service takes into use with its next checkpoint; answers its id.

        Raises:
            WrongState: a next key is there already, and not yet in use.
        """
        if self._next.exists():
            msg = f"{self._next.name} is there already"
            raise WrongState(msg, remedy="Wait until the service has taken it into use.", subject=self._next.name)
        random_file(self._next, _SIZE)
        made = self._signer(self._next)
        assert made is not None
        return made.id

    def promote(self) -> None:
        """Lets the next key, now in use, replace the one before, of which nothing is kept."""
        with contextlib.suppress(OSError):  # a read-only folder: then both stay, see `choose`
            if self._next.exists():
                write_private(self._path, private_file(self._next))
                self._next.unlink()

    def _make(self) -> None:
        try:
            random_file(self._path, _SIZE)
        except OSError as error:
            msg = f"the signing key {self._path.name} cannot be made: {error.strerror}"
            raise UnsafeFile(
                msg,
                remedy=f"Put 32 random bytes, mode 0600, into {self._path}, or set BMS_SIGNING_KEY_FILE.",
                file=str(self._path),
            ) from None

    def _signer(self, path: Path) -> Signer | None:
        """The key in the file at *path*, read again when that changes; None if there is none."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        state = (found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._read.get(path)
        if known is None or known[0] != state:
            seed = private_file(path)
            if len(seed) != _SIZE:
                msg = f"{path.name} holds {len(seed)} bytes instead of {_SIZE}"
                raise UnsafeFile(msg, remedy="Restore the signing key.", file=str(path))
            known = self._read[path] = (state, Signer(seed))
        return known[1]
