# SPDX-License-Identifier: Apache-2.0
"""The configuration files of ``ironic-notification-manager``, read unchanged.

Several are read one after the other, as the old daemon did (``-c ironic-notification-manager.conf -c
contrail-keystone-auth.conf``). Sections and options are those of its R2008 (``parse_args`` of
ironic_notification_manager.py) and of what container-builder wrote for it; docs/bridge.md lists them. What it silently
did not follow is followed here, and what is not followed here is said.
"""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Callable, Mapping
from configparser import ConfigParser, Error, InterpolationError
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.kernel.errors import InvalidField
from services.runtime.rabbitmq import Cluster, Host, Tls, parse
from telemetry.bridge.login import CloudLogin, KeystoneLogin, Login
from telemetry.sandesh.errors import IdentityError
from telemetry.sandesh.header import Identity
from telemetry.sandesh.introspect_http import IRONIC_NOTIFICATION_MANAGER_PORT
from telemetry.sandesh.settings import Address
from telemetry.sandesh.sockets import TlsFiles

MODULE: Final = "ironic-notification-manager"
NODE_TYPE: Final = "Config"
INSTANCE: Final = "0"
FILES: Final = (
    Path("/etc/contrail/contrail-ironic-notification-manager.conf"),
    Path("/etc/contrail/ironic-notification-manager.conf"),
    Path("/etc/contrail/contrail-keystone-auth.conf"),
)
"""Those of these that exist are read where none is named."""
LEVELS: Final = ("debug", "info", "warning", "error", "critical")

_D, _K, _S = "DEFAULTS", "KEYSTONE", "SANDESH"
_LOG_LEVELS: Final[Mapping[str, str]] = {
    "EMERG": "error", "ALERT": "error", "CRIT": "error", "ERR": "error", "ERROR": "error", "WARN": "warning",
    "WARNING": "warning", "NOTICE": "info", "INFO": "info", "DEBUG": "debug",
}  # fmt: skip
_SSL: Final[Mapping[str, str]] = {
    "sandesh_keyfile": "/etc/contrail/ssl/private/server-privkey.pem",
    "sandesh_certfile": "/etc/contrail/ssl/certs/server.pem",
    "sandesh_ca_cert": "/etc/contrail/ssl/certs/ca-cert.pem",
}


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """What the bridge is told.

    Attributes:
        identity: what analytics knows it by: the old daemon's name, so that readers see no change.
        collectors: in a random order, as the old daemon had them.
        introspect: host and port of the introspection pages.
        introspect_tls: their certificate; None: plain HTTP.
        sandesh_tls: of the collectors; None: plain TCP.
        dscp: of the connection to the collector; None: the system's.
        object_logs: whether each notification becomes an object log, too.
        rabbit: where RabbitMQ is.
        queues: the queues that Ironic fills, most urgent first.
        login: at Ironic.
        every: seconds between two listings.
        log_level: debug, info, warning or error.
        log_file: None: standard error.
        unfollowed: options of the files that change nothing here, as ``SECTION.option``.
    """

    identity: Identity
    collectors: tuple[Address, ...]
    introspect: tuple[str, int]
    introspect_tls: TlsFiles | None
    sandesh_tls: TlsFiles | None
    dscp: int | None
    object_logs: bool
    rabbit: Cluster
    queues: tuple[str, ...]
    login: Login
    every: float
    log_level: str
    log_file: Path | None
    unfollowed: tuple[str, ...]


def host_name_of(address: str) -> str:
    """The name of *address*, of this host for ""; never that of every host, which two generators could have."""
    found = socket.getfqdn(address)
    return socket.gethostname() if found.partition(".")[0] == "localhost" else found


def read(
    files: list[Path], environ: Mapping[str, str], host_name: Callable[[str], str] = host_name_of
) -> BridgeSettings:
    """The settings in *files*; those of later files count.

    Args:
        environ: names a cloud (``OS_CLOUD``, ``OS_AUTH_URL``) where the files have no login.
        host_name: the name of an address; of this host for "".

    Raises:
        InvalidField: an option cannot be understood or is missing; no secret is repeated.
    """
    conf = _Conf(files)
    tls = _tls(conf)
    return BridgeSettings(
        identity=_identity(conf, host_name),
        collectors=_collectors(conf),
        introspect=(conf.text(_D, "http_server_ip", "127.0.0.1"), _port(conf)),
        introspect_tls=tls if conf.flag(_S, "introspect_ssl_enable") else None,
        sandesh_tls=tls if conf.flag(_S, "sandesh_ssl_enable") else None,
        dscp=conf.whole(_S, "sandesh_dscp_value", 0, 0, 63) or None,
        object_logs=not conf.flag(_S, "disable_object_logs"),
        rabbit=_rabbit(conf),
        queues=_queues(conf),
        login=_login(conf, environ),
        every=conf.whole(_D, "ironic_list_interval", 300, 5, 86_400),
        log_level=_log_level(conf),
        log_file=_log_file(conf),
        unfollowed=conf.unfollowed(),
    )


