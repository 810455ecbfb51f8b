# SPDX-License-Identifier: Apache-2.0
"""What introspection pages are made of: requests, their forms, and replies as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from telemetry.sandesh.encode import Values, body_text
from telemetry.sandesh.schema import Field, ListOf, Message, Scalar, Struct, label
from telemetry.sandesh.session import ClientSession
from telemetry.sandesh.text import escaped

STYLE_SHEET: Final = "/universal_parse.xsl"
_HEAD: Final = f'<?xml-stylesheet type="text/xsl" href="{STYLE_SHEET}"?>'


def fields_of(*rows: tuple[int, str, Scalar | Struct | ListOf]) -> tuple[Field, ...]:
    """Fields of a request or response: identifier, name, type."""
    return tuple(Field(name, type_, identifier) for identifier, name, type_ in rows)


def flag(query: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A switch of a request; *default* where none is given, or something that is no switch."""
    return {"true": True, "1": True, "false": False, "0": False}.get(query.get(name, "").lower(), default)


@dataclass(frozen=True, slots=True)
class Page:
    """Requests that belong together, as one form page.

    Attributes:
        name: the page is ``/<name>.xml``.
        requests: each with what answers it, given the session and the query by field name.
    """

    name: str
    requests: tuple[tuple[Message, Callable[[ClientSession, Mapping[str, str]], str]], ...]


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


def reply_of(parts: Iterable[tuple[str, str]], last: Message, values: Values) -> str:
    """The message *last* as a reply, behind *parts*: names and bodies of messages."""
    several = tuple(parts)
    end = body_text(last, values)
    if not several:
        return f"{_HEAD}{end}"
    around = f"__{several[0][0]}_list"
    return f'{_HEAD}<{around} type="slist">{"".join(body for _, body in several)}{end}</{around}>'
