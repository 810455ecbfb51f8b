# SPDX-License-Identifier: Apache-2.0
"""The old daemon's files, unchanged: what each option does, and what is said of those that do nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.kernel.errors import InvalidField
from services.runtime.rabbitmq import Cluster, Host, Tls
from telemetry.bridge.conf import BridgeSettings, host_name_of, read
from telemetry.bridge.login import CloudLogin, KeystoneLogin
from telemetry.sandesh.settings import Address
from telemetry.sandesh.sockets import TlsFiles
from tests.telemetry.bridge.notes import SECRET

PACKAGED = """\
[DEFAULTS]
log_file = /var/log/contrail/ironic-notification-manager.log
log_local = 1
log_level = SYS_NOTICE
rabbit_server = 127.0.0.1:5672
rabbit_port = 5672
rabbit_user = rabbit
rabbit_ha_mode = False
rabbit_password = rabbit
notification_level = debug
collectors = 127.0.0.1:8086
introspect_port = 8110
"""
"""The options and values of the file that R2008's package brought."""
KEYSTONE = f"""\
[KEYSTONE]
#memcache_servers=127.0.0.1:11211
admin_password = {SECRET}
admin_tenant_name = service
admin_user = ironic
auth_host = 10.0.0.9
auth_port = 35357
auth_protocol = https
insecure = false
auth_url = https://10.0.0.9:35357/v3
auth_type = password
user_domain_name = Default
project_domain_name = Default
"""
"""The options of contrail-keystone-auth.conf as container-builder wrote it."""
CONTAINER = """\
[DEFAULTS]
rabbit_server = 10.0.0.1:5673,10.0.0.2:5673
rabbit_vhost = openstack
rabbit_user = contrail
rabbit_password = p@ss:w%rd
rabbit_use_ssl = True
kombu_ssl_version = tlsv1_2
notification_level = info
collectors = 10.0.0.1:8086 10.0.0.2:8086
host_ip = 10.0.0.5

[SANDESH]
sandesh_dscp_value = 46
disable_object_logs = True
"""


def settings(*texts: str, tmp_path: Path, environ: dict[str, str] | None = None) -> BridgeSettings:
    """What is read in files with *texts*."""
    files = []
    for number, text in enumerate(texts):
        files.append(tmp_path / f"{number}.conf")
        files[-1].write_text(text)
    return read(files, environ or {}, lambda address: {"10.0.0.5": "node-5.example", "": "here.example"}[address])


def login(text: str, tmp_path: Path) -> KeystoneLogin:
    """The login in a file with *text*."""
    found = settings(text, tmp_path=tmp_path).login
    assert isinstance(found, KeystoneLogin)
    return found


def test_the_packaged_files_are_read_as_they_are(tmp_path: Path) -> None:
    """
    With the identity, the ports and the queues of the old daemon.
    """
    found = settings(PACKAGED, KEYSTONE, tmp_path=tmp_path)
    assert str(found.identity) == "here.example:Config:ironic-notification-manager:0"
    assert found.collectors == (Address("127.0.0.1", 8086),)
    assert found.introspect == ("127.0.0.1", 8110), "on loopback: its pages ask for no password"
    assert found.rabbit == Cluster((Host("127.0.0.1", 5672, "rabbit", "rabbit"),))
    assert found.queues == tuple(
        f"ironic_versioned_notifications.{level}" for level in ("critical", "error", "warning", "info", "debug")
    )
    assert (found.log_level, found.log_file) == ("info", Path("/var/log/contrail/ironic-notification-manager.log"))
    assert found.login == KeystoneLogin("https://10.0.0.9:35357/v3", "ironic", SECRET, "service")
    assert found.unfollowed == ("DEFAULTS.rabbit_ha_mode",)
    assert SECRET not in repr(found)
    assert "rabbit_password" not in repr(found)


def test_15_every_broker_the_vhost_tls_and_any_password(tmp_path: Path) -> None:
    """
    The original took the first host, no virtual host and no TLS, and broke on a password with an @ in it.
    """
    found = settings(CONTAINER, KEYSTONE, tmp_path=tmp_path)
    hosts = tuple(Host(name, 5673, "contrail", "p@ss:w%rd") for name in ("10.0.0.1", "10.0.0.2"))
    assert found.rabbit == Cluster(hosts, "openstack", Tls())
    assert found.queues == tuple(
        f"ironic_versioned_notifications.{x}" for x in ("critical", "error", "warning", "info")
    )
    assert found.unfollowed == ("DEFAULTS.kombu_ssl_version",)


