# SPDX-License-Identifier: Apache-2.0
"""Run by .ci/wheels with the Python of a fresh environment: what was installed there is whole and works."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys

SERVICES = ("services.inventory", "services.lifecycle", "services.ipam", "services.network", "telemetry")

DISTRIBUTIONS = {"product": "bms-manager", "contracts": "bms-contracts", "verifier": "bms-verifier"}


def modules_of(distribution: str) -> list[str]:
    """Every module that *distribution* installed."""
    files = importlib.metadata.files(distribution) or []
    return sorted(
        ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for path in files
        if path.suffix == ".py" and path.parts[0] in {"bms", "services", "telemetry"}
    )


def main(kind: str) -> None:
    """Imports every module of the distribution that *kind* stands for.

    Raises:
        SystemExit: something is missing.
    """
    modules = modules_of(DISTRIBUTIONS[kind])
    stubs = [name for name in modules if name.startswith("bms.")]
    if not stubs and kind != "verifier":
        sys.exit("no stubs were installed")
    if kind == "verifier":
        strange = [name for name in modules if not name.startswith("services.verifier")]
        if strange or not modules:
            sys.exit(f"more or less than the verifier: {strange}")
    elif kind == "contracts":
        if stubs != modules:
            sys.exit(f"more than stubs: {sorted(set(modules) - set(stubs))}")
    else:
        missing = [f"{service}.__main__" for service in SERVICES if f"{service}.__main__" not in modules]
        if missing:
            sys.exit(f"not in the wheel: {missing}")
    # Alembic's environment and revisions are scripts that only Alembic can run.
    loaded = [name for name in modules if "migrations" not in name]
    for name in loaded:
        importlib.import_module(name)
    print(f"{DISTRIBUTIONS[kind]}: {len(loaded)} modules imported")


if __name__ == "__main__":
    main(sys.argv[1])
