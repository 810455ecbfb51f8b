# SPDX-License-Identifier: Apache-2.0
"""`bms status`: do they answer?"""

from __future__ import annotations

import time
from dataclasses import dataclass

import click

from services.cli.failures import ExitCode
from services.cli.session import Session, reads
from services.cli.supervise.plan import SERVICES


@dataclass(frozen=True, slots=True)
class _Health:
    service: str
    address: str
    health: str
    detail: str


def _ask(session: Session, service: str) -> _Health:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from services.cli.channel import open_channel

    address, options = session.endpoints[service], session.options
    # Health asks for no token, so it is told even to those who have none.
    with open_channel(address, options.ca, options.cert, options.key) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # the stubs forget it
        began = time.perf_counter()
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=3.0)
        except grpc.RpcError as error:
            code = error.code()
            return _Health(service, address, "down", code.name.lower().replace("_", " "))
        took = (time.perf_counter() - began) * 1000
        word = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status).lower().replace("_", " ")
        return _Health(service, address, word, f"{took:.0f} ms")


@click.command("status")
@reads
def status(session: Session) -> ExitCode:
    """Show whether the five services answer. Exit code 3 if one does not."""
    found = [_ask(session, service) for service in SERVICES]
    screen = session.screen
    if screen.structured:
        screen.data([{"service": each.service, "address": each.address, "health": each.health} for each in found])
    elif screen.format == "name":
        for each in found:
            click.echo(each.service)
    else:
        rows = [(each.service, each.address, each.health, each.detail) for each in found]
        screen.table(("SERVICE", "ADDRESS", "HEALTH", "ANSWER"), rows)
    down = [each.service for each in found if each.health != "serving"]
    if down:
        screen.note(f"Not serving: {', '.join(down)}. Start them with `bms up`; their logs are in {session.data.logs}.")
    return ExitCode.UNAVAILABLE if down else ExitCode.OK
