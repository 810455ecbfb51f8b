# SPDX-License-Identifier: Apache-2.0
"""Ironic's API as the backend needs it: one node at a time, a deadline over every call, refusals told apart.

The SDK is imported when the first call is made, and not before: it is heavy, and only those who chose Ironic need it.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from services.kernel.errors import PeerUnavailable
from services.lifecycle.backends.ironic_node import FIELDS, Node, node_of
from services.lifecycle.backends.ironic_readings import Readings
from services.lifecycle.ports import NotNow
from services.runtime.keystone.clouds import no_login
from services.runtime.openstack import Refused, shown
from services.runtime.openstack_sdk import Cloud

Version = tuple[int, int]
"""A microversion of Ironic's API."""

OLDEST: Version = (1, 69)
"""Deploy steps given with the request: without them the image would boot on the wrong network. Wallaby has them."""
NEWEST: Version = (1, 81)
"""The newest that we know what it means; spoken wherever the server has it."""
INVENTORY: Version = (1, 81)
"""From here on Ironic keeps what inspection found, every disk among it (2023.1)."""

CALL_SECONDS = 12.0
"""A claim holds 60 s and a walk starts no step after 20; the longest step makes three calls."""

_ONE_SECONDS = 6.0
_LIST_SECONDS = 6.0
_LOCKED_SECONDS = 4.0
_PAUSE = 0.2
_LONGEST_PAUSE = 1.0
_BEAT = 0.25
_BUSY, _SILENT, _REFUSED = "CONTROLLER_BUSY", "CONTROLLER_SILENT", "REFUSED_BY_PEER"
_HELD = re.compile(r"is associated with instance")
"""A 409 that no waiting ends: somebody else has the node, and is not just at something with it."""
_TAKEN = re.compile(r"(?i)already exists?")
_NO_CONDUCTOR = re.compile(r"(?i)no valid host|no conductor")


class NoNode(Exception):
    """Ironic knows no such node."""


class Deadline:
    """The end of one call to the backend, whatever it asks of Ironic until then; by default after `CALL_SECONDS`."""

    def __init__(self, seconds: float | None = None) -> None:
        self._end = time.monotonic() + (CALL_SECONDS if seconds is None else seconds)

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


