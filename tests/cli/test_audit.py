# SPDX-License-Identifier: Apache-2.0
"""`bms audit` and `bms server certificate`, over genuine logs."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bms.event.v1 import event_pb2
from bms.inventory.v1 import server_pb2
from bms.lifecycle.v1.audit_service_pb2 import (
    VERDICT_FAIL,
    VERDICT_PASS,
    AuditIsolationResponse,
    JudgedLog,
    StreamVerdict,
    VerdictFinding,
    VerdictInterval,
    WitnessEvent,
)
from services.cli.session import Session
from services.cli.supervise.plan import SERVICES
from services.cli.transitions import sanitized
from services.kernel.errors import Forbidden
from tests.cli.conftest import Shell
from tests.cli.fakes.serving import serving
from tests.cli.fakes.world import World
from tests.cli.proving import OTHER, SERVER, Log, exposed, ipam_log, lifecycle_log, powered_on, proving


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return lifecycle_log(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return lifecycle_log(tmp_path_factory.mktemp("bad"), exposed)


@pytest.fixture(scope="session")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return ipam_log(tmp_path_factory.mktemp("addresses"))


Site = Callable[[Log], Any]


@pytest.fixture
def site(offline: Shell, world: World, addresses: Log) -> Site:
    """Puts a log behind the shell, with two servers in inventory."""
    for name, label in ((SERVER, "r1-01"), (OTHER, "r1-02")):
        world.servers[name] = server_pb2.Server(name=name, display_name=label)
        world.servers[name].properties.manufacturer = "Acme"
        world.servers[name].pool.available = True

    @contextmanager
    def behind(log: Log) -> Iterator[Shell]:
        with serving(world) as address, proving(log, addresses) as found:
            offline.data.write_endpoints({**dict.fromkeys(SERVICES, address), **found})
            yield offline

    return behind


# -- isolation


def test_a_whole_site_is_proven(site: Site, good: Log) -> None:
    """
    Every server passes, each log is one line, and the exit code is 0.
    """
    with site(good) as bms:
        said = bms("audit isolation")

    assert said.code == 0, said
    assert "r1-01" in said.out
    assert "r1-02" in said.out
    lines = {line.partition(":")[0]: line for line in said.out.splitlines()}
    assert lines["lifecycle"].startswith("lifecycle: PASS, 2 servers")
    assert lines["ipam"].startswith("ipam: PASS, 2 addresses")
    assert "vrfs/" not in said.out
    assert "--key-file" in said.err


def test_a_broken_invariant_is_shown_with_its_witnesses(site: Site, bad: Log) -> None:
    """
    FAIL, with what was broken and the events that show it; exit code 1. The other server passes.
    """
    with site(bad) as bms:
        said = bms("audit isolation")
        found = bms("audit", "isolation", "-o", "json")

    assert said.code == 1
    assert "r1-01: I3" in said.out
    (lifecycle, _) = json.loads(found.out)
    streams = {one["stream"]: one for one in lifecycle["streams"]}
    assert (streams[SERVER]["verdict"], streams[OTHER]["verdict"]) == ("FAIL", "PASS")
    findings = [one for interval in streams[SERVER]["intervals"] for one in interval["findings"]]
    witnesses = [witness for one in findings for witness in one["witnesses"]]
    assert "port.attach_requested" in {witness["type"] for witness in witnesses}
    assert all(witness["event"] and witness["time"] for witness in witnesses)
    assert all(witness["event"] in said.out for witness in witnesses)


@pytest.mark.parametrize("line", ["audit isolation", "audit isolation --server r1-01"])
def test_a_missing_event_is_not_proven(site: Site, good: Log, line: str) -> None:
    """
    UNKNOWN and not PASS, exit code 5, for the whole log and for the server alone.
    """
    index = next(index for index, event in enumerate(good.events) if SERVER.encode() in event.header and index > 20)
    with site(good.without(index)) as bms:
        said = bms(line)

    assert said.code == 5
    assert "UNKNOWN" in said.out


def test_one_server_is_judged_alone(site: Site, good: Log, bad: Log) -> None:
    """
    Its own events and the proof of where they end are enough.
    """
    with site(good) as bms:
        said = bms("audit isolation --server r1-01")
        assert said.code == 0, said
        assert "r1-02" not in said.out
    with site(bad) as bms:
        assert bms("audit isolation --server r1-02").code == 0
        assert bms("audit isolation --server r1-01").code == 1


def test_who_may_not_see_the_servers_judges_their_log(site: Site, world: World, good: Log) -> None:
    """
    A tenant is refused inventory's names, and reads the logs all the same; one server he names by its UUID.
    """
    world.refusals["ListServers"] = world.refusals["GetServer"] = Forbidden("not you", subject="tenant", roles="admin")
    with site(good) as bms:
        said = bms("audit isolation")
        assert bms("audit", "isolation", "--server", SERVER).code == 0

    assert said.code == 0
    assert SERVER.removeprefix("servers/") in said.out


def test_only_what_reaches_into_a_time_is_told(site: Site, bad: Log) -> None:
    """
    What ended before --since is left out of the verdict.
    """
    with site(bad) as bms:
        said = bms("audit isolation --since 2100-01-01")

    assert "I3" not in said.out
    assert said.code == 5


@pytest.mark.parametrize("form", ["hex", "pem"])
def test_keys_are_held_against_those_from_elsewhere(site: Site, good: Log, tmp_path: Path, form: str) -> None:
    """
    With the right keys it passes; with another's, nothing is proven; a file without keys is refused.
    """
    right, wrong, none = tmp_path / "right", tmp_path / "wrong", tmp_path / "none"
    keys = [key.public_key for key in good.keys]
    right.write_text(_written(keys, form))
    wrong.write_text(_written([bytes(range(32))], form))
    none.write_text("nothing\n")
    with site(good) as bms:
        assert bms("audit", "isolation", "--server", "r1-01", "--key-file", str(right)).code == 0
        assert bms("audit", "isolation", "--server", "r1-01", "--key-file", str(wrong)).code == 5
        refused = bms("audit", "isolation", "--key-file", str(none))

    assert (refused.code, "PUBLIC KEY" in refused.err) == (1, True)


def _written(keys: list[bytes], form: str) -> str:
    if form == "hex":
        return "".join(f"{key.hex()}\n" for key in keys)
    pem = [
        Ed25519PublicKey.from_public_bytes(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for key in keys
    ]
    return b"".join(pem).decode()


def test_the_service_may_be_asked_instead(site: Site, good: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What lifecycle's own verifier says is shown alike, and that it is only its word.
    """
    witness = WitnessEvent(event="e-1", position=9, sequence=4, type="port.attach_requested")
    finding = VerdictFinding(invariant="I3", message="nobody held it", witnesses=[witness, witness])
    interval = VerdictInterval(verdict=VERDICT_FAIL, first_sequence=1, last_sequence=4, findings=[finding])
    passing = VerdictInterval(verdict=VERDICT_PASS, first_sequence=1, last_sequence=3)
    answers = {
        "": AuditIsolationResponse(
            verdicts=[StreamVerdict(stream=SERVER, verdict=VERDICT_FAIL, intervals=[interval])],
            next_page_token="more",
        ),
        "more": AuditIsolationResponse(
            verdicts=[
                StreamVerdict(stream=OTHER, verdict=VERDICT_PASS, intervals=[passing]),
                StreamVerdict(stream="vrfs/x/addresses/10.0.0.1", verdict=VERDICT_PASS, intervals=[passing]),
            ],
            logs=[JudgedLog(service="lifecycle", position=90), JudgedLog(service="ipam", position=7)],
        ),
    }
    service = SimpleNamespace(AuditIsolation=lambda request: answers[request.page_token])
    monkeypatch.setattr(Session, "audits", service)
    with site(good) as bms:
        said = bms("audit isolation --ask-service")
        assert bms("audit", "isolation", "--ask-service", "--from-file", __file__).code == 2

    assert said.code == 1, said
    assert "r1-01: I3" in said.out
    assert "e-1" in said.out
    assert "ipam: PASS, 1 address," in said.out
    assert "of itself" in said.err


