# SPDX-License-Identifier: Apache-2.0
"""What an administrator does to a log on the service's own host, with the service's own environment.

python -m services.runtime.logadmin rotate-key SERVICE   a new key signs from the next checkpoint on
python -m services.runtime.logadmin new-log SERVICE      the database was restored: go on as another log

Both leave a file for the service, which acts on it within seconds.
"""

from __future__ import annotations

import os
import sys

from services.kernel.errors import BmsError
from services.runtime.notary import witness_of
from services.runtime.settings import Settings
from services.runtime.signing import KeyFiles

SERVICES = ("inventory", "lifecycle", "ipam", "network")
"""Those that keep a log."""


def main(arguments: list[str]) -> int:
    """Does what *arguments* say; answers the exit code."""
    if len(arguments) != 2 or arguments[0] not in ("rotate-key", "new-log") or arguments[1] not in SERVICES:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    verb, service = arguments
    try:
        settings = Settings.read(service, os.environ)
        if verb == "rotate-key":
            made = KeyFiles(settings.data.signing_key_file).rotate()
            sys.stdout.write(f"{made} signs {service}'s checkpoints from the next one on\n")
        else:
            witness_of(settings).ask_for_new_log()
            sys.stdout.write(f"{service} goes on as a new log\n")
    except BmsError as error:
        sys.stderr.write(f"{service}: {error}\n{error.remedy}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
