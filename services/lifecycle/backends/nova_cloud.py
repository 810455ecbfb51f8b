# SPDX-License-Identifier: Apache-2.0
"""Requests to a cloud's Nova and Placement by the login that the whole process shares, for any project.

The SDK is imported when the first request is made, and not before: it is heavy.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.nova_servers import COMPUTE, PLACEMENT, NovaServers
from services.runtime.keystone.clouds import NoCloud, shared_login
from services.runtime.openstack import Answer, away, document

if TYPE_CHECKING:
    from openstack.connection import Connection
    from openstack.proxy import Proxy

SETTING = "BMS_LIFECYCLE_NOVA_CLOUD"
_SECONDS = 10.0
_PROJECTS = 64
_PROJECT_ID = re.compile(r"[0-9a-f]{32}")


class NovaCloud:
    """The Nova of one cloud in clouds.yaml.

    Args:
        cloud: its name there.
    """

    def __init__(self, cloud: str) -> None:
        self._cloud = cloud
        self._making = threading.Lock()
        self._made: OrderedDict[str, Connection] = OrderedDict()
        self._own = ""

    def servers(self) -> NovaServers:
        """Its servers; nobody is asked yet."""
        placement = _Service(self, "Placement", "", PLACEMENT)
        return NovaServers(lambda project: _Service(self, "Nova", project, COMPUTE), placement, self._project_of)

    def connection(self, project: str) -> Connection:
        """The cloud with a token for *project*; for "" that of our login itself.

        Raises:
            NoCloud: there is none, or its login is incomplete.
        """
        from openstack.connection import Connection

        with self._making:
            if project not in self._made:
                login = shared_login(self._cloud, _SECONDS)
                own = Connection(config=login.region)
                self._made[project] = own.connect_as_project({"id": project}) if project else own
            self._made.move_to_end(project)
            while len(self._made) > _PROJECTS:
                self._made.popitem(last=False)
            return self._made[project]

    def _project_of(self, ours: str) -> str:
        """Keystone's id of a project of ours; a word of the site's own is that of our login."""
        if _PROJECT_ID.fullmatch(ours):
            return ours
        if not self._own:
            self._own = str(_reached("Nova", self._own_project) or "")
        return self._own

    def _own_project(self) -> str | None:
        return self.connection("").session.get_project_id()


class _Service:
    """`Transport` to Nova or Placement."""

    def __init__(self, cloud: NovaCloud, peer: str, project: str, microversion: str) -> None:
        self._cloud = cloud
        self._peer = peer
        self._project = project
        self._microversion = microversion

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> Answer:
        """See `Transport.send`."""
        sent: dict[str, Any] = {}
        if body is not None:
            sent = {"data": json.dumps(body), "headers": {"Content-Type": content_type or "application/json"}}
        answer = _reached(
            self._peer,
            lambda: self._proxy().request(
                # A connection that breaks says nothing of what was done: only what can be done twice is sent twice.
                path, method, connect_retries=0 if method == "POST" else 1, status_code_retries=0, timeout=_SECONDS,
                raise_exc=False, microversion=self._microversion, **sent,
            ),
        )  # fmt: skip
        return Answer(int(answer.status_code), document(bytes(answer.content)))

    def _proxy(self) -> Proxy:
        connection = self._cloud.connection(self._project)
        return connection.placement if self._peer == "Placement" else connection.compute


def _reached(peer: str, ask: Any) -> Any:
    from keystoneauth1 import exceptions
    from openstack.exceptions import SDKException
    from requests.exceptions import RequestException

    try:
        return ask()
    except NoCloud as error:
        raise PeerUnavailable(str(error), remedy=f"Look at {SETTING}.", peer=peer.lower()) from None
    except (exceptions.Unauthorized, exceptions.Forbidden):
        msg = f"Keystone gives our login no token for what {peer} is asked for"
        remedy = f"Give the login of {SETTING} role admin in the tenant's project: openstack role add."
        raise PeerUnavailable(msg, remedy=remedy, peer=peer.lower()) from None
    except (exceptions.ClientException, SDKException, RequestException) as error:
        # By its class alone: messages of these libraries quote requests.
        raise away(peer, f"{peer} cannot be reached: {type(error).__name__}") from None
