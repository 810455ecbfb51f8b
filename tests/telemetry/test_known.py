# SPDX-License-Identifier: Apache-2.0
"""What is known of a server follows from its events, in whatever order two logs tell of it."""

from __future__ import annotations

from itertools import permutations

import pytest

from bms.event.v1 import event_pb2
from bms.inventory.v1 import server_pb2
from services.lifecycle.domain.states import State
from telemetry.known import FAULTS, IRONIC_STATES, Facts, Known, Port, Seen, facts_of, learn
from tests.telemetry.builders import SERVER, T0, followed, stamp

PORT = f"servers/{SERVER}/ports/525400abcd01"
INSTANCE = "projects/demo/instances/web-1"

IRONIC_WORDS = {
    "enroll", "verifying", "inspecting", "adopting", "cleaning", "available", "deploying", "active", "rescuing",
    "rescue", "deleting", "clean failed", "deploy failed", "inspect failed", "adopt failed", "rescue failed", "error",
}  # fmt: skip


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_word_of_ironics(state: State) -> None:
    """
    No state of lifecycle's is without a word that readers of Ironic's states know.
    """
    known = learn(Known(), followed(before="cleaning", after=state.value))

    assert known.provision_state in IRONIC_WORDS
    assert state is State.QUARANTINED or known.provision_state == IRONIC_STATES[state.value]


@pytest.mark.parametrize("before", list(State))
def test_quarantine_says_where_it_began(before: State) -> None:
    """
    A server in quarantine has Ironic's word for what failed, "error" where there is none.
    """
    known = learn(Known(), followed(before=before.value, after="quarantined"))

    assert known.provision_state == FAULTS.get(before.value, "error")


def test_an_event_that_changes_no_state_keeps_when_it_began() -> None:
    """
    The time of the state is that of the event that entered it.
    """
    known = learn(Known(), followed(position=1, after="active"))
    known = learn(known, followed(position=2, type="power.observed", before="active", after="active"))

    assert known.state_time == T0 + 1_000_000
    assert known.event_time == T0 + 2_000_000
    assert known.event_type == "power.observed"


@pytest.mark.parametrize(("read", "word"), [("on", "power on"), ("off", "power off"), ("unknown", "")])
def test_power_is_what_was_read(read: str, word: str) -> None:
    """
    Power has Ironic's words; unknown power is no power.
    """
    evidence = event_pb2.Evidence(power=event_pb2.PowerReading(power=read, read_time=stamp(T0)))
    known = learn(Known(power="power on"), followed(type="power.observed", evidence=evidence))

    assert known.power == word


def test_maintenance_is_set_and_cleared() -> None:
    """
    Maintenance follows its two events alone.
    """
    known = learn(Known(), followed(type="server.maintenance_set"))
    kept = learn(known, followed(type="power.observed"))
    cleared = learn(kept, followed(type="server.maintenance_cleared"))

    assert (known.maintenance, kept.maintenance, cleared.maintenance) == (True, True, False)


def test_an_instance_takes_its_image_with_it() -> None:
    """
    When the instance ends, so does what was deployed for it.
    """
    image = event_pb2.ImageReading(image="images/debian", actual_checksum="sha256:12")
    held = learn(Known(), followed(type="image.verified", instance=INSTANCE, evidence=event_pb2.Evidence(image=image)))
    ended = learn(held, followed(type="instance.ended", instance=INSTANCE))

    assert (held.instance, held.image, held.checksum) == (INSTANCE, "images/debian", "sha256:12")
    assert (ended.instance, ended.image, ended.checksum) == ("", "", "")


def test_what_others_made_on_it_is_shown_until_it_goes() -> None:
    """
    Events of the server's own life say nothing of it; an instance of ours comes before it.
    """
    guest = "projects/demo/instances/nova-1"
    there = learn(Known(), followed(type="guest.observed", facts={"guest": guest, "state": "active"}))
    later = learn(there, followed(type="controller.observed"))
    ours = learn(later, followed(instance=INSTANCE))
    gone = learn(later, followed(type="guest.gone", facts={"guest": guest, "state": "active"}))

    assert [one.holder for one in (there, later, ours, gone)] == [guest, guest, INSTANCE, ""]


