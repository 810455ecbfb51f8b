# SPDX-License-Identifier: Apache-2.0
"""A genuine Glance on the loopback: one process, SQLite, files, and nobody who asks for a login.

Its programs are those of the whole cloud; everything else is made anew for each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.openstack.bed import _start
from tests.openstack.cloud.parts import answers, free_port, run, sqlite, write_ini
from tests.openstack.cloud.programs import programs

# Its own policies are made for tokens, and there is no Keystone.
_POLICY = """
import json
import re
from glance import policies
print(json.dumps({rule.name: "@" for rule in policies.list_rules()}))
"""

# Everybody is the administrator of project bed, in the words of the middleware that would ask Keystone: whoever calls
# without a project can have nothing fetched.
_SERVER = """
import sys
port = int(sys.argv.pop())
from cheroot.wsgi import Server
from glance.wsgi.api import application
said = {"IDENTITY_STATUS": "Confirmed", "USER_ID": "bed", "PROJECT_ID": "bed", "ROLES": "admin,member,reader"}

def known(environ, start_response):
    environ.update({f"HTTP_X_{name}": text for name, text in said.items()})
    return application(environ, start_response)

Server(("127.0.0.1", port), known, numthreads=8).start()
"""


@dataclass(frozen=True, slots=True)
class RunningGlance:
    """A running Glance.

    Attributes:
        endpoint: its URL, with the version.
        clouds: a clouds.yaml in which it is called ``glance``.
        log: everything it said.
    """

    endpoint: str
    clouds: Path
    log: Path


@contextmanager
def running_glance(folder: Path, fetched_from: int) -> Iterator[RunningGlance]:
    """Glance in *folder*, until the block ends.

    Args:
        fetched_from: the port that it may fetch images from.
    """
    found, port = programs(), free_port()
    config = _configure(folder, found, fetched_from)
    run(folder, [str(found / "glance-manage"), "--config-file", str(config), "db_sync"], "db_sync")
    with ExitStack() as ends:
        argv = [str(found / "python"), "-c", _SERVER, str(port)]
        _start(folder, "glance", argv, {"OS_GLANCE_CONFIG_DIR": str(folder)}, ends)
        endpoint, log = f"http://127.0.0.1:{port}/v2", folder / "glance.log"
        answers(endpoint, log)
        clouds = folder / "clouds.yaml"
        # The SDK finds the version by what stands at the root; below it Glance tells nothing.
        root = f"http://127.0.0.1:{port}/"
        cloud = {"auth_type": "none", "auth": {"endpoint": root}, "image_endpoint_override": root}
        clouds.write_text(json.dumps({"clouds": {"glance": cloud}}))
        yield RunningGlance(endpoint, clouds, log)


def _configure(folder: Path, found: Path, fetched_from: int) -> Path:
    for name in ("images", "staging", "tasks"):
        (folder / name).mkdir()
    paste = folder / "glance-api-paste.ini"
    given = (found.parent / "etc" / "glance" / "glance-api-paste.ini").read_text()
    paste.write_text(re.sub(r"(?m)^((?:pipeline|keystone) *=.*) authtoken", r"\1", given))
    policy = folder / "policy.json"
    policy.write_text(run(folder, [str(found / "python"), "-W", "ignore", "-c", _POLICY], "the list of policies"))
    sections: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": "file:file", "enabled_import_methods": "[web-download,glance-direct]"},
        "glance_store": {"default_backend": "file"},
        "file": {"filesystem_store_datadir": folder / "images"},
        "os_glance_staging_store": {"filesystem_store_datadir": folder / "staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": folder / "tasks"},
        # It fetches nothing from a loopback that nobody named.
        "import_filtering_opts": {"allowed_hosts": "[127.0.0.1]", "allowed_ports": f"[{fetched_from}]"},
        "paste_deploy": {"flavor": "keystone", "config_file": paste},
        "database": {"connection": sqlite(folder / "glance.sqlite")},
        "oslo_policy": {"policy_file": policy, "enforce_scope": False, "enforce_new_defaults": False},
        "oslo_concurrency": {"lock_path": folder / "locks"},
    }
    return write_ini(folder / "glance-api.conf", sections)
