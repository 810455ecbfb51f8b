# SPDX-License-Identifier: Apache-2.0
"""Writes the generated modules and their type stubs beside each contract.

Runs as hatch's build hook, and by hand as ``python protos/build_hook.py``.
"""

from __future__ import annotations

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
            *sorted(str(path) for path in HERE.glob("bms/**/*.proto")),
        ]
        return int(protoc.main(arguments))


def generate() -> None:
    """Generates ``*_pb2.py``, ``*_pb2_grpc.py`` and their ``.pyi`` beside each contract."""
    # The mypy plugins are scripts beside this interpreter; its folder need not be on PATH.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    code = run_protoc(
        f"--python_out={HERE}",
        f"--grpc_python_out={HERE}",
        f"--mypy_out=quiet:{HERE}",
        f"--mypy_grpc_out=quiet:{HERE}",
    )
    if code:
        sys.exit(code)


class CustomBuildHook(BuildHookInterface[Any]):
    """Generates the contracts' code before hatch collects the files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatch's build hook interface."""
        generate()


if __name__ == "__main__":
    generate()
