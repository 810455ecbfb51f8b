# SPDX-License-Identifier: Apache-2.0
"""Notifications: which node to read; and nothing that is in one is repeated."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import InvalidField
from services.lifecycle.observing.hints import LONGEST, Hint, hint_of

NODE = "11111111-0000-4000-8000-000000000000"
SECRET = "hunter2"


def notification(type_: str = "baremetal.node.power_set.end", **data: object) -> bytes:
    """A notification as Ironic sends it: one JSON document in another."""
    fields = {"uuid": NODE, "driver_info": {"redfish_password": SECRET}, **data}
    payload = {"ironic_object.name": "NodePayload", "ironic_object.data": fields}
    inner = {"message_id": "m", "publisher_id": "ironic-conductor.c", "event_type": type_, "payload": payload}
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(inner)}).encode()


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (notification(), Hint(NODE, "baremetal.node.power_set.end")),
        (notification(uuid=NODE.upper()), Hint(NODE, "baremetal.node.power_set.end")),
        (
            notification("baremetal.port.create.end", uuid="22222222-0000-4000-8000-000000000000", node_uuid=NODE),
            Hint(NODE, "baremetal.port.create.end"),
        ),
        (notification("baremetal.allocation.create.end", node_uuid=None), Hint("", "baremetal.allocation.create.end")),
        (notification("baremetal.chassis.update.end"), Hint("", "baremetal.chassis.update.end")),
    ],
)
def test_a_notification_hints_at_a_node(body: bytes, hint: Hint) -> None:
    """
    Those of nodes by their own id, those of ports and allocations by their node's; some are of no node.
    """
    assert hint_of(body) == hint


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b"{}",
        json.dumps({"oslo.message": SECRET}).encode(),
        json.dumps({"oslo.message": 7}).encode(),
        notification(uuid=SECRET),
        notification(uuid=None),
        notification(f"other.{SECRET}"),
        json.dumps({"event_type": "baremetal.node.update.end", "payload": SECRET}).encode(),
        b" " * (LONGEST + 1),
    ],
)
def test_what_is_no_notification_says_why_and_repeats_nothing(body: bytes) -> None:
    """
    The reason goes to the log; a secret in the body does not.
    """
    with pytest.raises(InvalidField) as caught:
        hint_of(body)
    assert SECRET not in str(caught.value) + caught.value.remedy


@given(
    st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_no_body_does_more_than_be_refused(body: bytes) -> None:
    """
    Anybody may write into a broker.
    """
    try:
        found = hint_of(body)
    except InvalidField:
        return
    assert isinstance(found, Hint)
