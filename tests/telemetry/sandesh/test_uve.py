# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.sandesh.errors import EncodeError, SchemaError
from telemetry.sandesh.flat import UveView
from telemetry.sandesh.messages import (
    BMS_LIFECYCLE_EVENT_LOG,
    IRONIC_NODE_INFO,
    NODE_STATUS_UVE,
    SANDESH_MODULE_CLIENT_TRACE,
)
from telemetry.sandesh.schema import Field, Scalar, Struct, uve
from telemetry.sandesh.uve import Outgoing, UveCache
from telemetry.sandesh.watermarks import KIB, MIB, Watermarks
from tests.telemetry.sandesh.fakes import Store, received
from tests.telemetry.sandesh.vectors import BY_NAME, FULL

NAME = "9f1a3c52-6c0c-4b1e-9a47-0d6c7a5b1e01"


def node(**values: Any) -> dict[str, Any]:
    return {"name": "n", **values}


def known(store: Store, key: str = "n") -> dict[str, Any]:
    """What the analytics API would show of a node; without the time."""
    view: UveView = store.view("ObjectServerTable", key)
    shown = view.flat().get("IronicNode", {})
    return {name: value for name, value in shown.items() if name != "__T"}


def tell(store: Store, *messages: Outgoing) -> None:
    for message in messages:
        store.take(received(message))


def test_numbers_count_messages_of_a_type() -> None:
    """
    The first message of every type is number 1, and each type counts for itself.
    """
    cache = UveCache()

    numbers = [cache.update(IRONIC_NODE_INFO, {"name": name}).sequence for name in ("a", "b", "a")]
    numbers.append(cache.update(SANDESH_MODULE_CLIENT_TRACE, {"name": "a"}).sequence)

    assert numbers == [1, 2, 3, 1]
    assert cache.number(IRONIC_NODE_INFO) == 3
    assert cache.number(NODE_STATUS_UVE) == 0


def test_update_then_resync_like_the_reference() -> None:
    """
    An update carries its changes only; repeated after a handshake, the object is whole and keeps its number.
    """
    cache = UveCache()
    for _ in range(19):
        cache.update(IRONIC_NODE_INFO, FULL.values["data"])

    change = cache.update(IRONIC_NODE_INFO, BY_NAME["20-ironic-update-partial"].values["data"])
    (ref,) = cache.stale({})
    again = cache.again(ref)

    assert again is not None
    assert (change.sequence, change.sync, again.sequence, again.sync) == (20, False, 20, True)
    assert change.body == BY_NAME["20-ironic-update-partial"].body
    assert again.body == BY_NAME["21-ironic-sync-resend"].body


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, {"a", "b", "c"}),
        ({"IronicNodeInfo": 0}, {"a", "b", "c"}),
        ({"IronicNodeInfo": 1}, {"b", "c"}),
        ({"IronicNode": 2}, {"c"}),
        ({"IronicNode": 2, "IronicNodeInfo": 0}, {"c"}),
        ({"IronicNodeInfo": 3}, set()),
        ({"Other": 3}, {"a", "b", "c"}),
    ],
    ids=lambda value: str(sorted(value)),  # the same in every worker, whatever the order of a set
)
def test_what_a_collector_lacks(told: dict[str, int], expected: set[str]) -> None:
    """
    Everything newer than what the collector has is sent again; it may call the type by either name.
    """
    cache = UveCache()
    for name in "abc":
        cache.update(IRONIC_NODE_INFO, {"name": name})

    assert expected == {ref.key for ref in cache.stale(told)}


def test_deleted_objects_are_not_repeated() -> None:
    """
    A deletion is told once; afterwards the object is unknown, and its deletion no message.
    """
    cache = UveCache()
    cache.update(IRONIC_NODE_INFO, node(driver="ipmi"))
    (ref,) = cache.stale({})

    (gone,) = cache.delete(IRONIC_NODE_INFO, {"name": "n"})

    assert gone.body == BY_NAME["03-ironic-deleted-true"].body.replace("node-gone", "n")
    assert not list(cache.stale({}))
    assert cache.again(ref) is None
    assert cache.delete(IRONIC_NODE_INFO, {"name": "n"}) == ()
    assert cache.get(IRONIC_NODE_INFO, "n") is None


def test_update_that_deletes() -> None:
    """
    An update may say deleted itself, and the object is forgotten all the same.
    """
    cache = UveCache()
    cache.update(IRONIC_NODE_INFO, node(driver="ipmi"))
    cache.update(IRONIC_NODE_INFO, node(deleted=True))

    assert not list(cache.stale({}))


def test_nothing_bad_is_kept() -> None:
    """
    A refused update leaves no trace: neither a number nor a value that would be refused again at each resync.
    """
    cache = UveCache()
    cache.update(IRONIC_NODE_INFO, node(driver="ipmi"))

    for bad in (node(driver="\0"), node(driver=1), {"driver": "x"}, {"name": ""}, node(nonsense="x")):
        with pytest.raises(EncodeError):
            cache.update(IRONIC_NODE_INFO, bad)
        with pytest.raises(EncodeError):
            cache.replace(IRONIC_NODE_INFO, bad)

    assert cache.get(IRONIC_NODE_INFO, "n") == node(driver="ipmi")
    assert cache.number(IRONIC_NODE_INFO) == 1


def test_update_leaves_the_rest() -> None:
    """
    Attributes that an update does not name stay, those that are None too.
    """
    cache = UveCache()
    cache.update(IRONIC_NODE_INFO, node(driver="ipmi", power_state="on"))
    cache.update(IRONIC_NODE_INFO, node(driver=None, power_state="off"))

    assert cache.get(IRONIC_NODE_INFO, "n") == node(driver="ipmi", power_state="off")


