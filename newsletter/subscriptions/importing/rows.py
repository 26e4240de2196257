"""The lines of a CSV file, told apart: those that can come in, and those that cannot, with why."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from newsletter import addresses, network
from newsletter.errors import BadInput

COLUMNS = ("email", "name", "language", "confirmed_at", "ip", "source")
_NAME_LENGTH = 200


@dataclass(frozen=True)
class Row:
    """One good line. The times are UTC; `ip` and `source` are evidence and stay as they came."""

    number: int
    address: addresses.Address
    name: str | None
    language: str | None
    confirmed_at: datetime | None
    ip: network.Address | None
    source: str | None


@dataclass(frozen=True)
class BadRow:
    """A line that was left out, and why."""

    number: int
    reason: str


def read(file: TextIO, *, now: datetime) -> Iterator[Row | BadRow]:
    """The lines of a CSV file with a header, good and bad, in order.

    file: opened with encoding "utf-8-sig" and newline=""; with errors="surrogateescape" a line
        that is not UTF-8 is a bad line. Comma, semicolon or tab between the columns; the header
        says which are there: email, and any of name, language, confirmed_at (ISO 8601), ip,
        source. Other columns are ignored.
    now: nobody confirmed later than this moment.

    Raises BadInput when there is no header with an email column.
    """
    head = file.readline()
    delimiter = max(",;\t", key=head.count)
    names = [name.strip().lower() for name in next(csv.reader([head], delimiter=delimiter), [])]
    if "email" not in names:
        raise BadInput(
            "The first line must name the columns, one of them email "
            f"(and any of {', '.join(COLUMNS[1:])})."
        )
    reader = csv.reader(file, delimiter=delimiter)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(reader.line_num + 1, f"not CSV: {error}")
            continue
        if any(cell.strip() for cell in cells):
            number = reader.line_num + 1  # the header is line 1
            named = dict(zip(names, (cell.strip() for cell in cells), strict=False))
            yield _row(number, named, now)


def _row(number: int, cells: dict[str, str], now: datetime) -> Row | BadRow:
    if any(_is_not_text(cells.get(name, "")) for name in COLUMNS):
        return BadRow(number, "not UTF-8")
    try:
        address = addresses.parse(cells.get("email", ""))
        confirmed_at = _moment(cells.get("confirmed_at", ""), now)
    except BadInput as error:
        return BadRow(number, str(error))
    ip = network.parse(cells.get("ip", ""))
    if cells.get("ip") and ip is None:
        return BadRow(number, f"ip is not a network address: {cells['ip']!r}")
    name = "".join(c if c.isprintable() else " " for c in cells.get("name", "")).strip()
    if len(name) > _NAME_LENGTH:
        return BadRow(number, f"The name is longer than {_NAME_LENGTH} characters.")
    return Row(
        number=number,
        address=address,
        name=name or None,
        language=cells.get("language") or None,
        confirmed_at=confirmed_at,
        ip=ip,
        source=cells.get("source") or None,
    )


def _is_not_text(cell: str) -> bool:
    """Whether it has bytes in it that were not UTF-8 (errors="surrogateescape")."""
    return any("\ud800" <= character <= "\udfff" for character in cell)


def _moment(text: str, now: datetime) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise BadInput(f"confirmed_at is not an ISO 8601 time: {text!r}") from error
    if moment > now:
        raise BadInput(f"confirmed_at lies in the future: {text!r}")
    return moment
