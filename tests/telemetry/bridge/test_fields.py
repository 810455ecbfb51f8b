# SPDX-License-Identifier: Apache-2.0
"""Ironic's values in the UVE's fields: turned where they can be, left out where not, and nothing secret."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.bridge.fields import fitting, node_fields, port_fields
from telemetry.sandesh.text import ILLEGAL
from tests.telemetry.bridge.notes import SECRET, Site, node, on_the_wire, port, strings
from tests.telemetry.bridge.test_notifications import DATA


def quiet(field: str, reason: str) -> None:
    """Nobody is told."""


@pytest.mark.parametrize(
    ("given_", "kept"),
    [("8192", 8192), (8192, 8192), (8192.0, 8192), (" 8192 ", 8192), (2**64 - 1, 2**64 - 1), (None, None), ("", None)],
    ids=["text", "number", "float", "spaces", "most", "null", "empty"],
)
def test_numbers_are_turned_into_numbers(given_: object, kept: int | None) -> None:
    """
    Nova's flavors and people write them as text; what has no value has none, and nobody complains.
    """
    site = Site()
    site.lists([node(properties={"memory_mb": given_, "cpu_arch": "x86_64"})], [])
    assert site.uve()["node_properties"].get("memory_mb") == kept
    assert not site.spoiled


@pytest.mark.parametrize("given_", ["8 GB", "0x2000", -1, 2**64, 1.5, float("nan"), True, [8192], {"mb": 8192}, "٨١٩٢"])
def test_what_is_no_number_is_left_out_counted_and_does_not_take_the_rest_with_it(given_: object) -> None:
    """
    The UVE goes out without it, and the value is not repeated.
    """
    site = Site()
    site.lists([node(properties={"memory_mb": given_, "cpus": 4})], [])
    assert site.uve()["node_properties"] == {"cpus": 4}
    assert site.uve()["provision_state"] == "available"
    assert site.spoiled == {"properties.memory_mb": 1}
    assert str(given_) not in site.reasons


def test_numbers_are_text_where_the_field_is_text() -> None:
    """
    ``root_gb`` is one in instance_info.
    """
    fields = node_fields({"instance_info": {"root_gb": 20, "vcpus": 2.5, "display_name": True}}, quiet)
    assert fields["instance_info"] == {"root_gb": "20", "vcpus": "2.5"}


@pytest.mark.parametrize(("given_", "kept"), [(None, False), ("True", True), (0, False), ("maybe", None), ([], None)])
def test_truth_is_said_in_several_ways(given_: object, kept: bool | None) -> None:
    """
    And what is neither true nor false is left out.
    """
    assert node_fields({"maintenance": given_}, quiet) == {"maintenance": kept}


def test_what_is_secret_is_not_taken() -> None:
    """
    No login of a BMC, no config drive, no URL of an image, and of other URLs neither login nor query.
    """
    data = node(
        driver_info={
            "ipmi_address": "10.0.0.1", "ipmi_username": SECRET, "ipmi_password": SECRET, "redfish_password": SECRET,
            "deploy_kernel": f"https://u:{SECRET}@glance/k?temp_url_sig={SECRET}#{SECRET}", "deploy_ramdisk": "file:///r",
        },
        instance_info={
            "configdrive": SECRET, "image_url": f"http://swift/{SECRET}", "display_name": "web",
            "image_source": f"http://u:{SECRET}@images/debian?token={SECRET}", "image_url_secret": SECRET,
        },
        extra={"note": SECRET}, properties={"cpus": 1, "password": SECRET}, driver_internal_info={"token": SECRET},
    )  # fmt: skip
    site = Site()
    site.lists([data], [port(extra={"password": SECRET}, internal_info={"secret": SECRET, "tenant_vif_port_id": "v"})])
    uve = site.uve()
    assert not [text for text in strings(uve) if SECRET in text]
    assert uve["driver_info"] == {
        "ipmi_address": "10.0.0.1", "deploy_kernel": "https://glance/k", "deploy_ramdisk": "file:///r",
    }  # fmt: skip
    assert uve["instance_info"] == {"display_name": "web", "image_source": "http://images/debian"}
    assert uve["port_info"][0]["internal_info"] == {"tenant_vif_port_id": "v"}


@pytest.mark.parametrize(
    ("info", "address"),
    [
        ({"redfish_address": f"https://u:{SECRET}@10.0.0.2:8443/x?y={SECRET}"}, "10.0.0.2:8443"),
        ({"ilo_address": "10.0.0.3"}, "10.0.0.3"),
        ({"ipmi_address": "", "redfish_address": "bmc.example"}, "bmc.example"),
    ],
)
def test_the_bmc_has_one_address_whatever_the_driver_calls_it(info: dict[str, str], address: str) -> None:
    """
    The UVE has one field for it, named after IPMI; a login in it is not shown.
    """
    assert node_fields({"driver_info": info}, quiet)["driver_info"] == {"ipmi_address": address}


@pytest.mark.parametrize("value", [None, {}, [], "text", 7, {"unheard of": 1}])
def test_a_struct_that_is_none_is_none(value: object) -> None:
    """
    Null, empty, of another type, or with nothing that is known in it.
    """
    assert node_fields({"driver_info": value, "instance_info": value, "properties": value}, quiet) == {
        "driver_info": None,
        "instance_info": None,
        "node_properties": None,
    }
    assert port_fields({"local_link_connection": value}, quiet) == {"local_link_connection": None}


def test_more_ports_than_an_attribute_holds_are_told_and_not_sent() -> None:
    """
    The analytics API would drop the whole list without a word.
    """
    site = Site()
    ports = [port(uuid=f"{number:08x}-aaaa-4aaa-8aaa-aaaaaaaaaaaa") for number in range(300)]
    site.lists([node()], ports)
    shown = len(site.ports())
    assert 60 < shown < 300
    assert site.spoiled == {"port_info": 1}
    assert f"300, of which {shown} are shown" in site.reasons[0]
    assert len(dict(on_the_wire(site.uve()).attributes)["port_info"]) < 100_000
    assert fitting([], quiet) == []


TEXTS = st.text(min_size=1) | st.sampled_from(["'" * 200_000, "\x00\x1b\ud800<&>", "é" * 3000, "]]>", "\r\n\t"])


@given(data=DATA, texts=st.lists(TEXTS, min_size=1))
def test_every_uve_can_be_written_and_no_attribute_is_too_long(data: dict[str, Any], texts: list[str]) -> None:
    """
    No control character, no attribute of 100,000 characters, whatever Ironic's dictionaries hold.
    """

    def pick(number: int) -> str:
        return texts[number % len(texts)]

    names = [
        "root_gb", "display_name", "memory_mb", "vcpus", "local_gb", "nova_host_id", "image_checksum", "image_source",
        "image_type", "deploy_kernel", "deploy_ramdisk", "ipmi_address", "cpu_arch", "capabilities",
    ]  # fmt: skip
    bag = {name: pick(number) for number, name in enumerate(names)}
    link = {name: pick(number) for number, name in enumerate(("switch_info", "port_id", "switch_id"))}
    site = Site()
    site.lists(
        [node(name=pick(0), driver=pick(1), driver_info=bag, instance_info=bag, properties=bag), {**data}],
        [
            port(uuid=f"{number:08x}-aaaa-4aaa-8aaa-aaaaaaaaaaaa", address=pick(number), local_link_connection=link)
            for number in range(4)
        ],
    )
    site.hear("node.update.end", node(**{**data, "uuid": node()["uuid"], "updated_at": "9998-01-01T00:00:00Z"}))
    uve = site.uve()
    assert not [text for text in strings(uve) if ILLEGAL.search(text)]
    update = on_the_wire(uve)
    assert (update.struct, update.table, update.key) == ("IronicNode", "ObjectServerTable", node()["uuid"])
    assert max(len(xml) for _, xml in update.attributes) < 100_000
