# SPDX-License-Identifier: Apache-2.0
"""What going through us costs beside a bare loop over Ironic: on the clock, and in calls to Ironic's API.

Both deploy so many nodes of one genuine Ironic and give them back, cleaning included, so many at a time. The hardware
takes no time. The loop is what a script on openstacksdk would do; ours are instances of a tenant, with an address,
ports read back and every step in the log. Calls are counted inside Ironic. It prints ratios and fails by none: what
each call is for, and why there are not fewer, is told in docs/decisions/0051-calls-to-ironic.md.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack

from bms.lifecycle.v1 import instance_pb2, server_status_pb2
from services.kernel.names import SERVER
from tests.openstack.cloud import ironic, parts
from tests.openstack.cloud.programs import programs
from tests.site.client import Client, wait_for
from tests.site.furnish import bring_in, create_instance, lay_ground, wait_known
from tests.site.rig import running_site

NODES = 50
AT_A_TIME = 8
_PATIENCE = 900.0


@dataclass(frozen=True, slots=True)
class Bench:
    """A running Ironic whose hardware takes no time.

    Attributes:
        clouds: the clouds.yaml in which it is ``bed``.
        requests: the file with a line for each request.
    """

    clouds: Path
    requests: Path

    def asked(self) -> Counter[str]:
        """Requests since the last look, by method and kind."""
        lines = self.requests.read_text().splitlines()
        self.requests.write_text("")
        return Counter(_kind(line) for line in lines)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of all nodes together: seconds on the clock, requests by kind."""

    wall: float
    asked: Counter[str]


def _kind(line: str) -> str:
    method, path = line.split(" ", 1)
    return f"{method} /{'/'.join('*' if len(part) == 36 else part for part in path.strip('/').split('/')[1:])}"


@contextmanager
def instant_ironic(folder: Path) -> Iterator[Bench]:
    """Ironic alone, until the block ends."""
    found, port = programs(), parts.free_port()
    password = secrets.token_hex(12)
    parts.htpasswd(found, folder / "htpasswd", "bms", password)
    # A hardware type starts only with a default of its own kind, which no node here uses: hence "fake".
    interfaces = {
        "boot": "fake", "deploy": "fake,bms-instant", "inspect": "fake,bms-instant", "management": "fake",
        "network": "noop", "power": "fake,bms-steered", "rescue": "fake,no-rescue",
    }  # fmt: skip
    base = ironic.settings(
        folder, hardware="fake-hardware", interfaces=interfaces, auth_strategy="http_basic", host="bench",
        http_basic_auth_user_file=folder / "htpasswd", rpc_transport="none",
    )  # fmt: skip
    config = parts.write_ini(
        folder / "ironic.conf",
        {
            **base,
            "api": {"host_ip": "127.0.0.1", "port": port},
            "database": {"connection": f"sqlite:///{folder}/ironic.sqlite"},
            "oslo_concurrency": {"lock_path": folder / "locks"},
            "conductor": {"automated_clean": True, "sync_power_state_interval": 0},
        },
    )
    requests = folder / "requests"
    requests.touch()
    points = {
        "ironic.hardware.interfaces.deploy": {"bms-instant": "instant:InstantDeploy"},
        "ironic.hardware.interfaces.inspect": {"bms-instant": "instant:InstantInspect"},
        "ironic.hardware.interfaces.power": {"bms-steered": "steered:SteeredPower"},
    }
    environ = {"PYTHONPATH": parts.announce(folder / "site", points), "BMS_STANDIN_REQUESTS": str(requests)}
    parts.run(folder, [str(found / "ironic-dbsync"), "--config-file", str(config), "create_schema"], "dbsync")
    with ExitStack() as ends:
        argv = [str(found / "ironic"), "--config-file", str(config)]
        ends.callback(parts.end, parts.start(folder, folder / "ironic.log", argv, environ))
        endpoint = f"http://127.0.0.1:{port}"
        parts.answers(endpoint, folder / "ironic.log")
        auth = {"endpoint": endpoint, "username": "bms", "password": password}
        cloud = {"auth_type": "http_basic", "auth": auth, "baremetal_endpoint_override": endpoint}
        clouds = parts.write_private(folder / "clouds.yaml", json.dumps({"clouds": {"bed": cloud}}))
        yield Bench(clouds, requests)


def bare(bench: Bench, nodes: Sequence[str]) -> Cost:
    """The loop: each node is deployed and waited for, then each is given back and waited for."""

    def deploy(node: str) -> None:
        cloud = _cloud()
        image = {
            "image_source": "http://127.0.0.1:1/debian.raw", "image_os_hash_algo": "sha256",
            "image_os_hash_value": "5f" * 32, "image_type": "whole-disk",
        }  # fmt: skip
        cloud.update_node(node, instance_info=image)
        cloud.set_node_provision_state(node, "active", config_drive={"meta_data": {"name": node}}, wait=True)

    def release(node: str) -> None:
        _cloud().set_node_provision_state(node, "deleted", wait=True)

    def both() -> None:
        _each(deploy, nodes)
        _each(release, nodes)

    return _measured(bench, both)


