# SPDX-License-Identifier: Apache-2.0
"""Groups of verbs, and what several of them share: names, labels, amounts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click

from services.cli.failures import BadUsage

_ALIASES = {"ls": "list", "get": "show", "describe": "show", "rm": "delete", "add": "create", "update": "set"}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Noun(click.Group):
    """A group whose verbs also answer to what people type elsewhere: get, ls, rm, describe, and plurals."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb called *cmd_name*, or the one it is another word for."""
        found = super().get_command(ctx, cmd_name)
        other = _ALIASES.get(cmd_name) or cmd_name.removesuffix("s")
        return found or super().get_command(ctx, other)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; for an unknown verb, says which there are."""
        if (
            args
            and not args[0].startswith("-")
            and self.get_command(ctx, args[0]) is None
            and not ctx.resilient_parsing
        ):
            raise BadUsage(
                f"{ctx.command_path} has no verb {args[0]!r}",
                remedy=f"Its verbs are {', '.join(self.list_commands(ctx))}.",
            )
        return super().resolve_command(ctx, args)


_OF_PROJECTS = ("instances", "leases", "networks", "prefixes")


def full_name(name: str, collection: str, parent: str = "") -> str:
    """*name* as a resource name: kept if it is one, else *collection*'s (below *parent*) with that id.

    ``PROJECT/ID``, as tables show what projects have, is one as well.
    """
    if name.count("/") == 1 and collection in _OF_PROJECTS:
        project, own = name.split("/")
        return f"projects/{project}/{collection}/{own}"
    if "/" in name:
        return name
    return f"{parent}/{collection}/{name}" if parent else f"{collection}/{name}"


def parse_pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """``key=value`` texts as a mapping.

    Raises:
        BadUsage: one is not of that form.
    """
    found = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise BadUsage(f"{what} {text!r} is not KEY=VALUE", remedy=f"Write --{what} KEY=VALUE; repeat it for more.")
        found[key] = value
    return found


def change_pairs(before: dict[str, str], texts: Sequence[str], what: str) -> dict[str, str]:
    """*before* with ``key=value`` texts put in, and ``key-`` texts taken out."""
    gone = {text[:-1] for text in texts if text.endswith("-") and "=" not in text}
    given = parse_pairs([text for text in texts if not (text.endswith("-") and "=" not in text)], what)
    return {key: value for key, value in {**before, **given}.items() if key not in gone}


class Span(click.ParamType[timedelta]):
    """A length of time: ``90``, ``90s``, ``15m``, ``2h``, ``1d``."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """*value* as a timedelta."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a time such as 90s, 15m, 2h or 1d", param, ctx)
        return timedelta(seconds=float(match[1]) * _UNITS[match[2] or "s"])


class Since(Span):
    """A moment: RFC 3339, or how long ago (``10m``)."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # type: ignore[override]  # a moment, by way of a span
        """*value* as an aware datetime."""
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            return datetime.now(UTC) - super().convert(value, param, ctx)
        return found if found.tzinfo else found.astimezone()
