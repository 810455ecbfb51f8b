# SPDX-License-Identifier: Apache-2.0
"""The `bms` command: which nouns there are. Each noun's module is loaded only when its verbs are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click
from click.shell_completion import CompletionItem

from services.cli.options import common_options

COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("up", "Start the five services on this machine, and keep them running."),
    "demo": ("demo", "Play the whole story on a simulated rack, printing every line that runs."),
    "status": ("status", "Show whether the five services answer."),
    "doctor": (
        "doctor",
        "Check a site before it is used: our services, OpenStack's, Contrail.",
    ),
    "server": ("server", "Servers: import, provide, diagnose, set aside, remove."),
    "flavor": ("flavor", "Flavors: what a tenant may ask a server to be."),
    "image": ("image", "Images that can be written to servers."),
    "pool": ("pool", "Pools that follow from the servers, and why servers are not available."),
    "explain": ("pool", "Say for each server which constraint of a flavor and image it fails."),
    "network": ("network", "Networks that server ports can be attached to."),
    "prefix": ("prefix", "Prefixes: the address ranges of networks."),
    "lease": ("leases", "Address leases, of bare metal and virtual machines."),
    "instance": ("instances", "Instances: a tenant's hold on a server."),
    "force": ("force", "Forced actions: what lacks its proof, done because two administrators answer for it."),
    "operation": ("operation", "Long-running operations: list, show, wait."),
    "event": ("event", "Events of all services: list, watch, and prove where a stream ends."),
    "checkpoint": ("checkpoint", "Signed checkpoints of the services' logs, and the keys that signed them."),
    "audit": ("audit", "Audits: proof of isolation, evidence to keep, what leaked."),
    "uve": ("uve", "What analytics knows of an object now."),
    "message": ("message", "Raw Sandesh messages as collectors received them."),
    "telemetry": ("telemetry", "Bridge Ironic to Contrail's analytics, or audit whether it has what happened."),
    "top": ("top", "Live view of the fleet by state, waits and what is overdue."),
    "brake": ("brake", "The brake on what is done to servers in use by itself."),
    "rack": ("rack", "The simulated rack: faults, power, disks, how fast time passes."),
    "token": ("token", "Bearer tokens of a data directory."),
    "completion": ("completion", "Print the script that completes `bms` in a shell."),
    "api-resources": ("resources", "List the resources, the forms of their names, and their services."),
}
"""Name -> (module under services.cli.commands, help). The command is the module's attribute of the same name."""


class LazyGroup(click.Group):
    """A group that knows its commands' names and one line about each, and loads them when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Loads the command called *cmd_name*."""
        found = COMMANDS.get(cmd_name) or COMMANDS.get(cmd_name.removesuffix("s"))
        if found is None:
            return None
        name = cmd_name if cmd_name in COMMANDS else cmd_name.removesuffix("s")
        command = getattr(importlib.import_module(f"services.cli.commands.{found[0]}"), name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without loading one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Completes a command's name without loading one."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"bms {version('bms-manager')}")
        except PackageNotFoundError:
            click.echo("bms (not installed; run from its source tree)")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 refused or failed, 2 not understood, 3 a service does not answer, 4 timed out, "
    "5 not proven. "
    "`bms NOUN --help` lists a noun's verbs.",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version and exit."
)
@common_options
def bms() -> None:
    """Manage bare metal servers: bring them in, give them out, get them back clean, and see every step."""
