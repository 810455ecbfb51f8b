# SPDX-License-Identifier: Apache-2.0
"""Ports of switches: what to configure on them for a wish, and what follows from what is configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.network.domain.networks import Network, PortClass
from services.network.domain.wishes import Tag, Wish


@dataclass(frozen=True, slots=True, order=True)
class SwitchPort:
    """One port of one switch: Contrail's physical-router and physical-interface."""

    switch: str
    port: str


@dataclass(frozen=True, slots=True)
class PortConfig:
    """What is configured on a switch port. Networks are named by what the fabric calls them, `Segment.fabric_id`.

    Attributes:
        untagged: the network of untagged frames; empty for none.
        tagged: pairs of (tag on the wire, network). Tag 0: a second untagged one, which no port should have.

    A port with neither carries no traffic: that is quarantine.
    """

    untagged: str = ""
    tagged: frozenset[tuple[int, str]] = frozenset()

    @property
    def networks(self) -> frozenset[str]:
        """Every network of the fabric that the port is in."""
        return frozenset({self.untagged} - {""} | {network for _, network in self.tagged})


@dataclass(frozen=True, slots=True)
class PortSetup:
    """What else a controller has set on what is at a switch port; nothing of it says who can reach whom.

    Attributes:
        security_groups: their ids, sorted.
        dhcp_options: ``4:67=boot.img``, of the IP version before the colon; sorted.
    """

    security_groups: tuple[str, ...] = ()
    dhcp_options: tuple[str, ...] = ()


NO_SETUP = PortSetup()
"""That of switch ports without a controller, and of quarantine."""


def config_of(wish: Wish, known: Mapping[str, str]) -> PortConfig:
    """What to configure for *wish*; *known* is what the fabric calls its networks."""
    untagged = next((known[tag.network] for tag in wish.tags if not tag.vlan_tag), "")
    return PortConfig(untagged, frozenset((tag.vlan_tag, known[tag.network]) for tag in wish.tags if tag.vlan_tag))


def class_of(config: PortConfig, networks: Mapping[str, Network]) -> tuple[PortClass, tuple[Tag, ...], str]:
    """The class that follows from what is configured, the networks seen, and what is strange about it.

    A network of the fabric that is none of ours, two untagged ones, networks of two classes and networks of two
    projects make it UNKNOWN: such a port is nothing that anybody asked for.

    Args:
        networks: ours, by what the fabric calls them.
    """
    seen = sorted(({(0, config.untagged)} if config.untagged else set()) | config.tagged)
    tags = tuple(sorted(Tag(networks[known].name, tag) for tag, known in seen if known in networks))
    if breach := breach_of(config, networks):
        return PortClass.UNKNOWN, tags, breach
    if sum(not tag for tag, _ in seen) > 1:
        return PortClass.UNKNOWN, tags, "several untagged networks"
    if not seen:
        return PortClass.QUARANTINE, (), ""
    return networks[seen[0][1]].network_class, tags, ""


def breach_of(config: PortConfig, networks: Mapping[str, Network]) -> str:
    """Why what is configured puts isolation at stake, whoever has the server; empty if it does not.

    A network of the fabric that is none of ours, networks of two classes, and networks of two projects do.

    Args:
        networks: ours, by what the fabric calls them.
    """
    foreign = sorted(config.networks - set(networks))
    if foreign:
        which = ", ".join(f"VLAN {one}" if one.isdigit() else one for one in foreign)
        return f"{which} belongs to no network"
    classes = {networks[known].network_class for known in config.networks}
    if len(classes) > 1:
        return f"networks of several classes: {', '.join(sorted(classes))}"
    if len({networks[known].project for known in config.networks}) > 1:
        return "networks of several projects"
    return ""
