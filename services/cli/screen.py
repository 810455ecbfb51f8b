# SPDX-License-Identifier: Apache-2.0
"""How answers are printed: tables with colours on a terminal, plain ones when piped, JSON, YAML, names."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

T = TypeVar("T")

_STYLES = {
    "available": "green", "active": "green", "on": "green", "yes": "green", "serving": "green", "done": "green",
    "quarantined": "red", "error": "red", "failed": "red", "unknown": "red", "down": "red", "unexpected": "red",
    "enrolled": "dim", "off": "dim", "no": "dim", "stopped": "yellow", "rescued": "yellow",
}  # fmt: skip
_MOVING = ("ing", "pending")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column of a table of T.

    Attributes:
        title: its heading.
        cell: what it shows of a row.
        wide: shown only with ``-o wide``.
    """

    title: str
    cell: Callable[[T], str]
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Screen:
    """Where answers go.

    Attributes:
        format: table, wide, json, yaml or name.
        color: whether to use colours.
        live: whether a person looks on, so that what was printed may be overwritten.
    """

    format: str = "table"
    color: bool = False
    live: bool = False

    @classmethod
    def choose(cls, output: str, color: bool | None, environ: Mapping[str, str]) -> Screen:
        """The screen for the options and the terminal there are."""
        live = sys.stdout.isatty()
        wanted = (live or bool(environ.get("FORCE_COLOR"))) and not environ.get("NO_COLOR")
        return cls(output or "table", wanted if color is None else color, live)

    @property
    def structured(self) -> bool:
        """Whether a program reads the answer."""
        return self.format in ("json", "yaml")

    def print(self, text: str = "") -> None:
        """Prints a line for people; nothing where a program reads."""
        if self.format in ("table", "wide"):
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Says something beside the answer, on standard error."""
        sys.stdout.flush()
        sys.stderr.write(f"{self.styled(text, 'dim')}\n")

    def warn(self, text: str) -> None:
        """Warns, on standard error."""
        sys.stdout.flush()
        sys.stderr.write(f"{self.styled('Warning:', 'yellow')} {text}\n")

    def styled(self, text: str, style: str) -> str:
        """*text* in *style*: bold, dim, red, green, yellow, cyan."""
        code = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}[style]
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and text else text

    def data(self, value: object) -> None:
        """Prints *value* for a program."""
        if self.format == "yaml":
            import yaml

            sys.stdout.write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
        else:
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def rows(
        self,
        rows: Sequence[T],
        columns: Sequence[Column[T]],
        *,
        name: Callable[[T], str],
        as_data: Callable[[T], object],
        none: str = "Nothing found.",
    ) -> None:
        """Prints a list in the chosen format.

        Args:
            name: a row's resource name.
            as_data: a row for a program.
            none: what to say of an empty table.
        """
        if self.structured:
            self.data([as_data(row) for row in rows])
        elif self.format == "name":
            sys.stdout.write("".join(f"{name(row)}\n" for row in rows))
        elif not rows:
            self.note(none)
        else:
            shown = [column for column in columns if self.format == "wide" or not column.wide]
            self.table([column.title for column in shown], [[column.cell(row) for column in shown] for row in rows])

    def table(self, titles: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        """Prints a table."""
        if self.live and self.color:
            self._rich_table(titles, cells)
            return
        lines = [list(titles), *(list(row) for row in cells)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
        for number, line in enumerate(lines):
            padded = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
            if number == 0:
                padded = [self.styled(text, "bold") for text in padded]
            else:
                padded = [self._cell(text) for text in padded]
            sys.stdout.write("  ".join(padded).rstrip() + "\n")
        sys.stdout.flush()

    def _cell(self, text: str) -> str:
        style = style_of(text.strip())
        return self.styled(text, style) if style else text

    def _rich_table(self, titles: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for title in titles:
            table.add_column(title, overflow="fold")
        for row in cells:
            table.add_row(*(Text(text, style=style_of(text)) for text in row))
        Console(highlight=False).print(table)

    def card(self, fields: Sequence[tuple[str, str]]) -> None:
        """Prints one thing, a line for each of its fields; fields without a value are left out."""
        shown = [(label, value) for label, value in fields if value]
        width = max((len(label) for label, _ in shown), default=0)
        for label, value in shown:
            first, *more = value.splitlines()
            style = style_of(first)
            self.print(f"{self.styled(label.ljust(width), 'bold')}  {self.styled(first, style) if style else first}")
            for line in more:
                self.print(f"{' ' * width}  {line}")

    def one(self, message: Message, fields: Sequence[tuple[str, str]]) -> None:
        """Prints one resource: its *fields* for people, all of it for programs, its name for ``-o name``."""
        if self.structured:
            self.data(as_dict(message))
        elif self.format == "name":
            sys.stdout.write(f"{getattr(message, 'name', '')}\n")
        else:
            self.card(fields)


def style_of(text: str) -> str:
    """The colour of a word that tells a state; empty for other words."""
    word = text.lower()
    if word in _STYLES:
        return _STYLES[word]
    return "yellow" if " " not in word and word.endswith(_MOVING) else ""


def as_dict(message: Message) -> dict[str, Any]:
    """*message* in protobuf's JSON form, with the contract's own field names."""
    from google.protobuf import json_format

    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def word(enum: Any, value: int, prefix: str) -> str:
    """The value of an enum in lower case without its prefix; empty for the unspecified one."""
    return "" if value == 0 else str(enum.Name(value)).removeprefix(prefix).lower()


def short(name: str) -> str:
    """The last part of a resource name."""
    return name.rpartition("/")[2]


def moment(stamp: Timestamp) -> datetime | None:
    """*stamp* as an aware datetime; None if it is not set."""
    return stamp.ToDatetime(UTC) if stamp.seconds or stamp.nanos else None


def when(stamp: Timestamp) -> str:
    """*stamp* as a local time; empty if it is not set."""
    found = moment(stamp)
    return found.astimezone().strftime("%Y-%m-%d %H:%M:%S") if found else ""


def age(stamp: Timestamp, now: datetime | None = None) -> str:
    """How long ago *stamp* was; empty if it is not set."""
    found = moment(stamp)
    return span((now or datetime.now(UTC)) - found) if found else ""


def seconds(duration: Duration) -> str:
    """*duration* for people; empty for none."""
    return span(timedelta(seconds=duration.seconds)) if duration.seconds else ""


def span(length: timedelta) -> str:
    """*length* in its two largest units, such as ``3m12s``."""
    total = max(0, int(length.total_seconds()))
    for size, unit, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if total >= size:
            rest = total % size // smaller
            return f"{total // size}{unit}{f'{rest}{small}' if rest else ''}"
    return f"{total}s"


def pairs(mapping: Mapping[str, str]) -> str:
    """Labels and the like, as ``a=b, c=d``."""
    return ", ".join(f"{key}={value}" for key, value in sorted(mapping.items()))
