# SPDX-License-Identifier: Apache-2.0
"""The verbs that keep an instance from being destroyed by mistake."""

from __future__ import annotations

from dataclasses import replace

from services.kernel.calls import Call
from services.kernel.errors import WrongState
from services.lifecycle.domain.instance import Instance, InstanceState
from services.lifecycle.domain.notes import note
from services.lifecycle.domain.walk import Change
from services.lifecycle.operations.books import Books
from services.lifecycle.operations.checks import short_enough


def protect(books: Books, call: Call, name: str, reason: str) -> Instance:
    """What destroys its disks is refused from now on."""
    short_enough(reason, "reason")
    instance = books.instance(name)
    return _write(books, call, instance, "instance.protected", reason, protected=True)


def unprotect(books: Books, call: Call, name: str) -> Instance:
    """Like any other again."""
    instance = books.instance(name)
    return _write(books, call, instance, "instance.unprotected", "", protected=False)


def _write(books: Books, call: Call, instance: Instance, type_: str, reason: str, *, protected: bool) -> Instance:
    if not instance.server or instance.state is InstanceState.DELETING:
        msg = f"{instance.name} is {instance.state.value}: it holds no server whose disks could be protected"
        remedy = "Wait until it holds a server, or delete it: nothing is lost."
        raise WrongState(msg, remedy=remedy, subject=instance.name, state=instance.state.value)
    server = books.server(instance.server)
    kept = replace(instance, protected=protected, protected_reason=reason, update_time=call.now)
    shown = replace(server, protected=protected, protected_reason=reason)
    told = note(server, shown, type_, call.now, actor=call.caller.subject, request_id=call.request_id, message=reason)
    written = books.write(Change(shown, (told,), kept), call.now, due=call.now)
    return written.instance or kept


def not_protected(instance: Instance, what: str) -> None:
    """Refuses *what* would destroy the disks of a protected instance.

    Raises:
        WrongState: with how to end its protection.
    """
    if not instance.protected or not instance.server:
        return
    project, _, short = instance.name.removeprefix("projects/").partition("/instances/")
    msg = f"{instance.name} is protected, and cannot be {what}: {instance.protected_reason}"
    raise WrongState(
        msg,
        remedy=f"End its protection first, if that is meant: bms instance unprotect {short} --project {project}.",
        subject=instance.name,
        state=instance.state.value,
    )
