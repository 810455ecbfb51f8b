# SPDX-License-Identifier: Apache-2.0
"""What telemetry knows of a server, put together from events and from inventory's record of it.

Pure. Two logs tell of one server and may be read at different speeds, so each half is kept apart: what lifecycle's
events say (state, power, ports, instance) and what inventory says (what it is made of, whether it still exists).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import orjson

from bms.event.v1 import event_pb2
from bms.inventory.v1 import server_pb2
from telemetry.events import Followed
from telemetry.standing import Standing, judge

FOLD: Final = 3
"""Rises when events tell more than they did: what an older release put together is put together anew."""

_GUESTS: Final = frozenset({"guest.observed", "guest.gone"})
OVERDUE: Final = "server.overdue"
DELETED: Final = "server.deleted"
"""Inventory's last word on a server."""
CREATED: Final = "server.created"
"""Inventory's first."""
CLOSED: Final = frozenset({"server.closed", DELETED})
"""Lifecycle's last."""

IRONIC_STATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "enrolled": "enroll",
        "verifying": "verifying",
        "inspecting": "inspecting",
        "adopting": "adopting",
        "unexpected": "enroll",
        "cleaning": "cleaning",
        "available": "available",
        "reserved": "available",
        "provisioning": "deploying",
        "switching": "deploying",
        "active": "active",
        "rescuing": "rescuing",
        "rescued": "rescue",
        "rebuilding": "deploying",
        "releasing": "deleting",
        "detaching": "deleting",
    }
)
"""Our states in Ironic's words, as readers of the UVE expect them. Quarantine has several words: see `FAULTS`."""

FAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cleaning": "clean failed",
        "reserved": "deploy failed",
        "provisioning": "deploy failed",
        "switching": "deploy failed",
        "rebuilding": "deploy failed",
        "inspecting": "inspect failed",
        "adopting": "adopt failed",
        "rescuing": "rescue failed",
    }
)
"""The word for a server in quarantine by the state it failed in; "error" for all others."""

_POWER: Final[Mapping[str, str]] = MappingProxyType({"on": "power on", "off": "power off"})


@dataclass(frozen=True, slots=True)
class Port:
    """A port as inventory has it."""

    name: str
    mac_address: str = ""
    pxe_enabled: bool = False
    switch_name: str = ""
    switch_port: str = ""
    switch_id: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What inventory says of a server; nothing of its credentials."""

    display_name: str = ""
    driver: str = ""
    bmc_address: str = ""
    cpu_arch: str = ""
    cpus: int = 0
    memory_mb: int = 0
    local_gb: int = 0
    capabilities: str = ""
    create_time: int = 0
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A port as the fabric last showed it."""

    port_class: str
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Overdue:
    """That something lasts longer than it may: since when that is said (microseconds), in which step, and why."""

    time: int
    step: str
    text: str


