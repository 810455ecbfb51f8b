# SPDX-License-Identifier: Apache-2.0
"""User data as Nova takes it: one document, in which SSH keys stand beside what the tenant gave. Pure.

Nova itself takes one key pair of the login that asks; cloud-init reads any number of keys from a part of a MIME
document. https://cloudinit.readthedocs.io/en/latest/explanation/format/mime-archive.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

_MERGE = "list(append)+dict(recurse_list)+str()"
"""So that keys in the tenant's own cloud-config stand beside ours."""


def user_data(keys: Sequence[str], given: bytes) -> bytes:
    """What an instance with the SSH *keys* and the tenant's *given* user data is to be booted with; it is secret."""
    if not keys:
        return given
    # JSON is YAML, and quotes whatever may stand in a comment of a key.
    config = "#cloud-config\n" + json.dumps({"ssh_authorized_keys": list(keys)}) + "\n"
    if not given:
        return config.encode()
    # The same for the same parts, so that whoever repeats a request repeats it to the byte; and in none of them.
    boundary = hashlib.sha256(config.encode() + given).hexdigest()
    whole = MIMEMultipart(boundary=boundary)
    ours = MIMEText(config, "cloud-config", "utf-8")
    ours["Merge-Type"] = _MERGE
    whole.attach(ours)
    whole.attach(_part(given))
    return whole.as_bytes()


def _part(given: bytes) -> Message:
    if given.startswith((b"Content-Type: multipart/", b"MIME-Version:")):
        return message_from_bytes(given)
    try:
        text = given.decode()
    except UnicodeDecodeError:
        # Compressed, as a rule; cloud-init looks what it is.
        return MIMEApplication(given, "gzip" if given.startswith(b"\x1f\x8b") else "octet-stream")
    # cloud-init tells by its first line what a plain text is.
    part = MIMEText(text, "plain", "utf-8")
    if text.startswith("#cloud-config"):
        part["Merge-Type"] = _MERGE
    return part
