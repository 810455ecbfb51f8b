# SPDX-License-Identifier: Apache-2.0
"""A genuine Ironic that others use as well as we do: nodes without hardware, steered, and notifications to a broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.lifecycle.backends.ironic_api import Deadline, IronicApi, Node, NoNode
from tests.lifecycle.observing.broker import Broker, wait_until
from tests.openstack.cloud import ironic, parts
from tests.openstack.cloud.programs import programs


@dataclass(frozen=True)
class SharedIronic:
    """What people do there by hand.

    Attributes:
        api: a client of theirs.
    """

    endpoint: str
    api: IronicApi

    def make(self, uuid: str, state: str, **more: object) -> None:
        """A node that was led to *state*: ``available`` or ``active``."""
        kinds = ("power", "deploy", "inspect", "rescue")
        body = {
            "uuid": uuid,
            "driver": "fake-hardware",
            **{f"{kind}_interface": "bms-steered" for kind in kinds},
            **more,
        }
        self.api.call("POST", "/nodes", Deadline(), body)
        self.lead(uuid, "manage", "manageable")
        self.lead(uuid, "provide", "available")
        if state == "active":
            self.api.patch(uuid, {"/instance_info": {"image_source": "http://127.0.0.1:1/image"}}, Deadline())
            self.lead(uuid, "active", "active")

    def lead(self, uuid: str, verb: str, state: str, **more: object) -> None:
        """Asks for *verb* and waits until the node is in *state*."""
        self.api.provision(uuid, verb, Deadline(), **more)
        self.stands(uuid, "provision_state", state)

    def stands(self, uuid: str, field: str, value: object) -> None:
        """Waits until a field of the node is *value*, and nothing holds it."""

        def there() -> bool:
            node = self.node(uuid)
            return node.data.get(field) == value and not node.busy

        wait_until(f"{uuid} has {field} {value}", there, 90)

    def steer(self, uuid: str, **words: str) -> None:
        """Says how its operations go; see tests/openstack/standin/steered.py."""
        self.api.patch(uuid, {"/extra/steer": words}, Deadline())

    def maintain(self, uuid: str, reason: str) -> None:
        """Sets maintenance; ends it for no reason."""
        body = {"reason": reason} if reason else None
        self.api.call("PUT" if reason else "DELETE", f"/nodes/{uuid}/maintenance", Deadline(), body)

    def node(self, uuid: str) -> Node:
        """The node as it stands."""
        return self.api.node(uuid, Deadline())

    def delete(self, uuid: str) -> None:
        """Deletes it, by force of maintenance."""
        self.maintain(uuid, "going")
        self.api.call("DELETE", f"/nodes/{uuid}", Deadline())

        def gone() -> bool:
            try:
                self.node(uuid)
            except NoNode:
                return True
            return False

        wait_until(f"{uuid} is gone", gone)


@contextmanager
def running_ironic(folder: Path, broker: Broker) -> Iterator[SharedIronic]:
    """One process, SQLite, no login, until the block ends."""
    port = parts.free_port()
    kinds = {
        kind: f"fake,bms-steered{',no-rescue' * (kind == 'rescue')}"
        for kind in ("power", "deploy", "inspect", "rescue")
    }
    base = ironic.settings(
        folder, hardware="fake-hardware", interfaces={"boot": "fake", "management": "fake", "network": "noop", **kinds},
        auth_strategy="noauth", host="shared", rpc_transport="none", transport_url=broker.url,
        notification_level="debug", default_network_interface="noop",
    )  # fmt: skip
    own: dict[str, dict[str, Any]] = {
        "api": {"host_ip": "127.0.0.1", "port": port},
        "database": {"connection": parts.sqlite(folder / "ironic.sqlite")},
        "oslo_concurrency": {"lock_path": folder / "locks"},
        "oslo_messaging_notifications": {"driver": "messagingv2"},
        "conductor": {
            "automated_clean": True, "sync_power_state_interval": 2, "power_failure_recovery_interval": 2,
            "power_state_sync_max_retries": 1,
        },
    }  # fmt: skip
    config = parts.write_ini(folder / "ironic.conf", {**base, **own})
    parts.run(folder, [str(programs() / "ironic-dbsync"), "--config-file", str(config), "create_schema"], "dbsync")
    points = {f"ironic.hardware.interfaces.{kind}": {"bms-steered": f"steered:Steered{kind.title()}"} for kind in kinds}
    environ = {"PYTHONPATH": parts.announce(folder / "site", points)}
    log = folder / "ironic.log"
    process = parts.start(folder, log, [str(programs() / "ironic"), "--config-file", str(config)], environ)
    try:
        endpoint = f"http://127.0.0.1:{port}"
        parts.answers(endpoint, log)
        yield SharedIronic(endpoint, IronicApi(endpoint=endpoint))
    finally:
        parts.end(process)


@pytest.fixture(scope="module")
def shared(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedIronic]:
    """One that tells *broker*; packages whose tests want both name both in their conftest."""
    with running_ironic(tmp_path_factory.mktemp("shared"), broker) as running:
        yield running
