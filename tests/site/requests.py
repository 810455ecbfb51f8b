# SPDX-License-Identifier: Apache-2.0
"""Requests nobody in his right mind would send, and such as he would, made from the contracts alone."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st

from tests.site.plausible import Plausible, needed

_D = FieldDescriptor
_BEHAVIOR: Any = field_behavior_pb2.field_behavior

MEGABYTE = 1024 * 1024
LONG = 70_000
"""Beyond what any string may be."""

_ZERO = "00000000-0000-4000-8000-000000000000"

_NAMES = (
    *(f"servers/{_ZERO}", f"servers/{_ZERO.upper()}", f"servers/{_ZERO}/status", "servers/not-a-uuid", "servers/-"),
    *("projects/tenant-a", "projects/tenant-b", "projects/site", "projects/-", "projects/", "projects//instances/"),
    *("projects/tenant-a/instances/web", "projects/tenant-b/instances/web", "projects/tenant-a/instances/none"),
    *("projects/tenant-a/networks/blue", "projects/site/networks/cleaning", "projects/tenant-b/networks/none"),
    *("projects/tenant-a/prefixes/blue-v4", f"projects/tenant-a/leases/{_ZERO}", "flavors/any", "flavors/none"),
    *(f"servers/{_ZERO}/forcedActions/{_ZERO}", "servers/-/forcedActions/x"),
    *("images/debian", "images/../../etc/passwd", f"operations/lifecycle-{_ZERO}", "operations/inventory-nonsense"),
    *(f"projects/tenant-a/operations/lifecycle-{_ZERO}", "operations", "/", "//", "uves/server/x", "uves/none/*"),
)
_GARBAGE = (
    *("", " ", "\x00", "a\x00b", "\r\n", "\x7f\x1b[31m", "-", "*", "%s%n", "{0}", "'; DROP TABLE servers; --", "\\"),
    *("\u202eevil", "\N{PILE OF POO}", "ﬀ", "İ", "١٢٣", "null", "NaN", "-1", "1e999", "true"),
    *("x" * 64, "x" * 256, "x" * 5_000, "x" * LONG, "servers/" * 2_000, "é" * LONG),
)
_WORDS: dict[str, Sequence[str]] = {
    "request_id": ("", _ZERO, "1", "x" * 300, _ZERO.upper(), f"{{{_ZERO}}}", _ZERO.replace("-", "")),
    "etag": ("", '"1"', '"stale"', "*", "W/x"),
    "page_token": ("", "x", "AAAA", base64.urlsafe_b64encode(bytes(range(60))).decode(), "=", "a" * 3_000),
    "filter": (
        *("", "state = available", 'state = "AVAILABLE"', "display_name = s00001", "labels.rack = T0", "a = b", "="),
        *("state", "state = ", 'state = "x', "state > 1", "NOT state = x", "state = x OR y = z", "(state = x)"),
        *(" AND ".join(["server = x"] * 200), "labels. = x", "unit = abc", "ip_version = 99999999999999999999"),
        *("done = maybe", "mac_address = zz", "address = nonsense", "network = projects/tenant-a/networks/blue"),
    ),
    "paths": ("*", "labels", "description", "ports", "bmc.address", "bmc", "name", "nope", "ports[0]", "", ".", "a..b"),
    "cidr": ("10.9.0.0/24", "10.1.0.0/25", "10.9.0.1/24", "::/0", "2001:db8::/64", "0.0.0.0/0", "10.0.0.0/33", "10/8"),
    "address": ("10.1.0.9", "10.1.0.0", "10.1.0.255", "10.9.9.9", "::1", "fe80::1%eth0", "1.2.3", "[::1]", "a b"),
    "gateway": ("", "none", "10.9.0.1", "10.1.0.1", "::1"),
    "vrf": ("", "tenant-a.blue", "default", "Ä"),
    "mac_address": ("", "0c:00:00:00:00:01", "0C-00-00-00-00-01", "0c0000000001", "0c:00", "zz:00:00:00:00:01"),
    "hostname": ("", "web", "-web", "a.b", "x" * 64),
    "ssh_public_keys": ("ssh-ed25519 AAAA x", "ssh-rsa", "no key"),
    "source_uri": ("https://images.example.org/x.raw", "file:///etc/passwd", "http://[::1", "x"),
    "checksum": ("sha256:" + "a" * 64, "sha512:x", "md5:" + "0" * 32, "a"),
    "server_id": ("", _ZERO, str(uuid.uuid4())),
    "port_class": ("quarantine", "tenant"),
    "type": ("server", "ObjectServerTable", "none"),
    "type_prefix": ("server", "server.", "instance.active"),
    "service": ("lifecycle", "ipam", "nobody"),
    "after": ("", "x", "AAAA", base64.urlsafe_b64encode(b'{"lifecycle": 1}').decode()),
    "holder": ("projects/tenant-a/instances/web", "projects/tenant-b/instances/x"),
}
_NUMBERS = (0, 1, 2, 3, 4, 6, 7, 16, 50, 999, 1000, 1001, 4094, 4095, 65536, -1, -2)
_EXTREMES = (2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**53 + 1)
_FILES = (
    *(b"", b"{}", b"[]", b"null", b"\xff\xfe", b"nodes:\n- name: a\n", b"nodes: [", b'{"nodes": [{}]}', b"name\n"),
    *(b'\xef\xbb\xbfname,bmc_address\r\n"a",10.0.0.1\r\n', b"name,name\nx,y\n", b"a: &a [x]\nb: *a\n", b"- " * 3_000),
    *(b"!!python/object/apply:os.system ['true']", b"&a [*a]", b"?", b'{"nodes": [' + b"[" * 3_000),
)

# Anything else would hold the caller up for as long as he asked for.
_SHORT_WAITS = {"wait_seconds": (0, 0, 0, 1, -1, 31, 2**31 - 1)}


class Sent:
    """The bytes of a request, of which a failure shows as much as anybody reads."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"<{len(self.data)} bytes: {self.data[:300]!r}>"


