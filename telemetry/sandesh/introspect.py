# SPDX-License-Identifier: Apache-2.0
"""The pages on which a generator shows itself, as text.

contrail-status and operators' tools read these from every Contrail process. A reply is messages in
the wire's own form behind the name of a style sheet; several parts stand in a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from telemetry.sandesh.encode import Values, body_text
from telemetry.sandesh.schema import Field, ListOf, Message, Scalar, Struct, label, request, response
from telemetry.sandesh.session import ClientSession
from telemetry.sandesh.text import escaped
from telemetry.sandesh.uve import UveCache

STYLE_SHEET: Final = "/universal_parse.xsl"
_HEAD: Final = f'<?xml-stylesheet type="text/xsl" href="{STYLE_SHEET}"?>'
_NO_PERIOD: Final = -1


def _fields(*rows: tuple[int, str, Scalar | Struct | ListOf]) -> tuple[Field, ...]:
    return tuple(Field(name, type_, identifier) for identifier, name, type_ in rows)


CACHE_REQUEST: Final = request("SandeshUVECacheReq", _fields((1, "tname", Scalar.STRING), (2, "key", Scalar.STRING)))
TYPES_REQUEST: Final = request("SandeshUVETypesReq")
COLLECTOR_REQUEST: Final = request("CollectorInfoRequest")
STATISTICS_REQUEST: Final = request("SandeshMessageStatsReq")

_CACHE_RESPONSE = response("SandeshUVECacheResp", _fields((1, "returned", Scalar.U32), (2, "period", Scalar.I32)))
_TYPE_INFO = Struct(
    "SandeshUVETypeInfo",
    (
        Field("type_name", Scalar.STRING, 1, (("link", CACHE_REQUEST.name),)),
        *_fields((2, "seq_num", Scalar.U32), (3, "period", Scalar.I32)),
    ),
)
_TYPES_RESPONSE = response("SandeshUVETypesResp", _fields((1, "type_info", ListOf(_TYPE_INFO))))
_COLLECTOR_RESPONSE = response(
    "CollectorInfoResponse", _fields((1, "ip", Scalar.STRING), (2, "port", Scalar.I32), (3, "status", Scalar.STRING))
)
_MESSAGE_STATISTICS = Struct(
    "SandeshMessageStats", _fields((1, "messages_sent", Scalar.U64), (5, "messages_sent_dropped", Scalar.U64))
)
_TYPE_STATISTICS = Struct(
    "SandeshMessageTypeStats", _fields((1, "message_type", Scalar.STRING), (2, "stats", _MESSAGE_STATISTICS))
)
_GENERATOR_STATISTICS = Struct(
    "SandeshGeneratorStats",
    _fields((1, "type_stats", ListOf(_TYPE_STATISTICS)), (2, "aggregate_stats", _MESSAGE_STATISTICS)),
)
_STATISTICS_RESPONSE = response("SandeshMessageStatsResp", _fields((1, "stats", _GENERATOR_STATISTICS)))


@dataclass(frozen=True, slots=True)
class Page:
    """Requests that belong together, as one form page.

    Attributes:
        name: the page is ``/<name>.xml``.
        requests: each with what answers it, given the session and the query by field name.
    """

    name: str
    requests: tuple[tuple[Message, Callable[[ClientSession, Mapping[str, str]], str]], ...]


def cache_reply(cache: UveCache, struct: str, key: str = "") -> str:
    """The UVEs of a type, by its struct's name; one of them if *key* names it."""
    messages = (cache.again(ref) for ref in cache.refs(struct, key))
    parts = [(outgoing.message.name, outgoing.body) for outgoing in messages if outgoing is not None]
    return _reply(parts, _CACHE_RESPONSE, {"returned": len(parts), "period": _NO_PERIOD})


def types_reply(cache: UveCache) -> str:
    """The types of UVE, each with the number of its last message."""
    rows = [
        {"type_name": message.data.name, "seq_num": cache.number(message), "period": _NO_PERIOD}
        for message in cache.types
    ]
    return _reply((), _TYPES_RESPONSE, {"type_info": rows})


def collector_reply(session: ClientSession) -> str:
    """The collector in use, and how the session with it is."""
    collector = session.collector
    values: dict[str, Any] = {"status": session.state.value}
    if collector is not None:
        values |= {"ip": collector.host, "port": collector.port}
    return _reply((), _COLLECTOR_RESPONSE, values)


def statistics_reply(session: ClientSession) -> str:
    """Messages sent, by type, and messages dropped."""
    rows = [{"message_type": name, "stats": {"messages_sent": count}} for name, count in sorted(session.sent.items())]
    total = {"messages_sent": session.sent.total(), "messages_sent_dropped": session.dropped}
    return _reply((), _STATISTICS_RESPONSE, {"stats": {"type_stats": rows, "aggregate_stats": total}})


PAGES: Final = (
    Page(
        "sandesh_uve",
        (
            (
                CACHE_REQUEST,
                lambda session, query: cache_reply(session.cache, query.get("tname", ""), query.get("key", "")),
            ),
            (TYPES_REQUEST, lambda session, _: types_reply(session.cache)),
            (COLLECTOR_REQUEST, lambda session, _: collector_reply(session)),
            (STATISTICS_REQUEST, lambda session, _: statistics_reply(session)),
        ),
    ),
)
"""What we answer."""


def reply(session: ClientSession, name: str, query: Mapping[str, str]) -> str | None:
    """The answer to the request called *name*, or None if there is no such request.

    Args:
        session: whose state is shown.
        name: without the ``Snh_`` of its address.
        query: field values; ``x`` stands for the first field, as contrail-status has it.
    """
    for page in PAGES:
        for message, answer in page.requests:
            if message.name == name:
                first = {message.fields[0].name: query["x"]} if message.fields and "x" in query else {}
                return answer(session, {**first, **query})
    return None


def index_page(module: str, pages: Iterable[str]) -> str:
    """The home page, which names the form pages. Like the reference's it ends without closing its body."""
    links = "".join(f'<a href="{page}.xml">{page}</a><br/>' for page in map(escaped, pages))
    title = escaped(module)
    return (
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">'
        '<html xmlns="http://www.w3.org/1999/xhtml"><head>'
        '<link href="css/style.css" rel="stylesheet" type="text/css"/>'
        f"<title>{title}</title></head><body><h1>Modules for {title}</h1>{links}"
    )


def form_page(page: Page) -> str:
    """The requests of a page with their fields, for the style sheet to make forms of."""
    forms = "".join(
        f'<{message.name} type="sandesh">\n{_form(message)}</{message.name}>\n' for message, _ in page.requests
    )
    return f'{_HEAD}\n<{page.name} type="rlist">\n{forms}</{page.name}>\n'


def _form(message: Message) -> str:
    inner = "".join(f'<{field.name} type="{label(field.type)}">0</{field.name}>' for field in message.fields)
    return f'<{message.name} type="sandesh">\n{inner}</{message.name}>\n'


def _reply(parts: Iterable[tuple[str, str]], last: Message, values: Values) -> str:
    several = tuple(parts)
    end = body_text(last, values)
    if not several:
        return f"{_HEAD}{end}"
    around = f"__{several[0][0]}_list"
    return f'{_HEAD}<{around} type="slist">{"".join(body for _, body in several)}{end}</{around}>'
