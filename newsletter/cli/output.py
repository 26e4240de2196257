"""What commands print: tables for people, aligned lines for pipes, JSON for programs.

The keys of the JSON are stable. Names, subjects and what a relay replied were written by
strangers: nothing of them may move a cursor, colour a line or turn the direction of text.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

import click

_LINES_AT_ONCE = 500
# The joiners are part of words in Persian and of many emoji; they move nothing.
_JOINERS = "\u200c\u200d"
_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}

Row = TypeVar("Row")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def clean(text: str) -> str:
    """`text` on one line without control, direction and other unseen characters."""
    return "".join(
        c
        if unicodedata.category(c) not in _UNSHOWN or c in _JOINERS
        else (" " if c.isspace() else "")
        for c in text
    )


def clean_lines(text: str) -> str:
    """The same for text of several lines, which stay lines."""
    return "\n".join(clean(line) for line in text.splitlines())


def moment(value: datetime | None) -> str:
    """A time for people, in UTC and saying so; "" for none."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if value else ""


def cell(value: object) -> str:
    """A value as it stands in a table or a line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(cell(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={cell(item)}" for name, item in value.items())
    return clean(str(value))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def as_json_text(value: object) -> str:
    """`value` as one line of JSON: times in UTC, bytes in hex, only ASCII (safe to look at)."""
    return json.dumps(value, default=_plain)


def emit_json(value: object) -> None:
    """One JSON value on a line of its own."""
    click.echo(as_json_text(value))


def emit_lines(lines: Iterable[str]) -> None:
    """Many lines, some hundred with each write."""
    rest = iter(lines)
    while piece := list(islice(rest, _LINES_AT_ONCE)):
        click.echo("\n".join(piece))


def emit_table(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    as_json: bool,
    nothing: str,
) -> None:
    """A listing.

    rows: each a mapping with stable keys; JSON shows all of them.
    columns: the keys that people see, in that order.
    nothing: what to say to a person when there is no row.
    """
    if as_json:
        emit_lines(_json_array(rows))
        return
    cells = [[cell(row.get(name)) for name in columns] for row in rows]
    titles = [name.replace("_", " ") for name in columns]
    if not cells:
        click.echo(nothing, err=True)
    elif sys.stdout.isatty():
        _rich_table(titles, cells)
    else:
        emit_lines(_aligned([[title.upper() for title in titles], *cells]))


def emit_stream(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    as_json: bool,
    nothing: str,
) -> None:
    """A listing of any number of rows, of which some hundred are held at a time.

    The same as emit_table, but: JSON is a line for each row, without an array around them; people
    get aligned lines on a terminal too, whose columns can grow wider further down.
    """
    if as_json:
        emit_lines(as_json_text(dict(row)) for row in rows)
        return
    rest = iter(rows)
    widths = [len(name) for name in columns]
    head = [[name.replace("_", " ").upper() for name in columns]]
    while piece := [
        [cell(row.get(name)) for name in columns] for row in islice(rest, _LINES_AT_ONCE)
    ]:
        emit_lines(_aligned([*head, *piece], widths))
        head = []
    if head:
        click.echo(nothing, err=True)


def emit_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing: its fields below each other."""
    if as_json:
        emit_json(dict(record))
        return
    width = max((len(name) for name in record), default=0)
    emit_lines(f"{name.replace('_', ' '):<{width}}  {cell(v)}" for name, v in record.items())


def _json_array(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A JSON array with a line for each row, without holding all rows."""
    waiting = None
    for row in rows:
        yield "[" if waiting is None else f"{waiting},"
        waiting = as_json_text(dict(row))
    yield "[]" if waiting is None else f"{waiting}]"


def _aligned(table: list[list[str]], widths: list[int] | None = None) -> Iterator[str]:
    """widths: at least so wide; made wider where the table needs it."""
    widths = [0] * len(table[0]) if widths is None else widths
    for row in table:
        widths[:] = map(max, widths, map(len, row))
    for row in table:
        yield "  ".join(f"{text:<{w}}" for text, w in zip(row, widths, strict=True)).rstrip()


def _rich_table(titles: Sequence[str], cells: Iterable[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415  # only for a terminal
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in cells:
        # Text, not str: square brackets in a name are no markup.
        table.add_row(*(Text(text) for text in row))
    Console().print(table)


@contextmanager
def closed(rows: Iterator[Row]) -> Iterator[Iterator[Row]]:
    """`rows`, closed at the end: what holds a cursor lets go before its connection does."""
    try:
        yield rows
    finally:
        close = getattr(rows, "close", None)
        if close is not None:
            close()


def for_terminal(lines: Iterable[str]) -> Iterable[str]:
    """`lines`, cleaned when standard output is a terminal; a file or a pipe gets them as is."""
    return map(clean, lines) if sys.stdout.isatty() else lines
