# SPDX-License-Identifier: Apache-2.0
"""Requests to one OpenStack service by the SDK, as Nova's and Glance's backends need them.

The SDK is imported when the first request is made, and not before: it is heavy, and only those who mirror need it.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Literal

from services.kernel.errors import PeerUnavailable
from services.runtime.openstack import Answer, away, document, quieten

if TYPE_CHECKING:
    from openstack.proxy import Proxy

_SECONDS = 20.0


class Cloud:
    """`Transport` to one service of a cloud in clouds.yaml; may be used from any thread.

    Args:
        peer: the service's name for people.
        cloud: its name in clouds.yaml.
        microversion: which one is spoken; empty for none.
    """

    def __init__(self, peer: str, service: Literal["compute", "image"], cloud: str, *, microversion: str = "") -> None:
        self._peer = peer
        self._service = service
        self._cloud = cloud
        self._microversion = microversion
        self._making = threading.Lock()
        self._made: Proxy | None = None

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> Answer:
        """See `Transport.send`."""
        from keystoneauth1.exceptions import ClientException
        from openstack.exceptions import ConfigException, SDKException
        from requests.exceptions import RequestException

        sent: dict[str, Any] = {"microversion": self._microversion} if self._microversion else {}
        if body is not None:
            sent["data"] = json.dumps(body)
            sent["headers"] = {"Content-Type": content_type or "application/json"}
        try:
            # Every request of ours can be repeated: an idle connection that the server closed is no failure.
            answer = self._proxy().request(
                path, method, connect_retries=1, status_code_retries=0, timeout=_SECONDS, raise_exc=False, **sent
            )
        except ConfigException:
            msg = f"clouds.yaml has no cloud {self._cloud!r} that could be used"
            remedy = f"Look at BMS_INVENTORY_{self._peer.upper()}_CLOUD, and at where the SDK looks for clouds.yaml."
            raise PeerUnavailable(msg, remedy=remedy, peer=self._peer.lower()) from None
        except (ClientException, SDKException, RequestException) as error:
            # By its class alone: messages of these libraries quote requests.
            raise away(self._peer, f"{self._peer} cannot be reached: {type(error).__name__}") from None
        return Answer(int(answer.status_code), document(bytes(answer.content)))

    def _proxy(self) -> Proxy:
        with self._making:
            if self._made is None:
                self._made = _open(self._cloud, self._service)
            return self._made


def _open(cloud: str, service: Literal["compute", "image"]) -> Proxy:
    import openstack

    quieten()
    connection = openstack.connect(cloud=cloud, api_timeout=_SECONDS)
    found: Proxy = connection.compute if service == "compute" else connection.image
    return found
