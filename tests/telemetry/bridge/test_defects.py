# SPDX-License-Identifier: Apache-2.0
"""The defects of ``ironic-notification-manager``, by number: none is here.

Those of the daemon around its UVEs are in test_conf, test_ironic, test_listening and test_app, by the same numbers.
"""

from __future__ import annotations

from telemetry.sandesh.encode import body_text
from telemetry.sandesh.messages import IRONIC_NODE_INFO
from telemetry.sandesh.uve import Outgoing, UveCache
from tests.telemetry.bridge.notes import NODE, PORT, SECRET, Site, node, on_the_wire, port, strings

LATER = "2026-11-22T10:00:00Z"


def sent(cache: UveCache, site: Site) -> tuple[Outgoing, ...]:
    """What goes to the collector."""
    uve = site.fleet.uve(NODE)
    if uve is None:
        return cache.delete(IRONIC_NODE_INFO, {"name": NODE})
    return cache.replace(IRONIC_NODE_INFO, uve)


def test_1_a_deleted_node_is_deleted() -> None:
    """
    The original raised TypeError over left-over keys: a node that was deleted was shown for ever.
    """
    site, cache = Site(), UveCache()
    full = node(driver_info={"ipmi_address": "a"}, instance_info={"vcpus": "1"}, properties={"cpus": 1})
    site.lists([full], [port()])
    sent(cache, site)
    site.hear("node.delete.end", {**full, "updated_at": LATER})
    (gone,) = sent(cache, site)
    assert '<deleted type="bool" identifier="2">true</deleted>' in gone.body
    assert cache.get(IRONIC_NODE_INFO, NODE) is None


def test_2_port_events_work_and_leave_the_other_ports() -> None:
    """
    The original raised TypeError, and would have replaced all ports by the one.
    """
    site = Site()
    site.lists([node()], [port(uuid="cccccccc-cccc-4ccc-8ccc-cccccccccccc")])
    site.hear("port.create.end", port(updated_at=None))
    site.hear("port.update.end", port(address="changed", updated_at=LATER))
    assert [each["mac_address"] for each in site.uve()["port_info"]] == ["changed", port()["address"]]


def test_3_the_last_port_can_go_and_the_node_keeps_its_own_name_and_times() -> None:
    """
    The original never sent an empty list, and wrote the port's name and times over the node's.
    """
    site, cache = Site(), UveCache()
    site.lists([node()], [port()])
    sent(cache, site)
    site.hear("port.delete.end", port(name="port's own", updated_at=LATER))
    (update,) = sent(cache, site)
    assert '<port_info type="list" identifier="18"><list type="struct" size="0"></list></port_info>' in update.body
    assert (site.uve()["host_name"], site.uve()["update_timestamp"]) == ("rack1-u1", "2026-11-22T09:00:00+00:00")


def test_4_port_groups_volumes_chassis_and_others_are_no_servers() -> None:
    """
    The original looked for "port" in the event's name, and made servers of everything else.
    """
    site = Site()
    site.lists([], [])
    for name in ("portgroup", "volumeconnector", "volumetarget", "chassis", "allocation", "deploytemplate"):
        for action in ("create", "update", "delete"):
            assert not site.hear(f"{name}.{action}.end", {"uuid": PORT, "node_uuid": NODE, "name": "x", "address": "y"})
    assert not list(site.fleet.nodes) + list(site.fleet.ports)


def test_6_keys_that_nobody_knows_and_nulls_harm_nothing() -> None:
    """
    The original raised on each, at its start too, and on ports of a node that it did not know.
    """
    site = Site()
    link = {"switch_id": "s", "port_id": "p", "network_type": "unmanaged", "hostname": "h"}
    site.lists(
        [node(driver_info=None, instance_info=None, properties=None, color="red")],
        [port(local_link_connection=link, internal_info={"inspection_vif_port_id": "v", "tenant_vif_port_id": "t"}),
         port(uuid="dddddddd-dddd-4ddd-8ddd-dddddddddddd", node_uuid="eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee")],
    )  # fmt: skip
    (shown,) = site.uve()["port_info"]
    assert shown["local_link_connection"] == {"switch_id": "s", "port_id": "p"}
    assert shown["internal_info"] == {"tenant_vif_port_id": "t"}