# -- export


def test_what_is_exported_is_judged_the_same(site: Site, offline: Shell, good: Log, bad: Log, tmp_path: Path) -> None:
    """
    A file goes out, for its owner's eyes; without any service it leads to the same verdicts.
    """
    for log, code in ((good, 0), (bad, 1)):
        path = tmp_path / f"{code}.jsonl"
        with site(log) as bms:
            written = bms("audit", "export", "--to", str(path))
        offline.data.write_endpoints(dict.fromkeys(SERVICES, "127.0.0.1:9"))

        assert written.code == 0, written
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert offline("audit", "isolation", "--from-file", str(path)).code == code


def begun(log: Log) -> Log:
    """The log as it was at its first checkpoint."""
    position = event_pb2.Checkpoint.FromString(log.checkpoints[0].checkpoint).position
    return replace(log, checkpoints=log.checkpoints[:1], events=log.events[:position])


@pytest.mark.parametrize(("which", "code", "verdict"), [("good", 0, "PASS"), ("bad", 1, "FAIL")])
def test_an_export_goes_on_where_an_archive_ended(
    site: Site, addresses: Log, request: pytest.FixtureRequest, tmp_path: Path, which: str, code: int, verdict: str
) -> None:
    """
    What follows an archive is written behind what the archive came to, and leads to the whole log's verdict; so does
    what follows that, when nothing does.
    """
    log: Log = request.getfixturevalue(which)
    first, second, third = (str(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    with site(begun(log)) as bms:
        assert bms("audit", "export", "--to", first).code == 0
    with site(log) as bms:
        assert bms("audit", "export", "--after", first, "--to", second).code == 0
        assert bms("audit", "export", "--after", second, "--to", third).code == 0
        assert bms("audit", "isolation", "--from-file", second).code == code
        assert f"lifecycle: {verdict}, 2 servers, 0 events" in bms("audit", "isolation", "--from-file", third).out

    lengths = [Path(name).read_text().count('{"event":') for name in (first, second, third)]
    assert lengths[0] + lengths[1] == len(log.events) + len(addresses.events)
    assert lengths[2] == 0


def test_what_is_no_archive_is_continued_by_nothing(site: Site, good: Log, tmp_path: Path) -> None:
    """
    No evidence, a single stream's, or one that does not fit its checkpoints: refused before anything is written.
    """
    one, cut, none = (tmp_path / name for name in ("one.jsonl", "cut.jsonl", "none.jsonl"))
    with site(good) as bms:
        bms("audit", "export", "--server", "r1-01", "--to", str(one))
        bms("audit", "export", "--to", str(cut))
        cut.write_text(
            "".join(line for number, line in enumerate(cut.read_text().splitlines(keepends=True)) if number != 20)
        )
        none.write_text("hello\n")
        for archive in (one, cut, none):
            refused = bms("audit", "export", "--after", str(archive), "--to", str(tmp_path / "out.jsonl"))
            assert refused.code != 0
            assert "NO_ARCHIVE" in refused.err
        wrong = bms("audit", "export", "--after", str(cut), "--server", "r1-01")
        assert "whole logs" in wrong.err
    assert not (tmp_path / "out.jsonl").exists()


def test_one_server_is_exported_alone(site: Site, good: Log, tmp_path: Path) -> None:
    """
    Its events and their proof, and nothing of another's.
    """
    path = tmp_path / "one.jsonl"
    with site(good) as bms:
        assert bms("audit", "export", "--server", "r1-01", "--to", str(path)).code == 0
        said = bms("audit", "isolation", "--from-file", str(path), "-o", "json")

    (log,) = json.loads(said.out)
    assert said.code == 0
    assert [one["stream"] for one in log["streams"]] == [SERVER]


def test_a_file_that_was_cut_is_no_proof(site: Site, offline: Shell, good: Log, tmp_path: Path) -> None:
    """
    A file without its last lines is UNKNOWN, one that is no evidence is refused.
    """
    path = tmp_path / "cut.jsonl"
    with site(good) as bms:
        bms("audit", "export", "--server", "r1-01", "--to", str(path))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-3]))
    assert offline("audit", "isolation", "--from-file", str(path)).code == 5
    path.write_text("no evidence\n")
    refused = offline("audit", "isolation", "--from-file", str(path))
    assert (refused.code, "NO_EVIDENCE" in refused.err) == (1, True)


