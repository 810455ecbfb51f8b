# SPDX-License-Identifier: Apache-2.0
"""Requests to the services of an OpenStack cloud by its SDK: the one way in which backends send them.

- **Login and session** are the process's own (`services.runtime.keystone.clouds.shared_login`): clouds.yaml and OS_*,
  one token for all services, connections that are kept. The session gets another token when one expires, or when a
  service does not know it any more: then the request, which was refused, is sent once more.
- **Where a service is** the SDK finds, by the catalogue, or by ``*_endpoint_override``, and what the service says of
  its versions. Neutron alone is not asked: those of old hide it, and the SDK too writes ``/v2.0`` behind its address.
- **A request is sent once more** where its connection broke or nobody answered in time, since a server may close a
  connection that was idle: but not a POST, since it may have been done, unless its caller says that it may be done
  twice. What was answered is never sent again, whatever the answer.
- **What went wrong** is `PeerUnavailable`, in the words of `_errors`, with the setting that named the cloud.

The SDK is imported when the first request is made, and not before: it is heavy.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, Literal, cast

from services.kernel.errors import PeerUnavailable
from services.runtime.keystone.clouds import Login, NoCloud, shared_login
from services.runtime.openstack import Answer, away, document, parsed

if TYPE_CHECKING:
    from keystoneauth1.adapter import Adapter
    from keystoneauth1.plugin import BaseAuthPlugin
    from openstack.connection import Connection
    from requests import Response

Kind = Literal["baremetal", "compute", "image", "network", "placement"]
"""A service's type, as catalogues have it."""

_PROJECTS = 64
"""For so many projects tokens are kept."""


class Cloud:
    """One cloud, as somebody in this process uses it; may be used from any thread, and asks nobody before it must.

    Args:
        name: its name in clouds.yaml, or ``envvars``.
        setting: what named it, for people.
        login: opens the login; by default that which the whole process shares. Raises NoCloud.
    """

    def __init__(self, name: str, setting: str, login: Callable[[], Login] | None = None) -> None:
        self.setting = setting
        self._open = login or (lambda: shared_login(name, at_keystone=False))
        self._opened: Login | None = None
        self._clients: dict[Kind, Adapter] = {}
        self._projects: OrderedDict[str, BaseAuthPlugin] = OrderedDict()
        self._made: Connection | None = None
        self._changing = threading.Lock()

    def service(self, peer: str, kind: Kind, *, seconds: float, microversion: str = "", project: str = "") -> Service:
        """One of its services; see `Service`."""
        return Service(self, peer, kind, seconds=seconds, microversion=microversion, project=project)

    def own_project(self) -> str:
        """The id of the project that our login is for; empty if it is for none.

        Raises:
            PeerUnavailable: nobody says.
        """
        with _errors("Keystone", "identity", self.setting):
            return str(self._login().session.get_project_id() or "")

    def log_in(self, project: str) -> BaseAuthPlugin | None:
        """Sees to it that there is a token for *project*, an id of Keystone's; for "" that of our login itself.

        Returns:
            What has the token; None for the session's own.

        Raises:
            PeerUnavailable: there is none.
        """
        with _errors("Keystone", "identity", self.setting, project):
            login = self._login()
            auth = self._auth(project) if project else None
            login.session.get_auth_headers(auth)
            return auth

    def client(self, kind: Kind) -> Adapter:
        """The SDK's client of a service; where it is not known yet, the service is asked what it is."""
        if (client := self._clients.get(kind)) is None:
            # Two threads may each make one at a time: they are alike, and neither waits for the other's service.
            client, certain = self._neutron() if kind == "network" else self._found(kind)
            if certain:
                self._clients[kind] = client
        return client

    def _neutron(self) -> tuple[Adapter, bool]:
        from keystoneauth1.adapter import Adapter

        login, kind = self._login(), "network"
        adapter = Adapter(
            login.session, service_type=kind, interface=login.region.get_interface(kind),
            region_name=login.region.get_region_name(kind), endpoint_override=login.region.get_endpoint(kind),
        )  # fmt: skip
        return adapter, True

    def _found(self, kind: Kind) -> tuple[Adapter, bool]:
        """A client, and whether the service said what it is."""
        with self._changing:
            connection = self._connection()
        told = self._login().region.get_endpoint(kind)
        client: Adapter = getattr(connection, kind)
        # The SDK puts the address of the version that a service named in the place of one without. There Glance says
        # nothing of versions: it must not be asked again.
        if client.endpoint_override != told or client.get_endpoint_data() is not None:
            return client, True
        # Of one that says nothing the SDK takes the address as it was given, be it that of a version or not, and for
        # ever: so it is asked anew.
        with self._changing:
            self._made = None
        return client, False

    def _login(self) -> Login:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _auth(self, project: str) -> BaseAuthPlugin:
        with self._changing:
            if project not in self._projects:
                # The login for the project, without the session that comes with it: there is one for all.
                config = self._connection().connect_as_project({"id": project}).config
                self._projects[project] = cast("BaseAuthPlugin", config.get_auth())
            self._projects.move_to_end(project)
            while len(self._projects) > _PROJECTS:
                self._projects.popitem(last=False)
            return self._projects[project]

    def _connection(self) -> Connection:
        # Kept: one that is forgotten closes the connections of the session that it was given.
        if self._made is None:
            from openstack.connection import Connection

            # A copy of what is configured: into it the SDK writes the addresses that it finds, and the login is shared.
            region = copy(self._login().region)
            region.config = dict(region.config)
            self._made = Connection(config=region)
        return self._made