class _Conf:
    """The files' options, whichever Python wrote them down."""

    def __init__(self, files: list[Path]) -> None:
        # As Python 2's had it: a semicolon begins a comment, and an option may stand there twice.
        self._parser = ConfigParser(strict=False, inline_comment_prefixes=(";",))
        self._asked: set[tuple[str, str]] = set()
        self.files = ", ".join(map(str, files)) or "no file"
        for path in files:
            try:
                self._parser.read_string(path.read_text(encoding="utf-8-sig"), source=path.name)
            except (OSError, UnicodeDecodeError) as error:
                raise InvalidField("conf_file", f"{path} cannot be read: {type(error).__name__}") from None
            except Error as error:
                line = getattr(error, "lineno", None) or next(iter(getattr(error, "errors", [])), ("?",))[0]
                # The line itself may hold a password.
                raise InvalidField("conf_file", f"{path} is no configuration file: line {line}") from None

    def has(self, section: str, option: str) -> bool:
        return self._parser.has_option(section, option)

    def text(self, section: str, option: str, default: str = "") -> str:
        self._asked.add((section, option))
        if not self.has(section, option):
            return default
        try:
            found = self._parser.get(section, option)
        except InterpolationError:
            # A percent sign that nobody doubled: the old daemon did not start with it.
            found = self._parser.get(section, option, raw=True)
        return found.strip() or default

    def flag(self, section: str, option: str) -> bool:
        given = self.text(section, option, "false").lower()
        if given in ("1", "true", "yes", "on"):
            return True
        if given in ("0", "false", "no", "off", "none"):
            return False
        raise self.wrong(section, option, f"{given[:40]!r} is neither true nor false")

    def whole(self, section: str, option: str, default: int, least: int, most: int) -> int:
        given = self.text(section, option, str(default))
        if not (given.isascii() and given.isdigit() and least <= int(given) <= most):
            raise self.wrong(section, option, f"{given[:40]!r} is not a whole number from {least} to {most}")
        return int(given)

    def path(self, section: str, option: str, default: str = "") -> Path | None:
        given = self.text(section, option, default)
        return Path(given).expanduser() if given else None

    def wrong(self, section: str, option: str, why: str, remedy: str = "") -> InvalidField:
        return InvalidField(
            f"{section}.{option}", why, remedy=remedy or f"Correct it in {self.files}, or leave it out."
        )

    def unfollowed(self) -> tuple[str, ...]:
        return tuple(
            f"{section}.{option}"
            for section in self._parser.sections()
            for option in self._parser.options(section)
            if (section, option) not in self._asked
        )


def _identity(conf: _Conf, host_name: Callable[[str], str]) -> Identity:
    # A machine's own name may hold what a generator's may not.
    source = re.sub(r"[^A-Za-z0-9.-]", "-", host_name(conf.text(_D, "host_ip"))) or "localhost"
    try:
        return Identity(source, MODULE, NODE_TYPE, INSTANCE)
    except IdentityError as error:
        raise conf.wrong(_D, "host_ip", str(error)) from None


def _collectors(conf: _Conf) -> tuple[Address, ...]:
    given = re.split(r"[,\s]+", conf.text(_D, "collectors", "127.0.0.1:8086"))
    try:
        found = [Address.parse(part) for part in given if part]
    except ValueError as error:
        raise conf.wrong(_D, "collectors", str(error), "Give HOST:PORT, several by spaces.") from None
    return tuple(random.sample(found, len(found)))


def _port(conf: _Conf) -> int:
    return conf.whole(_D, "introspect_port", IRONIC_NOTIFICATION_MANAGER_PORT, 0, 65_535)


def _tls(conf: _Conf) -> TlsFiles:
    key, certificate, authority = (Path(conf.text(_S, name, default)) for name, default in _SSL.items())
    if conf.flag(_S, "sandesh_ssl_enable") or conf.flag(_S, "introspect_ssl_enable"):
        for path, name in zip((key, certificate, authority), _SSL, strict=True):
            if not path.is_file():
                raise conf.wrong(_S, name, f"{path} is no file that can be read")
    return TlsFiles(certificate, key, authority)


def _rabbit(conf: _Conf) -> Cluster:
    option = "rabbit_servers" if conf.has(_D, "rabbit_servers") else "rabbit_server"
    given = conf.text(_D, option, "127.0.0.1")
    vhost, tls = conf.text(_D, "rabbit_vhost", "/"), conf.flag(_D, "rabbit_use_ssl")
    if "://" in given:
        hosts, named, secured = parse(given, f"{_D}.{option}")
        vhost, tls = named if named != "/" else vhost, secured or tls
    else:
        hosts = tuple(_host(conf, option, part) for part in re.split(r"[,\s]+", given) if part)
    return Cluster(hosts, vhost, _rabbit_tls(conf) if tls else None)


