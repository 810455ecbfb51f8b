# SPDX-License-Identifier: Apache-2.0
"""What every genuine service needs: a configuration file, a process, a look whether it answers."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]
HOME = ROOT / "build" / "openstack"
STANDIN = ROOT / "tests" / "openstack" / "standin"
START_SECONDS = 300.0

Sections = Mapping[str, Mapping[str, object]]


def write_private(path: Path, text: str) -> Path:
    """Writes a file that nobody else may read, and answers it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
    return path


def write_ini(path: Path, sections: Sections) -> Path:
    """Writes *sections* in the form that every service reads; there are passwords in them."""
    lines = [
        line
        for name, options in sections.items()
        for line in (f"[{name}]", *(f"{key} = {value}" for key, value in options.items()))
    ]
    return write_private(path, "\n".join(lines) + "\n")


def sqlite(path: Path) -> str:
    """The URL of a service's own database, whose writers wait for each other: a minute, as a busy machine may need."""
    return f"sqlite:///{path}?timeout=60"


def announce(site: Path, points: Mapping[str, Mapping[str, str]]) -> str:
    """A PYTHONPATH by which a service finds the stand-ins, as an installed package would announce itself.

    Args:
        site: a folder for the announcement.
        points: entry points, by group.
    """
    announced = site / "bms_standin-1.dist-info"
    announced.mkdir(parents=True, exist_ok=True)
    (announced / "METADATA").write_text("Metadata-Version: 2.1\nName: bms-standin\nVersion: 1\n")
    groups = [f"[{group}]\n" + "".join(f"{name} = {at}\n" for name, at in of.items()) for group, of in points.items()]
    (announced / "entry_points.txt").write_text("\n".join(groups))
    return f"{site}{os.pathsep}{STANDIN}"


def htpasswd(programs: Path, path: Path, user: str, password: str) -> None:
    """A file of one login in the only form that Ironic takes. bcrypt is in its environment, not in ours."""
    script = "import bcrypt, sys; print(bcrypt.hashpw(sys.stdin.buffer.read(), bcrypt.gensalt(4)).decode())"
    hashed = subprocess.run(
        [str(programs / "python"), "-c", script], input=password.encode(), capture_output=True, check=True, timeout=30
    ).stdout.decode()
    write_private(path, f"{user}:{hashed}")


def environ_of(folder: Path, own: Mapping[str, str]) -> dict[str, str]:
    """The environment of a service: nothing of the caller's that could steer it, and *own*."""
    # CA bundles too: requests takes that of the environment before the one that a session was told of.
    steering = ("BMS_", "OS_", "PYTHON", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(steering)}
    # Nothing on the loopback is asked for through a proxy, and no cache of entry points outlives the bed.
    given = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", "XDG_CACHE_HOME": str(folder / "cache"), **own}
    return {**inherited, **given}


def start(
    folder: Path, log: Path, argv: Sequence[str], environ: Mapping[str, str], *, stays: bool = False
) -> subprocess.Popen[bytes]:
    """Starts a service in *folder*; one that *stays* has a session of its own and outlives whoever started it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ_of(folder, environ), cwd=folder,
            start_new_session=stays,
        )  # fmt: skip


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a service that does not stay."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def run(
    folder: Path, argv: Sequence[str], name: str, environ: Mapping[str, str] | None = None, text: str | None = None
) -> str:
    """Runs a command of a service to its end, and answers what it said.

    Raises:
        AssertionError: it failed; says how.
    """
    done = subprocess.run(
        argv, input=text, capture_output=True, text=True, timeout=600, check=False, cwd=folder,
        env=environ_of(folder, environ or {}),
    )  # fmt: skip
    assert done.returncode == 0, f"{name} failed:\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
    return done.stdout


def answers(url: str, log: Path) -> None:
    """Waits until there is an answer, of whatever kind but the server's own fault, at *url*."""
    until = time.monotonic() + START_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(url, timeout=30):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass  # nobody listens yet
        assert time.monotonic() < until, f"{url} does not answer:\n{_tail(log)}"
        time.sleep(0.1)


def listens(port: int, log: Path) -> None:
    """Waits until somebody listens on *port* of the loopback."""
    until = time.monotonic() + START_SECONDS
    while not in_use(port):
        assert time.monotonic() < until, f"nothing listens on {port}:\n{_tail(log)}"
        time.sleep(0.1)


def in_use(port: int) -> bool:
    """Whether somebody listens on *port* of the loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:] if log.exists() else "(no log)"
