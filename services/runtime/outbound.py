# SPDX-License-Identifier: Apache-2.0
"""Calls to the other services: a deadline on each, and their refusals in our words again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from services.kernel.clock import RandomIds
from services.kernel.effect import effect
from services.kernel.errors import BmsError, DeadlineExceeded, Forbidden, PeerUnavailable, Unauthenticated
from services.runtime import status as statuses
from services.runtime.context import current
from services.runtime.settings import ClientTls

Q_contra = TypeVar("Q_contra", bound=Message, contravariant=True)
A_co = TypeVar("A_co", covariant=True)
Q = TypeVar("Q", bound=Message)
A = TypeVar("A")

MAX_MESSAGE = 64 * 1024 * 1024
OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 200),
    # A restarted peer is found again within two seconds; the default waits up to two minutes.
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 60000),
)


class StubMethod(Protocol[Q_contra, A_co]):
    """One unary method of a generated stub."""

    def __call__(self, request: Q_contra, /, *, timeout: float, metadata: tuple[tuple[str, str], ...]) -> A_co:
        """Calls it."""
        ...


class Peer:
    """One other service: its channel, kept for the life of the process.

    Args:
        address: ``host:port``.
        token: the bearer token we show.
        tls: None for a plain channel.
        service: its short name, for effect points and messages: ``ipam``.
        channel: a channel to use instead of one to *address*; tests.
    """

    def __init__(
        self, address: str, *, token: str, tls: ClientTls | None, service: str, channel: grpc.Channel | None = None
    ) -> None:
        self._service = service
        self._authorization = ("authorization", f"Bearer {token}")
        self._ids = RandomIds()
        self.channel = channel or open_channel(address, tls)

    def call(self, stub_method: StubMethod[Q, A], request: Q, *, deadline: float = 10.0) -> A:
        """What the peer answers to *request*.

        Args:
            deadline: seconds after which we give up.

        Raises:
            BmsError: what the peer refused with, as the same class it raised there.
            PeerUnavailable: it does not answer, or answers nonsense; it may or may not have done what was asked.
            DeadlineExceeded: there was no answer in time; as above.
        """
        call = current.get(None)
        correlation = call.correlation if call is not None else self._ids.uuid()
        metadata = (self._authorization, ("x-request-id", correlation))
        # AIP names a request after its method.
        method = request.DESCRIPTOR.name.removesuffix("Request")
        with effect(f"peer.{self._service}.{method}"), translated(self._service, method):
            return stub_method(request, timeout=deadline, metadata=metadata)

    def close(self) -> None:
        """Closes the channel."""
        self.channel.close()


def open_channel(address: str, tls: ClientTls | None) -> grpc.Channel:
    """A channel to *address*; connects when it is first used, and again whenever it must."""
    if tls is None:
        return grpc.insecure_channel(address, options=OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=tls.ca.read_bytes(),
        private_key=_bytes_of(tls.key),
        certificate_chain=_bytes_of(tls.cert),
    )
    return grpc.secure_channel(address, credentials, options=OPTIONS)


@contextmanager
def translated(service: str, method: str) -> Iterator[None]:
    """Turns grpc.RpcError inside the block into the BmsError that was raised at the other end."""
    try:
        yield
    except grpc.RpcError as failure:
        raise error_of(failure, service, method) from failure


def error_of(failure: grpc.RpcError, service: str, method: str) -> BmsError:
    """The BmsError that *failure* stands for; see `Peer.call`."""
    code: grpc.StatusCode = _asked(failure, "code", grpc.StatusCode.UNKNOWN)
    text: str = _asked(failure, "details", "") or code.name
    status = statuses.details_of(_asked(failure, "trailing_metadata", ()))
    error = statuses.revive(status) if status is not None else None
    # That our own token is refused is no fault of whoever called us.
    if error is not None and not isinstance(error, Unauthenticated | Forbidden):
        return error
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        msg = f"{service} did not answer {method} in time"
        return DeadlineExceeded(
            msg, remedy="Try again; a repeated request_id does nothing twice.", peer=service, method=method
        )
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        msg = f"{service} refuses this service's token for {method}"
        return PeerUnavailable(
            msg, remedy="Look at BMS_SERVICE_TOKEN_FILE and the tokens file.", peer=service, method=method
        )
    msg = f"{service} cannot be reached for {method}: {code.name.lower()}: {text[:200]}"
    return PeerUnavailable(msg, remedy=f"Try again; if it lasts, see that {service} runs.", peer=service, method=method)


def _asked(failure: object, name: str, default: Any) -> Any:
    # An RpcError of a call is also a grpc.Call, but its type does not say so.
    ask: Callable[[], Any] | None = getattr(failure, name, None)
    return default if ask is None else ask()


def _bytes_of(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
