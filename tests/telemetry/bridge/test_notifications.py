# SPDX-License-Identifier: Apache-2.0
"""What each notification is: every row of the table, genuine ones, and anything else that a broker may bring."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telemetry.bridge.notifications import (
    LONGEST,
    NO_SERVER,
    TABLE,
    Kind,
    Meaning,
    PoisonError,
    meaning_of,
    moment,
    parse,
)
from tests.telemetry.bridge.notes import NODE, PORT, SECRET, Site, body, golden, node, port, told, wrapped

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
DATA = st.dictionaries(st.sampled_from([*node(), *port(), "driver_info", "instance_info", "more"]), JSON)


@pytest.mark.parametrize("kind", sorted(TABLE), ids=".".join)
def test_every_event_does_what_its_row_says(kind: Kind) -> None:
    """
    A node that is known changes, goes or stays as it is; its ports the same; what is of no server changes nothing.
    """
    site = Site()
    site.lists([node()], [port()])
    site.fleet.take_changed()
    name, *_ = kind
    changed = {"node": node(name="changed"), "port": port(address="changed")}.get(name)
    data = changed or {"uuid": NODE, "node_uuid": NODE, "name": "changed", "address": "changed"}
    asks = site.hear(".".join(kind), {**data, "updated_at": "2026-11-22T10:00:00Z"})
    uve = site.fleet.uve(NODE)
    said = {
        "host_name": uve and uve["host_name"],
        "ports": uve and [each["mac_address"] for each in uve["port_info"]],
    }
    mac = port()["address"]
    wanted: dict[Meaning, dict[str, Any]] = {
        Meaning.APPEARS: {"host_name": "changed", "ports": [mac]},
        Meaning.STANDS: {"host_name": "changed", "ports": [mac]},
        Meaning.GOES: {"host_name": None, "ports": None},
        Meaning.PORT_STANDS: {"host_name": "rack1-u1", "ports": ["changed"]},
        Meaning.PORT_GOES: {"host_name": "rack1-u1", "ports": []},
        Meaning.NOTHING: {"host_name": "rack1-u1", "ports": [mac]},
    }
    assert said == wanted[TABLE[kind]]
    assert asks is False
    assert site.fleet.take_changed() == ([] if TABLE[kind] is Meaning.NOTHING else [NODE])


def test_the_table_says_what_the_manual_does() -> None:
    """
    By Ironic's manual of notifications: what says something of a node or a port, and nothing else does.
    """
    rows = {".".join(kind): meaning for kind, meaning in TABLE.items() if meaning is not Meaning.NOTHING}
    conductor = """
        power_set.start power_set.end power_set.error power_state_corrected.success
        provision_set.start provision_set.end provision_set.success provision_set.error
        console_set.start console_set.end console_set.error
        console_restore.start console_restore.end console_restore.error
    """
    assert rows == {
        "node.create.end": Meaning.APPEARS,
        "node.update.end": Meaning.STANDS,
        "node.maintenance_set.end": Meaning.STANDS,
        "node.delete.end": Meaning.GOES,
        "port.create.end": Meaning.PORT_STANDS,
        "port.update.end": Meaning.PORT_STANDS,
        "port.delete.end": Meaning.PORT_GOES,
        **{f"node.{name}": Meaning.STANDS for name in conductor.split()},
    }
    crud = {f"{action}.{status}" for action in ("create", "update", "delete") for status in ("start", "end", "error")}
    names = ("node", "port", "portgroup", "chassis", "volumeconnector", "volumetarget", "allocation", "deploytemplate")
    assert {f"{name}.{event}" for name in names for event in crud} <= {".".join(kind) for kind in TABLE}


@pytest.mark.parametrize("name", NO_SERVER)
def test_what_is_no_server_is_never_one_whatever_a_later_ironic_tells_of_it(name: str) -> None:
    """
    Its name may hold that of a port, and its body may have no UUID at all.
    """
    assert meaning_of((name, "reshape", "success")) is Meaning.NOTHING
    assert parse(body(f"{name}.create.end", {})).uuid == ""


def test_what_nobody_knows_yet_makes_ironic_be_asked() -> None:
    """
    Whether the body is wish or fact cannot be known: it is not believed.
    """
    site = Site()
    site.lists([node()], [])
    assert site.hear("node.teleport_set.start", node(name="elsewhere", updated_at="2027-01-01T00:00:00Z"))
    assert site.uve()["host_name"] == "rack1-u1"
    assert meaning_of(("comet", "create", "end")) is Meaning.NOTHING


@pytest.mark.parametrize("message", golden(), ids=lambda message: message["message_id"][:8])
def test_genuine_notifications_are_understood(message: dict[str, Any]) -> None:
    """
    With and without oslo.messaging's envelope, and never as something unknown.
    """
    found = parse(wrapped(message))
    assert found == parse(json.dumps(message).encode())
    assert found.meaning is TABLE[tuple(message["event_type"].split(".")[1:])]
    assert found.uuid == message["payload"]["ironic_object.data"]["uuid"]
    assert found.said == moment(message["timestamp"])
    assert found.publisher == message["publisher_id"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"[1]",
        b"null",
        b"[" * 100_000,
        b'{"oslo.message": 7}',
        b'{"oslo.message": "{"}',
        b"{}",
        wrapped({"event_type": 7, "payload": SECRET}),
        wrapped({"event_type": "compute.instance.update", "payload": SECRET}),
        wrapped({"event_type": "baremetal.node.update.end", "payload": SECRET}),
        body("node.update.end", {"uuid": SECRET}),
        body("port.delete.end", {"name": SECRET}),
        b" " * (LONGEST + 1),
    ],
    ids=range(14),
)
def test_what_is_no_notification_is_refused_without_repeating_it(raw: bytes) -> None:
    """
    The reason is said; the body may hold a password and is not.
    """
    with pytest.raises(PoisonError) as caught:
        parse(raw)
    assert str(caught.value).startswith("it ")
    assert SECRET not in str(caught.value)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | JSON.map(wrapped))
def test_any_bytes_are_a_notification_or_poison(raw: bytes) -> None:
    """
    Nothing else comes out of them.
    """
    try:
        assert parse(raw).meaning in Meaning
    except PoisonError as error:
        assert str(error)  # noqa: PT017 -- either end is right, and nothing else may come


@given(kind=st.sampled_from(sorted(TABLE)), data=DATA, before=DATA)
@example(("node", "update", "end"), {"uuid": NODE, "updated_at": "0001-01-01T00:00:00+23:59"}, {})
@example(("node", "update", "end"), {"uuid": NODE, "instance_info": {"image_source": "http://[", "root_gb": 1e300}}, {})
def test_any_object_is_taken(kind: Kind, data: dict[str, Any], before: dict[str, Any]) -> None:
    """
    Whatever the values are, and whatever was told before; the next one is taken as well.
    """
    site = Site()
    site.lists([{**before, "uuid": NODE}], [{**before, "uuid": PORT, "node_uuid": NODE}])
    uuid = PORT if kind[0] == "port" else NODE
    site.hear(".".join(kind), {**data, "uuid": uuid})
    site.hear("node.update.end", node(updated_at="9998-01-01T00:00:00Z"))
    assert site.fleet.uve(NODE) is None or site.uve()["name"] == NODE


def test_times_with_and_without_a_zone_are_the_same_moment() -> None:
    """
    Notifications and the API write them differently.
    """
    assert moment("2026-11-22T08:54:43Z") == moment("2026-11-22T08:54:43+00:00") == moment("2026-11-22 08:54:43")
    assert [moment(value) for value in (None, 7, "yesterday", "x" * 5000, "0001-01-01T00:00:00+23:59")] == [None] * 5


def test_a_node_is_named_in_one_form() -> None:
    """
    Keys of UVEs are compared as text.
    """
    assert told("node.update.end", node(uuid=NODE.upper())).uuid == NODE
