# SPDX-License-Identifier: Apache-2.0
"""A flavor in Nova's words and back. Pure; docs/decisions/0041-mirrored-catalogue.md has the table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.inventory.domain import flavor as flavors
from services.inventory.domain.checks import Checks
from services.inventory.domain.flavor import FlavorSpec
from services.inventory.domain.mirror import MIRRORED, MirrorState, Standing, Unfit

_KEY = re.compile(r"[A-Za-z0-9_.: -]{1,255}")
_TRAIT = re.compile(r"[A-Z][A-Z0-9_]*")
_OPERATOR = re.compile(r"(<|>|=|!|s[<>=!]|<in>|<or>|<all-in>)")
_OURS = ("resources:", "trait:", "capabilities:", "bms:")
_CUSTOM = "resources:CUSTOM_"
_ZEROED = {"resources:VCPU": "0", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0"}
_WORDS = ("resource_class", "manufacturer", "cpu_arch")
_NUMBERS = ("min_cpus", "min_memory_mb", "min_local_gb", "min_disks")
_MOST = 2**31 - 1
"""Nova keeps memory, cores and disk as signed 32-bit numbers."""


@dataclass(frozen=True, slots=True)
class NovaFlavor:
    """A flavor as Nova keeps it.

    Attributes:
        ref: its flavorid; empty of what is only wanted.
        ram, disk: MiB and GiB, for people: bare metal is placed by ``extra``.
    """

    name: str
    vcpus: int
    ram: int
    disk: int
    description: str = ""
    public: bool = True
    extra: Mapping[str, str] = field(default_factory=dict)
    ref: str = ""

    @property
    def fixed(self) -> tuple[object, ...]:
        """What cannot be changed there: whoever wants it different makes another."""
        return (self.name, self.vcpus, self.ram, self.disk, self.public)

    @property
    def kept(self) -> dict[str, str]:
        """The extra specs that are ours to keep; others, such as ``hw:``, are an operator's own."""
        return {key: value for key, value in self.extra.items() if key.startswith(_OURS)}


def class_in_placement(resource_class: str) -> str:
    """A node's resource class as Ironic and Placement call it, such as ``CUSTOM_BAREMETAL_X``."""
    return "CUSTOM_" + re.sub(r"[^A-Z0-9]", "_", resource_class.upper())


def to_nova(flavor_id: str, spec: FlavorSpec) -> NovaFlavor:
    """The flavor as it should be in Nova.

    Raises:
        Unfit: Nova has no words for it.
    """
    if not spec.resource_class:
        raise Unfit("NO_RESOURCE_CLASS", "it accepts any resource class, and Nova asks for exactly one")
    extra = {f"resources:{class_in_placement(spec.resource_class)}": "1", **_ZEROED}
    for key, value in spec.capabilities.items():
        if _TRAIT.fullmatch(key):
            if value != "true":
                raise Unfit("TRAIT_VALUE", f"a trait such as {key} is there or not: its value can only be true")
            extra[f"trait:{key}"] = "required"
        elif _OPERATOR.match(value):
            raise Unfit("VALUE", f"Nova would read the value of the capability {key} as a comparison")
        else:
            extra[f"capabilities:{key}"] = value
    extra |= {f"bms:{word}": text for word in _WORDS if (text := getattr(spec, word))}
    extra |= {f"bms:{word}": str(number) for word in _NUMBERS if (number := getattr(spec, word))}
    extra |= {f"bms:label:{key}": value for key, value in spec.labels.items()}
    for key in extra:
        if not _KEY.fullmatch(key):
            raise Unfit("KEY", f"Nova takes no extra spec {key}")
    for word in ("min_cpus", "min_memory_mb", "min_local_gb"):
        if getattr(spec, word) > _MOST:
            raise Unfit("TOO_LARGE", f"Nova takes no {word} beyond {_MOST}")
    return NovaFlavor(
        name=flavor_id,
        vcpus=max(1, spec.min_cpus),
        ram=max(1, spec.min_memory_mb),
        disk=spec.min_local_gb,
        description=spec.description,
        extra=extra,
    )


def from_nova(found: NovaFlavor, classes: Iterable[str]) -> tuple[FlavorSpec, Standing] | None:
    """What a flavor of Nova's asks of a server, and whether that can be held; None if it is not for bare metal.

    Nova places by the extra specs alone, so ``vcpus``, ``ram`` and ``disk`` ask for nothing here either. Private
    flavors are None too: ours are everybody's.

    Args:
        classes: the resource classes of our servers, to find the one that Placement's name stands for.
    """
    customs = [key for key in found.extra if key.startswith(_CUSTOM)]
    if not found.public or len(customs) != 1 or found.extra[customs[0]] != "1":
        return None
    said, faults = dict[str, Any](), list[Standing]()
    capabilities, labels = dict[str, str](), dict[str, str]()
    for key, value in found.extra.items():
        space, _, name = key.partition(":")
        if space == "trait":
            if value != "required":
                faults.append(_unusable("TRAIT_FORBIDDEN", f"it forbids {name}, and we can only require"))
            capabilities[name] = "true"
        elif space == "capabilities":
            if _OPERATOR.match(value):
                faults.append(_unusable("COMPARISON", f"it compares {name}, and we only know equality"))
            capabilities[name] = value
        elif space == "bms" and name.startswith("label:"):
            labels[name.removeprefix("label:")] = value
        elif space == "bms" and name in _NUMBERS:
            said[name] = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else -1
        elif space == "bms" and name in _WORDS:
            said[name] = value
    wanted = customs[0].removeprefix("resources:")
    if class_in_placement(str(said.get("resource_class", ""))) != wanted:
        named = sorted({each for each in classes if each and class_in_placement(each) == wanted})
        if len(named) > 1:
            faults.append(_unusable("CLASS_AMBIGUOUS", f"several resource classes are {wanted}: {', '.join(named)}"))
        said["resource_class"] = named[0] if named else wanted.removeprefix("CUSTOM_").lower().strip("_")
    checks = Checks()
    spec = flavors.checked(
        FlavorSpec(description=found.description, capabilities=capabilities, labels=labels, **said),
        checks,
    )
    if checks.violations:
        first = checks.violations[0]
        faults.append(_unusable("MALFORMED", f"{first.field} {first.description}"))
    return spec, faults[0] if faults else MIRRORED


def _unusable(reason: str, message: str) -> Standing:
    return Standing(MirrorState.UNUSABLE, reason, message)