@dataclass(frozen=True, slots=True)
class Known:
    """One server; times are microseconds, 0 and "" mean: never heard of.

    Attributes:
        facts: inventory's half, None until it was asked.
        removed: inventory has deleted the server.
        closed: lifecycle has closed its stream, and inventory has not registered it anew since.
        state: lifecycle's word.
        provision_state: Ironic's word for it.
        state_time: when it entered the state.
        power: Ironic's word; "" if unknown.
        instance: resource name of the instance that holds it.
        guest: resource name of what others made in Nova on it.
        image, checksum: what was verified on its disk for that instance.
        ports: by resource name.
        event_type, event_time: the last event that told something.
        standing: what its isolation is worth.
        overdue: that the present step lasts longer than it may.
        created: when inventory registered it, the last time.
        fold: which release's reading of the events this is; see `FOLD`.
    """

    facts: Facts | None = None
    removed: bool = False
    closed: bool = False
    state: str = ""
    provision_state: str = ""
    state_time: int = 0
    power: str = ""
    maintenance: bool = False
    instance: str = ""
    guest: str = ""
    image: str = ""
    checksum: str = ""
    ports: Mapping[str, Seen] = field(default_factory=dict)
    event_type: str = ""
    event_time: int = 0
    standing: Standing = field(default_factory=Standing)
    overdue: Overdue | None = None
    created: int = 0
    fold: int = field(default=FOLD, compare=False)

    @property
    def holder(self) -> str:
        """Resource name of the instance on it, whoever made that."""
        return self.instance or self.guest

    @property
    def present(self) -> bool:
        """Whether analytics should show the server."""
        return bool(self.event_type) and not self.removed and not self.closed

    def to_json(self) -> str:
        """As text that `from_json` reads."""
        return orjson.dumps(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Known:
        """Reads what `to_json` wrote; what an older version did not write has its default."""
        values: dict[str, Any] = orjson.loads(text)
        if values.get("facts") is not None:
            facts = values["facts"]
            values["facts"] = Facts(**{**facts, "ports": tuple(Port(**port) for port in facts["ports"])})
        seen = values.get("ports", {})
        values["ports"] = {name: Seen(port["port_class"], tuple(port["networks"])) for name, port in seen.items()}
        values["standing"] = Standing.of_json(values["standing"]) if "standing" in values else Standing()
        if values.get("overdue") is not None:
            values["overdue"] = Overdue(**values["overdue"])
        return cls(**{"fold": 0, **values})


def learn(known: Known, event: Followed) -> Known:
    """What is known after *event*, which is of the server's own stream in lifecycle's or inventory's log."""
    if event.service == "inventory":
        return _from_inventory(known, event)
    if event.service == "lifecycle":
        return _from_lifecycle(known, event)
    return known


def facts_of(server: server_pb2.Server) -> Facts:
    """Inventory's half, of its answer."""
    properties = server.properties
    return Facts(
        display_name=server.display_name,
        driver=server.bmc.driver or "redfish",
        bmc_address=server.bmc.address,
        cpu_arch=properties.cpu_arch,
        cpus=properties.cpus,
        memory_mb=properties.memory_mb,
        local_gb=properties.local_gb,
        capabilities=",".join(f"{key}:{value}" for key, value in sorted(properties.capabilities.items())),
        create_time=server.create_time.ToMicroseconds() if server.HasField("create_time") else 0,
        ports=tuple(
            Port(
                name=port.name,
                mac_address=port.mac_address,
                pxe_enabled=port.pxe_enabled,
                switch_name=port.switch_name,
                switch_port=port.switch_port,
                switch_id=port.switch_id,
            )
            for port in server.ports
        ),
    )


def _from_inventory(known: Known, event: Followed) -> Known:
    kind = event.header.type
    removed = kind == DELETED
    # A server registered again under its old UUID begins anew, whatever lifecycle closed before.
    closed = known.closed and kind != CREATED
    created = event.time if kind == CREATED else known.created
    known = replace(known, removed=removed, closed=closed, created=created)
    return known if known.event_time > event.time else replace(known, event_type=kind, event_time=event.time)


def _from_lifecycle(known: Known, event: Followed) -> Known:
    header, body = event.header, event.body
    standing = judge(known.standing, event)
    if header.type in CLOSED:
        # Its own half is over; what inventory said stays, and what lies on its disks. Inventory's log may have been
        # read further: a server that it registered since is there.
        over = event.time >= known.created
        return Known(
            *(known.facts, known.removed, over),
            event_type=header.type if over else known.event_type,
            event_time=event.time if over else known.event_time,
            standing=standing,
            created=known.created,
            fold=known.fold,
        )
    known = replace(known, closed=False, event_type=header.type, event_time=event.time, standing=standing)
    known = _state(_overdue(known, event), event)
    if header.type.endswith(".maintenance_set"):
        known = replace(known, maintenance=True)
    elif header.type.endswith(".maintenance_cleared"):
        known = replace(known, maintenance=False)
    instance = "" if header.type == "instance.ended" else body.instance
    if instance != known.instance:
        known = replace(known, instance=instance, image="", checksum="")
    if header.type in _GUESTS:
        known = replace(known, guest=body.facts["guest"] if header.type == "guest.observed" else "")
    return _evidence(known, body.evidence)


def _overdue(known: Known, event: Followed) -> Known:
    header, body = event.header, event.body
    if header.type == OVERDUE:
        return replace(known, overdue=Overdue(event.time, body.cause.step, body.message or body.reason))
    if known.overdue is None:
        return known
    # It is over when the server goes on, to another step or another state.
    another = bool(header.state_after) and header.state_after != (header.state_before or known.state)
    return replace(known, overdue=None) if another or body.cause.step != known.overdue.step else known


def _state(known: Known, event: Followed) -> Known:
    state = event.header.state_after
    if not state or state == known.state:
        return known
    if state == "quarantined":
        # The words depend on where it failed; the event says so even if the one before was never read.
        word = FAULTS.get(event.header.state_before or known.state, "error")
    else:
        word = IRONIC_STATES.get(state, state)
    return replace(known, state=state, provision_state=word, state_time=event.time)


def _evidence(known: Known, evidence: event_pb2.Evidence) -> Known:
    if evidence.HasField("power"):
        known = replace(known, power=_POWER.get(evidence.power.power, ""))
    if evidence.HasField("image"):
        known = replace(known, image=evidence.image.image, checksum=evidence.image.actual_checksum)
    # Ports that were only asked for have no time of reading.
    seen = {
        port.port: Seen(port.port_class, tuple(port.networks)) for port in evidence.ports if port.HasField("read_time")
    }
    return replace(known, ports={**known.ports, **seen}) if seen else known
