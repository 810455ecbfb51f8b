# SPDX-License-Identifier: Apache-2.0
"""What is in the cloud when it is ready: people, a catalogue, networks, an image, flavors. Each can run again."""

from __future__ import annotations

from typing import Any

import yaml
from openstack.connection import Connection

from tests.openstack.cloud.neutron import PHYSICAL_NETWORK
from tests.openstack.cloud.parts import write_private
from tests.openstack.cloud.place import LOGINS, SERVICES, Place
from tests.openstack.cloud.settings import REGION

CLASSES = {"fake": "baremetal.fake", "redfish": "baremetal.redfish"}
"""Ironic's resource classes by kind of node. Flavor ``bm.fake`` asks for one of the first."""

PROVIDER = {"cleaning": 101, "provisioning": 102, "rescuing": 103, "inspection": 104}
"""VLANs of Ironic's own networks."""

TENANT = {"tenant-a": 120, "tenant-b": 121}
"""VLANs of the networks ``net-a`` and ``net-b``, which the tenants have when they come. Their own get others."""

IMAGE = b"not a system, but an image of one\n" * 500


def write_clouds(place: Place) -> None:
    """The clouds.yaml: admin, site (our own login, in project service), tenant-a, tenant-b.

    Beside them there is admin-system, who is admin of no project but of the system.
    """
    projects = {"admin": "admin", "site": "service", "tenant-a": "tenant-a", "tenant-b": "tenant-b"}
    clouds: dict[str, dict[str, Any]] = {
        name: {
            "region_name": REGION,
            "auth": {
                "auth_url": place.auth_url, "username": "bms" if name == "site" else name,
                "password": place.secrets[name], "project_name": projects[name],
                "user_domain_name": "Default", "project_domain_name": "Default",
            },
        }
        for name in LOGINS
    }  # fmt: skip
    system: dict[str, Any] = {
        "auth_url": place.auth_url, "username": "admin", "password": place.secrets["admin"],
        "user_domain_name": "Default", "system_scope": "all",
    }  # fmt: skip
    clouds["admin-system"] = {"region_name": REGION, "auth": system}
    write_private(place.clouds, yaml.safe_dump({"clouds": clouds}, sort_keys=False))


def connect(place: Place, cloud: str = "admin", **auth: str) -> Connection:
    """A connection of the SDK as *cloud* of clouds.yaml; *auth* in place of what is there."""
    known = yaml.safe_load(place.clouds.read_text())["clouds"][cloud]
    return Connection(
        region_name=REGION,
        auth={**known["auth"], **auth},
        # Nova refuses to rebuild an Ironic server when it is asked in a later one.
        compute_default_microversion="2.92",
    )


def populate(place: Place) -> None:
    """Makes users, projects, roles and the catalogue."""
    identity: Any = connect(place).identity
    roles = {role.name: role for role in identity.roles()}
    for name in ("admin", "member", "reader", "service"):
        roles[name] = roles.get(name) or identity.create_role(name=name)

    def project(name: str) -> Any:
        return identity.find_project(name) or identity.create_project(name=name, domain_id="default")

    def user(name: str, password: str) -> Any:
        return identity.find_user(name) or identity.create_user(name=name, password=password, domain_id="default")

    def grant(where: Any, who: Any, *names: str) -> None:
        for name in names:
            identity.assign_project_role_to_user(where, who, roles[name])

    admin, service = identity.find_user("admin"), project("service")
    identity.assign_system_role_to_user(admin, roles["admin"], "all")
    for name in SERVICES:
        grant(service, user(name, place.secrets[name]), "admin", "service")
    grant(service, user("bms", place.secrets["site"]), "admin", "service")
    for tenant in TENANT:
        grant(project(tenant), user(tenant, place.secrets[tenant]), "member", "reader")
    _catalogue(place, identity)


def _catalogue(place: Place, identity: Any) -> None:
    kinds = {
        "baremetal": ("ironic", "/"), "image": ("glance", "/"), "compute": ("nova", "/v2.1"),
        "network": ("neutron", "/"), "placement": ("placement", "/"),
    }  # fmt: skip
    services = {service.type: service for service in identity.services()}
    endpoints = {(each.service_id, each.interface): each for each in identity.endpoints()}
    for kind, (name, path) in kinds.items():
        service = services.get(kind) or identity.create_service(type=kind, name=name)
        url = place.url(name, path.rstrip("/"))
        for interface in ("public", "internal"):
            there = endpoints.get((service.id, interface))
            if there is None:
                identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id=REGION)
            elif there.url != url:
                identity.update_endpoint(there.id, url=url)


def lay_out(place: Place) -> None:
    """Makes networks, an image and flavors."""
    cloud: Any = connect(place)
    for at, (name, vlan) in enumerate(PROVIDER.items()):
        _network(cloud, name, vlan, f"10.99.{at}.0/24")
    for name, vlan in TENANT.items():
        owner = cloud.identity.find_project(name).id
        _network(cloud, f"net-{name[-1]}", vlan, f"10.20.{vlan}.0/24", project_id=owner)
    if not cloud.image.find_image("tiny"):
        cloud.image.create_image(
            name="tiny", data=IMAGE, disk_format="raw", container_format="bare", visibility="public"
        )
    for kind, resource in CLASSES.items():
        wanted = f"CUSTOM_{resource.upper().replace('.', '_')}"
        if not cloud.compute.find_flavor(f"bm.{kind}"):
            flavor = cloud.compute.create_flavor(name=f"bm.{kind}", ram=8192, vcpus=4, disk=10)
            nothing = {f"resources:{what}": "0" for what in ("VCPU", "MEMORY_MB", "DISK_GB")}
            cloud.compute.create_flavor_extra_specs(flavor, {f"resources:{wanted}": "1", **nothing})


def _network(cloud: Any, name: str, vlan: int, cidr: str, **owner: str) -> None:
    network = cloud.network.find_network(name) or cloud.network.create_network(
        name=name,
        provider_network_type="vlan",
        provider_physical_network=PHYSICAL_NETWORK,
        provider_segmentation_id=vlan,
        **owner,
    )
    if not network.subnet_ids:
        cloud.network.create_subnet(
            network_id=network.id, name=name, ip_version=4, cidr=cidr, is_dhcp_enabled=False, **owner
        )