def test_10_what_the_sandesh_section_says_is_done(tmp_path: Path) -> None:
    """
    The original read TLS, DSCP and http_server_ip, and passed them to nobody.
    """
    found = settings(CONTAINER, KEYSTONE, tmp_path=tmp_path)
    assert (found.dscp, found.object_logs, found.sandesh_tls, found.introspect_tls) == (46, False, None, None)
    for name in ("key", "cert", "ca"):
        (tmp_path / name).write_text("PEM")
    files = f"sandesh_keyfile={tmp_path}/key\nsandesh_certfile={tmp_path}/cert\nsandesh_ca_cert={tmp_path}/ca\n"
    both = "[DEFAULTS]\nhttp_server_ip = 0.0.0.0\n[SANDESH]\nsandesh_ssl_enable=True\nintrospect_ssl_enable=1\n" + files
    found = settings(both, KEYSTONE, tmp_path=tmp_path)
    tls = TlsFiles(tmp_path / "cert", tmp_path / "key", tmp_path / "ca")
    assert (found.sandesh_tls, found.introspect_tls, found.introspect) == (tls, tls, ("0.0.0.0", 8110))


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ("a", [("a", 5672, "guest", "guest")]),
        ("a:1, b:2 c", [("a", 1, "guest", "guest"), ("b", 2, "guest", "guest"), ("c", 5672, "guest", "guest")]),
        ("u:p@a,v:q:r@[fd00::1]:3", [("a", 5672, "u", "p"), ("fd00::1", 3, "v", "q:r")]),
        ("fd00::2", [("fd00::2", 5672, "guest", "guest")]),
        ("amqps://u:p%40@a,u:p@b:1/os", [("a", 5671, "u", "p@"), ("b", 1, "u", "p")]),
    ],
    ids=["one", "several", "logins", "six", "url"],
)
def test_brokers_are_written_in_several_ways(given: str, hosts: list[tuple[Any, ...]], tmp_path: Path) -> None:
    """
    As the old daemon split them, or as OpenStack's services have them.
    """
    found = settings(f"[DEFAULTS]\nrabbit_servers = {given}\n", KEYSTONE, tmp_path=tmp_path).rabbit
    assert found.hosts == tuple(Host(*host) for host in hosts)
    assert (found.vhost, found.tls) == (("os", Tls()) if "://" in given else ("/", None))


def test_16_files_of_python_2_are_read(tmp_path: Path) -> None:
    """
    With options twice, comments behind semicolons, percent signs doubled or not, and a byte order mark; and collectors
    are drawn, which Python 3 refused the original.
    """
    text = "\ufeff[DEFAULTS]\nrabbit_user = a\nrabbit_user = b ; who\nrabbit_password = 50%%\ncollectors = x y,z\n"
    found = settings(text, KEYSTONE, tmp_path=tmp_path)
    assert (found.rabbit.hosts[0].user, found.rabbit.hosts[0].password) == ("b", "50%")
    assert sorted(str(address) for address in found.collectors) == ["x:8086", "y:8086", "z:8086"]


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("auth_url = http://k:5000", "http://k:5000/v3"),
        ("auth_url = http://k:5000/v2.0", "http://k:5000/v3"),
        ("auth_url = https://k/identity/v3/", "https://k/identity/v3"),
        ("auth_host = k\nauth_port = 5000\nauth_protocol = https\nauth_version = v2.0", "https://k:5000/v3"),
        ("auth_host = fd00::1", "http://[fd00::1]:35357/v3"),
    ],
    ids=range(5),
)
def test_17_keystone_is_asked_by_its_version_3(given: str, url: str, tmp_path: Path) -> None:
    """
    Whatever version the file names: no Keystone has had another since Queens.
    """
    assert login(f"[KEYSTONE]\nadmin_user = u\n{given}\n", tmp_path).url == url


