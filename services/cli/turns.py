# SPDX-License-Identifier: Apache-2.0
"""A verb that is answered at once, for several servers: one that is refused keeps none of the others from its turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from services.cli.errors import explain, is_of_one, tell_of
from services.cli.failures import CliError, ExitCode
from services.cli.session import Session

if TYPE_CHECKING:
    from bms.inventory.v1.server_pb2 import Server


def each_in_turn(session: Session, records: Sequence[Server], ask: Callable[[Server, str], None]) -> ExitCode:
    """Does *ask* for each of *records*, and tells at the end which of several were refused, and why.

    Args:
        ask: is given what makes its request id differ from the others' (nothing if it is alone), and says what is done.

    Raises:
        grpc.RpcError: the only one was refused; or what would be the same for all that are left.
    """
    import grpc

    refused: dict[str, CliError] = {}
    several = len(records) > 1
    try:
        for record in records:
            try:
                ask(record, record.name if several else "")
            except grpc.RpcError as error:
                why = explain(error)
                if why is None or not several or not is_of_one(error):
                    raise
                refused[record.display_name] = why
    finally:
        for label, why in refused.items():
            tell_of(label, why, color=session.screen.color)
    return ExitCode.REFUSED if refused else ExitCode.OK
