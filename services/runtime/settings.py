# SPDX-License-Identifier: Apache-2.0
"""Settings, read once from the environment into frozen values. Secrets come by the path of a file, never as a value.

BMS_DATA_DIR                 where SQLite files, keys and tokens are; ~/.local/share/bms
BMS_<SERVICE>_DATABASE_URL   sqlite:///path or postgresql://...; SQLite in the data directory
BMS_<SERVICE>_ADDRESS        host:port to listen on, and where the others find it; 127.0.0.1 and the service's port
BMS_<SERVICE>_THREADS        worker threads, at least 22 because up to 20 callers wait or watch; 24
BMS_<SERVICE>_METRICS_PORT   loopback port for Prometheus; 0 is off
BMS_GRACE_SECONDS            how long running calls may take to end when told to stop; 10
BMS_DIE_WITH_PARENT          1: stop when the process that started this one is gone
BMS_TOKENS_FILE              the known bearer tokens; tokens.json in the data directory
BMS_SERVICE_TOKEN_FILE       the token this service shows to the others; service.token in the data directory
BMS_KEY_FILE                 the key that secrets are sealed with; data.key in the data directory
BMS_SIGNING_KEY_FILE         the key that checkpoints are signed with; <service>.signing.key beside the key above
BMS_TLS_CERT, BMS_TLS_KEY    certificate chain and key (PEM) to serve with, and to show to the others; without: no TLS
BMS_TLS_CLIENT_CA            CA (PEM) of clients; given, every client must show a certificate
BMS_TLS_CA                   CA (PEM) of the other services; given, they are called over TLS
BMS_KEYSTONE_CLOUD           Keystone's tokens are taken too: the cloud in clouds.yaml whose login validates them,
                             or envvars for the OS_* variables; without: tokens of the file alone
BMS_KEYSTONE_CACHE_SECONDS   how long a token is taken without asking again, and so one that was revoked; up to 300; 60
BMS_KEYSTONE_ADMIN_PROJECT   id of the project whose role admin is the site's; without: the system's role alone is
BMS_KEYSTONE_SERVICE_PROJECT id of the project whose role service may do what our own services may; without: nobody's
BMS_KEYSTONE_ADMIN_ROLES     names of Keystone's roles that are our admin, by commas; admin
BMS_KEYSTONE_MEMBER_ROLES, BMS_KEYSTONE_READER_ROLES, BMS_KEYSTONE_SERVICE_ROLES
                             the same of our member, reader and service; each its own name
BMS_LOG_LEVEL                debug, info, warning or error; info
BMS_LOG_JSON                 1 or 0; JSON unless standard error is a terminal
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.kernel.errors import InvalidField

PORTS: Mapping[str, int] = {"inventory": 50051, "lifecycle": 50052, "ipam": 50053, "network": 50054, "telemetry": 50055}
"""Where each service listens unless told otherwise."""

_PROJECT_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """The service's own database."""

    url: str
    """``sqlite:///path`` or ``postgresql://...``."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Files to serve TLS with (PEM)."""

    cert: Path
    """The certificate chain."""
    key: Path
    """Its private key."""
    client_ca: Path | None = None
    """The CA of clients; given, every client must show a certificate."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Files to call others over TLS with (PEM)."""

    ca: Path
    """The CA of the others."""
    cert: Path | None = None
    """Our own certificate chain, where they ask for one."""
    key: Path | None = None
    """Its private key."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The gRPC server."""

    address: str
    """``host:port``; port 0 takes a free one."""
    tls: ServerTls | None = None
    """None: no TLS."""
    threads: int = 24
    """How many requests are served at a time."""
    grace: float = 10.0
    """Seconds that running calls get when the server stops."""
    die_with_parent: bool = False
    """Whether to stop when the parent process is gone."""
    metrics_port: int = 0
    """Loopback port for Prometheus; 0 is off."""


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """The other services."""

    addresses: Mapping[str, str]
    """``host:port`` by service."""
    token_file: Path
    """The token that this service shows."""
    tls: ClientTls | None = None
    """None: no TLS."""


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Files of the service."""

    data_dir: Path
    """Where everything is that has no path of its own."""
    key_file: Path
    """The key that secrets are sealed with."""
    tokens_file: Path
    """The known bearer tokens."""
    signing_key_file: Path
    """The key that checkpoints are signed with; of this service alone, the same in all of its replicas."""


@dataclass(frozen=True, slots=True)
class KeystoneSettings:
    """Callers who come with Keystone's tokens."""

    cloud: str
    """The cloud whose login validates them: a name in clouds.yaml, or ``envvars`` for the OS_* variables."""
    cache_seconds: float = 60.0
    """How long a token is taken without asking again."""
    admin_project: str = ""
    """Id of the project in which the admin role is the site's; "": there is none."""
    service_project: str = ""
    """Id of the project in which the service role is our SERVICE; "": there is none."""
    admin_roles: frozenset[str] = frozenset({"admin"})
    """Names of Keystone's roles, in small letters; Keystone does not tell Member from member either."""
    member_roles: frozenset[str] = frozenset({"member"})
    """As above."""
    reader_roles: frozenset[str] = frozenset({"reader"})
    """As above."""
    service_roles: frozenset[str] = frozenset({"service"})
    """As above."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The log, on standard error."""

    level: str = "info"
    """debug, info, warning or error."""
    json: bool = True
    """JSON lines, or lines for people."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything one service is told."""

    service: str
    """Its short name, ``ipam``."""
    database: DatabaseSettings
    server: ServerSettings
    peers: PeerSettings
    data: DataSettings
    log: LogSettings
    keystone: KeystoneSettings | None = None
    """None: tokens of the file alone."""

    @classmethod
    def read(cls, service: str, environ: Mapping[str, str]) -> Settings:
        """The settings of *service* in *environ*.

        Raises:
            InvalidField: a variable cannot be understood; its name is the field.
        """
        env = _Env(environ)
        prefix = f"BMS_{service.upper()}_"
        data_dir = Path(env.text("BMS_DATA_DIR") or Path("~/.local/share/bms").expanduser())
        addresses = {
            name: env.text(f"BMS_{name.upper()}_ADDRESS") or f"127.0.0.1:{port}" for name, port in PORTS.items()
        }
        cert, key = env.path("BMS_TLS_CERT"), env.path("BMS_TLS_KEY")
        if (cert is None) != (key is None):
            name = "BMS_TLS_KEY" if key is None else "BMS_TLS_CERT"
            raise InvalidField(name, "is missing", remedy="Give both BMS_TLS_CERT and BMS_TLS_KEY, or neither.")
        ca = env.path("BMS_TLS_CA")
        key_file = env.path("BMS_KEY_FILE") or data_dir / "data.key"
        return cls(
            service=service,
            database=DatabaseSettings(env.text(prefix + "DATABASE_URL") or f"sqlite:///{data_dir / service}.sqlite"),
            server=ServerSettings(
                address=addresses.get(service) or env.text(prefix + "ADDRESS") or "127.0.0.1:0",
                tls=ServerTls(cert, key, env.path("BMS_TLS_CLIENT_CA")) if cert and key else None,
                threads=int(env.number(prefix + "THREADS", 24, least=22)),
                grace=env.number("BMS_GRACE_SECONDS", 10, least=0),
                die_with_parent=env.flag("BMS_DIE_WITH_PARENT", default=False),
                metrics_port=int(env.number(prefix + "METRICS_PORT", 0, least=0)),
            ),
            peers=PeerSettings(
                addresses=addresses,
                token_file=env.path("BMS_SERVICE_TOKEN_FILE") or data_dir / "service.token",
                tls=ClientTls(ca, cert, key) if ca else None,
            ),
            data=DataSettings(
                data_dir=data_dir,
                key_file=key_file,
                tokens_file=env.path("BMS_TOKENS_FILE") or data_dir / "tokens.json",
                signing_key_file=env.path("BMS_SIGNING_KEY_FILE") or key_file.parent / f"{service}.signing.key",
            ),
            log=LogSettings(
                level=env.choice("BMS_LOG_LEVEL", ("info", "debug", "warning", "error")),
                json=env.flag("BMS_LOG_JSON", default=not sys.stderr.isatty()),
            ),
            keystone=_keystone(env),
        )


