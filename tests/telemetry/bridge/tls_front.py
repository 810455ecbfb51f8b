# SPDX-License-Identifier: Apache-2.0
"""TLS in front of a broker on the loopback; whoever calls must show a certificate of the same authority."""

from __future__ import annotations

import ipaddress
import select
import socket
import socketserver
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@contextmanager
def tls_front(port: int, folder: Path) -> Iterator[int]:
    """Its port, until the block ends; ``ca.pem``, ``cert.pem`` and ``key.pem`` in *folder* are for those who call."""
    _write(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # A caller who breaks the handshake off, or leaves.
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as caller,
                socket.create_connection(("127.0.0.1", port)) as broker,
            ):
                _pump(caller, broker)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def _pump(caller: ssl.SSLSocket, broker: socket.socket) -> None:
    while True:
        ready = [caller] if caller.pending() else select.select([caller, broker], [], [])[0]
        for end in ready:
            data = end.recv(65_536)
            if not data:
                return
            (broker if end is caller else caller).sendall(data)


def _write(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    theirs, key, now = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
        datetime.now(UTC),
    )

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))

    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    basic = x509.BasicConstraints(ca=True, path_length=None)
    authority = builder(issuer, theirs.public_key()).add_extension(basic, critical=True).sign(theirs, hashes.SHA256())
    ours = builder(name, key.public_key()).add_extension(here, critical=False).sign(theirs, hashes.SHA256())
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "cert.pem").write_bytes(ours.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
