# SPDX-License-Identifier: Apache-2.0
"""From the bytes of an import file to its servers: encoding, form, and the limits that hold for all forms."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum

from services.inventory.domain import import_csv, import_nodes
from services.inventory.domain.import_rows import MAX_BYTES, MAX_SERVERS, Fault, RawServer, Stated, stated
from services.kernel.errors import TooLarge


class ImportForm(StrEnum):
    """The forms an import file may have."""

    YAML = "YAML"
    JSON = "JSON"
    CSV = "CSV"


_FORMS: Mapping[ImportForm, Callable[[str], tuple[list[RawServer], list[Fault]]]] = {
    ImportForm.YAML: import_nodes.read_yaml,
    ImportForm.JSON: import_nodes.read_json,
    ImportForm.CSV: import_csv.read,
}

_YAML_BEGIN = re.compile(r"---|%YAML|- |[\"']?[A-Za-z_][A-Za-z0-9_-]*[\"']?\s*:(\s|$)")


def read(content: bytes, form: ImportForm | None = None) -> tuple[list[Stated], list[Fault]]:
    """The servers that *content* states, and everything found wrong on the way.

    Args:
        form: None: as it begins.

    Raises:
        TooLarge: more than 16 MiB or 10,000 servers.
    """
    if len(content) > MAX_BYTES:
        raise TooLarge(
            f"the file has {len(content)} bytes; at most {MAX_BYTES} (16 MiB) are taken",
            remedy="Split the file and import the parts one after another.",
            size=str(len(content)),
            limit=str(MAX_BYTES),
        )
    text, fault = _decoded(content)
    if fault:
        return [], [Fault(0, "", "content", fault)]
    servers, faults = _FORMS[form or _form_of(text)](text)
    if len(servers) > MAX_SERVERS:
        raise TooLarge(
            f"the file has {len(servers)} servers; at most {MAX_SERVERS} are taken",
            remedy="Split the file and import the parts one after another.",
            count=str(len(servers)),
            limit=str(MAX_SERVERS),
        )
    return [stated(raw) for raw in servers], faults


def _decoded(content: bytes) -> tuple[str, str]:
    """The text of the file, and what is wrong with its encoding."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "", "is UTF-16; save it as UTF-8"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return "", f"line {line}: is not UTF-8 (at byte {error.start + 1}); save the file as UTF-8"
    if (at := text.find("\x00")) >= 0:
        return "", f"line {text.count(chr(10), 0, at) + 1}: holds a NUL character"
    if not text.strip():
        return "", "is empty"
    return text, ""


def _form_of(text: str) -> ImportForm:
    """The form that *text* seems to have: what its first line with something on it begins like."""
    if text.lstrip()[:1] in {"{", "["}:
        return ImportForm.JSON
    for line in text.split("\n", 1000):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            return ImportForm.YAML if _YAML_BEGIN.match(stripped) else ImportForm.CSV
    return ImportForm.CSV