class Requests:
    """Makes requests.

    Args:
        names: names of things that do exist.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._plausible = Plausible(names)

    def bytes_of(self, descriptor: Any) -> st.SearchStrategy[Sent]:
        """What might be sent where a message of *descriptor* is expected."""
        messages = self.messages(descriptor)

        @st.composite
        def build(draw: st.DrawFn) -> Sent:
            kind = draw(st.integers(0, 15))
            if kind == 0:
                return Sent(draw(st.one_of(st.just(b""), st.binary(max_size=200))))
            data = bytes(draw(messages).SerializeToString())
            if kind == 1:
                data += draw(st.sampled_from(_UNKNOWN))
            elif kind == 2:
                data = data[: -draw(st.integers(1, 40))]
            elif kind == 3:
                data = _flipped(data, draw(st.integers(0, 60)), draw(st.integers(1, 255)))
            return Sent(data)

        return build()

    def messages(self, descriptor: Any) -> st.SearchStrategy[Any]:
        """Messages of *descriptor*, from such as would be taken to such as make no sense at all."""

        @st.composite
        def build(draw: st.DrawFn) -> Any:
            # How many of a hundred values are wild.
            return self._build(draw, descriptor, 0, draw(st.sampled_from((0, 0, 0, 2, 5, 30, 100))))

        return build()

    def _build(self, draw: st.DrawFn, descriptor: Any, depth: int, wild: int) -> Any:
        message = message_factory.GetMessageClass(descriptor)()
        for one in descriptor.fields:
            behaviors = one.GetOptions().Extensions[_BEHAVIOR]
            absent: tuple[bool, ...]
            if field_behavior_pb2.REQUIRED in behaviors or needed(descriptor.name, one.name):
                absent = (False,) * 9 + (wild > 9,)
            elif field_behavior_pb2.OUTPUT_ONLY in behaviors:
                absent = (True,) * 9 + (wild < 5,)
            else:
                absent = (False, True, True)
            if depth <= 4 and not draw(st.sampled_from(absent)):
                self._put(draw, message, one, depth, wild)
        return message

    def _put(self, draw: st.DrawFn, message: Any, one: Any, depth: int, wild: int) -> None:
        kind = one.message_type
        strange = draw(st.integers(0, 99)) < wild
        if kind is not None and kind.GetOptions().map_entry:
            for _ in range(draw(st.sampled_from((1, 1, 2, 70) if strange else (1, 2)))):
                self._put_entry(draw, getattr(message, one.name), kind, depth, wild)
        elif kind is not None and kind.full_name in _MOMENTS:
            inner = getattr(message, one.name).add() if one.is_repeated else getattr(message, one.name)
            _set_moment(draw, inner, one.name, strange=strange)
        elif kind is not None and one.is_repeated:
            for _ in range(draw(st.sampled_from((1, 2, 3, 20) if strange else (1, 1, 2)))):
                getattr(message, one.name).append(self._build(draw, kind, depth + 1, wild))
        elif kind is not None:
            getattr(message, one.name).CopyFrom(self._build(draw, kind, depth + 1, wild))
        else:
            values = None if strange else self._plausible.scalar(message.DESCRIPTOR.name, one)
            values = self._scalar(one) if values is None else values
            if one.is_repeated:
                getattr(message, one.name).extend(draw(st.lists(values, min_size=1, max_size=4 if strange else 2)))
            else:
                setattr(message, one.name, draw(values))

    def _put_entry(self, draw: st.DrawFn, entries: Any, kind: Any, depth: int, wild: int) -> None:
        key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
        strange = draw(st.integers(0, 99)) < wild
        named = draw(self._scalar(key) if strange else st.sampled_from(("owner", "rack", "boot_mode")))
        if value.message_type is not None:
            entries[named].CopyFrom(self._build(draw, value.message_type, depth + 1, wild))
        else:
            entries[named] = draw(self._scalar(value) if strange else st.sampled_from(("a", "b", "uefi")))

    def _scalar(self, one: Any) -> st.SearchStrategy[Any]:
        if one.type == _D.TYPE_STRING:
            return self._texts(one.name)
        if one.type == _D.TYPE_BYTES:
            return st.one_of(st.sampled_from(_FILES), st.binary(max_size=64), st.just(b"\x01" * 32))
        if one.type == _D.TYPE_BOOL:
            return st.booleans()
        if one.type == _D.TYPE_ENUM:
            return st.sampled_from([*one.enum_type.values_by_number, *one.enum_type.values_by_number, 99, -1])
        if one.type in (_D.TYPE_DOUBLE, _D.TYPE_FLOAT):
            return st.sampled_from((0.0, 1.5, -1.0, float("inf"), float("nan")))
        if one.name in _SHORT_WAITS:
            return st.sampled_from(_SHORT_WAITS[one.name])
        least, most = _RANGES.get(one.type, (-(2**31), 2**31 - 1))
        fitting = [number for number in (*_NUMBERS, *_NUMBERS, *_EXTREMES) if least <= number <= most]
        return st.sampled_from(fitting)

    def _texts(self, name: str) -> st.SearchStrategy[str]:
        words = _WORDS.get(name) or _WORDS.get(name.rpartition("_")[2]) or ("a", "a-1", "A_B", "web")
        known = st.sampled_from((*self._names, *_NAMES))
        likely = st.sampled_from(words)
        wrong = st.one_of(st.sampled_from(_GARBAGE), st.text(max_size=40))
        if name in _NAMING:
            return st.one_of(known, known, known, known, likely, wrong)
        return st.one_of(likely, likely, likely, likely, known, wrong)


_NAMING = frozenset(
    {
        *("name", "parent", "server", "servers", "flavor", "image", "network", "networks", "instance", "stream"),
        *("holder", "prefix", "lease", "port", "for_project", "project", "held_by", "excluded_servers", "resource"),
        "object_key",
    }
)
_MOMENTS = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
_RANGES = {
    _D.TYPE_INT64: (-(2**63), 2**63 - 1),
    _D.TYPE_SINT64: (-(2**63), 2**63 - 1),
    _D.TYPE_UINT32: (0, 2**32 - 1),
    _D.TYPE_UINT64: (0, 2**64 - 1),
}
_UNKNOWN = (
    b"\xfa\x3f\x03abc",  # field 1023, three bytes
    b"\xf8\xff\xff\xff\x0f\x01",  # the greatest field number there is
    b"\xfb\x3f\xfc\x3f",  # an empty group
    b"\xfa\x3f\x80\x80\x40" + bytes(MEGABYTE),  # a megabyte of it
)


def _set_moment(draw: st.DrawFn, inner: Any, name: str, *, strange: bool) -> None:
    if strange:
        # A timeout is how long the caller waits.
        inner.seconds = draw(st.sampled_from((0, 1, -1, 2**62) if name == "timeout" else (0, 1, 60, *_EXTREMES)))
        inner.nanos = draw(st.sampled_from((0, 0, 1, -1, 999_999_999, 2**31 - 1)))
    elif inner.DESCRIPTOR.name == "Timestamp":
        inner.seconds = draw(st.sampled_from((1_700_000_000, 4_000_000_000)))
    else:
        inner.seconds = draw(st.sampled_from((0, 1)) if name == "timeout" else st.sampled_from((0, 1, 600, 86_400)))


def _flipped(data: bytes, where: int, mask: int) -> bytes:
    flipped = bytearray(data)
    if flipped:
        flipped[where % len(flipped)] ^= mask
    return bytes(flipped)
