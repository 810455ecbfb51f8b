# SPDX-License-Identifier: Apache-2.0
"""Every event becomes a message that a collector takes, and no message holds a secret."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms.event.v1 import event_pb2
from services.lifecycle.domain.states import State
from telemetry.known import Facts, Known, Port, Seen, learn
from telemetry.sandesh.encode import body_text
from telemetry.sandesh.messages import BMS_LIFECYCLE_EVENT_LOG, IRONIC_NODE_INFO
from telemetry.translate import MAX_DETAIL, ironic_node, object_log
from tests.telemetry.builders import SERVER, T0, event_id, followed, stamp

PORT = f"servers/{SERVER}/ports/525400abcd01"

TYPES = [
    "address.cooling", "address.freed", "address.leased", "clean.passed", "clean.requested", "disks.inspected",
    "flavor.created", "image.created", "image.verified", "image.write_requested", "instance.delete_requested",
    "instance.ended", "port.attach_observed", "port.attach_requested", "port.detach_observed", "port.detach_requested",
    "power.observed", "power.requested", "server.closed", "server.created", "server.deleted", "server.enrolled",
    "server.failed", "server.maintenance_cleared", "server.maintenance_set", "server.patrolled", "server.state_changed",
    "server.taken_over", "server.updated", "server.waiting", "something.nobody_knows_yet",
]  # fmt: skip


def full_evidence() -> event_pb2.Evidence:
    return event_pb2.Evidence(
        ports=[event_pb2.PortReading(port=PORT, port_class="tenant", networks=["n"], read_time=stamp(T0))],
        power=event_pb2.PowerReading(power="off", read_time=stamp(T0), reading_digest=bytes(32)),
        disks=[event_pb2.DiskReading(serial="S1", size_bytes=2**40, method="overwrite", sample_digest=bytes(32))],
        image=event_pb2.ImageReading(image="images/debian", actual_checksum="sha256:1", disk="S1"),
        addresses=[event_pb2.AddressReading(lease="l", vrf="red", address="2001:db8::7", epoch=3, state="leased")],
    )


@pytest.mark.parametrize("type_", TYPES)
def test_every_event_becomes_an_object_log(type_: str) -> None:
    """
    Whatever its type, an event is told with its place, cause, actor and digest.
    """
    event = followed(
        position=7,
        type=type_,
        before="active",
        after="releasing",
        actor="anna",
        project="demo",
        reason="ASKED",
        message="Given back.",
        cause=event_pb2.Cause(operation="operations/lifecycle-1", step="power_off", fence=4),
        evidence=full_evidence(),
        facts={"k": "v"},
    )
    fields = object_log(event)

    assert fields["name"] == SERVER
    assert fields["event_id"] == event_id("lifecycle", 7)
    assert (fields["sequence"], fields["position"], fields["time"]) == (7, 7, T0 + 7_000_000)
    assert (fields["event_type"], fields["state_before"], fields["state_after"]) == (type_, "active", "releasing")
    assert (fields["actor"], fields["project"], fields["reason"]) == ("anna", "demo", "ASKED")
    assert fields["operation"] == "operations/lifecycle-1"
    assert fields["digest"] == event.digest.hex()
    detail = json.loads(fields["detail"])
    assert (detail["service"], detail["step"], detail["fence"]) == ("lifecycle", "power_off", 4)
    assert detail["facts"] == {"k": "v"}
    assert detail["evidence"]["disks"][0]["serial"] == "S1"
    assert body_text(BMS_LIFECYCLE_EVENT_LOG, fields)


@pytest.mark.parametrize(
    ("stream", "name"),
    [
        (f"servers/{SERVER}", SERVER),
        (PORT, SERVER),
        ("vrfs/red/addresses/2001:db8::7", "vrfs/red/addresses/2001:db8::7"),
        ("flavors/large", "flavors/large"),
        ("servers/not-a-uuid", "servers/not-a-uuid"),
    ],
)
def test_is_keyed_by_what_it_concerns(stream: str, name: str) -> None:
    """
    The server's UUID for all of a server; the resource's name for everything else.
    """
    assert object_log(followed("network", stream=stream))["name"] == name


@pytest.mark.parametrize(
    "fact", ["password", "bmc_password", "ipmi_passwd", "api_token", "user_data", "userdata", "config_drive",
             "ClientSecret", "private_key", "credentials", "authorization"]
)  # fmt: skip
def test_a_secret_among_the_facts_goes_no_further(fact: str) -> None:
    """
    Services promise that no fact is a secret; if one breaks it, analytics still does not learn it.
    """
    fields = object_log(followed(facts={fact: "hunter2"}))

    assert "hunter2" not in body_text(BMS_LIFECYCLE_EVENT_LOG, fields)


def test_the_salt_of_a_body_is_not_told() -> None:
    """
    With the salt a body could be guessed from its digest.
    """
    assert "salt" not in object_log(followed())["detail"]


def test_a_huge_event_is_cut_to_what_analytics_shows() -> None:
    """
    The analytics API drops attributes of 100,000 characters: what is too large is left out, and it says so.
    """
    disks = [event_pb2.DiskReading(serial=f"{number:0200}") for number in range(1000)]
    fields = object_log(followed(message="Found disks.", evidence=event_pb2.Evidence(disks=disks)))

    assert len(fields["detail"]) <= MAX_DETAIL
    assert "too large" in json.loads(fields["detail"])["evidence"]


@given(text=st.text(max_size=200))
def test_any_text_can_be_told(text: str) -> None:
    """
    No character that a service lets in keeps its event from analytics.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    event = followed(actor=text, message=text, project=text, facts={"a": text}, stream=f"flavors/{text}")
    known = learn(Known(), followed(instance=f"projects/p/instances/{text}"))

    assert body_text(BMS_LIFECYCLE_EVENT_LOG, object_log(event))
    assert body_text(IRONIC_NODE_INFO, {"data": ironic_node(SERVER, known)})


