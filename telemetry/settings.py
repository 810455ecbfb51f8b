# SPDX-License-Identifier: Apache-2.0
"""What telemetry is told beyond what every service is (`services.runtime.settings`).

BMS_TELEMETRY_COLLECTOR_ADDRESS   where our own collector listens; 127.0.0.1:8086; "off" for none
BMS_TELEMETRY_COLLECTORS          collectors to send to, host:port, by commas; without: our own
BMS_TELEMETRY_REST_ADDRESS        where the analytics REST forms are served; 127.0.0.1:8081; "off" for none
BMS_TELEMETRY_INTROSPECT_ADDRESS  where our generator's introspection is served; 127.0.0.1:8110; "off" for none
BMS_TELEMETRY_MESSAGE_HOURS       how long messages that collectors received are kept; 48
BMS_TELEMETRY_HOST_NAME           our generator's source; this machine's name
BMS_TELEMETRY_INSTANCE_ID         tells replicas on one host apart; 0
BMS_TELEMETRY_SANDESH_CERT, BMS_TELEMETRY_SANDESH_KEY, BMS_TELEMETRY_SANDESH_CA
                                  PEM files for TLS of Sandesh sessions, in both directions; without: no TLS
BMS_TELEMETRY_ANALYTICS_URL       the API behind those collectors, http://host:8081, to read back what was sent
BMS_TELEMETRY_ANALYTICS_CREDENTIALS_FILE
                                  user:password (port 8181) or a token; without: none
BMS_TELEMETRY_ANALYTICS_CA        PEM file of who signed its certificate; the system's
BMS_TELEMETRY_SANDESH_DSCP        class of service of the sessions with collectors, 0 to 63; without: the system's
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from services.kernel.errors import InvalidField
from services.runtime.secrets import private_file
from telemetry.readback import Analytics
from telemetry.sandesh.errors import IdentityError
from telemetry.sandesh.header import Identity
from telemetry.sandesh.settings import Address
from telemetry.sandesh.sockets import TlsFiles

MODULE: Final = "bms-telemetry"
NODE_TYPE: Final = "Config"
OFF: Final = "off"

_PREFIX: Final = "BMS_TELEMETRY_"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where something listens; port 0 takes a free one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """What telemetry is told for itself."""

    identity: Identity
    """Our generator's name, and our collector's."""
    collector: Listen | None
    """Where our own collector listens."""
    collectors: tuple[Address, ...]
    """Genuine collectors to send to; empty: our own."""
    rest: Listen | None
    """Where analytics' REST forms are served."""
    introspect: Listen | None
    """Where our generator's introspection is served."""
    message_seconds: float
    """How long received messages are kept."""
    tls: TlsFiles | None
    """For Sandesh sessions, both as a client and as a server."""
    dscp: int | None = None
    """Class of service of the sessions with collectors."""
    analytics: Analytics | None = None
    """Where what was sent to genuine collectors is read back."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> TelemetrySettings:
        """The settings in *environ*.

        Raises:
            InvalidField: a variable cannot be understood; its name is the field.
        """
        settings = cls(
            identity=_identity(environ),
            collector=_listen(environ, "COLLECTOR_ADDRESS", "127.0.0.1:8086"),
            collectors=_collectors(environ),
            rest=_listen(environ, "REST_ADDRESS", "127.0.0.1:8081"),
            introspect=_listen(environ, "INTROSPECT_ADDRESS", "127.0.0.1:8110"),
            message_seconds=_hours(environ) * 3600,
            tls=_tls(environ),
            dscp=_dscp(environ),
            analytics=_analytics(environ),
        )
        if settings.collector is None and not settings.collectors:
            raise InvalidField(
                _PREFIX + "COLLECTORS",
                "is missing although our own collector is off",
                remedy="Name a collector to send to, or let our own listen.",
            )
        if settings.analytics is not None and not settings.collectors:
            raise InvalidField(
                _PREFIX + "ANALYTICS_URL",
                "is for what is sent to other collectors than our own",
                remedy=f"Name them in {_PREFIX}COLLECTORS, or leave it out: our own store confirms what it has.",
            )
        return settings


def _text(environ: Mapping[str, str], name: str) -> str:
    return environ.get(_PREFIX + name, "").strip()


def _identity(environ: Mapping[str, str]) -> Identity:
    given = _text(environ, "HOST_NAME")
    # A machine's own name may hold what a generator's may not; a name that was chosen is refused instead.
    source = given or re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "localhost"
    try:
        return Identity(source, MODULE, NODE_TYPE, _text(environ, "INSTANCE_ID") or "0")
    except IdentityError as error:
        name = "HOST_NAME" if given else "INSTANCE_ID"
        raise InvalidField(_PREFIX + name, str(error)) from None


def _listen(environ: Mapping[str, str], name: str, default: str) -> Listen | None:
    text = _text(environ, name) or default
    if text.lower() == OFF:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidField(_PREFIX + name, f"{text[:60]!r} is not host:port", remedy="Give host:port, or off.")
    return Listen(host.removeprefix("[").removesuffix("]"), int(port))


def _collectors(environ: Mapping[str, str]) -> tuple[Address, ...]:
    try:
        return tuple(Address.parse(part) for part in _text(environ, "COLLECTORS").split(",") if part.strip())
    except ValueError as error:
        raise InvalidField(_PREFIX + "COLLECTORS", str(error), remedy="Give host:port, several by commas.") from None


def _hours(environ: Mapping[str, str]) -> float:
    text = _text(environ, "MESSAGE_HOURS") or "48"
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours < 1_000_000:
        raise InvalidField(_PREFIX + "MESSAGE_HOURS", f"{text[:40]!r} is not a number of hours above 0")
    return hours


def _analytics(environ: Mapping[str, str]) -> Analytics | None:
    url = _text(environ, "ANALYTICS_URL")
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.path.strip("/"):
        raise InvalidField(
            _PREFIX + "ANALYTICS_URL", "is not http://host:port or https://host:port", remedy="Give it without a path."
        )
    file, authority = _text(environ, "ANALYTICS_CREDENTIALS_FILE"), _text(environ, "ANALYTICS_CA")
    credentials = private_file(Path(file).expanduser()).decode().strip() if file else ""
    if authority and not os.access(Path(authority).expanduser(), os.R_OK):
        raise InvalidField(_PREFIX + "ANALYTICS_CA", f"{Path(authority).name} cannot be read")
    return Analytics(url, credentials, Path(authority).expanduser() if authority else None)


def _dscp(environ: Mapping[str, str]) -> int | None:
    text = _text(environ, "SANDESH_DSCP")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) < 64):
        raise InvalidField(
            _PREFIX + "SANDESH_DSCP",
            f"{text[:40]!r} is not a number from 0 to 63",
            remedy="Give such a number, or none.",
        )
    return int(text)


def _tls(environ: Mapping[str, str]) -> TlsFiles | None:
    names = ("SANDESH_CERT", "SANDESH_KEY", "SANDESH_CA")
    paths = [Path(text).expanduser() for name in names if (text := _text(environ, name))]
    if not paths:
        return None
    for name in names:
        if not _text(environ, name):
            raise InvalidField(_PREFIX + name, "is missing", remedy="Give all three files, or none.")
    for path, name in zip(paths, names, strict=True):
        if not os.access(path, os.R_OK):
            raise InvalidField(_PREFIX + name, f"{path.name} cannot be read")
    return TlsFiles(certificate=paths[0], key=paths[1], authority=paths[2])