def _host(conf: _Conf, option: str, part: str) -> Host:
    """``[user:password@]host[:port]``, the login as it is."""
    port = conf.whole(_D, "rabbit_port", 5672, 1, 65_535)
    login, _, place = part.rpartition("@")
    user, _, password = login.partition(":")
    found = re.fullmatch(r"\[([^\]]+)\](?::(\d+))?|([^:]+)(?::(\d+))?|([0-9A-Fa-f:.]+)", place, re.ASCII)
    number = int((found[2] or found[4] or port) if found else 0)
    if found is None or not 0 < number < 65_536:
        raise conf.wrong(_D, option, "names a broker without host or with a port that is none", "Give HOST:PORT, ...")
    return Host(
        found[1] or found[3] or found[5],
        number,
        user or conf.text(_D, "rabbit_user", "guest"),
        password or conf.text(_D, "rabbit_password", "guest"),
    )


def _rabbit_tls(conf: _Conf) -> Tls:
    names = ("kombu_ssl_ca_certs", "kombu_ssl_certfile", "kombu_ssl_keyfile")
    paths = [conf.path(_D, name) for name in names]
    for path, name in zip(paths, names, strict=True):
        if path is not None and not path.is_file():
            raise conf.wrong(_D, name, f"{path} is no file that can be read")
    return Tls(*paths)


def _queues(conf: _Conf) -> tuple[str, ...]:
    level = conf.text(_D, "notification_level", "debug").lower()
    if level not in LEVELS:
        raise conf.wrong(_D, "notification_level", f"{level[:40]!r} is none of {', '.join(LEVELS)}")
    topic = conf.text(_D, "notification_topic", "ironic_versioned_notifications")
    return tuple(f"{topic}.{name}" for name in reversed(LEVELS[LEVELS.index(level) :]))


def _login(conf: _Conf, environ: Mapping[str, str]) -> Login:
    if not conf.text(_K, "admin_user"):
        cloud = environ.get("OS_CLOUD", "") or ("envvars" if environ.get("OS_AUTH_URL") else "")
        if cloud:
            return CloudLogin(cloud)
        remedy = "Read contrail-keystone-auth.conf too (-c), or name a cloud of clouds.yaml by OS_CLOUD."
        raise conf.wrong(_K, "admin_user", f"is missing in {conf.files}: there is no login at Ironic", remedy)
    if (kind := conf.text(_K, "auth_type", "password")) not in ("password", "v3password"):
        raise conf.wrong(_K, "auth_type", f"{kind[:40]!r} is not password")
    for name in ("cafile", "certfile", "keyfile"):
        path = conf.path(_K, name)
        if path is not None and not path.is_file():
            raise conf.wrong(_K, name, f"{path} is no file that can be read")
    return KeystoneLogin(
        url=_auth_url(conf),
        user=conf.text(_K, "admin_user"),
        password=conf.text(_K, "admin_password"),
        project=conf.text(_K, "admin_tenant_name"),
        user_domain=conf.text(_K, "user_domain_name", "Default"),
        project_domain=conf.text(_K, "project_domain_name", "Default"),
        region=conf.text(_K, "region_name"),
        interface=conf.text(_K, "endpoint_type", "internalURL").removesuffix("URL"),
        insecure=conf.flag(_K, "insecure"),
        ca=conf.path(_K, "cafile"),
        certificate=conf.path(_K, "certfile"),
        key=conf.path(_K, "keyfile"),
    )


def _auth_url(conf: _Conf) -> str:
    """Keystone's, of API v3: v2.0, which the old daemon had as its default, is gone since OpenStack Queens."""
    host, protocol = conf.text(_K, "auth_host", "127.0.0.1"), conf.text(_K, "auth_protocol", "http")
    port, version = conf.whole(_K, "auth_port", 35_357, 1, 65_535), conf.text(_K, "auth_version", "v3")
    parts = f"{protocol}://{f'[{host}]' if ':' in host else host}:{port}/{version}"
    url = conf.text(_K, "auth_url", parts)
    if not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", url):
        raise conf.wrong(_K, "auth_url", "is no http or https URL, or has a login in it")
    return re.sub(r"/(v2\.0|v3)?/*$", "", url) + "/v3"


def _log_level(conf: _Conf) -> str:
    given = conf.text(_D, "log_level", "SYS_INFO").upper()
    found = _LOG_LEVELS.get(given.removeprefix("SYS_"))
    if found is None:
        raise conf.wrong(_D, "log_level", f"{given[:40]!r} is no level such as SYS_NOTICE")
    return found


def _log_file(conf: _Conf) -> Path | None:
    """Only if it shall log locally, as with the old daemon, whose default file is its standard output."""
    given = conf.text(_D, "log_file")
    if not conf.flag(_D, "log_local") or given in ("", "<stdout>"):
        return None
    return Path(given)
