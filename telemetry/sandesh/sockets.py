# SPDX-License-Identifier: Apache-2.0
"""What both ends set on their connections: keepalive, and TLS from the first byte."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)
"""The reference's socket options: a dead peer is noticed within half a minute. The protocol itself has
no keepalive, and collectors have no idle timeout."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. Contrail's processes show certificates to each other, so all three are needed."""

    certificate: Path
    key: Path
    authority: Path


def keep_alive(descriptor: int, dscp: int | None = None) -> None:
    """Sets `KEEPALIVE` on the TCP connection behind a *descriptor*, and its DSCP (0 to 63) where one is wanted."""
    # A twin of the descriptor: not every event loop lets one set options on its sockets.
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        for level, name, value in KEEPALIVE:
            connection.setsockopt(level, name, value)
        if dscp is not None and connection.family == socket.AF_INET6:
            connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
        elif dscp is not None:
            connection.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)


def client_context(files: TlsFiles, *, check_hostname: bool = False) -> ssl.SSLContext:
    """TLS towards a collector.

    Exactly 1.2: the reference collector refuses anything newer. It is known by its authority;
    collectors are usually named by address, so *check_hostname* is off as in the reference.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_hostname
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return _loaded(context, files)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS of our collector: 1.2 or newer, and generators must show a certificate of the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return _loaded(context, files)


def _loaded(context: ssl.SSLContext, files: TlsFiles) -> ssl.SSLContext:
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(files.authority)
    return context
