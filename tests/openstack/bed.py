# SPDX-License-Identifier: Apache-2.0
"""A genuine Ironic on the loopback: one process, SQLite, a login by password, and a Redfish emulator for each BMC.

Its programs are those of the whole cloud (tests/openstack/cloud/programs.py). Everything else is made anew for each bed
in a folder, listens on free ports of the loopback, and is ended by its process id.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.openstack.cloud import bmc as emulated
from tests.openstack.cloud import ironic, parts
from tests.openstack.cloud.bmc import certify, configure_bmc, macs_of, system_of
from tests.openstack.cloud.oldest import oldest
from tests.openstack.cloud.parts import answers, free_port, htpasswd, listens, run, write_ini
from tests.openstack.cloud.programs import programs

SERIAL = "1234570"
"""What the emulator says of its one drive."""

RELEASE = "BMS_TEST_IRONIC"
"""The environment variable that says ``debian`` where Ironic shall be the oldest that we are held to."""

START_SECONDS = 60.0
USER, BMC_USER = "bms", emulated.USER


@dataclass(frozen=True, slots=True)
class Bmc:
    """One emulated BMC with its server.

    Attributes:
        disk: the file that stands for its only disk.
    """

    port: int
    system: str
    password: str
    macs: tuple[str, ...]
    disk: Path
    process: subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Bed:
    """A running Ironic.

    Attributes:
        endpoint: its URL.
        clouds: a clouds.yaml in which it is called ``bed``.
        password: the one in there.
        ca: the CA file of the BMCs.
        log: everything Ironic said.
    """

    endpoint: str
    clouds: Path
    password: str
    ca: Path
    folder: Path
    log: Path
    bmcs: tuple[Bmc, ...]

    def press(self, bmc: Bmc) -> None:
        """Switches the server of *bmc* on by Redfish, past Ironic, and waits until the BMC says so."""
        system = f"https://127.0.0.1:{bmc.port}/redfish/v1/Systems/{bmc.system}"
        login = base64.b64encode(f"{BMC_USER}:{bmc.password}".encode()).decode()
        headers = {"authorization": f"Basic {login}", "content-type": "application/json"}
        trusted = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(self.ca)))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trusted)
        order = json.dumps({"ResetType": "On"}).encode()
        reset = urllib.request.Request(f"{system}/Actions/ComputerSystem.Reset", order, headers)
        with opener.open(reset, timeout=10):
            until = time.monotonic() + START_SECONDS
        while True:
            with opener.open(urllib.request.Request(system, None, headers), timeout=10) as answer:
                if json.load(answer)["PowerState"] == "On":
                    return
            assert time.monotonic() < until, "the BMC does not switch it on"
            time.sleep(0.1)


@contextmanager
def running_bed(folder: Path, servers: int, *, login: bool = True) -> Iterator[Bed]:
    """Ironic and *servers* BMCs, until the block ends; without *login* it lets anybody in."""
    found, password = programs(), secrets.token_hex(12)
    ca = certify(folder)
    with ExitStack() as ends:
        bmcs = tuple(_start_bmc(folder, found, number, ends) for number in range(1, servers + 1))
        port = free_port()
        config = _configure(folder, found, port, password, login=login)
        release = oldest() if os.environ.get(RELEASE) == "debian" else found
        run(folder, [str(release / "ironic-dbsync"), "--config-file", str(config), "create_schema"], "dbsync")
        _start(folder, "ironic", [str(release / "ironic"), "--config-file", str(config)], _ironic_environ(folder), ends)
        endpoint = f"http://127.0.0.1:{port}"
        answers(endpoint, folder / "ironic.log")
        known = {"username": USER, "password": password} if login else {}
        auth = {"endpoint": endpoint, **known}
        kind = "http_basic" if login else "none"
        cloud = {"auth_type": kind, "auth": auth, "baremetal_endpoint_override": endpoint}
        clouds = folder / "clouds.yaml"
        clouds.touch(mode=0o600)
        clouds.write_text(json.dumps({"clouds": {"bed": cloud}}))
        yield Bed(endpoint, clouds, password, ca, folder, folder / "ironic.log", bmcs)


def _start_bmc(folder: Path, found: Path, number: int, ends: ExitStack) -> Bmc:
    port, password = free_port(), secrets.token_hex(8)
    disks = folder / "disks" / str(port)
    disks.mkdir(parents=True)
    disk = disks / SERIAL
    disk.write_bytes(secrets.token_bytes(64 * 1024))  # somebody's
    argv, environ = configure_bmc(folder / f"bmc{number}", found, number, port, password, folder)
    process = _start(folder, f"bmc{number}", argv, environ, ends)
    listens(port, folder / f"bmc{number}.log")
    return Bmc(port, system_of(number), password, macs_of(number), disk, process)


def _configure(folder: Path, found: Path, port: int, password: str, *, login: bool) -> Path:
    htpasswd(found, folder / "htpasswd", USER, password)
    interfaces = {
        "boot": "redfish-virtual-media", "deploy": "bms-standin", "inspect": "redfish", "management": "redfish",
        "network": "noop", "power": "redfish", "rescue": "no-rescue",
    }  # fmt: skip
    base = ironic.settings(
        folder, hardware="redfish", interfaces=interfaces, host="bed",
        auth_strategy="http_basic" if login else "noauth", http_basic_auth_user_file=folder / "htpasswd",
        rpc_transport="none",
    )  # fmt: skip
    own: dict[str, dict[str, object]] = {
        "api": {"host_ip": "127.0.0.1", "port": port},
        "database": {"connection": parts.sqlite(folder / "ironic.sqlite")},
        "oslo_concurrency": {"lock_path": folder / "locks"},
        # Off on purpose: the product asks for cleaning itself, whatever the site's default is.
        "conductor": {"automated_clean": False, "sync_power_state_interval": 5},
        # By itself it tries for minutes to reach a BMC that is dead.
        "redfish": {"connection_attempts": 2, "connection_retry_interval": 1},
    }
    return write_ini(folder / "ironic.conf", {**base, **own})


def _ironic_environ(folder: Path) -> dict[str, str]:
    """Where Ironic finds the stand-in, and the stand-in the disks."""
    points = {"ironic.hardware.interfaces.deploy": {"bms-standin": "ramdisk:StandInDeploy"}}
    return {"PYTHONPATH": parts.announce(folder / "site", points), "BMS_STANDIN_DISKS": str(folder / "disks")}


def _start(
    folder: Path, name: str, argv: Sequence[str], environ: Mapping[str, str], ends: ExitStack
) -> subprocess.Popen[bytes]:
    process = parts.start(folder, folder / f"{name}.log", argv, environ)
    ends.callback(parts.end, process)
    return process


def digest_of(content: bytes) -> str:
    """The checksum of an image, as the catalogue takes it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
