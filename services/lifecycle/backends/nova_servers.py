# SPDX-License-Identifier: Apache-2.0
"""Nova's servers and Placement's offers, as far as deploying through Nova needs them.

A server is made in the tenant's project, by a token of our own login for that project. It is known by the item
``bms_request`` of its metadata, since Nova knows no request ids: whoever lost an answer looks for it before he asks
again. What every server is asked for as, is read and deleted by our login's own project, as administrators may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from services.kernel.errors import Exhausted, PeerUnavailable, WrongState
from services.lifecycle.domain.guests import Guest
from services.lifecycle.ports import NotNow
from services.runtime.openstack import Refused, Transport, ask, shown

COMPUTE = "2.90"
"""Host names (2.90), target nodes (2.74): there since Xena."""
PLACEMENT = "1.10"
PEER = "Nova"
REQUEST = "bms_request"
_NODE = "OS-EXT-SRV-ATTR:hypervisor_hostname"

_PAGE = 200
_LIMITS = (
    ("instances", "maxTotalInstances", "totalInstancesUsed"),
    ("cores", "maxTotalCores", "totalCoresUsed"),
    ("memory", "maxTotalRAMSize", "totalRAMUsed"),
)


@dataclass(frozen=True, slots=True)
class Booked:
    """A server of Nova's.

    Attributes:
        status: ``BUILD``, ``ACTIVE``, ``ERROR`` ...
        fault: why, of one in ERROR; short, without secrets.
        deleting: it is on its way out.
    """

    id: str
    project: str
    status: str
    fault: str = ""
    deleting: bool = False


class NovaServers:
    """Requests to one Nova and its Placement; may be used from any thread.

    Every method raises:
        NotNow: it does not answer, or does not let our login do it, or will not (`boot` raises Refused for that).

    Args:
        compute: answers the transport to Nova for a project of Keystone's; of our login's own for "".
        placement: to Placement.
        project_of: Keystone's id of a project of ours.
    """

    def __init__(
        self, compute: Callable[[str], Transport], placement: Transport, project_of: Callable[[str], str]
    ) -> None:
        self._compute = compute
        self._placement = placement
        self._project_of = project_of

    def boot(self, project: str, server: Mapping[str, object]) -> str:
        """Has the server made in *project*, as we call it; answers its id. Not repeated: after `NotNow` look first.

        Raises:
            Refused: Nova will not.
        """
        there = self._project(project)
        try:
            made = ask(PEER, self._compute(there), "POST", "/servers", {"server": server})
        except PeerUnavailable as error:
            raise silent(error) from None
        except Refused as error:
            if error.status == 403 and "quota" not in error.text.lower():
                raise _not_allowed(there, error.text) from None
            raise
        return str(made["server"]["id"])

    def find(self, project: str, request: str) -> Booked | None:
        """The server of *project* that was asked for as *request*."""
        marker = ""
        where = f"/servers/detail?all_tenants=1&project_id={self._project(project)}&limit={_PAGE}"
        while True:
            page = (self._ask("GET", where + (f"&marker={marker}" if marker else "")) or {}).get("servers") or []
            for each in page:
                if (each.get("metadata") or {}).get(REQUEST) == request:
                    return _booked(each)
            if not page:
                return None
            marker = str(page[-1]["id"])

    def get(self, ident: str) -> Booked | None:
        """The server; None if there is none, or no more."""
        found = self._ask("GET", f"/servers/{quote(ident)}")
        return None if found is None else _booked(found["server"])

    def stop(self, ident: str) -> None:
        """Has Nova take the server for stopped; one that is on its way there already is fine."""
        self._ask("POST", f"/servers/{quote(ident)}/action", {"os-stop": None}, fine=(404, 409))

    def guest(self, holder: str, server: str) -> Guest | None:
        """See `services.lifecycle.guests.watching.Hosts`."""
        answer = self._ask("GET", f"/servers/{quote(holder)}", fine=(400, 404))
        if answer is None:
            # A login that lost its role, or asks at the wrong place, hears the same of whatever is there: not so here.
            self._ask("GET", "/servers?all_tenants=1&limit=1", fine=())
            return None
        found = answer["server"]
        if _NODE not in found:
            msg = f"Nova shows of its server {holder} no more than that it is there: not on which node"
            remedy = "Look at the role of our login in Nova, and at Nova's cells."
            raise NotNow("REFUSED_BY_PEER", msg, remedy=remedy, peer="nova")
        if found[_NODE] != server:
            return None
        faces = [face for network in (found.get("addresses") or {}).values() for face in network]
        return Guest(
            holder=str(found["id"]),
            project=str(found["tenant_id"]),
            server=server,
            display_name=shown(str(found.get("name") or "")),
            status=str(found.get("status") or ""),
            create_time=datetime.fromisoformat(str(found["created"])),
            flavor=shown(str((found.get("flavor") or {}).get("original_name") or "")),
            image=str((found.get("image") or {}).get("id") or ""),
            addresses=tuple((str(face["addr"]), str(face.get("OS-EXT-IPS-MAC:mac_addr") or "")) for face in faces),
            fault=_booked(found).fault,
            deleting=_booked(found).deleting,
        )

    def delete(self, ident: str) -> None:
        """Has it deleted; one that is gone already is fine."""
        self._ask("DELETE", f"/servers/{quote(ident)}")

    def not_offered(self, node: str, trait: str) -> str:
        """Why Placement does not offer *node* to who asks for *trait* now; empty if it does."""
        at = f"/resource_providers/{quote(node)}"
        found, shown_, used = (self._placed(f"{at}/{what}") for what in ("inventories", "traits", "usages"))
        if found is None or shown_ is None or used is None:
            return "Nova has not heard of the node yet"
        offered = {name: row for name, row in found["inventories"].items() if name.startswith("CUSTOM_")}
        if not offered:
            return "Placement has no resource class of the node"
        if any(row["reserved"] >= row["total"] for row in offered.values()):
            return "Placement still shows the node as reserved"
        if any(used["usages"].get(name) for name in offered):
            return "Placement shows the node as used"
        if _DISABLED in shown_["traits"]:
            return "Nova's compute service that the node is of is disabled (openstack compute service list)"
        if trait not in shown_["traits"]:
            return f"Placement does not show trait {trait} of the node, which is a capability of the server"
        return ""

    def check_quota(self, project: str, flavor: str) -> None:
        """That *project* may have one more server of *flavor*.

        Raises:
            Exhausted: its quota says no.
            WrongState: Nova has no such flavor, or cannot tell the quota.
        """
        there = self._project(project)
        limited, found = self._ask("GET", f"/limits?tenant_id={there}"), self._ask("GET", f"/flavors/{quote(flavor)}")
        if limited is None or found is None:
            msg = f"Nova has no flavor {flavor}, or no quota of project {there}"
            raise WrongState(msg, remedy="See the flavor's mirror.", subject=flavor)
        limits, asked = limited["limits"]["absolute"], found["flavor"]
        more = {"instances": 1, "cores": int(asked["vcpus"]), "memory": int(asked["ram"])}
        for what, most, used in _LIMITS:
            limit, now = int(limits.get(most, -1)), int(limits.get(used, 0))
            if 0 <= limit < now + more[what]:
                msg = (
                    f"Nova's quota of {project} allows {limit} {what}, of which {now} are used, and {more[what]} asked"
                )
                remedy = f"Delete what is not needed, or raise it: openstack quota set --{_OPTION[what]} N {there}."
                raise Exhausted(msg, remedy=remedy, quota=what, project=project)

    def _project(self, ours: str) -> str:
        try:
            return self._project_of(ours)
        except PeerUnavailable as error:
            raise silent(error) from None

    def _ask(self, method: str, path: str, body: object = None, *, fine: tuple[int, ...] = (404,)) -> Any:
        """What Nova answers; None where it refuses with a status that is *fine*."""
        return _answered(PEER, self._compute(""), method, path, body, fine)

    def _placed(self, path: str) -> Any:
        return _answered("Placement", self._placement, "GET", path, None, (404,))


def _answered(peer: str, to: Transport, method: str, path: str, body: object, fine: tuple[int, ...]) -> Any:
    try:
        return ask(peer, to, method, path, body)
    except PeerUnavailable as error:
        raise silent(error) from None
    except Refused as error:
        if error.status in fine:
            return None
        if error.status == 403:
            raise _not_allowed("its own", error.text) from None
        msg = f"{peer} refuses ({error.status}): {error.text}".removesuffix(": ")
        raise NotNow("REFUSED_BY_PEER", msg, remedy=f"Look at what {peer} logs.", peer=peer.lower()) from None


_DISABLED = "COMPUTE_STATUS_DISABLED"
"""The trait by which nova-compute keeps the scheduler from its nodes while its service is disabled (os-traits)."""

_OPTION = {"instances": "instances", "cores": "cores", "memory": "ram"}


def _booked(server: Mapping[str, Any]) -> Booked:
    fault = server.get("fault") or {}
    return Booked(
        id=str(server["id"]),
        project=str(server.get("tenant_id") or ""),
        status=str(server.get("status") or ""),
        fault=shown(str(fault.get("message") or "")),
        deleting=server.get("OS-EXT-STS:task_state") == "deleting",
    )


def silent(error: PeerUnavailable) -> NotNow:
    """*error* of a service that is not the server's BMC, as what it is."""
    return NotNow("CONTROLLER_SILENT", str(error), remedy=error.remedy)


def _not_allowed(project: str, text: str) -> NotNow:
    msg = f"Nova does not let our login act in project {project}: {text}".removesuffix(": ")
    remedy = (
        "Give the login of BMS_LIFECYCLE_NOVA_CLOUD role admin there: openstack role add --user U --project P admin."
    )
    return NotNow("REFUSED_BY_PEER", msg, remedy=remedy, peer="nova")
