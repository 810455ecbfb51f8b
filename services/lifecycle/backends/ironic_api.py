# SPDX-License-Identifier: Apache-2.0
"""Ironic's API as the backend needs it: one node at a time, a deadline over every call, refusals told apart.

The SDK is imported when the first call is made, and not before: it is heavy, and only those who chose Ironic need it.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.kernel.errors import PeerUnavailable
from services.runtime.openstack import Refused, quieten, shown

if TYPE_CHECKING:
    from openstack.proxy import Proxy

MICROVERSION = "1.81"
"""Deploy steps (1.69), JSON config drives (1.56) and inventories (1.81): what we use was there in 2023.1."""

CALL_SECONDS = 12.0
"""A claim holds 60 s and a walk starts no step after 20; the longest step makes three calls."""

_ONE_SECONDS = 6.0
_LOCKED_SECONDS = 4.0
_PAUSE = 0.2
_FIELDS = (
    "uuid", "driver", "provision_state", "provision_updated_at", "power_state", "target_power_state", "reservation",
    "maintenance", "maintenance_reason", "fault", "last_error", "extra", "properties", "driver_internal_info",
    "inspection_finished_at",
)  # fmt: skip


class NoNode(Exception):
    """Ironic knows no such node."""


class Deadline:
    """The end of one call to the backend, whatever it asks of Ironic until then."""

    def __init__(self) -> None:
        self._end = time.monotonic() + CALL_SECONDS

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic()

    def pause(self, seconds: float = _PAUSE) -> bool:
        """Waits a moment; False, at once, if there would be no time left for another request."""
        if self.left < seconds + 1.0:
            return False
        time.sleep(seconds)
        return True


@dataclass(frozen=True, slots=True)
class Node:
    """A node as Ironic answered.

    Attributes:
        data: its fields.
        digest: SHA-256 over the answer's bytes.
    """

    data: Mapping[str, Any]
    digest: bytes

    @property
    def state(self) -> str:
        """The provision state."""
        return self.text("provision_state")

    @property
    def moved(self) -> str:
        """When the provision state last changed, as Ironic writes it; empty if it never did."""
        return self.text("provision_updated_at")

    @property
    def busy(self) -> bool:
        """Whether a conductor holds it, or its power is on the way to another state."""
        return bool(self.text("reservation") or self.text("target_power_state"))

    @property
    def ours(self) -> dict[str, Any]:
        """What we keep with it: ``extra.bms``."""
        found = (self.data.get("extra") or {}).get("bms")
        return dict(found) if isinstance(found, dict) else {}

    @property
    def internal(self) -> Mapping[str, Any]:
        """``driver_internal_info``."""
        return self.data.get("driver_internal_info") or {}

    @property
    def error(self) -> str:
        """``last_error``, short and without secrets."""
        return shown(self.text("last_error"))

    def text(self, field: str) -> str:
        """One field; empty for null."""
        return str(self.data.get(field) or "")


class IronicApi:
    """Calls to one Ironic; may be used from any thread.

    Args:
        cloud: its name in clouds.yaml; empty: *endpoint* without authentication.
        endpoint: its URL.
    """

    def __init__(self, *, cloud: str = "", endpoint: str = "") -> None:
        self._cloud = cloud
        self._endpoint = endpoint
        self._making = threading.Lock()
        self._made: Proxy | None = None

    def node(self, uuid: str, deadline: Deadline) -> Node:
        """The node now.

        Raises:
            NoNode: there is none.
        """
        raw = self.call("GET", f"/nodes/{uuid}?fields={','.join(_FIELDS)}", deadline)
        return Node(_object(raw), hashlib.sha256(raw).digest())

    def settled(self, uuid: str, deadline: Deadline) -> Node:
        """The node once nothing holds it, or as it is when the time is over."""
        while True:
            node = self.node(uuid, deadline)
            if not node.busy or not deadline.pause():
                return node

    def patch(self, uuid: str, values: Mapping[str, object], deadline: Deadline, *, secret: bool = False) -> None:
        """Sets fields, by their paths (``/extra/bms``); *secret* keeps what Ironic says about them to itself."""
        operations = [{"op": "add", "path": path, "value": value} for path, value in values.items()]
        self.call("PATCH", f"/nodes/{uuid}", deadline, operations, secret=secret)

    def provision(self, uuid: str, target: str, deadline: Deadline, **more: object) -> None:
        """Asks for the verb *target*; *more* may hold secrets."""
        body = {"target": target, **more}
        self.call("PUT", f"/nodes/{uuid}/states/provision", deadline, body, secret=bool(more))

    def power(self, uuid: str, target: str, deadline: Deadline) -> None:
        """Asks for ``power on``, ``power off`` or ``rebooting``."""
        self.call("PUT", f"/nodes/{uuid}/states/power", deadline, {"target": target})

    def call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        body: Mapping[str, object] | Sequence[object] | None = None,
        *,
        secret: bool = False,
    ) -> bytes:
        """What Ironic answers; while somebody else holds the node, the request is repeated for a moment.

        Raises:
            NoNode: 404.
            Refused: any other refusal of what was asked.
            PeerUnavailable: it does not answer, does not know us, or the node stays locked.
        """
        locked = 0.0
        while True:
            status, content = self._once(method, path, deadline, body)
            if status < 400:
                return content
            text = "" if secret else shown(_fault(content))
            if status == 409 and locked < _LOCKED_SECONDS and deadline.pause():
                locked += _PAUSE
                continue
            if status == 404:
                raise NoNode(text)
            if status in (401, 403):
                msg = f"Ironic refuses our login ({status})"
                raise PeerUnavailable(msg, remedy="Look at the cloud that BMS_LIFECYCLE_IRONIC_CLOUD names.")
            if status == 409:
                raise _away(f"Ironic holds the node for something else: {text}" if text else "Ironic holds the node")
            if status in (429, 502, 503, 504):
                raise _away(f"Ironic cannot take it now ({status}): {text}")
            raise Refused(status, text)

    def _once(self, method: str, path: str, deadline: Deadline, body: object) -> tuple[int, bytes]:
        from keystoneauth1.exceptions import ClientException
        from openstack.exceptions import ConfigException, SDKException
        from requests.exceptions import RequestException

        if deadline.left <= 0:
            msg = "Ironic took too long"
            raise _away(msg)
        try:
            answer = self._proxy(deadline).request(
                # Requests of ours can be repeated: an idle connection that the server closed is no failure. Locks are
                # waited out above, within the deadline: left alone, the SDK does for a quarter of a minute.
                path, method, connect_retries=1, status_code_retries=0, microversion=MICROVERSION, json=body,
                timeout=min(_ONE_SECONDS, max(0.5, deadline.left / 2)),
            )  # fmt: skip
        except ConfigException:
            msg = f"clouds.yaml has no cloud {self._cloud!r} that could be used"
            remedy = "Look at BMS_LIFECYCLE_IRONIC_CLOUD, and at where the SDK looks for clouds.yaml."
            raise PeerUnavailable(msg, remedy=remedy, peer="ironic") from None
        except (ClientException, SDKException, RequestException) as error:
            # By its class alone: messages of these libraries quote requests.
            raise _away(f"Ironic cannot be reached: {type(error).__name__}") from None
        return int(answer.status_code), bytes(answer.content)

    def _already(self) -> Proxy | None:
        """What another thread may have made meanwhile."""
        return self._made

    def _proxy(self, deadline: Deadline) -> Proxy:
        """The SDK's proxy; making it asks the endpoint what it is, so a failure is tried again by the next call."""
        if (made := self._already()) is not None:
            return made
        if not self._making.acquire(timeout=max(0.0, deadline.left)):
            msg = "Ironic does not say what it is"
            raise _away(msg)
        try:
            made = self._made = self._already() or _open(self._cloud, self._endpoint)
            return made
        finally:
            self._making.release()


def _open(cloud: str, endpoint: str) -> Proxy:
    import openstack

    quieten()
    if cloud:
        return openstack.connect(cloud=cloud, api_timeout=_ONE_SECONDS).baremetal
    return openstack.connect(
        api_timeout=_ONE_SECONDS, load_yaml_config=False, load_envvars=False, auth_type="none",
        auth={"endpoint": endpoint}, baremetal_endpoint_override=endpoint,
    ).baremetal  # fmt: skip


def _away(message: str) -> PeerUnavailable:
    return PeerUnavailable(message, remedy="Try again; if it lasts, look at Ironic.", peer="ironic")


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        msg = "what answers is not Ironic"
        raise _away(msg)
    return found


def _fault(content: bytes) -> str:
    """The sentence in one of Ironic's error documents, which are JSON, at times with JSON in them."""
    try:
        found = json.loads(content).get("error_message", "")
        if isinstance(found, str) and found.startswith("{"):
            found = json.loads(found)
        return str(found.get("faultstring", "")) if isinstance(found, dict) else str(found)
    except (ValueError, AttributeError):
        return ""
