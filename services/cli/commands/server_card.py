# SPDX-License-Identifier: Apache-2.0
"""A server on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.cli.fleet import Machine
from services.cli.screen import age, pairs, seconds, short, when, word

if TYPE_CHECKING:
    from bms.inventory.v1.server_pb2 import Server
    from bms.lifecycle.v1.server_status_pb2 import ServerStatus


def server_card(machine: Machine) -> list[tuple[str, str]]:
    """The fields of *machine* for people, in order; those without a value are empty."""
    record, status = machine.server, machine.status
    return [
        ("Name", machine.label),
        ("UUID", short(record.name)),
        ("State", machine.state),
        *(_status_fields(machine, status) if status else []),
        ("Available", "yes" if record.pool.available else f"no: {record.pool.unavailable_reason or 'never reported'}"),
        ("Reserved by", record.pool.reserved_by if not (status and status.instance) else ""),
        *_record_fields(record),
        ("Disks", "\n".join(_disks(record))),
        ("Ports", "\n".join(" ".join(filter(None, row)) for row in port_rows(machine))),
        ("Registered", when(record.create_time)),
        ("Etag", record.etag),
    ]


def _status_fields(machine: Machine, status: ServerStatus) -> list[tuple[str, str]]:
    limit = seconds(status.state_limit)
    read = f" (read {age(status.power_time)} ago)" if status.power_time.seconds else ""
    wait = status.wait
    return [
        ("For", age(status.state_since) + (f" of at most {limit}" if limit else "")),
        ("Power", f"{machine.power}{read}"),
        ("Instance", status.instance),
        ("Operation", status.operation),
        ("Waits for", f"{wait.code}: {wait.reason}, since {age(wait.since)}" if wait.code else ""),
        ("Fault", f"{status.fault}: {status.fault_message}" if status.fault else ""),
        ("Maintenance", (status.maintenance_reason or "yes") if status.maintenance else ""),
        ("Isolated", "yes" if status.isolated else "no"),
        ("Retired", (status.retired_reason or "yes") if status.retired else ""),
        ("Tainted", f"since {when(status.tainted_since)}, by {status.tainted_by}" if status.tainted_by else ""),
        ("Last clean", f"{when(status.clean_time)}, {status.disk_count} disks" if status.clean_time.seconds else ""),
    ]


def _record_fields(record: Server) -> list[tuple[str, str]]:
    place, bmc, facts = record.location, record.bmc, record.properties
    login = "" if bmc.has_credentials else ", no login stored"
    login = ", kept by the controller" if bmc.kept_by_controller else login
    return [
        ("Kind", _kind(record)),
        ("Class", record.resource_class),
        ("Place", " ".join(filter(None, (place.site, place.rack, str(place.unit or ""))))),
        ("Labels", pairs(record.labels)),
        ("Description", record.description),
        ("BMC", f"{bmc.driver} {bmc.address}{f':{bmc.port}' if bmc.port else ''}{login}"),
        ("Hardware", " ".join(filter(None, (facts.manufacturer, facts.model, facts.serial_number)))),
        ("Capacity", _capacity(record)),
        ("Capabilities", pairs(facts.capabilities)),
        ("Root device", pairs(record.root_device_hints)),
    ]


def _kind(record: Server) -> str:
    from bms.inventory.v1.server_pb2 import NodeType

    kind = word(NodeType, record.node_type, "NODE_TYPE_") or "baremetal"
    return f"{kind}, unmanaged" if record.unmanaged else kind


def _capacity(record: Server) -> str:
    facts = record.properties
    amounts = ((facts.cpus, "cores"), (facts.memory_mb, "MiB"), (facts.local_gb, "GiB root disk"))
    known = [f"{amount} {unit}" for amount, unit in amounts if amount]
    return ", ".join(filter(None, [facts.cpu_arch, *known]))


def _disks(record: Server) -> list[str]:
    return [f"{disk.serial}  {disk.size_bytes / 1e9:.0f} GB  {disk.media}  {disk.model}" for disk in record.disks]


def port_rows(machine: Machine) -> list[tuple[str, ...]]:
    """The ports of *machine*, as rows: MAC, label, switch port, pxe, group, class last read back, networks seen."""
    states = {state.port: state for state in machine.status.ports} if machine.status else {}
    rows: list[tuple[str, ...]] = []
    for port in machine.server.ports:
        state = states.get(port.name)
        change = f" -> {state.requested_class}" if state and state.requested_class not in ("", state.port_class) else ""
        rows.append(
            (
                port.mac_address,
                port.label or "-",
                f"{port.switch_name}/{port.switch_port}" if port.switch_name else "-",
                "pxe" if port.pxe_enabled else "-",
                port.port_group or "-",
                f"{state.port_class}{change}" if state else "-",
                ", ".join(state.networks) if state else "",
            )
        )
    return rows
