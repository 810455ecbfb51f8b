# SPDX-License-Identifier: Apache-2.0
"""Neutron, as ipam and network both need it: requests, whole listings, and which of its networks is which of ours.

Three rules hold for both services:

- ``projects/{p}/networks/{n}`` is the Neutron network that `find_network` finds.
- A port of a server is known by its **network and MAC address**, which Neutron keeps unique.
- What we make says so twice: in `description` from its first moment on, because Neutron takes no tags while it makes a
  thing (for ports it answers 201 and drops them), and by a tag set right after (`mark`), which people rarely edit.
  `is_ours` takes either. A port made by ipam is marked `LEASE` and never deleted by network; one that network made is
  marked `PORT`.

The SDK is imported when a cloud is opened, and not before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from services.kernel.effect import effect
from services.kernel.errors import InvalidField, PeerUnavailable
from services.runtime.keystone.clouds import NoCloud, shared_login
from services.runtime.openstack import Refused, Transport, ask, away
from services.runtime.openstack_sdk import Cloud

PEER = "Neutron"
LEASE = "bms-lease"
"""The mark of a port that ipam made to hold an address."""
PORT = "bms-port"
"""The mark of a port that network made because there was none."""

_PAGE = 500
_ROUNDS = 3
_PROJECT_ID = re.compile(r"[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Resource = dict[str, Any]
"""A network, port, subnet or trunk in Neutron's words."""


class Neutron:
    """One Neutron; may be used from any thread.

    Every method and property but the constructor raises:
        Refused: Neutron will not; ``kind`` is its own word (``IpAddressAlreadyAllocated``, ``MacAddressInUse``,
            ``OverQuota``, ``NetworkInUse``).
        PeerUnavailable: there is no answer, or our login or its rights are not enough. What was asked for may have
            been done all the same.

    Args:
        own_project: the id of the project that our login is for, or who knows it, who is asked when it is first needed.
    """

    def __init__(self, transport: Transport, own_project: str | Callable[[], str]) -> None:
        self._to = transport
        self._own_project = own_project

    @property
    def own_project(self) -> str:
        """The id of the project that our login is for."""
        if not isinstance(self._own_project, str):
            self._own_project = self._own_project()
        return self._own_project

    def call(self, method: str, path: str, body: object = None) -> Any:
        """What Neutron answers; *path* is below ``/v2.0``."""
        try:
            with effect(f"neutron.{method} {re.split('[/?]', path)[1]}"):
                return ask(PEER, self._to, method, path, body)
        except Refused as error:
            if error.status != 403:
                raise
            msg = f"Neutron does not let our login do this: {error.text}"
            raise PeerUnavailable(msg, remedy="Give the login role admin.", peer="neutron") from None

    def get(self, collection: str, ident: str) -> Resource | None:
        """One of *collection* (``ports``), None if there is none."""
        try:
            found: Resource = self.call("GET", f"/{collection}/{quote(ident)}")[_singular(collection)]
        except Refused as error:
            if error.status == 404:
                return None
            raise
        return found

    def every(self, collection: str, **where: str | list[str]) -> list[Resource]:
        """Every one of *collection* that is as *where* says, in full; a filter's colon is written ``__``.

        ``every("ports", binding__host_id=server, mac_address=[first, second])``
        """
        terms = [(key.replace("__", ":"), value) for key, value in where.items()]
        query = urlencode(terms, doseq=True)
        for _ in range(_ROUNDS):
            found = self._all(collection, query)
            if found is not None:
                return found
        raise away(PEER, f"its {collection} change faster than they can be listed")

    def page(self, collection: str, after: str, size: int, **where: str) -> tuple[list[Resource], str]:
        """Up to *size* of *collection* after the one with id *after* ("": the first); where to go on, or ""."""
        terms = {
            **where,
            "limit": str(size),
            "sort_key": "id",
            "sort_dir": "asc",
            **({"marker": after} if after else {}),
        }
        answer = self.call("GET", f"/{collection}?{urlencode(terms)}")
        found: list[Resource] = answer[collection]
        more = any(link.get("rel") == "next" for link in answer.get(f"{collection}_links") or ())
        return found, str(found[-1]["id"]) if found and more else ""

    def create(self, collection: str, body: Mapping[str, object]) -> Resource:
        """Makes one of *collection*. Not repeated behind anybody's back: after PeerUnavailable look first."""
        made: Resource = self.call("POST", f"/{collection}", {_singular(collection): body})[_singular(collection)]
        return made

    def update(self, collection: str, ident: str, body: Mapping[str, object]) -> Resource:
        """Changes what *body* names and nothing else."""
        word = _singular(collection)
        changed: Resource = self.call("PUT", f"/{collection}/{quote(ident)}", {word: body})[word]
        return changed

    def delete(self, collection: str, ident: str) -> None:
        """Removes one; one that is gone already is fine."""
        try:
            self.call("DELETE", f"/{collection}/{quote(ident)}")
        except Refused as error:
            if error.status != 404:
                raise

    def mark(self, collection: str, ident: str, tag: str) -> None:
        """Sets *tag* on one, beside those it has."""
        self.call("PUT", f"/{collection}/{quote(ident)}/tags/{quote(tag, safe='')}")

    def extensions(self) -> frozenset[str]:
        """The aliases of what this Neutron can."""
        return frozenset(str(each["alias"]) for each in self.call("GET", "/extensions?fields=alias")["extensions"])

    def project(self, ours: str) -> str:
        """The Keystone project of *ours*; a word of our own (``site``) is that of our login."""
        return ours if _PROJECT_ID.fullmatch(ours) else self.own_project

    def _all(self, collection: str, query: str) -> list[Resource] | None:
        """Page after page; None: the one that a page began after is gone, so that all must be listed again."""
        found: dict[str, Resource] = {}
        marker = ""
        while True:
            parts = (query, f"limit={_PAGE}", f"marker={marker}" if marker else "")
            try:
                answer = self.call("GET", f"/{collection}?" + "&".join(part for part in parts if part))
            except Refused as error:
                if marker and error.status in (400, 404):
                    return None
                raise
            word = collection.replace("-", "_")
            page: list[Resource] = answer[word]
            fresh = {str(each["id"]): each for each in page if each["id"] not in found}
            found |= fresh
            more = any(link.get("rel") == "next" for link in answer.get(f"{word}_links") or ())
            if not fresh or not more:
                return [*found.values()]
            marker = str(page[-1]["id"])


