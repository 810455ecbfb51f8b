# SPDX-License-Identifier: Apache-2.0
"""Asks the API servers of a Contrail, each for itself, and one of them what of ours is in it.

Who one is there, ``GET /obj-perms`` tells, and ``GET /aaa-mode`` whether anybody is asked (OpenSDN's api_server.py).
Older releases look for the token of ``/obj-perms`` in a header of its own, so it stands in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from services.cli.doctor.contrail_facts import PRIVATE, ApiServer, Contrail, OurNetwork, Plug, Project
from services.cli.doctor.facts import Seen, T_co
from services.cli.doctor.probes.http import Answer, Api, Silent, endpoint, readable, why
from services.kernel.errors import InvalidField, PeerUnavailable
from services.runtime import openstack
from services.runtime.contrail import (
    MAC,
    Resource,
    dashed,
    find_network,
    listed_name,
    pairs_of,
    refs_of,
)
from services.runtime.contrail import Contrail as Vnc
from services.runtime.contrail_http import Access
from services.runtime.contrail_networks import LEADS_IN, NATIVE_VLAN, open_to_others, vlan_of
from services.runtime.openstack import Refused

if TYPE_CHECKING:
    from keystoneauth1.session import Session

SERVICES = ("network", "ipam")
_COUNTED = ("instance_ip", "virtual_machine_interface", "virtual_network")


@dataclass(frozen=True, slots=True)
class Named:
    """Which Contrail it is, by the settings of the services in this environment, or by the line.

    Attributes:
        access: how each service reaches it.
        faults: variables that cannot be understood, and why.
    """

    urls: tuple[str, ...] = ()
    access: tuple[tuple[str, Access], ...] = ()
    faults: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, environ: Mapping[str, str], urls: Sequence[str]) -> Named:
        """What *environ* and the line say."""
        access, faults = [], []
        for service in SERVICES:
            prefix = f"BMS_{service.upper()}_CONTRAIL_"
            if not environ.get(f"{prefix}URLS", "").strip():
                continue
            try:
                access.append((service, Access.read(environ, prefix)))
            except InvalidField as error:
                faults += [(each.field, f"{each.description}. {error.remedy}".strip()) for each in error.violations]
        every = [*urls, *(url for _, one in access for url in one.urls)]
        return cls(tuple(dict.fromkeys(every)), tuple(access), tuple(faults))


def look(
    named: Named,
    session: Session,
    networks: Callable[[], Seen[tuple[OurNetwork, ...]]],
    plugs: Callable[[], Seen[tuple[Plug, ...]]],
    environ: Mapping[str, str],
    seconds: float,
) -> Contrail:
    """What is seen of the Contrail that is *named*, with the login of *session*.

    Args:
        networks, plugs: ask our services for theirs.
    """
    apis = [Api(session, url, seconds) for url in named.urls]
    servers = [_server(api) for api in apis]
    found = Contrail(
        tuple(servers),
        settings=tuple(service for service, _ in named.access),
        tokenless=tuple(f"BMS_{service.upper()}_CONTRAIL_CLOUD" for service, one in named.access if not one.cloud),
        faults=named.faults,
    )
    asked = next((api for api, one in zip(apis, servers, strict=True) if one.endpoint.answers and one.shows_all), None)
    if asked is None:
        hidden: Seen[Any] = Seen(None, "no API server shows our login everything")
        return replace(found, projects=hidden, fabrics=hidden, networks=hidden, plugs=hidden, limits=hidden)
    api = Vnc(_Through(asked))
    return replace(_within(found, api, named, networks(), plugs(), environ), limits=_limits(api, session))


def _server(api: Api) -> ApiServer:
    from keystoneauth1.session import Session

    # Without a token, so that what is wrong with Keystone is not told of Contrail.
    at = endpoint(replace(api, session=Session(verify=api.session.verify, cert=api.session.cert)), "/", _discovered)
    if not at.answers:
        return ApiServer(at)
    mode = api.see("/aaa-mode", lambda body: str(body["aaa-mode"]))
    site = api.see("/global-system-configs", lambda body: str(body["global-system-configs"][0]["uuid"]))
    return ApiServer(at, mode, _admin(api, mode), site)


def _discovered(answer: Answer) -> tuple[str, str]:
    if not isinstance(answer.body["links"], list):
        raise TypeError
    return "", ""


def _admin(api: Api, mode: Seen[str]) -> Seen[bool]:
    from keystoneauth1.exceptions import ClientException

    if mode.value == "no-auth":
        return Seen(None, "it asks nobody who he is")
    try:
        token = api.session.get_token() if api.session.auth else None
        answer = api.ask("/obj-perms", **({"X-User-Token": token} if token else {}))
    except Silent as error:
        return Seen(None, str(error))
    except ClientException as error:
        return Seen(None, str(why(error, api.seconds)))
    if answer.status == 403:
        # Its rules keep nothing from who has the role.
        return Seen(False)
    if refusal := answer.refusal():
        return Seen(None, refusal)
    return readable(lambda: bool(answer.body["is_cloud_admin_role"]))


def _limits(api: Vnc, session: Session) -> Seen[dict[str, int]]:
    """The quotas of the login's project: things without a parent, as instance-ips are, count there."""
    ident = session.get_project_id() if session.auth else None
    if not ident:
        return Seen(None, "our login is for no project")

    def read() -> dict[str, int]:
        project = api.get("project", dashed(ident), "quota")
        if project is None:
            msg = f"Contrail does not know the login's project {dashed(ident)}"
            raise PeerUnavailable(msg, peer="contrail")
        quota = project.get("quota") or {}
        return {name: int(-1 if quota.get(name) is None else quota[name]) for name in _COUNTED}

    return _seen(read)


