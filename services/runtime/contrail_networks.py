# SPDX-License-Identifier: Apache-2.0
"""What a virtual network of Contrail's says of itself: its VLAN on the switches, and who else reaches it."""

from __future__ import annotations

from services.runtime.contrail import Resource, pairs_of

VLAN = "bms-vlan"
"""The annotation that says which VLAN a network has on the switches."""
NATIVE_VLAN = 4094
"""The VLAN of untagged frames on the switches, for networks that were given none."""
BACK_REFS = ("logical_router_back_refs", "floating_ip_pools")
LEADS_IN = (
    "network_policy_refs", "route_target_list", "import_route_target_list", "export_route_target_list", "bgpvpn_refs",
    *BACK_REFS,
)  # fmt: skip
"""What of a network lets others reach it."""
_LEAST, _MOST = 2, 4094


def vlan_of(network: Resource) -> int:
    """The VLAN that a network has on the switches; 0 for none of its own."""
    text = pairs_of(network, "annotations").get(VLAN, "")
    return int(text) if text.isdecimal() and _LEAST <= int(text) <= _MOST else 0


def open_to_others(network: Resource) -> str:
    """Why tenants may see, join or reach *network*; empty if they cannot."""
    perms = network.get("perms2") or {}
    if network.get("is_shared") or perms.get("global_access") or perms.get("share"):
        return "is shared with others"
    leads = [field for field in LEADS_IN if _says_something(network.get(field))]
    return f"can be reached from other networks ({', '.join(leads)})" if leads else ""


def _says_something(value: object) -> bool:
    """Whether a property is more than what Contrail keeps of a list that was emptied: ``{"route_target": []}``."""
    return any(_says_something(each) for each in value.values()) if isinstance(value, dict) else bool(value)
