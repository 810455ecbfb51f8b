# SPDX-License-Identifier: Apache-2.0
"""Settings of ipam's own, beside those of services/runtime/settings.py.

BMS_IPAM_BACKEND           embedded: nobody but us gives addresses; neutron: Neutron does too; embedded
BMS_IPAM_NEUTRON_CLOUD     the cloud of clouds.yaml whose Neutron it is, or envvars for the OS_* variables
BMS_IPAM_NEUTRON_SECONDS   how often all that Neutron has is compared; 60
BMS_IPAM_NEUTRON_DHCP      1: Neutron serves DHCP in the subnets that we make; 0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from services.kernel.errors import InvalidField

_LEAST, _MOST = 0.1, 3600.0
_BACKENDS = ("embedded", "neutron")
CLOUD = "BMS_IPAM_NEUTRON_CLOUD"


@dataclass(frozen=True, slots=True)
class PlaneSettings:
    """Who gives addresses beside us.

    Attributes:
        neutron: a name in clouds.yaml; "" for nobody.
        dhcp: whether Neutron serves DHCP in the subnets that we make.
        period: how often everything is compared.
    """

    neutron: str = ""
    dhcp: bool = False
    period: timedelta = timedelta(minutes=1)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> PlaneSettings:
        """The settings in *environ*.

        Raises:
            InvalidField: a variable cannot be understood; its name is the field.
        """
        backend = environ.get("BMS_IPAM_BACKEND", "").strip() or "embedded"
        if backend not in _BACKENDS:
            raise InvalidField(
                "BMS_IPAM_BACKEND", f"{backend[:40]!r} is none", remedy=f"Give one of {', '.join(_BACKENDS)}."
            )
        cloud = environ.get(CLOUD, "").strip()
        if backend == "embedded":
            if cloud:
                raise InvalidField(
                    CLOUD, "is set, and the backend is embedded", remedy="Give BMS_IPAM_BACKEND=neutron."
                )
            return cls()
        if not cloud:
            raise InvalidField(CLOUD, "is not set, and the backend is neutron", remedy="Name a cloud of clouds.yaml.")
        return cls(cloud, _dhcp(environ), _period(environ))


def _dhcp(environ: Mapping[str, str]) -> bool:
    name = "BMS_IPAM_NEUTRON_DHCP"
    text = environ.get(name, "").strip() or "0"
    if text not in ("0", "1"):
        raise InvalidField(name, f"{text[:40]!r} is neither 0 nor 1", remedy="Correct it or leave it out.")
    return text == "1"


def _period(environ: Mapping[str, str]) -> timedelta:
    name = "BMS_IPAM_NEUTRON_SECONDS"
    text = environ.get(name, "").strip()
    try:
        seconds = float(text or 60)
    except ValueError:
        seconds = 0.0
    if not _LEAST <= seconds <= _MOST:
        description = f"{text[:40]!r} is not a number from {_LEAST:g} to {_MOST:g}"
        raise InvalidField(name, description, remedy="Correct it or leave it out.")
    return timedelta(seconds=seconds)
