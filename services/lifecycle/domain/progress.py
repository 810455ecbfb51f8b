# SPDX-License-Identifier: Apache-2.0
"""How a long-running verb stands: what google.longrunning.Operation and its metadata show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.kernel.errors import BmsError
from services.lifecycle.domain.instance import Instance
from services.lifecycle.domain.kinds import MOVES, IntentKind
from services.lifecycle.domain.server import Intent, Server, Wait


@dataclass(frozen=True, slots=True)
class Progress:
    """One operation as it stands.

    Attributes:
        name: the operation's name; "" for one that is only planned (validate_only).
        kind: the verb.
        target: the instance or server it is about.
        actor: who asked.
        server: whom it is done to; None while a server is sought.
        intent: how far it is; None while a server is sought, and of what lifecycle did at once.
        wait: what it waits for.
        done: it has ended; with ``error`` badly, else well with ``answer``.
        answer: the instance or server it leaves; None: google.protobuf.Empty.
    """

    name: str
    kind: IntentKind
    target: str
    actor: str
    create_time: datetime
    server: Server | None = None
    intent: Intent | None = None
    wait: Wait | None = None
    login_address: str = ""
    end_time: datetime | None = None
    warnings: tuple[str, ...] = ()
    done: bool = False
    error: BmsError | None = None
    answer: Instance | Server | None = None


OF_SERVERS = frozenset(
    {
        *(IntentKind.PROVIDE, IntentKind.RECOVER, IntentKind.QUARANTINE, IntentKind.CLOSE),
        *(IntentKind.REPLUG, IntentKind.STAND_BACK, *MOVES),
        *(IntentKind.SWITCH_ON, IntentKind.SWITCH_OFF, IntentKind.SWITCH_REBOOT),
        *(IntentKind.CLEAN, IntentKind.CLEAN_ENROLLED, IntentKind.CLEAN_QUARANTINED),
        *(IntentKind.FORCE_RELEASE, IntentKind.FORCE_AVAILABLE, IntentKind.SKIP_CLEAN, IntentKind.ATTEST),
    }
)
"""Verbs on a server; the others are on an instance."""


def progress_of(server: Server, intent: Intent, instance: Instance | None) -> Progress:
    """How the operation of *intent* stands while it runs."""
    return Progress(
        name=intent.operation,
        kind=intent.kind,
        target=server.name if intent.kind in OF_SERVERS else server.instance,
        actor=intent.actor,
        create_time=intent.create_time,
        server=server,
        intent=intent,
        wait=server.wait,
        login_address=instance.login_address if instance else "",
        warnings=intent.warnings,
    )
