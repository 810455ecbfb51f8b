# SPDX-License-Identifier: Apache-2.0
"""Contrail's configuration API (VNC) in memory, as the genuine one answers and lies; in process or over HTTP.

`FakeContrail` is a `services.runtime.openstack.Transport`; contrail_http.py puts it on the loopback. contrail_ipam.py
is its address management, contrail_fabric.py its switch ports. What it does was recorded of the genuine server
(tests/support/golden/contrail), and tests/support/test_contrail.py plays the recordings against it. What it says of
itself and of who asks (``/``, ``/aaa-mode``, ``/obj-perms``) was read in OpenSDN's api_server.py and not recorded. It
leaves out tags, policies, ``/watch``, ``/useragent-kv`` and rights of users.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Container, Mapping
from typing import Any
from urllib.parse import urlsplit

from services.kernel.errors import PeerUnavailable
from services.runtime.openstack import Answer
from tests.support.contrail_fabric import Ports
from tests.support.contrail_ipam import Addresses
from tests.support.contrail_objects import Fault, Objects, Thing, words
from tests.support.contrail_query import Listing

HOME = "http://contrail.test:8082"
"""What the hrefs of answers begin with."""


class FakeContrail:
    """What one API server knows; the test changes it.

    Attributes:
        objects: everything, by uuid.
        told: every request that changes something: method and path, in order.
        asked: every request: method and path, in order.
        away: whether it does not answer.
        initializing: whether it answers 503 to everything, as it does while it starts.
        loses: method and first word of the path whose next answer is lost, after it was done.
        refuses: what the next request of a method to a first word is answered: status, text.
        before: what somebody else does just before a request of this method and first word is carried out.
        tokens: which tokens are good; None: none is needed.
        mode: its ``aaa_mode``, of which it only tells.
        admin: whether it says of who asks that he is cloud admin.
    """

    def __init__(self) -> None:
        self.objects = Objects(HOME)
        self.addresses = Addresses(self.objects)
        self.ports = Ports(self.objects)
        self.told: list[tuple[str, str]] = []
        self.asked: list[tuple[str, str]] = []
        self.away = False
        self.initializing = False
        self.loses: tuple[str, str] | None = None
        self.refuses: dict[tuple[str, str], tuple[int, str]] = {}
        self.before: dict[tuple[str, str], Callable[[], object]] = {}
        self.tokens: Container[str] | None = None
        self.mode = "no-auth"
        self.admin = True
        self._lock = threading.RLock()
        self._listing = Listing(self.objects)

    # -- for tests -----------------------------------------------------------------------------------------------------

    def add(self, kind: str, fq_name: list[str], **more: Any) -> str:
        """Makes one, which must go through; answers its uuid. *more* is its body, with ``_`` in the names."""
        made: str = self.do("POST", f"/{kind}s", {kind: {"fq_name": fq_name, **more}})[kind]["uuid"]
        return made

    def read(self, kind: str, ident: str) -> dict[str, Any]:
        """One, as GET shows it."""
        found: dict[str, Any] = self.do("GET", f"/{kind}/{ident}")[kind]
        return found

    def named(self, kind: str, *fq_name: str) -> dict[str, Any] | None:
        """One by its full name, as GET shows it."""
        thing = self.objects.by_name(kind, list(fq_name))
        return None if thing is None else self.read(kind, thing.uuid)

    def every(self, kind: str) -> list[dict[str, Any]]:
        """All of *kind*, as GET shows them."""
        return [self.read(kind, thing.uuid) for thing in list(self.objects.of(kind))]

    def do(self, method: str, path: str, body: Any = None) -> Any:
        """A request of somebody else's, which must go through."""
        status, answer = self._answer(method, path, body)
        assert status == 200, answer
        return answer

    # -- for who calls it ----------------------------------------------------------------------------------------------

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> Answer:
        """See `services.runtime.openstack.Transport.send`."""
        status, answer = self.handle(method, path, body)
        if status == 0:
            raise PeerUnavailable("Contrail cannot be reached", peer="contrail")
        return Answer(status, answer if isinstance(answer, dict) else {"message": answer} if answer else {})

    def handle(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and document of the answer, a text where the server answers one; status 0: none comes."""
        with self._lock:
            where = method, words(path)[0]
            if self.away:
                return 0, ""
            self.asked.append((method, path))
            if method != "GET":
                self.told.append((method, path))
            if self.initializing:
                return 503, "Api server is Initializing:DB Resync in progress"
            if refused := self.refuses.pop(where, None):
                return refused
            if act := self.before.pop(where, None):
                act()
            status, answer = self._answer(method, path, body)
            if self.loses == where:
                self.loses = None
                return 0, ""
            # As it goes over a wire: nobody holds a part of what is in here.
            return status, json.loads(json.dumps(answer))

    # -- the API -------------------------------------------------------------------------------------------------------

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        try:
            return 200, self._route(method, path, json.loads(json.dumps(body)))
        except Fault as fault:
            return fault.status, fault.text

    def _route(self, method: str, path: str, body: Any) -> Any:
        parts = words(path)
        if method == "GET" and path in ("/", "/aaa-mode", "/obj-perms"):
            return self._itself(path)
        if method not in ("GET", "POST", "PUT", "DELETE"):
            raise Fault(405, "Method not allowed.")
        if urlsplit(path).path.endswith("/"):
            raise Fault(404, f"Not found: '{path}'")
        if method == "POST" and len(parts) == 1 and (verb := self._verbs().get(parts[0])):
            return verb(body)
        kind = parts[0].removesuffix("s") if len(parts) == 1 else parts[0]
        if not self.objects.knows(kind) or (len(parts) == 1 and not parts[0].endswith("s")):
            raise Fault(404, f"Not found: '{path}'")
        if len(parts) == 1:
            if method == "GET":
                return self._listing.of(kind, path)
            if method != "POST":
                raise Fault(405, "Method not allowed.")
            return self._create(kind, body)
        if len(parts) == 3:
            return self._inner(method, parts, body)
        if method == "GET":
            return {kind: self._listing.one(self.objects.get(kind, parts[1]), path)}
        if method == "PUT":
            return self._update(kind, parts[1], body)
        if method != "DELETE":
            raise Fault(405, "Method not allowed.")
        return self._delete(self.objects.get(kind, parts[1]))

    def _itself(self, path: str) -> Any:
        if path == "/":
            return {
                "href": HOME,
                "links": [{"link": {"href": f"{HOME}/config-root", "name": "config-root", "rel": "root"}}],
            }
        if path == "/aaa-mode":
            return {"aaa-mode": self.mode}
        if self.mode == "no-auth":
            nobody = {"token_info": None, "is_cloud_admin_role": False, "is_global_read_only_role": False}
            return {**nobody, "permissions": "RWX"}
        roles = [{"id": "r", "name": "admin" if self.admin else "member"}]
        known = {"token": {"roles": roles, "user": {"id": "u", "name": "bms"}}}
        return {"token_info": known, "is_cloud_admin_role": self.admin, "is_global_read_only_role": False}

    def _verbs(self) -> Mapping[str, Callable[[Any], Any]]:
        return {
            "fqname-to-id": self._to_id, "id-to-fqname": self._to_name, "ref-update": self._ref_update,
            "prop-collection-update": self._prop_update, "list-bulk-collection": self._listing.bulk,
            "execute-job": self._job,
        }  # fmt: skip

    def _inner(self, method: str, parts: list[str], body: Any) -> Any:
        verbs = {
            "ip-alloc": self.addresses.alloc, "ip-free": self.addresses.free, "subnet-ip-count": self.addresses.count,
        }  # fmt: skip
        if method != "POST" or parts[0] != "virtual-network" or parts[2] not in verbs:
            raise Fault(404, f"Not found: '/{'/'.join(parts)}'")
        network = self.objects.things.get(parts[1])
        if network is None:
            raise Fault(404, f"Virtual Network {parts[1]} not found!")
        return verbs[parts[2]](network, body)

    def _create(self, kind: str, body: Any) -> Any:
        if not isinstance(body, dict) or kind not in body:
            raise Fault(500, f"KeyError: '{kind}'")
        given: dict[str, Any] = body[kind]
        thing = self.objects.shaped(kind, given)
        if kind in ("virtual-network", "network-ipam"):
            self.addresses.shape(thing)
        elif kind == "instance-ip":
            self.addresses.grant(thing)
        elif kind == "virtual-machine-interface":
            self.ports.attach(thing)
        self.objects.keep(thing)
        if kind == "virtual-network":
            self.addresses.route(thing)
        elif kind == "virtual-machine-interface":
            self.ports.attached(thing)
        elif kind == "port":
            self.ports.link(thing)
        elif kind == "virtual-port-group":
            self.ports.numbered(thing)
        return {kind: self.objects.brief(thing)}

    def _update(self, kind: str, ident: str, body: Any) -> Any:
        thing = self.objects.get(kind, ident)
        changes = self.objects.changes(kind, body[kind])
        self._apply(thing, changes)
        return {kind: {"uuid": thing.uuid, "href": self.objects.href(thing)}}

    def _apply(self, thing: Thing, changes: dict[str, Any]) -> None:
        if thing.kind in ("virtual-network", "network-ipam"):
            self.addresses.reshape(thing, changes)
        elif thing.kind == "instance-ip":
            self.addresses.keep_address(thing, changes)
        elif thing.kind == "virtual-machine-interface":
            self.ports.rebind(thing, changes)
        thing.body |= changes
        self.objects.touch(thing)
        if thing.kind == "port":
            self.ports.link(thing)

    def _delete(self, thing: Thing) -> str:
        self.objects.check_deletable(thing)
        self.objects.remove(thing)
        if thing.kind == "instance-ip":
            self.addresses.let_go(thing)
        elif thing.kind == "virtual-network":
            self.addresses.forget(thing)
        elif thing.kind == "virtual-machine-interface":
            self.ports.detached(thing)
        return ""

    def _to_id(self, body: Any) -> Any:
        found = self.objects.by_name(body["type"], body["fq_name"])
        if found is None:
            raise Fault(404, f"Name {body['fq_name']} not found")
        return {"uuid": found.uuid}

    def _to_name(self, body: Any) -> Any:
        found = self.objects.things.get(body["uuid"])
        if found is None:
            raise Fault(404, f"UUID {body['uuid']} not found")
        return {"fq_name": found.fq_name, "type": found.kind}

    def _ref_update(self, body: Any) -> Any:
        verb = str(body.get("operation")).upper()
        if verb not in ("ADD", "DELETE"):
            raise Fault(400, f"Bad Request: operation should be add or delete: {verb}")
        thing = self.objects.get(body["type"], body["uuid"])
        field = body["ref-type"].replace("-", "_") + "_refs"
        target = body.get("ref-uuid") or ""
        if not target:
            found = self.objects.by_name(body["ref-type"], body["ref-fq-name"])
            if found is None:
                raise Fault(404, f"Name {body['ref-fq-name']} not found")
            target = found.uuid
        if verb == "ADD" and target not in self.objects.things:
            raise Fault(404, f"Unknown id: {target}")
        refs = [dict(ref) for ref in thing.body.get(field) or ()]
        if verb == "DELETE":
            refs = [ref for ref in refs if ref["uuid"] != target]
        elif there := next((ref for ref in refs if ref["uuid"] == target), None):
            there["attr"] = body.get("attr")
        else:
            refs.append({"uuid": target, "attr": body.get("attr")})
        changes = {field: refs}
        if field == "network_ipam_refs":
            self.addresses.reshape(thing, changes)
        thing.body |= changes
        self.objects.touch(thing)
        return {"uuid": thing.uuid}

    def _prop_update(self, body: Any) -> str:
        thing = self.objects.things.get(body["uuid"])
        if thing is None:
            raise Fault(404, f"Unknown id: {body['uuid']}")
        for change in body["updates"]:
            field = change["field"]
            pairs = {pair["key"]: pair for pair in (thing.body.get(field) or {}).get("key_value_pair") or ()}
            if change["operation"] == "set":
                pairs[change["value"]["key"]] = change["value"]
            else:
                pairs.pop(change["position"], None)
            self._apply(thing, {field: {"key_value_pair": [*pairs.values()]}})
        return ""

    def _job(self, body: Any) -> Any:
        raise Fault(404, f"Unknown id: job_template {':'.join(body['job_template_fq_name'])}")