def known() -> Known:
    return Known(
        facts=Facts(
            display_name="r1u7",
            driver="ipmi",
            bmc_address="192.0.2.17",
            cpu_arch="x86_64",
            cpus=32,
            memory_mb=65536,
            local_gb=480,
            capabilities="boot_mode:uefi",
            create_time=T0,
            ports=(Port(PORT, "52:54:00:ab:cd:01", True, "leaf-1", "xe-0/0/1", "00:11:22:33:44:55"),),
        ),
        state="active",
        provision_state="active",
        state_time=T0,
        power="power on",
        instance="projects/demo/instances/web-1",
        image="images/debian",
        checksum="sha256:1",
        ports={PORT: Seen("tenant", ("projects/demo/networks/red",))},
        event_type="server.state_changed",
        event_time=T0 + 500_000,
    )


def test_a_server_in_ironics_fields() -> None:
    """
    The UVE has the fields and words that readers of Contrail's own bare-metal UVE know.
    """
    assert ironic_node(SERVER, known()) == {
        "name": SERVER,
        "provision_state": "active",
        "power_state": "power on",
        "driver": "ipmi",
        "instance_uuid": "web-1",
        "maintenance": False,
        "provision_update_timestamp": "2026-01-01T12:00:00+00:00",
        "update_timestamp": "2026-01-01T12:00:00.500000+00:00",
        "create_timestamp": "2026-01-01T12:00:00+00:00",
        "host_name": "r1u7",
        "publisher_id": "bms-telemetry",
        "event_type": "server.state_changed",
        "network_interface": "neutron",
        "driver_info": {"ipmi_address": "192.0.2.17"},
        "instance_info": {"display_name": "web-1", "image_source": "images/debian", "image_checksum": "sha256:1"},
        "node_properties": {
            "cpu_arch": "x86_64",
            "cpus": 32,
            "local_gb": 480,
            "memory_mb": 65536,
            "capabilities": "boot_mode:uefi",
        },
        "port_info": [
            {
                "name": "525400abcd01",
                "pxe_enabled": True,
                "mac_address": "52:54:00:ab:cd:01",
                "port_uuid": "525400abcd01",
                "local_link_connection": {
                    "switch_info": "leaf-1",
                    "port_id": "xe-0/0/1",
                    "switch_id": "00:11:22:33:44:55",
                },
                "internal_info": {
                    "tenant_vif_port_id": "projects/demo/networks/red",
                    "provisioning_vif_port_id": "",
                },
            }
        ],
    }


@pytest.mark.parametrize("state", list(State))
def test_every_state_can_be_told(state: State) -> None:
    """
    A server in any state has a UVE that a collector takes, with and without inventory's half.
    """
    heard = learn(Known(), followed(before="cleaning", after=state.value, evidence=full_evidence()))

    assert body_text(IRONIC_NODE_INFO, {"data": ironic_node(SERVER, heard)})


def test_absurd_numbers_do_not_keep_a_server_from_analytics() -> None:
    """
    A number that its field cannot hold becomes the nearest that it can.
    """
    node = ironic_node(SERVER, Known(facts=Facts(cpus=-1, local_gb=2**40, memory_mb=2**62)))

    assert node["node_properties"]["cpus"] == 0
    assert node["node_properties"]["local_gb"] == 2**32 - 1
    assert body_text(IRONIC_NODE_INFO, {"data": node})
