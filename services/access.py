# SPDX-License-Identifier: Apache-2.0
"""Who may call what: every method of every service, in one table.

A method that is not here is refused, so that nobody can forget its rule. See `services.runtime.auth.Rule` for the
words.
"""

from __future__ import annotations

from services.kernel.calls import Role
from services.runtime.auth import Rule

ANYONE = Rule(anyone=True)
SIGNED_IN = Rule(signed_in=True)
ADMIN = Rule(roles=frozenset({Role.ADMIN}))
SERVICE = Rule(roles=frozenset({Role.SERVICE}))
ADMIN_OR_SERVICE = Rule(roles=frozenset({Role.ADMIN, Role.SERVICE}))
"""For the site's administrators and for services calling each other."""
SITE_READERS = Rule(roles=frozenset({Role.ADMIN, Role.SERVICE, Role.READER}))
"""Administrators, services and auditors: what is the site's own. What every tenant may see too is SIGNED_IN."""


def members(project_field: str) -> Rule:
    """Whoever may change what belongs to the project that *project_field* of the request names."""
    return Rule(roles=frozenset({Role.ADMIN, Role.MEMBER}), project_field=project_field)


def readers(project_field: str) -> Rule:
    """Whoever may read what belongs to the project that *project_field* of the request names."""
    return Rule(roles=frozenset({Role.ADMIN, Role.MEMBER, Role.READER}), project_field=project_field)


COMMON: dict[str, Rule] = {
    "/grpc.health.v1.Health/Check": ANYONE,
    "/grpc.health.v1.Health/List": ANYONE,
    "/grpc.health.v1.Health/Watch": ANYONE,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ANYONE,
    "/google.longrunning.Operations/GetOperation": SIGNED_IN,
    "/google.longrunning.Operations/ListOperations": SIGNED_IN,
    "/google.longrunning.Operations/WaitOperation": SIGNED_IN,
    "/google.longrunning.Operations/CancelOperation": SIGNED_IN,
    "/google.longrunning.Operations/DeleteOperation": SIGNED_IN,
    # Nothing in these names a project or a person.
    "/bms.event.v1.EventLogService/ListCheckpoints": SIGNED_IN,
    "/bms.event.v1.EventLogService/ListSigningKeys": SIGNED_IN,
    "/bms.event.v1.EventLogService/GetStreamProof": SIGNED_IN,
}

INVENTORY: dict[str, Rule] = {
    "/bms.inventory.v1.InventoryService/CreateServer": ADMIN,
    "/bms.inventory.v1.InventoryService/GetServer": SITE_READERS,
    "/bms.inventory.v1.InventoryService/ListServers": SITE_READERS,
    "/bms.inventory.v1.InventoryService/UpdateServer": ADMIN,
    "/bms.inventory.v1.InventoryService/DeleteServer": ADMIN,
    "/bms.inventory.v1.InventoryService/ImportServers": ADMIN,
    "/bms.inventory.v1.InventoryService/CreateFlavor": ADMIN,
    "/bms.inventory.v1.InventoryService/GetFlavor": SIGNED_IN,
    "/bms.inventory.v1.InventoryService/ListFlavors": SIGNED_IN,
    "/bms.inventory.v1.InventoryService/UpdateFlavor": ADMIN,
    "/bms.inventory.v1.InventoryService/DeleteFlavor": ADMIN,
    "/bms.inventory.v1.InventoryService/CreateImage": SIGNED_IN,
    "/bms.inventory.v1.InventoryService/GetImage": SIGNED_IN,
    "/bms.inventory.v1.InventoryService/ListImages": SIGNED_IN,
    "/bms.inventory.v1.InventoryService/UpdateImage": SIGNED_IN,
    "/bms.inventory.v1.InventoryService/DeleteImage": SIGNED_IN,
    "/bms.inventory.v1.InventoryService/ListPools": SIGNED_IN,
    "/bms.inventory.v1.InventoryService/ExplainPlacement": SITE_READERS,
    "/bms.inventory.v1.InventoryService/ReserveServers": SERVICE,
    "/bms.inventory.v1.InventoryService/ReleaseReservation": SERVICE,
    "/bms.inventory.v1.InventoryService/ReportServer": SERVICE,
    "/bms.inventory.v1.InventoryService/RelinkServer": SERVICE,
    "/bms.inventory.v1.InventoryService/GetServerCredentials": SERVICE,
    "/bms.inventory.v1.InventoryService/ListEvents": SITE_READERS,
}

