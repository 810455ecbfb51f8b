# SPDX-License-Identifier: Apache-2.0
"""Settings of ipam's own, beside those of services/runtime/settings.py.

BMS_IPAM_BACKEND           embedded: nobody but us gives addresses; neutron, contrail: that does too; embedded
BMS_IPAM_NEUTRON_CLOUD     the cloud of clouds.yaml whose Neutron it is, or envvars for the OS_* variables
BMS_IPAM_NEUTRON_SECONDS   how often all that Neutron has is compared; 60
BMS_IPAM_NEUTRON_DHCP      1: Neutron serves DHCP in the subnets that we make; 0
BMS_IPAM_CONTRAIL_URLS     Contrail's API servers by commas, http://host:8082; any of them will do
BMS_IPAM_CONTRAIL_CLOUD    the cloud of clouds.yaml whose Keystone gives the token; without: no token is shown
BMS_IPAM_CONTRAIL_PROJECT  Contrail's project, as domain:project, of what is ours and no Keystone project's;
                           default-domain:default-project
BMS_IPAM_CONTRAIL_REQUEST_SECONDS
                           how long one request may take, 1 to 60; 10
BMS_IPAM_CONTRAIL_SECONDS  how often all that Contrail has is compared; 60
BMS_IPAM_CONTRAIL_DHCP     1: Contrail serves DHCP in the subnets that we make; 1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from services.kernel.errors import InvalidField
from services.runtime.contrail_http import Access

_LEAST, _MOST = 0.1, 3600.0
_BACKENDS = ("embedded", "neutron", "contrail")
_NEUTRON, _CONTRAIL = "BMS_IPAM_NEUTRON_", "BMS_IPAM_CONTRAIL_"
CLOUD = f"{_NEUTRON}CLOUD"
CONTRAIL_CLOUD = f"{_CONTRAIL}CLOUD"


@dataclass(frozen=True, slots=True)
class PlaneSettings:
    """Who gives addresses beside us.

    Attributes:
        neutron: a name in clouds.yaml; "" if it is not Neutron.
        contrail: how it is reached; None if it is not Contrail.
        dhcp: whether the controller serves DHCP in the subnets that we make.
        period: how often everything is compared.
    """

    neutron: str = ""
    contrail: Access | None = None
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
        for name, prefix in (("neutron", _NEUTRON), ("contrail", _CONTRAIL)):
            given = sorted(key for key, value in environ.items() if key.startswith(prefix) and value.strip())
            if given and name != backend:
                description = f"is set, and the backend is {backend}"
                raise InvalidField(given[0], description, remedy=f"Give BMS_IPAM_BACKEND={name}, or leave it out.")
        if backend == "embedded":
            return cls()
        if backend == "contrail":
            access = Access.read(environ, _CONTRAIL)
            return cls("", access, _dhcp(environ, _CONTRAIL, "1"), _period(environ, _CONTRAIL))
        cloud = environ.get(CLOUD, "").strip()
        if not cloud:
            raise InvalidField(CLOUD, "is not set, and the backend is neutron", remedy="Name a cloud of clouds.yaml.")
        return cls(cloud, None, _dhcp(environ, _NEUTRON, "0"), _period(environ, _NEUTRON))


def _dhcp(environ: Mapping[str, str], prefix: str, default: str) -> bool:
    name = f"{prefix}DHCP"
    text = environ.get(name, "").strip() or default
    if text not in ("0", "1"):
        raise InvalidField(name, f"{text[:40]!r} is neither 0 nor 1", remedy="Correct it or leave it out.")
    return text == "1"


def _period(environ: Mapping[str, str], prefix: str) -> timedelta:
    name = f"{prefix}SECONDS"
    text = environ.get(name, "").strip()
    try:
        seconds = float(text or 60)
    except ValueError:
        seconds = 0.0
    if not _LEAST <= seconds <= _MOST:
        description = f"{text[:40]!r} is not a number from {_LEAST:g} to {_MOST:g}"
        raise InvalidField(name, description, remedy="Correct it or leave it out.")
    return timedelta(seconds=seconds)
