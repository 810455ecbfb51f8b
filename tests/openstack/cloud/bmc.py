# SPDX-License-Identifier: Apache-2.0
"""An emulated BMC: one process of the Redfish emulator, with a certificate and a login."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.openstack.cloud.parts import STANDIN, htpasswd

USER = "root"
DISK_BYTES = 8 * 2**30


def system_of(number: int) -> str:
    """The UUID of BMC *number*'s server."""
    return f"00000000-0000-4000-8000-{number:012d}"


def macs_of(number: int) -> tuple[str, ...]:
    """The addresses of its two ports."""
    return tuple(f"52:54:00:00:{number:02x}:{port:02x}" for port in (1, 2))


def configure_bmc(
    home: Path, programs: Path, number: int, port: int, password: str, certificates: Path
) -> tuple[list[str], dict[str, str]]:
    """Writes the login of BMC *number* to *home*; answers the emulator's command and environment."""
    home.mkdir(parents=True, exist_ok=True)
    htpasswd(programs, home / "auth", USER, password)
    given = {
        "port": port, "cert": str(certificates / "bmc.pem"), "key": str(certificates / "bmc.key"),
        "auth": str(home / "auth"), "state": str(home), "system": system_of(number), "macs": macs_of(number),
        "bytes": DISK_BYTES,
    }  # fmt: skip
    argv = [str(programs / "sushy-emulator"), "--config", str(STANDIN / "emulator.py"), "--fake"]
    return argv, {"BMS_STANDIN_BMC": json.dumps(given)}


def certify(folder: Path, days: int = 1) -> Path:
    """One certificate for all BMCs, which is its own CA, and its key; answers the former."""
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
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "bmc.key").touch(mode=0o600)
    (folder / "bmc.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    (folder / "bmc.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "bmc.pem"
