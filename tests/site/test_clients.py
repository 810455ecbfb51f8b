# SPDX-License-Identifier: Apache-2.0
"""Clients that others wrote: they list our services, call them, and print why they are refused."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2

from services.cli.supervise.plan import SERVICES
from tests.site.rig import Site

pytestmark = pytest.mark.story

_BIN = Path(sys.executable).parent

# Of each service: what answers, and what is refused because of `name`.
_CALLS = {
    "inventory": ("ListFlavors", "{}", "GetServer"),
    "lifecycle": ("SummarizeFleet", "{}", "GetInstance"),
    "ipam": ("ListPrefixes", '{"parent": "projects/tenant-a"}', "GetPrefix"),
    "network": ("ListPortAttachments", "{}", "GetNetwork"),
    "telemetry": ("GetPipelineStatus", "{}", "GetUve"),
}
_BAD = '{"name": "no/such/form"}'


def _service(name: str) -> str:
    return f"bms.{name}.v1.{name.capitalize()}Service"


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(_BIN / program), *arguments], capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )


def _grpcurl(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _run("grpcurl", "-plaintext", "-H", f"authorization: Bearer {site.token('admin')}", *arguments)


def _buf(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    header = f"authorization: Bearer {site.token('admin')}"
    return _run("buf", "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--header", header, *arguments)


def _methods(said: str) -> set[str]:
    """What the client listed, with a dot between service and method."""
    return {line.strip().replace("/", ".") for line in said.splitlines() if line.strip()}


@pytest.mark.parametrize("service", SERVICES)
def test_grpcurl_lists_and_describes(site: Site, service: str) -> None:
    """
    By reflection alone grpcurl finds the service, its methods and their forms.
    """
    address = site.addresses[service]

    listed = _grpcurl(site, address, "list")
    methods = _grpcurl(site, address, "list", _service(service))
    described = _grpcurl(site, address, "describe", _service(service))

    assert {_service(service), "grpc.health.v1.Health"} <= _methods(listed.stdout), listed.stderr
    assert f"{_service(service)}.{_CALLS[service][0]}" in _methods(methods.stdout), methods.stderr
    assert f"rpc {_CALLS[service][0]} (" in described.stdout, described.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_grpcurl_calls_and_prints_our_details(site: Site, service: str) -> None:
    """
    grpcurl calls every service; a refusal is printed with reason, field and remedy, in words.
    """
    address, (good, request, bad) = site.addresses[service], _CALLS[service]

    answered = _grpcurl(site, "-d", request, address, f"{_service(service)}/{good}")
    refused = _grpcurl(site, "-format-error", "-d", _BAD, address, f"{_service(service)}/{bad}")

    assert answered.returncode == 0, answered.stderr
    json.loads(answered.stdout)
    error = json.loads(refused.stderr)
    details = {detail["@type"].rpartition(".")[2]: detail for detail in error["details"]}
    assert error["code"] == 3
    assert details["ErrorInfo"]["reason"] == "INVALID_FIELD"
    assert details["BadRequest"]["field_violations"][0]["field"] == "name"
    assert details["Help"]["links"][0]["description"]


@pytest.mark.parametrize("service", SERVICES)
def test_buf_lists_calls_and_prints_our_details(site: Site, service: str) -> None:
    """
    `buf curl` does the same over gRPC; it prints details as bytes, which are ours.
    """
    url, (good, request, bad) = f"http://{site.addresses[service]}", _CALLS[service]

    listed = _buf(site, "--list-methods", url)
    answered = _buf(site, "-d", request, f"{url}/{_service(service)}/{good}")
    refused = _buf(site, "-d", _BAD, f"{url}/{_service(service)}/{bad}")

    assert f"{_service(service)}.{good}" in _methods(listed.stdout), listed.stderr
    assert answered.returncode == 0, answered.stderr
    json.loads(answered.stdout)
    error = json.loads(refused.stderr)
    assert error["code"] == "invalid_argument"
    assert _unpacked(error, error_details_pb2.ErrorInfo())["reason"] == "INVALID_FIELD"
    assert _unpacked(error, error_details_pb2.BadRequest())["fieldViolations"][0]["field"] == "name"
    assert _unpacked(error, error_details_pb2.Help())["links"][0]["description"]


def _unpacked(error: dict[str, Any], message: Any) -> dict[str, Any]:
    """The detail of *message*'s type."""
    wanted = message.DESCRIPTOR.full_name
    (value,) = [detail["value"] for detail in error["details"] if detail["type"] == wanted]
    message.ParseFromString(base64.b64decode(value + "=" * (-len(value) % 4)))
    found: dict[str, Any] = json_format.MessageToDict(message)
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_no_token_no_answer(site: Site, service: str) -> None:
    """
    Without a token grpcurl still lists (reflection is for anyone), and is refused every call.
    """
    address, (good, request, _) = site.addresses[service], _CALLS[service]

    listed = _run("grpcurl", "-plaintext", address, "list")
    refused = _run("grpcurl", "-plaintext", "-format-error", "-d", request, address, f"{_service(service)}/{good}")

    assert listed.returncode == 0, listed.stderr
    error = json.loads(refused.stderr)
    assert error["code"] == 16
    assert error["details"][0]["reason"] == "UNAUTHENTICATED"
