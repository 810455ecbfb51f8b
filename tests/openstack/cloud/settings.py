# SPDX-License-Identifier: Apache-2.0
"""Sections of configuration that several services have, and how their APIs are served."""

from __future__ import annotations

from collections.abc import Mapping

from tests.openstack.cloud.place import Place, Unit

REGION = "RegionOne"


def login(place: Place, user: str) -> dict[str, object]:
    """How a service logs in to another as *user*."""
    return {
        "auth_type": "password", "auth_url": place.auth_url, "project_domain_name": "Default",
        "user_domain_name": "Default", "project_name": "service", "username": user, "password": place.secrets[user],
    }  # fmt: skip


def client(place: Place, user: str) -> dict[str, object]:
    """`login`, and where to find the other."""
    return {**login(place, user), "region_name": REGION, "valid_interfaces": "public,internal"}


def shared(place: Place, user: str) -> dict[str, dict[str, object]]:
    """What every service has that Keystone guards: whose tokens it takes, its locks, and how it tells."""
    return {
        "keystone_authtoken": {
            **login(place, user), "www_authenticate_uri": place.auth_url, "service_token_roles": "service",
            "service_token_roles_required": True, "token_cache_time": 60,
        },
        "oslo_concurrency": {"lock_path": place.state("locks")},
        "oslo_messaging_rabbit": {"heartbeat_in_pthread": False},
        "oslo_messaging_notifications": {"driver": "messagingv2"},
    }  # fmt: skip


def database(place: Place, name: str) -> dict[str, object]:
    """Where a service keeps its rows."""
    return {"connection": place.database(name), "max_pool_size": 10, "max_overflow": 20}


def served(
    place: Place, unit: str, service: str, module: str, environ: Mapping[str, str], *arguments: str, path: str = "/"
) -> Unit:
    """An API under uWSGI: one process of six threads.

    Connections are not kept: uWSGI's own HTTP forgets kept ones, and a client's next POST on one dies.
    """
    argv = [
        place.program("uwsgi"), "--http-socket", f"127.0.0.1:{place.ports[service]}", "--module", module,
        "--virtualenv", str(place.programs.parent), "--master", "--die-on-term", "--processes", "1", "--threads", "6",
        "--enable-threads", "--lazy-apps", "--need-app", "--no-orphans", "--buffer-size", "65535",
        "--http-chunked-input", "--disable-logging", "--add-header", "Connection: close", "--worker-reload-mercy", "2",
    ]  # fmt: skip
    if arguments:
        argv += ["--pyargv", " ".join(arguments)]
    return Unit(unit, argv, environ, place.ports[service], place.url(service, path))