# -- the suite's form


def test_the_suite_finds_every_release_sanitized(site: Site, good: Log) -> None:
    """
    A server that served a tenant, and one that never did: both hold to what the suite states.
    """
    with site(good) as bms:
        said = bms("audit export --format ncv")

    found = json.loads(said.out)
    assert (found["success"], found["platform"], found["machines_checked"]) == (True, "bms", 2)
    machines = {one["machine_id"]: one for one in found["machines"]}
    served = machines[SERVER.removeprefix("servers/")]
    fresh = machines[OTHER.removeprefix("servers/")]
    assert served["transitions"][-3:] == ["cleaning", "sanitizing", "available"]
    assert (served["served_tenant"], fresh["served_tenant"]) == (True, False)
    assert all(holds(one) for one in machines.values())
    assert {type(served[field]) for field in ("available", "in_use", "has_gpu", "sanitized")} == {bool}
    assert served["vendor"] == "Acme"


def holds(machine: dict[str, Any]) -> bool:
    """What the suite states: who never served passes; who did is not offered while bound, and came back sanitized."""
    if not machine["served_tenant"]:
        return True
    between = False
    for token in machine["transitions"]:
        between = token == "in_use" or (between and token != "sanitizing")
        if token == "available" and between:
            return False
    return machine["sanitized"] and not machine["stale_tenant_binding"]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("available", True),
        ("in_use sanitizing available", True),
        ("in_use available", False),
        ("in_use quarantined available", False),
        ("in_use sanitizing in_use available", False),
        ("in_use cleaning available", False),
        ("sanitizing in_use", True),
    ],
)
def test_a_release_needs_a_sanitizing_stage(tokens: str, expected: bool) -> None:
    """
    From a tenant back to the pool only by way of sanitizing.
    """
    assert sanitized(tokens.split()) is expected


