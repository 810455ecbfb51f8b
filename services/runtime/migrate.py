# SPDX-License-Identifier: Apache-2.0
"""``python -m services.runtime.migrate <url> <package> [<url> <package>]...``: brings databases up to date."""

from __future__ import annotations

import sys

from services.kernel.errors import BmsError
from services.runtime.migrations import migrate


def main(arguments: list[str]) -> int:
    """Migrates each pair in order; answers the exit code."""
    if not arguments or len(arguments) % 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    for url, package in zip(arguments[::2], arguments[1::2], strict=True):
        try:
            migrate(url, package)
        except BmsError as error:
            sys.stderr.write(f"{package}: {error}\n{error.remedy}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
