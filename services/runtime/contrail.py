# SPDX-License-Identifier: Apache-2.0
"""Contrail's configuration API (VNC), as ipam and network both need it: requests, listings, and which thing is whose.

- What we make has a UUID that we choose (`chosen`), made of our own name for it. So it is found without a search, and
  making it a second time is a refusal (409) that is read back.
- The answer to a POST holds names alone: what the server filled in is read by a GET, always.
- There are no versions: a PUT wins over whoever wrote in between, and replaces a list of references whole. So single
  references and single pairs are changed (`add_ref`, `remove_ref`, `set_pairs`), and PUT only what nobody else writes.
- A status of 500 is what many mistakes of callers get: it is a refusal, and nothing is tried again for it.

Sources: recordings of OpenSDN's contrail-api (tests/support/golden/contrail) and its api_server.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from services.kernel.effect import effect
from services.kernel.errors import PeerUnavailable
from services.kernel.names import NETWORK, stable_uuid
from services.runtime.openstack import Refused, Transport, away, shown

PEER = "Contrail"
LEASE = "bms-lease"
"""The annotation of an instance-ip of ours: the name of its lease."""
MAC = "bms-mac"
"""The annotation of an instance-ip of ours: the MAC address that it is for, lower case with colons."""
DEFAULT_PROJECT = "default-domain:default-project"
CONFIG = "default-global-system-config"
"""The name of the parent of what a site has once: switches, servers."""

EXISTS, ADDRESS_TAKEN, REFERRED, EXHAUSTED, QUOTA = "exists", "address-taken", "referred", "exhausted", "quota"
"""`Refused.kind`: the UUID or name is taken; the address is; others refer to it or live in it; no address is left or it
is none of the network's; a quota is used up."""
_KINDS = (
    (re.compile(r"already exists with uuid"), EXISTS),
    # Of several who ask at once for one address, all but one are told of the lock instead.
    (re.compile(r"IP address already in use|exists already.*at zookeeper", re.DOTALL), ADDRESS_TAKEN),
    (re.compile(r"still referred|children still present|Cannot update IP Block"), REFERRED),
    (re.compile(r"has exhausted subnet"), EXHAUSTED),
    (re.compile(r"quota limit"), QUOTA),
)
_AWAY = (408, 429, 502, 503, 504)
_PAGE = 500
_ROUNDS = 3
_LONG = 40
"""More uuids than these do not go into a URL."""
_PROJECT_ID = re.compile(r"[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Resource = dict[str, Any]
"""An object in Contrail's words."""


class Contrail:
    """One Contrail; may be used from any thread.

    Every method but the constructor raises:
        Refused: it will not; ``kind`` is one of those above, or "".
        PeerUnavailable: there is no answer, or our login or its rights are not enough. What was asked for may have
            been done all the same.

    Args:
        project: the full name, by colons, of the project that is ours for words that are no Keystone project.
    """

    def __init__(self, transport: Transport, project: str = DEFAULT_PROJECT) -> None:
        self._to = transport
        self._project = project

    def call(self, method: str, path: str, body: object = None) -> Any:
        """What it answers, an object; an empty one where it answers no more than that it is done."""
        with effect(f"contrail.{method} {re.split('[/?]', path)[1]}"):
            answer = self._to.send(method, path, body)
        if answer.status < 400:
            return answer.body
        text = shown(_sentence(answer.body))
        if answer.status == 401:
            msg = "Contrail refuses our login"
            raise PeerUnavailable(msg, remedy="Look at the login in clouds.yaml.", peer="contrail")
        if answer.status in _AWAY:
            raise away(PEER, f"Contrail cannot take it now ({answer.status}): {text}")
        if answer.status == 403 and "quota" not in text:
            msg = f"Contrail does not let our login do this: {text}"
            raise PeerUnavailable(msg, remedy="Give the login the role of Contrail's cloud admin.", peer="contrail")
        kind = next((kind for pattern, kind in _KINDS if pattern.search(text)), "")
        raise Refused(answer.status, text, QUOTA if answer.status == 412 else kind)

    def get(self, kind: str, ident: str, *fields: str) -> Resource | None:
        """One of *kind* (``virtual-network``), None if there is none.

        Args:
            fields: which properties and references beside names and rights; none asks for everything, back references
                and children too.
        """
        query = f"?{urlencode({'fields': ','.join(fields)}, safe=',')}" if fields else ""
        try:
            found: Resource = self.call("GET", f"/{kind}/{quote(ident)}{query}")[kind]
        except Refused as error:
            if error.status == 404:
                return None
            raise
        return found

    def every(
        self, kind: str, *, fields: Sequence[str] = (), where: Mapping[str, str] | None = None, **anchors: Sequence[str]
    ) -> list[Resource]:
        """Every one of *kind*, with all properties and references.

        Args:
            fields: back references and children to be shown as well.
            where: values of text properties that it must have.
            anchors: ``back_ref_id`` (what it refers to), ``parent_id`` or ``obj_uuids``: uuids, any of which will do;
                for ``fq_names`` see `every_named`.
        """
        query = {"detail": "true", **{name: ",".join(idents) for name, idents in anchors.items()}}
        if fields:
            query["fields"] = ",".join(fields)
        if where:
            query["filters"] = ",".join(f"{name}=={json.dumps(value)}" for name, value in where.items())
        for _ in range(_ROUNDS):
            try:
                return self._anchored(kind, query) if anchors else self._paged(kind, query)
            except Refused as error:
                # What was listed went before it was read.
                if error.status != 404:
                    raise
        raise away(PEER, f"its {kind}s change faster than they can be listed")

    def every_named(self, kind: str, names: Iterable[str], *, fields: Sequence[str] = ()) -> dict[str, Resource]:
        """Those of *kind* that are there, by full name, its parts divided by colons. See `every`.

        Several requests if there are many: addresses of requests are short, and only uuids can be listed by a body.
        """
        wanted = sorted(set(names))
        few = (wanted[at : at + _LONG] for at in range(0, len(wanted), _LONG))
        found = (one for chunk in few for one in self.every(kind, fields=fields, fq_names=chunk))
        return {":".join(one["fq_name"]): one for one in found}

    def page(
        self,
        kind: str,
        after: str,
        size: int,
        *,
        fields: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
        whole: bool = True,
    ) -> tuple[list[Resource], str]:
        """Up to *size* of *kind*, from where *after* says ("": the first), as `every`; where to go on, or "".

        Args:
            whole: False: with names and *fields* alone, which may be properties; what else they say is not read.
        """
        query = {**({"detail": "true"} if whole else {}), "page_marker": after or "none", "page_limit": str(size)}
        if fields:
            query["fields"] = ",".join(fields)
        if where:
            query["filters"] = ",".join(f"{name}=={json.dumps(value)}" for name, value in where.items())
        answer = self.call("GET", f"/{kind}s?{urlencode(query, safe=',')}")
        return [row[kind] if whole else row for row in answer[f"{kind}s"]], str(answer.get("marker") or "")

    def create(self, kind: str, body: Resource) -> Resource:
        """Makes one and answers it as the server has it; one that has the ``uuid`` of *body* already is answered as is.

        Raises:
            Refused: with ``kind`` EXISTS if it is the name that is taken, by another.
        """
        try:
            self.call("POST", f"/{kind}s", {kind: body})
        except Refused as error:
            if error.kind != EXISTS:
                raise
            found = self.get(kind, str(body["uuid"]))
            if found is None:
                raise
            return found
        made = self.get(kind, str(body["uuid"]))
        if made is None:
            raise away(PEER, f"the {kind} {body['uuid']} was made and is gone already")
        return made

    def update(self, kind: str, ident: str, body: Resource) -> None:
        """Changes the properties that *body* names. The last writer wins: nobody else may write them."""
        self.call("PUT", f"/{kind}/{quote(ident)}", {kind: body})

    def delete(self, kind: str, ident: str) -> None:
        """Removes one; one that is gone already is fine."""
        try:
            self.call("DELETE", f"/{kind}/{quote(ident)}")
        except Refused as error:
            if error.status != 404:
                raise

    def add_ref(self, kind: str, ident: str, to: str, other: str, attr: object = None) -> None:
        """Has one refer to *other*, which is of kind *to*; changes the *attr* if it does already. Others stay."""
        self._ref("ADD", kind, ident, to, other, attr)

    def remove_ref(self, kind: str, ident: str, to: str, other: str) -> None:
        """Has one refer to *other* no more; fine if it does not, or is gone."""
        try:
            self._ref("DELETE", kind, ident, to, other, None)
        except Refused as error:
            if error.status != 404:
                raise

    def set_pairs(self, ident: str, field: str, pairs: Mapping[str, str]) -> None:
        """Sets these pairs of a property that is a list of keys and values (``annotations``); others stay."""
        updates = [
            {"field": field, "operation": "set", "position": key, "value": {"key": key, "value": value}}
            for key, value in pairs.items()
        ]
        self.call("POST", "/prop-collection-update", {"uuid": ident, "updates": updates})

    def named(self, kind: str, *fq_name: str) -> str | None:
        """The UUID of one by its full name; None if there is none."""
        try:
            return str(self.call("POST", "/fqname-to-id", {"type": kind, "fq_name": list(fq_name)})["uuid"])
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def project(self, ours: str) -> Resource | None:
        """The project of *ours*: a Keystone project's id is its UUID; for words of our own (``site``) one is set."""
        if _PROJECT_ID.fullmatch(ours):
            return self.get("project", dashed(ours), "display_name")
        ident = self.named("project", *self._project.split(":"))
        return None if ident is None else self.get("project", ident, "display_name")

    def _anchored(self, kind: str, query: dict[str, str]) -> list[Resource]:
        if sum(value.count(",") for value in query.values()) < _LONG:
            answer = self.call("GET", f"/{kind}s?{urlencode(query, safe=',')}")
        else:
            answer = self.call("POST", "/list-bulk-collection", {"type": kind, **query, "detail": True})
        return [row[kind] for row in answer[f"{kind}s"]]

    def _paged(self, kind: str, query: dict[str, str]) -> list[Resource]:
        found: dict[str, Resource] = {}
        marker = "none"
        while marker:
            page = {**query, "page_marker": marker, "page_limit": str(_PAGE)}
            answer = self.call("GET", f"/{kind}s?{urlencode(page, safe=',')}")
            found |= {str(row[kind]["uuid"]): row[kind] for row in answer[f"{kind}s"]}
            marker = answer.get("marker") or ""
        return [*found.values()]

    def _ref(self, verb: str, kind: str, ident: str, to: str, other: str, attr: object) -> None:
        body = {"type": kind, "uuid": ident, "ref-type": to, "ref-uuid": other, "operation": verb, "attr": attr}
        self.call("POST", "/ref-update", body)


def find_network(api: Contrail, name: str, *fields: str) -> Resource | None:
    """The virtual network that is ``projects/{p}/networks/{n}``; None if there is none, or it is not p's.

    It is the one that we made for that name; else the one whose UUID is n, if it is p's or shared. Of a p that is no
    Keystone project but a word of the site's own, it may be anybody's: only administrators have such.

    Args:
        fields: which references it is shown with; see `Contrail.get`.
    """
    project, ident = NETWORK.parse(name)
    fields = ("display_name", "is_shared", *fields)
    found = api.get("virtual-network", network_uuid(name), *fields)
    if found is not None or not _UUID.fullmatch(ident):
        return found
    found = api.get("virtual-network", ident, *fields)
    if found is None or not _PROJECT_ID.fullmatch(project) or _may_use(found, project):
        return found
    return None


def network_uuid(name: str) -> str:
    """The UUID of the virtual network that we make for ``projects/{p}/networks/{n}``."""
    return chosen("virtual-network", name)


def network_label(name: str) -> str:
    """Its name within its project."""
    project, ident = NETWORK.parse(name)
    # Words of our own share one project of Contrail's.
    return ident if _PROJECT_ID.fullmatch(project) else f"{project}.{ident}"


def chosen(kind: str, ours: str) -> str:
    """The UUID of the *kind* that we make for what we call *ours*: always the same one."""
    return stable_uuid("contrail", kind, ours)


def interface_name(switch_port: str) -> str:
    """A physical interface's name: ``et-0/0/48:1`` is stored with an underscore, for names have no colons."""
    return switch_port.replace(":", "_")


def listed_name(switch: str, switch_port: str) -> str:
    """The full name of a physical interface, for `Contrail.every_named`; empty if nothing can be listed by it."""
    # Names are divided by colons, lists by commas.
    if ":" in switch or "," in switch + switch_port:
        return ""
    return ":".join((CONFIG, switch, interface_name(switch_port)))


def dashed(ident: str) -> str:
    """A Keystone id as a UUID."""
    digits = ident.replace("-", "")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def pairs_of(resource: Resource, field: str) -> dict[str, str]:
    """A property that is a list of keys and values, as a dictionary."""
    found = (resource.get(field) or {}).get("key_value_pair") or ()
    return {str(pair["key"]): str(pair["value"]) for pair in found}


def listed(pairs: Mapping[str, str]) -> dict[str, list[dict[str, str]]]:
    """A property that is a list of keys and values, as it is sent."""
    return {"key_value_pair": [{"key": key, "value": value} for key, value in pairs.items()]}


def refs_of(resource: Resource, kind: str) -> list[Resource]:
    """The references of *resource* to things of *kind*."""
    found: list[Resource] = resource.get(f"{kind.replace('-', '_')}_refs") or []
    return found


def _may_use(network: Resource, project: str) -> bool:
    perms = network.get("perms2") or {}
    shares = {
        str(share.get("tenant", "")).removeprefix("tenant:").replace("-", "") for share in perms.get("share") or ()
    }
    owner = str(network.get("parent_uuid") or "").replace("-", "")
    return owner == project or project in shares or bool(network.get("is_shared") or perms.get("global_access"))


def _sentence(body: Mapping[str, Any]) -> str:
    """Why it was refused: errors are bare text, of which a traceback's last line says it; Keystone's are JSON."""
    text = body.get("message")
    if isinstance(text, str):
        return text if len(text) < 2000 else text.strip().rpartition("\n")[2]
    error = body.get("error")
    return str(error.get("message", "")) if isinstance(error, dict) else ""
