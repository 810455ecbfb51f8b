# SPDX-License-Identifier: Apache-2.0
"""``bms``: runs the command line and turns what goes wrong into a message and an exit code."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from services.cli.app import bms
from services.cli.failures import CliError, ExitCode


def run(arguments: list[str]) -> int:
    """Runs one line; answers its exit code."""
    try:
        code = bms.main(arguments, prog_name="bms", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        sys.stderr.write("\nNot done.\n")
        return ExitCode.REFUSED
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        from services.cli.errors import explain, show

        failure = error if isinstance(error, CliError) else explain(error)
        if failure is None:
            raise
        show(failure)
        return failure.code
    return code if isinstance(code, int) else ExitCode.OK


def main() -> NoReturn:
    """The entry point of the `bms` script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