class Service:
    """`services.runtime.openstack.Transport` to one service.

    Args:
        peer: its name for people, ``Nova``.
        seconds: how long one request may take, or its repetition.
        microversion: which one is spoken; empty for none.
        project: the id of the project for whose token our login asks; empty for its own.
    """

    def __init__(self, cloud: Cloud, peer: str, kind: Kind, *, seconds: float, microversion: str, project: str) -> None:
        self._cloud = cloud
        self._peer = peer
        self._kind = kind
        self._seconds = seconds
        self._microversion = microversion
        self._project = project

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> Answer:
        """See `Transport.send`.

        Raises:
            PeerUnavailable: there is no answer, none to our login, none in the microversion, or none of this service's.
        """
        answer = self.reach(method, path, body, content_type)
        if answer.status_code == 401:
            msg = f"{self._peer} refuses our login"
            raise PeerUnavailable(msg, remedy=f"Look at the cloud that {self._cloud.setting} names.", peer=self._named)
        if answer.status_code == 406 and self._microversion:
            msg = f"this {self._peer} does not speak {self._microversion} of its API, which is what is needed"
            raise PeerUnavailable(msg, remedy=f"Use a {self._peer} that does.", peer=self._named)
        raw = bytes(answer.content)
        found = parsed(raw)
        if found is None and method == "GET" and answer.status_code < 400:
            # A page of somebody in between: taken for an empty list, it would say that all is gone.
            raise away(self._peer, f"what answers is not {self._peer}")
        return Answer(int(answer.status_code), document(raw) if found is None else found)

    def reach(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = "",
        *,
        seconds: float | None = None,
        microversion: str = "",
        repeated: bool | None = None,
    ) -> Response:
        """The answer as it came, whatever its status.

        Args:
            path: below the service's versioned endpoint.
            body: sent as JSON; None sends none.
            content_type: of the body, where it is not ``application/json``.
            seconds: how long this one may take, or its repetition; by default what the service's may.
            microversion: of this one; by default the service's.
            repeated: whether it may be sent once more; by default all but a POST.

        Raises:
            PeerUnavailable: there is none.
        """
        if repeated is None:
            repeated = method != "POST"
        sent: dict[str, Any] = {}
        if spoken := microversion or self._microversion:
            sent["microversion"] = spoken
        if body is not None:
            sent["data"] = json.dumps(body)
            sent["headers"] = {"Content-Type": content_type or "application/json"}
        if auth := self._cloud.log_in(self._project):
            sent["auth"] = auth
        with _errors(self._peer, self._kind, self._cloud.setting):
            client = self._cloud.client(self._kind)
            root = _root(client, auth) if self._kind == "network" else ""
            return client.request(
                root + path, method, connect_retries=int(repeated), status_code_retries=0,
                timeout=self._seconds if seconds is None else seconds, raise_exc=False, **sent,
            )  # fmt: skip

    @property
    def _named(self) -> str:
        return self._peer.lower()


def _root(client: Adapter, auth: BaseAuthPlugin | None) -> str:
    """What stands between Neutron's endpoint and a path: catalogues name it with the version or without."""
    from keystoneauth1.exceptions import EndpointNotFound

    endpoint = client.get_endpoint(auth)
    if not endpoint:
        raise EndpointNotFound
    return "" if re.search(r"/v2(\.0)?/?$", endpoint) else "/v2.0"


@contextmanager
def _errors(peer: str, kind: str, setting: str, project: str = "") -> Iterator[None]:
    """Whatever the SDK raises within, as `PeerUnavailable`.

    what happened                                       whom to look at
    there is no such cloud, or it is incomplete         the setting, clouds.yaml
    Keystone refuses our login                          the setting's cloud
    ... knows it, and lets it not into the project      our login's roles there
    the catalogue has no such service                   Keystone's endpoints, the cloud's region and interface
    what is there does not say which versions it has    the service: it may be starting
    anything else: no connection, no answer in time     the service

    Of the libraries' errors the class alone is told: their messages quote requests, and may quote the login.
    """
    from keystoneauth1 import exceptions
    from openstack import exceptions as sdk
    from requests.exceptions import RequestException

    try:
        yield
    except NoCloud as error:
        remedy = f"Look at {setting}, and at where the SDK looks for clouds.yaml; OS_CLIENT_CONFIG_FILE says where."
        raise PeerUnavailable(str(error), remedy=remedy, peer=peer.lower()) from None
    except (exceptions.Unauthorized, exceptions.Forbidden) as error:
        if project:
            msg = f"Keystone gives our login no token of project {project}"
            remedy = f"Give the login of {setting} role admin in that project: openstack role add."
            raise PeerUnavailable(msg, remedy=remedy, peer="keystone") from None
        raise _no_login(setting, error) from None
    except (exceptions.MissingAuthPlugin, exceptions.MissingRequiredOptions) as error:
        raise _no_login(setting, error) from None
    except (exceptions.EndpointNotFound, sdk.ConfigException):
        msg = f"the catalogue of the cloud names no service of type {kind}"
        remedy = f"Look at Keystone's endpoints, and at region and interface of the cloud that {setting} names."
        raise PeerUnavailable(msg, remedy=remedy, peer=peer.lower()) from None
    except (sdk.NotSupported, sdk.ServiceDiscoveryException):
        raise away(peer, f"{peer} cannot be reached: it does not say which versions it has") from None
    except (exceptions.ClientException, sdk.SDKException, RequestException) as error:
        raise away(peer, f"{peer} cannot be reached: {type(error).__name__}") from None


def _no_login(setting: str, error: Exception) -> PeerUnavailable:
    msg = f"Keystone refuses our login ({type(error).__name__})"
    return PeerUnavailable(msg, remedy=f"Look at the login of the cloud that {setting} names.", peer="keystone")
