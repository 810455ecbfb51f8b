# SPDX-License-Identifier: Apache-2.0
"""Servers and instances as rows and back: two functions each.

What is searched by has a column, the rest is one JSON document.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from services.kernel.events import DiskSeen, Head
from services.lifecycle.domain.instance import Instance, InstanceState, Interface, NetworkWish
from services.lifecycle.domain.kinds import IntentKind
from services.lifecycle.domain.lateness import late_at
from services.lifecycle.domain.nodes import Policy, Trouble
from services.lifecycle.domain.server import (
    Intent,
    Lease,
    Move,
    Oddity,
    Port,
    PortClass,
    Power,
    Report,
    Server,
    Tag,
    Tried,
    Wait,
)
from services.lifecycle.domain.states import State
from services.lifecycle.ports import CleanStep, HardwareFacts, Marks
from services.runtime.database import Row
from services.runtime.times import from_micros, to_micros

Doc = dict[str, Any]  # what a JSON document holds is known to the functions below alone


def server_values(server: Server) -> dict[str, object]:
    """The columns of *server*, without those of claims."""
    deadline = late_at(server)
    doc = {
        "state_since": _moment(server.state_since),
        "power_time": _moment(server.power_time),
        "ports": [_port_doc(port) for port in server.ports],
        "disks": [_disk_doc(disk) for disk in server.disks],
        "clean_time": _moment(server.clean_time),
        "leases": [_lease_doc(lease) for lease in server.leases],
        "maintenance_reason": server.maintenance_reason,
        "retired": [server.retired, server.retired_reason],
        "card": [server.holder_told, server.card_changed],
        "protected": [server.protected, server.protected_reason],
        "marked": [getattr(server.marked, name) for name in Marks.__slots__],
        "fault_message": server.fault_message,
        "unmanaged": server.unmanaged,
        "intent": _intent_doc(server.intent),
        "wait": _wait_doc(server.wait),
        "facts": _facts_doc(server.facts),
        "reported": [server.reported.available, server.reported.reason, server.reported.held_by]
        if server.reported
        else None,
        "tainted": [to_micros(server.tainted_since), server.tainted_by] if server.tainted_since else None,
        "trouble": _trouble_doc(server.trouble),
    }
    return {
        "uuid": server.uuid,
        "display_name": server.display_name,
        "state": server.state.value,
        "power": server.power.value,
        "instance": server.instance,
        "wait_code": server.wait.code if server.wait else "",
        "wait_since": to_micros(server.wait.since) if server.wait else None,
        "maintenance": int(server.maintenance),
        "isolated": int(server.isolated),
        "fault": server.fault,
        "deadline": to_micros(deadline) if deadline else None,
        "closed": int(server.closed),
        "version": server.version,
        "sequence": server.head.sequence,
        "digest": server.head.digest,
        "doc": orjson.dumps(doc).decode(),
    }


def server_of(row: Row) -> Server:
    """The server that *row* holds."""
    doc: Doc = orjson.loads(row["doc"])
    reported, tainted = doc["reported"], doc.get("tainted")
    (retired, why), (protected, guard) = doc.get("retired", (False, "")), doc.get("protected", (False, ""))
    return Server(
        uuid=row["uuid"],
        display_name=row["display_name"],
        state=State(row["state"]),
        state_since=from_micros(doc["state_since"]),
        power=Power(row["power"]),
        power_time=_time(doc["power_time"]),
        ports=tuple(_port(port) for port in doc["ports"]),
        disks=tuple(_disk(disk) for disk in doc["disks"]),
        clean_time=_time(doc["clean_time"]),
        isolated=bool(row["isolated"]),
        instance=row["instance"],
        leases=tuple(Lease(*lease[:7], *map(tuple, lease[7:])) for lease in doc["leases"]),
        maintenance=bool(row["maintenance"]),
        maintenance_reason=doc["maintenance_reason"],
        retired=retired,
        retired_reason=why,
        protected=protected,
        protected_reason=guard,
        marked=Marks(*doc.get("marked", ())),
        holder_told=doc.get("card", ("", False))[0],
        card_changed=doc.get("card", ("", False))[1],
        fault=row["fault"],
        fault_message=doc["fault_message"],
        unmanaged=doc["unmanaged"],
        intent=_intent(doc["intent"]),
        wait=_wait(doc["wait"]),
        facts=_facts(doc["facts"]),
        reported=Report(available=reported[0], reason=reported[1], held_by=reported[2]) if reported else None,
        closed=bool(row["closed"]),
        tainted_since=from_micros(tainted[0]) if tainted else None,
        tainted_by=tainted[1] if tainted else "",
        trouble=_trouble(doc.get("trouble")),
        version=row["version"],
        fence=row["fence"],
        head=Head(row["sequence"], bytes(row["digest"])),
    )


def instance_values(instance: Instance) -> dict[str, object]:
    """The columns of *instance*, without those of claims and secrets."""
    doc = {
        "networks": [[wish.network, wish.fixed_addresses, wish.vlan_tag] for wish in instance.networks],
        "hostname": instance.hostname,
        "keys": instance.ssh_public_keys,
        "labels": instance.labels,
        "interfaces": [
            [
                one.network,
                one.vlan_tag,
                one.port,
                one.mac_address,
                one.address,
                one.prefix_length,
                one.gateway,
                one.lease,
                one.connected,
                one.dns_servers,
            ]
            for one in instance.interfaces
        ],
        "error": instance.error,
        "site_note": instance.site_note,
        "actor": instance.actor,
        "excluded": instance.excluded,
        "resume": instance.resume.value if instance.resume else None,
        "protected": [instance.protected, instance.protected_reason],
    }
    return {
        "name": instance.name,
        "project": instance.project,
        "flavor": instance.flavor,
        "image": instance.image,
        "state": instance.state.value,
        "server": instance.server,
        "operation": instance.operation,
        "create_time": to_micros(instance.create_time),
        "update_time": to_micros(instance.update_time),
        "version": instance.version,
        "doc": orjson.dumps(doc).decode(),
    }


def _fixed(kept: str | list[str]) -> tuple[str, ...]:
    """The fixed addresses of a wish; of rows from before there could be two, the one or none."""
    return tuple(filter(None, [kept])) if isinstance(kept, str) else tuple(kept)


def instance_of(row: Row) -> Instance:
    """The instance that *row* holds."""
    doc: Doc = orjson.loads(row["doc"])
    protected, guard = doc.get("protected", (False, ""))
    return Instance(
        name=row["name"],
        project=row["project"],
        flavor=row["flavor"],
        image=row["image"],
        networks=tuple(NetworkWish(network, _fixed(fixed), tag) for network, fixed, tag in doc["networks"]),
        create_time=from_micros(row["create_time"]),
        update_time=from_micros(row["update_time"]),
        hostname=doc["hostname"],
        ssh_public_keys=tuple(doc["keys"]),
        labels=doc["labels"],
        state=InstanceState(row["state"]),
        server=row["server"],
        interfaces=tuple(Interface(*one[:9], *map(tuple, one[9:])) for one in doc["interfaces"]),
        error=doc["error"],
        site_note=doc["site_note"],
        operation=row["operation"],
        actor=doc["actor"],
        excluded=tuple(doc["excluded"]),
        resume=InstanceState(doc["resume"]) if doc["resume"] else None,
        protected=protected,
        protected_reason=guard,
        version=row["version"],
        fence=row["fence"],
    )


def _moment(moment: datetime | None) -> int | None:
    return to_micros(moment) if moment else None


def _time(micros: int | None) -> datetime | None:
    return from_micros(micros) if micros is not None else None


def _tags_doc(tags: tuple[Tag, ...]) -> list[list[object]]:
    return [[tag.network, tag.vlan_tag] for tag in tags]


def _port_doc(port: Port) -> list[object]:
    return [
        port.name,
        port.mac_address,
        port.switch_name,
        port.switch_port,
        port.pxe_enabled,
        port.port_group,
        port.observed.value,
        _tags_doc(port.networks),
        _moment(port.read_time),
        port.requested.value if port.requested else None,
        _tags_doc(port.wanted),
        port.switch_id,
        _odd_doc(port.odd) if port.odd else None,
    ]


def _port(doc: list[Any]) -> Port:
    return Port(
        name=doc[0],
        mac_address=doc[1],
        switch_name=doc[2],
        switch_port=doc[3],
        pxe_enabled=doc[4],
        port_group=doc[5],
        observed=PortClass(doc[6]),
        networks=tuple(Tag(*tag) for tag in doc[7]),
        read_time=_time(doc[8]),
        requested=PortClass(doc[9]) if doc[9] else None,
        wanted=tuple(Tag(*tag) for tag in doc[10]),
        # Rows of earlier versions end before it.
        switch_id=doc[11] if len(doc) > 11 else "",
        odd=_odd(doc[12]) if len(doc) > 12 and doc[12] else None,
    )


def _odd_doc(odd: Oddity) -> list[object]:
    return [_tags_doc(odd.networks), odd.breach, odd.detail, odd.opened]


def _odd(doc: list[Any]) -> Oddity:
    return Oddity(tuple(Tag(*tag) for tag in doc[0]), doc[1], doc[2], doc[3])


def _disk_doc(disk: DiskSeen) -> list[object]:
    digest = base64.b64encode(disk.sample_digest).decode()
    return [disk.serial, disk.size_bytes, disk.method, _moment(disk.start_time), _moment(disk.end_time), digest]


def _disk(doc: list[Any]) -> DiskSeen:
    return DiskSeen(doc[0], doc[1], doc[2], _time(doc[3]), _time(doc[4]), base64.b64decode(doc[5]))


def _lease_doc(lease: Lease) -> list[object]:
    return [
        lease.name,
        lease.network,
        lease.vrf,
        lease.address,
        lease.prefix_length,
        lease.gateway,
        lease.epoch,
        lease.dns_servers,
    ]


def _intent_doc(intent: Intent | None) -> Doc | None:
    if intent is None:
        return None
    return {
        "id": intent.id,
        "kind": intent.kind.value,
        "operation": intent.operation,
        "actor": intent.actor,
        "create_time": to_micros(intent.create_time),
        "step_since": to_micros(intent.step_since),
        "index": intent.index,
        "attempt": intent.attempt,
        "acted": intent.acted,
        "within": intent.within,
        "network": intent.network,
        "request_id": intent.request_id,
        "warnings": intent.warnings,
        "tried": [[one.code, one.attempts, to_micros(one.last)] for one in intent.tried],
        "cure": intent.cure,
        "forced": intent.forced,
        "steps": [[one.interface, one.step, one.args] for one in intent.steps],
        "moves": [[one.port, one.switch_name, one.switch_port, one.switch_id, one.left] for one in intent.moves],
        "cabled": intent.cabled,
    }


def _intent(doc: Doc | None) -> Intent | None:
    if doc is None:
        return None
    return Intent(
        **{
            **doc,
            "kind": IntentKind(doc["kind"]),
            "create_time": from_micros(doc["create_time"]),
            "step_since": from_micros(doc["step_since"]),
            "warnings": tuple(doc["warnings"]),
            "tried": tuple(Tried(code, attempts, from_micros(last)) for code, attempts, last in doc.get("tried", ())),
            "steps": tuple(CleanStep(*one) for one in doc.get("steps", ())),
            "moves": tuple(map(_move, doc.get("moves", ()))),
        }
    )


def _move(doc: list[Any]) -> Move:
    port, switch_name, switch_port, switch_id, left = doc
    return Move(port, switch_name, switch_port, switch_id, tuple((switch, at) for switch, at in left))


def _wait_doc(wait: Wait | None) -> list[object] | None:
    return (
        [wait.code, wait.reason, to_micros(wait.since), _moment(wait.next_try), _moment(wait.deadline), wait.alarmed]
        if wait
        else None
    )


def _wait(doc: list[Any] | None) -> Wait | None:
    return Wait(doc[0], doc[1], from_micros(doc[2]), _time(doc[3]), _time(doc[4]), *doc[5:]) if doc else None


def _trouble_doc(trouble: Trouble | None) -> list[object] | None:
    if trouble is None:
        return None
    return [trouble.code, trouble.policy.value, trouble.message, to_micros(trouble.since), trouble.commands]


def _trouble(doc: list[Any] | None) -> Trouble | None:
    return Trouble(doc[0], Policy(doc[1]), doc[2], from_micros(doc[3]), tuple(doc[4])) if doc else None


def _facts_doc(facts: HardwareFacts | None) -> Doc | None:
    if facts is None:
        return None
    return {
        "cpu_arch": facts.cpu_arch,
        "cpus": facts.cpus,
        "memory_mb": facts.memory_mb,
        "local_gb": facts.local_gb,
        "manufacturer": facts.manufacturer,
        "model": facts.model,
        "serial_number": facts.serial_number,
        "capabilities": facts.capabilities,
    }


def _facts(doc: Mapping[str, Any] | None) -> HardwareFacts | None:
    if doc is None:
        return None
    return HardwareFacts(**{**doc, "capabilities": tuple((key, value) for key, value in doc["capabilities"])})
