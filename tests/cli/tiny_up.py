# SPDX-License-Identifier: Apache-2.0
"""`bms up` over tiny services: ``python tiny_up.py DIRECTORY BASE LOGS NAME...``.

A service whose name begins with ``broken`` cannot start.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from services.cli.errors import show
from services.cli.failures import CliError
from services.cli.supervise.plan import ChildPlan
from services.cli.supervise.supervisor import Supervisor

TINY = Path(__file__).with_name("tiny_service.py")


def say(line: str) -> None:
    """Prints at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(directory: str, base: str, logs: str, *names: str) -> int:
    """Supervises until told to stop."""
    plans = []
    for number, name in enumerate(names):
        address = f"127.0.0.1:{int(base) + number}"
        run = ("-c", "raise SystemExit('no such luck')") if name.startswith("broken") else (str(TINY), address)
        where = Path(directory)
        argv = (sys.executable, *run, str(where / "ended"))
        plans.append(ChildPlan(name, argv, os.environ, address, where / f"{name}.log", where / "run" / f"{name}.pid"))
    try:
        return Supervisor(plans, say, show_logs=logs == "yes").run(lambda: say("ready"))
    except CliError as error:
        show(error)
        return error.code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
