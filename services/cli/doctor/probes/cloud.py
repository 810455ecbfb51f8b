# SPDX-License-Identifier: Apache-2.0
"""The login of a cloud: what Keystone says of it, and where the other services are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.cli.doctor.facts import CATALOGUE, Endpoint, Keystone
from services.cli.doctor.probes.http import Answer, Api, ahead, endpoint, place, why

if TYPE_CHECKING:
    from keystoneauth1.access.access import AccessInfo
    from keystoneauth1.session import Session
    from openstack.config.cloud_region import CloudRegion

    from services.runtime.keystone.clouds import Login

SETTINGS = {
    "BMS_LIFECYCLE_IRONIC_CLOUD": "baremetal", "BMS_LIFECYCLE_NOVA_CLOUD": "compute",
    "BMS_LIFECYCLE_NEUTRON_CLOUD": "network", "BMS_INVENTORY_NOVA_CLOUD": "compute",
    "BMS_INVENTORY_GLANCE_CLOUD": "image", "BMS_NETWORK_NEUTRON_CLOUD": "network",
    "BMS_IPAM_NEUTRON_CLOUD": "network", "BMS_KEYSTONE_CLOUD": "identity",
    "BMS_NETWORK_CONTRAIL_CLOUD": "identity", "BMS_IPAM_CONTRAIL_CLOUD": "identity",
}  # fmt: skip
"""The services' settings that name a cloud, and what of it they use."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """A cloud that can be asked.

    Attributes:
        keystone: None for a service that stands alone.
        urls: where the service of each type is, as far as known.
        absent: why a service that is not in *urls* cannot be asked.
    """

    session: Session
    seconds: float
    keystone: Keystone | None
    urls: Mapping[str, str]
    absent: str = ""

    def api(self, section: str, **headers: str) -> Api | Endpoint:
        """The API of *section*; or, if there is none to ask, how that is."""
        url = self.urls.get(CATALOGUE[section])
        if url is None:
            # What is not in the catalogue is told once, by the catalogue's own check.
            kind = "unasked" if self.keystone and not self.keystone.endpoint.answers else "absent"
            return Endpoint("", why=self.absent or "Keystone's catalogue has none", kind=kind)
        return Api(self.session, url, self.seconds, headers)


def alone(endpoint: str, seconds: float) -> Cloud:
    """An Ironic at *endpoint* that lets anybody in."""
    from keystoneauth1.session import Session

    return Cloud(Session(timeout=seconds), seconds, None, {"baremetal": _root(endpoint)})


def log_in(login: Login, cloud: str, seconds: float, environ: Mapping[str, str]) -> Cloud:
    """Logs in to *cloud*, a name in clouds.yaml, by its *login*; who cannot be reached is told in what is answered."""
    from keystoneauth1.exceptions import ClientException
    from keystoneauth1.identity.base import BaseIdentityPlugin

    region, session = login.region, login.session
    auth = session.auth
    if not isinstance(auth, BaseIdentityPlugin):
        overridden = {kind: url for kind in CATALOGUE.values() if (url := region.get_endpoint(kind))}
        trimmed = {kind: _root(url) for kind, url in overridden.items()}
        return Cloud(session, seconds, None, trimmed, f"cloud {cloud!r} has no Keystone and names no address for it")
    api = Api(session, str(auth.auth_url or "").rstrip("/"), seconds)
    keystone = Keystone(place(api.url, verified=session.verify is not False), cloud, settings=_settings(environ))
    wall = time.time()
    try:
        access: AccessInfo = auth.get_access(session)
    except ClientException as error:
        silent = why(error, seconds)
        gone = replace(keystone, endpoint=replace(keystone.endpoint, why=str(silent), kind=silent.kind))
        return Cloud(session, seconds, gone, {}, "there is no token for it")
    found = endpoint(api, "", _versions)
    if found.answers and found.skew is None and access.issued is not None:
        # Its answers have no date behind some servers; a token says when it was issued.
        moment = ahead(access.issued.isoformat(), wall)
        found = replace(found, skew=moment, slack=1.0 + time.time() - wall)
    urls = {kind: _root(url) for kind in CATALOGUE.values() if (url := _url(region, access, kind))}
    told = replace(
        keystone,
        endpoint=found,
        user=access.username or "",
        project=access.project_name or "",
        project_id=access.project_id or "",
        system=bool(access.system_scoped),
        roles=tuple(access.role_names or ()),
        catalogue=urls,
        wanted={kind: name for name, kind in SETTINGS.items() if environ.get(name)},
    )
    return Cloud(session, seconds, told, urls)


def _settings(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name].strip() for name in SETTINGS if environ.get(name, "").strip()}


def _url(region: CloudRegion, access: AccessInfo, kind: str) -> str:
    if given := region.get_endpoint(kind):
        return given
    catalogue = access.service_catalog
    interface = region.get_interface(kind) or "public"
    found = catalogue.get_endpoints_data(
        service_type=kind, interface=interface, region_name=region.get_region_name(kind)
    )
    return next((each.url for rows in found.values() for each in rows if each.url), "")


def _root(url: str) -> str:
    """*url* without its version: versions are ours to choose."""
    head, _, tail = url.rstrip("/").rpartition("/")
    if tail[:1] == "v" and tail[1:2].isdigit():
        return head
    above, _, version = head.rpartition("/")
    return above if version[:1] == "v" and version[1:2].isdigit() else url.rstrip("/")


def _versions(answer: Answer) -> tuple[str, str]:
    told = answer.body.get("version") or answer.body["versions"]["values"][0]
    return "", str(told["id"]).removeprefix("v")
