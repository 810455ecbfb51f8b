# SPDX-License-Identifier: Apache-2.0
"""`bms server clean`: runs clean steps by hand."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

import click

from services.cli.commands.server_noun import NAMES, SELECTOR, TIMEOUT, WAIT, server
from services.cli.commands.server_verbs import carry_out
from services.cli.failures import BadUsage, ExitCode
from services.cli.fleet import targets
from services.cli.session import Session, changes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from google.longrunning.operations_pb2 import Operation

    from bms.lifecycle.v1.clean_pb2 import CleanStep

_FORM = "Write INTERFACE.STEP[,ARGUMENT=VALUE]..., such as raid.create_configuration,create_root_volume=true."


def step_of(text: str) -> CleanStep:
    """``INTERFACE.STEP[,ARGUMENT=VALUE]...``; a value is JSON, or else text."""
    name, *rest = text.split(",")
    interface, dot, step = name.partition(".")
    if not dot or not step:
        raise BadUsage(f"step {text!r} is not understood", remedy=_FORM)
    args: dict[str, Any] = {}
    for part in rest:
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise BadUsage(f"step {text!r}: {part!r} is not understood", remedy=_FORM)
        args[key] = _value(value)
    return _step(interface, step, args)


def steps_of(file: IO[str]) -> list[CleanStep]:
    """The steps of a file: JSON in Ironic's form, a list of ``{"interface", "step", "args"}``."""
    try:
        found = json.load(file)
        return [_step(str(one["interface"]), str(one["step"]), dict(one.get("args") or {})) for one in found]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BadUsage(
            f"{file.name} holds no steps",
            remedy='Write a JSON list: [{"interface": "raid", "step": "delete_configuration", "args": {}}].',
        ) from None


def _step(interface: str, step: str, args: dict[str, Any]) -> CleanStep:
    from bms.lifecycle.v1.clean_pb2 import CleanStep

    made = CleanStep(interface=interface, step=step)
    if args:
        made.args.update(args)
    return made


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


@server.command("clean")
@NAMES
@SELECTOR
@click.option(
    "--step",
    "texts",
    multiple=True,
    metavar="INTERFACE.STEP[,ARG=VALUE]",
    help="A step, such as raid.delete_configuration; may be repeated, and they are run in that order.",
)
@click.option(
    "--steps-file", type=click.File(), help="A JSON list of steps, in Ironic's form; run after those of --step."
)
@WAIT
@TIMEOUT
@changes
def clean(
    session: Session,
    names: Sequence[str],
    selector: str,
    texts: tuple[str, ...],
    steps_file: IO[str] | None,
    wait: bool,
    timeout: timedelta | None,
) -> ExitCode:
    """Run clean steps by hand (RAID, BIOS, firmware) on servers that nobody holds. An available one is ERASED after."""
    from bms.lifecycle.v1.clean_pb2 import CleanServerRequest

    steps = [step_of(text) for text in texts] + (steps_of(steps_file) if steps_file else [])
    if not steps:
        raise BadUsage("which steps?", remedy="Name them with --step, or --steps-file FILE.")
    records = targets(session, names, selector)

    def ask(name: str, plan: bool) -> Operation:
        request = session.fill(CleanServerRequest(name=name, steps=steps), name if len(records) > 1 else "")
        request.validate_only |= plan
        return session.lifecycle.CleanServer(request)

    told = ", ".join(f"{step.interface}.{step.step}" for step in steps)
    question = f"Run {told} on {{count}} server{{s}}?"
    return carry_out(session, records, ask, question, wait=wait, limit=timeout, erases=True)
