# SPDX-License-Identifier: Apache-2.0
"""Makes what a site needs before its first start, into volumes: certificates, tokens, keys, the database's password.

    python /opt/bms/make_site.py [--site FOLDER] [--login FOLDER]

What is there already stays, so that it can run before every start. Files of the site:

    ca.pem                       the authority of everything below; services and clients trust it
    service.pem, service.key     what the services show each other and their clients
    client.pem, client.key       what a person or program shows to the services
    tokens.json                  the known tokens, as digests
    service.token, admin.token   the services' own, and the administrator's
    data.key                     what secrets in the databases are sealed with
    <service>.signing.key        what each service signs its log's checkpoints with
    pgpass                       the database's password, as libpq reads it

The folder of the login holds ``postgres.password`` alone, for PostgreSQL's container.
"""

from __future__ import annotations

import argparse
import datetime as dt
import ipaddress
import os
import secrets
from pathlib import Path

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.kernel.calls import Role
from services.runtime.auth import make_token, token_entry
from services.runtime.secrets import random_file, write_private

SERVICES = ("inventory", "lifecycle", "ipam", "network", "telemetry")
LIFETIME = dt.timedelta(days=825)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    names: tuple[str, ...] = (),
) -> bytes:
    """A certificate over *key*: an authority if the subject is its own issuer, else for both ends of TLS."""
    authority = subject == issuer
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not authority:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usage, critical=False)
    if names:
        alternatives = [x509.DNSName(name) for name in names]
        local = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([*alternatives, local]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def make_certificates(site: Path) -> None:
    """The authority, the services' certificate and a client's. The authority's key is kept nowhere: a site that needs
    further certificates brings its own authority.
    """
    root = "bms site authority"
    authority = ec.generate_private_key(ec.SECP256R1())
    service, client = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    write_private(site / "service.key", _pem(service))
    write_private(site / "service.pem", _certificate("bms", service, root, authority, names=(*SERVICES, "localhost")))
    write_private(site / "client.key", _pem(client))
    write_private(site / "client.pem", _certificate("bms client", client, root, authority))
    write_private(site / "ca.pem", _certificate(root, authority, root, authority))


def make_tokens(site: Path) -> None:
    """One token for the services and one for the administrator, and the file that knows them by their digests."""
    service, admin = make_token(), make_token()
    write_private(site / "service.token", service.encode())
    write_private(site / "admin.token", admin.encode())
    entries = [
        token_entry(service, "services", site_roles=(Role.SERVICE,)),
        token_entry(admin, "admin", site_roles=(Role.ADMIN,)),
    ]
    write_private(site / "tokens.json", orjson.dumps(entries, option=orjson.OPT_INDENT_2))


def make_login(site: Path, login: Path) -> None:
    """The database's password: for libpq beside the services' files, and alone for the database itself."""
    password = secrets.token_urlsafe(24)
    # PostgreSQL's container runs under another user; nothing else is in this folder.
    login.mkdir(parents=True, exist_ok=True)
    file = login / "postgres.password"
    file.write_text(password)
    file.chmod(0o444)
    write_private(site / "pgpass", f"*:*:*:*:{password}\n".encode())


def main() -> None:
    """Makes what is missing."""
    parser = argparse.ArgumentParser(description="Makes what a site needs before its first start.")
    parser.add_argument("--site", type=Path, default=Path("/site"))
    parser.add_argument("--login", type=Path, default=Path("/login"))
    given = parser.parse_args()
    # The last file that each step writes says that the step was finished.
    if not (given.site / "ca.pem").exists():
        make_certificates(given.site)
    if not (given.site / "tokens.json").exists():
        make_tokens(given.site)
    if not (given.site / "data.key").exists():
        write_private(given.site / "data.key", os.urandom(32))
    for service in SERVICES[:-1]:
        random_file(given.site / f"{service}.signing.key", 32)
    if not (given.site / "pgpass").exists():
        make_login(given.site, given.login)
    print("site: ready")


if __name__ == "__main__":
    main()
