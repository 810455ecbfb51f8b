# SPDX-License-Identifier: Apache-2.0
"""The introspection pages over HTTP.

They ask for no password, as everywhere in Contrail: bind them to loopback unless told otherwise.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from telemetry.sandesh.introspect import PAGES, reply
from telemetry.sandesh.introspect_form import STYLE_SHEET, form_page, index_page
from telemetry.sandesh.session import ClientSession

IRONIC_NOTIFICATION_MANAGER_PORT: Final = 8110
"""Where Contrail's own bare-metal bridge showed its pages."""

_XSL: Final = """<?xml version="1.0"?>
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:template match="/"><html><body><xsl:apply-templates/></body></html></xsl:template>
<xsl:template match="*[@type='rlist']"><h1><xsl:value-of select="name()"/></h1>
<xsl:for-each select="*"><form action="/Snh_{name()}" method="get"><h3><xsl:value-of select="name()"/></h3>
<xsl:for-each select="*"><label><xsl:value-of select="name()"/> <input name="{name()}"/></label></xsl:for-each>
<button>Send</button></form></xsl:for-each></xsl:template>
<xsl:template match="*[*]"><table border="1"><caption><xsl:value-of select="name()"/></caption>
<xsl:for-each select="*"><tr><th><xsl:value-of select="name()"/></th><td><xsl:apply-templates select="."/></td></tr>
</xsl:for-each></table></xsl:template>
</xsl:stylesheet>
"""


def introspection(session: ClientSession, module: str) -> web.Application:
    """The pages of *session*, under the name of its *module*."""
    pages = {page.name: page for page in PAGES}

    async def home(_: web.Request) -> web.Response:
        return web.Response(body=index_page(module, pages).encode(), content_type="text/html")

    async def form(request: web.Request) -> web.Response:
        page = pages.get(request.match_info["page"])
        if page is None:
            raise web.HTTPNotFound
        return web.Response(body=form_page(page).encode(), content_type="text/xml")

    async def answer(request: web.Request) -> web.Response:
        text = reply(session, request.match_info["name"], request.query)
        if text is None:
            raise web.HTTPNotFound
        return web.Response(body=text.encode(), content_type="text/xsl")

    async def style(_: web.Request) -> web.Response:
        return web.Response(body=_XSL.encode(), content_type="text/xsl")

    app = web.Application()
    app.add_routes(
        [
            web.get("/", home),
            web.get("/index.html", home),
            web.get("/Snh_{name}", answer),
            web.get(STYLE_SHEET, style),
            web.get(r"/{page:\w+}.xml", form),
        ]
    )
    return app
