# SPDX-License-Identifier: Apache-2.0
"""A genuine Ironic on the loopback: one process, SQLite, a login by password, and a Redfish emulator for each BMC.

Ironic has an environment of its own, made once by pip under build/openstack and kept. Everything else is made anew for
each bed in a folder, listens on free ports of the loopback, and is ended by its process id.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
import json
import os
import secrets
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = Path(__file__).parents[2]
HOME = ROOT / "build" / "openstack"
STANDIN = Path(__file__).parent / "standin"
REQUIREMENTS = ("ironic>=39,<40", "sushy-tools>=2.2,<3", "bcrypt>=4")

SERIAL = "1234570"
"""What the emulator says of its one drive."""

DISK_BYTES = 8 * 2**30
START_SECONDS = 60.0
USER, BMC_USER = "bms", "root"


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


def environment(name: str = "venv", requirements: Sequence[str] = REQUIREMENTS) -> Path:
    """The folder of the programs of *requirements*, Ironic's; installs them if they are not there."""
    home, stamp = HOME / name, HOME / f"{name}.txt"
    wanted = "\n".join((sys.version, *requirements))
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True, timeout=120)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements], check=True, timeout=600)
        stamp.write_text(wanted)
    return home / "bin"


@contextmanager
def running_bed(folder: Path, servers: int) -> Iterator[Bed]:
    """Ironic and *servers* BMCs, until the block ends."""
    programs, password = environment(), secrets.token_hex(12)
    ca = _certificate(folder)
    with ExitStack() as ends:
        bmcs = tuple(_start_bmc(folder, programs, number, ends) for number in range(1, servers + 1))
        port = free_port()
        config = _configure(folder, programs, port, password)
        _run(folder, [str(programs / "ironic-dbsync"), "--config-file", str(config), "create_schema"], "dbsync")
        _start(
            folder, "ironic", [str(programs / "ironic"), "--config-file", str(config)], _ironic_environ(folder), ends
        )
        endpoint = f"http://127.0.0.1:{port}"
        _answers(endpoint, folder / "ironic.log")
        auth = {"endpoint": endpoint, "username": USER, "password": password}
        cloud = {"auth_type": "http_basic", "auth": auth, "baremetal_endpoint_override": endpoint}
        clouds = folder / "clouds.yaml"
        clouds.touch(mode=0o600)
        clouds.write_text(json.dumps({"clouds": {"bed": cloud}}))
        yield Bed(endpoint, clouds, password, ca, folder, folder / "ironic.log", bmcs)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _start_bmc(folder: Path, programs: Path, number: int, ends: ExitStack) -> Bmc:
    port, password = free_port(), secrets.token_hex(8)
    home, disks = folder / f"bmc{number}", folder / "disks" / str(port)
    home.mkdir()
    disks.mkdir(parents=True)
    disk = disks / SERIAL
    disk.write_bytes(secrets.token_bytes(64 * 1024))  # somebody's
    _htpasswd(programs, home / "auth", BMC_USER, password)
    macs = tuple(f"52:54:00:00:{number:02x}:{port:02x}" for port in (1, 2))
    system = f"00000000-0000-4000-8000-{number:012d}"
    given = {
        "port": port, "cert": str(folder / "bmc.pem"), "key": str(folder / "bmc.key"), "auth": str(home / "auth"),
        "state": str(home), "system": system, "macs": macs, "bytes": DISK_BYTES,
    }  # fmt: skip
    argv = [str(programs / "sushy-emulator"), "--config", str(STANDIN / "emulator.py"), "--fake"]
    process = _start(folder, f"bmc{number}", argv, {"BMS_STANDIN_BMC": json.dumps(given)}, ends)
    _listens(port, folder / f"bmc{number}.log")
    return Bmc(port, system, password, macs, disk, process)


