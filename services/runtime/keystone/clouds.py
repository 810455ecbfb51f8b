# SPDX-License-Identifier: Apache-2.0
"""Clouds as every OpenStack tool reads them, clouds.yaml and OS_*, for services and the command line alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from services.runtime.openstack import quieten

if TYPE_CHECKING:
    from keystoneauth1.session import Session

ENVVARS = "envvars"
"""What the SDK calls the cloud of the OS_* variables."""

_MADE_UP = "defaults"
"""What the SDK calls the cloud that it makes up where there is none."""

_SECRETS = ("password", "passcode", "secret", "token")


class NoCloud(Exception):
    """There is no cloud of that name, or what is known of it does not make a login. No secret is in the text."""


def open_session(cloud: str, seconds: float) -> tuple[Session, tuple[str, ...]]:
    """A session with the login of *cloud*, which asks nobody before it is used, and what in that login is secret.

    Args:
        cloud: a name in clouds.yaml, or `ENVVARS`.
        seconds: how long one request may take.

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
    if not isinstance(session.auth, BaseIdentityPlugin):
        msg = f"cloud {cloud!r} does not log in at Keystone"
        raise NoCloud(msg)
    login: Mapping[str, object] = region.config.get("auth") or {}
    return session, tuple(
        value for key, value in login.items() if isinstance(value, str) and any(word in key for word in _SECRETS)
    )


def _unknown(cloud: str, known: list[str]) -> str:
    if cloud == ENVVARS:
        return "the OS_* variables name no cloud"
    among = f"; there are {', '.join(known)[:200]}" if known else ""
    return f"clouds.yaml has no cloud {cloud[:80]!r}{among}"
