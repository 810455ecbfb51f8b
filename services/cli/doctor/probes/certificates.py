# SPDX-License-Identifier: Apache-2.0
"""How long the certificate of a server is still valid."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from urllib.parse import urlsplit


def days_left(url: str, seconds: float, cert: tuple[str, str] | None = None) -> float | None:
    """Days until the certificate at *url* ends; None if it could not be read.

    Trust is not judged here: who asked before did, or chose not to.

    Args:
        cert: certificate and key to show, where the server wants one.
    """
    from cryptography import x509

    parts = urlsplit(url if "://" in url else f"//{url}")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        if cert is not None:
            context.load_cert_chain(*cert)
        with (
            socket.create_connection((parts.hostname or "", parts.port or 443), timeout=min(4.0, seconds)) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
        ):
            raw = secure.getpeercert(binary_form=True)
    except (OSError, ValueError):
        return None
    if not raw:
        return None
    ends = x509.load_der_x509_certificate(raw).not_valid_after_utc
    return (ends - datetime.now(UTC)).total_seconds() / 86400
