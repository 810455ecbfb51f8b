# SPDX-License-Identifier: Apache-2.0
"""How the bridge logs in at Ironic."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from services.runtime.keystone.clouds import shared_login
from services.runtime.openstack import quieten

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter

SECONDS = 60.0
"""How long one answer may take: a page of a thousand nodes takes an Ironic seconds."""


@dataclass(frozen=True, slots=True)
class KeystoneLogin:
    """A login at Keystone v3 by name and password, as the old daemon's files have it."""

    url: str
    user: str
    password: str = field(repr=False)
    project: str
    user_domain: str = "Default"
    project_domain: str = "Default"
    region: str = ""
    interface: str = "internal"
    insecure: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class CloudLogin:
    """A cloud of clouds.yaml or the OS_* variables; it may log in at Keystone, by ``http_basic``, or not at all."""

    cloud: str


Login: TypeAlias = KeystoneLogin | CloudLogin


def open_client(login: Login) -> Adapter:
    """Ironic with *login*; asks nobody yet.

    Raises:
        NoCloud: there is no such cloud, or it is incomplete.
    """
    if isinstance(login, CloudLogin):
        found: Adapter = shared_login(login.cloud, at_keystone=False).region.get_session_client("baremetal")
        return found
    from keystoneauth1.adapter import Adapter
    from keystoneauth1.identity.v3 import Password
    from keystoneauth1.session import Session

    quieten()
    auth = Password(
        auth_url=login.url, username=login.user, password=login.password, project_name=login.project,
        user_domain_name=login.user_domain, project_domain_name=login.project_domain,
    )  # fmt: skip
    certificate = (str(login.certificate), str(login.key or login.certificate)) if login.certificate else None
    verify: bool | str = not login.insecure and (str(login.ca) if login.ca else True)
    session = Session(auth=auth, verify=verify, cert=certificate, timeout=SECONDS, app_name="bms")
    return Adapter(
        session, service_type="baremetal", interface=login.interface or None, region_name=login.region or None
    )