def test_only_ports_that_were_read_count() -> None:
    """
    What was only asked for is not what is.
    """
    asked = event_pb2.PortReading(port=PORT, port_class="tenant", networks=["projects/demo/networks/red"])
    seen = event_pb2.PortReading(port=PORT, port_class="quarantine", read_time=stamp(T0))
    known = learn(Known(), followed(type="port.attach_requested", evidence=event_pb2.Evidence(ports=[asked])))
    after = learn(known, followed(type="port.attach_observed", evidence=event_pb2.Evidence(ports=[seen])))

    assert known.ports == {}
    assert after.ports == {PORT: Seen("quarantine")}


def test_a_server_that_inventory_deleted_is_gone_whatever_lifecycle_still_says() -> None:
    """
    Lifecycle's log may be read later: its older events do not bring the server back.
    """
    known = learn(Known(), followed("inventory", 1, type="server.created"))
    known = learn(known, followed("inventory", 2, type="server.deleted"))
    late = learn(known, followed("lifecycle", 1, after="enrolled"))

    assert not known.present
    assert not late.present


def test_a_server_whose_stream_lifecycle_closed_is_gone() -> None:
    """
    Its half ends with its last event; inventory's is kept.
    """
    known = learn(Known(facts=Facts(driver="ipmi")), followed(position=1, after="active", instance=INSTANCE))
    closed = learn(known, followed(position=2, type="server.closed"))

    assert known.present
    assert not closed.present
    assert (closed.state, closed.instance, closed.facts) == ("", "", Facts(driver="ipmi"))


def test_a_server_registered_again_is_back() -> None:
    """
    The same UUID may be registered again.
    """
    known = learn(Known(), followed("lifecycle", 1, type="server.closed"))
    known = learn(known, followed("inventory", 1, type="server.deleted"))
    known = learn(known, followed("inventory", 2, type="server.created"))

    assert known.present


@pytest.mark.parametrize("order", sorted(set(permutations("iil"))), ids="".join)
def test_a_server_registered_again_is_back_whichever_log_is_read_first(order: tuple[str, ...]) -> None:
    """
    Lifecycle closed its stream before the server was registered again; its log may be read later.
    """
    happened = {
        "i": [
            followed("inventory", 1, time=T0 + 20, type="server.deleted"),
            followed("inventory", 2, time=T0 + 30, type="server.created"),
        ],
        "l": [followed("lifecycle", 2, time=T0 + 10, type="server.closed")],
    }
    known = learn(Known(), followed("lifecycle", 1, time=T0, after="available"))
    for log in order:
        known = learn(known, happened[log].pop(0))

    assert known.present
    assert (known.state, known.event_type, known.event_time) == ("", "server.created", T0 + 30)

    closed = learn(known, followed("lifecycle", 3, time=T0 + 40, type="server.closed"))
    assert not closed.present


def test_events_of_other_services_say_nothing_of_a_server() -> None:
    """
    Network's log has streams of servers too; lifecycle's tells what came of them.
    """
    assert learn(Known(), followed("network", type="port.observed")) == Known()


def test_is_kept_as_text_without_loss() -> None:
    """
    What was kept is read back equal; a text of an older version has defaults for what it lacks.
    """
    known = Known(
        facts=Facts(display_name="a", ports=(Port("p", "52:54:00:ab:cd:01", pxe_enabled=True),)),
        ports={PORT: Seen("tenant", ("projects/demo/networks/red",))},
        instance=INSTANCE,
        event_type="x",
    )

    assert Known.from_json(known.to_json()) == known
    assert Known.from_json('{"state":"active"}') == Known(state="active")


def test_facts_have_no_credentials() -> None:
    """
    Whatever inventory answered, login and password go no further.
    """
    server = server_pb2.Server(
        name=f"servers/{SERVER}",
        display_name="r1u7",
        bmc=server_pb2.Bmc(address="192.0.2.17", username="root-login", password="hunter2-secret", driver="ipmi"),
        ports=[server_pb2.Port(name=PORT, mac_address="52:54:00:ab:cd:01", switch_name="leaf-1", pxe_enabled=True)],
        properties=server_pb2.HardwareProperties(cpus=32, capabilities={"boot_mode": "uefi", "a": "b"}),
    )
    facts = facts_of(server)

    assert facts.capabilities == "a:b,boot_mode:uefi"
    assert facts.ports == (Port(PORT, "52:54:00:ab:cd:01", pxe_enabled=True, switch_name="leaf-1"),)
    text = Known(facts=facts).to_json()
    assert "hunter2" not in text
    assert "root-login" not in text
