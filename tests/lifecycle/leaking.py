# SPDX-License-Identifier: Apache-2.0
"""Everything that can leak between lifecycle and the other services, brought about in a world of fakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.lifecycle.domain.instance import InstanceState
from services.lifecycle.domain.server import PortClass, Report, Tag
from services.lifecycle.domain.walk import Change
from tests.lifecycle.rig import BLUE, GREEN, WEB, Rig
from tests.support.wire import admin

NOBODY = "projects/demo/instances/nobody"


def delete(rig: Rig) -> None:
    rig.ok("DeleteInstance", instance_pb2.DeleteInstanceRequest(name=WEB))


def gone(rig: Rig) -> str:
    """A server that was web's and is available again."""
    uuid = rig.active(BLUE)
    delete(rig)
    rig.settle()
    assert rig.instance() is None
    return uuid


def late_lease(rig: Rig, owner: str = WEB) -> str:
    """A lease call that was still inside ipam when its worker's claim ended; the lease's name."""
    return rig.addresses.lease("demo", owner, BLUE, "", "", 1, "late").name


def lease_left(rig: Rig) -> tuple[str, str]:
    gone(rig)
    return "lease_of_ended_owner", late_lease(rig)


def unknown_owner(rig: Rig) -> tuple[str, str]:
    return "lease_of_unknown_owner", late_lease(rig, NOBODY)


def lease_of_another_network(rig: Rig) -> tuple[str, str]:
    rig.active(BLUE)
    return "lease_not_kept", rig.addresses.lease("demo", WEB, GREEN, "", "", 1, "late").name


def lease_lost(rig: Rig) -> tuple[str, str]:
    uuid = rig.active(BLUE)
    name = rig.server(uuid).leases[0].name
    rig.addresses.leases.pop(name)
    return "lease_lost", name


def lease_regranted(rig: Rig) -> tuple[str, str]:
    uuid = rig.active(BLUE)
    name = rig.server(uuid).leases[0].name
    lease, owner, _ = rig.addresses.leases[name]
    rig.addresses.leases[name] = (lease, owner, "cooling")
    return "lease_lost", name


def late_reservation(rig: Rig) -> tuple[str, str]:
    uuid = gone(rig)
    rig.inventory.reserved[WEB] = uuid
    return "reservation_of_nobody", f"servers/{uuid}"


def second_reservation(rig: Rig) -> tuple[str, str]:
    rig.active(BLUE)
    other = rig.available(2)
    rig.inventory.reserved = {WEB: other}
    return "reservation_elsewhere", f"servers/{other}"


def reservation_lost(rig: Rig) -> tuple[str, str]:
    uuid = rig.active(BLUE)
    rig.inventory.reserved.clear()
    return "held_not_reserved", f"servers/{uuid}"


def offered(rig: Rig) -> tuple[str, str]:
    uuid = rig.register()
    rig.inventory.pool[uuid] = Report(available=True, reason="", held_by="")
    return "offer_differs", f"servers/{uuid}"


def not_followed(rig: Rig) -> tuple[str, str]:
    uuid = "00000009-0000-4000-8000-000000000000"
    known = rig.register()
    rig.inventory.servers[uuid] = replace(rig.inventory.servers[known], uuid=uuid)
    rig.inventory.pool[uuid] = rig.inventory.pool[known]
    return "server_not_followed", f"servers/{uuid}"


def not_recorded(rig: Rig) -> tuple[str, str]:
    uuid = rig.available()
    del rig.inventory.servers[uuid], rig.inventory.pool[uuid]
    return "server_not_recorded", f"servers/{uuid}"


def port_of_nobody(rig: Rig) -> tuple[str, str]:
    uuid = rig.available()
    name, port = next(iter(rig.networks.ports.items()))
    ghost = name.replace(uuid, "00000009-0000-4000-8000-000000000000")
    rig.networks.ports[ghost] = replace(port, server="00000009-0000-4000-8000-000000000000")
    return "port_of_unknown_server", ghost


def port_left_on(rig: Rig) -> tuple[str, str]:
    rig.available()
    name, port = next(iter(rig.networks.ports.items()))
    port.port_class, port.networks = PortClass.TENANT, (Tag(BLUE),)
    return "port_not_in_quarantine", name


def port_moved(rig: Rig) -> tuple[str, str]:
    rig.active(BLUE)
    name, port = next((name, port) for name, port in rig.networks.ports.items() if port.networks)
    port.networks = (Tag(GREEN),)
    return "port_differs", name


def port_forgotten(rig: Rig) -> tuple[str, str]:
    rig.available()
    name = min(rig.networks.ports)
    del rig.networks.ports[name]
    return "port_unknown_to_network", name


def operation_left(rig: Rig) -> tuple[str, str]:
    uuid = rig.register()
    name = rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    change(rig, uuid, intent=None)
    return "operation_of_nobody", name


def stranded(rig: Rig) -> tuple[str, str]:
    uuid = rig.active(BLUE)
    change_instance(rig, state=InstanceState.DEPLOYING)
    assert rig.server(uuid).intent is None
    return "instance_stranded", WEB


def held_by_nobody(rig: Rig) -> tuple[str, str]:
    uuid = rig.active(BLUE)
    rig.database.transact(lambda tx: tx.execute("DELETE FROM instances"), label="test")
    return "hold_one_sided", f"servers/{uuid}"


def holds_nothing(rig: Rig) -> tuple[str, str]:
    uuid = rig.active(BLUE)
    for lease in list(rig.addresses.leases):
        rig.addresses.leases.pop(lease)
    change(rig, uuid, instance="", leases=())
    return "hold_one_sided", WEB


def asleep(rig: Rig) -> tuple[str, str]:
    uuid = rig.register()
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.database.transact(lambda tx: tx.execute("UPDATE servers SET due = NULL"), label="test")
    return "intent_asleep", f"servers/{uuid}"


def abandoned(rig: Rig) -> tuple[str, str]:
    uuid = rig.register()
    rig.ok("ProvideServer", server_status_pb2.ProvideServerRequest(name=f"servers/{uuid}"), admin())
    rig.database.transact(lambda tx: tx.execute("UPDATE servers SET claim_until = due"), label="test")
    rig.clock.advance(120)
    return "claim_abandoned", f"servers/{uuid}"


def change(rig: Rig, uuid: str, **fields: Any) -> None:
    """Writes what no code of ours would."""
    broken = Change(replace(rig.server(uuid), **fields))
    rig.database.transact(lambda tx: rig.store.write(tx, broken, rig.clock.now(), due=None), label="test")


def change_instance(rig: Rig, **fields: Any) -> None:
    found = rig.instance()
    assert found is not None
    rig.database.transact(lambda tx: rig.store.write_instance(tx, replace(found, **fields), due=None), label="test")


SCENARIOS: list[Callable[[Rig], tuple[str, str]]] = [
    *(lease_left, unknown_owner, lease_of_another_network, lease_lost, lease_regranted),
    *(late_reservation, second_reservation, reservation_lost, offered, not_followed, not_recorded),
    *(port_of_nobody, port_left_on, port_moved, port_forgotten),
    *(operation_left, stranded, held_by_nobody, holds_nothing, asleep, abandoned),
]