LIFECYCLE: dict[str, Rule] = {
    "/bms.lifecycle.v1.LifecycleService/GetServerStatus": SITE_READERS,
    "/bms.lifecycle.v1.LifecycleService/ListServerStatuses": SITE_READERS,
    "/bms.lifecycle.v1.LifecycleService/SummarizeFleet": SITE_READERS,
    "/bms.lifecycle.v1.LifecycleService/DiagnoseServer": SITE_READERS,
    "/bms.lifecycle.v1.LifecycleService/ProvideServer": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/QuarantineServer": ADMIN_OR_SERVICE,
    "/bms.lifecycle.v1.LifecycleService/RecoverServer": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/CleanServer": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/SetServerPower": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/MoveServer": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/ConfirmServerMove": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/AdoptServer": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/CreateForcedAction": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/GetForcedAction": SITE_READERS,
    "/bms.lifecycle.v1.LifecycleService/ListForcedActions": SITE_READERS,
    "/bms.lifecycle.v1.LifecycleService/ApproveForcedAction": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/DeleteForcedAction": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/SetMaintenance": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/ClearMaintenance": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/RetireServer": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/UnretireServer": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/GetBrake": SITE_READERS,
    "/bms.lifecycle.v1.LifecycleService/ReleaseBrake": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/CreateInstance": members("parent"),
    "/bms.lifecycle.v1.LifecycleService/GetInstance": readers("name"),
    "/bms.lifecycle.v1.LifecycleService/ListInstances": readers("parent"),
    "/bms.lifecycle.v1.LifecycleService/DeleteInstance": members("name"),
    "/bms.lifecycle.v1.LifecycleService/StartInstance": members("name"),
    "/bms.lifecycle.v1.LifecycleService/StopInstance": members("name"),
    "/bms.lifecycle.v1.LifecycleService/RebootInstance": members("name"),
    "/bms.lifecycle.v1.LifecycleService/RebuildInstance": members("name"),
    "/bms.lifecycle.v1.LifecycleService/RescueInstance": members("name"),
    "/bms.lifecycle.v1.LifecycleService/UnrescueInstance": members("name"),
    "/bms.lifecycle.v1.LifecycleService/AttachNetwork": members("name"),
    "/bms.lifecycle.v1.LifecycleService/DetachNetwork": members("name"),
    "/bms.lifecycle.v1.LifecycleService/ProtectInstance": members("name"),
    "/bms.lifecycle.v1.LifecycleService/UnprotectInstance": members("name"),
    "/bms.lifecycle.v1.LifecycleService/GetServerConsole": ADMIN,
    "/bms.lifecycle.v1.LifecycleService/GetInstanceConsole": members("name"),
    "/bms.lifecycle.v1.LifecycleService/ListEvents": SIGNED_IN,
    "/bms.lifecycle.v1.AuditService/AuditIsolation": SITE_READERS,
    "/bms.lifecycle.v1.AuditService/AuditLeaks": SITE_READERS,
    "/bms.lifecycle.v1.AuditService/RepairLeak": ADMIN,
}

IPAM: dict[str, Rule] = {
    "/bms.ipam.v1.IpamService/CreatePrefix": members("parent"),
    # Shared prefixes are everybody's to see; ipam itself hides the others of other projects.
    "/bms.ipam.v1.IpamService/GetPrefix": SIGNED_IN,
    "/bms.ipam.v1.IpamService/ListPrefixes": readers("parent"),
    "/bms.ipam.v1.IpamService/UpdatePrefix": members("prefix.name"),
    "/bms.ipam.v1.IpamService/DeletePrefix": members("name"),
    "/bms.ipam.v1.IpamService/LeaseAddress": members("parent"),
    "/bms.ipam.v1.IpamService/LeaseAddresses": members("parent"),
    "/bms.ipam.v1.IpamService/ReleaseLease": members("name"),
    "/bms.ipam.v1.IpamService/GetLease": readers("name"),
    "/bms.ipam.v1.IpamService/ListLeases": readers("parent"),
    "/bms.ipam.v1.IpamService/ListLeftovers": SITE_READERS,
    "/bms.ipam.v1.IpamService/GetLeftover": SITE_READERS,
    "/bms.ipam.v1.IpamService/RemoveLeftover": ADMIN_OR_SERVICE,
    "/bms.ipam.v1.IpamService/ListEvents": SIGNED_IN,
}

NETWORK: dict[str, Rule] = {
    "/bms.network.v1.NetworkService/CreateNetwork": members("parent"),
    "/bms.network.v1.NetworkService/GetNetwork": readers("name"),
    "/bms.network.v1.NetworkService/ListNetworks": readers("parent"),
    "/bms.network.v1.NetworkService/DeleteNetwork": members("name"),
    "/bms.network.v1.NetworkService/RegisterServerPorts": SERVICE,
    "/bms.network.v1.NetworkService/AttachPorts": SERVICE,
    "/bms.network.v1.NetworkService/ReadServerPorts": ADMIN_OR_SERVICE,
    "/bms.network.v1.NetworkService/ReadSwitchPorts": SERVICE,
    "/bms.network.v1.NetworkService/BatchReadServerPorts": ADMIN_OR_SERVICE,
    "/bms.network.v1.NetworkService/ListPortAttachments": SITE_READERS,
    "/bms.network.v1.NetworkService/ListLeftovers": SITE_READERS,
    "/bms.network.v1.NetworkService/GetLeftover": SITE_READERS,
    "/bms.network.v1.NetworkService/RemoveLeftover": ADMIN_OR_SERVICE,
    "/bms.network.v1.NetworkService/ListEvents": SITE_READERS,
}

TELEMETRY: dict[str, Rule] = {
    "/bms.telemetry.v1.TelemetryService/WatchEvents": SIGNED_IN,
    "/bms.telemetry.v1.TelemetryService/QueryEvents": SIGNED_IN,
    "/bms.telemetry.v1.TelemetryService/GetUve": SITE_READERS,
    "/bms.telemetry.v1.TelemetryService/ListUves": SITE_READERS,
    "/bms.telemetry.v1.TelemetryService/WatchUves": SITE_READERS,
    "/bms.telemetry.v1.TelemetryService/ListSandeshMessages": SITE_READERS,
    "/bms.telemetry.v1.TelemetryService/GetPipelineStatus": SITE_READERS,
}

RULES: dict[str, Rule] = {**COMMON, **INVENTORY, **LIFECYCLE, **IPAM, **NETWORK, **TELEMETRY}