def ours(bench: Bench, tenant: Client, admin: Client, count: int) -> Cost:
    """The same by instances of a tenant."""

    def deploy(number: str) -> None:
        tenant.done(create_instance(tenant, f"i{number}"), _PATIENCE)

    def release(number: str) -> None:
        request = instance_pb2.DeleteInstanceRequest(name=f"projects/tenant-a/instances/i{number}")
        tenant.done(tenant.call("lifecycle", "DeleteInstance", request), _PATIENCE)

    def both() -> None:
        numbers = [str(number) for number in range(count)]
        _each(deploy, numbers)
        _each(release, numbers)
        wait_for("all are available again", lambda: _available(admin) == count, _PATIENCE, every=0.2)

    return _measured(bench, both)


def _measured(bench: Bench, play: Callable[[], object]) -> Cost:
    bench.asked()
    began = time.perf_counter()
    play()
    return Cost(time.perf_counter() - began, bench.asked())


def _each(act: Callable[[str], None], what: Sequence[str]) -> None:
    with ThreadPoolExecutor(AT_A_TIME) as workers:
        list(workers.map(act, what))


def _cloud() -> Any:
    return _CLOUD.baremetal


def _available(admin: Client) -> int:
    summary = admin.call("lifecycle", "SummarizeFleet", server_status_pb2.SummarizeFleetRequest())
    states = server_status_pb2.ServerStatus.State
    return sum(each.count for each in summary.states if each.state == states.STATE_AVAILABLE)


def _make(nodes: Sequence[str]) -> None:
    """Nodes of Ironic, manageable, for servers of ours."""
    cloud = _cloud()
    for node in nodes:
        cloud.create_node(
            id=node, driver="fake-hardware", provision_state="manageable", power_interface="bms-steered",
            deploy_interface="bms-instant", inspect_interface="bms-instant",
        )  # fmt: skip
        cloud.create_port(node_id=node, address=f"52:54:00:{node[:2]}:{node[2:4]}:{node[4:6]}")
        cloud.set_node_power_state(node, "power off", wait=True)


def main(counts: Sequence[str]) -> None:
    """Runs it.

    Args:
        counts: another number of nodes than 50.
    """
    global _CLOUD  # noqa: PLW0603 -- one connection, which is found by its environment, made when Ironic is there
    count = int(counts[0]) if counts else NODES
    with tempfile.TemporaryDirectory() as folder, instant_ironic(Path(folder)) as bench:
        settings = {
            "BMS_LIFECYCLE_BACKEND": "ironic", "BMS_LIFECYCLE_IRONIC_CLOUD": "bed",
            "BMS_LIFECYCLE_WORKERS": str(AT_A_TIME), "BMS_LIFECYCLE_POLL_SECONDS": "2",
            "OS_CLIENT_CONFIG_FILE": str(bench.clouds), "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        os.environ |= settings
        _CLOUD = openstack.connect(cloud="bed")
        with running_site(Path(folder) / "site", settings=settings) as site:
            admin, tenant = Client(site, "admin"), Client(site, "tenant-a")
            lay_ground(admin, tenant, cool_down=1)
            servers = bring_in(admin, count)
            wait_known(admin, servers)
            nodes = [SERVER.parse(server)[0] for server in servers]
            _make(nodes)
            for server in servers:
                admin.call("lifecycle", "ProvideServer", server_status_pb2.ProvideServerRequest(name=server))
            wait_for("all are available", lambda: _available(admin) == count, _PATIENCE, every=0.5)
            through = ours(bench, tenant, admin, count)
        alone = bare(bench, nodes)
    _tell(count, alone, through)


def _tell(count: int, alone: Cost, through: Cost) -> None:
    for kind in sorted(alone.asked | through.asked):
        sys.stdout.write(f"  {kind:44} {alone.asked[kind] / count:6.1f} {through.asked[kind] / count:6.1f}\n")
    calls = [sum(each.asked.values()) / count for each in (alone, through)]
    sys.stdout.write(
        f"{count} nodes deployed and given back, {AT_A_TIME} at a time, load {os.getloadavg()[0]:.0f}:"
        f" {alone.wall:.0f} s by the loop, {through.wall:.0f} s through us\n"
        f"time: {through.wall / alone.wall:.2f} times the loop's\n"
        f"calls a node: {calls[0]:.1f} and {calls[1]:.1f}, {calls[1] - calls[0]:+.1f}\n"
    )


_CLOUD: Any = None

if __name__ == "__main__":
    main(sys.argv[1:])
