# SPDX-License-Identifier: Apache-2.0
"""What ports are asked to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.kernel.errors import InvalidField
from services.network.domain.networks import PortClass, check_vlan

MAX_TAGS = 64


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """A network on a port; ``vlan_tag`` is the tag on the wire, 0 for untagged."""

    network: str
    vlan_tag: int = 0


class Purpose(StrEnum):
    """Whom a wish is meant for where Ironic moves ports too: a STEP is its own to take, the others are always ours."""

    STEP = "step"
    CUT = "cut"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a port is asked to be; ``tags`` are sorted. QUARANTINE has none."""

    port_class: PortClass
    tags: tuple[Tag, ...] = ()
    purpose: Purpose = Purpose.STEP

    def same(self, other: Wish) -> bool:
        """Whether a port that is as *other* says is as this says."""
        return (self.port_class, self.tags) == (other.port_class, other.tags)

    def after(self, before: Wish) -> Wish:
        """This wish where *before* stands: what was asked of the fabric once is not taken back by a mere step."""
        return before if self.same(before) and self.purpose is Purpose.STEP else self


QUARANTINE = Wish(PortClass.QUARANTINE)
FOUND = Wish(PortClass.UNKNOWN)
"""The wish of a port that is registered as it was found: nobody asked it to be anything yet."""


def check_wish(wish: Wish, where: str) -> None:
    """Refuses a wish that no port can be; *where* is its path in the request.

    Raises:
        InvalidField: too many or too few networks for the class, two untagged ones, a tag or network twice, or a
            purpose of another class.
    """
    tags = wish.tags
    most = {PortClass.QUARANTINE: 0, PortClass.TENANT: MAX_TAGS}.get(wish.port_class, 1)
    least = 0 if wish.port_class is PortClass.QUARANTINE else 1
    if not least <= len(tags) <= most:
        wanted = "no network" if not most else "one network" if most == 1 else f"1 to {most} networks"
        raise InvalidField(
            field=f"{where}.networks", description=f"has {len(tags)}, and a {wish.port_class} port takes {wanted}"
        )
    meant = {Purpose.CUT: PortClass.QUARANTINE, Purpose.RESTORE: PortClass.TENANT}.get(wish.purpose, wish.port_class)
    if wish.port_class is not meant:
        raise InvalidField(
            field=f"{where}.purpose",
            description=f"is {wish.purpose}, and the port shall be {wish.port_class}",
            remedy="Cut into QUARANTINE, restore to TENANT, or leave it out.",
        )
    for tag in tags:
        if tag.vlan_tag:
            check_vlan(tag.vlan_tag, f"{where}.networks")
    for what, values in (("tag", [tag.vlan_tag for tag in tags]), ("network", [tag.network for tag in tags])):
        if twice := next(_repeated(values), None):
            said = "two untagged networks" if twice == "0" and what == "tag" else f"the {what} {twice} twice"
            raise InvalidField(
                field=f"{where}.networks", description=f"has {said}", remedy="Give each network a tag of its own."
            )


def _repeated(values: Sequence[object]) -> Iterator[str]:
    return (str(value) for at, value in enumerate(values) if value in values[:at])