def _keystone(env: _Env) -> KeystoneSettings | None:
    prefix = "BMS_KEYSTONE_"
    cloud = env.text(prefix + "CLOUD")
    if not cloud:
        return None
    found = KeystoneSettings(
        cloud=cloud,
        cache_seconds=env.number(prefix + "CACHE_SECONDS", 60, least=0, most=300),
        admin_project=env.text(prefix + "ADMIN_PROJECT"),
        service_project=env.text(prefix + "SERVICE_PROJECT"),
        admin_roles=env.names(prefix + "ADMIN_ROLES", "admin"),
        member_roles=env.names(prefix + "MEMBER_ROLES", "member"),
        reader_roles=env.names(prefix + "READER_ROLES", "reader"),
        service_roles=env.names(prefix + "SERVICE_ROLES", "service"),
    )
    for name, project in (("ADMIN_PROJECT", found.admin_project), ("SERVICE_PROJECT", found.service_project)):
        if project and not _PROJECT_ID.fullmatch(project):
            remedy = "Give the project's id, not its name: `openstack project show NAME -f value -c id`."
            raise InvalidField(prefix + name, f"{project[:70]!r} is not a project's id", remedy=remedy)
    return found


@dataclass(frozen=True, slots=True)
class _Env:
    environ: Mapping[str, str]

    def text(self, name: str) -> str:
        return self.environ.get(name, "").strip()

    def path(self, name: str) -> Path | None:
        text = self.text(name)
        return Path(text).expanduser() if text else None

    def number(self, name: str, default: float, *, least: float, most: float = sys.float_info.max) -> float:
        text = self.text(name)
        try:
            value = float(text) if text else default
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            upto = "on" if most == sys.float_info.max else f"to {most:g}"
            raise InvalidField(name, f"{text[:40]!r} is not a number from {least:g} {upto}")
        return value

    def names(self, name: str, default: str) -> frozenset[str]:
        return frozenset(part.strip().lower() for part in (self.text(name) or default).split(",") if part.strip())

    def flag(self, name: str, *, default: bool) -> bool:
        text = self.text(name).lower()
        if text in ("", "0", "1", "true", "false"):
            return default if not text else text in ("1", "true")
        raise InvalidField(name, f"{text[:40]!r} is neither 1 nor 0")

    def choice(self, name: str, values: tuple[str, ...]) -> str:
        text = self.text(name).lower() or values[0]
        if text not in values:
            raise InvalidField(name, f"{text[:40]!r} is none of {', '.join(sorted(values))}")
        return text
