# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import json
from email import message_from_bytes
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.lifecycle.backends.nova_user_data import user_data

KEYS = ('ssh-ed25519 AAAA "me: {you}"', "ssh-rsa BBBB")


def parts(data: bytes) -> list[Message]:
    """The parts as cloud-init walks them."""
    return [part for part in message_from_bytes(data).walk() if not part.is_multipart()]


def test_without_keys_it_is_what_the_tenant_gave() -> None:
    """
    Nothing is wrapped that need not be.
    """
    assert user_data((), b"#!/bin/sh") == b"#!/bin/sh"
    assert user_data((), b"") == b""


def test_keys_alone_are_a_cloud_config() -> None:
    """
    Comments of keys may hold anything.
    """
    first, rest = user_data(KEYS, b"").decode().split("\n", 1)
    assert first == "#cloud-config"
    assert json.loads(rest) == {"ssh_authorized_keys": list(KEYS)}


@given(st.text(min_size=1), st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_both_arrive_whole(given: str, keys: list[str]) -> None:
    """
    Whatever the tenant's text is, it and all keys are read back, and the same input makes the same bytes.
    """
    data = user_data(keys, given.encode())
    if given.startswith(("Content-Type: multipart/", "MIME-Version:")):
        return
    ours, theirs = parts(data)
    assert ours.get_content_type() == "text/cloud-config"
    payload = ours.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert json.loads(payload.decode().split("\n", 1)[1]) == {"ssh_authorized_keys": keys}
    assert theirs.get_payload(decode=True) == given.encode()
    assert data == user_data(keys, given.encode())


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        pytest.param(gzip.compress(b"#!/bin/sh", mtime=0), "application/gzip", id="gzip"),
        pytest.param(b"\xff\xfe", "application/octet-stream", id="bytes"),
    ],
)
def test_bytes_stay_bytes(given: bytes, kind: str) -> None:
    """
    Compressed user data are told as such.
    """
    _, theirs = parts(user_data(KEYS, given))
    assert theirs.get_content_type() == kind
    assert theirs.get_payload(decode=True) == given


def test_what_is_of_parts_keeps_its_parts() -> None:
    """
    A MIME document of the tenant's is taken apart by cloud-init as it was.
    """
    theirs = user_data(("ssh-rsa CCCC",), b"#!/bin/sh")
    found = [part.get_content_type() for part in parts(user_data(KEYS, theirs))]
    assert found == ["text/cloud-config", "text/cloud-config", "text/plain"]
