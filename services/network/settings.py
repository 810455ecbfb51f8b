# SPDX-License-Identifier: Apache-2.0
"""Settings of network's own, beside those of services/runtime/settings.py.

BMS_NETWORK_BACKEND                    who configures the switches: simulated (the rack), neutron or contrail; simulated
BMS_NETWORK_NEUTRON_CLOUD              the cloud in clouds.yaml whose Neutron it is; needed with neutron
BMS_NETWORK_NEUTRON_SECONDS            how long one request to Neutron may take, 1 to 60; 10
BMS_NETWORK_NEUTRON_PHYSICAL_NETWORK   where our networks are made, as VLANs that callers may name; without: Neutron
                                       chooses type and number
BMS_NETWORK_NEUTRON_PRIVATE_PROJECTS   ids, by commas, of the projects whose networks may be provisioning, cleaning and
                                       rescue networks; that of our login always may
BMS_NETWORK_NEUTRON_PRIVATE_GROUPS, BMS_NETWORK_NEUTRON_TENANT_GROUPS
                                       ids, by commas, of the security groups of ports while they are there; without:
                                       none on ports that we make, and others keep theirs
BMS_NETWORK_NEUTRON_MODE               who moves server ports: flip (we do; Ironic's network interface is noop) or
                                       observed (Ironic does, by its network interface neutron); flip
BMS_NETWORK_NEUTRON_DHCP_OPTIONS       DHCP options of the ports that we make on private networks, by semicolons:
                                       67=boot.img;tag:ipxe,67=http://...;6:59=tftp://... (6: for IPv6); without: none
BMS_NETWORK_CONTRAIL_URLS              Contrail's API servers by commas, http://host:8082; needed with contrail
BMS_NETWORK_CONTRAIL_CLOUD             the cloud in clouds.yaml whose Keystone gives the token; without: none is shown
BMS_NETWORK_CONTRAIL_PROJECT           Contrail's project, as domain:project, of the site's own networks;
                                       default-domain:default-project
BMS_NETWORK_CONTRAIL_REQUEST_SECONDS   how long one request to Contrail may take, 1 to 60; 10
BMS_NETWORK_CONTRAIL_NATIVE_VLAN       the VLAN of untagged frames on the switches, 2 to 4094, for networks that have
                                       none of their own; 4094
BMS_NETWORK_CONTRAIL_PRIVATE_PROJECTS, BMS_NETWORK_CONTRAIL_PRIVATE_GROUPS, BMS_NETWORK_CONTRAIL_TENANT_GROUPS,
BMS_NETWORK_CONTRAIL_DHCP_OPTIONS      as for Neutron; DHCP options are IPv4's
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.kernel.errors import InvalidField
from services.network.domain.networks import MAX_VLAN, MIN_VLAN
from services.network.ports import DhcpOption
from services.runtime.contrail_http import Access

BACKENDS = ("simulated", "neutron", "contrail")
MODES = ("flip", "observed")
_PREFIX = "BMS_NETWORK_NEUTRON_"
_CONTRAIL = "BMS_NETWORK_CONTRAIL_"
_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = re.compile(r"[!-~]{1,64}")
_OPTION = re.compile(r"(?:([46]):)?([!-<>-~]{1,64})=([ -~]{1,255})")


@dataclass(frozen=True, slots=True)
class NeutronSettings:
    """How Neutron is reached and what is asked of it.

    Attributes:
        cloud: its name in clouds.yaml.
        seconds: for one request.
        physical_network: of networks that we make; empty: Neutron's choice.
        private_projects: whose networks may be of a private class.
        private_groups, tenant_groups: security groups; None leaves them as they are.
        dhcp_options: of ports that we make on private networks.
        observed: whether Ironic moves the ports.
    """

    cloud: str
    seconds: float = 10.0
    physical_network: str = ""
    private_projects: tuple[str, ...] = ()
    private_groups: tuple[str, ...] | None = None
    tenant_groups: tuple[str, ...] | None = None
    dhcp_options: tuple[DhcpOption, ...] = ()
    observed: bool = False


@dataclass(frozen=True, slots=True)
class ContrailSettings:
    """How Contrail is reached and what is asked of it.

    Attributes:
        native_vlan: of untagged frames, where a network has no VLAN of its own.
        private_projects, private_groups, tenant_groups, dhcp_options: see `NeutronSettings`.
    """

    access: Access
    native_vlan: int = MAX_VLAN
    private_projects: tuple[str, ...] = ()
    private_groups: tuple[str, ...] | None = None
    tenant_groups: tuple[str, ...] | None = None
    dhcp_options: tuple[DhcpOption, ...] = ()


def read(environ: Mapping[str, str]) -> NeutronSettings | ContrailSettings | None:
    """The settings in *environ*; None: the simulated rack.

    Raises:
        InvalidField: a variable cannot be understood, or says what nobody would read; its name is the field.
    """
    backend = environ.get("BMS_NETWORK_BACKEND", "").strip() or "simulated"
    if backend not in BACKENDS:
        raise InvalidField(
            "BMS_NETWORK_BACKEND", f"{backend[:40]!r} is not a backend", remedy=f"Give one of {', '.join(BACKENDS)}."
        )
    for name, prefix in (("neutron", _PREFIX), ("contrail", _CONTRAIL)):
        given = sorted(key for key, value in environ.items() if key.startswith(prefix) and value.strip())
        if given and name != backend:
            raise InvalidField(
                given[0],
                f"is for {name.capitalize()}, and the backend is {backend}",
                remedy=f"Set BMS_NETWORK_BACKEND={name}, or take it out.",
            )
    if backend == "simulated":
        return None
    if backend == "contrail":
        return ContrailSettings(
            Access.read(environ, _CONTRAIL),
            _native_vlan(environ),
            _ids(environ, f"{_CONTRAIL}PRIVATE_PROJECTS") or (),
            _ids(environ, f"{_CONTRAIL}PRIVATE_GROUPS"),
            _ids(environ, f"{_CONTRAIL}TENANT_GROUPS"),
            _options(environ, _CONTRAIL),
        )
    cloud = environ.get(f"{_PREFIX}CLOUD", "").strip()
    if not cloud:
        raise InvalidField(f"{_PREFIX}CLOUD", "is missing", remedy="Name a cloud of clouds.yaml.")
    physical = environ.get(f"{_PREFIX}PHYSICAL_NETWORK", "").strip()
    if physical and not _NAME.fullmatch(physical):
        raise InvalidField(
            f"{_PREFIX}PHYSICAL_NETWORK", "is not a name of one word", remedy="Give Neutron's word for it."
        )
    return NeutronSettings(
        cloud,
        _seconds(environ),
        physical,
        _ids(environ, f"{_PREFIX}PRIVATE_PROJECTS") or (),
        _ids(environ, f"{_PREFIX}PRIVATE_GROUPS"),
        _ids(environ, f"{_PREFIX}TENANT_GROUPS"),
        _options(environ, _PREFIX),
        _observed(environ),
    )


def _seconds(environ: Mapping[str, str]) -> float:
    text = environ.get(f"{_PREFIX}SECONDS", "").strip() or "10"
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 60:
        raise InvalidField(f"{_PREFIX}SECONDS", f"{text[:40]!r} is not a number from 1 to 60", remedy="Correct it.")
    return seconds


def _observed(environ: Mapping[str, str]) -> bool:
    mode = environ.get(f"{_PREFIX}MODE", "").strip() or "flip"
    if mode not in MODES:
        raise InvalidField(f"{_PREFIX}MODE", f"{mode[:40]!r} is not a mode", remedy=f"Give one of {', '.join(MODES)}.")
    ours = ("PRIVATE_GROUPS", "TENANT_GROUPS", "DHCP_OPTIONS")
    if mode == "observed" and (idle := [name for name in ours if environ.get(_PREFIX + name, "").strip()]):
        raise InvalidField(
            _PREFIX + idle[0],
            "is for ports that we move, and in mode observed Ironic does",
            remedy="Take it out; Ironic has settings of its own for it.",
        )
    return mode == "observed"


def _native_vlan(environ: Mapping[str, str]) -> int:
    name = f"{_CONTRAIL}NATIVE_VLAN"
    text = environ.get(name, "").strip() or str(MAX_VLAN)
    if not (text.isdecimal() and text.isascii() and MIN_VLAN <= int(text) <= MAX_VLAN):
        described = f"{text[:40]!r} is not a number from {MIN_VLAN} to {MAX_VLAN}"
        raise InvalidField(name, described, remedy="Correct it or leave it out.")
    return int(text)


def _options(environ: Mapping[str, str], prefix: str) -> tuple[DhcpOption, ...]:
    found = []
    for part in environ.get(f"{prefix}DHCP_OPTIONS", "").split(";"):
        if not part.strip():
            continue
        option = _OPTION.fullmatch(part.strip())
        if option is None or (prefix == _CONTRAIL and option[1] == "6"):
            raise InvalidField(
                f"{prefix}DHCP_OPTIONS",
                f"{part.strip()[:40]!r} is not a name, = and a value{' for IPv4' * (prefix == _CONTRAIL)}",
                remedy="Correct it.",
            )
        version, name, value = option.groups()
        found.append(DhcpOption(name, value, int(version or 4)))
    return tuple(found)


def _ids(environ: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    found = tuple(part.strip() for part in environ.get(name, "").split(",") if part.strip())
    for one in found:
        if not _ID.fullmatch(one):
            raise InvalidField(name, f"{one[:40]!r} is not an id", remedy="Give ids of OpenStack, by commas.")
    return found or None
