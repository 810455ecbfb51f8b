# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.openstack.cloud``: up, down, status, install."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from tests.openstack.cloud import running
from tests.openstack.cloud.debian import Missing
from tests.openstack.cloud.place import FOLDER, LOGINS, PORT_BASE, Place
from tests.openstack.cloud.progress import say


def main() -> int:
    """Does what the command line says; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.openstack.cloud")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("up", "down", "status"):
        verbs.add_parser(verb).add_argument("--home", type=Path, default=FOLDER)
    verbs.add_parser("install")
    verbs.choices["up"].add_argument("--port-base", type=int, help=f"the first of its ports (default {PORT_BASE})")
    verbs.choices["status"].add_argument("--json", action="store_true")
    given = parser.parse_args()
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"
    try:
        if given.verb == "install":
            running.install()
        elif given.verb == "up":
            _how_to_use(running.up(given.home, given.port_base))
        elif given.verb == "down":
            running.down(given.home)
        else:
            return _show(running.status(given.home), as_json=given.json)
    except (Missing, running.Refused, AssertionError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _how_to_use(place: Place) -> None:
    say(f"\n  export OS_CLIENT_CONFIG_FILE={place.clouds} no_proxy=127.0.0.1")
    say(f"  export OS_CLOUD=tenant-a   # or {', '.join(name for name in LOGINS if name != 'tenant-a')}")
    say("  pip install python-openstackclient")
    say("  openstack server create --flavor bm.fake --image tiny --network net-a one")
    say(f"  logs: {place.home / 'log'}; what the switch was told: {place.journal}")
    say("  make openstack-status; make openstack-down")


def _show(rows: list[dict[str, object]], *, as_json: bool) -> int:
    """Answers 0 if every process is up and there is one."""
    if as_json:
        say(json.dumps(rows, indent=2))
    else:
        say(f"{'NAME':18}{'PID':>8}  {'STATE':6}{'PORT':>6}{'MIB':>6}")
        for row in rows:
            state = "up" if row["up"] else "DEAD"
            say(f"{row['name']:18}{row['pid']:>8}  {state:6}{row['port'] or '-':>6}{row['rss_mib']:>6}")
    return 0 if rows and all(row["up"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
