# SPDX-License-Identifier: Apache-2.0
"""Writes the generated modules and their type stubs beside each contract.

Runs as hatch's build hook, by hand as ``python protos/build_hook.py``, and, for the contract checks, as
``python protos/build_hook.py --image FILE``, which writes a descriptor image instead.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc_tools
from google.rpc import status_pb2
from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"
GOOGLEAPIS = Path(status_pb2.__file__).parents[2]


def contracts() -> list[Path]:
    """Every contract, sorted, so that what is generated does not depend on the file system's order."""
    return sorted(HERE.glob("bms/**/*.proto"))


def run_protoc(*outputs: str) -> int:
    """Runs protoc over every contract with *outputs* as further arguments; answers its exit code."""
    with tempfile.TemporaryDirectory() as tmp:
        # The wheel of googleapis-common-protos ships operations.proto under another name.
        operations = Path(tmp, "google/longrunning/operations.proto")
        operations.parent.mkdir(parents=True)
        shutil.copy(GOOGLEAPIS / "google/longrunning/operations_proto.proto", operations)
        arguments = [
            "protoc",
            *(f"-I{root}" for root in (HERE, tmp, WELL_KNOWN, GOOGLEAPIS)),
            *outputs,
            *(str(path) for path in contracts()),
        ]
        return int(protoc.main(arguments))


def generate() -> None:
    """Generates ``*_pb2.py``, ``*_pb2_grpc.py``, their ``.pyi`` and ``py.typed`` beside each contract.

    Files that did not change are left alone and the others replaced whole, so that a process that is importing
    them meanwhile reads either the old or the new ones. What a removed contract left behind goes.
    """
    # The mypy plugins are scripts beside this interpreter; its folder need not be on PATH.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    # Beside the contracts, since files can be moved into place only within one file system.
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".generated-") as tmp:
        made = Path(tmp)
        code = run_protoc(
            f"--python_out={made}",
            f"--grpc_python_out={made}",
            f"--mypy_out=quiet:{made}",
            f"--mypy_grpc_out=quiet:{made}",
        )
        if code:
            sys.exit(code)
        for folder in {path.relative_to(HERE).parent for path in contracts()}:
            (made / folder / "py.typed").touch()
        wanted = {path.relative_to(made) for path in made.rglob("*") if path.is_file()}
        for name in wanted:
            target = HERE / name
            if not target.exists() or target.read_bytes() != (made / name).read_bytes():
                (made / name).replace(target)
    for stale in {path.relative_to(HERE) for path in HERE.glob("bms/**/*_pb2*") if path.is_file()} - wanted:
        (HERE / stale).unlink(missing_ok=True)


def write_image(path: Path) -> None:
    """Writes all contracts with what they import, comments included, as one FileDescriptorSet to *path*."""
    path.parent.mkdir(parents=True, exist_ok=True)
    code = run_protoc("--include_imports", "--include_source_info", f"--descriptor_set_out={path}")
    if code:
        sys.exit(code)


class CustomBuildHook(BuildHookInterface[Any]):
    """Generates the contracts' code before hatch collects the files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatch's build hook interface."""
        generate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Generates the contracts' code.")
    parser.add_argument("--image", type=Path, metavar="FILE", help="write a descriptor image instead")
    given = parser.parse_args()
    if given.image:
        write_image(given.image)
    else:
        generate()
