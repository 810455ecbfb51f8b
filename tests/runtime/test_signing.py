# SPDX-License-Identifier: Apache-2.0
"""Signing keys stay in their files, follow one another, and never change by themselves."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.kernel.errors import WrongState
from services.runtime.logs import redact
from services.runtime.secrets import UnsafeFile
from services.runtime.signing import KeyFiles, Signer, is_signed, key_id


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lifecycle.signing.key"


def test_the_first_key_is_made_and_stays(path: Path) -> None:
    """
    A log without a key gets one, in a file for its owner alone; the next start finds the same.
    """
    made = KeyFiles(path).choose("")
    again = KeyFiles(path).choose(made.signer.id)

    assert (made.fresh, made.endorser, again.fresh) == (True, None, False)
    assert again.signer.public_key == made.signer.public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.signer.id == key_id(made.signer.public_key)


def test_a_rotation_is_endorsed_and_leaves_nothing_of_the_old_key(path: Path) -> None:
    """
    The next key signs, the one before speaks for it; once in use it has that one's file, and there is no other.
    """
    files = KeyFiles(path)
    first = files.choose("").signer
    old = path.read_bytes()
    coming = KeyFiles(path).rotate()

    chosen = files.choose(first.id)
    assert (chosen.signer.id, chosen.fresh) == (coming, True)
    assert chosen.endorser is not None
    assert chosen.endorser.id == first.id
    with pytest.raises(WrongState):
        KeyFiles(path).rotate()

    files.promote()
    assert old not in [file.read_bytes() for file in path.parent.iterdir()]
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert files.choose(coming).fresh is False


def test_a_crash_after_the_new_key_was_taken_into_use(path: Path) -> None:
    """
    The log knows the next key already, the files do not: whichever file holds the log's key is its key.
    """
    first = KeyFiles(path).choose("").signer
    coming = KeyFiles(path).rotate()

    chosen = KeyFiles(path).choose(coming)

    assert (chosen.signer.id, chosen.fresh) == (coming, False)
    assert KeyFiles(path).choose(coming).signer.id == coming
    with pytest.raises(WrongState):
        KeyFiles(path).choose(first.id)


def test_another_key_does_not_sign_by_itself(path: Path, tmp_path: Path) -> None:
    """
    A missing or foreign file is no new key: the log's own is asked for, and nothing is made in its place.
    """
    with pytest.raises(WrongState) as caught:
        KeyFiles(path).choose("0123456789abcdef")
    assert not path.exists()
    assert "rotate-key" in caught.value.remedy

    KeyFiles(path).choose("")
    with pytest.raises(WrongState):
        KeyFiles(path).choose("0123456789abcdef")


def test_a_lost_key_is_followed_by_one_that_nobody_endorses(path: Path) -> None:
    """
    Asked to, the service goes on with a new key; that nothing speaks for it stays visible.
    """
    KeyFiles(path).rotate()

    chosen = KeyFiles(path).choose("0123456789abcdef")

    assert (chosen.fresh, chosen.endorser) == (True, None)


def test_a_key_others_may_read_is_refused(path: Path) -> None:
    """
    A key that is not private, or no key, signs nothing.
    """
    KeyFiles(path).choose("")
    path.chmod(0o640)
    with pytest.raises(UnsafeFile):
        KeyFiles(path).choose("")

    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(UnsafeFile):
        KeyFiles(path).choose("")


def test_a_key_is_never_logged() -> None:
    """
    A private key that finds its way into a log line is not written, in any of its usual forms.
    """
    seed = bytes(range(32))
    Signer(seed)

    line = redact(None, "", {"event": "x", "a": f"is {seed.hex()}", "b": [seed]})

    assert seed.hex() not in str(line)
    assert "[32 bytes]" in str(line)


def test_a_signature_is_of_one_key_and_one_text() -> None:
    """
    Nothing else than what was signed verifies, and with no other key.
    """
    one, other = Signer(b"1" * 32), Signer(b"2" * 32)
    signature = one.sign(b"text")

    assert is_signed(one.public_key, signature, b"text")
    assert not is_signed(one.public_key, signature, b"texT")
    assert not is_signed(other.public_key, signature, b"text")


def test_a_key_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """
    Where no key can be written, the refusal says where to put one.
    """
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(UnsafeFile) as caught:
        KeyFiles(tmp_path / "file" / "x.key").choose("")

    assert "x.key" in caught.value.remedy
