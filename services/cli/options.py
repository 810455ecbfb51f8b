# SPDX-License-Identifier: Apache-2.0
"""Options that every command takes, before or behind its name, and the session that they make up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("table", "wide", "json", "yaml", "name")


@dataclass(slots=True)
class Given:
    """What was given on the command line or in the environment.

    Attributes:
        data: the data directory; None for the default.
        login: whose token of the data directory to use; empty for the first of site and admin.
        os_cloud: the cloud of clouds.yaml whose login gets a token of Keystone's; empty: see services/cli/tokens.py.
        endpoints: ``service=host:port`` or one ``host:port`` for all.
        output: one of FORMATS.
        verbose: print the grpcurl line of every call.
        yes: ask nothing.
    """

    data: Path | None = None
    login: str = ""
    token_file: Path | None = None
    os_cloud: str = ""
    endpoints: tuple[str, ...] = ()
    project: str = ""
    output: str = ""
    verbose: bool = False
    color: bool | None = None
    request_timeout: float = 30.0
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    yes: bool = False
    request_id: str = ""
    validate_only: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


def given(ctx: click.Context) -> Given:
    """What was given so far, shared by all contexts of one line."""
    root = ctx.find_root()
    if not isinstance(root.obj, Given):
        root.obj = Given()
    return root.obj


def _store(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def store(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        # Given at the noun and at the verb, the verb's counts; not given at the verb, it does not undo the noun's.
        from click.core import ParameterSource

        source = ctx.get_parameter_source(parameter.name or "")
        if source not in (ParameterSource.DEFAULT, None) and (
            source is not ParameterSource.ENVIRONMENT or getattr(given(ctx), name) == getattr(Given(), name)
        ):
            setattr(given(ctx), name, value)
        return value

    return store


def _option(name: str, *declarations: str, **attributes: Any) -> Callable[[F], F]:
    return click.option(*declarations, f"given_{name}", expose_value=False, callback=_store(name), **attributes)


_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)

_COMMON = (
    _option(
        "data",
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="BMS_DATA_DIR",
        metavar="DIR",
        help="Data directory of `bms up`, where endpoints and tokens are found.  "
        "[default: $XDG_DATA_HOME/bms or ~/.local/share/bms]",
    ),
    _option(
        "login",
        "--as",
        envvar="BMS_AS",
        metavar="LOGIN",
        help="Which token of the data directory to use.  [default: site]",
    ),
    _option(
        "token_file",
        "--token-file",
        type=_EXISTING,
        envvar="BMS_TOKEN_FILE",
        metavar="FILE",
        help="A file with the bearer token.",
    ),
    # Without envvar: OS_CLOUD gives way to a token that is named, --os-cloud does not.
    _option(
        "os_cloud",
        "--os-cloud",
        metavar="NAME",
        help="Get a token at Keystone, with this cloud's login in clouds.yaml.  "
        "[default: $OS_CLOUD, or what the OS_* variables say, unless --as or --token-file is given]",
    ),
    _option(
        "endpoints",
        "--endpoint",
        multiple=True,
        envvar="BMS_ENDPOINT",
        metavar="[SERVICE=]HOST:PORT",
        help="Where a service listens, or all of them (behind a proxy); may be repeated.",
    ),
    _option(
        "ca",
        "--tls-ca",
        type=_EXISTING,
        envvar="BMS_TLS_CA",
        metavar="FILE",
        help="CA of the services (PEM): call them over TLS.",
    ),
    _option(
        "cert", "--tls-cert", type=_EXISTING, envvar="BMS_TLS_CERT", metavar="FILE", help="Certificate to show (PEM)."
    ),
    _option("key", "--tls-key", type=_EXISTING, envvar="BMS_TLS_KEY", metavar="FILE", help="Its private key (PEM)."),
    _option(
        "project",
        "--project",
        "-p",
        envvar="BMS_PROJECT",
        metavar="PROJECT",
        help="The project to work in.  [default: the login's]",
    ),
    _option(
        "output",
        "--output",
        "-o",
        type=click.Choice(FORMATS),
        envvar="BMS_OUTPUT",
        help="How to print the answer.  [default: table]",
    ),
    _option(
        "verbose",
        "--verbose",
        "-v",
        is_flag=True,
        default=False,
        help="Print each call as the grpcurl line that makes it.",
    ),
    _option(
        "color", "--color/--no-color", default=None, help="Colours, whatever the output is.  [default: on a terminal]"
    ),
    _option(
        "request_timeout",
        "--request-timeout",
        type=click.FloatRange(min=0.1),
        default=30.0,
        metavar="SECONDS",
        help="How long one call may take.  [default: 30]",
    ),
)

_MUTATING = (
    _option(
        "request_id",
        "--request-id",
        metavar="UUID",
        help="Makes the call repeatable for 24 hours; made up unless given (see -v).",
    ),
    _option(
        "validate_only",
        "--validate-only",
        "--dry-run",
        is_flag=True,
        default=False,
        help="Check everything, change nothing.",
    ),
    _option("yes", "--yes", "-y", is_flag=True, default=False, help="Do not ask."),
)


def common_options(command: F) -> F:
    """Gives *command* the options that every command takes."""
    for option in reversed(_COMMON):
        command = option(command)
    return command


def mutating_options(command: F) -> F:
    """Gives *command* the options of commands that change something."""
    for option in reversed(_MUTATING):
        command = option(command)
    return command
