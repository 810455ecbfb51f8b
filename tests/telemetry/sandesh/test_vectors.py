# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib

import pytest

from telemetry.sandesh.decode import decode
from telemetry.sandesh.encode import encode
from telemetry.sandesh.framing import FrameReader
from telemetry.sandesh.publication import uve_update
from telemetry.sandesh.schema import Kind
from telemetry.sandesh.tree import fields
from tests.telemetry.sandesh.vectors import BY_NAME, VECTORS, Vector, rest

each = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)


def test_vectors_are_the_ones_that_were_made() -> None:
    """
    No vector was changed since the reference made it.
    """
    assert len(VECTORS) == 22
    for vector in VECTORS:
        assert vector.told["sha256"] == hashlib.sha256(vector.frame).hexdigest()


@each
def test_written_like_the_reference(vector: Vector) -> None:
    """
    The same inputs make the same bytes as the reference encoder, version signature included.
    """
    assert vector.frame == encode(vector.header, vector.type, vector.values)


@each
def test_header_read(vector: Vector) -> None:
    """
    A header is read back as the values it was made of.
    """
    assert vector.header == decode(vector.frame).header


@each
def test_body_read(vector: Vector) -> None:
    """
    A body is read back as the values it was made of, without its schema.
    """
    expected = vector.told["body"]
    if vector.name == "07-ironic-newlines":
        # XML reads carriage returns as line feeds; the reference takes blank text for empty.
        expected["data"] |= {"host_name": "line1\nline2\ttab\ncr\ncrlf", "event_type": ""}

    message = decode(vector.frame)

    assert vector.told["class"] == message.body.name
    assert expected == fields(message.body)
    assert not message.repaired


@each
def test_one_frame(vector: Vector) -> None:
    """
    Every vector is exactly one frame.
    """
    assert [vector.frame] == list(FrameReader().feed(vector.frame))


@pytest.mark.parametrize("name", ["01-ironic-full", "05-ironic-escapes", "13-ironic-empty-list"])
def test_published_like_the_reference(name: str) -> None:
    """
    What is stored of a UVE is what the reference collector stored, to the letter.
    """
    expected = rest(name)["publish"]

    update = uve_update(decode(BY_NAME[name].frame))

    assert update is not None
    assert (expected["struct"], expected["table"], expected["barekey"]) == (update.struct, update.table, update.key)
    assert expected["deleted"] is update.deleted
    assert expected["attrs"] == [list(pair) for pair in update.attributes]


@each
def test_only_uves_are_published(vector: Vector) -> None:
    """
    UVEs change an object; control messages and logs do not.
    """
    update = uve_update(decode(vector.frame))

    assert (update is not None) is (vector.type.kind is Kind.UVE)