def test_what_does_not_verify_is_no_success(site: Site, good: Log) -> None:
    """
    The suite is told of nothing that the log does not prove.
    """
    index = next(index for index, event in enumerate(good.events) if SERVER.encode() in event.header and index > 20)
    with site(good.without(index)) as bms:
        found = json.loads(bms("audit export --format ncv --server r1-01").out)

    assert found["success"] is False
    assert found["error"]


# -- certificate


def test_a_certificate_of_erasure(site: Site, good: Log) -> None:
    """
    One page: every disk with method, times and sample, the events it rests on, the checkpoint and the key.
    """
    with site(good) as bms:
        page = bms("server certificate r1-01")
        data = json.loads(bms("server", "certificate", "r1-01", "-o", "json").out)

    assert page.code == 0, page
    assert len(page.out.splitlines()) <= 40
    assert [disk["serial"] for disk in data["disks"]] == ["disk-1", "disk-2"]
    for disk in data["disks"]:
        assert disk["method"] == "nvme_format"
        assert len(disk["sample_digest"]) == 64
        assert disk["sample_digest"] in page.out
        assert {"start_time", "end_time"} <= disk.keys()
    assert list(data["events"]) == ["disks.inspected", "clean.requested", "clean.passed"]
    digests = {event.digest.hex(): event.position for event in good.events}
    for event in data["events"].values():
        assert digests[event["digest"]] == event["position"]
        assert event["id"] in page.out
    assert data["key"]["public_key"] == good.public_key
    assert data["checkpoint"]["key_id"] == data["key"]["key_id"]
    assert data["used_since_by"] == ""


def test_no_certificate_where_nothing_is_proven(site: Site, good: Log, tmp_path_factory: Any) -> None:
    """
    Refused with why: the clean was voided, or something is missing since it began.
    """
    voided = lifecycle_log(tmp_path_factory.mktemp("voided"), powered_on)
    last = max(index for index, event in enumerate(good.events) if is_of(event, SERVER, "clean.passed"))
    for log, why in ((voided, "powered on"), (good.without(last), ""), (good.without(last + 1), "")):
        with site(log) as bms:
            said = bms("server certificate r1-01")

        assert said.code == 1, said
        assert "NOT_PROVEN" in said.err
        assert why in said.err


def is_of(event: event_pb2.StoredEvent, stream: str, type_: str) -> bool:
    header = event_pb2.EventHeader.FromString(event.header)
    return (header.stream, header.type) == (stream, type_)
