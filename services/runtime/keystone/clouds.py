# SPDX-License-Identifier: Apache-2.0
"""Clouds as every OpenStack tool reads them, clouds.yaml and OS_*, for services and the command line alike."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.runtime.logs import register_secret
from services.runtime.openstack import quieten

if TYPE_CHECKING:
    from keystoneauth1.session import Session
    from openstack.config.cloud_region import CloudRegion

ENVVARS = "envvars"
"""What the SDK calls the cloud of the OS_* variables."""

_MADE_UP = "defaults"
"""What the SDK calls the cloud that it makes up where there is none."""

_SECONDS = 10.0
"""How long Keystone may take for the login that all share, and a service to say what it is."""

_SECRETS = ("password", "passcode", "secret", "token")


class NoCloud(Exception):
    """There is no cloud of that name, or what is known of it does not make a login. No secret is in the text."""


@dataclass(frozen=True, slots=True)
class Login:
    """How one logs in to a cloud; it asks nobody before it is used, and holds for all threads of the process.

    Attributes:
        region: the SDK's view of the cloud, from which clients of its services are made; they share the session.
        session: gets tokens, and another when one expires or was revoked.
        secrets: what in it is secret.
    """

    region: CloudRegion
    session: Session
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        """Leaves out the login, which is secret."""
        return f"Login({self.region.name!r})"


def open_login(cloud: str, seconds: float, *, at_keystone: bool = True) -> Login:
    """A login to *cloud* of its own.

    Args:
        cloud: a name in clouds.yaml, or `ENVVARS`.
        seconds: how long one request may take, where it does not say otherwise.
        at_keystone: whether it must log in there; a service that stands alone may know us by ``http_basic``, or let
            anybody in (``none``).

    Raises:
        NoCloud: see there.
    """
    import yaml
    from keystoneauth1.exceptions import ClientException
    from keystoneauth1.identity.base import BaseIdentityPlugin
    from openstack.config import OpenStackConfig
    from openstack.exceptions import SDKException

    quieten()
    try:
        config = OpenStackConfig(app_name="bms")
        known = set(config.get_cloud_names()) - {_MADE_UP}
        if cloud not in known:
            raise NoCloud(_unknown(cloud, sorted(known)))
        region = config.get_one(cloud=cloud, api_timeout=seconds)
        session: Session = region.get_session()
    except (ClientException, SDKException) as error:
        # By its class alone: messages of these libraries may quote the login.
        msg = f"the login of cloud {cloud!r} is incomplete or cannot be used ({type(error).__name__})"
        raise NoCloud(msg) from None
    except (OSError, yaml.YAMLError) as error:
        msg = f"clouds.yaml cannot be read ({type(error).__name__})"
        raise NoCloud(msg) from None
    if at_keystone and not isinstance(session.auth, BaseIdentityPlugin):
        msg = f"cloud {cloud!r} does not log in at Keystone"
        raise NoCloud(msg)
    login: Mapping[str, object] = region.config.get("auth") or {}
    secrets = (
        value for key, value in login.items() if isinstance(value, str) and any(word in key for word in _SECRETS)
    )
    return Login(region, session, tuple(secrets))


def open_session(cloud: str, seconds: float) -> tuple[Session, tuple[str, ...]]:
    """A session with the login of *cloud* at Keystone, and what in that login is secret; see `open_login`."""
    login = open_login(cloud, seconds)
    return login.session, login.secrets


def shared_login(cloud: str, *, at_keystone: bool = True) -> Login:
    """The login to *cloud* that the whole process shares; made at the first call, and kept out of logs from then on.

    Raises:
        NoCloud: see there; the next call tries again.
    """
    from keystoneauth1.identity.base import BaseIdentityPlugin

    # By what it was read from: a process that is told of other clouds (a test) does not get the one before.
    told = tuple(sorted((key, value) for key, value in os.environ.items() if key.startswith("OS_")))
    with _SHARING:
        login = _SHARED.get((cloud, told))
        if login is None:
            login = _SHARED[cloud, told] = open_login(cloud, _SECONDS, at_keystone=at_keystone)
            for secret in login.secrets:
                register_secret(secret)
    if at_keystone and not isinstance(login.session.auth, BaseIdentityPlugin):
        msg = f"cloud {cloud!r} does not log in at Keystone"
        raise NoCloud(msg)
    return login


def no_login(kind: str, endpoint: str) -> Login:
    """What lets one ask a service of type *kind* at *endpoint* that lets anybody in; nothing is read for it.

    Raises:
        NoCloud: *endpoint* is no address.
    """
    from openstack.config import get_cloud_region
    from openstack.exceptions import SDKException

    quieten()
    told: dict[str, Any] = {
        "auth_type": "none",
        "auth": {"endpoint": endpoint},
        f"{kind}_endpoint_override": endpoint,
    }
    try:
        region = get_cloud_region(load_yaml_config=False, load_envvars=False, api_timeout=_SECONDS, **told)
        return Login(region, region.get_session(), ())
    except SDKException as error:
        msg = f"{endpoint!r} is no address of a service ({type(error).__name__})"
        raise NoCloud(msg) from None


_SHARING = threading.Lock()
_SHARED: dict[tuple[str, tuple[tuple[str, str], ...]], Login] = {}


def _unknown(cloud: str, known: list[str]) -> str:
    if cloud == ENVVARS:
        return "the OS_* variables name no cloud"
    among = f"; there are {', '.join(known)[:200]}" if known else ""
    return f"clouds.yaml has no cloud {cloud[:80]!r}{among}"