class _Through:
    """`services.runtime.openstack.Transport` by the doctor's own requests."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> openstack.Answer:
        """See `Transport.send`."""
        try:
            answer = self._api.ask(path, method, json=body)
        except Silent as error:
            raise PeerUnavailable(str(error), peer="contrail") from None
        return openstack.Answer(answer.status, dict(answer.body))


def _within(
    found: Contrail,
    api: Vnc,
    named: Named,
    networks: Seen[tuple[OurNetwork, ...]],
    plugs: Seen[tuple[Plug, ...]],
    environ: Mapping[str, str],
) -> Contrail:
    wanted = [(f"BMS_{service.upper()}_CONTRAIL_PROJECT", one.project) for service, one in named.access]
    idents = {name: _seen(partial(api.named, "project", *name.split(":"))) for _, name in wanted}
    missing = next((one.why for one in idents.values() if one.why), "")
    projects = tuple(Project(setting, name, bool(idents[name].value)) for setting, name in wanted)
    fabrics = _seen(lambda: {one["fq_name"][-1]: one for one in api.every("fabric")})
    told = environ.get("BMS_NETWORK_CONTRAIL_PRIVATE_PROJECTS", "")
    ours = next((idents[name].value for setting, name in wanted if "NETWORK" in setting), None)
    trusted = {dashed(each.strip()) for each in told.split(",") if each.strip()} | {ours} if ours else set()
    return replace(
        found,
        projects=Seen(None, missing) if missing else Seen(projects),
        fabrics=Seen(None, fabrics.why) if fabrics.value is None else Seen(frozenset(fabrics.value)),
        enterprise=frozenset(
            name for name, one in (fabrics.value or {}).items() if one.get("fabric_enterprise_style") is True
        ),
        networks=_each(networks, lambda those: _networks(api, those)),
        plugs=_each(plugs, lambda those: _plugs(api, those)),
        trusted=frozenset(trusted),
        native_vlan=_number(environ.get("BMS_NETWORK_CONTRAIL_NATIVE_VLAN", "")),
    )


def _number(text: str) -> int:
    return int(text) if text.strip().isdecimal() else NATIVE_VLAN


def _seen(ask: Callable[[], T_co]) -> Seen[T_co]:
    """What *ask* answers, or why it does not."""
    try:
        return readable(ask)
    except (Refused, PeerUnavailable) as error:
        return Seen(None, str(error))


def _each(those: Seen[T_co], look: Callable[[T_co], T_co]) -> Seen[T_co]:
    if those.value is None:
        return those
    value = those.value
    return _seen(lambda: look(value))


def _networks(api: Vnc, those: tuple[OurNetwork, ...]) -> tuple[OurNetwork, ...]:
    """Each with what stands under it: the one that was made for it, else the one whose UUID is its id."""
    found = []
    for each in those:
        network = find_network(api, each.name, "annotations", "network_ipam_refs", *LEADS_IN)
        found.append(_network(api, each, network) if network else each)
    return tuple(found)


def _network(api: Vnc, each: OurNetwork, network: Resource) -> OurNetwork:
    attrs = [ref.get("attr") or {} for ref in refs_of(network, "network-ipam")]
    subnets = [one for attr in attrs for one in attr.get("ipam_subnets") or ()]
    ident = str(network["uuid"])
    held = api.every("instance-ip", back_ref_id=[ident]) if each.port_class in PRIVATE else []
    return replace(
        each,
        uuid=ident,
        project=str(network.get("parent_uuid") or ""),
        vlan=vlan_of(network),
        open=open_to_others(network),
        subnets=len(subnets),
        dhcp=sum(one.get("enable_dhcp") is not False for one in subnets),
        macs=frozenset(pairs_of(one, "annotations").get(MAC, "") for one in held) - {""},
    )


def _plugs(api: Vnc, those: tuple[Plug, ...]) -> tuple[Plug, ...]:
    routers = {one["fq_name"][-1]: one for one in api.every("physical-router")}
    names = [listed_name(one.switch, one.port) for one in those]
    there = api.every_named("physical-interface", filter(None, names))
    found = []
    for each, name in zip(those, names, strict=True):
        router = routers.get(each.switch)
        fabric = next((str(ref["to"][-1]) for ref in refs_of(router or {}, "fabric")), "")
        found.append(replace(each, router=router is not None, there=name in there, fabric=fabric))
    return tuple(found)
