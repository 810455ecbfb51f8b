# SPDX-License-Identifier: Apache-2.0
"""What was seen of a Contrail, and of our networks and switch ports in it, before anybody judges it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.cli.doctor.facts import Endpoint, Seen

PRIVATE = ("provisioning", "cleaning", "rescue")
"""The classes of networks that are the site's alone."""
_UNSEEN: Seen[Any] = Seen()
_NOBODY = Endpoint("", "no API server is named that could be asked", "unasked")


@dataclass(frozen=True, slots=True)
class ApiServer:
    """One API server.

    Attributes:
        mode: what it says of who may do what (``aaa_mode``).
        admin: whether our login has its cloud admin role.
        site: the uuid of its global configuration: which Contrail it belongs to.
    """

    endpoint: Endpoint
    mode: Seen[str] = _UNSEEN
    admin: Seen[bool] = _UNSEEN
    site: Seen[str] = _UNSEEN

    @property
    def open(self) -> bool:
        """Whether it asks nobody who he is."""
        return self.mode.value == "no-auth"

    @property
    def shows_all(self) -> bool:
        """Whether its lists leave nothing out for our login."""
        return self.open or bool(self.admin.value)


@dataclass(frozen=True, slots=True)
class Project:
    """A project of Contrail's that a setting names, or its default; *there*: whether Contrail has it."""

    setting: str
    name: str
    there: bool = True


@dataclass(frozen=True, slots=True)
class OurNetwork:
    """A network of ours, and what Contrail has under it.

    Attributes:
        port_class: provisioning, cleaning, rescue or tenant.
        uuid: of the virtual network; "" if there is none.
        project: the uuid of its project.
        vlan: of its own on the switches; 0 for none.
        open: why others reach it; "" if they cannot.
        subnets: their number.
        dhcp: in how many of them Contrail answers DHCP.
        macs: the MAC addresses for which ipam holds an address there, lower case.
    """

    name: str
    port_class: str
    uuid: str = ""
    project: str = ""
    vlan: int = 0
    open: str = ""
    subnets: int = 1
    dhcp: int = 1
    macs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plug:
    """A port of a registered server, and the switch port that inventory says it is plugged into.

    Attributes:
        server: its resource name.
        shown: how people call it.
        boots: whether the server boots by it.
        router: whether Contrail has the switch, as a physical router.
        there: whether it has the port, as a physical interface.
        fabric: the name of the switch's; "" if it is in none.
    """

    server: str
    shown: str
    mac: str
    switch: str
    port: str
    boots: bool = True
    router: bool = True
    there: bool = True
    fabric: str = ""


@dataclass(frozen=True, slots=True)
class Contrail:
    """A Contrail, and what of ours is in it.

    Attributes:
        settings: the services whose settings in this environment name it: ``ipam``, ``network``.
        tokenless: variables that would have to name a cloud and do not.
        faults: what cannot be understood of the settings: variable and why.
        enterprise: names of the fabrics of enterprise style; the others' are in *fabrics* alone.
        limits: how many of each thing the login's project may have, -1 for as many as it likes; by Contrail's words.
        trusted: uuids of projects whose networks may be private; empty if the settings are not in this environment.
        native_vlan: of untagged frames, where a network has none of its own.
    """

    servers: tuple[ApiServer, ...]
    settings: tuple[str, ...] = ()
    tokenless: tuple[str, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()
    projects: Seen[tuple[Project, ...]] = _UNSEEN
    fabrics: Seen[frozenset[str]] = _UNSEEN
    enterprise: frozenset[str] = frozenset()
    networks: Seen[tuple[OurNetwork, ...]] = _UNSEEN
    plugs: Seen[tuple[Plug, ...]] = _UNSEEN
    limits: Seen[Mapping[str, int]] = _UNSEEN
    trusted: frozenset[str] = frozenset()
    native_vlan: int = 4094

    @property
    def endpoint(self) -> Endpoint:
        """Of the first that answers; of the first, if none does."""
        every = [one.endpoint for one in self.servers]
        return next((one for one in every if one.answers), every[0] if every else _NOBODY)