class IronicApi:
    """Calls to one Ironic; may be used from any thread.

    Args:
        cloud: its name in clouds.yaml, whose login may be Keystone's, ``http_basic`` or ``none``; empty: *endpoint*
            without authentication.
        endpoint: its URL.
        newest: the newest microversion to speak; for tests.
        setting: which setting names *cloud*, for people.
    """

    def __init__(
        self,
        *,
        cloud: str = "",
        endpoint: str = "",
        newest: Version = NEWEST,
        setting: str = "BMS_LIFECYCLE_IRONIC_CLOUD",
    ) -> None:
        there = Cloud(cloud, setting, None if cloud else lambda: no_login("baremetal", endpoint))
        self._to = there.service("Ironic", "baremetal", seconds=_ONE_SECONDS)
        self._newest = newest
        self._setting = setting
        self._asking = threading.Lock()
        self._spoken: Version | None = None
        self._readings = Readings(self.latest)

    def version(self, deadline: Deadline) -> Version:
        """The microversion that is spoken: ours, or the server's newest if that is older.

        Raises:
            PeerUnavailable: it does not answer, or is older than `OLDEST`.
        """
        if (spoken := self._already()) is not None:
            return spoken
        if not self._asking.acquire(timeout=max(0.0, deadline.left)):
            msg = "Ironic does not say what it is"
            raise _away(msg)
        try:
            # What fails is tried again by whoever comes next.
            spoken = self._spoken = self._already() or self._negotiated(deadline)
            return spoken
        finally:
            self._asking.release()

    def node(self, uuid: str, deadline: Deadline) -> Node:
        """The node now; where many are asked for at once, by a listing.

        Raises:
            NoNode: there is none.
        """

        def alone() -> Node:
            return node_of(_object(self.call("GET", f"/nodes/{uuid}?fields={FIELDS}", deadline)))

        return self._readings.read(uuid, alone)

    def latest(self, most: int) -> Mapping[str, Node]:
        """Up to *most* nodes now, those that changed last, by UUID."""
        path = f"/nodes?fields={FIELDS}&sort_key=updated_at&sort_dir=desc&limit={most}"
        rows = self.get(path, Deadline(_LIST_SECONDS)).get("nodes") or []
        return {str(row["uuid"]): node_of(row) for row in rows}

    def get(self, path: str, deadline: Deadline) -> Mapping[str, Any]:
        """The object at *path*."""
        return _object(self.call("GET", path, deadline))

    def pages(self, path: str, what: str, deadline: Deadline) -> Iterator[Mapping[str, Any]]:
        """Every row of the list *what* (``nodes``, ``ports``) at *path*, however many pages it has."""
        following = path
        while following:
            page = self.get(following, deadline)
            yield from page.get(what) or []
            # An absolute URL by which the server believes to be reached; only its end is ours.
            _, _, rest = str(page.get("next") or "").partition("/v1/")
            following = f"/{rest}" if rest else ""

    def settled(
        self,
        uuid: str,
        deadline: Deadline,
        *,
        at_work: bool = False,
        enough: Callable[[Node], bool] | None = None,
    ) -> Node:
        """The node once nothing holds it, or as it is when the time is over; looked at ever more seldom.

        Args:
            at_work: it was just given something to do, so that it makes no sense to look at once.
            enough: of a node that is held yet: there is nothing more to wait for.
        """
        pause = _PAUSE
        if at_work:
            deadline.pause(_to_a_beat(pause))
        while True:
            node = self.node(uuid, deadline)
            if not node.busy or (enough is not None and enough(node)) or not deadline.pause(_to_a_beat(pause)):
                return node
            pause = min(2 * pause, _LONGEST_PAUSE)

    def patch(
        self,
        uuid: str,
        values: Mapping[str, object],
        deadline: Deadline,
        *,
        also: Sequence[Mapping[str, object]] = (),
        secret: bool = False,
    ) -> None:
        """Sets fields, by their paths (``/extra/bms``), in one request.

        Args:
            also: operations that come first.
            secret: keeps what Ironic says about them to itself.
        """
        operations = [*also, *({"op": "add", "path": path, "value": value} for path, value in values.items())]
        self.call("PATCH", f"/nodes/{uuid}", deadline, operations, secret=secret)

    def provision(self, uuid: str, target: str, deadline: Deadline, **more: object) -> None:
        """Asks for the verb *target*, at most once; *more* may hold secrets."""
        body = {"target": target, **more}
        self.call("PUT", f"/nodes/{uuid}/states/provision", deadline, body, secret=bool(more), once=True)

    def lead(self, node: Node, target: str, deadline: Deadline) -> None:
        """As `provision` of a node on its way to where something may start; nothing if it has gone on since.

        An earlier request for the same verb, whose answer did not come, can be carried out only now.
        """
        uuid = node.text("uuid")
        try:
            self.provision(uuid, target, deadline)
        except Refused as error:
            if error.status >= 500 or self.node(uuid, deadline).state == node.state:
                raise

    def power(self, uuid: str, target: str, deadline: Deadline) -> None:
        """Asks for ``power on``, ``power off`` or ``rebooting``; the last at most once."""
        body = {"target": target}
        self.call("PUT", f"/nodes/{uuid}/states/power", deadline, body, once=target == "rebooting")

    def call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        body: Mapping[str, object] | Sequence[object] | None = None,
        *,
        secret: bool = False,
        once: bool = False,
    ) -> bytes:
        """What Ironic answers; while somebody else holds the node, the request is repeated for a moment.

        Args:
            secret: what Ironic says of a refusal may quote the request, and is not told.
            once: a request whose answer was lost is not sent again.

        Raises:
            NoNode: 404.
            Refused: any other refusal of what was asked.
            PeerUnavailable: it does not answer, does not know us, or the node stays locked.
        """
        locked = 0.0
        while True:
            version = self.version(deadline)
            status, content = self._send(method, path, deadline, body, version, repeated=not once)
            if status < 400:
                return content
            said = _fault(content)
            text = "" if secret else shown(said)
            held = _HELD.search(said) is not None
            if status == 409 and not held and locked < _LOCKED_SECONDS and deadline.pause():
                locked += _PAUSE
                continue
            if status == 404 and _NO_CONDUCTOR.search(said):
                raise _away("no conductor of Ironic's takes the node")
            if status == 404:
                raise NoNode(text)
            if status == 401:
                msg = "Ironic refuses our login (401)"
                raise NotNow(_SILENT, msg, remedy=f"Look at the cloud that {self._setting} names.", peer="ironic")
            if status == 403:
                msg = f"Ironic does not allow it to our login (403): {text}".removesuffix(": ")
                remedy = f"Give the login of {self._setting} role admin of the system, or allow it that in Ironic."
                raise NotNow(_REFUSED, msg, remedy=remedy, peer="ironic")
            if status == 409:
                msg = f"Ironic holds the node for something else: {text}" if text else "Ironic holds the node"
                raise NotNow(_BUSY, msg, remedy="Wait, or see what Ironic does with the node.", peer="ironic")
            if status in (429, 502, 503, 504):
                raise _away(f"Ironic cannot take it now ({status}): {text}")
            raise Refused(status, text)

    def _send(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        body: object = None,
        version: Version | None = None,
        *,
        repeated: bool = True,
    ) -> tuple[int, bytes]:
        if deadline.left <= 0:
            msg = "Ironic took too long"
            raise _away(msg)
        try:
            answer = self._to.reach(
                # A POST as well: what it makes bears an id or a MAC address, and is said to be there the second time.
                # Locks are waited out above, within the deadline.
                method, path, body, seconds=min(_ONE_SECONDS, max(0.5, deadline.left / 2)), repeated=repeated,
                microversion=f"{version[0]}.{version[1]}" if version else "",
            )  # fmt: skip
        except PeerUnavailable as error:
            raise NotNow(_SILENT, str(error), remedy=error.remedy, peer="ironic") from None
        return int(answer.status_code), bytes(answer.content)

    def _already(self) -> Version | None:
        """What another thread may have learned meanwhile."""
        return self._spoken

    def _negotiated(self, deadline: Deadline) -> Version:
        status, content = self._send("GET", "/", deadline)
        if status >= 400:
            raise _away(f"Ironic does not say what it is ({status})")
        theirs = _newest_of(_object(content))
        if theirs < OLDEST:
            msg = f"this Ironic speaks {theirs[0]}.{theirs[1]} at most, and {OLDEST[0]}.{OLDEST[1]} is the least needed"
            raise NotNow(_REFUSED, msg, remedy="Use a newer Ironic: that of Wallaby or later.", peer="ironic")
        return min(theirs, self._newest)


def needs(spoken: Version, wanted: Version, what: str) -> str:
    """Why *what* cannot be had of an Ironic that speaks *spoken*; empty if it can."""
    if spoken >= wanted:
        return ""
    return f"{what} is there from Ironic's API {wanted[0]}.{wanted[1]} on, and this one speaks {spoken[0]}.{spoken[1]}"


def _to_a_beat(seconds: float) -> float:
    """So many seconds, and on to a moment at which others who wait look as well: one reading is for all of them."""
    return seconds + -(time.monotonic() + seconds) % _BEAT


def _newest_of(root: Mapping[str, Any]) -> Version:
    version = root.get("version")
    said = str(version.get("version") if isinstance(version, Mapping) else version or "")
    major, _, minor = said.partition(".")
    if not (major.isdigit() and minor.isdigit()):
        msg = "what answers is not Ironic"
        raise _away(msg)
    return int(major), int(minor)


def _away(message: str) -> PeerUnavailable:
    return NotNow(_SILENT, message, remedy="Try again; if it lasts, look at Ironic.", peer="ironic")


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


__all__ = ["Deadline", "IronicApi", "NoNode", "Node", "Version", "needs"]
