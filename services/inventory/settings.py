# SPDX-License-Identifier: Apache-2.0
"""Settings of inventory's own, beside those of services/runtime/settings.py.

BMS_INVENTORY_NOVA_CLOUD       flavors are mirrored with the Nova of this cloud in clouds.yaml; unset: with none
BMS_INVENTORY_GLANCE_CLOUD     images are mirrored with the Glance of this cloud in clouds.yaml; unset: with none
BMS_INVENTORY_MIRROR_SECONDS   how often both sides are compared when nothing is under way; 30
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from services.kernel.errors import InvalidField

_LEAST, _MOST = 0.1, 3600.0


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """With whom the catalogue is mirrored; empty for nobody.

    Attributes:
        nova, glance: names in clouds.yaml.
        period: how often both sides are compared.
    """

    nova: str = ""
    glance: str = ""
    period: timedelta = timedelta(seconds=30)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> MirrorSettings:
        """The settings in *environ*.

        Raises:
            InvalidField: a variable cannot be understood; its name is the field.
        """
        name = "BMS_INVENTORY_MIRROR_SECONDS"
        text = environ.get(name, "").strip()
        try:
            seconds = float(text or 30)
        except ValueError:
            seconds = 0.0
        if not _LEAST <= seconds <= _MOST:
            description = f"{text[:40]!r} is not a number from {_LEAST:g} to {_MOST:g}"
            raise InvalidField(name, description, remedy="Correct it or leave it out.")
        return cls(
            nova=environ.get("BMS_INVENTORY_NOVA_CLOUD", "").strip(),
            glance=environ.get("BMS_INVENTORY_GLANCE_CLOUD", "").strip(),
            period=timedelta(seconds=seconds),
        )
