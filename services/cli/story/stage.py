# SPDX-License-Identifier: Apache-2.0
"""Where the story is played: a fresh data directory, and `bms up` running on it."""

from __future__ import annotations

import importlib.resources
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.cli.datadir import DataDir
from services.cli.failures import CliError
from services.cli.supervise.children import dies_with
from services.cli.supervise.prepare import find_free_base

READY_SECONDS = 120.0
_RACKS = ("rack-r11.yaml", "rack-r12.csv", "faults.yaml")
_PROPS = ("faulty.csv", "clash.yaml", "user-data.yaml")


@dataclass(frozen=True, slots=True)
class Stage:
    """A site that is up.

    Attributes:
        data: its data directory.
        environ: what lines run with.
        exports: what to type once in another terminal, so that lines run there.
        words: what ``{word}`` in lines stands for, from the start.
        ready_after: how long it took to start, in seconds.
    """

    data: DataDir
    environ: Mapping[str, str]
    exports: tuple[str, ...]
    words: Mapping[str, str]
    ready_after: float
    process: subprocess.Popen[bytes]


@contextmanager
def set_up(directory: Path, *, profile: str, single: bool) -> Iterator[Stage]:
    """Starts a site in *directory*, and stops it at the end.

    Args:
        profile: how long things take on its rack.
        single: one login plays administrator and tenant.

    Raises:
        CliError: it does not start.
    """
    data = DataDir(directory)
    files = directory / "files"
    files.mkdir(parents=True, exist_ok=True)
    for package, names in (("services.simulated.data", _RACKS), ("services.cli.story.files", _PROPS)):
        for name in names:
            (files / name).write_bytes(_resource(package, name))
    environ, exports = _environment(directory)
    base = find_free_base()
    command = shutil.which("bms", path=environ["PATH"]) or "bms"
    began = time.monotonic()
    output = directory / "up.out"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [command, "up", "--data", str(directory), "--port-base", str(base), "--profile", profile],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=0,
            # Killed in the middle of the story, we leave nobody behind.
            preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 -- see there
        )
    try:
        _wait_ready(process, output)
        words = {
            **data.endpoints(),
            "tenant": "" if single else "--as tenant-a",
            "project": "site" if single else "tenant-a",
        }
        yield Stage(data, environ, exports, words, time.monotonic() - began, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _resource(package: str, name: str) -> bytes:
    """A file that comes with us. Its folder is no package, so it is found below the one that holds it."""
    parent, _, folder = package.rpartition(".")
    return (importlib.resources.files(parent) / folder / name).read_bytes()


def _environment(directory: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    programs = [str(Path(sys.executable).parent)]
    if not (Path(programs[0]) / "bms").exists():
        # Run from a source tree that is not installed: `bms` is what runs now.
        shim = directory / "bin" / "bms"
        shim.parent.mkdir(exist_ok=True)
        path = ":".join(filter(None, sys.path))
        shim.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {sys.executable} -m services.cli "$@"\n')
        shim.chmod(0o755)
        programs.insert(0, str(shim.parent))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BMS_", "OS_"))}
    path = ":".join(programs)
    environ = {**kept, "BMS_DATA_DIR": str(directory), "PATH": f"{path}:{kept.get('PATH', os.defpath)}"}
    return environ, (f"export BMS_DATA_DIR={directory}", f"export PATH={path}:$PATH")


def _wait_ready(process: subprocess.Popen[bytes], output: Path) -> None:
    """Until `bms up` says that it is ready; the end of its output is what tells."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            if b"Ready after" in output.read_bytes():
                return
            if time.monotonic() < deadline:
                continue
        raise CliError(f"the services did not start:\n{output.read_text(errors='replace')[-3000:]}", reason="NOT_READY")


def missing(program: str, environ: Mapping[str, str]) -> bool:
    """Whether *program* cannot be run."""
    return bool(program) and shutil.which(program, path=environ["PATH"]) is None
