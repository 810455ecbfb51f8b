# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.cli.datadir import DataDir
from services.cli.failures import BadUsage, CliError
from services.cli.supervise import prepare
from services.cli.supervise.children import describe_exit
from services.cli.supervise.logs import LogFollower
from services.cli.supervise.plan import DEFAULT_PORT_BASE, SERVICES, STOP_ORDER, Ports, plan_children
from services.runtime.auth import Tokens
from services.runtime.settings import PORTS, Settings
from tests.cli.conftest import Shell

UP = Path(__file__).with_name("tiny_up.py")
SECONDS = 40.0


class Up:
    """A supervisor in a process of its own."""

    def __init__(self, directory: Path, *names: str, logs: bool = False) -> None:
        self.directory = directory
        self.base = prepare.find_free_base(53000 + os.getpid() % 8000)
        self.output = directory / "output"
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(UP), str(directory), str(self.base), "yes" if logs else "no", *names],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
            )

    def said(self) -> str:
        return self.output.read_text()

    def pid(self, name: str) -> int:
        return int((self.directory / "run" / f"{name}.pid").read_text())

    def until(self, what: Callable[[], bool]) -> None:
        """Waits for *what*, and tells what was said if it does not come."""
        deadline = time.monotonic() + SECONDS
        while not what():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def ready(self) -> None:
        self.until(lambda: "ready" in self.said())


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts supervisors, and leaves none behind."""
    started: list[Up] = []

    def start(*names: str, logs: bool = False) -> Up:
        started.append(Up(tmp_path, *names, logs=logs))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.terminate()
            each.process.wait(SECONDS)


def alive(pid: int) -> bool:
    """Whether a process with this id still runs."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_what_dies_is_started_again_and_all_is_stopped_in_order(up: Callable[..., Up]) -> None:
    """
    A killed child is back with another process; at the end who acts goes first and who listens last.
    """
    running = up("telemetry", "ipam", "lifecycle")
    running.ready()
    before = running.pid("ipam")
    os.kill(before, signal.SIGKILL)
    running.until(lambda: "ipam is running again" in running.said())
    assert "ipam ended (SIGKILL); starting it again in 0.2 s" in running.said()
    assert running.pid("ipam") != before
    running.until(lambda: (running.directory / "ipam.log").read_text().count("serving") == 2)

    running.process.send_signal(signal.SIGINT)

    assert running.process.wait(SECONDS) == 0
    order = (running.directory / "ended").read_text().split()
    assert [int(address.rpartition(":")[2]) - running.base for address in order] == [2, 1, 0]


def test_children_die_with_their_parent(up: Callable[..., Up]) -> None:
    """
    Even a supervisor that is killed leaves no child behind.
    """
    running = up("ipam", "network")
    running.ready()
    pids = [running.pid("ipam"), running.pid("network")]

    running.process.kill()
    running.process.wait(SECONDS)

    running.until(lambda: not any(alive(pid) for pid in pids))


def test_a_child_that_cannot_start(up: Callable[..., Up]) -> None:
    """
    After three tries everything ends, with the end of the child's log.
    """
    running = up("ipam", "broken")

    assert running.process.wait(SECONDS) == 1
    assert "Error SERVICE_DOES_NOT_START: broken keeps ending while it starts" in running.said()
    assert "no such luck" in running.said()
    assert "ready" not in running.said().splitlines()


def test_logs_are_shown_by_name(up: Callable[..., Up]) -> None:
    """
    With --logs each line of a child's log is told with its name before it.
    """
    running = up("ipam", logs=True)

    running.until(lambda: "ipam | serving at" in running.said())


def test_a_log_that_is_begun_anew_is_followed(tmp_path: Path) -> None:
    """
    Only whole lines are told, only new ones, and a file that shrank is read from its beginning.
    """
    path, said = tmp_path / "a.log", list[str]()
    path.write_text("old\n")
    follower = LogFollower({"a": path, "none": tmp_path / "none.log"}, said.append)
    with path.open("a") as file:
        file.write("new\nhalf")
    follower.tell()
    path.write_text("x\n")
    follower.tell()

    assert said == ["a    | new", "a    | x"]


def test_one_at_a_time(tmp_path: Path) -> None:
    """
    A directory that is in use is refused, naming who uses it.
    """
    data = DataDir(tmp_path)
    with prepare.locked(data), pytest.raises(CliError) as caught, prepare.locked(data):
        pass

    assert caught.value.reason == "ALREADY_RUNNING"
    assert str(os.getpid()) in str(caught.value)
    with prepare.locked(data):
        pass


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """
    A path that is a file is told as such.
    """
    (tmp_path / "file").write_text("")
    with pytest.raises(CliError) as caught, prepare.locked(DataDir(tmp_path / "file" / "data")):
        pass

    assert "cannot be used" in str(caught.value)


