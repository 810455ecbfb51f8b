# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest: sealed under the key of a file that only we may read."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import uuid
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.kernel.errors import BmsError, Corrupt

_KEY_SIZE = 32
_ID_SIZE = 4
_NONCE_SIZE = 12


class UnsafeFile(BmsError):
    """A file with secrets is readable by others, or is not what it should be."""

    reason = "UNSAFE_FILE"


class Vault:
    """Seals secrets (AES-256-GCM) and derives further keys.

    A sealed secret is ``key id (4 bytes), nonce (12), ciphertext and tag``.

    Args:
        key_file: 32 random bytes, mode 0600; made if it is not there.

    Raises:
        UnsafeFile: others may read the file, or it does not hold 32 bytes.
    """

    def __init__(self, key_file: str | Path) -> None:
        self._key = _key_of(Path(key_file))
        self._id = hashlib.sha256(b"bms.vault.id\x00" + self._key).digest()[:_ID_SIZE]
        self._cipher = AESGCM(self._key)

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """*plaintext* sealed for *context*, such as ``servers/{uuid}/bmc``: it opens for that alone."""
        nonce = os.urandom(_NONCE_SIZE)
        return self._id + nonce + self._cipher.encrypt(nonce, plaintext, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """What `seal` was given.

        Raises:
            Corrupt: it was sealed with another key or for another context, or has been changed.
        """
        if sealed[:_ID_SIZE] != self._id:
            msg = "a secret was sealed with another key"
            raise Corrupt(msg, remedy="Restore the key file that belongs to this database.", context=context)
        nonce, rest = sealed[_ID_SIZE : _ID_SIZE + _NONCE_SIZE], sealed[_ID_SIZE + _NONCE_SIZE :]
        try:
            return self._cipher.decrypt(nonce, rest, context.encode())
        except (InvalidTag, ValueError):
            msg = "a secret has been changed, or belongs to something else"
            raise Corrupt(msg, remedy="Set the secret again.", context=context) from None

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for *purpose* (``replies``, ``page-tokens``), always the same."""
        return hmac.new(self._key, b"bms.vault.derive\x00" + purpose.encode(), hashlib.sha256).digest()


def private_file(path: Path) -> bytes:
    """The content of a file with secrets.

    Raises:
        UnsafeFile: anybody but its owner may read or write it, or it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        msg = f"{path.name} cannot be read: {error.strerror}"
        raise UnsafeFile(
            msg, remedy=f"See that {path} exists and belongs to the service's user.", file=str(path)
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            msg = f"{path.name} has mode {mode:04o}, so others may read it"
            raise UnsafeFile(msg, remedy=f"chmod 600 {path}", file=str(path), mode=f"{mode:04o}")
        return file.read()


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner may read; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def random_file(path: Path, size: int) -> None:
    """Makes a file of *size* random bytes that only its owner may read; one that is there stays.

    Several services of one machine may start at the same moment: the first file stays.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4()}")
    write_private(draft, os.urandom(size))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # somebody was quicker; his is read
    finally:
        draft.unlink()


def _key_of(path: Path) -> bytes:
    random_file(path, _KEY_SIZE)
    key = private_file(path)
    if len(key) != _KEY_SIZE:
        msg = f"{path.name} holds {len(key)} bytes instead of {_KEY_SIZE}"
        raise UnsafeFile(msg, remedy="Restore the key file that belongs to this database.", file=str(path))
    return key
