# SPDX-License-Identifier: Apache-2.0
"""One line's dealings with the services: where they are, who asks, and how each call is made."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from services.cli.datadir import DataDir, Login, default_data_dir
from services.cli.failures import BadUsage, CliError
from services.cli.options import Given, common_options, given, mutating_options
from services.cli.screen import Screen
from services.cli.supervise.plan import DEFAULT_PORT_BASE, SERVICES, Ports
from services.cli.tokens import CloudToken, FileToken, Token, chosen_cloud

if TYPE_CHECKING:
    import grpc
    from google.longrunning.operations_pb2_grpc import OperationsStub
    from google.protobuf.message import Message

    from bms.event.v1.event_log_service_pb2_grpc import EventLogServiceStub
    from bms.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
    from bms.ipam.v1.ipam_service_pb2_grpc import IpamServiceStub
    from bms.lifecycle.v1.audit_service_pb2_grpc import AuditServiceStub
    from bms.lifecycle.v1.lifecycle_service_pb2_grpc import LifecycleServiceStub
    from bms.network.v1.network_service_pb2_grpc import NetworkServiceStub
    from bms.telemetry.v1.telemetry_service_pb2_grpc import TelemetryServiceStub

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound="Message")

PAGE = 500
"""How many rows are asked for at a time; lists are shown whole."""


class Session:
    """What a verb works with: the stubs, who asks and in which project, and the screen."""

    def __init__(self, options: Given, environ: dict[str, str]) -> None:
        self.options = options
        self._cloud = chosen_cloud(options, environ)
        self.data = DataDir((options.data or default_data_dir(environ)).expanduser())
        self.screen = Screen.choose(options.output, options.color, environ)
        self._channels: dict[str, grpc.Channel] = {}

    # ---- where ------------------------------------------------------------------------------------------------------

    @cached_property
    def endpoints(self) -> dict[str, str]:
        """``host:port`` by service."""
        found = {**Ports.from_base(DEFAULT_PORT_BASE).endpoints(), **self.data.endpoints()}
        for text in self.options.endpoints:
            name, separator, address = text.rpartition("=")
            if separator and name not in found:
                raise BadUsage(f"{name!r} is not a service", remedy=f"The services are {', '.join(SERVICES)}.")
            found.update({name: address} if separator else dict.fromkeys(SERVICES, address))
        return found

    def channel(self, service: str) -> grpc.Channel:
        """The channel to *service*, with the token and a deadline on every call."""
        if service not in self._channels:
            from services.cli.channel import Outgoing, open_channel

            options = self.options
            address = self.endpoints[service]
            self.token.may_cross(address, tls=options.ca is not None)
            outgoing = Outgoing(self.token, address, options.request_timeout, self.screen, verbose=options.verbose)
            self._channels[service] = open_channel(address, options.ca, options.cert, options.key, outgoing)
        return self._channels[service]

    @cached_property
    def inventory(self) -> InventoryServiceStub:
        """Servers, flavors, images, pools."""
        from bms.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub

        return InventoryServiceStub(self.channel("inventory"))

    @cached_property
    def lifecycle(self) -> LifecycleServiceStub:
        """States and instances."""
        from bms.lifecycle.v1.lifecycle_service_pb2_grpc import LifecycleServiceStub

        return LifecycleServiceStub(self.channel("lifecycle"))

    @cached_property
    def audits(self) -> AuditServiceStub:
        """What leaked between the services."""
        from bms.lifecycle.v1.audit_service_pb2_grpc import AuditServiceStub

        return AuditServiceStub(self.channel("lifecycle"))

    @cached_property
    def ipam(self) -> IpamServiceStub:
        """Prefixes and leases."""
        from bms.ipam.v1.ipam_service_pb2_grpc import IpamServiceStub

        return IpamServiceStub(self.channel("ipam"))

    @cached_property
    def network(self) -> NetworkServiceStub:
        """Networks and attachments."""
        from bms.network.v1.network_service_pb2_grpc import NetworkServiceStub

        return NetworkServiceStub(self.channel("network"))

    @cached_property
    def telemetry(self) -> TelemetryServiceStub:
        """Events, UVEs, Sandesh messages."""
        from bms.telemetry.v1.telemetry_service_pb2_grpc import TelemetryServiceStub

        return TelemetryServiceStub(self.channel("telemetry"))

    def log(self, service: str) -> EventLogServiceStub:
        """What proves the log of *service*."""
        from bms.event.v1.event_log_service_pb2_grpc import EventLogServiceStub

        return EventLogServiceStub(self.channel(service))

    def operations(self, service: str) -> OperationsStub:
        """The operations of *service*."""
        from google.longrunning.operations_pb2_grpc import OperationsStub

        return OperationsStub(self.channel(service))

    # ---- who --------------------------------------------------------------------------------------------------------

    @cached_property
    def login(self) -> Login | None:
        """Whose token of the data directory is used; None with a token from elsewhere."""
        if self._cloud or (self.options.token_file is not None and not self.options.login):
            return None
        known = self.data.logins()
        name = self.options.login or next((each for each in ("site", "admin") if each in known), "")
        if name not in known:
            msg = (
                f"there is no login {name!r} in {self.data.path}"
                if name
                else f"there are no tokens in {self.data.path}"
            )
            raise CliError(
                msg,
                reason="NO_TOKEN",
                remedy=f"Choose one of {', '.join(sorted(known))} with --as."
                if known
                else "`bms up` makes them; name its data directory with --data, or a token with --token-file.",
            )
        return known[name]

    @cached_property
    def token(self) -> Token:
        """What is shown with every call."""
        if self._cloud:
            return CloudToken(self._cloud, self.options.request_timeout)
        if self.login is not None:
            return FileToken(self.login.token_file)
        assert self.options.token_file is not None
        return FileToken(self.options.token_file)

    @property
    def project(self) -> str:
        """The project to work in; empty if none was chosen and the login has none."""
        if self.options.project:
            return self.options.project
        if isinstance(self.token, CloudToken):
            return self.token.project
        return self.login.project if self.login else ""

    @property
    def parent(self) -> str:
        """``projects/{project}``.

        Raises:
            BadUsage: there is no project to work in.
        """
        if not self.project:
            raise BadUsage("which project?", remedy="Name it: --project PROJECT, or BMS_PROJECT.")
        return f"projects/{self.project}"

    # ---- how --------------------------------------------------------------------------------------------------------

    def fill(self, request: M, target: str = "") -> M:
        """*request* with its request id and validate_only.

        Args:
            target: one of several things that one line is about; each call then gets an id of its own.
        """
        fields = request.DESCRIPTOR.fields_by_name
        if "request_id" in fields:
            request.request_id = self._request_id(target)  # type: ignore[attr-defined]  # just looked for
        if "validate_only" in fields and self.options.validate_only:
            request.validate_only = True  # type: ignore[attr-defined]  # just looked for
        return request

    def _request_id(self, target: str) -> str:
        text = self.options.request_id
        if not text:
            return str(uuid.uuid4())
        try:
            wanted = uuid.UUID(text)
        except ValueError:
            raise BadUsage(f"{text!r} is not a UUID", remedy="Leave --request-id out, and one is made up.") from None
        return str(uuid.uuid5(wanted, target) if target else wanted)

    def pages(self, method: Callable[[Any], Any], request: Any, rows: str, limit: int = 0) -> list[Any]:
        """All rows of a list, page by page; at most *limit* if that is not 0.

        The types of request and answer are the method's; a list of any of them is read the same way.
        """
        found: list[Any] = []
        request.page_size = min(limit, PAGE) if limit else PAGE
        while True:
            answer = method(request)
            found += getattr(answer, rows)
            if not answer.next_page_token or (limit and len(found) >= limit):
                return found[:limit] if limit else found
            request.page_token = answer.next_page_token

    def close(self) -> None:
        """Closes the channels."""
        for channel in self._channels.values():
            channel.close()

    def confirm(self, question: str) -> None:
        """Asks before something that cannot be undone.

        Raises:
            BadUsage: nobody is there to be asked, and --yes was not given.
            click.Abort: the answer was no.
        """
        if self.options.yes or self.options.validate_only:
            return
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise BadUsage(
                f"{question} Nobody is here to be asked.",
                reason="CONFIRMATION_NEEDED",
                remedy="Give --yes if you mean it, or --dry-run to see the plan.",
            )
        click.confirm(question, abort=True)


def _run(verb: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    @wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        session = Session(given(click.get_current_context()), dict(os.environ))
        try:
            return verb(session, *args, **kwargs)
        finally:
            session.close()

    return run


def reads(verb: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """Makes *verb* take the common options and a session."""
    return common_options(_run(verb))


def changes(verb: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """As `reads`, with the options of what changes something."""
    return common_options(mutating_options(_run(verb)))


def one_by_one(items: list[str]) -> Iterator[tuple[str, str]]:
    """Each of *items*, with what makes its request id differ from the others' (nothing if it is alone)."""
    for item in items:
        yield item, item if len(items) > 1 else ""
