# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between a value and the wire.

    SandeshError
    ├── SchemaError     a message type is described wrongly (a mistake of ours)
    ├── EncodeError     a value cannot be written; names the field
    ├── FrameError      the bytes on the wire are not frames; the session must close
    ├── DecodeError     a frame is not a message; the session must close
    └── IdentityError   a generator's name cannot be used as one

The package depends on no service, so this tree has a root of its own.
"""

from __future__ import annotations


class SandeshError(Exception):
    """A failure of the protocol, as opposed to one of the network."""


class SchemaError(SandeshError):
    """A message type that no reader could take."""


class EncodeError(SandeshError):
    """A value that its field cannot hold.

    Attributes:
        field: path of the field inside the message, as in ``data.port_info[1].name``.
        reason: what is wrong with the value; never the value itself, which may be a secret.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class FrameError(SandeshError):
    """Bytes that are no Sandesh envelope. What follows them cannot be trusted."""


class DecodeError(SandeshError):
    """An envelope whose content is no Sandesh message."""


class IdentityError(SandeshError):
    """A source, module, node type or instance that cannot name a generator."""
