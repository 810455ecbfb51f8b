# SPDX-License-Identifier: Apache-2.0
"""A genuine Keystone on the loopback: one process, SQLite, and some people with projects and roles.

Its programs are those of the whole cloud; everything else is made anew for each.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from cryptography.fernet import Fernet
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from tests.openstack.bed import _start
from tests.openstack.cloud.parts import answers, free_port, run, sqlite
from tests.openstack.cloud.programs import programs

PEOPLE = {
    "alice": ("web", ("member",)),
    "rita": ("web", ("reader",)),
    "bert": ("shop", ("member",)),
    "olaf": ("web", ("observer",)),
    "bms": ("service", ("service",)),
}
"""Users, each with a project and his roles there; and ``admin`` is that of project admin, the domain and the system."""

_SERVER = """
import sys
port = int(sys.argv.pop())
from cheroot.wsgi import Server
from keystone.wsgi.api import application
Server(("127.0.0.1", port), application, numthreads=8).start()
"""


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running Keystone.

    Attributes:
        endpoint: its URL, with the version.
        clouds: a clouds.yaml in which every user is a cloud of his name.
        passwords: by user.
        projects: ids by name.
        process: its one process.
        log: everything it said.
    """

    endpoint: str
    clouds: Path
    passwords: Mapping[str, str]
    projects: Mapping[str, str]
    process: subprocess.Popen[bytes]
    log: Path

    def session(self, user: str, **scope: Any) -> Session:
        """A session of *user*; in his project unless *scope* says otherwise."""
        if not scope:
            project = PEOPLE[user][0] if user in PEOPLE else "admin"
            scope = {"project_name": project, "project_domain_id": "default"}
        login: dict[str, Any] = {"username": user, "password": self.passwords[user], "user_domain_id": "default"}
        return _session(v3.Password(self.endpoint, **login, **scope))

    def token(self, user: str, **scope: Any) -> str:
        """A token of *user*; see `session`."""
        return str(self.session(user, **scope).get_token())

    def unscoped(self, user: str) -> str:
        """A token of *user* for nothing."""
        return self.token(user, unscoped=True)

    def revoke(self, user: str, token: str) -> None:
        """Ends a *token* of *user*."""
        self.session(user).delete(f"{self.endpoint}/auth/tokens", headers={"X-Subject-Token": token})

    def credential_token(self, user: str, **credential: Any) -> str:
        """A token that *user* gets by a new application credential, such as one that expires or has access rules."""
        session = self.session(user)
        url = f"{self.endpoint}/users/{session.get_user_id()}/application_credentials"
        asked = {"name": secrets.token_hex(4), **credential}
        made = session.post(url, json={"application_credential": asked}).json()["application_credential"]
        login = v3.ApplicationCredential(
            self.endpoint, application_credential_id=made["id"], application_credential_secret=made["secret"]
        )
        return str(_session(login).get_token())


@contextmanager
def running_keystone(folder: Path, *, token_seconds: int = 3600) -> Iterator[Cloud]:
    """Keystone in *folder* with its `PEOPLE`, until the block ends; its tokens are good for *token_seconds*."""
    found, port = programs(), free_port()
    endpoint, passwords = f"http://127.0.0.1:{port}/v3", {name: secrets.token_hex(12) for name in (*PEOPLE, "admin")}
    manage = [str(found / "keystone-manage"), "--config-file", str(_configure(folder, token_seconds))]
    run(folder, [*manage, "db_sync"], "keystone db_sync")
    given = ["--bootstrap-password", passwords["admin"], "--bootstrap-public-url", endpoint]
    run(folder, [*manage, "bootstrap", *given, "--bootstrap-region-id", "one"], "keystone bootstrap")
    with ExitStack() as ends:
        argv = [str(found / "python"), "-c", _SERVER, str(port)]
        process = _start(folder, "keystone", argv, {"OS_KEYSTONE_CONFIG_DIR": str(folder)}, ends)
        log = folder / "keystone.log"
        answers(endpoint, log)
        clouds = _write_clouds(folder, endpoint, passwords)
        cloud = Cloud(endpoint, clouds, passwords, {}, process, log)
        yield Cloud(endpoint, clouds, passwords, _populate(cloud), process, log)


def _configure(folder: Path, token_seconds: int) -> Path:
    for name in ("fernet", "credential"):
        (folder / name).mkdir(mode=0o700)
        for number in "01":
            (folder / name / number).write_bytes(Fernet.generate_key())
    sections: dict[str, dict[str, object]] = {
        "database": {"connection": sqlite(folder / "keystone.sqlite")},
        "token": {"expiration": token_seconds},
        "fernet_tokens": {"key_repository": folder / "fernet"},
        # It makes none here; without them it does not even start.
        "fernet_receipts": {"key_repository": folder / "fernet"},
        "credential": {"key_repository": folder / "credential"},
        # Without, each answer costs half a second of CPU. What is revoked leaves the cache of its one process at once.
        "cache": {"enabled": True, "backend": "oslo_cache.dict"},
        "identity": {"password_hash_rounds": 4},
    }
    lines = [
        line
        for name, options in sections.items()
        for line in (f"[{name}]", *(f"{key} = {value}" for key, value in options.items()))
    ]
    config = folder / "keystone.conf"
    config.write_text("\n".join(lines) + "\n")
    return config


def _populate(cloud: Cloud) -> dict[str, str]:
    """Makes projects, users and roles; answers the projects' ids."""
    admin = cloud.session("admin")

    def make(kind: str, **given: Any) -> str:
        answer = admin.post(f"{cloud.endpoint}/{kind}s", json={kind: given}).json()
        return str(answer[kind]["id"])

    make("role", name="observer")
    roles = {each["name"]: each["id"] for each in admin.get(f"{cloud.endpoint}/roles").json()["roles"]}
    projects = {"admin": str(admin.get_project_id())}
    admin.put(f"{cloud.endpoint}/domains/default/users/{admin.get_user_id()}/roles/{roles['admin']}")
    for user, (project, held) in PEOPLE.items():
        if project not in projects:
            projects[project] = make("project", name=project, domain_id="default")
        made = make("user", name=user, password=cloud.passwords[user], domain_id="default")
        for role in held:
            admin.put(f"{cloud.endpoint}/projects/{projects[project]}/users/{made}/roles/{roles[role]}")
    return projects


def _write_clouds(folder: Path, endpoint: str, passwords: Mapping[str, str]) -> Path:
    entries = {}
    for user, password in passwords.items():
        project = PEOPLE[user][0] if user in PEOPLE else "admin"
        scope = {"project_name": project, "user_domain_id": "default", "project_domain_id": "default"}
        entries[user] = {"auth": {"auth_url": endpoint, "username": user, "password": password, **scope}}
    path = folder / "clouds.yaml"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"clouds": entries}))
    return path


def _session(login: Any) -> Session:
    # Nothing on the loopback is asked for through a proxy.
    direct = requests.Session()
    direct.trust_env = False
    return Session(auth=login, session=direct)