def test_17_tls_of_keystone_and_ironic_is_followed(tmp_path: Path) -> None:
    """
    The original had "TODO" there. Certificates are checked, unless the file says not to.
    """
    (tmp_path / "ca").write_text("PEM")
    found = login(f"[KEYSTONE]\nadmin_user=u\ncafile={tmp_path}/ca\nendpoint_type=publicURL\nregion_name=R\n", tmp_path)
    assert (found.ca, found.insecure, found.interface, found.region) == (tmp_path / "ca", False, "public", "R")
    assert login("[KEYSTONE]\nadmin_user=u\ninsecure=True\n", tmp_path).insecure


def test_a_cloud_stands_in_where_the_files_have_no_login(tmp_path: Path) -> None:
    """
    By OS_CLOUD, or OS_* themselves; without either it is said what to do.
    """
    assert settings(PACKAGED, tmp_path=tmp_path, environ={"OS_CLOUD": "site"}).login == CloudLogin("site")
    assert settings(PACKAGED, tmp_path=tmp_path, environ={"OS_AUTH_URL": "x"}).login == CloudLogin("envvars")
    with pytest.raises(InvalidField, match="no login at Ironic") as caught:
        settings(PACKAGED, tmp_path=tmp_path)
    assert "contrail-keystone-auth.conf" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[DEFAULTS]\ncollectors = a:b:c\n", "DEFAULTS.collectors"),
        ("[DEFAULTS]\nintrospect_port = 99999\n", "DEFAULTS.introspect_port"),
        ("[DEFAULTS]\nnotification_level = loud\n", "DEFAULTS.notification_level"),
        ("[DEFAULTS]\nlog_level = loud\n", "DEFAULTS.log_level"),
        ("[DEFAULTS]\nlog_local = maybe\n", "DEFAULTS.log_local"),
        (f"[DEFAULTS]\nrabbit_server = u:{SECRET}@a:0\n", "DEFAULTS.rabbit_server"),
        (f"[DEFAULTS]\nrabbit_server = kafka://u:{SECRET}@a\n", "DEFAULTS.rabbit_server"),
        ("[DEFAULTS]\nrabbit_use_ssl = 1\nkombu_ssl_ca_certs = /nowhere\n", "DEFAULTS.kombu_ssl_ca_certs"),
        ("[SANDESH]\nsandesh_ssl_enable = 1\nsandesh_keyfile = /nowhere\n", "SANDESH.sandesh_keyfile"),
        ("[SANDESH]\nsandesh_dscp_value = 64\n", "SANDESH.sandesh_dscp_value"),
        (f"[KEYSTONE]\nauth_url = http://u:{SECRET}@k\n", "KEYSTONE.auth_url"),
        ("[KEYSTONE]\nauth_type = v3oidc\n", "KEYSTONE.auth_type"),
        ("[KEYSTONE]\ncafile = /nowhere\n", "KEYSTONE.cafile"),
        (f"[DEFAULTS]\nrabbit_password {SECRET}\n", "conf_file"),
        (f"rabbit_password = {SECRET}\n", "conf_file"),
    ],
    ids=range(15),
)
def test_what_is_wrong_is_named_and_no_secret_repeated(text: str, field: str, tmp_path: Path) -> None:
    """
    The option and its section, the reason, and the file.
    """
    with pytest.raises(InvalidField) as caught:
        settings(KEYSTONE, text, tmp_path=tmp_path)
    assert caught.value.facts["field"] == field
    assert SECRET not in str(caught.value) + caught.value.remedy
    assert caught.value.remedy or str(tmp_path) in str(caught.value)


def test_a_host_is_not_called_as_every_host_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where its own name leads to loopback; two bridges of one name would throw each other out.
    """
    monkeypatch.setattr("socket.gethostname", lambda: "node-7")
    names = {"": "localhost", "10.0.0.5": "node-5.example", "127.0.0.1": "localhost.localdomain"}
    monkeypatch.setattr("socket.getfqdn", names.__getitem__)
    assert [host_name_of(name) for name in names] == ["node-7", "node-5.example", "node-7"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """
    The old daemon read nothing, and went on with its defaults.
    """
    with pytest.raises(InvalidField, match=r"none\.conf cannot be read: FileNotFoundError"):
        read([tmp_path / "none.conf"], {})