STATES = st.fixed_dictionaries(
    {"name": st.just("n")},
    optional={
        "driver": st.sampled_from(["", "a", "b"]),
        "maintenance": st.booleans(),
        "port_info": st.lists(st.sampled_from([{"name": "p"}, {"name": "q", "pxe_enabled": True}]), max_size=2),
        "node_properties": st.sampled_from([{"cpus": 1}, {"cpus": 2, "cpu_arch": "x"}]),
        "instance_uuid": st.sampled_from(["", "u"]),
    },
)


def shown(state: dict[str, Any]) -> dict[str, Any]:
    """A state as the analytics API shows it, whether empty things were sent or not."""
    return {name: value for name, value in state.items() if name != "name" and value not in ("", [], None)}


@settings(max_examples=60)
@given(st.lists(STATES, min_size=1, max_size=6))
def test_replace_makes_it_so(states: list[dict[str, Any]]) -> None:
    """
    After every replacement the collector shows exactly the object that was meant: nothing stale, nothing lost;
    and a new collector, told by a resync, shows the same.
    """
    cache, store = UveCache(), Store()
    for state in states:
        tell(store, *cache.replace(IRONIC_NODE_INFO, state))

        assert shown(state) == shown(known(store))

    later = Store()
    tell(later, *(message for ref in cache.stale({}) if (message := cache.again(ref))))

    assert shown(states[-1]) == shown(known(later))


def test_replace_sends_what_changed() -> None:
    """
    A replacement that changes nothing says nothing, one that changes a text says that and the key.
    """
    cache = UveCache()
    whole = FULL.values["data"]
    assert len(cache.replace(IRONIC_NODE_INFO, whole)) == 1
    assert cache.replace(IRONIC_NODE_INFO, whole) == ()
    changes = BY_NAME["20-ironic-update-partial"].values["data"]

    (delta,) = cache.replace(IRONIC_NODE_INFO, whole | {"power_state": changes["power_state"]})

    event = '<event_type type="string" identifier="13">baremetal.node.power_set.end</event_type>'
    assert delta.body == BY_NAME["20-ironic-update-partial"].body.replace(event, "")


def test_clearing() -> None:
    """
    A cleared text is sent empty and a cleared list with size 0; for anything else the object is deleted and sent whole.
    """
    cache = UveCache()
    cache.replace(IRONIC_NODE_INFO, node(driver="x", port_info=[{"name": "p"}], maintenance=True))

    (emptied,) = cache.replace(IRONIC_NODE_INFO, node(maintenance=True))
    assert '<driver type="string" identifier="5"></driver>' in emptied.body
    assert '<list type="struct" size="0"></list>' in emptied.body
    assert cache.replace(IRONIC_NODE_INFO, node(maintenance=True)) == ()

    gone, whole = cache.replace(IRONIC_NODE_INFO, node(driver="y"))
    assert ">true</deleted>" in gone.body
    assert (">y</driver>" in whole.body, "maintenance" in whole.body) == (True, False)
    assert gone.sequence + 1 == whole.sequence


def test_types_are_announced_in_order() -> None:
    """
    Types are known from their announcement on, those that were not announced from their first object on.
    """
    cache = UveCache((NODE_STATUS_UVE,))
    cache.update(IRONIC_NODE_INFO, {"name": "n"})

    assert cache.types == (NODE_STATUS_UVE, IRONIC_NODE_INFO)


def test_only_uves() -> None:
    """
    A log is no UVE, and two types cannot share a name.
    """
    with pytest.raises(SchemaError):
        UveCache((BMS_LIFECYCLE_EVENT_LOG,))
    other = uve("IronicNodeInfo", Struct("Other", (Field("name", Scalar.STRING, 1, (("key", "T"),)),)))
    with pytest.raises(SchemaError):
        UveCache((IRONIC_NODE_INFO, other))
    with pytest.raises(SchemaError):
        UveCache().delete(other, {"name": "n"})


# --- watermarks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queued", "level"),
    [
        (0, 2147483647),
        (MIB, 2147483647),
        (MIB + 1, 7),
        (20 * MIB, 7),
        (20 * MIB + 1, 3),
        (30 * MIB + 1, 0),
        (50 * MIB, 0),
        (50 * MIB + 1, -100),
    ],
)
def test_rising(queued: int, level: int) -> None:
    """
    The longer the queue, the more urgent a message must be to join it.
    """
    marks = Watermarks()
    marks.observe(queued)

    assert level == marks.level
    assert not marks.admits(level)
    assert marks.admits(level - 1)


@pytest.mark.parametrize(
    ("queued", "level"),
    [
        (35 * MIB, -100),
        (35 * MIB - 1, 0),
        (25 * MIB, 0),
        (25 * MIB - 1, 3),
        (15 * MIB - 1, 7),
        (2 * KIB, 7),
        (2 * KIB - 1, 2147483647),
    ],
)
def test_falling(queued: int, level: int) -> None:
    """
    What was dropped is taken again only when the queue is much shorter.
    """
    marks = Watermarks()
    marks.observe(60 * MIB)
    marks.observe(queued)

    assert level == marks.level


def test_pauses_between_closings() -> None:
    """
    A hopeless session is given up at most once in 10 seconds, then 20, 40, 60, 60; after a long peace in 10 again.
    """
    marks, second = Watermarks(), 1_000_000
    assert marks.may_close(0)
    now = 0
    for pause in (10, 20, 40, 60, 60):
        assert not marks.may_close(now + pause * second - 1)
        now += pause * second
        assert marks.may_close(now)
    now += 121 * second
    assert marks.may_close(now)
    assert marks.may_close(now + 10 * second)