def _configure(folder: Path, programs: Path, port: int, password: str) -> Path:
    _htpasswd(programs, folder / "htpasswd", USER, password)
    enabled = {
        "bios": "no-bios", "boot": "redfish-virtual-media", "console": "no-console", "deploy": "bms-standin",
        "firmware": "no-firmware", "inspect": "redfish", "management": "redfish", "network": "noop",
        "power": "redfish", "raid": "no-raid", "rescue": "no-rescue", "storage": "noop", "vendor": "no-vendor",
    }  # fmt: skip
    sections: dict[str, dict[str, object]] = {
        "DEFAULT": {
            "auth_strategy": "http_basic", "http_basic_auth_user_file": folder / "htpasswd", "host": "bed",
            "my_ip": "127.0.0.1", "rpc_transport": "none", "state_path": folder, "tempdir": folder,
            "enabled_hardware_types": "redfish", **{f"enabled_{kind}_interfaces": one for kind, one in enabled.items()},
        },
        "api": {"host_ip": "127.0.0.1", "port": port},
        "database": {"connection": f"sqlite:///{folder}/ironic.sqlite"},
        "oslo_concurrency": {"lock_path": folder / "locks"},
        # Off on purpose: the product asks for cleaning itself, whatever the site's default is.
        "conductor": {"automated_clean": False, "sync_power_state_interval": 5},
        "inventory": {"data_backend": "database"},
        "deploy": {"http_root": folder / "http", "http_url": "http://127.0.0.1:1"},
    }  # fmt: skip
    lines = [
        line
        for name, options in sections.items()
        for line in (f"[{name}]", *(f"{key} = {value}" for key, value in options.items()))
    ]
    config = folder / "ironic.conf"
    config.write_text("\n".join(lines) + "\n")
    return config


def _ironic_environ(folder: Path) -> dict[str, str]:
    """Where Ironic finds the stand-in: as an installed package would announce itself."""
    announced = folder / "site" / "bms_standin-1.dist-info"
    announced.mkdir(parents=True)
    (announced / "METADATA").write_text("Metadata-Version: 2.1\nName: bms-standin\nVersion: 1\n")
    (announced / "entry_points.txt").write_text(
        "[ironic.hardware.interfaces.deploy]\nbms-standin = ramdisk:StandInDeploy\n"
    )
    return {"PYTHONPATH": f"{folder / 'site'}{os.pathsep}{STANDIN}", "BMS_STANDIN_DISKS": str(folder / "disks")}


def _certificate(folder: Path) -> Path:
    """One certificate for all BMCs, which is its own CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bmc")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "bmc.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    (folder / "bmc.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "bmc.pem"


def _htpasswd(programs: Path, path: Path, user: str, password: str) -> None:
    """A file of one login in the only form that Ironic takes. bcrypt is in its environment, not in ours."""
    script = "import bcrypt, sys; print(bcrypt.hashpw(sys.stdin.buffer.read(), bcrypt.gensalt(4)).decode())"
    hashed = subprocess.run(
        [str(programs / "python"), "-c", script], input=password.encode(), capture_output=True, check=True, timeout=30
    ).stdout.decode()
    path.write_text(f"{user}:{hashed}")


def _start(
    folder: Path, name: str, argv: Sequence[str], environ: Mapping[str, str], ends: ExitStack
) -> subprocess.Popen[bytes]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("BMS_", "OS_", "PYTHON"))}
    # Nothing on the loopback is asked for through a proxy, and no cache of entry points outlives the bed.
    own = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", "XDG_CACHE_HOME": str(folder / "cache"), **environ}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**inherited, **own}, cwd=folder
        )
    ends.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def _run(folder: Path, argv: Sequence[str], name: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=False, cwd=folder)
    assert done.returncode == 0, f"{name} failed:\n{done.stdout[-1000:]}{done.stderr[-3000:]}"


def _answers(url: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(url, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            assert time.monotonic() < until, f"{url} does not answer:\n{log.read_text()[-3000:]}"
        time.sleep(0.1)


def _listens(port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2):
                return
        except OSError:
            assert time.monotonic() < until, f"nothing listens on {port}:\n{log.read_text()[-3000:]}"
        time.sleep(0.1)


def digest_of(content: bytes) -> str:
    """The checksum of an image, as the catalogue takes it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


if __name__ == "__main__":
    # CI installs beside other stages.
    environment()