def test_a_port_in_use_is_named() -> None:
    """
    The refusal says which port, whose it would be, and how to choose others.
    """
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CliError) as caught:
            prepare.require_free(Ports({"ipam": port}))

    assert caught.value.reason == "PORT_IN_USE"
    assert f"port {port} (ipam)" in str(caught.value)
    assert "--port-base" in caught.value.remedy


def test_there_is_no_such_port() -> None:
    """
    A port beyond 65535 is a usage error.
    """
    with pytest.raises(BadUsage):
        prepare.require_free(Ports({"ipam": 70000}))


def test_two_sites_fit_on_one_machine() -> None:
    """
    The usual base has Contrail's ports for analytics; another one keeps everything together.
    """
    usual, other = Ports.from_base(DEFAULT_PORT_BASE), Ports.from_base(51051)

    assert {name: usual.by_name[name] for name in SERVICES} == dict(PORTS)
    assert usual.by_name["rest"] == 8081
    assert sorted(other.by_name.values()) == list(range(51051, 51059))


def test_children_are_told_everything(tmp_path: Path) -> None:
    """
    What a service reads from its environment is where the data directory says it is.
    """
    data = DataDir(tmp_path)
    plans = plan_children(data, Ports.from_base(51051), {"PATH": "/bin", "BMS_IPAM_ADDRESS": "elsewhere:1"})

    assert [plan.name for plan in plans] == list(SERVICES)
    for plan in plans:
        settings = Settings.read(plan.name, plan.environ)
        assert settings.server.address == plan.address
        assert settings.data.tokens_file == data.tokens_file
        assert settings.data.key_file == data.key_file
        assert settings.peers.token_file == data.token_file("service")
        assert settings.database.url == f"sqlite:///{data.database(plan.name)}"
        assert settings.server.die_with_parent
    assert {name for group in STOP_ORDER for name in group} == set(SERVICES)
    assert [plan.name for plan in plan_children(data, Ports.from_base(1), {}, ("ipam",))] == ["ipam"]


def test_tokens_are_made_once(tmp_path: Path) -> None:
    """
    Each login has its token, only its owner reads it, the services know its roles, and a second start keeps it.
    """
    data = DataDir(tmp_path)
    prepare.make_tokens(data)
    before = {path.name: path.read_text() for path in tmp_path.glob("*.token")}
    prepare.make_tokens(data)

    assert before == {path.name: path.read_text() for path in tmp_path.glob("*.token")}
    assert set(before) == {f"{name}.token" for name in ("admin", "service", "site", "tenant-a", "tenant-b")}
    tokens = Tokens.load(data.tokens_file)
    site = tokens.caller_of(before["site.token"].strip())
    assert site.is_admin
    assert site.may_write("site")
    assert tokens.caller_of(before["service.token"].strip()).is_service
    tenant = tokens.caller_of(before["tenant-a.token"].strip())
    assert tenant.may_write("tenant-a")
    assert not tenant.may_read("tenant-b")
    assert "service" not in data.logins()
    for path in (*tmp_path.glob("*.token"), data.tokens_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_token_that_was_lost_is_made_anew(tmp_path: Path) -> None:
    """
    Removing a token's file and starting again gives that login another one; the lost one is no longer taken.
    """
    data = DataDir(tmp_path)
    prepare.make_tokens(data)
    lost = data.token_file("admin").read_text().strip()
    data.token_file("admin").unlink()
    prepare.make_tokens(data)

    assert lost != data.token_file("admin").read_text().strip()
    assert data.tokens_file.read_text().count('"admin"') >= 1


def test_databases_are_migrated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Schemas that are the newest already are not migrated again: a second start is quick.
    """
    data = DataDir(tmp_path)
    prepare.migrate(data, ("ipam",))
    assert data.database("ipam").exists()

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(subprocess, "run", never)
    prepare.migrate(data, ("ipam",))


def test_a_migration_that_fails_is_told(tmp_path: Path) -> None:
    """
    A file that is no database is told with what the migration said.
    """
    data = DataDir(tmp_path)
    data.database("ipam").write_text("this is no database" * 100)

    with pytest.raises(CliError) as caught:
        prepare.migrate(data, ("ipam",))

    assert caught.value.reason == "MIGRATION_FAILED"


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "SIGKILL"), (-99, "signal 99")]
)
def test_how_a_process_ended(code: int, text: str) -> None:
    """
    An exit code or a signal, by name.
    """
    assert text == describe_exit(code)


def test_up_on_a_directory_in_use(offline: Shell) -> None:
    """
    A second `bms up` on the same data ends with 1 and says what to do.
    """
    with prepare.locked(offline.data):
        said = offline("up --port-base 51951")

    assert said.code == 1
    assert "Error ALREADY_RUNNING" in said.err
    assert "bms --data" in said.err