def open_neutron(cloud: str, seconds: float = 20.0, *, setting: str) -> Neutron:
    """The Neutron of *cloud*, by the login that the whole process shares. It asks nobody yet.

    Args:
        cloud: a name in clouds.yaml, or ``envvars``.
        seconds: how long one request may take.
        setting: what named the cloud, for the refusal.

    Raises:
        InvalidField: there is no such cloud, or its login is incomplete.
    """
    try:
        login = shared_login(cloud)
    except NoCloud as error:
        remedy = "Name a cloud of clouds.yaml, or envvars for the OS_* variables. OS_CLIENT_CONFIG_FILE says where."
        raise InvalidField(setting, str(error), remedy=remedy) from None
    there = Cloud(cloud, setting, lambda: login)
    return Neutron(there.service(PEER, "network", seconds=seconds), there.own_project)


def find_network(api: Neutron, name: str) -> Resource | None:
    """The Neutron network that is ``projects/{p}/networks/{n}``; None if there is none, or it is not p's.

    It is the one marked ``bms-network={n}`` in project p; else the one whose id is n, if it is p's or shared. Of a p
    that is no Keystone project but a word of the site's own, it may be anybody's: only administrators have such.

    See `Neutron` for what is raised.
    """
    _, project, _, ident = name.split("/")
    tag = network_tag(name)
    candidates = [
        *api.every("networks", tags=tag, project_id=api.project(project)),
        *api.every("networks", description=tag, project_id=api.project(project)),
    ]
    if candidates:
        # Two replicas may have made one each; whoever made the younger takes it away again.
        return min(candidates, key=age)
    found = api.get("networks", ident) if _UUID.fullmatch(ident) else None
    if found is None or not (
        found["project_id"] == api.project(project) or found["shared"] or not _PROJECT_ID.fullmatch(project)
    ):
        return None
    return found


def trunk_above(api: Neutron, port: str) -> Resource | None:
    """The trunk that *port*, by its id, is a subport of; None if there is none.

    With most plugins the port itself does not tell, and Neutron cannot be asked for it: every trunk is looked at.

    See `Neutron` for what is raised.
    """
    try:
        trunks = api.every("trunks")
    except Refused as error:
        if error.status == 404:
            return None  # a Neutron that knows no trunks
        raise
    return next((one for one in trunks if any(sub["port_id"] == port for sub in one["sub_ports"])), None)


def network_tag(name: str) -> str:
    """The mark of the Neutron network that we make for ``projects/{p}/networks/{n}``."""
    _, project, _, ident = name.split("/")
    # Words of our own share one project of Neutron's.
    return f"bms-network={ident}" if _PROJECT_ID.fullmatch(project) else f"bms-network={project}/{ident}"


def is_ours(resource: Resource, mark: str) -> bool:
    """Whether *resource* bears *mark*."""
    return mark in (resource.get("tags") or ()) or resource.get("description") == mark


def age(resource: Resource) -> tuple[str, str]:
    """Sorts the oldest first, and the same way for everybody."""
    return str(resource.get("created_at") or ""), str(resource["id"])


def _singular(collection: str) -> str:
    return collection.removesuffix("s")
