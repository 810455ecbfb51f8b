# SPDX-License-Identifier: Apache-2.0
"""ipam as the process that production starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from bms.event.v1 import event_pb2
from bms.ipam.v1 import ipam_service_pb2_grpc, lease_pb2, prefix_pb2
from services.kernel.calls import Role
from services.runtime.auth import make_token, token_entry
from tests.ipam.rig import NETWORK, wish

MakeUrl = Callable[[str], str]


@contextmanager
def running(
    url: str, folder: Path, token: str, *, project: str = "demo", settings: Mapping[str, str] | None = None
) -> Iterator[ipam_service_pb2_grpc.IpamServiceStub]:
    """ipam over the database at *url*; ends it by SIGTERM, and fails unless that went well.

    Args:
        project: whose member bears the token.
        settings: more of its environment.
    """
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps([token_entry(token, "demo", project_roles={project: (Role.MEMBER,)})]))
    tokens.chmod(0o600)
    environ = os.environ | {
        "BMS_DATA_DIR": str(folder),
        "BMS_IPAM_DATABASE_URL": url,
        "BMS_IPAM_ADDRESS": "127.0.0.1:0",
        "BMS_LOG_JSON": "1",
        **(settings or {}),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "services.ipam"], env=environ, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert process.stderr is not None
    try:
        port = 0
        for line in process.stderr:
            entry = json.loads(line)
            if entry["event"] == "serving":
                port = entry["port"]
                break
        assert port, "it ended without serving"
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield ipam_service_pb2_grpc.IpamServiceStub(channel)
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=20)
        assert process.returncode == 0, rest
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_it_serves_sweeps_and_resumes(make_url: MakeUrl, tmp_path: Path) -> None:
    """
    It grants, frees what has rested by itself, tells it in its log, and after a restart knows all of it.
    """
    url, token = make_url("services.ipam"), make_token()
    auth = (("authorization", f"Bearer {token}"),)
    prefix = prefix_pb2.Prefix(cidr="10.1.0.0/30", network=NETWORK, cool_down=Duration(seconds=1))
    creation = prefix_pb2.CreatePrefixRequest(parent="projects/demo", prefix_id="p1", prefix=prefix)

    with running(url, tmp_path, token) as stub:
        stub.CreatePrefix(creation, metadata=auth, timeout=10)
        lease = stub.LeaseAddress(wish("vm-1"), metadata=auth, timeout=10)
        stub.ReleaseLease(lease_pb2.ReleaseLeaseRequest(name=lease.name, epoch=lease.epoch), metadata=auth, timeout=10)
        types: list[str] = []
        after = 0
        while len(types) < 4:
            page = stub.ListEvents(event_pb2.ListEventsRequest(after=after, wait_seconds=10), metadata=auth, timeout=20)
            assert page.events, "the sweeper freed nothing in ten seconds"
            types += [event.header.type for event in page.events]
            after = page.next_after

    assert types == ["prefix.created", "address.leased", "address.cooling", "address.freed"]
    with running(url, tmp_path, token) as stub:
        found = stub.GetLease(lease_pb2.GetLeaseRequest(name=lease.name), metadata=auth, timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetLease(lease_pb2.GetLeaseRequest(name=lease.name), timeout=10)

    assert found.state == lease_pb2.AddressLease.STATE_FREED
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_it_says_why_it_cannot_begin(tmp_path: Path) -> None:
    """
    Over a database that was not migrated it ends with status 1 and one line that says what to do.
    """
    (tmp_path / "tokens.json").write_text("[]")
    (tmp_path / "tokens.json").chmod(0o600)

    done = subprocess.run(
        [sys.executable, "-m", "services.ipam"],
        env=os.environ | {"BMS_DATA_DIR": str(tmp_path), "BMS_LOG_JSON": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "services.runtime.migrate" in json.loads(line)["remedy"]


def test_a_neutron_that_is_away_keeps_it_from_nothing_else(tmp_path: Path, make_url: MakeUrl) -> None:
    """
    With a Neutron whose Keystone does not answer it starts and reads; what needs Neutron is UNAVAILABLE.
    """
    clouds = tmp_path / "clouds.yaml"
    login = {
        "auth_url": "http://127.0.0.1:9/v3",
        "username": "bms",
        "password": "hidden-word",
        "project_name": "service",
    }
    clouds.write_text(json.dumps({"clouds": {"site": {"auth": login}}}))
    settings = {
        "BMS_IPAM_BACKEND": "neutron",
        "BMS_IPAM_NEUTRON_CLOUD": "site",
        "OS_CLIENT_CONFIG_FILE": str(clouds),
        "no_proxy": "127.0.0.1",
    }
    token = make_token()
    auth = (("authorization", f"Bearer {token}"),)
    prefix = prefix_pb2.Prefix(cidr="10.1.0.0/30", network=NETWORK)
    creation = prefix_pb2.CreatePrefixRequest(parent="projects/demo", prefix_id="p1", prefix=prefix)

    with running(make_url("services.ipam"), tmp_path, token, settings=settings) as stub:
        listed = stub.ListLeases(lease_pb2.ListLeasesRequest(parent="projects/demo"), metadata=auth, timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            stub.CreatePrefix(creation, metadata=auth, timeout=30)

    assert not listed.leases
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "hidden-word" not in str(caught.value)
