# SPDX-License-Identifier: Apache-2.0
"""Channels to the services, and what every call carries."""

from __future__ import annotations

import json
import shlex
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from google.api import field_behavior_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

from services.cli.screen import Screen
from services.cli.tokens import Token

MAX_MESSAGE = 64 * 1024 * 1024

# The stubs of googleapis-common-protos call an extension by the type that descriptors have.
_BEHAVIOR: Any = field_behavior_pb2.field_behavior


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: Any
    compression: Any


class Outgoing(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Puts the token, an id for the logs and a deadline on every call; with *verbose*, shows it as a grpcurl line.

    Args:
        token: shown with every call.
        address: of the service, for the line.
        timeout: seconds, for calls that bring no deadline of their own.
    """

    def __init__(self, token: Token, address: str, timeout: float, screen: Screen, *, verbose: bool) -> None:
        self._token = token
        self._address = address
        self._timeout = timeout
        self._screen = screen
        self._verbose = verbose
        self.tls: list[str] = ["-plaintext"]

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """See gRPC."""
        return continuation(self._details(client_call_details, request, self._timeout), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """See gRPC. A stream has no deadline unless it brings one."""
        return continuation(self._details(client_call_details, request, None), request)

    def _details(self, details: Any, request: Message, timeout: float | None) -> Any:
        if self._verbose:
            self._screen.note(self.grpcurl(details.method, request))
        metadata = [
            *(details.metadata or ()),
            ("authorization", f"Bearer {self._token.read()}"),
            ("x-request-id", str(uuid.uuid4())),
        ]
        return _Details(
            details.method,
            details.timeout if details.timeout is not None else timeout,
            metadata,
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )

    def grpcurl(self, method: str, request: Message) -> str:
        """The line that makes the same call. What is secret in it is left out."""
        copy = type(request)()
        copy.CopyFrom(request)
        _blank_secrets(copy)
        body = json.dumps(json_format.MessageToDict(copy, preserving_proto_field_name=True), ensure_ascii=False)
        # Double quotes, so that the shell reads the token when the line runs: it is never on the screen.
        header = f'"authorization: Bearer {self._token.in_shell()}"'
        return " ".join(
            [
                "grpcurl",
                *self.tls,
                "-H",
                header,
                *(["-d", shlex.quote(body)] if body != "{}" else []),
                self._address,
                method.lstrip("/"),
            ]
        )


def _blank_secrets(message: Message) -> None:
    for field, value in message.ListFields():
        behaviors = field.GetOptions().Extensions[_BEHAVIOR]
        if field_behavior_pb2.INPUT_ONLY in behaviors:
            setattr(message, field.name, b"<left out>" if isinstance(value, bytes) else "<left out>")
        elif isinstance(value, Message):
            _blank_secrets(value)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for each in value:
                _blank_secrets(each)
        elif field.name == "content" and isinstance(value, bytes):
            setattr(message, field.name, b"<the file>")


def open_channel(
    address: str, ca: Path | None, cert: Path | None, key: Path | None, outgoing: Outgoing | None = None
) -> grpc.Channel:
    """A channel to *address*, over TLS if *ca* is given."""
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.max_metadata_size", 16 * 1024),
        # A service that starts, or starts again, is found at once.
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 250),
    ]
    if ca is None:
        channel = grpc.insecure_channel(address, options=options)
    else:
        credentials = grpc.ssl_channel_credentials(
            ca.read_bytes(), key.read_bytes() if key else None, cert.read_bytes() if cert else None
        )
        channel = grpc.secure_channel(address, credentials, options=options)
        if outgoing is not None:
            pair = ["-cert", str(cert), "-key", str(key)] if cert and key else []
            outgoing.tls = ["-cacert", str(ca), *pair]
    return channel if outgoing is None else grpc.intercept_channel(channel, outgoing)
