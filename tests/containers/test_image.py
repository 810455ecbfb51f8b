# SPDX-License-Identifier: Apache-2.0
"""The one image of all services."""

from __future__ import annotations

import json

import pytest

from tests.containers.engine import SERVICES, podman

# Building the images on a busy machine takes minutes.
pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

PACKAGES = {service: "telemetry" if service == "telemetry" else f"services.{service}" for service in SERVICES}


def test_runs_as_nobody_in_particular(image: str) -> None:
    """
    Its user is not root, and can write nowhere but to its own folders.
    """
    program = (
        "import os, json; "
        "print(json.dumps([os.getuid(), [p for p in ('/', '/etc', '/opt/bms', '/usr') if os.access(p, os.W_OK)]]))"
    )
    answer = podman("run", "--rm", "--network=none", "--entrypoint=python", image, "-c", program)

    assert json.loads(answer) == [10001, []]


def test_holds_no_secret_and_no_tool_to_fetch_anything(image: str) -> None:
    """
    It ships no key, token or database, and no pip, generator or tests.
    """
    program = (
        "import importlib.util, json, pathlib; "
        "found = [str(p) for top in ('/opt/bms', '/site', '/var/lib/bms') for p in pathlib.Path(top).rglob('*') "
        "if p.suffix in ('.key', '.token', '.sqlite', '.pem') and 'certifi' not in p.parts and 'grpc' not in p.parts]; "
        "tools = [m for m in ('pip', 'grpc_tools', 'pytest', 'tests') if importlib.util.find_spec(m)]; "
        "print(json.dumps([found, tools]))"
    )
    answer = podman("run", "--rm", "--network=none", "--entrypoint=python", image, "-c", program)

    assert json.loads(answer) == [[], []]


@pytest.mark.parametrize("service", SERVICES)
def test_any_service_by_argument(image: str, service: str) -> None:
    """
    Every service is in it, whole.
    """
    program = f"import importlib; print(importlib.import_module('{PACKAGES[service]}.__main__').__name__)"
    answer = podman("run", "--rm", "--network=none", "--entrypoint=python", image, "-c", program)

    assert answer.strip() == f"{PACKAGES[service]}.__main__"


def test_says_what_it_is_told_by(image: str) -> None:
    """
    Without an argument it shows the command line's help instead of failing.
    """
    assert "Usage" in podman("run", "--rm", "--network=none", image)
