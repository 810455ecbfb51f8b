# SPDX-License-Identifier: Apache-2.0
"""`bms server power`: switches servers that nobody holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.cli.commands.server_noun import NAMES, SELECTOR, TIMEOUT, WAIT, server
from services.cli.commands.server_verbs import carry_out
from services.cli.failures import ExitCode
from services.cli.fleet import targets
from services.cli.nouns import Noun
from services.cli.session import Session, changes

if TYPE_CHECKING:
    from datetime import timedelta

    from google.longrunning.operations_pb2 import Operation


@server.group("power", cls=Noun)
def power() -> None:
    """Switch servers that nobody holds: enrolled, or in quarantine. An instance's are its own verbs."""


def _verb(word: str, question: str, text: str) -> None:
    """Adds one switch."""

    @power.command(word, help=text)
    @NAMES
    @SELECTOR
    @WAIT
    @TIMEOUT
    @changes
    def run(session: Session, names: tuple[str, ...], selector: str, wait: bool, timeout: timedelta | None) -> ExitCode:
        from bms.lifecycle.v1.server_power_pb2 import SetServerPowerRequest

        records = targets(session, names, selector)
        wanted = SetServerPowerRequest.Power.Value(f"POWER_{word.upper()}")

        def ask(name: str, plan: bool) -> Operation:
            request = session.fill(SetServerPowerRequest(name=name, power=wanted), name if len(records) > 1 else "")
            request.validate_only |= plan
            return session.lifecycle.SetServerPower(request)

        return carry_out(session, records, ask, question, wait=wait, limit=timeout, erases=False)


_verb("on", "Switch {count} server{s} on?", "Switch servers on. What was clean no longer counts as clean.")
_verb("off", "Switch {count} server{s} off, hard?", "Switch servers off, hard.")
_verb("reboot", "Power-cycle {count} server{s}?", "Power-cycle servers.")