def test_7_values_of_another_type_do_not_take_the_uve_with_them() -> None:
    """
    The original's encoder dropped the whole message without a word, at each resync again.
    """
    site = Site()
    site.lists(
        [node(
            driver_info={"ipmi_terminal_port": "623"}, instance_info={"root_gb": 20},
            properties={"memory_mb": "8192", "cpus": "four"},
        )],
        [],
    )  # fmt: skip
    attributes = dict(on_the_wire(site.uve()).attributes)
    assert '<ipmi_terminal_port type="u32">623</ipmi_terminal_port>' in attributes["driver_info"]
    assert '<root_gb type="string">20</root_gb>' in attributes["instance_info"]
    assert '<memory_mb type="u64">8192</memory_mb>' in attributes["node_properties"]
    assert "cpus" not in attributes["node_properties"]
    assert site.spoiled == {"properties.cpus": 1}


def test_8_what_is_cleared_is_cleared() -> None:
    """
    The original left what was None as it was: the instance of a node that was given back stayed for ever. A text goes
    empty; where a struct or a number went, the object is deleted and sent whole.
    """
    site, cache = Site(), UveCache()
    site.lists([node(instance_uuid="i", power_state="power on", instance_info={"vcpus": 4})], [])
    sent(cache, site)
    site.hear("node.provision_set.end", node(instance_uuid=None, power_state=None, updated_at=LATER))
    (update,) = sent(cache, site)
    assert '<instance_uuid type="string" identifier="6"></instance_uuid>' in update.body
    assert '<power_state type="string" identifier="4"></power_state>' in update.body
    site.hear("node.update.end", node(instance_info={}, updated_at="2026-11-22T11:00:00Z"))
    gone, whole = sent(cache, site)
    assert "<deleted" in gone.body
    assert "instance_info" not in whole.body
    assert "rack1-u1" in whole.body


def test_9_no_secret_is_sent() -> None:
    """
    The original sent the BMC's login, the config drive and the image's URL, and logged them.
    """
    site = Site()
    secret = {
        "ipmi_password": SECRET, "ipmi_username": SECRET, "configdrive": SECRET, "image_url": SECRET,
        "image_source": f"http://h/i?{SECRET}",
    }  # fmt: skip
    site.hear("node.create.end", node(driver_info=secret, instance_info=secret, properties=secret, extra=secret))
    assert not [text for text in strings(site.uve()) if SECRET in text]
    assert SECRET not in body_text(IRONIC_NODE_INFO, {"data": site.uve()})
    assert not any(SECRET in reason for reason in site.reasons)


def test_18_what_was_only_asked_for_is_not_told_and_what_is_old_does_not_count() -> None:
    """
    The original took ``.start`` and ``.error`` for ``.end``, in whatever order they came.
    """
    site = Site()
    site.lists([node()], [])
    site.hear("node.maintenance_set.start", node(maintenance=True, updated_at=LATER))
    site.hear("node.update.error", node(name="refused", updated_at=LATER))
    site.hear("node.delete.start", node(updated_at=LATER))
    site.hear("node.delete.error", node(updated_at=LATER))
    assert (site.uve()["maintenance"], site.uve()["host_name"]) == (False, "rack1-u1")
    # What a conductor tells is so, whichever way it ends.
    site.hear("node.provision_set.error", node(provision_state="deploy failed", updated_at=LATER))
    site.hear("node.provision_set.start", node(provision_state="deploying", updated_at="2026-11-22T09:59:59Z"))
    assert site.uve()["provision_state"] == "deploy failed"
