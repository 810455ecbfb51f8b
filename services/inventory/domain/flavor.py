# SPDX-License-Identifier: Apache-2.0
"""A flavor: what a tenant asks a server to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.inventory.domain.checks import Checks
from services.inventory.domain.mirror import Mirror


@dataclass(frozen=True, slots=True)
class FlavorSpec:
    """Constraints that must all hold; empty and zero ones ask for nothing."""

    description: str = ""
    resource_class: str = ""
    manufacturer: str = ""
    cpu_arch: str = ""
    min_cpus: int = 0
    min_memory_mb: int = 0
    min_local_gb: int = 0
    min_disks: int = 0
    capabilities: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flavor:
    """A flavor of the catalogue; ``sequence`` is the last of its stream, and so its etag."""

    id: str
    spec: FlavorSpec
    create_time: datetime
    update_time: datetime
    sequence: int = 0
    mirror: Mirror = field(default_factory=Mirror)

    @property
    def name(self) -> str:
        """The resource name."""
        return f"flavors/{self.id}"


def checked(spec: FlavorSpec, checks: Checks) -> FlavorSpec:
    """*spec* in its canonical form; whatever is wrong with it is told to *checks*."""
    return FlavorSpec(
        description=checks.text("description", spec.description, 1000, lines=True),
        resource_class=checks.word("resource_class", spec.resource_class, 80),
        manufacturer=checks.text("manufacturer", spec.manufacturer, 255),
        cpu_arch=checks.word("cpu_arch", spec.cpu_arch, 63),
        min_cpus=checks.number("min_cpus", spec.min_cpus, 0, 1_000_000),
        min_memory_mb=checks.number("min_memory_mb", spec.min_memory_mb, 0, 2**40),
        min_local_gb=checks.number("min_local_gb", spec.min_local_gb, 0, 2**40),
        min_disks=checks.number("min_disks", spec.min_disks, 0, 1000),
        capabilities=checks.pairs("capabilities", spec.capabilities, value_limit=255),
        labels=checks.pairs("labels", spec.labels, value_limit=63),
    )
