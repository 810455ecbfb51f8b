# SPDX-License-Identifier: Apache-2.0
"""Where a line's bearer token comes from: a file, or Keystone."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from services.cli.failures import CliError, Unreachable
from services.cli.options import Given

if TYPE_CHECKING:
    from keystoneauth1.session import Session

ENVVARS = "envvars"
"""What the SDK calls the cloud of the OS_* variables."""


class Token(Protocol):
    """A bearer token."""

    def read(self) -> str:
        """The token; asked for at every call, since it may be renewed.

        Raises:
            CliError: there is none.
        """
        ...

    def in_shell(self) -> str:
        """What a shell reads it with."""
        ...

    def may_cross(self, address: str, *, tls: bool) -> None:
        """Refuses to send it to *address*, where others could read it on the way.

        Raises:
            CliError: so it is.
        """
        ...


class FileToken:
    """The token in the file at *path*."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""

    def read(self) -> str:
        """See `Token`; the file is read once."""
        if not self._token:
            try:
                self._token = self._path.read_text().strip()
            except OSError as error:
                msg = f"the token in {self._path} cannot be read: {error.strerror}"
                raise CliError(msg, reason="NO_TOKEN", remedy="Name another: --token-file, or --as.") from None
        return self._token

    def in_shell(self) -> str:
        """See `Token`."""
        return f"$(cat {shlex.quote(str(self._path))})"

    def may_cross(self, address: str, *, tls: bool) -> None:
        """See `Token`: it opens nothing but this site, whose administrator chose how it is called."""


class CloudToken:
    """A token that Keystone gives the login of *cloud*, kept in memory alone and renewed before it expires.

    Args:
        cloud: a name in clouds.yaml, or `ENVVARS`.
        seconds: how long one request to Keystone may take.
    """

    def __init__(self, cloud: str, seconds: float) -> None:
        self._cloud = cloud
        self._seconds = seconds

    def read(self) -> str:
        """See `Token`."""
        return self._ask("get_token")

    @cached_property
    def project(self) -> str:
        """Id of the project that the token is for; "" for none."""
        return self._ask("get_project_id")

    def in_shell(self) -> str:
        """See `Token`; as OpenStack's own client gets one."""
        chosen = "" if self._cloud == ENVVARS else f"--os-cloud {shlex.quote(self._cloud)} "
        return f"$(openstack {chosen}token issue -f value -c id)"

    def may_cross(self, address: str, *, tls: bool) -> None:
        """See `Token`: it opens the whole cloud."""
        if tls or _is_here(address):
            return
        msg = f"Keystone's token would cross the network to {address} in clear"
        raise CliError(msg, reason="INSECURE", remedy="Call the services over TLS: --tls-ca FILE.")

    @cached_property
    def _session(self) -> Session:
        from services.runtime.keystone.clouds import NoCloud, open_session

        try:
            return open_session(self._cloud, self._seconds)[0]
        except NoCloud as error:
            remedy = "Name another with --os-cloud. clouds.yaml is looked for where OS_CLIENT_CONFIG_FILE says, and in "
            remedy += "., ~/.config/openstack and /etc/openstack."
            raise CliError(str(error), reason="NO_CLOUD", remedy=remedy) from None

    def _ask(self, what: str) -> str:
        session = self._session
        from keystoneauth1 import exceptions

        try:
            return str(getattr(session, what)() or "")
        except exceptions.Unauthorized:
            raise self._refused("is refused by Keystone") from None
        except (exceptions.ConnectionError, exceptions.DiscoveryFailure) as error:
            msg = f"Keystone of {self._named} does not answer ({type(error).__name__})"
            raise Unreachable(msg, reason="UNAVAILABLE", remedy="Look at its auth_url, and at Keystone.") from None
        except exceptions.ClientException as error:
            # By its class alone: messages of this library may quote requests.
            raise self._refused(f"cannot be used at Keystone ({type(error).__name__})") from None

    @property
    def _named(self) -> str:
        return "the OS_* variables" if self._cloud == ENVVARS else f"cloud {self._cloud!r}"

    def _refused(self, how: str) -> CliError:
        remedy = f"Look at its user, password and project; `{self.in_shell()[2:-1]}` says more."
        return CliError(f"the login of {self._named} {how}", reason="UNAUTHENTICATED", remedy=remedy)


def chosen_cloud(options: Given, environ: Mapping[str, str]) -> str:
    """The cloud whose login is used: --os-cloud before a token that is named, that before the environment's; or ""."""
    if options.os_cloud:
        return options.os_cloud
    if options.login or options.token_file is not None:
        return ""
    return environ.get("OS_CLOUD", "") or (ENVVARS if environ.get("OS_AUTH_URL") else "")


def _is_here(address: str) -> bool:
    """Whether *address*, ``host:port``, is on this machine."""
    host = address.rpartition(":")[0].strip("[]")
    if address.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
