# SPDX-License-Identifier: Apache-2.0
"""The secret document an instance boots with.

Cloud-init's OpenStack form: meta_data, network_data and user_data, in one JSON.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable

import orjson

from services.kernel.names import stable_uuid
from services.lifecycle.domain.instance import Instance, Interface

Open = Callable[[Instance], bytes]
"""The user data of an instance, opened; empty if it has none."""


def config_drive(instance: Instance, user_data: bytes) -> bytes:
    """The document for *instance*; it holds secrets and is never logged or recorded."""
    return orjson.dumps(
        {
            "meta_data": {
                "uuid": stable_uuid(instance.name),
                "name": instance.name,
                "hostname": instance.hostname,
                "public_keys": {str(index): key for index, key in enumerate(instance.ssh_public_keys)},
            },
            "network_data": {
                "links": [
                    {"id": face.network, "type": "phy", "vlan_tag": face.vlan_tag} for face in instance.interfaces
                ],
                "networks": [_network(face) for face in instance.interfaces],
            },
            "user_data": base64.b64encode(user_data).decode(),
        }
    )


def _network(face: Interface) -> dict[str, object]:
    version = ipaddress.ip_address(face.address).version
    return {
        "id": face.network,
        "link": face.network,
        "type": f"ipv{version}",
        "ip_address": f"{face.address}/{face.prefix_length}",
        "gateway": face.gateway,
    }
