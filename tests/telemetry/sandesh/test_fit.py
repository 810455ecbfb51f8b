# SPDX-License-Identifier: Apache-2.0
"""The last gate before the wire: whatever values are, what leaves it can be written, read and shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.sandesh.encode import LARGEST, body_text
from telemetry.sandesh.fit import MASK, exposes, fit
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO
from tests.telemetry.sandesh.values import values_of
from tests.telemetry.sandesh.vectors import FULL, TRUTH_ALL_UVE

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=5,
)
NAMES = [field.name for field in TRUTH_ALL_UVE.data.fields]


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), ANYTHING))
def test_anything_can_be_written_then(values: dict[str, Any]) -> None:
    """
    Whatever the values; what was changed or left out is told; and a second time nothing changes.
    """
    fitted, notes = fit(TRUTH_ALL_UVE, values)

    body_text(TRUTH_ALL_UVE, {"data": fitted})
    given_ = {name: value for name, value in values.items() if value is not None}
    assert notes or fitted == given_
    again, more = fit(TRUTH_ALL_UVE, fitted)
    assert again == fitted
    assert not more


@given(values_of(TRUTH_ALL_UVE.data))
def test_what_fits_is_left_alone(values: dict[str, Any]) -> None:
    """
    Values of the right types go through as they are.
    """
    fitted, notes = fit(TRUTH_ALL_UVE, values)

    assert fitted == values
    assert notes == ()


@pytest.mark.parametrize(
    ("field", "value", "made"),
    [
        ("f_u32", "8192", 8192),
        ("f_u32", " 8192 ", 8192),
        ("f_u32", "8192.0", 8192),
        ("f_u32", 20.0, 20),
        ("f_u32", True, 1),
        ("f_u32", -1, None),
        ("f_u32", "eight", None),
        ("f_u32", 20.5, None),
        ("f_u16", 70000, None),
        ("f_bool", "True", True),
        ("f_bool", "no", False),
        ("f_bool", 1, True),
        ("f_bool", 2, None),
        ("f_bool", [], None),
        ("f_double", "1.5", 1.5),
        ("f_double", "much", None),
        ("f_double", float("nan"), None),
        ("f_string", 20, "20"),
        ("f_string", False, "false"),
        ("f_string", {"b": 1, "a": [2]}, '{"a":[2],"b":1}'),
        ("f_string", "a\x00b\x1b", "a\ufffdb\ufffd"),
        ("f_string", b"x", None),
        ("f_xml", "a]]>b", None),
        ("f_ipaddr", "10.0.0.300", None),
        ("f_uuid", "none", None),
        ("l_u32", ["1", 2, "x"], [1, 2]),
        ("l_string", "one", None),
        ("f_struct", {"a": 1, "b": "2", "z": 3}, {"a": "1", "b": 2}),
        ("f_struct", "x", None),
        ("m_su64", {"a": "1"}, {"a": 1}),
    ],
)
def test_conversions(field: str, value: Any, made: Any) -> None:
    """
    Where the meaning is plain a value is converted, else left out; both are told.
    """
    fitted, notes = fit(TRUTH_ALL_UVE, {"name": "n", field: value})

    assert fitted == {"name": "n", **({} if made is None else {field: made})}
    assert any(note.startswith(field) for note in notes)


def test_secrets_are_masked_by_name() -> None:
    """
    Passwords and config drives wherever they stand; of addresses the login and the signature.
    """
    node = {
        "name": "n",
        "driver_info": {"ipmi_password": "hunter2", "ipmi_address": "10.0.0.1"},
        "instance_info": {
            "configdrive": "H4sIAAAA",
            "image_url": "https://anna:hunter2@swift/v1/image?temp_url_sig=hunter2",
        },
    }
    assert exposes(IRONIC_NODE_INFO, node)

    fitted, notes = fit(IRONIC_NODE_INFO, node)

    assert fitted["driver_info"] == {"ipmi_password": MASK, "ipmi_address": "10.0.0.1"}
    assert fitted["instance_info"] == {"configdrive": MASK, "image_url": "https://swift/v1/image"}
    assert "hunter2" not in str(notes)
    assert not exposes(IRONIC_NODE_INFO, fitted)
    assert not exposes(IRONIC_NODE_INFO, {"name": "n", "driver_info": {"ipmi_password": ""}, "instance_info": None})
    assert exposes(IRONIC_NODE_INFO, FULL.values["data"])


def test_nothing_is_longer_than_analytics_shows() -> None:
    """
    Neither a text, though escaping makes it longer, nor a list, of which the first are kept.
    """
    ports = [{"name": f"p{number}", "mac_address": "52:54:00:00:00:01"} for number in range(1000)]
    fitted, notes = fit(IRONIC_NODE_INFO, {"name": "n", "host_name": "'" * 90_000, "port_info": ports})

    for name in ("host_name", "port_info"):
        assert len(body_text(IRONIC_NODE_INFO, {"data": {"name": "n", name: fitted[name]}})) < 100_000
    assert fitted["port_info"] == ports[: len(fitted["port_info"])]
    assert len(fitted["port_info"]) > 300
    assert len(notes) == 2
    assert LARGEST < 100_000


def test_flat_messages() -> None:
    """
    Logs are made to fit as well.
    """
    fitted, notes = fit(BMS_LIFECYCLE_EVENT_LOG, {"name": "n", "sequence": "7", "more": 1})

    assert fitted == {"name": "n", "sequence": 7}
    assert [note.split(":")[0] for note in notes] == ["sequence", "more"]
